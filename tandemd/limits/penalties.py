"""Addresses whose clients had to be thrown out, and for how long they are not let in again."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

CALM = 600.0
"""After so many seconds without abuse, one earlier offence is forgotten."""
KEPT = 50_000


class Penalties:
    """Each offence keeps an address out for twice as long as the one before.

    first, longest: seconds. kept: how many addresses are remembered; the one whose last offence is the oldest is forgotten
    first. An address is as rules by address use it; '' is never kept out.
    """

    def __init__(self, clock: IReactorTime, first: float, longest: float, kept: int = KEPT):
        self._clock = clock
        self._first = first
        self._longest = longest
        self._kept = kept
        self._book: OrderedDict[str, tuple[int, float]] = OrderedDict()  # offences, until when

    def __len__(self) -> int:
        return len(self._book)

    def punish(self, address: str) -> None:
        """Keep an address out from now on. While it is out already, that changes nothing: its other clients count once."""
        if not address:
            return
        now = self._clock.seconds()
        offences, until = self._book.get(address, (0, now))
        if until > now:
            return
        offences = max(0, offences - int((now - until) / CALM)) + 1
        self._book[address] = offences, now + min(self._first * 2.0 ** min(offences - 1, 30), self._longest)
        self._book.move_to_end(address)
        if len(self._book) > self._kept:
            self._book.popitem(last=False)

    def wait(self, address: str) -> float:
        """Return the seconds for which an address is kept out, or 0.0."""
        record = self._book.get(address)
        if record is None:
            return 0.0
        offences, until = record
        now = self._clock.seconds()
        if until <= now and now - until >= offences * CALM:
            del self._book[address]
        return max(0.0, until - now)
