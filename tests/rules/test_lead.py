"""The lead of scheduled starts, and starts of the film that lie ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import (
    CorrectPlayback,
    Decision,
    MeasuredDelay,
    NodeLost,
    StopAtEnd,
    StopUnwatched,
    Watching,
)
from tandemd.rules.engine import commit_of
from tandemd.rules.join import greeting, state_of
from tandemd.rules.lead import (
    DELAY_STEP_MS,
    MARGIN_SECONDS,
    MAX_DELAY_MS,
    MAX_LEAD_SECONDS,
    has_changed,
    lead,
    one_way_delay,
)
from tandemd.rules.snapshot import dump, load
from tandemd.rules.state import Member, Room
from tandemd.store.redis import codec

from ..support.rules_fixture import START, World


def party(*delays: int, **enter: Any) -> World:
    """Return a room with members "a", "b", ... that watch and can schedule, with these delays in ms."""
    world = World()
    for user, delay in zip("abcdef", delays, strict=False):
        world.join(user, follows=True, **{"schedules": True, **enter})
        world.do("", Watching(True, ((user, world.conns[user]),), delays=(delay,)))
    return world


def start(decision: Decision) -> m.PlayPauseEvent:
    message = decision.messages[-1]
    assert isinstance(message, m.PlayPauseEvent)
    return message


class DelayTest(SynchronousTestCase):
    def test_no_round_trip_is_no_delay(self) -> None:
        self.assertEqual(one_way_delay(()), 0)

    def test_steps(self) -> None:
        for trip, delay in ((0.0, 25), (0.05, 25), (0.0501, 50), (0.2, 100), (0.3, 150), (0.999, 500), (20.0, 500)):
            self.assertEqual(one_way_delay((trip,)), delay, trip)

    def test_one_slow_answer_in_ten_does_not_count(self) -> None:
        self.assertEqual(one_way_delay((0.08,) * 9 + (2.0,)), 50)
        self.assertEqual(one_way_delay((0.08,) * 8 + (2.0,) * 2), 500)
        self.assertEqual(one_way_delay((0.08, 0.1, 0.3)), 150)

    def test_only_a_factor_of_two_is_a_change(self) -> None:
        for known, measured, changed in (
            (0, 25, True), (25, 25, False), (50, 25, True), (50, 75, False), (50, 100, True), (100, 50, True), (100, 0, False),
        ):  # fmt: skip
            self.assertEqual(has_changed(known, measured), changed, (known, measured))

    @given(st.lists(st.floats(0, 1e6), max_size=12))
    def test_any_round_trips(self, trips: list[float]) -> None:
        delay = one_way_delay(trips)
        self.assertEqual(delay % DELAY_STEP_MS, 0)
        self.assertTrue(0 <= delay <= MAX_DELAY_MS)
        self.assertEqual(delay == 0, not trips)


class LeadTest(SynchronousTestCase):
    def test_it_covers_the_longest_delay(self) -> None:
        self.assertAlmostEqual(lead(party(25, 150, 100).room), 0.15 + MARGIN_SECONDS)
        self.assertEqual(lead(party(25, 500).room), MAX_LEAD_SECONDS)

    def test_one_alone_waits_for_no_other(self) -> None:
        self.assertEqual(lead(party(150).room), 0.0)
        world = party(150, 150)
        world.watch("b", False)
        self.assertEqual(lead(world.room), 0.0)

    def test_a_client_that_cannot_schedule(self) -> None:
        world = party(25, 150)
        world.join("old")
        self.assertGreater(lead(world.room), 0.0)
        world.watch("old")
        self.assertEqual(lead(world.room), 0.0)
        world.lose("old")
        self.assertGreater(lead(world.room), 0.0)

    def test_the_delay_of_a_member_is_learnt(self) -> None:
        world = party(25, 150)
        self.assertTrue(world.do("b", MeasuredDelay(50)).commits)
        self.assertAlmostEqual(lead(world.room), 0.05 + MARGIN_SECONDS)
        self.assertFalse(world.do("b", MeasuredDelay(75)).commits)
        self.assertFalse(world.decide("b", MeasuredDelay(200), conn="x/y/9").commits)
        self.assertFalse(world.decide("stranger", MeasuredDelay(200)).commits)
        # A watching member whose connection was lost comes back with its delay.
        world.watch("b", False)
        world.watch("b")
        self.assertEqual(world.member("b").delay, 50)

    @given(
        st.lists(st.tuples(st.integers(-(10**6), 10**9), st.booleans(), st.booleans(), st.booleans()), max_size=6),
        st.sets(st.sampled_from("abcdef")),
    )
    def test_any_members(self, members: list[tuple[int, bool, bool, bool]], leaving: set[str]) -> None:
        room = Room("u", "r", START, 1)
        for user, (delay, watching, schedules, connected) in zip("abcdef", members, strict=False):
            room.members[user] = Member(
                user, user, "n/b/1" if connected else "", 1, START, watching=watching, schedules=schedules, delay=delay
            )
        ahead = lead(room, leaving)
        self.assertTrue(0.0 <= ahead <= MAX_LEAD_SECONDS)
        others = [x for x in room.members.values() if x.watching and x.conn and x.user_id not in leaving]
        if len(others) < 2 or not all(x.schedules for x in others):
            self.assertEqual(ahead, 0.0)


class ScheduledStartTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = party(25, 150)
        self.lead = 0.15 + MARGIN_SECONDS
        self.world.play("a", 100.0)

    @property
    def ahead(self) -> float:
        return self.world.room.playback.at - self.world.now

    def test_play_says_when(self) -> None:
        self.world.pause("a", 100.0)
        message = start(self.world.play("a", 100.0))
        self.assertEqual(message.at, round((START + self.lead) * 1000, 3))
        self.assertEqual((message.current_time, message.timestamp), (100.0, int((START + self.lead) * 1000)))
        self.assertEqual(self.world.position, 100.0)
        self.world.advance(self.lead + 1.0)
        self.assertAlmostEqual(self.world.position, 101.0, 5)

    def test_without_a_position_it_starts_where_it_stands(self) -> None:
        self.world.advance(0.1)
        self.assertEqual(start(self.world.play("a")).current_time, 100.0)

    def test_a_pause_is_never_delayed(self) -> None:
        self.world.advance(0.1)
        message = start(self.world.pause("a"))
        self.assertEqual(
            (message.at, message.timestamp, message.current_time), (None, int(self.world.now * 1000), 100.0)
        )
        self.world.advance(5.0)
        self.assertEqual(self.world.position, 100.0)

    def test_a_seek_between_press_and_start(self) -> None:
        self.world.advance(0.1)
        self.world.seek("a", 500.0)
        self.world.advance(1.0)
        self.assertEqual((self.world.position, self.world.room.playback.playing), (500.0, False))
        self.world.ready("a", 500.0)
        message = start(self.world.ready("b", 500.0))
        self.assertAlmostEqual(self.ahead, self.lead, 5)
        self.assertEqual((message.user_id, message.at), (m.SERVER, round((self.world.now + self.lead) * 1000, 3)))

    def test_a_gate_that_opens_because_a_member_has_gone(self) -> None:
        """The one that goes is no reason to wait longer, nor to wait less."""
        world = party(25, 50, 500)
        world.seek("a", 500.0)
        world.ready("a", 500.0)
        world.ready("b", 500.0)
        world.lose("c")
        self.assertAlmostEqual(world.room.playback.at - world.now, 0.05 + MARGIN_SECONDS, 5)
        world.join("old")
        world.watch("old")
        world.seek("a", 600.0)
        world.ready("a", 600.0)
        world.ready("b", 600.0)
        world.leave("old")
        self.assertAlmostEqual(world.room.playback.at - world.now, 0.05 + MARGIN_SECONDS, 5)

    def test_a_member_that_joins_between(self) -> None:
        self.world.advance(0.1)
        self.world.join("c", follows=True, schedules=True)
        state = state_of(self.world.room, self.world.now, ())
        self.assertEqual((state.current_time, state.is_playing), (100.0, True))
        self.assertEqual(
            (state.server_time, state.at), (int(self.world.now * 1000), round((START + self.lead) * 1000, 3))
        )
        last = greeting(
            self.world.room, "c", self.world.now, (), first=True, controls=False, resumed=None, token=None
        )[-1]  # fmt: skip
        assert isinstance(last, m.PlayPauseEvent)
        self.assertEqual((last.control, last.at), ("play", state.at))
        self.world.advance(1.0)
        self.assertEqual(state_of(self.world.room, self.world.now, ()).at, None)

    def test_observations_between(self) -> None:
        """The end of the film, an unwatched film and the host's player, each judged by a node that is a little behind."""
        for body in (StopAtEnd(100.5), StopUnwatched()):
            self.assertFalse(self.world.decide("", body).commits)
        self.assertFalse(self.world.decide("a", CorrectPlayback(100.0, False)).commits)
        self.world.lose("a")
        self.world.lose("b")
        self.world.advance(60.0)
        self.assertFalse(self.world.room.playback.playing)
        self.assertTrue(100.0 <= self.world.position <= 145.0)

    def test_stored_rooms_keep_it(self) -> None:
        room = self.world.room
        restored = load(room.room_uuid, room.room_id, room.created_at, room.epoch + 1, room.seq, dump(room))
        self.assertEqual(restored.fields(), room.fields())
        fields = {name: codec.encode_field(value) for name, value in room.fields().items()}
        self.assertEqual(codec.decode_fields(fields), room.fields())
        decision = self.world.decide("a", m.PlayPause(control="play"))
        commit = commit_of(room, "a", decision, self.world.now, self.world.rules)
        self.assertEqual(codec.decode_commit(codec.encode_whole_commit(commit)), commit)

    @given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e6), st.floats(0, 1))
    def test_a_start_is_never_in_the_past(self, one: int, other: int, position: float, later: float) -> None:
        world = party(one, other)
        world.play("a", position)
        at = world.room.playback.at
        self.assertTrue(world.now <= at <= world.now + MAX_LEAD_SECONDS)
        world.now += later
        expected = position + max(0.0, world.now - at)
        self.assertAlmostEqual(world.position, expected, 4)
        self.assertGreaterEqual(world.room.playback.moment(world.now), world.now)


