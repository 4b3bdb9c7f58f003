"""How often one address may look something up."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

KEPT = 10_000


class LookupLimit:
    """A token bucket for each address, in memory.

    per_minute: how many look-ups an address may do in a minute, and at once after a rest; 0: any number.
    kept: how many addresses are remembered. The one that asked longest ago is forgotten first.
    """

    def __init__(self, clock: IReactorTime, per_minute: int, kept: int = KEPT):
        self._clock = clock
        self._burst = float(per_minute)
        self._rate = per_minute / 60
        self._kept = kept
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str) -> float:
        """Count one look-up and return 0.0, or the seconds after which the address may do the next.

        address: as rules by address use it; '' is not limited.
        """
        if not address or not self._rate:
            return 0.0
        now = self._clock.seconds()
        tokens, at = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - at) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._buckets[address] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return wait
