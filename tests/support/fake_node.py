"""A node without its archive and its configuration: real protocol, real HTTP, real rules and rooms, fake time.

`Server` puts the pieces together on any reactor. `World` adds connections in memory and a clock that only moves when it
is told to. A test of the messages that clients receive derives from `ServiceTestCase`; another store is another `make_store`.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import txaio
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport
from twisted.trial.unittest import TestCase

from tandemd.app.metrics import NodeMetrics
from tandemd.app.settings import connection_limits_of, features_of, join_limits_of, message_rates_of, spending_rates_of
from tandemd.config import Config
from tandemd.config.schema import Limits
from tandemd.interfaces import Claims, CommitResult, IStore
from tandemd.messages import IceServers, Join
from tandemd.metrics import LabeledCounter
from tandemd.ratelimit import MessageLimits, Spending
from tandemd.rooms.factory import make_room_service
from tandemd.rooms.outbox import Outbox
from tandemd.rooms.playback_settings import PlaybackSyncSettings
from tandemd.rooms.session import Session
from tandemd.rules import snapshot
from tandemd.rules.engine import Rules
from tandemd.rules.settings import RuleSettings
from tandemd.rules.state import Commit, Pin, Room
from tandemd.rules.title_allowlist import TitleAllowlist
from tandemd.store.memory import MemoryStore
from tandemd.util.sweeper import Sweeper
from tandemd.web import Addresses, ConnectionLimiter, ConnectionLimits, FastUpgrade, TandemSite
from tandemd.web.cors import Cors
from tandemd.web.router import NotFound, Root
from tandemd.websocket.client import ClientConnection
from tandemd.websocket.factory import ProtocolSettings, TandemFactory
from tandemd.websocket.protocol import TandemProtocol
from tandemd.websocket.session_transport import WebSocketTransport
from tests.support.settings import bounds, join_limits, playback_sync_settings, protocol_settings, rule_settings

NETFLIX = "https://www.netflix.com"
TITLE = NETFLIX + "/watch/1"
OTHER_TITLE = NETFLIX + "/watch/2"
EPOCH = 1_700_000_000.0
"""When the fake clock begins."""

Journal = Callable[[Room, Commit], None]
MakeStore = Callable[[Any, Journal], IStore]
Observer = Callable[[str, dict[str, Any]], None]
"""Is given the sender of a message, "Client" or "Server", and the message."""


def memory_store(clock: Any, journal: Journal) -> MemoryStore:
    """Return a store with a log of 100 commits."""
    return MemoryStore(clock, 100, journal, bounds())


class WatchedStore(MemoryStore):
    """Knows the followed rooms. following: their codes."""

    def __init__(self, clock: Any, journal: Journal):
        super().__init__(clock, 100, journal, bounds())
        self.following: set[str] = set()

    def subscribe(self, code: str) -> None:
        super().subscribe(code)
        self.following.add(code)

    def unsubscribe(self, code: str, *, is_known: bool = True) -> None:
        super().unsubscribe(code, is_known=is_known)
        self.following.remove(code)


class HeldStore(MemoryStore):
    """A store whose answers a test can hold back, as those of a store elsewhere are late."""

    def __init__(self, clock: Any, journal: Journal):
        super().__init__(clock, 100, journal, bounds())
        self.holding = False
        self.results: deque[CommitResult] = deque()
        """The answers to the next commits, which are then not carried out."""
        self.batches: list[int] = []
        """How many commits were asked for at once."""
        self._held: deque[Callable[[], None]] = deque()

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        self.batches.append(len(commits))

        def carry_out() -> None:
            if self.results:
                done(self.results.popleft())
            else:
                super(HeldStore, self).commit(room, commits, done)

        if self.holding:
            self._held.append(carry_out)
        else:
            carry_out()

    def release(self) -> None:
        """Answer all held requests, and hold no more."""
        self.holding = False
        while self._held:
            self._held.popleft()()


class Pins:
    """Hashes PINs fast; while `holding`, not before `release`."""

    def __init__(self) -> None:
        self.holding = False
        self.count = 0
        self.held: list[tuple[Deferred[Pin], Pin]] = []

    def hash(self, pin: str, salt: str) -> Deferred[Pin]:
        self.count += 1
        hashed = Pin(salt, hashlib.sha256((salt + pin).encode()).hexdigest())
        if not self.holding:
            return succeed(hashed)
        waiting: Deferred[Pin] = Deferred()
        self.held.append((waiting, hashed))
        return waiting

    def release(self) -> None:
        self.holding = False
        held, self.held = self.held, []
        for waiting, hashed in held:
            waiting.callback(hashed)


class Server:
    """The pieces of one node on a reactor, which may be a fake one. limits: None for none."""

    def __init__(
        self,
        reactor: Any,
        boot: str = "boot1",
        make_store: MakeStore = memory_store,
        rules: RuleSettings | None = None,
        positions: PlaybackSyncSettings | None = None,
        protocol: ProtocolSettings | None = None,
        limits: Limits | None = None,
        vouch: Callable[[Join], Claims | None] = lambda join: None,
        ice_servers: Callable[[str], IceServers] = lambda user: IceServers(ice_servers=[]),
    ):
        self.boot = boot
        self.journal: list[tuple[str, Commit]] = []
        self.pins = Pins()
        self.store: Any = make_store(reactor, self._journalled)
        self.metrics = NodeMetrics("test", "node")
        self.outbox = Outbox(reactor, self.metrics.rooms.deliveries)
        self.spending = None if limits is None else Spending(reactor, spending_rates_of(Config(limits=limits)))
        self.rooms = make_room_service(
            self.store,
            f"node/{boot}/",
            Rules(rules or rule_settings(), TitleAllowlist([NETFLIX]), features_of(Config())),
            reactor,
            self.outbox,
            self.metrics.rooms,
            self.pins.hash,
            positions or playback_sync_settings(),
            vouch,
            join_limits() if limits is None else join_limits_of(Config(limits=limits)),
            self.spending,
            ice_servers=ice_servers,
        )
        self.dropped = LabeledCounter("dropped", "", "reason")
        """Why connections were ended whose clients did not read, did not answer or wanted nothing."""
        self.door = ConnectionLimiter(reactor, ConnectionLimits(), self.metrics.limits.rate_limited)
        self.limits: MessageLimits | None = None
        protocol = protocol or protocol_settings()
        if limits is not None:
            config = Config(limits=limits)
            self.door = ConnectionLimiter(reactor, connection_limits_of(config), self.metrics.limits.rate_limited)
            self.limits = MessageLimits(reactor, message_rates_of(config), self.door.penalize)
            protocol = msgspec.structs.replace(protocol, join_timeout=limits.join_timeout)
        self.factory = TandemFactory(reactor, protocol, self._connect, self._counted, self.dropped, self.limits)
        self.addresses = Addresses()
        root = Root(
            WebSocketResource(self.factory), {}, NotFound(), Cors(["*"]), lambda: True, self.addresses, self.door
        )
        self.site = TandemSite(
            root, reactor, shortcut=FastUpgrade(self.factory, root.refusal) if protocol.fast_path else None
        )
        self._numbers = 0
        self._check = Sweeper(reactor, 1.0, self.factory.to_check, WebSocketTransport.check)

    def _journalled(self, room: Room, commit: Commit) -> None:
        self.journal.append((room.room_id, commit))

    def _connect(self, protocol: TandemProtocol) -> ClientConnection:
        self._numbers += 1
        peer = cast(Any, protocol.transport).getPeer()
        session = Session(f"node/{self.boot}/{self._numbers}", peer.host, protocol.session_transport, self.outbox)
        session.meter = self.spending.address(peer.host) if self.spending is not None else None
        return ClientConnection(session, self.rooms, self.store.clock, self.metrics.connections, self.limits)

    def _counted(self, address: str, code: int | None, opened: bool) -> None:
        if opened:
            self.door.opened(address)
        else:
            self.door.closed(address)

    def start(self, restored: Sequence[Room] = ()) -> None:
        """Begin, with the rooms that an archive would give back."""
        if restored:
            self.store.restore(restored)
            for room in restored:
                self.rooms.start_grace(room.room_id, "")
        self.rooms.startService()
        self._check.start()

    def stop(self) -> None:
        self._check.stop()
        if self.rooms.running:
            self.rooms.stopService()

    def drain(self, over: float = 0.0, closing: float = 5.0) -> Deferred[None]:
        """Disconnect all clients and stop, as a node does that is told to end."""
        return self.factory.drain(over, closing).addCallback(lambda _: self.stop())


class Client(WebSocketClientProtocol):
    """A client that writes down all messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.pings = 0
        self.on_message: Callable[[dict[str, Any]], None] = self.messages.append
        self.observe: Observer = lambda sender, message: None
        self.on_open: Callable[[Client], None] = lambda client: None
        self.on_closed: Callable[[int | None], None] = lambda code: None
        self.closed = False
        self.code: int | None = None
        """With which the server closed the connection, once it has."""
        self.settle: Callable[[], None] = lambda: None
        self.link: Link

    # Autobahn's callbacks

    def onOpen(self) -> None:
        self.on_open(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert not isBinary
        message = json.loads(payload)
        self.observe("Server", message)
        self.on_message(message)

    def onPing(self, payload: bytes) -> None:
        self.pings += 1
        super().onPing(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.closed = True
        self.code = self.remoteCloseCode
        self.on_closed(self.code)

    # for tests

    def say(self, kind: str, **fields: Any) -> Client:
        """Send a message, without waiting for its effects. `from_` and the like stand for keywords."""
        message = {"type": kind, **{name.rstrip("_"): value for name, value in fields.items()}}
        self.observe("Client", message)
        self.sendMessage(json.dumps(message).encode())
        return self

    def send(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Send a message; return the messages that this client received until everything was quiet again."""
        self.say(kind, **fields)
        return self.told()

    def told(self, *kinds: str) -> list[dict[str, Any]]:
        """Return, and forget, the received messages; of the named types only, if types are named."""
        self.settle()
        messages = self.messages[:]
        self.messages.clear()
        return [message for message in messages if not kinds or message["type"] in kinds]

    def types(self) -> list[str]:
        """Return the types of the received messages, and forget these."""
        return [message["type"] for message in self.told()]

    def raw(self, data: bytes) -> None:
        """Write bytes past the protocol."""
        cast(Any, self.transport).write(data)
        self.settle()

    def leave(self) -> None:
        """Close the connection properly."""
        self.sendClose(1000)
        self.settle()

    def cut(self) -> None:
        """Lose the connection without a word."""
        cast(Any, self.transport).loseConnection()
        self.settle()


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """Return one WebSocket frame of a client; its mask is zero, so that the payload stays readable."""
    head, mask = bytes((opcode | (0x80 if fin else 0),)), 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes((mask | len(payload),))
    elif len(payload) < 65536:
        head += struct.pack("!BH", mask | 126, len(payload))
    else:
        head += struct.pack("!BQ", mask | 127, len(payload))
    return head + (b"\0\0\0\0" if masked else b"") + payload


class Link:
    """A connection in memory. frozen: nothing passes, and neither end notices."""

    def __init__(self, server: Any, client: Client, address: IPv4Address):
        self.frozen = False
        self.over = False
        self._server = FakeTransport(server, isServer=True, peerAddress=address)
        self._client = FakeTransport(client, isServer=False)
        server.makeConnection(self._server)
        client.makeConnection(self._client)

    def pump(self) -> bool:
        """Move bytes both ways, and return whether any were moved."""
        if self.over:
            return False
        moved = False
        if not self.frozen:
            data = self._client.getOutBuffer()
            if data and not self._server.disconnecting:
                moved = True
                self._server.bufferReceived(data)
            data = self._server.getOutBuffer()
            if data and not self._client.disconnecting:
                moved = True
                self._client.bufferReceived(data)
        if moved or not (self._server.disconnecting or (self._client.disconnecting and not self.frozen)):
            return moved
        self.over = True
        self._server.reportDisconnect()
        if not self.frozen:
            self._client.reportDisconnect()
        return True

    def reset(self) -> None:
        """End it for both sides, although one of them may be frozen."""
        if not self.over:
            self.over = True
            self._server.reportDisconnect()
            self._client.reportDisconnect()

    def crash(self) -> None:
        """End it for the client alone; the server is gone, or does not notice."""
        if not self.over:
            self.over = True
            self._client.reportDisconnect()


class World:
    """A server, its clients, and time. options: of `Server`. observe: is given each message of clients that connect later."""

    def __init__(self, reactor: Any, **options: Any):
        self.reactor = reactor
        self.links: list[Link] = []
        self.options = options
        self.observe: Observer = lambda sender, message: None
        self.down = False
        self._boots = 1
        self.server = Server(reactor, **options)
        self.server.start()

    @property
    def store(self) -> Any:
        return self.server.store

    @property
    def now(self) -> float:
        return cast(float, self.reactor.seconds())

    def connect(self, peer: str = "10.0.0.1", begin: Callable[[Client], None] = lambda client: None) -> Client:
        """Return a client whose handshake is done. begin: is given the client before that."""
        address = IPv4Address("TCP", peer, 1)
        factory = WebSocketClientFactory("ws://localhost/ws", reactor=self.reactor)
        factory.protocol = Client
        client = cast(Client, factory.buildProtocol(cast(Any, None)))
        client.settle = self.settle
        client.observe = self.observe
        begin(client)
        client.link = Link(self.server.site.buildProtocol(address), client, address)
        self.links.append(client.link)
        self.settle()
        return client

    def join(self, user: str, room: str = "room", peer: str = "", **fields: Any) -> Client:
        """Return a client that has sent JOIN, from an address of its own unless one is given."""
        client = self.connect(peer or f"10.1.0.{sum(user.encode()) % 250 + 1}")
        client.say("JOIN", userId=user, roomId=room, **{"username": user.title(), **fields})
        self.settle()
        return client

    def party(self, *users: str, room: str = "room") -> list[Client]:
        """Return clients that have joined in this order, the first one as host, and have been told nothing lately."""
        clients = [self.join(user, room) for user in users]
        for client in clients:
            client.told()
        return clients

    def settle(self) -> None:
        """Move bytes and run due calls until everything is quiet."""
        for _ in range(1000):
            self.reactor.advance(0)
            moved = [link.pump() for link in self.links]
            if not any(moved):
                break
        else:
            raise AssertionError("there is no end to it")
        if len(self.links) > 50:
            self.links = [link for link in self.links if not link.over]

    def advance(self, seconds: float) -> None:
        """Let time pass, from one thing that is due to the next."""
        end = self.now + seconds
        self.settle()
        while True:
            due = min([call.getTime() for call in self.reactor.getDelayedCalls()], default=math.inf)
            if due > end:
                break
            self.reactor.advance(max(0.0, due - self.now))
            self.settle()
        self.reactor.advance(max(0.0, end - self.now))
        self.settle()

    def room(self, code: str = "room") -> Room | None:
        """Return the room as the store has it."""
        found: list[Room | None] = []
        self.store.load(code).addCallback(found.append)
        return found[0]

    def crash(self) -> list[Room]:
        """Kill the server. Return the rooms as an archive would give them back for the next start."""
        rooms = []
        for code in self.store.codes():
            room = self.room(code)
            assert room is not None
            rooms.append(room)
        # The dead process must not act any more, though in here it is still alive.
        self.server.stop()
        self.down = True
        links, self.links = self.links, []
        for link in links:
            link.crash()
        return rooms

    def start(self, rooms: Sequence[Room]) -> None:
        """Start a new server with rooms of an earlier one, each under a new epoch."""
        self._boots += 1
        self.down = False
        self.server = Server(self.reactor, boot=f"boot{self._boots}", **self.options)
        now = int(self.now * 1000)
        restored = []
        for r in rooms:
            epoch = max(r.epoch + 1, now)
            room = snapshot.load(r.room_uuid, r.room_id, r.created_at, epoch, r.seq, snapshot.dump(r))
            room.former_epoch = r.epoch
            restored.append(room)
        self.server.start(restored)

    def close(self) -> None:
        """End everything, so that nothing is left behind."""
        self.server.stop()
        for link in self.links:
            link.reset()
        self.links = []


class ServiceTestCase(TestCase):
    """Has a `world`. options: for its servers."""

    options: dict[str, Any] = {}

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.reactor.advance(EPOCH)
        self.patch(cast(Any, txaio).config, "loop", self.reactor)
        self.world = World(self.reactor, **self.options)
        self.addCleanup(self.world.close)

    def the(self, messages: list[dict[str, Any]], kind: str) -> dict[str, Any]:
        """Return the only message of a type."""
        found = [message for message in messages if message["type"] == kind]
        self.assertEqual(len(found), 1, f"{kind} in {messages}")
        return found[0]

    def refused(self, messages: list[dict[str, Any]], code: str) -> dict[str, Any]:
        """Return the ERROR, which has this code."""
        error = self.the(messages, "ERROR")
        self.assertEqual(error["code"], code, error)
        return error

    def assertHas(self, message: dict[str, Any], **fields: Any) -> None:
        """Check some fields of a message."""
        self.assertEqual({name: message.get(name) for name in fields}, fields)
