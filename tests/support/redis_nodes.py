"""Redis stores on a real, private server: nodes without anything above them, for tests of the store."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tandemd import messages as m
from tandemd.app.metrics import NodeMetrics
from tandemd.interfaces import CommitResult, IArchive, IStoreEventHandler, PlayerStatus, Snapshot
from tandemd.rules.state import MEMBER, Commit, Member, Room, RoomSettings, Version
from tandemd.store.redis.spool import Quarantine, Spool
from tandemd.store.redis.store import RedisStore
from tests.support.settings import redis_settings

from .patience import TEST_LIMIT_SECONDS, eventually
from .private_servers import Redis

reactor = cast(Any, _reactor)
_numbers = itertools.count(1)


@implementer(IArchive)
class FakeArchive:
    """Rooms by code, as an archive would have them. away: it cannot be asked."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.events: dict[tuple[str, int, int], Commit] = {}
        self.written: list[Snapshot] = []
        self.away = False
        self.asked = 0

    def _answer(self, answer: Any) -> Deferred[Any]:
        return fail(RuntimeError("the archive is away")) if self.away else succeed(answer)

    def find(self, code: str) -> Deferred[Room | None]:
        self.asked += 1
        room = self.rooms.get(code)
        return self._answer(room.copy() if room is not None and not room.closed else None)

    def living(self) -> Deferred[Sequence[Room]]:
        return self._answer([room.copy() for room in self.rooms.values() if not room.closed])

    def restore(self, now: float) -> Deferred[Sequence[Room]]:
        rooms = [room.copy() for room in self.rooms.values() if not room.closed]
        for room in rooms:
            room.epoch = max(room.epoch + 1, int(now * 1000))
        return self._answer(rooms)

    def write(self, commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot]) -> Deferred[None]:
        if not self.away:
            for room_id, commit in commits:
                self.events.setdefault((room_id, commit.epoch, commit.seq), commit)
            self.written += snapshots
            for room in (snapshot.room for snapshot in snapshots):
                had = self.rooms.get(room.room_id)
                if had is None or had.room_uuid != room.room_uuid or room.version > had.version:
                    self.rooms[room.room_id] = room
        return self._answer(None)

    def presence(self, records: Sequence[PlayerStatus]) -> Deferred[None]:
        return self._answer(None)

    def shrink(self, most: int) -> Deferred[int]:
        return self._answer(0)

    def purge(self, before: float) -> Deferred[int]:
        return self._answer(0)

    def ready(self) -> str:
        return "it is away" if self.away else ""


@implementer(IStoreEventHandler)
class Recorder:
    """Records its calls. rooms: open here. here: (code, user id) of those connected here.

    handed: called after each letter.
    """

    def __init__(self) -> None:
        self.commits: dict[str, list[Commit]] = {}
        self.heads: list[tuple[str, str, Version]] = []
        self.renewals: list[str] = []
        self.letters: list[tuple[str, str, bytes]] = []
        self.lost: list[tuple[str, str]] = []
        self.checked: list[str] = []
        self.rooms: dict[str, tuple[Room, list[Commit]]] = {}
        self.here: set[tuple[str, str]] = set()
        self.times_available = 0
        self.handed: Callable[[], None] = lambda: None

    def committed(self, code: str, commits: Sequence[Commit]) -> None:
        self.commits.setdefault(code, []).extend(commits)

    def seqs(self, code: str) -> list[int]:
        return [commit.seq for commit in self.commits.get(code, ())]

    def head(self, room_id: str, room_uuid: str, version: Version) -> None:
        self.heads.append((room_id, room_uuid, version))

    def renewed(self, code: str) -> None:
        self.renewals.append(code)

    def held(self) -> Sequence[tuple[Room, Sequence[Commit]]]:
        return list(self.rooms.values())

    def available(self) -> None:
        self.times_available += 1

    def present(self, code: str, user_id: str) -> bool:
        return (code, user_id) in self.here

    def members_here(self, code: str) -> Sequence[str]:
        return [user for room, user in self.here if room == code]

    def relayed(self, code: str, user_id: str, frame: bytes) -> None:
        self.letters.append((code, user_id, frame))
        self.handed()

    def node_lost(self, code: str, prefix: str) -> Deferred[None]:
        self.lost.append((code, prefix))
        return succeed(None)

    def check_connections(self, code: str) -> Deferred[bool]:
        self.checked.append(code)
        return succeed(True)


