"""Periodic work goes on after any single failure."""

from __future__ import annotations

import ast
import gc
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

import tandemd
from tandemd.app.runtime_metrics import ReactorLag
from tandemd.errors import ErrorCode, RequestError
from tandemd.metrics import Histogram
from tandemd.rooms.joining.controller import JoinController
from tandemd.rooms.joining.queue import JoinQueue
from tandemd.util.services import Periodic
from tandemd.util.sweeper import Sweeper
from tandemd.web.connection_quota import CloseQueue

from ..support.fake_node import Client, ServiceTestCase
from ..support.redis_nodes import RedisTestCase, until

UNAVAILABLE = RequestError(ErrorCode.UNAVAILABLE, "The store is away.", 2000)
MODULES = sorted(pathlib.Path(tandemd.__file__).parent.rglob("*.py"))


class PeriodicTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = 0

    def begin(self, function: Callable[[], object]) -> Periodic:
        def counted() -> object:
            self.calls += 1
            return function()

        periodic = Periodic(self.clock, 1.0, counted, "a task")
        periodic.start()
        self.addCleanup(periodic.stop)
        return periodic

    def test_an_error(self) -> None:
        def fail() -> None:
            raise OSError(28, "No space left on device")

        self.begin(fail)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.calls, 5)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1, "logged once")

    def test_a_coroutine_that_fails(self) -> None:
        async def fail() -> None:
            raise ValueError(self.calls)

        self.begin(fail)
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, 3)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3, "each is another")

    def test_the_next_call_waits_for_an_answer(self) -> None:
        answers: list[Deferred[None]] = []

        def ask() -> Deferred[None]:
            answers.append(Deferred())
            return answers[-1]

        self.begin(ask)
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, 1)
        answers[0].errback(OSError("late"))
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, 2)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_now_and_no_more(self) -> None:
        periodic = self.begin(lambda: None)
        periodic.stop()
        periodic.stop()
        self.assertFalse(periodic.running)
        periodic.start(now=True)
        self.assertEqual(self.calls, 1)
        periodic.stop()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, 1)


class SourceTest(TestCase):
    def test_nothing_else_repeats_calls(self) -> None:
        """A3: a LoopingCall ends for good when its function fails."""
        uses = [
            path.name
            for path in MODULES
            for node in ast.walk(ast.parse(path.read_text()))
            if {"LoopingCall", "TimerService"} & {getattr(node, "id", ""), getattr(node, "attr", "")}
        ]
        self.assertEqual(uses, ["services.py"])


class Once:
    """Fails at its first call."""

    def __init__(self, function: Callable[..., object]):
        self.function = function
        self.calls = 0

    def __call__(self, *args: Any) -> object:
        self.calls += 1
        if self.calls == 1:
            raise OSError(5, "Input/output error")
        return self.function(*args)

    def bound(self) -> Callable[..., object]:
        """Return it as a method."""

        def method(*args: Any) -> object:
            return self(*args)

        return method


class NodeTest(ServiceTestCase):
    """Each thing that a node does again and again fails once."""

    def test_each_goes_on(self) -> None:
        self.world.party("ann", "bob")
        tried: list[Once] = []
        for thing in gc.get_objects():
            if isinstance(thing, Periodic | Sweeper) and thing.running and self.reactor in self.clocks(thing):
                for name in ("_function", "_things", "_visit"):
                    if hasattr(thing, name):
                        once = Once(getattr(thing, name))
                        setattr(thing, name, once)
                        tried.append(once)
        self.assertGreaterEqual(len(tried), 5)
        self.world.advance(30)
        self.assertGreaterEqual(len(self.flushLoggedErrors(OSError)), len(tried))
        self.assertEqual([once for once in tried if once.calls < 3], [])

    def clocks(self, thing: Any) -> list[Any]:
        return [thing._loop.clock] if isinstance(thing, Periodic) else [thing._clock]


class RedisNodeTest(RedisTestCase):
    """The same for a node's periodic work with Redis."""

    async def test_each_goes_on(self) -> None:
        a = await self.node()
        loops = [*a._loops, a._gateway.link._watch, a._subscription.link._watch]
        tried = [Once(loop._function) for loop in loops]
        for loop, once in zip(loops, tried, strict=True):
            loop._function = once
        await until(lambda: all(once.calls >= 2 for once in tried))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), len(tried))
        self.assertEqual(a.ready(), "")


class ChainTest(TestCase):
    """Work that sets its next timer by itself."""

    def test_lag(self) -> None:
        clock = Clock()
        histogram = Histogram("lag", "Lag")
        once = Once(histogram.observe)
        self.patch(Histogram, "observe", lambda *args: once(*args[1:]))
        lag = ReactorLag(clock, histogram)
        lag.startService()
        self.assertRaises(OSError, clock.advance, 0.5)
        clock.pump([0.5] * 3)
        self.assertEqual(once.calls, 4)
        lag.stopService()

    def test_a_line_of_joins(self) -> None:
        clock = Clock()
        lobby = JoinQueue(clock)
        went: list[str] = []
        for number in range(3):
            session: Any = object()
            go = Once(lambda number=number: None) if number == 2 else lambda number=number: went.append(str(number))
            lobby.enqueue("here", str(number), float(number), session, 0.1, go)  # type: ignore[arg-type]
        clock.pump([0.5] * 10)
        self.assertEqual(sorted(went), ["0", "1"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_connections_that_are_closed_in_turn(self) -> None:
        clock = Clock()
        ending = CloseQueue(clock)
        closed: list[int] = []
        for number in range(20):
            ending.add(partial(closed.append, number))
            if number == 3:
                ending.add(Once(int))
        clock.pump([0.0] * 5)
        ending.add(partial(closed.append, 20))
        clock.pump([0.0] * 2)
        self.assertEqual(closed, list(range(21)))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class WaitingJoinsTest(ServiceTestCase):
    """A JOIN whose retry fails is answered, and those behind it are retried."""

    def fail_once(self) -> None:
        self.patch(JoinController, "_is_authentic", Once(JoinController._is_authentic).bound())

    def test_at_a_locked_room(self) -> None:
        host = self.world.join("ann")
        host.send("LOCK_ROOM", locked=True)
        waiting = [self.world.join(f"user{number}") for number in range(20)]
        for client in waiting:
            self.assertIn("locked", [message["code"] for message in client.told("ERROR")])
        self.fail_once()
        host.send("LOCK_ROOM", locked=False)
        self.world.advance(1)
        self.check(waiting)

    def test_for_a_store(self) -> None:
        away = self.patch(self.world.store, "load", lambda *args, **kwargs: fail(UNAVAILABLE))
        waiting = [self.world.join(f"user{number}", room=f"room{number}") for number in range(20)]
        for client in waiting:
            self.refused(client.told(), "unavailable")
        away.restore()
        self.fail_once()
        self.world.server.rooms.others.available()
        self.world.advance(1)
        self.check(waiting)

    def check(self, waiting: list[Client]) -> None:
        answers = [client.told() for client in waiting]
        failed = [answer for answer in answers if [message["type"] for message in answer] == ["ERROR"]]
        self.assertEqual([message["code"] for answer in failed for message in answer], ["internal"], answers)
        self.assertEqual(sum(any(message["type"] == "ROOM_STATE" for message in answer) for answer in answers), 19)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
