"""How much coming in is allowed: JOINs, new rooms and tries at PINs. docs/architecture.md says why it is so.

Knows no sessions and no messages. What protects rooms is counted by the store, for all nodes together.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from ...errors import ErrorCode, RequestError
from ...interfaces import IStore
from ...ratelimit.buckets import DAY, MINUTE, Flag, PerMinute, Plan, RoomQuota, TakeResult, TokenBucket
from ...ratelimit.scopes import scopes
from ...rules.state import Room
from ..metrics import RoomMetrics

HOUR = 3600.0
REMEMBERED = 50_000
"""How many wrong PINs, and how many arrivals, a node remembers."""
JUST = 8.0
"""For so many seconds somebody has just come."""
PACE, PACED = 4, 3.0
"""How many wrong PINs of newcomers a room answers at once, and then one in so many seconds."""
AGAIN = 5.0
"""Seconds after which it is looked again whether the node, or the line at a room, has place for another."""


class JoinLimits(Struct, frozen=True):
    """See the section `limits` of the configuration. 0: no limit."""

    joins: int
    room_creations: int
    rooms_per_address: int
    rooms_per_node: int
    pin_tries_per_room: int
    pin_tries_per_address: int
    pending_joins: int


class JoinDeferredError(RequestError):
    """A JOIN has to wait.

    place: what for. kind: of budget. reason: why, one of `rooms.metrics.DEFER_REASONS`. seconds: how long, as far as is known.
    """

    __slots__ = ("place", "reason", "seconds")

    def __init__(self, place: str, kind: str, seconds: float):
        self.reason, text = _REASONS[kind]
        super().__init__(ErrorCode.RATE_LIMITED, f"JOIN: {text}; {_SOON}", max(1, int(seconds * 1000)))
        self.place = place
        self.seconds = seconds


_SOON = "yours stays pending and is carried out as soon as it can be."
_REASONS = {
    "joins": ("joins", "too many have come from your address"),
    "founder": ("creations", "too many rooms were created from your address"),
    "rooms": ("rooms_per_address", "your address has created as many rooms as it may have"),
    "node": ("rooms_per_node", "this server has as many rooms as it may have"),
    "pin": ("pin_tries_per_room", "too many wrong PINs were tried at this room"),
    "pinner": ("pin_tries_per_address", "too many wrong PINs came from your address"),
    "pending": ("pending_joins", "too many from your address wait at this room"),
    "members": ("members_per_address", "your address has as many members in this room as it may have"),
    "hashing": ("hashing", "too many PINs have come at once"),
}
"""By the kind of budget: why, and the same for people."""


class JoinLimiter:
    """Grants what a JOIN needs, or says when there will be some. rooms_here: counts the rooms that are open here."""

    def __init__(
        self,
        store: IStore,
        limits: JoinLimits,
        clock: IReactorTime,
        metrics: RoomMetrics,
        rooms_here: Callable[[], int],
    ):
        self._store = store
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._rooms_here = rooms_here
        self._joins = PerMinute(clock, "joins", limits.joins)
        self._key = secrets.token_bytes(32)
        self._wrong: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._arrivals: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def join(self, address: str) -> None:
        """Count a JOIN. Raises JoinDeferredError. address: '' where addresses mean nothing; no rule by address applies then."""
        wait = self._joins.take(address)
        if wait:
            raise JoinDeferredError(f"joins:{address}", "joins", wait)

    def pend(self, room_id: str, address: str, waiting: Callable[[str], int]) -> None:
        """Let another JOIN wait at a room. Raises JoinDeferredError. waiting: says how many of a scope (`ratelimit.scopes`)
        wait there.
        """
        most = self._limits.pending_joins
        for scope in scopes(address) if most else ():
            if waiting(scope.name) >= scope.times * most:
                raise JoinDeferredError(f"pending:{room_id}\x00{scope.name}", "pending", AGAIN)

    def crowded(self, room_id: str, address: str) -> JoinDeferredError:
        """Return why a JOIN waits whose address has as many members in a room as it may have."""
        return JoinDeferredError(f"members:{room_id}\x00{address}", "members", AGAIN)

    async def found(self, room_id: str, address: str) -> Plan:
        """Return what was taken for a new room, to be given back if it does not come about. Raises JoinDeferredError or
        RequestError.
        """
        limits = self._limits
        # The new one is open already.
        if limits.rooms_per_node and max(self._rooms_here() - 1, self._store.rooms.size()) >= limits.rooms_per_node:
            raise JoinDeferredError("node", "node", AGAIN)
        way: list[TokenBucket | Flag | RoomQuota] = []
        for scope in scopes(address):
            if limits.room_creations:
                way.append(TokenBucket(f"founder:{scope.name}", scope.times * limits.room_creations, MINUTE))
            if limits.rooms_per_address:
                way.append(RoomQuota(f"rooms:{scope.name}", room_id, scope.times * limits.rooms_per_address))
        if way:
            _check(await self._store.rate_limits.take((way,)))
        return way

    # -- PINs

    async def reserve_pin_attempt(self, room: Room, address: str, came: float) -> Plan:
        """Return what was taken for a try at the room's PIN, to be given back if it was right. Raises JoinDeferredError or
        RequestError.

        came: when the address came to this door.
        """
        in_all, each = self._limits.pin_tries_per_room, self._limits.pin_tries_per_address
        if not in_all:
            return ()
        tries = TokenBucket(f"pin:{room.room_uuid}", in_all, HOUR)
        if not address:
            # Nothing tells newcomers from guessers here: they leave what is kept for newcomers.
            ways: list[Plan] = [(TokenBucket(tries.name, in_all, HOUR, reserve=in_all // 2),)]
            return ways[_check(await self._store.rate_limits.take(ways)).way]
        around = scopes(address)
        often = [TokenBucket(f"pinner:{scope.name}", scope.times * each, HOUR) for scope in around]
        if any(member.address == address for member in room.members.values()):
            ways = [often]
            return ways[_check(await self._store.rate_limits.take(ways)).way]
        once = [
            TokenBucket(f"pinner:{scope.name}", scope.times * each, HOUR, reserve=scope.times * (each - 1))
            for scope in around
        ]
        invited, by_code = Flag(_invited(room.room_id, address)), f"{tries.name}/invited"
        # Who has just come and has failed nowhere lately may have what is kept for that; not all of it when many come at
        # once, and less who has waited for some time: whoever comes after them finds some.
        here = self._clock.seconds() - came
        fresh: list[Plan] = []
        if here < (in_all // 4 + 2) * tries.interval:
            keep = 0 if here < JUST else in_all // 4
            fresh = [
                (*needs, *once, TokenBucket(name, in_all, HOUR, keep), TokenBucket(f"{name}/pace", PACE, PACE * PACED))
                for needs, name in (((invited,), by_code), ((), tries.name))
            ]
        half = in_all // 2
        ways = [
            (Flag(_known(room, address)), *often),
            *fresh,
            (invited, *often, TokenBucket(by_code, in_all, HOUR, half)),
            (*often, TokenBucket(tries.name, in_all, HOUR, half)),
        ]
        taken = await self._store.rate_limits.take(ways)
        queue = "new" if taken.way < 0 and ways[taken.nearest] in fresh else ""
        return ways[_check(taken, queue).way]

    def refund(self, way: Plan) -> None:
        """What was taken was not used."""
        if way:
            self._store.rate_limits.refund(way)

    def first_seen(self, room: Room, who: str) -> float:
        """Return when somebody came to a room's door first, if they have come again and again since; else now."""
        now, name = self._clock.seconds(), (room.room_uuid, who)
        since, last = self._arrivals.pop(name, (now, now))
        if last < now - DAY:
            since = now
        self._arrivals[name] = since, now
        if len(self._arrivals) > REMEMBERED:
            self._arrivals.popitem(last=False)
        return since

    def invited(self, room_id: str, address: str) -> None:
        """Somebody at this address has shown that it knows the room's invite code."""
        if address and self._limits.pin_tries_per_room:
            self._store.rate_limits.mark(_invited(room_id, address), HOUR)

    def pin_accepted(self, room: Room, address: str, way: Plan) -> None:
        """The PIN was right. way: what `try_pin` has taken."""
        self._metrics.pin_attempts["accepted"] += 1
        if way:
            self._store.rate_limits.refund(way)
            if address:
                self._store.rate_limits.mark(_known(room, address), DAY)

    def pin_rejected(self, room: Room, pin: str) -> None:
        """The PIN was wrong, and who tries it again learns nothing."""
        self._metrics.pin_attempts["rejected"] += 1
        self._wrong[self._digest(room, pin)] = None
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    def is_known_wrong_pin(self, room: Room, pin: str) -> bool:
        """Say whether this PIN was tried here before, and was wrong."""
        if self._digest(room, pin) not in self._wrong:
            return False
        self._metrics.pin_attempts["repeated"] += 1
        return True

    def _digest(self, room: Room, pin: str) -> tuple[str, bytes]:
        return room.room_uuid, hashlib.blake2b(
            pin.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key
        ).digest()


def _check(taken: TakeResult, queue: str = "") -> TakeResult:
    """Return what was taken. Raises JoinDeferredError if nothing was. queue: tells apart who may have what others may not."""
    if taken.way < 0:
        raise JoinDeferredError(taken.lacking + queue, taken.lacking.partition(":")[0], taken.wait)
    return taken


def _known(room: Room, address: str) -> str:
    return f"known:{room.room_uuid}\x00{address}"


def _invited(room_id: str, address: str) -> str:
    return f"invited:{room_id}\x00{address}"
