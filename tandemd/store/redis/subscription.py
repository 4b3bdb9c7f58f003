"""The subscription to changes that other nodes make to open rooms, with detection of a dead subscription."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from . import codec, scripts
from .connection import DisconnectedError, RedisConnection, RedisError
from .gateway import COMMAND_TIMEOUT_SECONDS, RedisGateway, unavailable
from .keys import STORE, canary_key, places_key, room_key, split
from .mailboxes import Mailboxes
from .metrics import StoreMetrics

SILENCE_SECONDS = 3.0
"""Seconds without the canary, which comes every second, after which the subscription is dead."""
COMPARE_BATCH_ROOMS = 200
"""Rooms in one comparison."""


class _Followed:
    """A subscribed room. waiting: for the confirmation by Redis."""

    __slots__ = ("unconfirmed", "waiting")

    def __init__(self) -> None:
        self.unconfirmed = 0
        self.waiting: list[Deferred[None]] = []


class Subscription:
    """Subscribes to rooms over a separate connection.

    name: "node/boot/" of this node.
    link: the connection.
    listens: whether the canary has shown that the subscription works.
    """

    _log = Logger()

    def __init__(
        self,
        gateway: RedisGateway,
        mail: Mailboxes,
        endpoint: IStreamClientEndpoint,
        options: dict[str, Any],
        metrics: StoreMetrics,
        name: str,
    ):
        self.link = RedisConnection("subscription", gateway.clock, endpoint, options, self._up, self._down, self._heard)
        self.listens = False
        self._gateway = gateway
        self._mail = mail
        self._clock = gateway.clock
        self._tasks = gateway.tasks
        self._metrics = metrics
        self._canary = canary_key(name)
        self._places = places_key(name)
        self._rooms: dict[str, _Followed] = {}
        self._unconfirmed: dict[str, int] = {}
        self._catching_up = False
        self._heard_at = 0.0

    def __contains__(self, room_id: str) -> bool:
        return room_id in self._rooms

    def room_ids(self) -> list[str]:
        """Return the ids of the subscribed rooms."""
        return list(self._rooms)

    # -- rooms

    def subscribe(self, room_id: str) -> None:
        """See `IRoomStore.subscribe`."""
        self._rooms[room_id] = _Followed()
        self._subscribe(room_id)

    def _subscribe(self, room_id: str) -> None:
        if self.link.usable:
            self._unconfirmed[room_id] = self._unconfirmed.get(room_id, 0) + 1
            self.link.send_subscribe(b"SUBSCRIBE", room_key(room_id))

    def unsubscribe(self, room_id: str, *, is_known: bool = True) -> None:
        """See `IRoomStore.unsubscribe`."""
        followed = self._rooms.pop(room_id, None)
        if followed is None:
            return
        self.link.send_subscribe(b"UNSUBSCRIBE", room_key(room_id))
        link, name = self._gateway.link, room_id.encode()
        if is_known:
            left = link.call(b"SREM", self._places, name)
        else:
            left = link.run(scripts.FORGET_PLACE, [room_key(room_id), self._places], {"room_id": name})
        left.addErrback(lambda failure: None)
        for waiter in followed.waiting:
            waiter.callback(None)

    def _is_heard(self, room_id: str) -> bool:
        return self.link.usable and not self._unconfirmed.get(room_id)

    async def subscribed(self, room_id: str) -> None:
        """Wait until Redis has confirmed the subscription to a room, so that a later read misses no change.

        Raises RequestError if this takes longer than COMMAND_TIMEOUT_SECONDS.
        """
        followed = self._rooms.get(room_id)
        if followed is None or self._is_heard(room_id):
            return
        waiter: Deferred[None] = Deferred()
        followed.waiting.append(waiter)
        timer = self._clock.callLater(COMMAND_TIMEOUT_SECONDS, waiter.errback, unavailable())
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()
            if waiter in followed.waiting:
                followed.waiting.remove(waiter)

    def cancel_waiters(self) -> None:
        """Make all waits for a confirmation fail."""
        for followed in list(self._rooms.values()):  # the rooms of these waits close
            waiting, followed.waiting = followed.waiting, []
            for waiter in waiting:
                waiter.errback(unavailable())

    # -- the connection

    def _up(self) -> None:
        self._heard_at = self._clock.seconds()
        self._unconfirmed.clear()
        # When all subscriptions are confirmed, a comparison finds the changes that were missed.
        self._catching_up = True
        self.link.send_subscribe(b"SUBSCRIBE", self._canary, STORE)
        for room_id in self._rooms:
            self._subscribe(room_id)
        self._caught_up()

    def _down(self) -> None:
        self.listens = False
        self._unconfirmed.clear()
        self._metrics.pubsub_reconnects.value += 1

    def _caught_up(self) -> None:
        if self._catching_up and not self._unconfirmed:
            self._catching_up = False
            self._tasks.spawn("catching up", self._catch_up_now())

    async def _catch_up_now(self) -> None:
        await self.catch_up()
        if self._gateway.usable:
            self._gateway.events.available()  # rooms could not be opened without subscription

    async def catch_up(self) -> None:
        """Compare versions, and deliver messages whose announcement was missed."""
        await self.compare()
        if self._gateway.usable:
            for room_id in self.room_ids():
                self._mail.deliver_all(room_id, self._gateway.events.members_here(room_id))
            self._mail.tidy()

    def watch(self) -> None:
        """Reconnect a subscription that is silent without being closed. Called every second."""
        if not self._gateway.link.usable:
            self._heard_at = max(self._heard_at, self._clock.seconds() - 1.0)  # the canary cannot be published
        silent = self._clock.seconds() - self._heard_at
        self._metrics.canary_age.value = silent if self._heard_at else 0.0
        if self.link.usable and silent > SILENCE_SECONDS:
            self._log.warn("redis: the subscription is silent; reconnecting", event="subscription_silent")
            self._heard_at = self._clock.seconds()
            self.link.drop()
        if self._gateway.link.usable:
            self._gateway.link.call(b"PUBLISH", self._canary, b"c").addErrback(lambda failure: None)

    # -- messages

    def _heard(self, kind: bytes, channel: bytes, payload: Any) -> None:
        what, name = split(channel)
        if what == b"canary":
            self._heard_at = self._clock.seconds()
            self.listens = True
            return
        if channel == STORE:
            if kind == b"message":
                self._gateway.announced(payload)
            return
        room_id = name.decode()
        if kind == b"subscribe":
            self._confirmed(room_id)
        elif kind == b"message" and room_id in self._rooms:
            if payload[:1] == b"[":
                _, commits = codec.decode_publication(payload)
                self._gateway.events.committed(room_id, commits)
            elif payload[:1] == b"e":
                self._gateway.events.renewed(room_id)
            elif payload[:1] == b"r":
                self._mail.announced(room_id, payload[1:])

    def _confirmed(self, room_id: str) -> None:
        left = self._unconfirmed.get(room_id, 0) - 1
        if left > 0:
            self._unconfirmed[room_id] = left
            return
        self._unconfirmed.pop(room_id, None)
        followed = self._rooms.get(room_id)
        if followed is not None:
            waiting, followed.waiting = followed.waiting, []
            for waiter in waiting:
                waiter.callback(None)
        self._caught_up()

    # -- comparing

    async def compare(self) -> None:
        """Report the version of each subscribed room, because the loss of a last message leaves no gap in the log."""
        if not self._gateway.usable:
            return
        room_ids = self.room_ids()
        for start in range(0, len(room_ids), COMPARE_BATCH_ROOMS):
            some = room_ids[start : start + COMPARE_BATCH_ROOMS]
            try:
                versions = await self._gateway.link.run(scripts.HEADS, [room_key(room_id) for room_id in some])
            except (DisconnectedError, RedisError):
                return
            for room_id, found in zip(some, versions, strict=True):
                if room_id in self._rooms:
                    room_uuid, version = codec.parse_version(found) if found else ("", (0, 0))
                    self._gateway.events.head(room_id, room_uuid, version)
