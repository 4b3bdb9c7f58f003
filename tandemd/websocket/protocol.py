"""WebSocket connections: Autobahn's protocol, made to carry the messages of a `ClientConnection`.

Autobahn's classes own many names, so these classes only pass data on. Autobahn's callbacks must not raise, because it would
drop the connection or lose the error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from autobahn.websocket.types import ConnectionRequest
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from ..errors import CloseCode
from ..metrics import LabeledCounter
from .autobahn_private import OPEN, ServerProtocol
from .client import ClientConnection
from .keepalive import Keepalive
from .send_queue import SendQueue
from .session_transport import WebSocketTransport

READ_BYTES = 16 * 1024
"""Bytes that one read of a connection may return: enough for everything that an honest client sends at once."""

log = Logger()


class ConnectionFactory(Protocol):
    """The factory, as its protocols see it.

    clock: for timers.
    frame_bytes: the length of the longest message that a client may send.
    dropped: is called with the reason before the server ends a connection.
    rejected: is called with the HTTP status of each handshake that is malformed.
    websockets: the TCP transports of open connections.
    """

    clock: IReactorTime
    frame_bytes: int
    dropped: LabeledCounter
    rejected: Callable[[int], object]
    websockets: set[Any]

    def opened(self, protocol: TandemProtocol) -> None:
        """A handshake has succeeded."""

    def closed(
        self, protocol: TandemProtocol, code: int | None, connection: ClientConnection, opened_at: float
    ) -> None:
        """An open connection has ended. The client's messages have been processed."""


