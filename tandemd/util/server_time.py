"""Server time, for rooms and clients. It follows a reference without steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

SLEW = 0.05
"""Seconds per second by which server time approaches the reference. Positions of titles do not jump at this rate."""

SAMPLES = 16


class ServerTime:
    """A monotonic clock, steered to a reference by at most SLEW.

    The reference is the wall clock of a single node, and Redis' clock in a cluster. The first sample of it sets server time,
    later samples steer it. So server time never runs backwards and never steps, even if the reference does. Before the first
    sample, server time is the time of the clock. All times are seconds since 1970.
    """

    __slots__ = ("_anchored", "_base", "_from", "_rate", "_reference", "_samples", "_seconds", "_turn", "_turn_base")

    def __init__(self, clock: IReactorTime):
        """Start with the time of `clock`, which must be monotonic."""
        self._seconds = clock.seconds
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)  # duration, reference minus clock
        self._reference = 0.0
        self._anchored = False
        # From `_from` on, server time is `_base` plus the elapsed time times `_rate`. From `_turn` on, the rate is 1.
        self._rate = 1.0
        self._from = self._base = self._turn = self._turn_base = clock.seconds()

    def now(self) -> float:
        """Return server time."""
        # The server calls this for each position of a player.
        here = self._seconds()
        if here >= self._turn:
            return self._turn_base + (here - self._turn)
        return self._at(here)

    def _at(self, here: float) -> float:
        if here >= self._turn:
            return self._turn_base + (here - self._turn)
        return self._base + (here - self._from) * self._rate

    def reference(self) -> float:
        """Return the estimated time of the reference. It steps when the reference is set."""
        return self._seconds() + self._reference

    def sample(self, asked: float, answered: float, theirs: float) -> None:
        """Take a sample from one exchange with the reference.

        asked, answered: the clock before and after the exchange.
        theirs: the time of the reference.
        """
        duration, offset = answered - asked, theirs - (asked + answered) / 2
        # The error is at most half of the duration. Samples that contradict this one are older than a step of the
        # reference, or come from another server.
        samples = [it for it in self._samples if abs(it[1] - offset) <= (it[0] + duration) / 2]
        self._samples = deque((*samples, (duration, offset)), maxlen=SAMPLES)
        # The fastest exchange has the smallest error.
        self._reference = min(self._samples)[1]
        if self._anchored:
            self._steer()
        else:
            self._anchored = True
            self.begin(self.reference())

    def look(self, reference: Callable[[], float]) -> None:
        """Take a sample of a local reference."""
        asked = self._seconds()
        theirs = reference()
        self.sample(asked, self._seconds(), theirs)

    def begin(self, at: float) -> None:
        """Set server time. To be called before the first reader."""
        self._from = self._turn = self._seconds()
        self._base = self._turn_base = at
        self._steer()

    def _steer(self) -> None:
        """Approach the reference from now on, and follow it afterwards."""
        here = self._seconds()
        now = self._at(here)
        behind = here + self._reference - now
        self._from, self._base = here, now
        self._rate = 1.0 + SLEW if behind > 0 else 1.0 - SLEW
        approach = abs(behind) / SLEW if self._anchored else 0.0
        self._turn = here + approach
        self._turn_base = now + approach * self._rate
