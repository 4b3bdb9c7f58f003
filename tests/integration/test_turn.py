"""A real coturn accepts the credentials that members receive, and no others."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tandemd.auth.ice_servers import turn_credential

from ..support.coturn import Coturn, TurnClient, turnserver_program
from ..support.daemon_process import DaemonTestCase

NORTH, SOUTH = "north" * 8, "south" * 8
UNAUTHORIZED = 401


class CoturnTests(SynchronousTestCase):
    def setUp(self) -> None:
        turnserver_program()
        home = pathlib.Path(self.mktemp()).resolve()
        home.mkdir()
        server = Coturn(home, [NORTH, SOUTH])
        self.addCleanup(server.stop)
        self.client = TurnClient(server.port)

    def allocate(self, secret: str, seconds: float, user: str = "ann") -> int:
        """Return the answer to a credential that ends in some seconds."""
        return self.client.allocate(*turn_credential(secret.encode(), user, int(time.time() + seconds)))

    def test_valid(self) -> None:
        self.assertEqual(self.allocate(NORTH, 600), 0)
        self.assertEqual(self.allocate(SOUTH, 600), 0, "the other secret of a rotation")
        for user in ("Ann Lee", "żółć:5", "😀" * 64):
            self.assertEqual(self.allocate(NORTH, 600, user), 0, user)

    def test_expired(self) -> None:
        self.assertEqual(self.allocate(NORTH, -60), UNAUTHORIZED)

    def test_a_wrong_secret(self) -> None:
        self.assertEqual(self.allocate("eastern" * 6, 600), UNAUTHORIZED)

    def test_a_longer_life_than_the_signed_one(self) -> None:
        username, credential = turn_credential(NORTH.encode(), "ann", int(time.time() - 60))
        longer = f"{int(time.time()) + 600}:{username.partition(':')[2]}"
        self.assertEqual(self.client.allocate(longer, credential), UNAUTHORIZED)


class MemberTests(DaemonTestCase):
    async def test_members_get_what_the_server_accepts(self) -> None:
        turnserver_program()
        secret = self.home / "turn.secret"
        secret.write_text(f"{NORTH}\n{SOUTH}\n")
        os.chmod(secret, 0o600)
        server = Coturn(self.home, [NORTH])
        self.addCleanup(server.stop)
        daemon = await self.running(
            TANDEMD_CALLS_ICE_SERVERS=f"stun:127.0.0.1:{server.port}, turn:127.0.0.1:{server.port}",
            TANDEMD_CALLS_TURN_SECRET_FILE=str(secret),
            TANDEMD_CALLS_TURN_TTL="10m",
        )
        ann = await self.connect(daemon)
        state = await ann.join("r", "ann", calls=True)
        ann.say("REQUEST_ICE_SERVERS")
        for message in (state, await ann.hear("ICE_SERVERS")):
            stun, turn = message["iceServers"]
            self.assertEqual(stun, {"urls": [f"stun:127.0.0.1:{server.port}"]})
            self.assertEqual(message["iceServersTtlMs"], 600_000)
            self.assertEqual(self.allocate(server, turn), 0)
        self.assertEqual(self.allocate(server, {**turn, "credential": turn["credential"][::-1]}), UNAUTHORIZED)

    def allocate(self, server: Coturn, turn: dict[str, Any]) -> int:
        return TurnClient(server.port).allocate(turn["username"], turn["credential"])
