"""Fan-out: each session gets all frames in the order of the calls, in as few writes as possible."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd.metrics import Counter
from tandemd.rooms.outbox import GATHER_BYTES, GATHER_SECONDS, LARGE_GROUP_SESSIONS, Outbox, RoomSessions
from tandemd.rooms.session import Session

from ..support.socketless_transport import SocketlessTransport


class FakeWire(SocketlessTransport):
    """Keeps the written frames."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def write(self, data: bytes) -> None:
        if self.closed is None:
            self.writes.append(data)

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def close_abusive(self, reason: str) -> None:
        self.closed = 1008, reason


class Fanout:
    """An outbox, sessions and groups."""

    def __init__(self, sessions: int = 3, groups: int = 1, large: int = LARGE_GROUP_SESSIONS):
        self.clock = Clock()
        self.deliveries = Counter("deliveries", "")
        self.outbox = Outbox(self.clock, self.deliveries, large)
        self.wires = [FakeWire() for _ in range(sessions)]
        self.sessions = [Session(str(i), "", wire, self.outbox) for i, wire in enumerate(self.wires)]
        self.groups = [RoomSessions(self.outbox, cast(Any, None)) for _ in range(groups)]

    def got(self, i: int) -> bytes:
        return b"".join(self.wires[i].writes)


class SessionsTest(TestCase):
    def setUp(self) -> None:
        self.fanout = Fanout()
        self.group = self.fanout.groups[0]
        for i, session in enumerate(self.fanout.sessions):
            self.group.add(session, f"user{i}")

    def test_one_write_a_turn(self) -> None:
        for frame in (b"a", b"b", b"c"):
            self.group.send(frame)
        self.fanout.sessions[1].send(b"x")
        self.assertEqual(self.fanout.wires[0].writes, [])
        self.fanout.clock.advance(0)
        self.assertEqual([wire.writes for wire in self.fanout.wires], [[b"abc"], [b"abcx"], [b"abc"]])
        self.assertEqual(self.fanout.deliveries.value, 10)
        self.assertEqual(self.fanout.clock.getDelayedCalls(), [])

    def test_the_same_bytes_for_all(self) -> None:
        self.group.send(b"a")
        self.group.send(b"b")
        self.fanout.clock.advance(0)
        self.assertIs(self.fanout.wires[0].writes[0], self.fanout.wires[1].writes[0])

    def test_all_but_one(self) -> None:
        self.group.send(b"a")
        self.group.send(b"b", skip="user1")
        self.group.send(b"c")
        self.group.send(b"d", skip="nobody")
        self.fanout.clock.advance(0)
        self.assertEqual([self.fanout.got(i) for i in range(3)], [b"abcd", b"acd", b"abcd"])

    def test_nothing_is_lost_before_a_close(self) -> None:
        self.group.send(b"a")
        self.fanout.sessions[0].close(1012, "restart")
        self.group.send(b"b")
        self.fanout.clock.advance(0)
        self.assertEqual(self.fanout.got(0), b"a")
        self.assertEqual(self.fanout.wires[0].closed, (1012, "restart"))
        self.assertEqual(self.fanout.got(1), b"ab")

    def test_other_session_of_the_same_member(self) -> None:
        """B11: the end of an old connection must not take the new one out."""
        old, wire = self.fanout.sessions[0], FakeWire()
        new = Session("new", "", wire, self.fanout.outbox)
        self.group.remove(old)
        self.group.add(new, "user0")
        self.group.remove(old)
        self.assertIs(self.group.get("user0"), new)
        self.group.send(b"a")
        self.fanout.clock.advance(0)
        self.assertEqual((wire.writes, self.fanout.got(0)), ([b"a"], b""))

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("all"), st.integers(0, 1), st.just(0)),
                st.tuples(st.just("skip"), st.integers(0, 1), st.integers(0, 3)),
                st.tuples(st.just("one"), st.integers(0, 3), st.just(0)),
                st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 1)),
                st.tuples(st.just("remove"), st.integers(0, 3), st.just(0)),
                st.tuples(st.just("turn"), st.just(0), st.just(0)),
                st.tuples(st.just("flush"), st.just(0), st.just(0)),
            ),
            max_size=40,
        )
    )
    def test_the_order_is_that_of_the_calls(self, steps: list[tuple[str, int, int]]) -> None:
        """Each session gets the same bytes as without joined writes."""
        fanout = Fanout(4, 2)
        expected = [b""] * 4
        for number, (step, first, second) in enumerate(steps):
            frame = b"<%d>" % number
            if step in ("all", "skip"):
                skip = f"user{second}" if step == "skip" else ""
                for i, session in enumerate(fanout.sessions):
                    if session.group is fanout.groups[first] and session.user != skip:
                        expected[i] += frame
                fanout.groups[first].send(frame, skip)
            elif step == "one":
                expected[first] += frame
                fanout.sessions[first].send(frame)
            elif step == "turn":
                fanout.clock.advance(0)
            elif step == "flush":
                fanout.outbox.flush()
            else:
                session = fanout.sessions[first]
                if session.group is not None:
                    session.group.remove(session)
                if step == "add":
                    fanout.groups[second].add(session, f"user{first}")
        fanout.clock.advance(0)
        self.assertEqual([fanout.got(i) for i in range(4)], expected)
        self.assertEqual(fanout.deliveries.value, sum(got.count(b"<") for got in expected))


