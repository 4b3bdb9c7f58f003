"""Limits of JOINs, new rooms and PIN attempts. docs/architecture.md has the reasons.

The store counts all that protects rooms, for all nodes together. This module knows no sessions and no messages.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import ceil
from random import Random

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from ...errors import ErrorCode, RequestError
from ...interfaces import IStore
from ...ratelimit.buckets import DAY, MINUTE, Flag, PerMinute, Plan, RoomQuota, TakeResult, TokenBucket
from ...ratelimit.scopes import scopes
from ...rules.state import Room
from ..metrics import RoomMetrics

HOUR = 3600.0

MAX_REMEMBERED = 50_000
"""The wrong PINs, and the arrivals, that a node remembers."""

NEWCOMER_SECONDS = 8.0
"""The time after its arrival for which a client may use all of the reserve for newcomers."""

NEWCOMER_BURST, NEWCOMER_INTERVAL_SECONDS = 4, 3.0
"""PIN attempts of newcomers that a room answers at once, and the time after which it answers one more."""

SPARED_SHARE = 0.3
"""The share of an address's PIN attempts that its connections with a wrong PIN leave to its other connections."""

RECHECK_SECONDS = 5.0
"""The time after which a JOIN is retried that waits for place on the node, at a room, or for its address in a room."""


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
    """A JOIN has to wait for a limit.

    place: the name of the limit, with address or room.
    kind: a key of `_REASONS`.
    reason: one of `rooms.metrics.DEFER_REASONS`; the client receives it as `limit`.
    seconds: the estimated time until the limit allows a JOIN.
    """

    __slots__ = ("place", "reason", "seconds")

    def __init__(self, place: str, kind: str, seconds: float):
        self.reason, text = _REASONS[kind]
        super().__init__(ErrorCode.RATE_LIMITED, f"JOIN: {text}; {_SOON}", max(1, int(seconds * 1000)))
        self.limit = self.reason
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
"""By the kind of limit: the reason for the metrics, and the same for people."""


