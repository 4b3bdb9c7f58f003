"""The HTTP interface is as docs/openapi.yaml describes it: every path of the code, every answer of a running server."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from twisted.internet.defer import succeed
from twisted.internet.threads import deferToThread

from ..rooms.test_administration import FakeAdministration
from ..support.daemon_process import ROOT, DaemonTestCase
from ..support.patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS
from .test_router import CODE, ROOM, WebTestCase
from .test_videos import tree, videos

DESCRIPTION = ROOT / "docs/openapi.yaml"
METHODS = {"get", "head", "options"}
ACTING = {"post", "options"}
TOKEN = "t" * 32
EXAMPLES = 10
"""For each of some thirty operations."""
SEED = 20


def described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(DESCRIPTION.read_text())["paths"]
    return found


def template(path: str) -> re.Pattern[str]:
    """Return a pattern for the paths of a template; a link to a room may end with a slash."""
    pattern = re.sub(r"\\\{[a-zA-Z]+\\\}", "[^/]*", re.escape(path))
    return re.compile(pattern + ("/?" if path.startswith("/room/") else ""))


def words() -> set[str]:
    """Return every word that the code of the interface compares something with, or finds something by."""
    found = set()
    for file in (ROOT / "tandemd/web").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.MatchValue | ast.Compare | ast.Dict):
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.add(part.value)
    return {word for word in found if re.fullmatch(r"[a-z][a-z-]*", word)}


class RouteTest(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve(
            administration=FakeAdministration(ROOM),
            admin_token=TOKEN,
            code_lookups=0,
            videos=videos(tree(Path(self.mktemp()).resolve())),
        )
        self.rooms.invite = lambda code, address, wait: succeed(self.rooms.invites.get(code))

    def test_every_method_of_every_path(self) -> None:
        for path, operations in described().items():
            self.assertIn(set(operations) - {"parameters"}, (METHODS, ACTING), path)

    def test_what_is_described_is_there(self) -> None:
        values = {"{code}": CODE, "{roomId}": ROOM, "{pin}": "123456", "{file}": "app.js", "{film}": "A%20Film.mp4"}
        for path, operations in described().items():
            real = path
            for name, value in values.items():
                real = real.replace(name, value)
            body = b'{"text": "x"}' if path.endswith("announce") else b""
            method = "POST" if "post" in operations else "GET"
            headers: dict[str, Any] = {"Authorization": f"Bearer {TOKEN}", "Content-Length": str(len(body))}
            self.assertIn(self.request(real, method, body=body, **headers).status, (200, 302, 426), real)

    def test_what_is_there_is_described(self) -> None:
        """Paths made of the words in the code, and of existing objects."""
        templates = [template(path) for path in described()]
        samples = {CODE, ROOM, "123456", "app.js", "index.html", ""}
        parts = sorted(words() | samples)
        tried = 0
        pending = [[part] for part in parts]
        while pending:
            path = pending.pop()
            tried += 1
            text = "/" + "/".join(path)
            if self.request(text).status != 404:
                self.assertTrue(any(one.fullmatch(text) for one in templates), f"{text} is not described")
            elif len(path) == 1 and path[0] not in ("api", "page", "room", "videos"):
                # No path is below an absent one; those three are absent by themselves.
                continue
            # Below the page are files, which have tests of their own.
            if len(path) < 3 and path[0] not in ("page", "videos"):
                pending += [[*path, part] for part in parts]
        self.assertGreater(tried, 1000)


class RunningTest(DaemonTestCase):
    """A daemon, and answers that Schemathesis looks through: status, type, headers, body."""

    timeout = TEST_LIMIT_SECONDS

    async def test_it_keeps_to_its_description(self) -> None:
        daemon = await self.running(
            TANDEMD_WEB_SHORT_ID_WAIT="0s",
            TANDEMD_LIMITS_ENABLED="false",
            TANDEMD_ADMIN_TOKEN=TOKEN,
            TANDEMD_WEB_VIDEOS_DIR=str(tree(self.home)),
        )
        client = await self.connect(daemon)
        token = (await client.join("room 1", "ann", username="Ann", keepsToken=True))["token"]
        base = f"http://127.0.0.1:{daemon.port}"
        code = await deferToThread(self.known, base, token)
        count = await deferToThread(self.anything, base)
        self.assertGreater(count, 200)
        self.assertNotIn("error", [line["level"] for line in daemon.log])
        self.assertRegex(code, r"\A[0-9a-z]{10}\Z")

    def operations(self) -> dict[tuple[str, str], Any]:
        schema = schemathesis.openapi.from_path(str(DESCRIPTION))
        found = [result.ok() for result in schema.get_all_operations()]
        return {(operation.method, operation.path): operation for operation in found}

    def ask(self, base: str, case: Case, **headers: str) -> Any:
        checks: list[Callable[..., Any]] = [
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
        ]
        case.headers.update(headers)
        return case.call_and_validate(base_url=base, checks=checks, allow_redirects=False, timeout=PATIENCE_SECONDS)

    def known(self, base: str, token: str) -> str:
        """Open a room; return its invite code."""
        operations = self.operations()

        def ask(path: str, wanted: int, headers: dict[str, str] | None = None, **parameters: str) -> Any:
            answer = self.ask(base, operations["get", path].Case(path_parameters=parameters), **(headers or {}))
            self.assertEqual(answer.status_code, wanted, path)
            return answer

        code: str = ask("/api/short-id/{roomId}", 200, roomId="room 1").json()["shortId"]
        self.assertEqual(ask("/api/room/{code}", 200, code=code.upper()).json()["roomId"], "room 1")
        ask("/room/{code}", 302, code=code)
        ask("/room/{code}/{pin}", 302, code=code, pin="123")
        self.assertEqual(len(ask("/status", 200, {"Authorization": f"Bearer {token}"}).json()["rooms"]), 1)
        self.assertEqual(ask("/status", 200).json()["rooms"], [])
        tag = ask("/page/{file}", 200, file="main.js").headers["etag"][0]
        ask("/page/{file}", 304, {"If-None-Match": tag}, file="main.js")
        ask("/page/{file}", 206, {"Range": "bytes=0-9"}, file="main.js")
        ask("/page/{file}", 416, {"Range": "bytes=9999999-"}, file="main.js")
        ask("/page/{file}", 404, file="none.js")
        ask("/client/{file}", 200, file="index.js")
        self.assertEqual(len(ask("/videos/", 200).json()["films"]), 3)
        film = "A Film.mp4"
        tag = ask("/videos/{film}", 200, film=film).headers["etag"][0]
        ask("/videos/{film}", 304, {"If-None-Match": tag}, film=film)
        ask("/videos/{film}", 206, {"Range": "bytes=0-9"}, film=film)
        ask("/videos/{film}", 416, {"Range": "bytes=9999999-"}, film=film)
        ask("/videos/{film}", 404, film="link.mp4")
        ask("/health/ready", 200)
        ask("/api/addresses", 200)
        self.administer(base)
        return code

    def administer(self, base: str) -> None:
        """Ask for everything that needs the token."""
        operations, shown = self.operations(), {"Authorization": f"Bearer {TOKEN}"}

        def ask(method: str, path: str, wanted: int = 200, body: Any = None, **parameters: str) -> Any:
            given = {} if body is None else {"body": body, "media_type": "application/json"}
            case = operations[method, f"/admin/v1{path}"].Case(path_parameters=parameters, **given)
            answer = self.ask(base, case, **shown)
            self.assertEqual(answer.status_code, wanted, path)
            return answer.json()

        ask("get", "/node")
        self.assertEqual(ask("get", "/rooms/{roomId}", roomId="room 1")["hostUserId"], "ann")
        # The archive is a moment behind.
        while not ask("get", "/rooms")["rooms"]:
            pass
        self.assertEqual(ask("get", "/rooms/{roomId}/events", roomId="room 1")["events"][0]["event"], "USER_JOINED")
        ask("post", "/announce", 200, {"text": "hello"})
        ask("post", "/rooms/{roomId}/announce", 404, {"text": "hello"}, roomId="nowhere")
        ask("post", "/drain", 409, {})
        ask("post", "/rooms/{roomId}/close", 200, {"reason": "late"}, roomId="room 1")

    def anything(self, base: str) -> int:
        """Send the requests of Schemathesis, right and wrong; return how many."""
        count = 0
        for operation in self.operations().values():
            for mode in GenerationMode:

                @seed(SEED)
                @settings(
                    max_examples=EXAMPLES,
                    database=None,
                    deadline=None,
                    phases=[Phase.explicit, Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: Case) -> None:
                    nonlocal count
                    count += 1
                    self.ask(base, case)

                try:
                    ask()
                except Unsatisfiable:
                    # Without parameters, nothing of them can be wrong.
                    if mode is not GenerationMode.NEGATIVE:
                        raise
        return count