class GatheringTest(TestCase):
    """A large group: here, one of more than two sessions."""

    def setUp(self) -> None:
        self.fanout = Fanout(4, large=2)
        self.group = self.fanout.groups[0]
        for i, session in enumerate(self.fanout.sessions):
            self.group.add(session, f"user{i}")
        self.clock = self.fanout.clock

    def got(self) -> list[bytes]:
        return [self.fanout.got(i) for i in range(4)]

    def test_one_write_for_all_that_is_gathered(self) -> None:
        for frame in (b"a", b"b", b"c"):
            self.group.gather(frame)
            self.clock.advance(GATHER_SECONDS / 4)
        self.assertEqual(self.got(), [b""] * 4)
        self.clock.advance(GATHER_SECONDS / 4)
        self.clock.advance(0)
        self.assertEqual([wire.writes for wire in self.fanout.wires], [[b"abc"]] * 4)
        self.assertIs(self.fanout.wires[0].writes[0], self.fanout.wires[1].writes[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_playback_takes_along_what_is_gathered(self) -> None:
        self.group.gather(b"a")
        self.group.send(b"play")
        self.group.gather(b"b")
        self.clock.advance(0)
        self.assertEqual([wire.writes for wire in self.fanout.wires], [[b"aplayb"]] * 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_answer_takes_along_what_its_session_has_yet_to_receive(self) -> None:
        self.group.gather(b"a")
        self.fanout.sessions[1].send(b"ack")
        self.group.gather(b"b")
        self.clock.advance(0)
        self.assertEqual(self.got(), [b"", b"aackb", b"", b""])
        self.group.gather(b"c")
        self.clock.advance(GATHER_SECONDS)
        self.clock.advance(0)
        self.assertEqual(self.got(), [b"abc", b"aackbc", b"abc", b"abc"])
        self.assertEqual(self.fanout.deliveries.value, 13)

    def test_a_newcomer_receives_none_of_it(self) -> None:
        wire = FakeWire()
        new = Session("new", "", wire, self.fanout.outbox)
        self.group.gather(b"a")
        self.group.add(new, "new")
        new.send(b"state")
        self.clock.advance(0)
        self.group.gather(b"b")
        self.assertEqual((wire.writes, self.got()), ([b"state"], [b""] * 4))
        self.clock.advance(GATHER_SECONDS)
        self.clock.advance(0)
        self.assertEqual((wire.writes, self.got()), ([b"state", b"b"], [b"ab"] * 4))

    def test_a_close_takes_it_along(self) -> None:
        self.group.gather(b"a")
        self.fanout.sessions[0].close(1012, "restart")
        self.assertEqual(self.got(), [b"a", b"", b"", b""])

    def test_many_bytes_do_not_wait(self) -> None:
        self.group.gather(b"x" * GATHER_BYTES)
        self.clock.advance(0)
        self.assertEqual(self.fanout.got(0), b"")
        self.group.gather(b"y")
        self.clock.advance(0)
        self.assertEqual(len(self.fanout.got(0)), GATHER_BYTES + 1)

    def test_the_last_session_leaves_nothing_behind(self) -> None:
        self.group.gather(b"a")
        for session in self.fanout.sessions:
            self.group.remove(session)
        self.clock.advance(0)
        self.assertEqual((self.got(), self.group.pending), ([b"a"] * 4, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_small_group_gathers_nothing(self) -> None:
        for session in self.fanout.sessions[2:]:
            self.group.remove(session)
        self.group.gather(b"a")
        self.clock.advance(0)
        self.assertEqual(self.got(), [b"a", b"a", b"", b""])

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("gather"), st.integers(0, 1), st.integers(-3, 3)),
                st.tuples(st.just("play"), st.integers(0, 1), st.integers(-3, 3)),
                st.tuples(st.just("answer"), st.integers(0, 3), st.just(0)),
                st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 1)),
                st.tuples(st.just("again"), st.integers(0, 3), st.just(0)),
                st.tuples(st.just("remove"), st.integers(0, 3), st.just(0)),
                st.tuples(st.just("close"), st.integers(0, 3), st.just(0)),
                st.tuples(st.just("turn"), st.just(0), st.integers(0, 3)),
            ),
            max_size=40,
        ),
        st.integers(0, 3),
    )
    def test_only_the_time_differs(self, steps: list[tuple[str, int, int]], large: int) -> None:
        """Each connection receives the same as without gathering; playback and answers as early, the rest in time."""
        fanout = Fanout(4, 2, large)
        expected = [b""] * 4
        closed: set[int] = set()
        prompt: set[int] = set()
        """Sessions that receive everything at the end of this iteration."""
        gathered_at: dict[int, float] = {}
        """The times of the oldest frames that sessions have yet to receive."""
        sent = 0

        def check() -> None:
            now = fanout.clock.seconds()
            for i in range(4):
                if i in prompt or gathered_at.get(i, now) + GATHER_SECONDS <= now:
                    self.assertEqual(fanout.got(i), expected[i])
                self.assertTrue(expected[i].startswith(fanout.got(i)))
                if fanout.got(i) == expected[i]:
                    gathered_at.pop(i, None)
            prompt.clear()

        for number, (step, first, second) in enumerate(steps):
            frame = b"<%d>" % number
            session = fanout.sessions[first]
            if step in ("gather", "play"):
                group = fanout.groups[first]
                skip = f"user{second}" if second >= 0 else ""
                for i, other in enumerate(fanout.sessions):
                    if other.group is group:
                        if other.user != skip:
                            sent += 1
                            if i not in closed:
                                expected[i] += frame
                        if step == "play":
                            prompt.add(i)
                        gathered_at.setdefault(i, fanout.clock.seconds())
                (group.gather if step == "gather" else group.send)(frame, skip)
            elif step == "answer":
                sent += 1
                if first not in closed:
                    expected[first] += frame
                prompt.add(first)
                session.send(frame)
            elif step == "turn":
                fanout.clock.advance(GATHER_SECONDS / 2 * second)
                fanout.clock.advance(0)
                check()
            elif step == "close":
                session.close(1012, "restart")
                closed.add(first)
                self.assertEqual(fanout.got(first), expected[first])
            elif step == "again":
                if session.group is not None:
                    session.group.add(session, session.user)
            else:
                if session.group is not None:
                    session.group.remove(session)
                    if fanout.got(first) != expected[first]:
                        prompt.add(first)
                if step == "add":
                    fanout.groups[second].add(session, f"user{first}")
        fanout.clock.advance(GATHER_SECONDS)
        fanout.clock.advance(0)
        self.assertEqual([fanout.got(i) for i in range(4)], expected)
        self.assertEqual(fanout.deliveries.value, sent)
        self.assertEqual(fanout.clock.getDelayedCalls(), [])