def is_here(world: World, user: str) -> bool:
    member = world.room.members.get(user)
    return member is not None and bool(member.conn)


BETWEEN: dict[str, Callable[[World], object]] = {
    "a new client joins": lambda world: world.join("new", follows=True, schedules=True),
    "an old client joins": lambda world: (world.join("old"), world.watch("old")),
    "another connection takes over": lambda world: world.join("b", node="m", schedules=True),
    "a connection is lost": lambda world: world.lose("b"),
    "the host is lost": lambda world: world.lose("a"),
    "the node dies": lambda world: world.do("", NodeLost("n/")),
    "a member leaves": lambda world: world.leave("c") if is_here(world, "c") else None,
    "a delay is learnt": lambda world: world.do("b", MeasuredDelay(500)),
    "a player reports where it stands": lambda world: world.do("a", CorrectPlayback(100.0, False)),
    "the watchers are seen again": lambda world: world.watch("b"),
}
"""Events between the press and the start that are no control."""


class BetweenPressAndStartTest(SynchronousTestCase):
    @given(st.lists(st.tuples(st.sampled_from(sorted(BETWEEN)), st.floats(0.0, 0.2)), max_size=8))
    def test_the_start_stays_where_it_is(self, events: list[tuple[str, float]]) -> None:
        world = party(25, 150, 500)
        world.play("a", 100.0)
        at = world.room.playback.at
        for name, seconds in events:
            if world.now + seconds >= at:
                break
            world.now += seconds
            BETWEEN[name](world)
            playback = world.room.playback
            self.assertEqual((playback.at, playback.position, playback.playing), (at, 100.0, True), name)
            self.assertEqual(world.position, 100.0)
            state = state_of(world.room, world.now, ())
            self.assertEqual((state.at, state.current_time), (round(at * 1000, 3), 100.0))
        self.assertEqual(world.room.playback.position_at(at + 3.0), 103.0)

    @given(st.lists(st.sampled_from(sorted(BETWEEN)), max_size=4), st.floats(0.0, 0.4), st.booleans())
    def test_a_control_ends_it_at_once(self, events: list[str], later: float, seeks: bool) -> None:
        """A paused room never moves, and a seek waits for its own gate."""
        world = party(25, 150, 500)
        world.join("d", follows=True, schedules=True)
        world.play("a", 100.0)
        world.do("a", m.DelegateControl(target_user_id="d", enabled=True))
        for name in events:
            BETWEEN[name](world)
        world.now += later
        where = 500.0 if seeks else 100.0
        if is_here(world, "d"):
            world.seek("d", 500.0) if seeks else world.pause("d")
            # Without a member to wait for, the gate opens at once.
            playback = world.room.playback
            self.assertEqual(playback.playing, seeks and world.room.gate is None)
            self.assertEqual(world.position, where)
            if not playback.playing:
                self.assertEqual(playback.position_at(world.now + 60.0), where)
