"""Rooms in Redis, for any number of nodes. docs/architecture.md lists the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from ...errors import RequestError
from ...interfaces import IArchive, IClusterClock, IMailboxes, IRateLimitStore, IRoomStore, IStore, IStoreEventHandler
from ...util.services import Periodic, StartupError, Tasks
from .cluster_membership import ClusterMembership, RedisClock
from .commit_writer import CommitWriter
from .connection import DisconnectedError, RedisError
from .gateway import HEARTBEAT_SECONDS, RedisGateway
from .journal import Journal
from .mailboxes import Mailboxes
from .memory_monitor import LOOK_SECONDS, MemoryMonitor
from .memory_pressure import Pressure
from .metrics import StoreMetrics
from .rate_limits import RedisRateLimits
from .recovery import DataRecovery
from .reseeding import RoomReseeder
from .room_store import RedisRoomStore
from .settings import RedisSettings
from .spool import Spool
from .subscription import Subscription

STARTUP_SECONDS = 8.0
"""Seconds in which Redis must answer when the node starts. Waiting does not repair a wrong password."""
COMPARE_SECONDS = 5.0
"""Seconds between two comparisons of all subscribed rooms with Redis."""


@implementer(IStore)
class RedisStore(service.Service):
    """The store of several nodes. Connects its parts and runs their periodic work."""

    rooms: IRoomStore
    mailboxes: IMailboxes
    rate_limits: IRateLimitStore
    clock: IClusterClock

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        options: dict[str, Any],
        name: str,
        settings: RedisSettings,
        archive: IArchive,
        metrics: StoreMetrics,
        spool: Spool,
    ):
        """endpoint, options: see `RedisConnection`.
        name: "node/boot/", the beginning of the names of this node's connections.
        archive: has the rooms that Redis has lost.
        spool: takes journal entries while the journal is full.
        """
        bounds = settings.bounds
        self._reactor_clock = clock
        self._tasks = Tasks(clock)
        self._loops: list[Periodic] = []
        self._pressure = Pressure(
            clock, metrics, lambda: self._tasks.spawn("shortening logs", self._memory.shorten_logs()), self._available
        )
        self._gateway = gateway = RedisGateway(
            clock,
            endpoint,
            options,
            self._tasks,
            settings.offer_seconds,
            self._offer,
            self._opened,
            self._pressure,
        )
        self.members = ClusterMembership(gateway, name, metrics)
        self.journal = Journal(gateway, settings.journal_length, settings.journal_bytes, spool, metrics)
        self._mail = Mailboxes(gateway, settings.mail_seconds, bounds.mailbox_bytes)
        self._subscription = Subscription(gateway, self._mail, endpoint, options, metrics, name)
        self._memory = MemoryMonitor(gateway, self._subscription.room_ids)
        self._reseeder = RoomReseeder(gateway.link, settings.log_length, bounds.log_bytes)
        commits = CommitWriter(gateway, self.journal, metrics, name, settings.log_length, bounds)
        self._room_store = RedisRoomStore(
            gateway, archive, self._reseeder, commits, self._subscription, self.members, bounds.replay_bytes
        )
        self._recovery = DataRecovery(
            gateway,
            archive,
            self._reseeder,
            self._room_store,
            self.journal,
            self.members,
            name,
            settings.settle_seconds,
        )
        self.rooms = self._room_store
        self.mailboxes = self._mail
        self.rate_limits = RedisRateLimits(gateway)
        self.clock = RedisClock(gateway.time, self.members)

    def set_event_handler(self, handler: IStoreEventHandler) -> None:
        """Report events of other nodes to this handler. Called once, before the service starts."""
        self._gateway.events = handler

    # -- service

    def startService(self) -> Deferred[None]:
        super().startService()
        self._gateway.start()
        self._subscription.link.start()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        limit = self._reactor_clock.seconds() + STARTUP_SECONDS
        while reason := self.ready():
            for link in (self._gateway.link, self._subscription.link):
                if link.permanent_failure:
                    raise StartupError(link.failure)
            if self._gateway.fatal or self._reactor_clock.seconds() > limit:
                raise StartupError(reason)
            await deferLater(self._reactor_clock, 0.02)
        spawn = self._tasks.spawn
        self._repeat("watching the subscription", 1.0, self._subscription.watch)
        self._repeat("comparing", COMPARE_SECONDS, lambda: spawn("comparing", self._subscription.compare()))
        self._repeat("heartbeat", HEARTBEAT_SECONDS, lambda: spawn("heartbeat", self._heartbeat()), now=True)
        self._repeat("tidying the journal", 1.0, self.journal.tidy)
        self._repeat("asking the archive", 1.0, self._recovery.retry_lookup)
        self._repeat("completing Redis", 1.0, lambda: spawn("completing Redis", self._recovery.complete()))
        self._repeat("measuring memory", LOOK_SECONDS, lambda: spawn("measuring memory", self._memory.look()), now=True)

    def _repeat(self, name: str, seconds: float, function: Callable[[], object], *, now: bool = False) -> None:
        loop = Periodic(self._reactor_clock, seconds, function, name)
        loop.start(now=now)
        self._loops.append(loop)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for loop in self._loops:
            loop.stop()
        self._gateway.cancel_waiters()
        self._subscription.cancel_waiters()
        await self._tasks.finish(3.0)
        await self.journal.close()
        await self._subscription.link.stop()
        await self._gateway.link.stop()

    # -- health

    def ready(self) -> str:
        reason = self._gateway.ready()
        if not reason and not self._subscription.listens:
            reason = self._subscription.link.failure or "the subscription to Redis is being opened"
        return reason

    def warnings(self) -> list[str]:
        """Return faults that operators should know, although the node accepts clients."""
        return [text for text in (self._gateway.warning, self._pressure.warning(), self._recovery.warning()) if text]

    # -- events of the parts

    async def _offer(self) -> None:
        await self._recovery.offer_replicas()

    def _opened(self, renewed: bool) -> None:
        self._recovery.opened(renewed)
        if renewed:
            self.members.data_changed()
            for room_id in self._subscription.room_ids():
                self._gateway.events.renewed(room_id)
        self._tasks.spawn("catching up", self._subscription.catch_up())
        self._available()

    def _available(self) -> None:
        self._gateway.events.available()

    async def _heartbeat(self) -> None:
        gateway = self._gateway
        if gateway.incarnation is None:
            return
        try:
            asked = self._reactor_clock.seconds()
            now, number, dead = await self.members.beat()
            gateway.time.sample(asked, self._reactor_clock.seconds(), now)
            if number != gateway.incarnation:
                gateway.incarnation_changed()
                return
            await self._room_store.count()
            await self.members.take_over(dead)
            await self.members.check_connections()
        except RedisError as error:
            gateway.mark_unavailable(str(error))
        except (DisconnectedError, RequestError):
            return  # the next heartbeat tries again
