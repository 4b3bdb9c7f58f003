"""From the first bytes of a connection to a WebSocket, without an HTTP request in between.

Twisted makes an object of each request, and Autobahn's resource makes bytes of it again: a third of what a new connection
costs. Taken is a usual handshake that has come in one piece as the first thing on a plain connection, and that nobody
refuses; everything else goes its way through `root`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ..websocket.fast_handshake import parse_standard_handshake
from .responses import Response

_PATH = re.compile(rb"GET /(ws)?(\?[^ ]{0,4000})? ")


class FastUpgrade:
    """Turns HTTP channels into WebSockets. factory: makes their protocols. refusal: see `Root.refusal`."""

    def __init__(self, factory: Any, refusal: Callable[[object, Sequence[bytes], Sequence[str], str], Response | None]):
        self._factory = factory
        self._refusal = refusal

    def try_upgrade(self, channel: Any, data: bytes) -> bool:
        """Take the connection over, if `data`, the first thing that came on it, is such a handshake; say whether it was."""
        path = _PATH.match(data)
        transport = channel.transport
        # Where TLS or another layer is between, the transport's protocol is that layer.
        plain = bool(getattr(transport, "protocol", None) is channel)
        if path is None or not plain:
            return False
        end = data.find(b"\r\n\r\n") + 4
        headers = parse_standard_handshake(data[:end]) if end >= 4 else None
        if headers is None:
            return False
        origin, forwarded = headers.get("origin"), headers.get("x-forwarded-for")
        refused = self._refusal(
            transport.getPeer(),
            [] if origin is None else [origin.encode()],
            [] if forwarded is None else [forwarded],
            headers["host"],
        )
        if refused is not None:
            # Asked once only: each question counts as an attempt.
            channel.refused = refused
            return False
        channel.taken_over()
        channel.setTimeout(None)
        channel.transport = None
        protocol = self._factory.buildProtocol(transport.getPeer())
        transport.protocol = protocol
        protocol.adopt_transport(transport, headers, data[end:])
        return True
