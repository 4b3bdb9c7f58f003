"""STATUS, and rooms that wait for members that buffer."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.buffering import BUFFERING_SECONDS, MAX_KEPT_WAITS, MAX_WAITS, WAITS_SECONDS
from tandemd.rules.commands import StopUnwatched
from tandemd.rules.join import state_of
from tandemd.rules.snapshot import dump, load

from ..support.rules_fixture import TITLE, World, told, types


class BufferingTestCase(SynchronousTestCase):
    """ann is host; she, bob and cid watch; the room plays and waits for members that buffer."""

    def setUp(self) -> None:
        self.world = World()
        for user in ("ann", "bob", "cid"):
            self.world.join(user, follows=True)
            self.world.watch(user)
        self.world.do("ann", m.UrlChange(url=TITLE))
        self.wait()
        self.world.play("ann", 100.0)
        self.world.advance(10.0)

    def wait(self, enabled: bool = True) -> None:
        self.world.do("ann", m.WaitForBuffering(enabled=enabled))

    def status(self, user: str, status: Any) -> list[str]:
        return told(self.world.do(user, m.Status(status=status)))

    def waits(self) -> bool:
        return self.world.room.gate is not None

    def buffer(self, user: str = "bob") -> None:
        """The player of the user stalls until the gate closes."""
        self.status(user, "buffering")
        self.world.advance(BUFFERING_SECONDS)
        self.assertTrue(self.waits())

    def all_ready(self) -> None:
        gate = self.world.room.gate
        assert gate is not None
        for user in gate.pending:
            self.world.ready(user, gate.position)
        self.assertFalse(self.waits())


class StatusTest(BufferingTestCase):
    def test_all_members_are_told(self) -> None:
        (message,) = self.world.do("bob", m.Status(status="buffering")).messages
        assert isinstance(message, m.MemberStatus)
        self.assertEqual((message.user_id, message.status), ("bob", "buffering"))
        users = state_of(self.world.room, self.world.now, ()).users
        self.assertEqual([user.status for user in users], [None, "buffering", None])

    def test_the_same_again_changes_nothing(self) -> None:
        self.assertEqual(self.status("bob", "watching"), [])
        self.assertEqual(self.status("bob", "away"), ["MEMBER_STATUS"])
        self.assertEqual(self.status("bob", "away"), [])

    def test_only_of_oneself(self) -> None:
        self.assertEqual(self.world.refused("eve", m.Status(status="away")), "not_joined")

    def test_a_new_page_watches_and_a_resumed_session_goes_on(self) -> None:
        self.status("bob", "away")
        self.world.join("bob")
        self.assertEqual(self.world.member("bob").status, "watching")
        self.world.join("dan", new_token="T")
        self.status("dan", "away")
        self.world.join("dan", token="T", resume=True)
        self.assertEqual(self.world.member("dan").status, "away")

    def test_stored_rooms_keep_it(self) -> None:
        self.buffer()
        room = self.world.room
        self.assertEqual(
            load(room.room_uuid, room.room_id, room.created_at, room.epoch, room.seq, dump(room)).fields(),
            room.fields(),
        )


class WaitTest(BufferingTestCase):
    def test_the_room_waits_where_it_is(self) -> None:
        self.status("bob", "buffering")
        self.assertEqual(self.world.advance(BUFFERING_SECONDS - 0.1), [])
        (message,) = self.world.advance(0.1)
        assert isinstance(message, m.SeekPause)
        self.assertEqual((message.user_id, message.by), (m.SERVER, ""))
        self.assertAlmostEqual(message.current_time, 111.5, 3)
        self.world.advance(1.0)
        self.assertAlmostEqual(self.world.position, 111.5, 3)
        self.all_ready()
        self.world.advance(1.0)
        self.assertAlmostEqual(self.world.position, 112.5, 3)

    def test_a_short_stall_stops_no_other(self) -> None:
        self.status("bob", "buffering")
        self.world.advance(1.4)
        self.status("bob", "watching")
        self.world.advance(60.0)
        self.assertFalse(self.waits())

    def test_off_by_default_and_at_the_host_s_word(self) -> None:
        self.assertFalse(World().room.settings.wait_for_buffering)
        self.assertEqual(self.world.refused("bob", m.WaitForBuffering(enabled=False)), "forbidden")
        self.wait(False)
        self.status("bob", "buffering")
        self.world.advance(60.0)
        self.assertFalse(self.waits())
        self.wait()
        self.world.advance(0.0)
        self.assertTrue(self.waits())

    def test_only_for_members_that_watch(self) -> None:
        self.world.watch("bob", False)
        self.status("bob", "buffering")
        self.world.join("dan")
        self.status("dan", "buffering")
        self.status("cid", "buffering")
        self.world.lose("cid")
        self.status("ann", "away")
        self.world.advance(10.0)
        self.assertFalse(self.waits())

    def test_nothing_waits_in_a_room_that_stands(self) -> None:
        self.world.pause("ann")
        self.status("bob", "buffering")
        self.world.advance(10.0)
        self.assertFalse(self.waits())
        self.world.play("ann")
        self.assertEqual(types(self.world.advance(BUFFERING_SECONDS)), ["SEEK_PAUSE"])
        for user in ("ann", "bob", "cid"):
            self.world.watch(user, False)
        self.world.advance(10.0)
        self.world.do("", StopUnwatched())
        self.world.advance(10.0)
        self.assertFalse(self.waits())

    def test_it_ends_without_the_one_that_buffers(self) -> None:
        """The gate has its deadline, then closes again, and after a while it gives up."""
        self.status("bob", "buffering")
        closed = [message for message in self.world.advance(120.0) if isinstance(message, m.SeekPause)]
        self.assertTrue(1 <= len(closed) <= MAX_WAITS)
        self.assertTrue(self.world.room.playback.playing)

    def test_three_times_in_five_minutes(self) -> None:
        for _ in range(MAX_WAITS):
            self.buffer()
            self.status("bob", "watching")
            self.all_ready()
            self.world.advance(60.0)
        self.status("bob", "buffering")
        self.world.advance(WAITS_SECONDS)
        self.assertFalse(self.waits())
        # It is waited for again after a control, and others are meanwhile.
        self.buffer("cid")
        self.all_ready()
        self.status("cid", "watching")
        self.world.pause("ann")
        self.world.play("ann")
        self.assertEqual(types(self.world.advance(BUFFERING_SECONDS)), ["SEEK_PAUSE"])

    def test_seldom_is_not_too_often(self) -> None:
        for _ in range(3 * MAX_WAITS):
            self.buffer()
            self.status("bob", "watching")
            self.all_ready()
            self.world.advance(WAITS_SECONDS)
        self.assertEqual(len(self.world.room.playback.waits), 1)

    def test_many_members_one_after_another(self) -> None:
        """The list of waits is bounded, although members come and go."""
        for number in range(MAX_KEPT_WAITS + 20):
            user = f"u{number}"
            self.world.join(user)
            self.world.watch(user)
            self.buffer(user)
            self.world.leave(user)
            self.all_ready()
        self.assertEqual(len(self.world.room.playback.waits), MAX_KEPT_WAITS)
