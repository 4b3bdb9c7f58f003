"""The server under the system call filter of its systemd units."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from ..support.daemon_process import ROOT, DaemonTestCase
from ..support.under_unit import lacking

RUNNER = [sys.executable, str(ROOT / "tests/support/under_unit.py")]
UNITS = ("debian/tandemd.service", "debian/tandemd@.service")


class UnitTests(DaemonTestCase):
    skip = lacking() or None

    async def party(self, unit: pathlib.Path) -> None:
        """Have a party with a PIN on a daemon that runs under the unit's filter."""
        self.under = [*RUNNER, str(unit)]
        daemon = await self.running()
        ann, bob = await self.connect(daemon), await self.connect(daemon)
        ann.say("JOIN", roomId="room", userId="ann", pin="123456")
        state = await ann.messages.next(lambda it: it["type"] in ("ROOM_STATE", "ERROR"))
        self.assertEqual(state["type"], "ROOM_STATE", state)
        bob.say("JOIN", roomId="room", userId="bob", pin="654321")
        await bob.hear("ERROR", code="bad_pin")
        await bob.join("room", "bob", pin="123456")
        self.assertEqual([line for line in daemon.log if line["level"] in ("error", "critical")], [])

    async def test_a_party_with_a_pin(self) -> None:
        await self.party(ROOT / UNITS[0])

    async def test_a_filter_without_setpriority(self) -> None:
        """An operator's drop-in may forbid more than the unit does."""
        unit = self.home / "strict.service"
        unit.write_text("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n")
        await self.party(unit)

    def test_what_the_units_allow(self) -> None:
        for name in UNITS:
            for call, status in (("os.setpriority(os.PRIO_PROCESS, 0, 5)", 0), ("os.sched_setaffinity(0, {0})", 1)):
                done = subprocess.run(
                    [*RUNNER, str(ROOT / name), sys.executable, "-c", f"import os; {call}"],
                    check=False,
                    capture_output=True,
                    text=True,
                )
                self.assertEqual(done.returncode, status, (name, call, done.stderr))
                self.assertEqual("PermissionError" in done.stderr, bool(status), done.stderr)
