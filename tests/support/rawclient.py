"""Clients that write bytes, to a daemon in a separate process."""

from __future__ import annotations

import json

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from .daemon_process import Daemon, DaemonTestCase
from .fake_node import frame
from .patience import PATIENCE_SECONDS


class Raw(Protocol):
    """Reads all bytes that arrive."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False
        self._wanted = b""
        self._waiting: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._check()

    def connectionLost(self, reason: object = None) -> None:
        self.ended = True
        self._check()

    def _check(self) -> None:
        if self._waiting is not None and (self.ended or (self._wanted and self._wanted in self.data)):
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def until(self, wanted: bytes) -> None:
        """Wait for some bytes, or with none for the end."""
        self._wanted, waiting = wanted, Deferred()
        self._waiting = waiting
        self._check()
        await waiting.addTimeout(PATIENCE_SECONDS, reactor)


class RawTestCase(DaemonTestCase):
    """Has connections of bytes, which are all gone when a test ends."""

    async def reach(self, daemon: Daemon, source: str = "127.0.0.1") -> Raw:
        """Connect, from an address of this machine."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", daemon.port, bindAddress=(source, 0))
        raw: Raw = await connectProtocol(endpoint, Raw())
        self._raws.append(raw)
        return raw

    async def open(
        self, daemon: Daemon, head: bytes = b"", headers: str = "", source: str = "127.0.0.1"
    ) -> tuple[int, Raw]:
        """Ask for a WebSocket; return the status, 0 without an answer, and the connection."""
        raw = await self.reach(daemon, source)
        assert raw.transport is not None
        raw.transport.write(
            head + b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n" % headers.encode()
        )
        await raw.until(b"\r\n\r\n")
        return (int(raw.data.split(b" ")[1]) if raw.data else 0), raw

    def setUp(self) -> None:
        super().setUp()
        self._raws: list[Raw] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        for raw in self._raws:
            if not raw.ended:
                raw.transport.abortConnection()
                await raw.until(b"")
        await super().tearDown()

    async def statuses(self, daemon: Daemon, *clients: tuple[bytes, str]) -> list[int]:
        return [(await self.open(daemon, *client))[0] for client in clients]

    async def join(self, raw: Raw, user: str = "ann") -> None:
        """Use the connection for something."""
        assert raw.transport is not None
        for message in ({"type": "JOIN", "roomId": "room", "userId": user}, {"type": "CHAT", "text": "x" * 1000}):
            raw.transport.write(frame(1, json.dumps(message).encode()))
        await raw.until(b'"type":"CHAT"')
        self.assertIn(b'"type":"ROOM_STATE"', raw.data)
