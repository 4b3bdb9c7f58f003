"""The opening handshake of WebSocket (RFC 6455, section 4.2) in the one form that clients send it.

Autobahn looks at every side of it, and formats log lines about them that nobody reads: most of what a new connection
costs. Whatever does not look exactly as usual is left to Autobahn, which also knows how to refuse it.
tests/websocket/test_fast_handshake.py pins what is assumed here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import txaio
from autobahn.twisted.util import create_transport_details
from autobahn.websocket.protocol import WebSocketProtocol

_REQUEST_LINE = re.compile(r"GET /[!-\"$-~]* HTTP/1\.1")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_EXTENSIONS = re.compile(r"[a-z-]+(; [a-z_]+(=[0-9]+)?)*")
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t]*)")
"""A header of RFC 9112 in one line. What else Twisted tolerates or refuses is for it to decide."""
_HEADERS = 100
_HEADER_BYTES = 8192
_BODY = frozenset(("content-length", "transfer-encoding", "expect"))
"""Headers of requests with a body, which a handshake has not."""
_CONNECTION = re.compile(r"(keep-alive, ?)?upgrade", re.IGNORECASE)


def parse_standard_handshake(request: bytes) -> dict[str, str] | None:
    """Return the headers, by their names in lower case, of a handshake that leaves nothing to decide; else None.

    Of its extensions and its origin is only known that they are well-formed. A subprotocol is always left to others.
    """
    try:
        line, *lines = request.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    if len(request) > _HEADER_BYTES or len(lines) > _HEADERS:
        return None
    headers: dict[str, str] = {}
    for header in lines[:-2]:
        match = _HEADER.fullmatch(header)
        if match is None:
            return None
        name = match[1].lower()
        if name in headers or name in _BODY:
            return None
        headers[name] = match[2].rstrip(" \t")
    get = headers.get
    if (
        _REQUEST_LINE.fullmatch(line)
        and _HOST.fullmatch(get("host", ""))
        and get("upgrade", "").lower() == "websocket"
        and _CONNECTION.fullmatch(get("connection", ""))
        and get("sec-websocket-version") == "13"
        and _KEY.fullmatch(get("sec-websocket-key", ""))
        and ("sec-websocket-extensions" not in headers or _EXTENSIONS.fullmatch(headers["sec-websocket-extensions"]))
        and ("origin" not in headers or _ORIGIN.fullmatch(headers["origin"]))
        and "sec-websocket-protocol" not in headers
    ):
        return headers
    return None


def answer(key: str, server: str) -> bytes:
    """Return the whole answer that accepts a handshake with this Sec-WebSocket-Key."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + WebSocketProtocol._WS_MAGIC).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nServer: %s\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % (server.encode(), accept)
    )


class FastHandshake:
    """Answers usual handshakes for a protocol; all others are Autobahn's."""

    data: bytes
    factory: Any
    transport: Any
    openHandshakeTimeoutCall: Any
    _transport_details: Any
    openHandshakeTimeout: float

    def connectionMade(self) -> None:
        """Do what Autobahn does, without describing the transport for log lines. TCP_NODELAY was set by the HTTP channel."""
        self.peer = ""
        self._transport_details = None
        WebSocketProtocol._connectionMade(self)  # type: ignore[arg-type]
        self.factory.countConnections += 1

    def processHandshake(self) -> None:
        end = self.data.find(b"\r\n\r\n")
        headers = parse_standard_handshake(self.data[: end + 4]) if end >= 0 else None
        if headers is None:
            self._transport_details = create_transport_details(self.transport, True)
            super().processHandshake()  # type: ignore[misc]
        else:
            self.accept(headers, self.data[end + 4 :])

    def adopt_transport(self, transport: Any, headers: dict[str, str], rest: bytes) -> None:
        """Take over a transport on which a usual handshake with these headers has come already, and then `rest`."""
        # Nothing is waited for. It is the class's again at once.
        self.openHandshakeTimeout = 0
        self.makeConnection(transport)  # type: ignore[attr-defined]
        del self.openHandshakeTimeout
        self.accept(headers, rest)

    def accept(self, headers: dict[str, str], rest: bytes) -> None:
        """Answer a usual handshake with these headers, after which came `rest`."""
        self.data = rest
        self.http_headers = headers
        self.websocket_version = 13
        self.websocket_protocol_in_use = None
        self.websocket_extensions_in_use: list[Any] = []
        self.send_raw(answer(headers["sec-websocket-key"], self.factory.server))
        self.state = WebSocketProtocol.STATE_OPEN
        if self.openHandshakeTimeoutCall is not None:
            self.openHandshakeTimeoutCall.cancel()
            self.openHandshakeTimeoutCall = None
        self.inside_message = False
        self.current_frame = None
        self.onOpen()  # type: ignore[attr-defined]
        txaio.resolve(self.is_open, None)  # type: ignore[attr-defined]
        if self.data:
            self.consumeData()  # type: ignore[attr-defined]

    def send_raw(self, data: bytes) -> None:
        """Send the answer to the handshake."""
        self.sendData(data)  # type: ignore[attr-defined]