class Hand:
    """Makes commits of a room and keeps its own copy of it, as the room service does."""

    def __init__(self, store: Any, code: str, room: Room | None = None):
        self.store = store
        now = store.clock.now()
        self.room = room or Room(str(uuid.UUID(int=next(_numbers), version=4)), code, now, int(now * 1000))
        self.log: list[Commit] = []

    def next(
        self, changes: dict[str, Any] | None = None, *, text: str = "", event: str = "CHAT", **fields: Any
    ) -> Commit:
        """Return a commit that follows on the room."""
        room = self.room
        if changes is None:
            changes = {}
        if not room.seq:
            changes = {"settings": RoomSettings(invite=f"inv-{room.room_id}"), **changes}
        said = m.ChatMessage(seq=room.seq + 1, prev=room.prev, user_id="ann", username="Ann", text=text, timestamp=0)
        messages = (said,) if text else ()
        due = fields.pop("due", room.due)
        return Commit(
            epoch=room.epoch, seq=room.seq + 1, at=self.store.clock.now(), event=event, user="ann",
            details={"n": room.seq + 1}, changes=changes, messages=messages, due=due,
            **fields,
        )  # fmt: skip

    def batch(self, *texts: str) -> list[Commit]:
        before, self.room = self.room, self.room.copy()
        commits = []
        for text in texts:
            commits.append(self.next(text=text))
            self.room.apply(commits[-1])
        self.room = before
        return commits

    def send(self, *commits: Commit) -> Deferred[CommitResult]:
        """Commit; the copy moves on if that worked."""
        done: Deferred[CommitResult] = Deferred()

        def answered(result: CommitResult) -> None:
            if result is None:
                for commit in commits:
                    self.room.apply(commit)
                    self.log.append(commit)
            done.callback(result)

        self.store.rooms.commit(self.room, commits, answered)
        return done

    def say(self, text: str = "x", **fields: Any) -> Deferred[CommitResult]:
        return self.send(self.next(text=text, **fields))


def member(user: str, conn: str, order: int = 1) -> dict[str, Any]:
    """Return the change that adds a member."""
    return {MEMBER + user: Member(user, user.title(), conn, order, 0.0)}


async def until(condition: Callable[[], Any], told: Callable[[], object] | None = None) -> Any:
    """Wait until a condition is true, and return its value. told: returns the state so far, for the error."""
    code = condition.__code__
    return await eventually(reactor, f"{code.co_name} at {code.co_filename}:{code.co_firstlineno}", condition, told)


