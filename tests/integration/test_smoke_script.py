"""scripts/smoke_test.py: it must say no when the party does not work, or the scripts that use it would show nothing."""

from __future__ import annotations

import json
import signal
import sys

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from ..support.daemon_process import ROOT, Daemon, DaemonTestCase


class PartyTests(DaemonTestCase):
    async def party(self, *arguments: str) -> tuple[int, str]:
        command = [str(ROOT / "scripts/smoke_test.py"), *arguments]
        out, err, status = await getProcessOutputAndValue(sys.executable, command, env={}, reactor=reactor)
        return status, (out + err).decode()

    def url(self, daemon: Daemon) -> str:
        return f"ws://127.0.0.1:{daemon.port}/ws"

    async def test_it_goes_well(self) -> None:
        status, said = await self.party(self.url(await self.running()))
        self.assertEqual(status, 0, said)
        self.assertRegex(said, "^2 changes, each seen by the other")

    async def test_two_nodes_that_do_not_know_each_other(self) -> None:
        one = await self.running()
        self.state = self.home / "other"
        other = await self.running()
        status, said = await self.party(self.url(one), self.url(other), "--patience=2")
        self.assertEqual(status, 1, said)
        self.assertRegex(said, r"^smoke_test.py: bob did not see play at 10 within 2 s")

    async def test_no_server_there(self) -> None:
        status, said = await self.party("ws://127.0.0.1:1/ws", "--wait=1.5")
        self.assertEqual(status, 1, said)
        self.assertRegex(said, "^smoke_test.py: ann did not get into the room within 1.5 s .*refused")

    async def test_a_restart_in_the_middle(self) -> None:
        daemon = await self.running()
        result = ensureDeferred(self.party(self.url(daemon), "--seconds=5", "--patience=60", "--wait=60"))
        while json.loads((await self.get(f"http://127.0.0.1:{daemon.port}/status"))[1])["localConnections"] < 2:
            await deferLater(reactor, 0.05)
        ended = daemon.ended()
        daemon.kill(signal.SIGTERM)
        await ended
        await self.start(port=daemon.port).ready()
        status, said = await result
        self.assertEqual(status, 0, said)
        self.assertIn("reconnections: ann 1, bob 1", said)
