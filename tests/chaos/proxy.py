"""Stands between a node and Redis, so that single connections can fail in every way."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint, connectProtocol
from twisted.python.failure import Failure


class _Far(protocol.Protocol):
    """The side of Redis."""

    def __init__(self, near: _Near):
        self._near = near

    def connectionMade(self) -> None:
        self._near.through(self)

    def dataReceived(self, data: bytes) -> None:
        if self._near.silent:
            return
        if self._near.transport is not None:
            self._near.transport.write(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if not self._near.silent and self._near.transport is not None:
            self._near.transport.loseConnection()


class _Near(protocol.Protocol):
    """The side of the node. subscribes: whether it is a subscription. silent: whether nothing comes through any more."""

    def __init__(self, proxy: Proxy):
        self._proxy = proxy
        self._far: _Far | None = None
        self._early: list[bytes] = []
        self.subscribes = False
        self.silent = False

    def connectionMade(self) -> None:
        self._proxy.connections.add(self)
        assert self.transport is not None
        if self._proxy.closed:
            self.transport.abortConnection()  # type: ignore[attr-defined]
            return
        endpoint = UNIXClientEndpoint(self._proxy.reactor, self._proxy.target)
        connectProtocol(endpoint, _Far(self)).addErrback(lambda failure: self.cut())

    def through(self, far: _Far) -> None:
        self._far = far
        assert far.transport is not None
        for data in self._early:
            far.transport.write(data)
        self._early.clear()

    def dataReceived(self, data: bytes) -> None:
        if b"SUBSCRIBE\r\n" in data:
            self.subscribes = True
        if self.silent:
            return
        if self._far is None:
            self._early.append(data)
        elif self._far.transport is not None:
            self._far.transport.write(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._proxy.connections.discard(self)
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

    def black_hole(self, *, subscriptions_only: bool = False) -> None:
        """Let nothing through any more on the connections that there are, which stay open."""
        for connection in self.connections:
            if connection.subscribes or not subscriptions_only:
                connection.silent = True
