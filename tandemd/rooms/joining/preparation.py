"""The slow parts of a JOIN before its decision: the reservation of limits, and the hash of its PIN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from twisted.internet.defer import Deferred

from ...ratelimit.buckets import Plan
from ...rules import identity
from ...rules.state import Pin, Room
from ...util import secrets
from ...util.lifo_semaphore import LifoSemaphore, QueueFullError
from ...util.time_slicer import TimeSlicer
from ..replica import RoomReplica
from .limits import JoinDeferredError, JoinLimiter
from .pending_join import JoinState, PendingJoin

HASHING_RETRY_SECONDS = 1.0
"""Seconds until a JOIN is retried that found too many PINs waiting for their hash."""


class Reservation:
    """The budgets that a JOIN has taken, until its outcome is known.

    creation: the budgets for a new room.
    attempt: the budgets for a PIN attempt.
    attempted_room: the room whose PIN the JOIN attempts, None if it attempts none.
    """

    __slots__ = ("_pending", "_preparer", "attempt", "attempted_room", "creation", "live")

    def __init__(self, preparer: JoinPreparer, live: RoomReplica, pending: PendingJoin):
        self._preparer: JoinPreparer | None = preparer
        self._pending = pending
        self.live = live
        self.attempted_room: Room | None = None
        self.attempt: Plan = ()
        self.creation: Plan = ()

    def settle(self, *, accepted: bool = False, created: bool = False, wrong_pin: bool = False) -> None:
        """Refund unused budgets. Later calls do nothing.

        accepted: whether the JOIN was accepted.
        created: whether it created the room.
        wrong_pin: whether it was rejected for its PIN. After another refusal the PIN may be right or wrong.
        """
        preparer, self._preparer = self._preparer, None
        if preparer is None:
            return
        limiter, room = preparer.limiter, self.attempted_room
        if room is not None and wrong_pin:
            limiter.pin_rejected(room, self._pending.join.pin or "")
            self._pending.session.has_failed_pin = True
        elif room is not None and accepted:
            limiter.pin_accepted(room, self._pending.session.address, self.attempt)
        else:
            limiter.refund(self.attempt)
        if not created:
            limiter.refund(self.creation)
        preparer.creation_decided(self.live)


class JoinPreparer:
    """Prepares JOINs that create a room or have a PIN to compare, and makes their secrets.

    hash_pin: hashes a PIN with a salt, in a thread. random: the source of the secrets.
    """

    def __init__(
        self,
        limiter: JoinLimiter,
        hash_pin: Callable[[str, str], Deferred[Pin]],
        slicer: TimeSlicer,
        random: Random,
    ):
        self.limiter = limiter
        self._hash_pin = hash_pin
        self._slicer = slicer
        self._random = random
        self._hashing = LifoSemaphore()
        self._creations: dict[RoomReplica, list[Deferred[None]]] = {}

    def is_needed(self, room: Room, pending: PendingJoin) -> bool:
        """Return whether a JOIN has to be prepared."""
        if room.seq == 0:
            return True
        join = pending.join
        if not join.pin or room.settings.pin is None:
            return False
        member = room.members.get(join.user_id)
        return member is None or not identity.proves_identity(
            member, pending.session.conn, join.nonce or "", pending.command_body(None, "", "")
        )

    def new_token(self, room: Room, pending: PendingJoin) -> str:
        """Return a new resume token for a JOIN, "" if its client keeps none."""
        join = pending.join
        return secrets.new_token(room.room_id, join.user_id, self._random) if join.keeps_token else ""

    def new_invite(self, room: Room) -> str:
        """Return the invite code for a room that the JOIN creates, "" for an existing one."""
        return secrets.new_invite(self._random) if room.seq == 0 else ""

    async def reserve_creation(self, live: RoomReplica, pending: PendingJoin, reservation: Reservation) -> bool:
        """Reserve the creation of a new room. Return False if another JOIN has attempted it meanwhile.

        Of all JOINs for a new room one reserves its creation. The others wait, and need no reservation.
        Raises JoinDeferredError or RequestError.
        """
        pending.move(JoinState.CREATING)
        waiting = self._creations.get(live)
        if waiting is not None:
            decided: Deferred[None] = Deferred()
            waiting.append(decided)
            await decided
            return False
        self._creations[live] = []
        reservation.creation = await self.limiter.reserve_creation(pending.join.room_id, pending.session.address)
        return True

    def creation_decided(self, live: RoomReplica) -> None:
        """Continue the JOINs that wait for the creation of a room, which has happened or failed."""
        self._slicer.run(_fire(self._creations.pop(live, ())))

    async def hash(self, room: Room, pending: PendingJoin, reservation: Reservation) -> Pin | None:
        """Return the hash of the PIN, for the room as it is now. None if the JOIN has no PIN to compare or to set.

        Raises JoinDeferredError or RequestError.
        """
        join = pending.join
        if not join.pin:
            return None
        if room.seq == 0:
            return await self._hash(pending, secrets.new_salt(self._random), None)
        pin = room.settings.pin
        if pin is None:
            return None
        if self.limiter.is_known_wrong_pin(room, join.pin):
            return Pin(pin.salt, "")
        reservation.attempted_room = room
        return await self._hash(pending, pin.salt, reservation)

    async def _hash(self, pending: PendingJoin, salt: str, reservation: Reservation | None) -> Pin:
        """Return the hash of the PIN. reservation: takes a PIN attempt first; None for a new PIN."""
        if pending.is_active:
            pending.move(JoinState.HASHING)
        client_key = pending.client_key
        try:
            await self._hashing.acquire(client_key)
        except QueueFullError:
            raise JoinDeferredError("hashing", "hashing", HASHING_RETRY_SECONDS) from None
        try:
            room = reservation.attempted_room if reservation is not None else None
            if reservation is not None and room is not None:
                first_seen = self.limiter.first_seen(room, client_key)
                reservation.attempt = await self.limiter.reserve_pin_attempt(
                    room,
                    pending.session.address,
                    first_seen,
                    has_failed=pending.session.has_failed_pin,
                    token=secrets.hash_token(pending.join.token) if pending.join.token else "",
                )
            return await self._hash_pin(pending.join.pin or "", salt)
        finally:
            self._hashing.release(client_key)


def _fire(waiting: Sequence[Deferred[None]]) -> Iterator[None]:
    for deferred in waiting:
        deferred.callback(None)
        yield
