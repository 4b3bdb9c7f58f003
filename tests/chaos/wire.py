"""A WebSocket client with little more than framing: hundreds of them must not slow down a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet import protocol
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

Json = dict[str, Any]
OPEN_WITHIN = 10.0
"""Seconds after which a handshake without an answer is given up."""

_decode = msgspec.json.decode


class Wire(protocol.Protocol):
    """One connection. opened: called once it can be used. heard: with each message. lost: with the close code or None.
    random: of the masks.

    `lost` is called once, also if it never opened.
    """

    def __init__(
        self,
        reactor: Any,
        opened: Callable[[], None],
        heard: Callable[[Json], None],
        lost: Callable[[int | None], None],
        random: Random,
    ):
        self._reactor = reactor
        self._opened = opened
        self._heard = heard
        self._lost = lost
        self._random = random
        self._buffer = b""
        self._code: int | None = None
        self._timer: IDelayedCall | None = None
        self.open = False
        self.deaf = False
        """Whether arriving bytes are left unread: the peer does not notice."""

    # Protocol

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.setTcpNoDelay(True)  # type: ignore[attr-defined]
        self.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._timer = self._reactor.callLater(OPEN_WITHIN, self.cut)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if not self.open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.cut()
                return
            self._buffer = rest
            self.open = True
            self._stop_timer()
            self._opened()
        self._take()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._stop_timer()
        self.open = False
        self._lost(self._code)

    # frames

    def _take(self) -> None:
        buffer, at, end = self._buffer, 0, len(self._buffer)
        while end - at >= 2:
            kind, size, start = buffer[at] & 0x0F, buffer[at + 1] & 0x7F, at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[start : start + 2], "big"), start + 2
            elif size == 127:
                size, start = int.from_bytes(buffer[start : start + 8], "big"), start + 8
            if start + size > end:
                break
            payload = buffer[start : start + size]
            at = start + size
            if kind == 1:
                self._heard(_decode(payload))
            elif kind == 9:
                self._frame(0x8A, payload)
            elif kind == 8:
                self._code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                self._frame(0x88, payload[:2])
                assert self.transport is not None
                self.transport.loseConnection()
                at = end
        self._buffer = buffer[at:]

    def _frame(self, first: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2, "big")
        mask = self._random.randbytes(4)
        masked = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        assert self.transport is not None
        self.transport.write(head + mask + masked.to_bytes(size, "big"))

    # for clients

    def say(self, message: Json) -> None:
        """Send a message, if the connection is open."""
        if self.open:
            self._frame(0x81, json.dumps(message).encode())

    def cut(self) -> None:
        """End the connection without a word."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def ignore(self) -> None:
        """Read nothing any more."""
        self.deaf = True
        if self.transport is not None:
            self.transport.pauseProducing()  # type: ignore[attr-defined]

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