class RedisTestCase(TestCase):
    """Has a `server` of its own, and makes stores on it. options: of redis-server."""

    options: tuple[str, ...] = ()
    timeout = TEST_LIMIT_SECONDS

    def setUp(self) -> None:
        self.server = Redis(*self.options)
        self.addCleanup(self.server.stop)
        self.directory = tempfile.mkdtemp(prefix="tandemd-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.archive = FakeArchive()
        self.stores: list[RedisStore] = []
        self.proxies: list[Proxy] = []

        self.addCleanup(self._end)

    async def _end(self) -> None:
        for store in self.stores:
            if store.running:
                await store.stopService()
        for proxy in self.proxies:
            await proxy.stop()

    async def node(
        self,
        name: str = "a/1/",
        path: str = "",
        follower: Recorder | None = None,
        endpoint: Any = None,
        failover: bool = False,
        **settings: Any,
    ) -> Any:
        """Return a running store with its `follower` and `metrics` as attributes.

        path: of Redis' socket, or a proxy's; endpoint: in its place. failover: whether that leads to another server when it must.
        """
        metrics = NodeMetrics("test", name).store
        path_ = os.path.join(self.directory, name.replace("/", "-"))
        store: Any = RedisStore(
            reactor,
            endpoint or UNIXClientEndpoint(reactor, path or self.server.path),
            {"failover": failover},
            name,
            redis_settings(**{"offer_seconds": 0.1, **settings}),
            self.archive,
            metrics,
            Spool(path_ + "spool", Quarantine(path_ + "unreadable", metrics), metrics),
        )
        store.follower = follower or Recorder()
        store.metrics = metrics
        store.set_event_handler(store.follower)
        self.stores.append(store)
        await store.startService()
        return store

    async def proxied(self, name: str = "a/1/") -> tuple[Proxy, Any]:
        """Return a proxy, and a store that reaches Redis through it."""
        proxy = Proxy(os.path.join(self.directory, "proxy"), self.server.path)
        self.proxies.append(proxy)
        return proxy, await self.node(name, proxy.path)

    def ask(self, store: Any, *words: bytes) -> Deferred[Any]:
        """Send Redis a command by a store's own connection."""
        answer: Deferred[Any] = store._gateway.link.call(*words)
        return answer

    async def open(self, store: Any, code: str = "room") -> Hand:
        """Return a new room, followed, with one commit."""
        store.rooms.subscribe(code)
        hand = Hand(store, code)
        assert await store.rooms.load(code) is None
        assert await hand.say("first", event="USER_JOINED") is None
        return hand


class Proxy(Factory):
    """Stands between stores and Redis, on a Unix socket of its own.

    deaf: which connections get no answers: "", "all", or only "subscriptions" or "commands". lost: those answers. mute:
    questions get lost. swallowed: those questions.
    """

    def __init__(self, path: str, target: str):
        self.path = path
        self.target = target
        self.deaf = ""
        self.lost = b""
        self.mute = False
        self.swallowed = b""
        self.links: list[_Near] = []
        self.port = reactor.listenUNIX(path, self)

    def buildProtocol(self, addr: Any) -> _Near:
        near = _Near(self)
        self.links.append(near)
        return near

    def cut(self) -> None:
        """Lose all connections."""
        for near in list(self.links):
            near.transport.abortConnection()

    async def stop(self) -> None:
        await self.port.stopListening()
        self.cut()
        await until(lambda: not self.links)


class _Near(Protocol):
    """The connection of a store."""

    transport: Any

    def __init__(self, proxy: Proxy):
        self.proxy = proxy
        self.far: _Far | None = None
        self.early = b""
        self.over = False
        self.listens = False

    def connectionMade(self) -> None:
        endpoint = UNIXClientEndpoint(reactor, self.proxy.target)
        connectProtocol(endpoint, _Far(self)).addErrback(lambda failure: self.transport.abortConnection())

    def dataReceived(self, data: bytes) -> None:
        if self.proxy.mute:
            self.proxy.swallowed += data
            return
        self.listens = self.listens or b"SUBSCRIBE" in data
        if self.far is None:
            self.early += data
        else:
            self.far.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.over = True
        self.proxy.links.remove(self)
        if self.far is not None:
            self.far.transport.abortConnection()


class _Far(Protocol):
    """The connection to Redis that belongs to a store's."""

    transport: Any

    def __init__(self, near: _Near):
        self.near = near

    def connectionMade(self) -> None:
        if self.near.over:
            self.transport.abortConnection()
            return
        self.near.far = self
        self.transport.write(self.near.early)

    def dataReceived(self, data: bytes) -> None:
        proxy = self.near.proxy
        if proxy.deaf in ("all", "subscriptions" if self.near.listens else "commands"):
            proxy.lost += data
        else:
            self.near.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.near.over:
            self.near.transport.abortConnection()
