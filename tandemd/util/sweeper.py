"""Periodic work on many objects, in time slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger()

T = TypeVar("T")

TIME_SLICE = 0.003
"""Seconds after which a sweep yields to the reactor: longer than one visit, too short to be noticed."""


class Sweeper(Generic[T]):
    """Visits each object of a collection, and begins again `interval` seconds after the last one.

    things: returns the objects at the beginning of a sweep. Some of them may have ended before their visit.
    look: visits one object. Its errors are logged.
    """

    def __init__(
        self, clock: IReactorTime, interval: float, things: Callable[[], Iterable[T]], look: Callable[[T], object]
    ):
        self._clock = clock
        self._interval = interval
        self._things = things
        self._visit = look
        self._left: Iterator[T] = iter(())
        self._timer: IDelayedCall | None = None

    @property
    def running(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        """Begin the first sweep after `interval` seconds."""
        self._timer = self._clock.callLater(self._interval, self._begin)

    def stop(self) -> None:
        """Stop, until the next `start`."""
        timer, self._timer = self._timer, None
        self._left = iter(())
        if timer is not None and timer.active():
            timer.cancel()

    def _begin(self) -> None:
        try:
            # A visit may change the collection, so the sweep uses a copy.
            self._left = iter(list(self._things()))
        except Exception:
            log.failure(
                "failed to list the objects of a sweep; retrying in {seconds} s",
                event="sweep_failed",
                seconds=self._interval,
            )
        self._continue()

    def _continue(self) -> None:
        until = self._clock.seconds() + TIME_SLICE
        after = self._interval
        for thing in self._left:
            try:
                self._visit(thing)
            except Exception:
                log.failure("failed to visit {thing}", event="sweep_failed", thing=type(thing).__name__)
            if self._timer is None:
                return
            if self._clock.seconds() >= until:
                after = 0.0
                break
        if self._timer is not None:
            self._timer = self._clock.callLater(after, self._continue if after == 0.0 else self._begin)
