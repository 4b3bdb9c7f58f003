"""Long work in steps, so that the reactor handles other events between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from .sweeper import TIME_SLICE

log = Logger()

FIRST_STEPS = 8
"""Steps that run at once, so that short work is complete when `run` returns."""

_END = object()


class TimeSlicer:
    """Runs the steps of iterators, at most `TIME_SLICE` seconds in one reactor iteration."""

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._cooperator = Cooperator(self._slice, lambda resume: clock.callLater(0, resume))

    def run(self, steps: Iterator[None]) -> Deferred[Any]:
        """Run the first `FIRST_STEPS` steps now and the others later. Fires after the last step.

        An error in a later step is logged, and drops the steps after it. An error in one of the first steps is raised.
        """
        for _ in range(FIRST_STEPS):
            if next(steps, _END) is _END:
                return succeed(None)
        done: Deferred[Any] = self._cooperator.coiterate(steps)
        return done.addErrback(_log_unless_stopped)

    def stop(self) -> None:
        """Drop all remaining steps, and those of later calls."""
        self._cooperator.stop()

    def _slice(self) -> Callable[[], bool]:
        end = self._clock.seconds() + TIME_SLICE
        return lambda: self._clock.seconds() >= end


def _log_unless_stopped(failure: Failure) -> None:
    if not failure.check(SchedulerStopped):
        log.failure("failed to run a step of sliced work", event="sliced_work_failed", failure=failure)
