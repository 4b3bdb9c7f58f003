"""Members that buffer, on the real service: each member learns it, and the room waits if its host wants that."""

from __future__ import annotations

from typing import Any

from tandemd.config import Limits

from ..support.fake_node import TITLE, Client, ServiceTestCase


class BufferingTest(ServiceTestCase):
    """ann is host and bob a guest, with new clients; cid has an old client."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", follows=True)
        self.bob = self.world.join("bob", follows=True)
        self.cid = self.world.join("cid")
        self.ann.say("URL_CHANGE", url=TITLE)
        self.ann.say("WAIT_FOR_BUFFERING", enabled=True)
        self.ann.say("PLAY_PAUSE", control="play", currentTime=100.0)
        self.began = self.world.now
        self.play_for(3.0)
        self.quiet()

    @property
    def clients(self) -> tuple[Client, ...]:
        return self.ann, self.bob, self.cid

    def quiet(self) -> None:
        for client in self.clients:
            client.told()

    def play_for(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            position = 100.0 + self.world.now - self.began
            for client in self.clients:
                client.say("POSITION_UPDATE", currentTime=position, isPlaying=True)
            self.world.advance(0.25)

    def messages(self, kind: str) -> list[list[dict[str, Any]]]:
        return [[one for one in client.told() if one["type"] == kind] for client in self.clients]

    def test_the_room_waits_and_goes_on(self) -> None:
        self.bob.say("STATUS", status="buffering")
        (one, *_), *others = self.messages("MEMBER_STATUS")
        self.assertHas(one, userId="bob", status="buffering")
        self.assertEqual(others, [[one], [one]])
        self.play_for(1.75)
        (pause,), *others = self.messages("SEEK_PAUSE")
        self.assertHas(pause, userId="server")
        self.assertNotIn("by", pause)
        self.assertEqual(others, [[pause], [pause]], "an old client waits too")
        self.assertAlmostEqual(pause["currentTime"], 104.5, 1)
        for client in (self.ann, self.cid):
            client.say("READY", targetTime=pause["currentTime"])
        self.world.advance(0.5)
        self.assertEqual(self.messages("PLAY_PAUSE"), [[], [], []])
        self.bob.say("STATUS", status="watching")
        self.bob.say("READY", targetTime=pause["currentTime"])
        (play,), *others = self.messages("PLAY_PAUSE")
        self.assertHas(play, userId="server", control="play", currentTime=pause["currentTime"])
        self.assertEqual(others, [[play], [play]])

    def test_newcomers_see_it(self) -> None:
        self.bob.say("STATUS", status="away")
        state = self.the(self.world.join("dan").told(), "ROOM_STATE")
        self.assertIs(state["waitForBuffering"], True)
        self.assertEqual([user.get("status") for user in state["users"]], [None, "away", None, None])

    def test_wrong_messages(self) -> None:
        for status in ("", "asleep", None, 5, ["away"]):
            self.refused(self.bob.send("STATUS", status=status), "bad_message")
        self.refused(self.bob.send("WAIT_FOR_BUFFERING", enabled=True), "forbidden")
        self.refused(self.ann.send("WAIT_FOR_BUFFERING", enabled="yes"), "bad_message")
        stranger = self.world.connect()
        self.refused(stranger.send("STATUS", status="away"), "not_joined")
        self.assertEqual(self.messages("MEMBER_STATUS"), [[], [], []])

    def test_no_row_of_the_archive_has_it(self) -> None:
        rows = len([commit for _, commit in self.world.server.journal if commit.has_row])
        self.bob.say("STATUS", status="away")
        self.world.settle()
        self.assertEqual(len([commit for _, commit in self.world.server.journal if commit.has_row]), rows)


class FloodTest(ServiceTestCase):
    options = {"limits": Limits()}

    def test_a_flood_is_refused(self) -> None:
        """A member that changes its status all the time costs the others a few messages, and then none."""
        ann, bob = self.world.party("ann", "bob")
        for number in range(100):
            bob.say("STATUS", status=("away", "watching")[number % 2])
        self.assertLess(len(ann.told("MEMBER_STATUS")), 40)
        self.assertGreater(len(bob.told("ERROR")), 50)
