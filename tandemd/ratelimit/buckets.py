"""Token buckets by name, for limits of addresses, rooms and nodes.

Nodes that serve the same rooms keep the buckets that protect rooms in Redis (`store/redis/rate_limits.py`). The buckets that
protect a node are in its memory. Both count alike, and pass the same tests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from .scopes import scopes

KEPT = 50_000
"""Names of each kind that are remembered, at about 200 bytes each."""
TINY = 2e-6
"""Seconds that come from rounding."""
MINUTE = 60.0
DAY = 86400.0


class TokenBucket(Struct, frozen=True, gc=False):
    """Require a token of a bucket that holds `capacity` tokens, and refills evenly in `refill_period` seconds.

    reserve: tokens that must be left afterwards. With capacity - 1, only a full bucket gives one.
    """

    name: str
    capacity: int
    refill_period: float
    reserve: int = 0

    @property
    def interval(self) -> float:
        """Seconds in which one token refills."""
        return self.refill_period / self.capacity

    @property
    def room(self) -> float:
        """Seconds of refill that may be taken in advance."""
        return (self.capacity - self.reserve) * self.interval


class Flag(Struct, frozen=True, gc=False):
    """Require a mark on a name. Nothing is taken, and waiting does not help."""

    name: str


class RoomQuota(Struct, frozen=True, gc=False):
    """Require that a name holds at most `most` existing rooms. Taking holds the room `room_id`, for a day at most."""

    name: str
    room_id: str
    most: int


Requirement = TokenBucket | Flag | RoomQuota
Plan = Sequence[Requirement]
"""Requirements that a take needs all at once."""


class TakeResult(Struct, frozen=True, gc=False):
    """The result of `TokenBuckets.take`.

    way: the index of the plan that was taken; -1 for none.
    wait: seconds until the next try; 0.0 if a plan was taken.
    lacking: the name of the missing requirement in the plan that will be possible first.
    nearest: the index of that plan.
    """

    way: int
    wait: float = 0.0
    lacking: str = ""
    nearest: int = -1


RECHECK = 5.0
"""Seconds until the next try for a room: the time at which one ends is unknown."""


class TokenBuckets:
    """Keep token buckets in this process.

    exists: says whether a room exists.
    kept: names of each kind that are remembered; the least recently used one is dropped first. The kind is the part before
        the colon, so that many addresses do not displace rooms.
    """

    def __init__(self, exists: Callable[[str], bool] = lambda room_id: True, kept: int = KEPT):
        self._exists = exists
        self._kept = kept
        self._until: dict[str, OrderedDict[str, float]] = {}
        self._shares: OrderedDict[str, dict[str, None]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._until.values())) + len(self._shares)

    def take(self, ways: Sequence[Plan], now: float) -> TakeResult:
        """Take the first plan that is possible as a whole; if none is, take nothing."""
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
        """Undo the taking of a plan."""
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
    """Limit a kind of event to `most` a minute for each address, in this process; 0: no limit."""

    def __init__(self, clock: IReactorTime, kind: str, most: int):
        """kind: the first part of the names of its buckets."""
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
