"""Server time: what rooms store and clients are told. It follows a reference, and never steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

SLEW = 0.05
"""Seconds by which server time may approach the reference in a second, so that film positions do not jump."""

SAMPLES = 16


class ServerTime:
    """Counts on a monotonic clock, and approaches the time of a reference by at most SLEW.

    The reference is the wall clock of a single node, and Redis' clock in a cluster. Both are estimated by `sample`: the
    first sample sets server time, later ones steer it. So server time never runs backwards and never steps, also when the
    reference does. Until the first sample it is what the clock says. All times are seconds since 1970.
    """

    __slots__ = ("_anchored", "_base", "_from", "_rate", "_reference", "_samples", "_seconds", "_turn", "_turn_base")

    def __init__(self, clock: IReactorTime):
        """clock: must never be set back; all elapsed time is taken from it."""
        self._seconds = clock.seconds
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)  # duration, reference minus clock
        self._reference = 0.0
        self._anchored = False
        # From `_from` on server time is `_base` plus what has elapsed times `_rate`; from `_turn` on the rate is 1.
        self._rate = 1.0
        self._from = self._base = self._turn = self._turn_base = clock.seconds()

    def now(self) -> float:
        """Return server time."""
        # Asked for each position of a player.
        here = self._seconds()
        if here >= self._turn:
            return self._turn_base + (here - self._turn)
        return self._at(here)

    def _at(self, here: float) -> float:
        if here >= self._turn:
            return self._turn_base + (here - self._turn)
        return self._base + (here - self._from) * self._rate

    def reference(self) -> float:
        """Return the time of the reference as it is estimated, which steps when the reference is set."""
        return self._seconds() + self._reference

    def sample(self, asked: float, answered: float, theirs: float) -> None:
        """Learn from one exchange: the clock when the reference was asked and when it answered, and its answer."""
        duration, offset = answered - asked, theirs - (asked + answered) / 2
        # The error is at most half of the duration. Samples that contradict this one are of a time before the reference
        # was set, or before another server took over.
        samples = [it for it in self._samples if abs(it[1] - offset) <= (it[0] + duration) / 2]
        self._samples = deque((*samples, (duration, offset)), maxlen=SAMPLES)
        # The fastest exchange tells most.
        self._reference = min(self._samples)[1]
        if self._anchored:
            self._steer()
        else:
            self._anchored = True
            self.begin(self.reference())

    def look(self, reference: Callable[[], float]) -> None:
        """Take a sample of a reference that answers at once."""
        asked = self._seconds()
        theirs = reference()
        self.sample(asked, self._seconds(), theirs)

    def begin(self, at: float) -> None:
        """Set server time, which it then goes on from. To be called before the first reader has been told the time."""
        self._from = self._turn = self._seconds()
        self._base = self._turn_base = at
        self._steer()

    def _steer(self) -> None:
        """Approach the reference from now on, and go on with it once it is reached."""
        here = self._seconds()
        now = self._at(here)
        behind = here + self._reference - now
        self._from, self._base = here, now
        self._rate = 1.0 + SLEW if behind > 0 else 1.0 - SLEW
        approach = abs(behind) / SLEW if self._anchored else 0.0
        self._turn = here + approach
        self._turn_base = now + approach * self._rate
