"""Addresses whose clients had to be thrown out, and for how long they are not let in again."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

from .scopes import scopes

CALM = 600.0
"""After so many seconds without abuse, one earlier offence is forgotten."""
KEPT = 50_000


class Penalties:
    """Each offence keeps an address out for twice as long as the one before.

    first, longest: seconds. kept: how many addresses are remembered; the one whose last offence is the oldest is forgotten
    first. An address is as rules by address use it; '' is never kept out. A /48 is kept out as soon as eight of its /64s were,
    one CALM after another at the most.
    """

    def __init__(self, clock: IReactorTime, first: float, longest: float, kept: int = KEPT):
        self._clock = clock
        self._first = first
        self._longest = longest
        self._kept = kept
        self._book: OrderedDict[str, tuple[int, float]] = OrderedDict()  # offences, until when
        self._strikes: OrderedDict[str, tuple[int, float]] = OrderedDict()  # of wide networks: how many, when the last

    def __len__(self) -> int:
        return len(self._book)

    def punish(self, address: str) -> None:
        """Keep an address out from now on. While it is out already, that changes nothing: its other clients count once."""
        now = self._clock.seconds()
        for scope in scopes(address):
            if scope.times == 1:
                if not self._punish(scope.name, now):
                    return
            elif self._strike(scope.name, scope.times, now):
                self._punish(scope.name, now)

    def _strike(self, name: str, most: int, now: float) -> bool:
        """Count an offence of one network of a wide one; return whether the wide one has had its number."""
        count, last = self._strikes.pop(name, (0, now))
        count = 1 if now - last > CALM else count + 1
        if count >= most:
            return True
        self._strikes[name] = count, now
        if len(self._strikes) > self._kept:
            self._strikes.popitem(last=False)
        return False

    def _punish(self, address: str, now: float) -> bool:
        """Keep a network out from now on; return False if it is out already."""
        offences, until = self._book.get(address, (0, now))
        if until > now:
            return False
        offences = max(0, offences - int((now - until) / CALM)) + 1
        self._book[address] = offences, now + min(self._first * 2.0 ** min(offences - 1, 30), self._longest)
        self._book.move_to_end(address)
        if len(self._book) > self._kept:
            self._book.popitem(last=False)
        return True

    def wait(self, address: str) -> float:
        """Return the seconds for which an address is kept out, or 0.0."""
        return max((self._wait(scope.name) for scope in scopes(address)), default=0.0)

    def _wait(self, address: str) -> float:
        record = self._book.get(address)
        if record is None:
            return 0.0
        offences, until = record
        now = self._clock.seconds()
        if until <= now and now - until >= offences * CALM:
            del self._book[address]
        return max(0.0, until - now)
