"""The private and undocumented names of Autobahn that tandemd uses.

No other module touches them; tests/test_private_names.py checks that. tests/websocket/test_fast_path.py and
tests/websocket/test_fast_handshake.py pin the assumptions. Read this module again before you raise BELOW_VERSION.
"""

from __future__ import annotations

from typing import Any

import txaio
from autobahn._version import __version__
from autobahn.twisted.util import create_transport_details
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol

from ..errors import CloseCode
from ..util.library_versions import require
from .close_frames import close_frame_error
from .fast_handshake import parse_standard_handshake, response

FIRST_VERSION = "25.10"
BELOW_VERSION = "27"
"""Autobahn's versions with these private names. setup.py has the same bounds."""

require("autobahn", __version__, FIRST_VERSION, BELOW_VERSION)

OPEN: int = WebSocketProtocol.STATE_OPEN
CLOSING: int = WebSocketProtocol.STATE_CLOSING
CLOSED: int = WebSocketProtocol.STATE_CLOSED

UNDOCUMENTED = (
    "closeHandshakeTimeoutCall", "closedByMe", "consumeData", "current_frame", "dropConnection", "failHandshake", "failedByMe",
    "inside_message", "is_open", "onCloseFrame", "openHandshakeTimeoutCall", "processData", "processHandshake",
    "remoteCloseCode", "sendCloseFrame", "sendData", "wasClean", "wasNotCleanReason",
)  # fmt: skip
"""Names without underscore that Autobahn does not document either."""

HANDSHAKE_ATTRIBUTES = (
    "http_request_data", "http_headers", "http_response_data", "http_status_line", "http_request_uri",
    "http_request_params", "http_request_path", "http_request_host", "websocket_extensions", "websocket_protocols",
)  # fmt: skip
"""Attributes of the handshake that Autobahn keeps for the life of a connection and does not read again."""

_CONTINUATION_OPCODE = 0


class ServerProtocol(WebSocketServerProtocol):
    """Autobahn's server protocol, with hooks for closing and for frames. It changes no byte that Autobahn reads or writes."""

    def before_close_frame(self) -> None:
        """Hook: a close frame follows. The connection is still open."""

    def message_too_long(self) -> None:
        """Hook: the client has sent a message, or announced one, that is too long. The connection closes."""

    def handshake_rejected(self, status: int) -> None:
        """Hook: Autobahn answers the handshake with an HTTP error."""

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        self.handshake_rejected(code)
        super().failHandshake(reason, code, responseHeaders)

    def continuation_received(self) -> None:
        """Hook: the client has sent a further frame of a fragmented message."""

    def before_queued_write(self) -> None:
        """Hook: Autobahn writes a frame to the transport, or drops it. Nothing may overtake this on the socket."""

    @property
    def closed_by_server(self) -> bool:
        """Whether the server sent its close frame first."""
        return bool(self.closedByMe)

    def send_close(self, code: int, reason: str) -> None:
        """Send a close frame with any code. Autobahn's public method allows 1000 and 3000 to 4999 only."""
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:120])

    @property
    def violated(self) -> bool:
        """Whether the client has violated the protocol."""
        return bool(self.failedByMe)

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool | None:
        """Answer a close frame of the client, and drop the connection.

        Autobahn would reset the connection after an invalid close frame, so that the client would not see the answer.
        """
        error = close_frame_error(code, reasonRaw)
        if self.state == OPEN and error is not None:
            self.wasNotCleanReason = error.reason
            # As an answer: the client closes the connection, so messages before its close frame count.
            self.sendCloseFrame(code=error.code, reasonUtf8=error.reason.encode(), isReply=True)
            self.dropConnection(abort=False)
        elif self.state == CLOSING and (self.failedByMe or error is not None):
            # Autobahn has rejected this frame by its header, or an earlier frame.
            if self.closeHandshakeTimeoutCall is not None:
                self.closeHandshakeTimeoutCall.cancel()
                self.closeHandshakeTimeoutCall = None
            self.wasClean = error is None
            self.remoteCloseCode = code
            self.dropConnection(abort=False)
        elif error is None and code is not None and code not in self.CLOSE_STATUS_CODES_ALLOWED and code < 3000:
            # Autobahn knows an older list of assigned codes.
            super().onCloseFrame(CloseCode.NORMAL, reasonRaw)  # type: ignore[arg-type]  # None is right
            self.remoteCloseCode = code
        else:
            return super().onCloseFrame(code, reasonRaw)  # type: ignore[arg-type]
        return False

    def abort(self) -> None:
        """Drop the TCP connection at once, with everything that was received but not processed."""
        self.dropConnection(abort=True)

    def sendCloseFrame(self, *args: Any, **kwargs: Any) -> None:
        if self.state == OPEN:
            if kwargs.get("code") == CloseCode.MESSAGE_TOO_BIG and not kwargs["isReply"]:
                self.message_too_long()
            self.before_close_frame()
        super().sendCloseFrame(*args, **kwargs)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self.before_queued_write()
        super().sendData(data, sync, chopsize)

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        if self.current_frame.opcode == _CONTINUATION_OPCODE:
            self.continuation_received()


