"""The store and the archive of a node: this process and SQLite, or Redis and PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger

from ..archive.database import Database
from ..archive.sql_archive import SQLArchive
from ..archive.writer import ArchiveWriter
from ..config import Config
from ..config.value_types import sentinel
from ..interfaces import IArchive, IStore, PlayerStatus
from ..rooms.service import RoomService
from ..store.memory import MemoryStore
from ..util.certificate_files import trusted_authorities
from ..util.file_watcher import InvalidFileError
from ..util.server_time import ServerTime
from ..util.services import PeriodicService, StartupError
from ..util.text import one_line
from .environment import Environment
from .metrics import NodeMetrics
from .settings import bounds_of, redis_settings_of, writer_settings_of

WALL_CLOCK_INTERVAL_SECONDS = 2.0
"""Time between two comparisons of a single node with the wall clock."""


class Backend(Protocol):
    """A room store with the archive behind it."""

    @property
    def store(self) -> IStore:
        """The store of the rooms."""

    @property
    def database(self) -> Database:
        """The database of the archive."""

    def services(self, rooms: RoomService) -> list[service.Service]:
        """Return the services that start before the room service, in this order."""

    def ready(self) -> list[str]:
        """Return the reasons not to send clients to this node, as texts for operators."""

    def warnings(self) -> list[str]:
        """Return faults that are no reason to send clients to another node, as texts for operators."""

    def measure(self) -> None:
        """Set the gauges."""

    def has_peers(self) -> bool:
        """Whether another node can take over this node's clients."""


def backend_of(
    config: Config, reactor: Any, metrics: NodeMetrics, conn_prefix: str, environment: Environment | None = None
) -> Backend:
    """Return the backend that the configuration selects. Raises StartupError.

    conn_prefix: the beginning of connection names, "node/boot/". environment: None for the real process.
    """
    environment = environment or Environment()
    if config.uses_redis:
        return ClusterBackend(config, reactor, metrics, conn_prefix, environment)
    return SingleNodeBackend(config, reactor, metrics, environment)


class _Archived:
    """The archive of both backends."""

    def __init__(self, config: Config, reactor: Any, metrics: NodeMetrics, environment: Environment):
        self._config = config
        self._reactor = reactor
        self._metrics = metrics.archive
        self.database = Database(
            environment.dialect(config), reactor, self._observe, thread_pool=environment.thread_pool
        )
        self.archive = SQLArchive(self.database, environment.wall)
        self._rooms: RoomService | None = None

    def _writer(self, now: Callable[[], float]) -> ArchiveWriter:
        return ArchiveWriter(
            self.archive,
            self._reactor,
            self._presence,
            self._wrote,
            now=now,
            settings=writer_settings_of(self._config),
        )

    def _wrote(self, commits: int, written: bool) -> None:
        if written:
            self._metrics.archive_batch.observe(commits)
        else:
            self._metrics.archive_failures.value += 1

    def _presence(self) -> list[PlayerStatus]:
        return self._rooms.presence() if self._rooms is not None else []

    def _observe(self, name: str, waited: float, ran: float) -> None:
        self._metrics.db_queue.observe(waited, name)
        self._metrics.db_run.observe(ran, name)


class SingleNodeBackend(_Archived):
    """Rooms in this process. The archive restores them after a restart."""

    def __init__(self, config: Config, reactor: Any, metrics: NodeMetrics, environment: Environment):
        super().__init__(config, reactor, metrics, environment)
        wall = environment.wall
        server_time = ServerTime(reactor)
        server_time.look(wall)
        self._following = PeriodicService(
            reactor,
            WALL_CLOCK_INTERVAL_SECONDS,
            lambda: server_time.look(wall),
            "comparing server time with the wall clock",
        )
        self.writer = self._writer(server_time.now)
        self.store: MemoryStore = MemoryStore(
            reactor,
            config.rooms.log_length,
            self.writer.committed,
            bounds_of(config),
            lambda: self.writer.full,
            server_time,
        )

    def services(self, rooms: RoomService) -> list[service.Service]:
        self._rooms = rooms
        return [self.database, self.writer, Restore(self.archive, self.store, rooms), self._following]

    def ready(self) -> list[str]:
        return [reason for reason in (self.writer.ready(),) if reason]

    def warnings(self) -> list[str]:
        return []

    def measure(self) -> None:
        self._metrics.archive_queue.value = len(self.writer)
        self._metrics.archive_lag.value = self.writer.lag

    def has_peers(self) -> bool:
        return False


