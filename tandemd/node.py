"""One node put together: which pieces there are, who is given what, and in which order they start and stop."""

from __future__ import annotations

import os
import secrets
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from twisted.application import service
from twisted.internet import threads
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from . import __version__, tokens
from . import messages as m
from .archive.database import Database
from .archive.dialect import Dialect
from .archive.migrate import migrate
from .archive.tables import SQLArchive
from .archive.writer import ArchiveWriter
from .config import Config
from .connection import Connection
from .interfaces import IArchive
from .metrics import GcPause, Metrics, ReactorLag
from .positions import PositionSettings
from .protocol import ProtocolSettings, TandemFactory, TandemProtocol
from .room.rules import Rules
from .room.settings import RuleSettings
from .room.state import Pin
from .room.titles import Titles
from .rooms import RoomService
from .roomstore.memory import MemoryStore
from .services import CannotStart, Sequence
from .sessions import Outbox, Session
from .web import Addresses, TandemSite, root_resource

PAGE = os.path.join(os.path.dirname(__file__), "page")


def dialect_of(config: Config) -> Dialect:
    """Return the database that the configuration names; its schema is brought up to date by `prepare`."""
    if config.uses_postgres:
        from .archive.postgresql import PostgreSQL  # noqa: PLC0415  # psycopg2 only where it is wanted

        postgres = config.postgres
        if postgres.url:
            return PostgreSQL(postgres.pool_size, dsn=postgres.url)
        return PostgreSQL(
            postgres.pool_size,
            host=postgres.host,
            port=postgres.port,
            dbname=postgres.db,
            user=postgres.user,
            password=postgres.password,
        )
    from .archive.sqlite import SQLite  # noqa: PLC0415

    return SQLite(config.sqlite_path)


def prepare(config: Config) -> None:
    """Do what must be done before the reactor runs: the state directory, and the schema of the archive.

    Raises OSError or archive.errors.ArchiveError, whose texts say what to do. Blocks.
    """
    os.makedirs(config.state_dir, mode=0o700, exist_ok=True)
    migrate(dialect_of(config))


class Restore(service.Service):
    """Brings the rooms back that were there when the process ended; their members have their grace period to return."""

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
        found = await self._archive.restore(self._store.now())
        self._store.restore(found)
        for room in found:
            self._rooms.start_grace(room.code, "")
        if found:
            self._log.info("{count} rooms are back", count=len(found))


