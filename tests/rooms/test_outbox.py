"""Fan-out: each session gets all frames in the order of the calls, in as few writes as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd.metrics import Counter
from tandemd.rooms.session import Outbox, RoomSessions, Session


class FakeWire:
    """Keeps the written frames."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def write(self, data: bytes) -> None:
        if self.closed is None:
            self.writes.append(data)

    def stream(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def close_abusive(self, reason: str) -> None:
        self.closed = 1008, reason

    def probe(self, answered: Callable[[bool], None]) -> None:
        answered(True)

    def crowded(self) -> bool:
        return False

    def settled(self) -> None:
        pass


class Fanout:
    """An outbox, sessions and groups."""

    def __init__(self, sessions: int = 3, groups: int = 1):
        self.clock = Clock()
        self.deliveries = Counter("deliveries", "")
        self.outbox = Outbox(self.clock, self.deliveries)
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
