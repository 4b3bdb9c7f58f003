"""Opening of WebSockets from the first bytes of a connection, without an HTTP request in between.

Twisted makes an object of each request, and Autobahn's resource turns it into bytes again, which is a third of the cost of a
new connection. The short way is for usual handshakes that arrive in one piece at the beginning of a plain connection, and that
the server accepts. All others are requests of the router.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ..websocket.fast_handshake import parse_standard_handshake
from .responses import Response

_PATH = re.compile(rb"GET /(ws)?(\?[^ ]{0,4000})? ")


class FastUpgrade:
    """Turns HTTP channels into WebSockets.

    factory: makes the WebSocket protocols.
    refusal: see `Root.refusal`.
    """

    def __init__(self, factory: Any, refusal: Callable[[object, Sequence[bytes], Sequence[str], str], Response | None]):
        self._factory = factory
        self._refusal = refusal

    def try_upgrade(self, channel: Any, data: bytes) -> bool:
        """Take over the connection if `data`, its first chunk, is a usual handshake. Return whether the method has done so."""
        path = _PATH.match(data)
        transport = channel.transport
        # With TLS or another layer between, the transport's protocol is that layer.
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
            # The router must not ask again, because each call counts as an attempt.
            channel.refused = refused
            return False
        channel.taken_over()
        channel.setTimeout(None)
        channel.transport = None
        protocol = self._factory.buildProtocol(transport.getPeer())
        transport.protocol = protocol
        protocol.adopt_transport(transport, headers, data[end:])
        return True
