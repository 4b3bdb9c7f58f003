"""Slow work of many clients, one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tandemd.util.fair_queue import FairQueue
from tandemd.util.lifo_semaphore import QueueFullError


class FairQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.begun: list[str] = []
        self.working: list[Deferred[Any]] = []
        self.queue = FairQueue(self.run_later, most=3)

    def run_later(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        self.begun.append(function(*arguments))
        self.working.append(Deferred())
        return self.working[-1]

    def call(self, key: str, name: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.queue.call(key, str.lower, name))

    def finish(self, outcome: object = None) -> None:
        """End the work that runs."""
        self.working.pop(0).callback(outcome)
        self.assertLessEqual(len(self.working), 1)

    def test_one_of_each_key_in_turn(self) -> None:
        for key, name in (("x", "X1"), ("x", "X2"), ("x", "X3"), ("y", "Y1"), ("x", "X4"), ("z", "Z1")):
            self.call(key, name)
        self.assertEqual(self.begun, ["x1"])
        while self.working:
            self.finish()
        self.assertEqual(self.begun, ["x1", "x2", "y1", "z1", "x3", "x4"])
        self.call("y", "Y2")
        self.assertEqual(self.begun[-1], "y2")

    def test_results_and_failures(self) -> None:
        first, second, third = self.call("x", "X1"), self.call("x", "X2"), self.call("y", "Y1")
        self.finish("found")
        self.assertEqual(self.successResultOf(first), "found")
        self.working.pop(0).errback(OSError("away"))
        self.failureResultOf(second, OSError)
        self.finish("too")
        self.assertEqual(self.successResultOf(third), "too")

    def test_the_oldest_of_a_key_fails(self) -> None:
        self.call("x", "X1")
        waiting = [self.call("x", f"X{number}") for number in range(2, 6)]
        other = self.call("y", "Y1")
        self.failureResultOf(waiting[0], QueueFullError)
        for deferred in (*waiting[1:], other):
            self.assertNoResult(deferred)

    def test_cancelled_work_does_not_run(self) -> None:
        self.call("x", "X1")
        waiting = [self.call("x", f"X{number}") for number in range(2, 5)]
        for deferred in waiting:
            deferred.cancel()
            self.failureResultOf(deferred, CancelledError)
        self.call("y", "Y1")
        self.finish()
        self.assertEqual(self.begun, ["x1", "y1"])

    def test_cancelled_work_that_runs_is_waited_for(self) -> None:
        running = self.call("x", "X1")
        self.call("y", "Y1")
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.begun, ["x1"])
        self.finish()
        self.assertEqual(self.begun, ["x1", "y1"])
