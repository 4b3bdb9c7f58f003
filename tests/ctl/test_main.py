"""tandemctl as operators use it: processes that ask daemons, with everything real behind them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

from click.testing import CliRunner
from twisted.internet import protocol, reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tandemd.ctl.client import Trust
from tandemd.ctl.doctor import examine
from tandemd.ctl.main import CtlSettings, main
from tandemd.ctl.output import as_json, shown

from ..support import private_servers
from ..support.certificate_authority import Authority, authority, write
from ..support.daemon_process import ROOT, Arrivals, Daemon, DaemonTestCase

TOKEN = "t" * 40
DATABASE = "tandemctl"


class Run(protocol.ProcessProtocol):
    """One tandemctl. status: its exit status. lines: its output."""

    def __init__(self) -> None:
        self.output = self.errors = ""
        self.lines = Arrivals()
        self.ended: Deferred[Run] = Deferred()
        self.status = -1

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode()
        for line in data.decode().splitlines():
            self.lines.add(line)

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode()

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.status = 0 if isinstance(value, ProcessDone) else (value.exitCode if value.exitCode is not None else -1)
        self.lines.end(f"tandemctl ended with {self.status}: {self.errors}")
        self.ended.callback(self)

    @property
    def json(self) -> Any:
        return json.loads(self.output)


class TandemctlTestCase(DaemonTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.token = self.home / "token"
        self.token.write_text(TOKEN + "\n")

    def spawn(self, daemon: Daemon, *arguments: str, **environ: str) -> Run:
        run = Run()
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TANDEMCTL_URL": f"http://127.0.0.1:{daemon.port}",
            "TANDEMCTL_TOKEN_FILE": str(self.token),
            "TANDEMD_STATE_DIR": str(self.state),
            **environ,
        }
        command = [sys.executable, "-c", "from tandemd.ctl.main import main; main(prog_name='tandemctl')", *arguments]
        reactor.spawnProcess(run, sys.executable, command, env, str(self.home))
        assert run.transport is not None
        run.transport.closeStdin()
        return run

    async def ctl(self, daemon: Daemon, *arguments: str, status: int = 0, **environ: Any) -> Run:
        """Run it, and return it when it has ended with a status."""
        run = await self.spawn(daemon, *arguments, **environ).ended
        self.assertEqual(run.status, status, f"{arguments}: {run.output}{run.errors}")
        return run


class OneNodeTests(TandemctlTestCase):
    async def test_a_party(self) -> None:
        daemon = await self.running(TANDEMD_ADMIN_TOKEN_FILE=str(self.token))
        client = await self.connect(daemon)
        await client.join("movie night", "ann", username="Ann\x1b[31m")
        await client.do("CHAT", text="secret")
        await self.archived("movie night", 2)
        self.assertIn("movie night  1", (await self.ctl(daemon, "rooms")).output)
        self.assertEqual((await self.ctl(daemon, "--json", "rooms")).json[0]["roomId"], "movie night")
        output = (await self.ctl(daemon, "room", "movie night")).output
        self.assertRegex(output, r"(?m)^ann +Ann.* host ")
        # Names of users must not move the operator's cursor.
        self.assertNotIn("\x1b", output)
        events = (await self.ctl(daemon, "events", "movie night")).output
        self.assertRegex(events, r"USER_JOINED +ann")
        self.assertNotIn("secret", events)
        follower = self.spawn(daemon, "--json", "events", "movie night", "--follow")
        await follower.lines.next(lambda line: json.loads(line)["event"] == "CHAT")
        self.assertIn("announced in 1 rooms", (await self.ctl(daemon, "announce", "Good night")).output)
        self.assertEqual((await client.hear("CHAT", userId="server"))["text"], "Good night")
        await self.ctl(daemon, "close", "movie night", "--yes", "--reason", "it is late")
        self.assertEqual((await client.hear("ROOM_CLOSED"))["reason"], "it is late")
        await follower.lines.next(lambda line: json.loads(line)["event"] == "ROOM_CLOSED")
        follower.transport.signalProcess(signal.SIGINT)
        await follower.ended
        self.assertNotIn("Traceback", follower.errors)
        self.assertEqual((await self.ctl(daemon, "--json", "rooms")).json, [])
        # Every act is in the log, with its actor.
        await daemon.logs(lambda line: line.get("act") == "close")
        acts = [line for line in daemon.log if "administration" in line["message"]]
        self.assertEqual([line["act"] for line in acts], ["announce", "close"])
        self.assertEqual({line["by"] for line in acts}, {"127.0.0.1"})

    async def test_exit_statuses(self) -> None:
        daemon = await self.running(TANDEMD_ADMIN_TOKEN_FILE=str(self.token))
        self.assertIn("No open room has this id", (await self.ctl(daemon, "room", "nowhere", status=1)).errors)
        await self.ctl(daemon, "close", "nowhere", "--yes", status=1)
        self.assertIn("--force", (await self.ctl(daemon, "drain", "--help")).output)
        self.assertIn("no other node", (await self.ctl(daemon, "drain", status=1)).errors.lower())
        await self.ctl(daemon, "rooms", "--limit", "0", status=2)
        await self.ctl(daemon, "rooms", status=2, TANDEMCTL_TOKEN_FILE=str(self.home / "none"))
        wrong = self.home / "wrong"
        wrong.write_text("x" * 40)
        self.assertIn(
            "rejects the token", (await self.ctl(daemon, "rooms", status=3, TANDEMCTL_TOKEN_FILE=str(wrong))).errors
        )
        await self.ctl(daemon, "rooms", status=3, TANDEMCTL_URL="http://127.0.0.1:1")
        # A script cannot type yes.
        await self.ctl(daemon, "close", "nowhere", status=1)

    async def test_no_administration(self) -> None:
        daemon = await self.running()
        self.assertIn("admin.token", (await self.ctl(daemon, "rooms", status=3)).errors)

    async def test_drain(self) -> None:
        daemon = await self.running(TANDEMD_ADMIN_TOKEN_FILE=str(self.token))
        client = await self.connect(daemon)
        await client.join("room", "ann")
        await self.ctl(daemon, "drain", "--force")
        self.assertEqual(await client.closed, 1012)
        ready = f"http://127.0.0.1:{daemon.port}/health/ready"
        status, body = await self.get(ready)
        self.assertEqual((status, json.loads(body)["reasons"]), (503, ["the node was drained by an administrator"]))
        self.assertTrue((await self.ctl(daemon, "--json", "node")).json["drained"])
        self.assertRegex((await self.ctl(daemon, "node")).output, r"storeTime +20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ")
        await self.ctl(daemon, "drain", "--undo")
        self.assertEqual((await self.get(ready))[0], 200)
        # No member was told that she left.
        again = await self.connect(daemon)
        self.assertEqual((await again.join("room", "ann"))["hostUserId"], "ann")

    async def test_doctor(self) -> None:
        daemon = await self.running(TANDEMD_ADMIN_TOKEN_FILE=str(self.token))
        url = f"http://127.0.0.1:{daemon.port}"
        run = await self.ctl(daemon, "--json", "doctor", url)
        found = {one["what"]: one["level"] for one in run.json}
        self.assertNotIn("problem", found.values())
        self.assertTrue(any("PING and PONG" in what and level == "ok" for what, level in found.items()), found)
        self.assertTrue(any("with the current schema" in what for what in found), found)
        # Here nothing stands before the node, and that is said.
        self.assertEqual(found["outside: /metrics is public"], "warning")
        run = await self.ctl(daemon, "doctor", "http://127.0.0.1:1", status=1)
        self.assertRegex(run.output, r"PROBLEM outside: .*\n +-> ")
        for state_dir, is_other in ((self.state, False), (self.home / "other", True)):
            here: dict[str, Any] = {"TANDEMCTL_URL": "", "PORT": str(daemon.port), "TANDEMD_STATE_DIR": str(state_dir)}
            found = {one["what"]: one["level"] for one in (await self.ctl(daemon, "--json", "doctor", **here)).json}
            said = [what for what, level in found.items() if level == "warning" and "does not use the state" in what]
            self.assertEqual(len(said), int(is_other), found)


class TlsTests(TandemctlTestCase):
    """The node does TLS itself, with a certificate that does not name 127.0.0.1."""

    async def test_node_on_this_machine(self) -> None:
        certificate, key = write(self.home, *authority().issue(host="party.example.org"))
        tls: dict[str, Any] = {"TANDEMD_TLS_CERTIFICATE": certificate, "TANDEMD_TLS_KEY": key}
        daemon = await self.running(TANDEMD_ADMIN_TOKEN_FILE=str(self.token), **tls)
        here: dict[str, Any] = {"TANDEMCTL_URL": "", "PORT": str(daemon.port), **tls}
        self.assertEqual((await self.ctl(daemon, "--json", "rooms", **here)).json, [])
        found = {one["what"]: one for one in (await self.ctl(daemon, "--json", "doctor", **here)).json}
        self.assertTrue(any(f"at https://127.0.0.1:{daemon.port} is ready" in what for what in found), found)
        # With a self-signed certificate or one that has expired, the proof is the same.
        other = self.home / "other"
        other.mkdir()
        wrong, _ = write(other, *Authority().issue(host="party.example.org"))
        for options, status, said in (
            ({"TANDEMD_TLS_CERTIFICATE": wrong}, 3, "another certificate"),
            ({"TANDEMD_TLS_CERTIFICATE": "/nope.pem"}, 3, "/nope.pem cannot be read"),
        ):
            run = await self.ctl(daemon, "rooms", status=status, **{**here, **options})
            self.assertIn(said, run.errors)

    async def test_expired(self) -> None:
        certificate, key = write(self.home, *authority().issue(days=-1, host="party.example.org"))
        tls: dict[str, Any] = {"TANDEMD_TLS_CERTIFICATE": certificate, "TANDEMD_TLS_KEY": key}
        daemon = await self.running(TANDEMD_ADMIN_TOKEN_FILE=str(self.token), **tls)
        await self.ctl(daemon, "rooms", TANDEMCTL_URL="", PORT=str(daemon.port), **tls)

    async def test_named_node(self) -> None:
        """--url has the name of the certificate, and --ca its authority."""
        certificate, key = write(self.home, *authority().issue())
        ca = self.home / "ca.pem"
        ca.write_bytes(authority().pem)
        daemon = await self.running(
            TANDEMD_ADMIN_TOKEN_FILE=str(self.token), TANDEMD_TLS_CERTIFICATE=certificate, TANDEMD_TLS_KEY=key
        )
        url = f"https://localhost:{daemon.port}"
        self.assertIn("--ca FILE", (await self.ctl(daemon, "--url", url, "rooms", status=3)).errors)
        await self.ctl(daemon, "--url", url, "--ca", str(ca), "rooms")
        run = await self.ctl(daemon, "--url", url, "--ca", str(ca), "--json", "doctor", url)
        self.assertTrue(any("PING and PONG" in one["what"] for one in run.json), run.json)
        numeric = f"https://127.0.0.1:{daemon.port}"
        self.assertIn(
            "not trusted", (await self.ctl(daemon, "--url", numeric, "--ca", str(ca), "rooms", status=3)).errors
        )
        self.assertIn("/nope", (await self.ctl(daemon, "--url", url, "--ca", "/nope", "rooms", status=3)).errors)


class TwoNodesTests(TandemctlTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.postgres = private_servers.postgresql()
        self.postgres.create(DATABASE)
        self.redis = private_servers.Redis()
        self.environ: dict[str, Any] = {
            "POSTGRES_HOST": self.postgres.directory,
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": DATABASE,
            "REDIS_HOST": self.redis.path,
            "TANDEMD_ADMIN_TOKEN_FILE": str(self.token),
        }

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().tearDown()
        self.redis.stop()
        self.postgres.execute(f"drop database {DATABASE} with (force)")

    async def node(self, name: str) -> Daemon:
        return await self.running("--state-dir", str(self.home / name), NODE_ID=name, **self.environ)

    async def test_one_node_acts_for_all(self) -> None:
        one, other = await self.node("one"), await self.node("other")
        ann, bob = await self.connect(one), await self.connect(other)
        await ann.join("party", "ann")
        await bob.join("party", "bob")
        eve = await self.connect(other)
        await eve.join("elsewhere", "eve")
        while len((await self.ctl(one, "--json", "rooms")).json) < 2:
            pass  # the archive is a moment behind
        room = (await self.ctl(one, "--json", "room", "party")).json
        self.assertEqual(room["answeredBy"], "one")
        self.assertEqual(
            [(member["userId"], member["nodeId"], member["errorMs"]) for member in room["members"]],
            [("ann", "one", None), ("bob", "other", None)],
        )
        run = await self.ctl(one, "room", "party")
        (ann_row,) = [line for line in run.output.splitlines() if line.startswith("ann ")]
        (bob_row,) = [line for line in run.output.splitlines() if line.startswith("bob ")]
        self.assertFalse(ann_row.endswith("on one"))
        self.assertTrue(bob_row.endswith("on other"), bob_row)
        self.assertIn("ask other too", run.errors)
        self.assertEqual((await self.ctl(one, "--json", "announce", "Good night")).json, {"rooms": 2})
        for client in (ann, bob, eve):
            self.assertEqual((await client.hear("CHAT", userId="server"))["text"], "Good night")
        # The node that is asked has no member of this room.
        await self.ctl(one, "close", "elsewhere", "--yes")
        await eve.hear("ROOM_CLOSED")
        await self.ctl(one, "close", "party", "--yes", "--reason", "x")
        for client in (ann, bob):
            await client.hear("ROOM_CLOSED", reason="x")
        run = await self.ctl(one, "--json", "doctor", **self.environ)
        found = {item["what"]: item["level"] for item in run.json}
        self.assertNotIn("problem", found.values(), found)
        self.assertIn("ok", [level for what, level in found.items() if what.startswith("clock: Redis agrees")])
        self.assertIn("ok", [level for what, level in found.items() if what.startswith("clock: PostgreSQL agrees")])

    async def test_drain_sends_them_to_the_other_node(self) -> None:
        one, other = await self.node("one"), await self.node("other")
        client = await self.connect(one)
        await client.join("party", "ann")
        watcher = await self.connect(other)
        await watcher.join("party", "bob")
        while (await self.spawn(one, "drain").ended).status:
            pass  # the nodes know each other after a moment
        self.assertEqual(await client.closed, 1012)
        again = await self.connect(other)
        self.assertEqual((await again.join("party", "ann"))["hostUserId"], "ann")
        self.assertNotIn("USER_LEFT", watcher.heard)

    async def test_doctor_names_what_is_wrong_and_the_remedy(self) -> None:
        one = await self.node("one")
        self.redis.execute("config", "set", "maxmemory-policy", "allkeys-lru")
        run = await self.ctl(one, "--json", "doctor", status=1, **self.environ)
        problems = {one["what"]: one["remedy"] for one in run.json if one["level"] == "problem"}
        self.assertIn("noeviction", problems[f"Redis at {self.redis.path}: maxmemory-policy is allkeys-lru"])
        port = private_servers.free_port()
        master = private_servers.Redis(port=port)
        self.addCleanup(master.stop)
        sentinel = private_servers.Sentinel(port, quorum=1)
        self.addCleanup(sentinel.stop)
        watched = {**self.environ, "REDIS_HOST": "", "TANDEMD_REDIS_SENTINELS": f"127.0.0.1:{sentinel.port}"}
        for replicas, problem in ((0, True), (1, False)):
            master.execute("config", "set", "min-replicas-to-write", str(replicas))
            run = await self.ctl(one, "--json", "doctor", status=1 if problem else 0, **watched)
            problems = {one["what"]: one["remedy"] for one in run.json if one["level"] == "problem"}
            self.assertEqual(any("min-replicas-to-write" in what for what in problems), problem, problems)
        away = {**self.environ, "POSTGRES_HOST": str(self.home), "REDIS_HOST": str(self.home / "none")}
        run = await self.ctl(one, "--json", "doctor", status=1, **away)
        problems = {one["what"]: one["remedy"] for one in run.json if one["level"] == "problem"}
        self.assertTrue(any(what.startswith("postgres:") for what in problems), problems)
        self.assertTrue(any(what.startswith("Redis at") for what in problems), problems)
        self.assertTrue(all(problems.values()))


class WithoutNodeTests(SynchronousTestCase):
    """Commands without a daemon."""

    def setUp(self) -> None:
        self.home = pathlib.Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.environ = {"TANDEMD_STATE_DIR": str(self.home / "state")}

    def ctl(self, *arguments: str, status: int = 0, **environ: str) -> str:
        result = CliRunner().invoke(main, arguments, env={**self.environ, **environ}, prog_name="tandemctl")
        self.assertEqual(result.exit_code, status, result.output)
        return str(result.output)

    def test_check_config(self) -> None:
        output = self.ctl("check-config", TANDEMD_ROOMS_GRACE="90s", POSTGRES_HOST="db", POSTGRES_PASSWORD="hunter2")
        self.assertRegex(output, r"(?m)^rooms\.grace +TANDEMD_ROOMS_GRACE +90s$")
        self.assertRegex(output, r"(?m)^postgres\.password +POSTGRES_PASSWORD +\(set\)$")
        self.assertRegex(output, r"(?m)^limits\.position_rate +default +20/s, burst 100$")
        self.assertRegex(output, r"(?m)^fast_path +default +true$")
        self.assertRegex(output, r"(?m)^titles\.allowed +default +https://www\.netflix\.com/watch, https:")
        self.assertNotIn("hunter2", output)
        values = {value["key"]: value for value in json.loads(self.ctl("--json", "check-config"))["values"]}
        self.assertEqual((values["rooms.grace"]["value"], values["rooms.grace"]["source"]), ("45s", "default"))
        self.assertIn("a duration from ", values["rooms.grace"]["allowed"])
        self.assertIn("TANDEMD_ROOMS_GRACE", self.ctl("check-config", status=2, TANDEMD_ROOMS_GRACE="long"))
        file = self.home / "tandemd.yaml"
        file.write_text("rooms:\n  grase: 1\n")
        self.assertIn("rooms.grace?", self.ctl("--config", str(file), "check-config", status=2))

    def test_migrate(self) -> None:
        database = self.home / "state/tandemd.sqlite"
        (self.home / "state").mkdir()
        output = self.ctl("migrate", "--dry-run")
        self.assertIn("would apply 0001_rooms_users_events.sql", output)
        self.assertFalse(database.exists(), "it is only tried")
        self.assertEqual(os.listdir(self.home / "state"), [])
        self.assertIn("applied 0001_rooms_users_events.sql", self.ctl("migrate"))
        self.assertTrue(database.exists())
        self.assertEqual(self.ctl("migrate", "--dry-run").strip(), "nothing to do")
        self.assertEqual(json.loads(self.ctl("--json", "migrate")), {"applied": [], "dryRun": False})
        database.write_bytes(b"this is no database, and longer than a header" * 100)
        self.assertIn(str(database), self.ctl("migrate", status=1))

    def test_mint_token(self) -> None:
        key = self.home / "k1.secret"
        key.write_text("s" * 64)
        token = self.ctl("mint-token", "--key", str(key), "--room", "r", "--user", "u", "--role", "host").strip()
        self.assertEqual(token.count("."), 2)
        claims = json.loads(self.ctl("--json", "mint-token", "--key", str(key), "--room", "r", "--user", "u"))["claims"]
        self.assertEqual((claims["aud"], claims["role"], claims["exp"] - claims["iat"]), ("tandemd", "guest", 3600))
        self.assertIn(
            "none.secret", self.ctl("mint-token", "--key", "none.secret", "--room", "r", "--user", "u", status=1)
        )

    def test_malformed_urls(self) -> None:
        """Python's errors about them are those of values, not of connections."""
        token = self.home / "token"
        token.write_text("t" * 32)
        for url in ("http://127.0.0.1:99999", "http://[::1", "http://a..b:1", "127.0.0.1:4001"):
            output = self.ctl("--url", url, "--token-file", str(token), "rooms", status=3)
            self.assertIn(url, output)
            self.assertNotIn("Traceback", output)
            self.assertIn("outside: ", self.ctl("doctor", url, status=1), url)

    def test_completion(self) -> None:
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("_TANDEMCTL_COMPLETE", self.ctl("completion", shell))
        offered = self.ctl(COMP_WORDS="tandemctl dr", COMP_CWORD="1", _TANDEMCTL_COMPLETE="bash_complete")
        self.assertEqual(offered.split(), ["plain,drain"])

    def test_where_the_node_is(self) -> None:
        self.assertIn("--url", self.ctl("rooms", status=2, PORT="unix:/run/socket", TANDEMD_ADMIN_TOKEN="t" * 32))
        self.assertIn("admin.token", self.ctl("rooms", status=2))
        for port, url in {
            "4002": "http://127.0.0.1:4002",
            "tcp6:4004": "http://[::1]:4004",
            "tcp:port=4005:interface=10.0.0.1": "http://10.0.0.1:4005",
            "tls:/etc/tandemd/tls": "https://[::1]:443",
            "tls:/etc/tandemd/tls:port=4006": "https://[::1]:4006",
            "ssl:4007:privateKey=key.pem": "https://127.0.0.1:4007",
            "tcp:4003:interface=127.0.0.1": "http://127.0.0.1:4003",
            "systemd:domain=INET6:index=0": "http://127.0.0.1:4001",
        }.items():
            self.patch(os, "environ", {**self.environ, "PORT": port})
            self.assertEqual(CtlSettings(None, "", None, False).url, url)
        for host, place in {
            "::": "[::1]",
            "10.0.0.1": "10.0.0.1",
            "::1": "[::1]",
            "party.example": "party.example",
        }.items():
            self.patch(os, "environ", {**self.environ, "PORT": "4002", "HOST": host})
            self.assertEqual(CtlSettings(None, "", None, False).url, f"http://{place}:4002")
        for port in ("unix:/run/socket", "haproxy:tcp:4001", "0"):
            self.assertIn("--url", self.ctl("rooms", status=2, PORT=port, TANDEMD_ADMIN_TOKEN="t" * 32))

    def test_what_a_terminal_would_obey(self) -> None:
        self.assertEqual(shown("a\x1b[2J\u202eb\n"), "a�[2J�b�")
        self.assertEqual(shown({"a": [True, None]}), "a=yes, -")

    def test_nor_does_json_reach_one(self) -> None:
        room = "r\x9b2J\u202e\u2028\x85\U000e0041\u00e9"
        with contextlib.redirect_stdout(io.StringIO()) as out:
            as_json({"roomId": room, room: [1]})
        self.assertTrue(out.getvalue().replace("\n", "").isprintable(), ascii(out.getvalue()))
        self.assertIn("\u00e9", out.getvalue())
        self.assertEqual(json.loads(out.getvalue()), {"roomId": room, room: [1]})

    def test_every_finding_has_its_remedy(self) -> None:
        """Nothing is there at all."""
        from tandemd.config import load  # noqa: PLC0415

        environ = {
            **self.environ,
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": "1",
            "TANDEMD_REDIS_SENTINELS": "127.0.0.1:1",
        }
        findings = list(examine(load(None, environ, {}), "http://127.0.0.1:1", Trust(), ""))
        self.assertGreater(sum(finding.level == "problem" for finding in findings), 2)
        for finding in findings:
            self.assertEqual(bool(finding.remedy), finding.level != "ok", finding)


class ImportTests(SynchronousTestCase):
    def test_tandemctl_loads_no_server_code(self) -> None:
        """The import contracts see static imports only; this test sees all imports."""
        program = "import sys, tandemd.ctl.main; print(*sys.modules)"
        loaded = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
        ).stdout.split()
        packages = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("tandemd.")}
        servers = {f"tandemd.{name}" for name in ("app", "rooms", "store", "web", "websocket", "metrics", "tap")}
        self.assertEqual(packages & servers, set())
        self.assertNotIn("twisted.internet.reactor", loaded)
