"""The client library, run by node: by itself, and against a daemon."""

from __future__ import annotations

import json
import os
import random
import re

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from tandemd import __version__

from ..support.daemon_process import DaemonTestCase
from ..support.node_program import ROOT, find_node, node_with_websocket, run_node
from ..support.patience import TEST_LIMIT_SECONDS

CLIENT = ROOT / "tandemd/web/client"
SCRIPTS = ROOT / "tests/web/client"
WITH_DAEMON = ("cuts.mjs", "party.mjs", "restart.mjs")
NOT_TESTS = ("fake_globals.mjs", "live.mjs", "support.mjs")
CUTS = os.environ.get("TANDEMD_TEST_CUTS", "40")
"""How many connections the test of lost connections cuts; 1000 take a minute or two."""


class PackageTests(TestCase):
    """The files of the npm package."""

    def test_version(self) -> None:
        self.assertEqual(json.loads((CLIENT / "package.json").read_text())["version"], __version__)

    def test_the_readme_names_every_option_and_its_default(self) -> None:
        readme = (CLIENT / "README.md").read_text()
        for module in ("connection.js", "party.js"):
            defaults = re.findall(r"_DEFAULTS = Object.freeze\(\{(.*?)\}\)", (CLIENT / module).read_text(), re.DOTALL)[
                0
            ]
            for name, value in re.findall(r"^  (\w+): '?([^',]+)'?,$", defaults, re.MULTILINE):
                row = next((row for row in readme.splitlines() if row.startswith("| `") and f"`{name}`" in row), "")
                self.assertIn(value.replace("_", ""), row, name)

    def test_only_the_player_touches_a_document(self) -> None:
        for module in CLIENT.glob("*.js"):
            if module.name in ("calls.js", "environment.js"):
                continue
            code = re.sub(r"^\s*(//|/?\*).*$", "", module.read_text(), flags=re.MULTILINE)
            found = re.findall(r"\b(?:document|window|globalThis|self|location)\b|\bHTML\w+", code)
            self.assertEqual(found, [], f"{module.name}: use environment.js")


class ModulesTests(TestCase):
    """The parts, with simulated time, players and sockets."""

    timeout = TEST_LIMIT_SECONDS

    async def test_modules(self) -> None:
        scripts = [str(path) for path in sorted(SCRIPTS.glob("*.mjs")) if path.name not in (*WITH_DAEMON, *NOT_TESTS)]
        self.assertGreater(len(scripts), 5)
        await run_node((find_node(),), "--test", *scripts)


class DaemonTests(DaemonTestCase):
    """The library with a daemon. The process of node ends by itself: nothing of the library is left behind."""

    async def url(self) -> str:
        """Start a daemon; return the address of its WebSocket."""
        daemon = await self.running(TANDEMD_LIMITS_ENABLED="false")
        return f"ws://127.0.0.1:{daemon.port}/ws"

    async def test_party(self) -> None:
        command = node_with_websocket()
        url = await self.url()
        await run_node(command, "--test", str(SCRIPTS / "party.mjs"), TANDEMD_URL=url)

    async def test_cut_connections(self) -> None:
        command = node_with_websocket()
        seed = str(random.randrange(2**31))
        print(f"cuts.mjs {CUTS} {seed}")
        url = await self.url()
        output = await run_node(command, str(SCRIPTS / "cuts.mjs"), CUTS, seed, TANDEMD_URL=url)
        print(output)
        self.assertIn(f"CUTS {CUTS} ", output)

    async def test_a_restart(self) -> None:
        command = node_with_websocket()
        first = await self.running(TANDEMD_LIMITS_ENABLED="false")
        assert first.transport is not None
        script = run_node(
            command,
            str(SCRIPTS / "restart.mjs"),
            str(first.transport.pid),
            TANDEMD_URL=f"ws://127.0.0.1:{first.port}/ws",
        )
        finished = ensureDeferred(script)
        await first.ended()
        await self.running(port=first.port, TANDEMD_LIMITS_ENABLED="false")
        self.assertIn("RESTARTED", await finished)

    async def test_the_example_of_the_readme(self) -> None:
        command = node_with_websocket()
        (example,) = re.findall(r"```js\n(import .*?\n)```", (CLIENT / "README.md").read_text(), re.DOTALL)
        self.assertLess(len(example.splitlines()), 50)
        (self.home / "node_modules").mkdir()
        (self.home / "node_modules/tandemd-client").symlink_to(CLIENT)
        (self.home / "party.mjs").write_text(example)
        url = await self.url()
        output = await run_node(command, "party.mjs", url, "my-room", "1", cwd=self.home)
        for line in ("connection: connected", "Robot: Hello!", "title: https://tandemd.invalid/clip", "playing"):
            self.assertIn(line, output)
        self.assertRegex(output, r"the film is at \d+\.\d\n")
        with self.assertRaisesRegex(AssertionError, "failed: unsupported"):
            await run_node(command, "party.mjs", "nonsense", "my-room", cwd=self.home)
