"""The states of a pending JOIN, their picture in the documentation, and the cancellation in each of them."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.config.schema import Limits
from tandemd.errors import ErrorCode, RequestError
from tandemd.rooms.joining.pending_join import TRANSITIONS, JoinState, PendingJoin
from tandemd.rooms.session import Session
from tandemd.rules.state import Version
from tests.support.fake_node import HeldStore, ServiceTestCase

ARCHITECTURE = pathlib.Path(__file__).resolve().parents[3] / "docs/architecture.md"


class StateMachineTests(SynchronousTestCase):
    def test_picture(self) -> None:
        """The state diagram of docs/architecture.md shows each transition, and no other."""
        text = ARCHITECTURE.read_text()
        [diagram] = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", text, re.DOTALL)
        drawn = {
            (before, after)
            for before, after in re.findall(r"^ +([\w*\[\]]+) --> ([\w*\[\]]+)", diagram, re.MULTILINE)
            if "[*]" not in (before, after) and after != JoinState.DONE.value
        }
        declared = {(state.value, after.value) for state, states in TRANSITIONS.items() for after in states}
        self.assertEqual(drawn, declared - {pair for pair in declared if pair[1] == JoinState.DONE.value})

    def test_other_transitions_are_errors(self) -> None:
        owner: Any = None
        pending = PendingJoin(owner, owner, m.Join(room_id="r", user_id="u", username="u"))
        pending.move(JoinState.OPENING_ROOM)
        pending.move(JoinState.OPENING_ROOM)
        self.assertRaises(RuntimeError, pending.move, JoinState.REPLAYING)
        self.assertIs(pending.state, JoinState.OPENING_ROOM)


class SlowStore(HeldStore):
    """A store with slow answers. is_slow: whether `load`, `replay` and `take` wait for `answer`."""

    def __init__(self, clock: Any, journal: Any):
        super().__init__(clock, journal)
        self.is_slow = False
        self._questions: list[tuple[Deferred[Any], Callable[[], Deferred[Any]]]] = []

    def answer(self) -> None:
        """Answer all questions."""
        self.is_slow = False
        questions, self._questions = self._questions, []
        for question, ask in questions:
            ask().chainDeferred(question)

    def _ask(self, ask: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        if not self.is_slow:
            return ask()
        question: Deferred[Any] = Deferred()
        self._questions.append((question, ask))
        return question

    def load(self, room_id: str, *, archived: bool = True) -> Deferred[Any]:
        return self._ask(lambda: super(SlowStore, self).load(room_id, archived=archived))

    def replay(self, room_id: str, after: Version) -> Deferred[Any]:
        return self._ask(lambda: super(SlowStore, self).replay(room_id, after))

    def take(self, ways: Any) -> Deferred[Any]:
        return self._ask(lambda: super(SlowStore, self).take(ways))


class Wire:
    """The transport of a session. settled_count: how many JOINs were answered."""

    def __init__(self) -> None:
        self.output = b""
        self.settled_count = 0

    def write(self, data: bytes) -> None:
        self.output += data

    def stream(self, pieces: Iterator[bytes]) -> None:
        self.output += b"".join(pieces)

    def close(self, code: int, reason: str) -> None: ...

    def close_abusive(self, reason: str) -> None: ...

    def probe(self, answered: Callable[[bool], None]) -> None:
        answered(True)

    def crowded(self) -> bool:
        return False

    def settled(self) -> None:
        self.settled_count += 1


class CancellationTests(ServiceTestCase):
    """The end of a connection cancels its JOIN in each state. Afterwards no room is open and no retry is scheduled."""

    options = {"make_store": SlowStore, "limits": Limits(joins=4, room_creations=1)}

    def setUp(self) -> None:
        super().setUp()
        self.rooms = self.world.server.rooms
        self.sessions: list[Session] = []

    def join(self, room_id: str, user_id: str, address: str = "10.0.0.1", **fields: Any) -> PendingJoin:
        session = Session(f"node/boot1/s{len(self.sessions)}", address, Wire(), self.world.server.outbox)
        self.sessions.append(session)
        message = {"type": "JOIN", "roomId": room_id, "userId": user_id, "username": user_id, **fields}
        self.rooms.join(session, m.decode(json.dumps(message).encode()))
        assert session.pending_join is not None
        return session.pending_join

    def cancel(self, pending: PendingJoin, state: JoinState) -> None:
        """Close the connection of a JOIN in a state, then those of all other sessions."""
        self.assertIs(pending.state, state)
        session = pending.session
        self.rooms.closed(session)
        self.assertEqual((pending.state, session.pending_join), (JoinState.DONE, None))
        self.world.advance(0.0)
        output = session._transport.output  # type: ignore[attr-defined]
        self.world.server.pins.release()
        self.world.store.answer()
        self.world.store.release()
        for other in self.sessions:
            self.rooms.closed(other)
        self.world.advance(1.0)
        self.assertEqual(len(self.rooms.open), 0)
        self.assertEqual(session._transport.output, output)  # type: ignore[attr-defined]
        timers = len(self.reactor.getDelayedCalls())
        self.world.advance(120.0)
        self.assertLessEqual(len(self.reactor.getDelayedCalls()), timers)

    def test_rate_limited(self) -> None:
        for number in range(4):
            self.join("room", f"user{number}")
        self.cancel(self.join("room", "more"), JoinState.RATE_LIMITED)

    def test_opening_room(self) -> None:
        self.world.store.is_slow = True
        self.cancel(self.join("room", "user"), JoinState.OPENING_ROOM)

    def test_opening_room_during_an_outage(self) -> None:
        unavailable = RequestError(ErrorCode.UNAVAILABLE, "not now", 1000)
        self.patch(self.world.store, "load", lambda room_id, archived=True: fail(unavailable))
        pending = self.join("room", "user")
        self.assertEqual(pending.session._transport.settled_count, 1)  # type: ignore[attr-defined]
        self.world.advance(10.0)
        self.assertEqual(pending.session._transport.output.count(b"unavailable"), 1)  # type: ignore[attr-defined]
        self.cancel(pending, JoinState.OPENING_ROOM)

    def test_creating(self) -> None:
        take = self.world.store.take
        asked: list[tuple[Deferred[Any], Any]] = []

        def take_later(ways: Any) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()
            asked.append((answer, ways))
            return answer

        self.patch(self.world.store, "take", take_later)
        first, second = self.join("room", "first"), self.join("room", "second", "10.0.0.2")
        self.assertIs(second.state, JoinState.CREATING)
        self.rooms.closed(first.session)
        self.assertEqual(len(asked), 1)
        answer, ways = asked[0]
        take(ways).chainDeferred(answer)
        self.assertEqual(len(asked), 2, "the second JOIN creates the room")
        self.patch(self.world.store, "answer", lambda: take(ways).chainDeferred(asked[1][0]))
        self.cancel(second, JoinState.CREATING)

    def test_hashing(self) -> None:
        self.world.server.pins.holding = True
        self.cancel(self.join("room", "user", pin="1234"), JoinState.HASHING)

    def test_deferred(self) -> None:
        self.join("room", "user")
        self.cancel(self.join("second", "user"), JoinState.DEFERRED)

    def test_submitted(self) -> None:
        self.world.store.holding = True
        self.cancel(self.join("room", "user"), JoinState.SUBMITTED)

    def test_waiting_for_change(self) -> None:
        self.join("room", "user")
        self.cancel(self.join("room", "user", "10.0.0.2"), JoinState.WAITING_FOR_CHANGE)

    def test_replaying(self) -> None:
        first = self.join("room", "user", keepsToken=True)
        self.world.advance(0.0)
        [token] = re.findall(rb'"token":"([^"]+)"', first.session._transport.output)  # type: ignore[attr-defined]
        self.world.store.is_slow = True
        resume = {"epoch": 12345, "seq": 1}
        self.cancel(self.join("room", "user", token=token.decode(), resume=resume), JoinState.REPLAYING)

    def test_newer_join(self) -> None:
        self.join("room", "user")
        older = self.join("room", "user", "10.0.0.2")
        self.assertIs(older.state, JoinState.WAITING_FOR_CHANGE)
        self.rooms.join(older.session, m.decode(b'{"type":"JOIN","roomId":"room","userId":"new","username":"n"}'))
        newer = older.session.pending_join
        assert newer is not None
        self.assertEqual((older.state, newer.state), (JoinState.DONE, JoinState.DONE))
        self.assertEqual(older.session.user, "new")

    def test_older_join_of_the_same_user_id_and_address(self) -> None:
        """A retry of the newest JOIN cancels the older ones, which would take over from it later."""
        first = self.join("room", "user")
        older, newer = self.join("room", "user", "10.0.0.2"), self.join("room", "user", "10.0.0.2")
        self.rooms.receive(first.session, m.decode(b'{"type":"LEAVE"}'))
        self.world.advance(0.0)
        self.assertEqual((older.state, older.session.pending_join), (JoinState.DONE, None))
        self.assertEqual((newer.state, newer.session.user), (JoinState.DONE, "user"))

    def test_failure_of_the_hash(self) -> None:
        """An unexpected error is answered, and keeps no room open."""
        self.world.server.pins.holding = True
        pending = self.join("room", "user", pin="1234")
        [(hashed, _)] = self.world.server.pins.held
        hashed.errback(ZeroDivisionError())
        self.world.advance(1.0)
        self.assertIs(pending.state, JoinState.DONE)
        self.assertIn(b'"code":"internal"', pending.session._transport.output)  # type: ignore[attr-defined]
        self.assertEqual(len(self.rooms.open), 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_failure_to_open_after_an_outage(self) -> None:
        """The client of a JOIN that waits for the store learns of a final error, too."""
        errors = [RequestError(ErrorCode.UNAVAILABLE, "not now", 1000), RequestError(ErrorCode.INTERNAL, "never")]
        self.patch(self.world.store, "load", lambda room_id, archived=True: fail(errors.pop(0)))
        pending = self.join("room", "user")
        self.world.advance(10.0)
        self.assertIs(pending.state, JoinState.DONE)
        self.assertIn(b'"code":"internal"', pending.session._transport.output)  # type: ignore[attr-defined]
