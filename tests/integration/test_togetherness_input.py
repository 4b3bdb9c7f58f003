"""Bad input about times, rates and statuses, sent to a daemon: rejected by name or ignored, and no other member notices."""

from __future__ import annotations

import time
from typing import Any

from ..support.daemon_process import Client, DaemonTestCase

TITLE = "https://tandemd.invalid/clip"
CENTURY_MS = 100 * 365 * 86_400_000
PLAYBACK = ("PLAY_PAUSE", "RATE_CHANGED", "SEEK_PAUSE", "MEMBER_STATUS", "HOST_CHANGED", "USER_LEFT")


class BadInputTest(DaemonTestCase):
    async def party(self) -> tuple[Client, Client, Client]:
        """Return a host, a guest, and a connection without a room."""
        daemon = await self.running()
        ann, bob, stranger = [await self.connect(daemon) for _ in range(3)]
        for client, user in ((ann, "ann"), (bob, "bob")):
            await client.join("room", user, follows=True, schedules=True)
        await ann.do("URL_CHANGE", url=TITLE)
        await bob.hear("URL_CHANGE")
        return ann, bob, stranger

    async def rejected(self, client: Client, code: str, text: str, /, *named: str) -> None:
        """Send a frame, and expect an ERROR that names something."""
        client.sendMessage(text.encode())
        answer = await client.hear("ERROR")
        self.assertEqual(answer["code"], code, answer)
        for name in named:
            self.assertIn(name, answer["message"])

    async def unnoticed(self, ann: Client, bob: Client, before: int) -> None:
        """See that the guest was told nothing since. A line of chat proves that no other message is on its way."""
        await ann.do("CHAT", text="later")
        await bob.hear("CHAT", text="later")
        told: list[Any] = [one["type"] for one in bob.messages.seen[before:]]
        self.assertEqual([kind for kind in told if kind in PLAYBACK], [])

    async def test_times_and_round_trips(self) -> None:
        ann, bob, _ = await self.party()
        before = len(bob.messages.seen)
        for t0 in (0, -1.5, 50.0 * CENTURY_MS, 2**50):
            began = 1000 * time.time()
            # A claimed round trip is no field of the protocol.
            ann.say("PING", t0=t0, roundTrip=1e9, delay=-5)
            pong = await ann.hear("PONG", t0=t0)
            self.assertLess(abs(pong["received"] - began), CENTURY_MS)
            self.assertGreaterEqual(pong["sent"], pong["received"])
        for wrong in ('"noon"', "[1]", "1e300"):
            await self.rejected(ann, "bad_message", f'{{"type":"PING","t0":{wrong}}}', "t0")
        for at in ("true", '"now"', "-1e300"):
            await self.rejected(
                ann, "bad_message", f'{{"type":"POSITION_UPDATE","currentTime":1,"isPlaying":false,"at":{at}}}', "at"
            )
        # They are no JSON.
        for number in ("NaN", "Infinity", "-Infinity"):
            await self.rejected(ann, "bad_message", f'{{"type":"PING","t0":{number}}}')
            await self.rejected(ann, "bad_message", f'{{"type":"SET_RATE","rate":{number}}}')
        await self.unnoticed(ann, bob, before)

    async def test_positions_from_another_century(self) -> None:
        ann, bob, _ = await self.party()
        await ann.do("PLAY_PAUSE", control="play", currentTime=100)
        started = (await bob.hear("PLAY_PAUSE"))["timestamp"]
        before = len(bob.messages.seen)
        for at in (0, -CENTURY_MS, 50 * CENTURY_MS, -(2.0**50), 2.0**50):
            position = 100 + max(0.0, time.time() - started / 1000)
            ann.say("POSITION_UPDATE", currentTime=position, isPlaying=True, at=at)
        await self.unnoticed(ann, bob, before)
        state = await bob.join("room", "bob", follows=True, schedules=True)
        self.assertTrue(state["isPlaying"])
        self.assertLess(abs(state["currentTime"] - 100 - (state["serverTime"] - started) / 1000), 1.0)

    async def test_rates(self) -> None:
        ann, bob, stranger = await self.party()
        before = len(bob.messages.seen)
        for rate in ("0", "100", "-1", "0.2499", "1e308", '"2"', "null"):
            await self.rejected(ann, "bad_message", f'{{"type":"SET_RATE","rate":{rate}}}', "rate")
        await self.rejected(bob, "forbidden", '{"type":"SET_RATE","rate":2}')
        await self.rejected(stranger, "not_joined", '{"type":"SET_RATE","rate":2}')
        await self.unnoticed(ann, bob, before)

    async def test_statuses(self) -> None:
        ann, bob, stranger = await self.party()
        before = len(bob.messages.seen)
        await self.rejected(
            stranger, "not_joined", '{"type":"STATUS","status":"buffering","userId":"bob","roomId":"room"}'
        )
        for status in ('"asleep"', "5", "null"):
            await self.rejected(ann, "bad_message", f'{{"type":"STATUS","status":{status}}}', "status")
        await self.unnoticed(ann, bob, before)
        # The status is that of the connection's member, also under another user id.
        ann.say("STATUS", status="away", userId="bob")
        self.assertEqual((await bob.hear("MEMBER_STATUS"))["userId"], "ann")