class ClusterBackend(_Archived):
    """Rooms in Redis, for any number of nodes. The archive reads them from the journal in Redis."""

    def __init__(self, config: Config, reactor: Any, metrics: NodeMetrics, conn_prefix: str, environment: Environment):
        from ..store.redis.journal_consumer import JournalConsumer  # noqa: PLC0415  # only a node with Redis imports txredisapi
        from ..store.redis.spool import Quarantine, Spool  # noqa: PLC0415
        from ..store.redis.store import RedisStore  # noqa: PLC0415

        super().__init__(config, reactor, metrics, environment)
        endpoint, options = redis_of(config, reactor)
        options["random"] = environment.random
        open_ = environment.open
        quarantine = Quarantine(os.path.join(config.state_dir, "journal.unreadable"), metrics.store, open_)
        spool = Spool(os.path.join(config.state_dir, "journal.spool"), quarantine, metrics.store, open_)
        self.store: RedisStore = RedisStore(
            reactor, endpoint, options, conn_prefix, redis_settings_of(config), self.archive, metrics.store, spool
        )
        self.consumer = JournalConsumer(
            reactor, endpoint, options, config.node_id, self.archive, metrics.store, quarantine
        )

    def services(self, rooms: RoomService) -> list[service.Service]:
        self._rooms = rooms
        self.store.set_event_handler(rooms.others)
        return [self.database, self.store, self.consumer, self._writer(self.store.clock.now)]

    def ready(self) -> list[str]:
        return [reason for reason in (self.store.ready(),) if reason]

    def warnings(self) -> list[str]:
        # Rooms work without PostgreSQL, so its loss is no reason to send clients to another node.
        return [*self.store.warnings(), *(reason for reason in (self.consumer.ready(),) if reason)]

    def measure(self) -> None:
        pass

    def has_peers(self) -> bool:
        return self.store.members.alive > 1


def redis_of(config: Config, reactor: Any) -> tuple[IStreamClientEndpoint, dict[str, Any]]:
    """Return the endpoint of Redis and the other arguments of `RedisConnection`. Raises StartupError."""
    from ..store.redis.login import login  # noqa: PLC0415  # only a node with Redis imports txredisapi
    from ..store.redis.sentinel import SentinelEndpoint  # noqa: PLC0415

    redis = config.redis
    try:
        trusted = trusted_authorities(redis.tls_ca, "redis.tls_ca") if redis.tls and redis.tls_ca else None
    except InvalidFileError as error:
        raise StartupError(str(error)) from None

    def server(host: str, port: int) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port, timeout=3)
        if redis.tls:
            endpoint = wrapClientTLS(optionsForClientTLS(host, trusted), endpoint)
        return endpoint

    options: dict[str, Any] = {"dbid": redis.db, "password": redis.password, "username": redis.username}
    if redis.sentinels:
        options |= {"where": f"the Redis master {redis.sentinel_master!r} (redis.sentinels)", "failover": True}
        return SentinelEndpoint(
            reactor,
            [(written, server(*sentinel(written))) for written in redis.sentinels],
            login({"password": redis.sentinel_password, "username": redis.sentinel_username}),
            redis.sentinel_master,
            server,
        ), options
    if redis.host.startswith("/"):
        return UNIXClientEndpoint(reactor, redis.host, timeout=3), options | {"where": f"Redis at {redis.host}"}
    host = f"[{redis.host}]" if ":" in redis.host else redis.host
    return server(redis.host, redis.port), options | {"where": f"Redis at {host}:{redis.port}"}


class Restore(service.Service):
    """Restores the rooms of the last process. Their members have a grace period to reconnect."""

    name = "restore"
    _log = Logger()

    def __init__(self, archive: IArchive, store: MemoryStore, rooms: RoomService):
        self._archive = archive
        self._store = store
        self._rooms = rooms

    def startService(self) -> Deferred[None]:
        super().startService()
        return Deferred.fromCoroutine(self._restore())

    async def _restore(self) -> None:
        try:
            rooms = await self._archive.restore(self._store.clock.now())
        except CancelledError:
            raise
        except Exception as error:  # each driver has errors of its own
            raise StartupError(
                f"the rooms cannot be read from the archive: {one_line(error)}; check the database and its disk"
            ) from None
        self._store.restore(rooms)
        for room in rooms:
            self._rooms.start_grace(room.room_id, "")
        if rooms:
            self._log.info("restored {count} rooms from the archive", event="rooms_restored", count=len(rooms))