class _FactoryOption:
    """An option of Autobahn, read from the protocol's factory.

    Autobahn copies some thirty options into each connection, and formats all of them for a debug log line.
    """

    def __init__(self, name: str):
        self._name = name

    def __get__(self, protocol: Any, owner: type) -> Any:
        return self if protocol is None else getattr(protocol.factory, self._name)


class OpenedServerProtocol(ServerProtocol):
    """Autobahn's server protocol with its inside exposed, for the fast path.

    Usual handshakes are answered here, because Autobahn's own handling was most of the cost of a new connection: it
    considers every variant, and formats log lines that are not written. All other handshakes are Autobahn's.
    """

    CONFIG_ATTRS = ()  # type: ignore[assignment]

    # hooks

    def frames_buffered(self) -> None:
        """Hook: `unprocessed` has bytes of an open or closing connection. Replaces Autobahn's loop."""
        raise NotImplementedError

    def dropped(self) -> None:
        """Hook: Autobahn has dropped the transport."""

    # reading

    @property
    def unprocessed(self) -> bytes:
        """The received bytes that Autobahn has not processed."""
        return self.data

    @unprocessed.setter
    def unprocessed(self, data: bytes) -> None:
        self.data = data

    def process_step(self) -> bool:
        """Have Autobahn process the header of a frame, or its payload. Return whether more can be processed."""
        return self.processData() and self.state != CLOSED

    def receive(self, data: bytes) -> None:
        """Give received bytes to Autobahn, without its debug log line."""
        self._dataReceived(data)

    def consumeData(self) -> None:
        if self.state in (OPEN, CLOSING):
            self.frames_buffered()
        else:
            super().consumeData()

    # writing

    def dropConnection(self, abort: bool = False) -> None:
        self.before_queued_write()
        super().dropConnection(abort)
        self.dropped()

    # the handshake

    def connectionMade(self) -> None:
        """Call Autobahn, without its description of the transport. The HTTP channel has set TCP_NODELAY."""
        self.peer = ""
        self._transport_details = None  # type: ignore[assignment]
        WebSocketProtocol._connectionMade(self)
        self.factory.countConnections += 1

    def processHandshake(self) -> None:
        end = self.data.find(b"\r\n\r\n")
        headers = parse_standard_handshake(self.data[: end + 4]) if end >= 0 else None
        if headers is None:
            self._transport_details = create_transport_details(self.transport, True)  # type: ignore[arg-type]
            super().processHandshake()
        else:
            self._accept(headers, self.data[end + 4 :])

    def adopt_transport(self, transport: Any, headers: dict[str, str], rest: bytes) -> None:
        """Take over a transport whose client has sent a usual handshake.

        headers: those of the handshake, by their names in lower case.
        rest: the bytes behind it.
        """
        # The handshake is complete, so no timer is needed for it. The option is the factory's again afterwards.
        self.openHandshakeTimeout = 0
        self.makeConnection(transport)
        del self.openHandshakeTimeout
        self._accept(headers, rest)

    def _accept(self, headers: dict[str, str], rest: bytes) -> None:
        self.data = rest
        self.http_headers = headers
        self.websocket_version = 13
        self.websocket_protocol_in_use = None
        self.websocket_extensions_in_use: list[Any] = []
        self.send_response(response(headers["sec-websocket-key"], self.factory.server))
        self.state = OPEN
        if self.openHandshakeTimeoutCall is not None:
            self.openHandshakeTimeoutCall.cancel()
            self.openHandshakeTimeoutCall = None
        self.inside_message = False
        self.current_frame = None  # type: ignore[assignment]
        self.onOpen()
        txaio.resolve(self.is_open, None)  # type: ignore[attr-defined]
        if self.data:
            self.consumeData()

    def send_response(self, data: bytes) -> None:
        """Send the response to the handshake."""
        self.sendData(data)

    def forget_handshake(self) -> None:
        """Release the memory that only the handshake needs."""
        for name in HANDSHAKE_ATTRIBUTES:
            if name in self.__dict__:
                setattr(self, name, None)
        self._transport_details = None  # type: ignore[assignment]
        # Only chopped writes use this queue, which tandemd never makes. An empty deque has 760 bytes.
        self.send_queue = ()  # type: ignore[assignment]


for _name in WebSocketServerProtocol.CONFIG_ATTRS:
    setattr(OpenedServerProtocol, _name, _FactoryOption(_name))


def at_boundary(protocol: Any) -> bool:
    """Return whether the connection is open and Autobahn is inside neither a frame nor a fragmented message."""
    return (
        protocol.state == OPEN and not protocol.data and protocol.current_frame is None and not protocol.inside_message
    )
