"""Parsing of the opening handshake of WebSocket (RFC 6455, section 4.2) in the form that clients usually send.

Autobahn considers every variant of a handshake, which was most of the cost of a new connection. It still handles, and
rejects, all handshakes that `parse_standard_handshake` does not accept.
"""

from __future__ import annotations

import base64
import hashlib
import re

_REQUEST_LINE = re.compile(r"GET /[!-\"$-~]* HTTP/1\.1")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_EXTENSIONS = re.compile(r"[a-z-]+(; [a-z_]+(=[0-9]+)?)*")
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t]*)")
"""A header on one line (RFC 9112). Twisted decides about all other forms."""
_MAX_HEADERS = 100
_MAX_HEADER_BYTES = 8192
_BODY_HEADERS = frozenset(("content-length", "transfer-encoding", "expect"))
"""Headers of requests with a body. A handshake has none."""
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The constant of RFC 6455 for Sec-WebSocket-Accept."""
_CONNECTION = re.compile(r"(keep-alive, ?)?upgrade", re.IGNORECASE)


def parse_standard_handshake(request: bytes) -> dict[str, str] | None:
    """Return the headers of a usual handshake, by their names in lower case, or None for any other request.

    Extensions and origin are well-formed, but not checked further. Handshakes with a subprotocol are not usual.
    """
    try:
        line, *lines = request.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    if len(request) > _MAX_HEADER_BYTES or len(lines) > _MAX_HEADERS:
        return None
    headers: dict[str, str] = {}
    for header in lines[:-2]:
        match = _HEADER.fullmatch(header)
        if match is None:
            return None
        name = match[1].lower()
        if name in headers or name in _BODY_HEADERS:
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


def response(key: str, server: str) -> bytes:
    """Return the response that accepts a handshake.

    key: its Sec-WebSocket-Key.
    server: the value of the Server header.
    """
    accept = base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nServer: %s\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % (server.encode(), accept)
    )
