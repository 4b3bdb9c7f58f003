"""A proxy between a node and Redis, so that single connections can fail in every way."""

from __future__ import annotations

import os
import random
from collections import deque
from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint, connectProtocol
from twisted.python.failure import Failure


class _Way:
    """One direction of one connection: bytes come out in order, perhaps late.

    name: "requests" or "replies".
    """

    def __init__(self, near: _Near, name: str):
        self._near = near
        self._name = name
        self._bytes: deque[tuple[float, bytes]] = deque()
        self._timer: Any = None
        self.end: Any = None

    def put(self, data: bytes) -> None:
        """Take bytes, and let them out when it is time."""
        proxy = self._near.proxy
        at = proxy.reactor.seconds() + proxy.delay(self._name, self._near.subscribes)
        if self._bytes:
            at = max(at, self._bytes[-1][0])
        self._bytes.append((at, data))
        self.flow()

    def flow(self) -> None:
        """Let out all bytes that are neither held nor late."""
        proxy = self._near.proxy
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        while self._bytes and self.end is not None and not proxy.holds(self._name, self._near.subscribes):
            at, data = self._bytes[0]
            wait = at - proxy.reactor.seconds()
            if wait > 0:
                self._timer = proxy.reactor.callLater(wait, self.flow)
                return
            self._bytes.popleft()
            self.end.write(data)

    def stop(self) -> None:
        self._bytes.clear()
        self.end = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class _Far(protocol.Protocol):
    """The side of Redis."""

    def __init__(self, near: _Near):
        self._near = near

    def connectionMade(self) -> None:
        self._near.through(self)

    def dataReceived(self, data: bytes) -> None:
        if not self._near.silent:
            self._near.replies.put(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if not self._near.silent and self._near.transport is not None:
            self._near.transport.loseConnection()


class _Near(protocol.Protocol):
    """The side of the node. subscribes: whether it is a subscription. silent: whether nothing comes through any more."""

    def __init__(self, proxy: Proxy):
        self.proxy = self._proxy = proxy
        self._far: _Far | None = None
        self.requests = _Way(self, "requests")
        self.replies = _Way(self, "replies")
        self.subscribes = False
        self.silent = False

    def connectionMade(self) -> None:
        self._proxy.connections.add(self)
        assert self.transport is not None
        self.replies.end = self.transport
        if self._proxy.closed:
            self.transport.abortConnection()  # type: ignore[attr-defined]
            return
        endpoint = UNIXClientEndpoint(self._proxy.reactor, self._proxy.target)
        connectProtocol(endpoint, _Far(self)).addErrback(lambda failure: self.cut())

    def through(self, far: _Far) -> None:
        self._far = far
        assert far.transport is not None
        self.requests.end = far.transport
        self.requests.flow()

    def dataReceived(self, data: bytes) -> None:
        if b"SUBSCRIBE\r\n" in data:
            self.subscribes = True
        if not self.silent:
            self.requests.put(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._proxy.connections.discard(self)
        self.requests.stop()
        self.replies.stop()
        if self._far is not None and self._far.transport is not None:
            self._far.transport.loseConnection()

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]


class Proxy(protocol.ServerFactory):
    """Passes everything on from the Unix socket `path` to the Unix socket `target`. closed: takes no connections."""

    noisy = False

    def __init__(self, reactor: Any, path: str, target: str):
        self.reactor = reactor
        self.target = target
        self.closed = False
        self.connections: set[_Near] = set()
        self._path = path
        self._port: Any = None
        self._late: dict[tuple[str, bool], tuple[float, float]] = {}
        self._held: set[tuple[str, bool]] = set()
        self._random = random.Random(path)

    def buildProtocol(self, addr: Any) -> _Near:
        return _Near(self)

    async def start(self) -> None:
        self._port = await UNIXServerEndpoint(self.reactor, self._path).listen(self)

    async def stop(self) -> None:
        await maybeDeferred(self._port.stopListening)
        ended: list[Deferred[None]] = []
        for connection in list(self.connections):
            connection.cut()
        if os.path.exists(self._path):
            os.unlink(self._path)
        for one in ended:
            await one

    def cut(self, *, subscriptions_only: bool = False) -> None:
        """End connections."""
        for connection in list(self.connections):
            if connection.subscribes or not subscriptions_only:
                connection.cut()

    def close(self) -> None:
        """End all connections and take no new ones."""
        self.closed = True
        self.cut()

    def reopen(self) -> None:
        self.closed = False

    def slow(self, way: str, seconds: float, jitter: float = 0.0, *, subscriptions: bool = False) -> None:
        """Delay one direction ("requests", "replies") by so much from now on, and up to `jitter` more.

        subscriptions: on those, else on the connections for commands.
        """
        self._late[way, subscriptions] = seconds, jitter

    def hold(self, way: str, *, subscriptions: bool = False) -> None:
        """Let nothing through one way until `let_go`; nothing of it is lost."""
        self._held.add((way, subscriptions))

    def let_go(self) -> None:
        """End all that `slow` and `hold` have begun. Held bytes come now."""
        self._late.clear()
        self._held.clear()
        for connection in list(self.connections):
            connection.requests.flow()
            connection.replies.flow()

    def delay(self, way: str, subscription: bool) -> float:
        """Return how many seconds something is to be late."""
        seconds, jitter = self._late.get((way, subscription), (0.0, 0.0))
        return seconds + self._random.random() * jitter

    def holds(self, way: str, subscription: bool) -> bool:
        """Say whether nothing goes this way."""
        return (way, subscription) in self._held

    def black_hole(self, *, subscriptions_only: bool = False) -> None:
        """Let nothing through any more on the present connections, which stay open."""
        for connection in self.connections:
            if connection.subscribes or not subscriptions_only:
                connection.silent = True