class JoinLimiter:
    """Grants JOINs, new rooms and PIN attempts, or defers them.

    rooms_here: returns the number of open rooms. random: the source of the key that hides wrong PINs in memory.
    """

    def __init__(
        self,
        store: IStore,
        limits: JoinLimits,
        clock: IReactorTime,
        metrics: RoomMetrics,
        rooms_here: Callable[[], int],
        random: Random,
    ):
        self._store = store
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._rooms_here = rooms_here
        self._joins = PerMinute(clock, "joins", limits.joins)
        self._key = random.randbytes(32)
        self._wrong: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._arrivals: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take_join(self, address: str) -> None:
        """Count a JOIN. Raises JoinDeferredError. address: "" where addresses mean nothing; then no limit applies."""
        wait = self._joins.take(address)
        if wait:
            raise JoinDeferredError(f"joins:{address}", "joins", wait)

    def check_waiting(self, room_id: str, address: str, waiting: Callable[[str], int]) -> None:
        """Raise JoinDeferredError if as many JOINs of an address wait at a room as may.

        waiting: returns the number of JOINs of a scope (`ratelimit.scopes`) that wait there.
        """
        most = self._limits.pending_joins
        for scope in scopes(address) if most else ():
            if waiting(scope.name) >= scope.times * most:
                raise JoinDeferredError(f"pending:{room_id}\x00{scope.name}", "pending", RECHECK_SECONDS)

    def too_many_members(self, room_id: str, address: str) -> JoinDeferredError:
        """Return the error for a JOIN whose address has as many members in a room as it may have."""
        return JoinDeferredError(f"members:{room_id}\x00{address}", "members", RECHECK_SECONDS)

    async def reserve_creation(self, room_id: str, address: str) -> Plan:
        """Take the budgets for a new room. Return them, so that they can be refunded.

        Raises JoinDeferredError, or RequestError if the store is unavailable.
        """
        limits = self._limits
        # The new room is open already.
        if limits.rooms_per_node and max(self._rooms_here() - 1, self._store.rooms.size()) >= limits.rooms_per_node:
            raise JoinDeferredError("node", "node", RECHECK_SECONDS)
        plan: list[TokenBucket | Flag | RoomQuota] = []
        for scope in scopes(address):
            if limits.room_creations:
                plan.append(TokenBucket(f"founder:{scope.name}", scope.times * limits.room_creations, MINUTE))
            if limits.rooms_per_address:
                plan.append(RoomQuota(f"rooms:{scope.name}", room_id, scope.times * limits.rooms_per_address))
        if plan:
            _check(await self._store.rate_limits.take((plan,)))
        return plan

    # -- PINs

    async def reserve_pin_attempt(
        self, room: Room, address: str, first_seen: float, *, has_failed: bool = False, token: str = ""
    ) -> Plan:
        """Take the budgets for an attempt at the PIN of a room. Return them, so that they can be refunded.

        first_seen: when the address arrived at this room, in seconds of the clock.
        has_failed: whether the connection has sent a wrong PIN. It leaves a part of its address's attempts to others, because
            the people of a household share an address.
        token: SHA-256 of the JOIN's resume token, "" for none. A device that got it here once needs none of the room's attempts.
        Raises JoinDeferredError, or RequestError if the store is unavailable.
        """
        per_room, per_address = self._limits.pin_tries_per_room, self._limits.pin_tries_per_address
        if not per_room:
            return ()
        attempts = TokenBucket(f"pin:{room.room_uuid}", per_room, HOUR)
        half = per_room // 2
        admitted = Flag(_admitted(room, token))
        if not address:
            # Newcomers and guessers look the same here. They leave the half that is reserved for newcomers.
            shared = (TokenBucket(attempts.name, per_room, HOUR, reserve=half),)
            return await self._take([(admitted,), shared] if token else [shared])
        around = scopes(address)
        spared = ceil(per_address * SPARED_SHARE) if has_failed and per_address > 1 else 0
        repeated = [
            TokenBucket(f"pinner:{scope.name}", scope.times * per_address, HOUR, reserve=scope.times * spared)
            for scope in around
        ]
        if any(member.address == address for member in room.members.values()):
            return await self._take([repeated])
        first = [
            TokenBucket(
                f"pinner:{scope.name}", scope.times * per_address, HOUR, reserve=scope.times * (per_address - 1)
            )
            for scope in around
        ]
        invited, by_code = Flag(_invited(room.room_id, address)), f"{attempts.name}/invited"
        # A recent arrival without failed attempts may use the reserve, at a limited pace. The reserve shrinks for clients that
        # have waited, so that later arrivals still find some.
        waited = self._clock.seconds() - first_seen
        newcomer: list[Plan] = []
        if waited < (per_room // 4 + 2) * attempts.interval:
            reserve = 0 if waited < NEWCOMER_SECONDS else per_room // 4
            newcomer = [
                (
                    *conditions,
                    *first,
                    TokenBucket(name, per_room, HOUR, reserve),
                    TokenBucket(f"{name}/pace", NEWCOMER_BURST, NEWCOMER_BURST * NEWCOMER_INTERVAL_SECONDS),
                )
                for conditions, name in (((invited,), by_code), ((), attempts.name))
            ]
        plans: list[Plan] = [
            (Flag(_known(room, address)), *repeated),
            *([(admitted, *repeated)] if token else ()),
            *newcomer,
            (invited, *repeated, TokenBucket(by_code, per_room, HOUR, half)),
            (*repeated, TokenBucket(attempts.name, per_room, HOUR, half)),
        ]
        return await self._take(plans, newcomer)

    async def _take(self, plans: Sequence[Plan], newcomer: Sequence[Plan] = ()) -> Plan:
        """Take the first possible plan, and return it. newcomer: plans whose JOINs wait in a queue of their own."""
        result = await self._store.rate_limits.take(plans)
        queue = "new" if result.way < 0 and plans[result.nearest] in newcomer else ""
        return plans[_check(result, queue).way]

    def refund(self, plan: Plan) -> None:
        """Return budgets that were taken and not used."""
        if plan:
            self._store.rate_limits.refund(plan)

    def first_seen(self, room: Room, client_key: str) -> float:
        """Return when a client arrived at a room, in seconds of the clock, and note that it is here now.

        A client that has stayed away for a day arrives again.
        """
        now, key = self._clock.seconds(), (room.room_uuid, client_key)
        since, last = self._arrivals.pop(key, (now, now))
        if last < now - DAY:
            since = now
        self._arrivals[key] = since, now
        if len(self._arrivals) > MAX_REMEMBERED:
            self._arrivals.popitem(last=False)
        return since

    def invited(self, room_id: str, address: str) -> None:
        """Note that a client of this address knows the invite code of a room."""
        if address and self._limits.pin_tries_per_room:
            self._store.rate_limits.mark(_invited(room_id, address), HOUR)

    def admitted(self, room: Room, token: str) -> None:
        """Note that a device knows the PIN of the room: it is a member now. token: SHA-256 of the token that was issued to it."""
        if room.settings.pin is not None and self._limits.pin_tries_per_room:
            self._store.rate_limits.mark(_admitted(room, token), DAY)

    def pin_accepted(self, room: Room, address: str, attempt: Plan) -> None:
        """Refund an attempt with the right PIN, and note that the address knows it."""
        self._metrics.pin_attempts["accepted"] += 1
        if attempt:
            self._store.rate_limits.refund(attempt)
            if address:
                self._store.rate_limits.mark(_known(room, address), DAY)

    def pin_rejected(self, room: Room, pin: str) -> None:
        """Remember a wrong PIN. Another attempt with it tells a guesser nothing, so it costs nothing."""
        self._metrics.pin_attempts["rejected"] += 1
        self._wrong[self._digest(room, pin)] = None
        if len(self._wrong) > MAX_REMEMBERED:
            self._wrong.popitem(last=False)

    def is_known_wrong_pin(self, room: Room, pin: str) -> bool:
        """Return whether an earlier attempt has shown that this PIN is wrong."""
        if self._digest(room, pin) not in self._wrong:
            return False
        self._metrics.pin_attempts["repeated"] += 1
        return True

    def _digest(self, room: Room, pin: str) -> tuple[str, bytes]:
        return room.room_uuid, hashlib.blake2b(
            pin.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key
        ).digest()


def _check(result: TakeResult, queue: str = "") -> TakeResult:
    """Return the result. Raises JoinDeferredError if nothing was taken. queue: a suffix for the name of the limit."""
    if result.way < 0:
        raise JoinDeferredError(result.lacking + queue, result.lacking.partition(":")[0], result.wait)
    return result


def _known(room: Room, address: str) -> str:
    return f"known:{room.room_uuid}\x00{address}"


def _admitted(room: Room, token: str) -> str:
    return f"admitted:{room.room_uuid}\x00{token}"


def _invited(room_id: str, address: str) -> str:
    return f"invited:{room_id}\x00{address}"
