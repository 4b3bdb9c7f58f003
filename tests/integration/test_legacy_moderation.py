"""Moderation by a host, with clients that have never heard of it."""

from __future__ import annotations

from typing import Any

from ..support.fake_node import TITLE, ServiceTestCase
from ..support.legacy_client import OldClient


class OldModerationTest(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.viewers = [OldClient(self.world, name, "room", f"10.0.{i}.1", None, i) for i, name in enumerate("abc")]
        for viewer in self.viewers:
            self.addCleanup(viewer.stop)
            viewer.start()
            self.world.advance(1)
        self.host, self.bob, self.cid = self.viewers
        self.host.go(TITLE)
        self.world.advance(15)
        for viewer in self.viewers:
            self.assertEqual((viewer.url, viewer.watching), (TITLE, True))

    def do(self, kind: str, **fields: Any) -> None:
        """Send a message that the host's client cannot send."""
        self.host.say(kind, **fields)
        self.world.advance(1)

    def members(self) -> list[str]:
        room = self.world.room()
        assert room is not None
        return list(room.members)

    def test_a_kick_holds_and_begins_no_loop(self) -> None:
        connections = len(self.world.links)
        self.do("KICK", targetUserId="b")
        self.assertEqual((self.bob.tiles, self.bob.calls), (set(), set()))
        for other in (self.host, self.cid):
            self.assertNotIn("b", other.tiles | other.calls)
        self.world.advance(100)
        self.bob.load(TITLE)
        self.world.advance(30)
        self.assertEqual(len(self.world.links), connections, "nothing made it connect again")
        assert self.bob.socket is not None
        self.bob.socket.cut()
        self.world.advance(30)
        self.assertEqual(len(self.world.links), connections + 1, "it came back once, and stayed")
        self.assertEqual(self.members(), ["a", "c"])
        self.assertEqual((self.host.tiles, self.cid.tiles), ({"c"}, {"a"}))
        # Its actions concern no member any more.
        self.bob.say("CHAT", text="x")
        self.bob.press(not self.bob.player.playing)
        self.world.advance(10)
        self.assertEqual(self.host.chats, [])

    def test_after_the_time_a_page_that_is_loaded_is_in_again(self) -> None:
        self.do("KICK", targetUserId="b")
        self.world.advance(300)
        self.assertEqual(self.members(), ["a", "c"])
        self.bob.load(TITLE)
        self.world.advance(10)
        self.assertEqual(self.members(), ["a", "c", "b"])
        self.assertEqual((self.bob.tiles, self.host.tiles), ({"a", "c"}, {"b", "c"}))
        self.assertEqual(self.bob.url, TITLE)

    def test_a_worker_with_a_new_id_does_not_get_round_a_ban(self) -> None:
        self.do("BAN", targetUserId="b")
        self.bob.restart_worker("b2")
        self.world.advance(60)
        self.assertEqual(self.members(), ["a", "c"])

    def test_a_locked_room_lets_in_who_waited(self) -> None:
        self.do("LOCK_ROOM", locked=True)
        dan = OldClient(self.world, "d", "room", "10.0.9.1", None, 9)
        self.addCleanup(dan.stop)
        dan.start()
        connections = len(self.world.links)
        self.world.advance(100)
        self.assertEqual(self.members(), ["a", "b", "c"])
        self.do("LOCK_ROOM", locked=False)
        self.world.advance(10)
        self.assertEqual((self.members(), dan.url), (["a", "b", "c", "d"], TITLE))
        self.assertEqual(len(self.world.links), connections)

    def test_a_delegate_controls_the_film_whatever_happens(self) -> None:
        self.do("DELEGATE_CONTROL", targetUserId="b", enabled=True)

        def controlled() -> None:
            self.assertEqual((self.bob.guest_control, self.cid.guest_control), (True, False))
            for _ in range(2):
                wanted = not self.bob.player.playing
                self.bob.press(wanted)
                self.world.advance(5)
                self.assertEqual([viewer.player.playing for viewer in self.viewers], [wanted] * 3)

        controlled()
        self.do("TOGGLE_GUEST_CONTROL", enabled=True)
        self.do("TOGGLE_GUEST_CONTROL", enabled=False)
        controlled()
        assert self.bob.socket is not None
        self.bob.socket.cut()
        self.world.advance(10)
        controlled()
        self.bob.load(TITLE)
        self.world.advance(15)
        controlled()
        rooms = self.world.crash()
        self.world.start(rooms)
        self.world.advance(15)
        controlled()
        self.do("DELEGATE_CONTROL", targetUserId="b", enabled=False)
        self.assertFalse(self.bob.guest_control)
        self.assertFalse(self.bob.controls)
