"""The private names of Twisted that tandemd uses, apart from those of the reactor in `app/fair_reactor.py`.

No other module touches them; tests/test_private_names.py checks that. tests/websocket/test_fast_path.py and
tests/web/test_router.py pin the assumptions.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Server

import twisted

from .library_versions import require

FIRST_VERSION = "25.5"
BELOW_VERSION = "27"
"""Twisted's versions with these private names. setup.py has the same bounds."""

require("twisted", twisted.__version__, FIRST_VERSION, BELOW_VERSION)


def send_now(transport: Any, data: bytes) -> int:
    """Write to a plain TCP socket, past the transport, and return the number of bytes that the socket took.

    Return 0 for every other transport, and while data waits in the transport.
    """
    if type(transport) is Server and transport.connected and not transport.dataBuffer and not transport._tempDataBuffer:
        try:
            return int(transport.socket.send(data))
        except OSError:
            # The socket is full or broken. Twisted's own write finds out which.
            pass
    return 0


def has_request_behind_unread_responses(channel: Any) -> bool:
    """Say whether an HTTP channel has received another request, although the client has not read the last responses."""
    return bool((channel._buffer or channel._dataBuffer) and channel._waitingForTransport)
