"""One clock for all nodes: that of Redis, estimated from question and answer."""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IReactorTime

SLEW = 0.05
"""How many seconds the estimate may move in a second, so that film positions do not jump."""

SAMPLES = 16


class ClusterClock:
    """Estimates Redis' clock. All times are seconds since 1970."""

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._offset = 0.0
        self._moved_at = clock.seconds()
        self._anchored = False

    def now(self) -> float:
        return self._clock.seconds() + self._offset

    def anchor(self) -> None:
        """Forget what was known: the next sample counts at once, as with another server."""
        self._samples.clear()
        self._anchored = False

    def sample(self, asked: float, answered: float, theirs: float) -> None:
        """Learn from one exchange: our clock when it was asked and answered, and the time in the answer."""
        self._samples.append((answered - asked, theirs - (asked + answered) / 2))
        # The fastest exchange tells most: the error is at most half of its duration.
        wanted = min(self._samples)[1]
        if not self._anchored:
            self._offset = wanted
            self._anchored = True
        else:
            most = SLEW * max(0.0, answered - self._moved_at)
            self._offset += max(-most, min(most, wanted - self._offset))
        self._moved_at = answered
