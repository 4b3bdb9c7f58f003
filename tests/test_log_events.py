"""The log calls of tandemd: each has an `event`, a name that programs may filter by."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .support.daemon_process import DaemonTestCase

ROOT = Path(__file__).parent.parent / "tandemd"
LEVELS = {"debug", "info", "warn", "error", "critical", "failure"}


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Return the place and the call of each log line."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                target = node.func.value
                name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
                if name in ("log", "_log"):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


class EventTests(SynchronousTestCase):
    def test_each_line_has_an_event(self) -> None:
        calls = list(log_calls())
        self.assertGreater(len(calls), 60)
        for place, call in calls:
            events = [keyword.value for keyword in call.keywords if keyword.arg == "event"]
            self.assertEqual(len(events), 1, f"{place} has no event")
            value = events[0]
            assert isinstance(value, ast.Constant) and isinstance(value.value, str), place
            self.assertRegex(value.value, r"^[a-z]+(_[a-z]+)*$", place)

    def test_no_field_hides_one_of_every_line(self) -> None:
        for place, call in log_calls():
            fields = {keyword.arg for keyword in call.keywords}
            self.assertEqual(fields & {"time", "level", "logger", "message", "error_type", "traceback"}, set(), place)


class DaemonLogTests(DaemonTestCase):
    async def test_each_line_of_a_node(self) -> None:
        daemon = await self.running(NODE_ID="n7", LOG_LEVEL="debug")
        client = await self.connect(daemon)
        await client.join("room", "ann")
        await daemon.logs(lambda line: line["event"] == "ready")
        for line in daemon.log:
            self.assertEqual(line["node"], "n7", line)
            self.assertTrue(line["event"], line)
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        (address,) = [line["address"] for line in daemon.log if line["event"] == "listening"]
        self.assertEqual(address.rpartition(":")[2], str(daemon.port))
