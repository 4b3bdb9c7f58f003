"""Budgets: how often something may be done in a time, counted for whoever and whatever has a name.

Where several nodes serve the same rooms, the counters that protect rooms are in Redis (`roomstore/counters.py`); what
protects a node is counted in it. Both count alike, and pass the same tests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from .scopes import scopes

KEPT = 50_000
"""How many names are remembered, at about 200 bytes each."""
TINY = 2e-6
"""Seconds that are nothing but rounding."""
MINUTE = 60.0
DAY = 86400.0


class TokenBucket(Struct, frozen=True, gc=False):
    """Something may be done `capacity` times at once, and grows back evenly in `refill_period` seconds. Doing it takes one.

    reserve: how many must be left afterwards. With capacity - 1, only who has not taken any lately gets one.
    """

    name: str
    capacity: int
    refill_period: float
    reserve: int = 0

    @property
    def interval(self) -> float:
        """Seconds in which one grows back."""
        return self.refill_period / self.capacity

    @property
    def room(self) -> float:
        """Seconds of growing back that may be taken in advance."""
        return (self.capacity - self.reserve) * self.interval


class Flag(Struct, frozen=True, gc=False):
    """Something that must have been marked; waiting for that makes no sense. Nothing is taken from it."""

    name: str


class RoomQuota(Struct, frozen=True, gc=False):
    """At most this many rooms that exist may be held under a name; taking holds the room `room_id`, for a day at most."""

    name: str
    room_id: str
    most: int


Requirement = TokenBucket | Flag | RoomQuota
Plan = Sequence[Requirement]
"""What must all be had at once."""


class TakeResult(Struct, frozen=True, gc=False):
    """What became of an attempt to take.

    way: which of the ways was taken, -1 for none. Else: wait: seconds after which it may be tried again. lacking: the name
    of what there was not enough of, for the way that will be open first. nearest: which one that is.
    """

    way: int
    wait: float = 0.0
    lacking: str = ""
    nearest: int = -1


RECHECK = 5.0
"""Seconds after which it is asked again for a share: nobody knows when there will be one."""


class TokenBuckets:
    """Counts in this process.

    exists: says whether there is a room. kept: how many names of each kind are remembered; the kind is what precedes the
    colon, so that many addresses do not make a room forgotten. What was used longest ago goes first.
    """

    def __init__(self, exists: Callable[[str], bool] = lambda room_id: True, kept: int = KEPT):
        self._exists = exists
        self._kept = kept
        self._until: dict[str, OrderedDict[str, float]] = {}
        self._shares: OrderedDict[str, dict[str, None]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._until.values())) + len(self._shares)

    def take(self, ways: Sequence[Plan], now: float) -> TakeResult:
        """Take the first way of which everything can be had; nothing if there is none."""
        best = TakeResult(-1, 2 * DAY)
        for number, way in enumerate(ways):
            wait, lacking = 0.0, ""
            for need in way:
                needed = self._wait(need, now)
                if needed > wait:
                    wait, lacking = needed, need.name
            if not wait:
                for need in way:
                    self._use(need, now)
                return TakeResult(number)
            if wait < best.wait or not best.lacking:
                best = TakeResult(-1, wait, lacking, number)
        return best

    def refund(self, way: Plan, now: float) -> None:
        """Undo the taking of a way."""
        for need in way:
            if isinstance(need, TokenBucket):
                until = self._at(need.name) - need.interval
                if until > now:
                    self._put(need.name, until)
                else:
                    self._forget(need.name)
            elif isinstance(need, RoomQuota):
                held = self._shares.get(need.name, {})
                held.pop(need.room_id, None)
                if not held:
                    self._shares.pop(need.name, None)

    def mark(self, name: str, until: float) -> None:
        """Mark a name until a time."""
        self._put(name, max(until, self._at(name)))

    def _wait(self, need: Requirement, now: float) -> float:
        if isinstance(need, TokenBucket):
            wait = max(self._at(need.name) - now, 0.0)
            wait -= (need.capacity - need.reserve - 1) * need.refill_period / need.capacity
            return wait if wait > TINY else 0.0
        if isinstance(need, Flag):
            return 0.0 if self._at(need.name) > now else DAY
        held = self._shares.get(need.name, {})
        if len(held) >= need.most:
            for room_id in [room_id for room_id in held if not self._exists(room_id)]:
                del held[room_id]
        return 0.0 if len(held) < need.most or need.room_id in held else RECHECK

    def _use(self, need: Requirement, now: float) -> None:
        if isinstance(need, TokenBucket):
            self._put(need.name, max(self._at(need.name), now) + need.refill_period / need.capacity)
        elif isinstance(need, RoomQuota):
            self._shares.setdefault(need.name, {})[need.room_id] = None
            self._shares.move_to_end(need.name)
            if len(self._shares) > self._kept:
                self._shares.popitem(last=False)

    def _at(self, name: str) -> float:
        kind = self._until.get(name.partition(":")[0])
        return kind.get(name, 0.0) if kind is not None else 0.0

    def _put(self, name: str, until: float) -> None:
        kind = self._until.setdefault(name.partition(":")[0], OrderedDict())
        kind[name] = until
        kind.move_to_end(name)
        if len(kind) > self._kept:
            kind.popitem(last=False)

    def _forget(self, name: str) -> None:
        kind = self._until.get(name.partition(":")[0])
        if kind is not None:
            kind.pop(name, None)


class PerMinute:
    """So many a minute for each address, counted in this process. most: 0 for any number."""

    def __init__(self, clock: IReactorTime, kind: str, most: int):
        """kind: of what; it tells budgets apart."""
        self._clock = clock
        self._kind = kind
        self._most = most
        self._budgets = TokenBuckets()

    def take(self, address: str) -> float:
        """Count one and return 0.0, or the seconds after which the address may have the next.

        address: as rules by address use it; '' is not limited. The network around it is, see `ratelimit.scopes`.
        """
        if not address or not self._most:
            return 0.0
        way = [TokenBucket(f"{self._kind}:{scope.name}", self._most * scope.times, MINUTE) for scope in scopes(address)]
        return self._budgets.take((way,), self._clock.seconds()).wait
