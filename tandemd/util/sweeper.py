"""Looking at each of many things every now and then, without holding anybody up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

T = TypeVar("T")

TIME_SLICE = 0.003
"""Seconds of looking after which the reactor does what else there is: longer than one thing takes, short enough for people."""


class Sweeper(Generic[T]):
    """Looks at each of the things, and `interval` seconds after the last one begins again.

    things: returns what there is at the beginning of a round; some of it may be gone when its turn comes. look: is called
    with each; what it raises is logged.
    """

    _log = Logger()

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
        """Begin the first round after `interval` seconds."""
        self._timer = self._clock.callLater(self._interval, self._begin)

    def stop(self) -> None:
        """Look at nothing any more, until it is started again."""
        timer, self._timer = self._timer, None
        self._left = iter(())
        if timer is not None and timer.active():
            timer.cancel()

    def _begin(self) -> None:
        try:
            # A copy: looking may change what there is.
            self._left = iter(list(self._things()))
        except Exception:
            self._log.failure("listing what to look at; it is done again in {seconds} s", seconds=self._interval)
        self._continue()

    def _continue(self) -> None:
        until = self._clock.seconds() + TIME_SLICE
        after = self._interval
        for thing in self._left:
            try:
                self._visit(thing)
            except Exception:
                self._log.failure("looking at {thing}", thing=type(thing).__name__)
            if self._timer is None:
                return
            if self._clock.seconds() >= until:
                after = 0.0
                break
        if self._timer is not None:
            self._timer = self._clock.callLater(after, self._continue if after == 0.0 else self._begin)