class TandemProtocol(ServerProtocol):
    """One WebSocket connection: Autobahn's callbacks. A subclass decides how messages wait while a JOIN is decided."""

    factory: ConnectionFactory
    transport: Any
    session_transport_class: ClassVar[type[WebSocketTransport]] = WebSocketTransport

    def __init__(self) -> None:
        super().__init__()
        self.connection: ClientConnection | None = None
        """None before the connection is open, and after its end."""
        self.session_transport = self.session_transport_class(self)
        self.paused = False
        """Whether reading is paused until a JOIN is decided, or until the next iteration of the reactor."""
        self.is_lost = False
        """Whether the TCP connection has ended, although messages of the client still wait."""
        self._opened_at = 0.0
        self._reads = True

    # hooks

    def message_received(self, payload: bytes) -> None:
        """Hook: the client has sent a text message, and the connection is open."""
        raise NotImplementedError

    def join_finished(self) -> None:
        """Hook: a JOIN was answered, so that messages behind it may be processed."""
        raise NotImplementedError

    # Autobahn's callbacks

    def onConnect(self, request: ConnectionRequest) -> None:
        """Accept the handshake. JOIN decides about access to rooms."""

    def handshake_rejected(self, status: int) -> None:
        self.factory.rejected(status)

    def onOpen(self) -> None:
        try:
            self.factory.opened(self)
        except Exception:
            log.failure("failed to open a connection", event="connection_open_failed")
            self.abort()

    def begin(self, connection: ClientConnection, queue: SendQueue, keepalive: Keepalive, now: float) -> None:
        """Take the objects that the factory has made for this connection."""
        self.connection = connection
        self.session_transport.opened(queue, keepalive)
        self._opened_at = now
        transport = socket_transport(self.transport)
        transport.bufferSize = READ_BYTES
        self.factory.websockets.add(transport)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.connection is None or self.state != OPEN:
            return
        if isBinary:
            self.session_transport.close(CloseCode.UNSUPPORTED_DATA, "only text frames are understood")
        else:
            self.message_received(payload)

    def onPing(self, payload: bytes) -> None:
        self.control_frame_received()
        # A client that reads no pongs gets none. Only the last one would matter.
        queue = self.session_transport.queue
        if queue is None or not queue.paused:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        self.control_frame_received()
        self.session_transport.pong_received(payload)

    def continuation_received(self) -> None:
        self.control_frame_received()

    def control_frame_received(self) -> None:
        """Count a frame that is no message against the client's limits."""
        if self.connection is not None and self.state == OPEN:
            self.connection.control_frame_received()

    def message_too_long(self) -> None:
        if self.connection is not None:
            self.connection.message_too_long(self.factory.frame_bytes)

    def before_close_frame(self) -> None:
        """Write the answers to earlier messages, because nothing can follow a close frame."""
        queue = self.session_transport.queue
        if queue is not None:
            if self.connection is not None:
                self.connection.session.flush()
                # The client's answer confirms the relays up to here: see `onClose`.
                self.connection.session.check_relays(alive=False)
            queue.release()

    def before_queued_write(self) -> None:
        """Write the rest of a frame that the transport has received a part of. Otherwise Autobahn's frame would be inside it."""
        queue = self.session_transport.queue
        if queue is not None:
            queue.finish_frame()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the connection. Autobahn would log an error for each client that sends malformed TLS records."""
        super().connectionLost(Failure(ConnectionLost()) if reason.check(SSL.Error) else reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        try:
            was_too_slow = self.session_transport.queue is None
            if wasClean and self.closed_by_server and not self.violated and not was_too_slow:
                # The client's answer to the close frame shows that it has everything that was written before. Relays since
                # then were dropped, and wait for its next connection.
                connection.session.check_relays(alive=True)
            self.session_transport.closed()
            connection.closed()
        except Exception:
            log.failure("failed to close a connection", event="connection_close_failed")
        # When the node stops, the end of the last connection stops the room service, which must know of it by then.
        self.factory.closed(self, code, connection, self._opened_at)

    # reading

    @property
    def joining(self) -> bool:
        """Whether a JOIN of the client is being decided, so that messages behind it wait."""
        return self.state == OPEN and self.connection is not None and self.connection.joining

    def stop_reading(self) -> None:
        """Read nothing more from the socket."""
        self._reads = False
        if not self.is_lost:
            self.transport.pauseProducing()


class PlainProtocol(TandemProtocol):
    """A connection without the fast path: Autobahn reads all frames, and Twisted writes all bytes.

    Messages behind a JOIN wait in `_waiting`. Reading pauses meanwhile, so that they are bounded by one read.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[bytes] = deque()
        self._end: tuple[bool, int | None, str | None] | None = None
        """The arguments of `onClose`, while messages wait."""
        self._aborted = False

    def message_received(self, payload: bytes) -> None:
        if self.connection is None:
            return
        if self._waiting or self.connection.joining:
            self._waiting.append(payload)
            if not self.paused:
                self.paused = True
                self.transport.pauseProducing()
        else:
            self.connection.received(payload)

    def join_finished(self) -> None:
        if self._waiting or self._end is not None:
            self.factory.clock.callLater(0, self._continue)

    def _continue(self) -> None:
        """Process the messages behind a JOIN, up to the next JOIN."""
        connection = self.connection
        while connection is not None and self._waiting and not connection.joining:
            if self.closed_by_server:
                self._waiting.clear()
            else:
                connection.received(self._waiting.popleft())
        if connection is None or connection.joining:
            return
        if self._end is not None:
            super().onClose(*self._end)
        elif self.paused:
            self.paused = False
            if self._reads:
                self.transport.resumeProducing()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """End the connection once the client's messages have been processed, unless the server has closed it."""
        self.is_lost = True
        self.factory.websockets.discard(socket_transport(self.transport))
        connection = self.connection
        complete = self.closed_by_server or self._aborted
        if connection is not None and not complete and (self._waiting or connection.joining):
            self._end = (wasClean, code, reason)
        else:
            super().onClose(wasClean, code, reason)

    def abort(self) -> None:
        self._aborted = True
        self._waiting.clear()
        if self._end is not None:
            super().onClose(*self._end)
        else:
            super().abort()


def socket_transport(transport: Any) -> Any:
    """Return the transport that has the socket, below TLS and the PROXY protocol."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
