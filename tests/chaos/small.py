"""Nodes without a process of their own: store, rooms and WebSocket, with replaceable parts."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint

from tandemd.app.metrics import NodeMetrics
from tandemd.interfaces import IArchive, IStoreEventHandler, PlayerStatus, Snapshot
from tandemd.rooms.factory import make_room_service
from tandemd.rooms.outbox import Outbox
from tandemd.rooms.session import Session
from tandemd.rules.engine import Rules
from tandemd.rules.state import Commit, Pin, Room
from tandemd.rules.title_allowlist import TitleAllowlist
from tandemd.store.redis.journal_consumer import JournalConsumer
from tandemd.store.redis.spool import Quarantine, Spool
from tandemd.store.redis.store import RedisStore
from tandemd.websocket.client import ClientConnection
from tandemd.websocket.factory import TandemFactory
from tandemd.websocket.protocol import TandemProtocol
from tests.support.settings import join_limits, playback_sync_settings, protocol_settings, redis_settings, rule_settings

from .checker import RoomRow, Row
from .proxy import Proxy


class DictArchive:
    """An archive in dictionaries, for all nodes together."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.events: dict[tuple[str, int, int], Commit] = {}

    def keep(self, room: Room) -> None:
        """Take a room's row, if it is newer than the present one."""
        had = self.rooms.get(room.room_uuid)
        if had is None or had.version < room.version:
            self.rooms[room.room_uuid] = room

    def write(self, commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot]) -> Deferred[None]:
        for room_id, commit in commits:
            self.events.setdefault((room_id, commit.epoch, commit.seq), commit)
        for snapshot in snapshots:
            self.keep(snapshot.room)
        return succeed(None)

    def find(self, code: str) -> Deferred[Room | None]:
        found = [room for room in self.rooms.values() if room.room_id == code and not room.closed]
        return succeed(found[0].copy() if found else None)

    def living(self) -> Deferred[Sequence[Room]]:
        return succeed([room.copy() for room in self.rooms.values() if not room.closed])

    def restore(self, now: float) -> Deferred[Sequence[Room]]:
        return succeed([room.copy() for room in self.rooms.values() if not room.closed])

    def presence(self, records: Sequence[PlayerStatus]) -> Deferred[None]:
        return succeed(None)

    def purge(self, before: float) -> Deferred[int]:
        return succeed(0)

    def ready(self) -> str:
        return ""

    def read(self) -> tuple[list[Row], list[RoomRow]]:
        """Return everything for the checker."""
        rows = [
            Row(self.rooms[id_].room_id, epoch, seq, commit.event, commit.user, commit.details or {})
            for (id_, epoch, seq), commit in self.events.items()
        ]
        rooms = [
            RoomRow(room.room_id, room.version, room.settings.guest_control, room.playback.url)
            for room in self.rooms.values()
        ]
        return rows, rooms


class SmallNode:
    """One node in this process.

    prefix: "node/boot/". make: makes the store. follow: the store's news of others' commands go through it.
    """

    def __init__(
        self,
        reactor: Any,
        directory: str,
        redis: str,
        prefix: str,
        archive: DictArchive,
        make: Callable[..., RedisStore] = RedisStore,
        follow: Callable[[IStoreEventHandler], Any] = lambda follower: follower,
        grace: float = 45.0,
    ):
        self.prefix = prefix
        self.port = 0
        self.accepts = False
        self._reactor = reactor
        path = os.path.join(directory, prefix.replace("/", "-"))
        self.proxy = Proxy(reactor, path + "redis", redis)
        self.metrics = metrics = NodeMetrics("test", prefix)
        endpoint = UNIXClientEndpoint(reactor, path + "redis")
        settings = redis_settings(offer_seconds=0.2)
        kept = cast(IArchive, archive)
        quarantine = Quarantine(path + "unreadable", metrics.store)
        spool = Spool(path + "spool", quarantine, metrics.store)
        self.store = make(reactor, endpoint, {}, prefix, settings, kept, metrics.store, spool)
        self.consumer = JournalConsumer(reactor, endpoint, {}, prefix, kept, metrics.store, quarantine)
        self.outbox = Outbox(reactor, metrics.rooms.deliveries)
        self.rooms = make_room_service(
            self.store,
            prefix,
            Rules(rule_settings(grace=grace), TitleAllowlist(["https://www.netflix.com"])),
            reactor,
            self.outbox,
            metrics.rooms,
            lambda pin, salt: succeed(Pin(salt, pin)),
            playback_sync_settings(),
            lambda join: None,
            join_limits(),
        )
        self.store.set_event_handler(follow(self.rooms.others))
        self._factory = TandemFactory(
            reactor,
            protocol_settings(),
            self._connect,
            lambda address, code, opened: None,
            metrics.connections.connections_dropped,
        )
        self._numbers = 0
        self._listening: Any = None

    def _connect(self, protocol: TandemProtocol) -> ClientConnection:
        self._numbers += 1
        assert protocol.transport is not None
        peer = protocol.transport.getPeer()
        session = Session(f"{self.prefix}{self._numbers}", peer.host, protocol.session_transport, self.outbox)
        return ClientConnection(session, self.rooms, self.store.clock, self.metrics.connections)

    async def start(self) -> None:
        await self.proxy.start()
        await self.store.startService()
        self.consumer.startService()
        self.rooms.startService()
        self._listening = self._reactor.listenTCP(self.port, self._factory, interface="127.0.0.1")
        self.port = self._listening.getHost().port
        self.accepts = True

    async def crash(self) -> None:
        """End so that Redis and the others are told nothing."""
        self.proxy.close()
        await self.stop()

    async def stop(self) -> None:
        self.accepts = False
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        await maybeDeferred(listening.stopListening)
        await self._factory.drain(0.0, 0.5)
        self.rooms.stopService()
        await self.consumer.stopService()
        await self.store.stopService()
        await self.proxy.stop()


def choice(nodes: Sequence[SmallNode]) -> Callable[[random.Random], Callable[[], int | None]]:
    """Return a function that chooses nodes for clients."""

    def choose(rng: random.Random) -> Callable[[], int | None]:
        def one() -> int | None:
            ports = [node.port for node in nodes if node.accepts]
            return rng.choice(ports) if ports else None

        return one

    return choose