class Connections(service.Service):
    """Keeps an eye on all connections, and sends them away when the node stops."""

    name = "connections"
    _log = Logger()

    def __init__(self, factory: TandemFactory, clock: IReactorTime, metrics: Metrics, limit: float):
        self._factory = factory
        self._metrics = metrics
        self._limit = limit
        self._check = LoopingCall(factory.check)
        self._check.clock = clock

    def startService(self) -> None:
        super().startService()
        self._check.start(1.0, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._metrics.draining.value = 1
        if self._check.running:
            self._check.stop()
        count = len(self._factory)
        if count:
            self._log.info("closing {count} connections; clients come back by themselves", count=count)
        return self._factory.send_away(self._limit)


class Hasher(service.Service):
    """Hashes PINs in threads, two at a time: each takes 16 MiB and some 50 ms."""

    name = "hasher"

    def __init__(self, reactor: Any):
        self._reactor = reactor
        self._pool = ThreadPool(0, 2, "pins")

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()

    def hash_pin(self, pin: str, salt: str) -> Deferred[Pin]:
        """See `tokens.hash_pin`."""
        return threads.deferToThreadPool(self._reactor, self._pool, tokens.hash_pin, pin, salt)


class Node:
    """The pieces of a running node. `service` is what to start and stop."""

    def __init__(self, config: Config, reactor: Any, top: Sequence):
        """reactor: as the interfaces of Twisted want it. top: the service to add the others to."""
        self.service = top
        self.config = config
        self.boot = secrets.token_hex(8)
        self.metrics = metrics = Metrics(
            __version__,
            config.node_id,
            received=(str(kind.__struct_config__.tag) for kind in m.CLIENT_MESSAGES),
        )
        self.database = Database(dialect_of(config), reactor, self._observe)
        self.archive = SQLArchive(self.database)
        self.writer = ArchiveWriter(
            self.archive,
            reactor,
            lambda: self.rooms.presence(),  # noqa: PLW0108  # the rooms come later
            flush_interval=config.archive.flush_interval,
            presence_interval=config.archive.positions_interval,
            retention_days=config.archive.retention_days,
        )
        self.store = MemoryStore(reactor, config.rooms.log_length, self.writer.committed)
        self.outbox = Outbox(reactor, self._delivered)
        self.hasher = Hasher(reactor)
        self.rooms = RoomService(
            self.store, rules_of(config), reactor, self.outbox, metrics, self.hasher.hash_pin, positions_of(config)
        )
        self.addresses = Addresses(config.web.trusted_proxies)
        self.factory = TandemFactory(
            reactor,
            ProtocolSettings(config.limits.frame_bytes, tuple(config.web.allowed_origins)),
            self._connect,
            self._counted,
        )
        self._numbers = 0
        site = TandemSite(
            root_resource(
                websocket=WebSocketResource(self.factory),
                rooms=self.rooms.directory,
                readiness=self.readiness,
                metrics_text=self._metrics_text,
                connections=lambda: len(self.factory),
                node_id=config.node_id,
                version=__version__,
                started_at=reactor.seconds(),
                clock=reactor,
                page_directory=PAGE,
                addresses=self.addresses,
                allowed_origins=config.web.allowed_origins,
                redirect_target=config.web.redirect_target,
                invite_base_url=config.web.invite_base_url,
                short_id_wait=config.web.short_id_wait,
                code_lookups=config.limits.code_lookups if config.limits.enabled else 0,
            ),
            reactor,
        )
        self.listener = Listener(reactor, site, config)
        for child in (
            self.database,
            self.writer,
            self.hasher,
            Restore(self.archive, self.store, self.rooms),
            self.rooms,
            ReactorLag(reactor, metrics.reactor_lag),
            GcPause(reactor.seconds, metrics.gc_pause),
            Connections(self.factory, reactor, metrics, 5.0),
            self.listener,
        ):
            child.setServiceParent(top)

    def readiness(self) -> list[str]:
        """Return the reasons why no clients should be sent to this node."""
        if not self.service.running:
            return ["the node is stopping"]
        if not self.service.started:
            return ["the node is starting"]
        return [reason for reason in (self.store.ready(), self.writer.ready()) if reason]

    def _connect(self, protocol: TandemProtocol) -> Connection:
        self._numbers += 1
        forwarded = (protocol.http_headers or {}).get("x-forwarded-for")
        peer = protocol.transport.getPeer() if protocol.transport is not None else None
        address = self.addresses.rule(peer, [forwarded] if forwarded else [])
        session = Session(f"{self.config.node_id}/{self.boot}/{self._numbers}", address, protocol, self.outbox)
        return Connection(session, self.rooms, self.store, self.metrics)

    def _counted(self, code: int | None, opened: bool) -> None:
        if opened:
            self.metrics.opened.value += 1
        else:
            self.metrics.closed[str(code) if code in _CLOSE_CODES else "other"] += 1

    def _delivered(self, count: int) -> None:
        self.metrics.deliveries.value += count

    def _observe(self, name: str, waited: float, ran: float) -> None:
        self.metrics.db_queue.observe(waited, name)
        self.metrics.db_run.observe(ran, name)

    def _metrics_text(self) -> bytes:
        metrics, counts = self.metrics, self.rooms.directory.counts()
        metrics.connections.value = len(self.factory)
        metrics.rooms.value = counts["rooms"]
        metrics.members.value = counts["members"]
        metrics.archive_queue.value = len(self.writer)
        metrics.archive_lag.value = self.writer.lag
        return metrics.render()


_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012))


class Listener(service.Service):
    """Takes connections, and says in the log where."""

    name = "listener"
    _log = Logger()

    def __init__(self, reactor: Any, site: TandemSite, config: Config):
        self._reactor = reactor
        self._site = site
        self._config = config
        self._port: IListeningPort | None = None

    @property
    def address(self) -> Any:
        """Where it listens, once it does."""
        return self._port.getHost() if self._port is not None else None

    def startService(self) -> Deferred[None]:
        super().startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            self._port = await serverFromString(self._reactor, self._config.endpoint).listen(self._site)
        except CannotListenError as error:
            raise CannotStart(
                f"cannot listen on {self._config.endpoint}: {error.socketError}; choose another `port`"
            ) from error
        host = self.address
        place = f"localhost:{host.port}" if hasattr(host, "port") else str(host)
        self._log.info("ready: the party page is at http://{place}/", place=place, node=self._config.node_id)
        self._log.info("ready: clients connect to ws://{place}/ws", place=place)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)


def rules_of(config: Config) -> Rules:
    """Return the rules as the configuration sets them."""
    rooms, limits = config.rooms, config.limits
    return Rules(
        RuleSettings(
            grace=rooms.grace,
            room_ttl=rooms.room_ttl,
            host_gone=rooms.host_gone,
            gate_deadline=rooms.gate_deadline,
            gate_quorum=rooms.gate_quorum,
            gate_quorum_after=rooms.gate_quorum_after,
            members_per_room=limits.members_per_room if limits.enabled else 1_000_000,
            username_length=limits.username_length,
            chat_length=limits.chat_length,
        ),
        Titles(config.titles.allowed, limits.url_length),
    )


def positions_of(config: Config) -> PositionSettings:
    """Return how positions are dealt with as the configuration sets it."""
    rooms = config.rooms
    return PositionSettings(
        rooms.heartbeat, rooms.drift, rooms.play_state_after, rooms.control_quiet, rooms.watching_timeout
    )
