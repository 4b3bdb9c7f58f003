"""The optimised handling of complete text frames.

Reading: tandemd parses complete text frames at the beginning of a chunk itself, unless Autobahn is inside a frame or message.
Writing: bytes go straight to the socket while nothing waits before them. Twisted would register the socket with the reactor,
and remove it again, for each message.

`fast_path: false` replaces this module by `PlainProtocol`. Both paths show the same behaviour to clients, except that only the
fast path limits the frames of one connection in one iteration of the reactor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..util.twisted_private import send_now
from .autobahn_private import CLOSING, OPEN, OpenedServerProtocol, at_boundary
from .client import ClientConnection
from .frame_parser import take_texts
from .keepalive import Keepalive
from .protocol import TandemProtocol, socket_transport
from .send_queue import SendQueue
from .session_transport import WebSocketTransport

FRAMES_PER_ITERATION = 4
"""Frames that the node reads from one connection before other connections have their turn.

An honest client sends a few frames at once, a flood hundreds in each chunk.
"""
FRAMES_AFTER_CLOSE = 100
"""Chunks and frames that are read after the server's close frame, in search of the client's."""


class FastTransport(WebSocketTransport):
    """Writes straight to the socket while nothing waits in the transport.

    It sets `session.raw_send` after the socket has taken everything, so that the outbox calls the socket without a Python
    function between. Such a function made a CHAT to ten members 5 % more expensive (instructions).
    """

    __slots__ = ()

    def write(self, data: bytes) -> None:
        protocol = self._protocol
        if protocol.state != OPEN or protocol.connection is None or self.queue is None:
            return
        sent = send_now(protocol.transport, data)
        if sent == len(data):
            session = protocol.connection.session
            session.raw_send = protocol.transport.socket.send
            session.write_rest = self.write_rest
        else:
            self.write_rest(memoryview(data)[sent:])

    def write_rest(self, rest: memoryview) -> None:
        """Write frames whose beginning the socket has taken. rest: a view of the whole frames, without that beginning."""
        self.write_through_queue()
        if self.queue is not None:
            self.queue.write(rest)

    def write_through_queue(self) -> None:
        """Write nothing to the socket directly, until nothing waits in the transport."""
        if self._protocol.connection is not None:
            self._protocol.connection.session.raw_send = None

    def stream(self, pieces: Iterator[bytes]) -> None:
        self.write_through_queue()
        super().stream(pieces)


class FastProtocol(OpenedServerProtocol, TandemProtocol):  # type: ignore[misc]  # Autobahn's bases disagree
    """A connection with the fast path. Everything but complete text frames is Autobahn's."""

    session_transport_class: ClassVar[type[WebSocketTransport]] = FastTransport
    session_transport: FastTransport

    def __init__(self) -> None:
        super().__init__()
        self._frames_after_close = 0
        self._resume_call: IDelayedCall | None = None
        self._lost: Failure | None = None

    def begin(self, connection: ClientConnection, queue: SendQueue, keepalive: Keepalive, now: float) -> None:
        super().begin(connection, queue, keepalive, now)
        self.forget_handshake()

    # reading

    def dataReceived(self, data: bytes) -> None:
        connection = self.connection
        if connection is not None and not connection.joining and at_boundary(self):
            texts, rest = take_texts(data, self.factory.frame_bytes, FRAMES_PER_ITERATION)
            for count, text in enumerate(texts, 1):
                connection.received(text)
                if self.state != OPEN:
                    return
                if connection.joining:
                    if count < len(texts):
                        rest = take_texts(data, self.factory.frame_bytes, count)[1]
                    break
            else:
                if len(texts) == FRAMES_PER_ITERATION and rest:
                    self.unprocessed = rest
                    self.resume_next_iteration()
                    return
            if not rest:
                return
            data = rest
        self.receive(data)

    def message_received(self, payload: bytes) -> None:
        if self.connection is not None:
            self.connection.received(payload)

    def frames_buffered(self) -> None:
        """Have Autobahn process at most `FRAMES_PER_ITERATION` frames, and none behind a JOIN that is being decided.

        After the server's close frame, only `FRAMES_AFTER_CLOSE` frames in all are processed, because a rejected client may
        go on sending.
        """
        if self.paused:
            return
        if self.state == CLOSING:
            self._frames_after_close += 1
        elif self.joining:
            self._pause()
            return
        steps = 2 * FRAMES_PER_ITERATION
        while self._frames_after_close < FRAMES_AFTER_CLOSE and self.process_step():
            self._frames_after_close += self.state == CLOSING
            steps -= 1
            if self.unprocessed:
                if self.joining:
                    self._pause()
                    break
                if not steps:
                    self.resume_next_iteration()
                    break
        if self._frames_after_close >= FRAMES_AFTER_CLOSE:
            # The close frame still gets out. Autobahn's timer drops the connection in a few seconds.
            self.unprocessed = b""
            self.stop_reading()

    def join_finished(self) -> None:
        if self.paused or self.is_lost:
            self._schedule()

    def resume_next_iteration(self) -> None:
        """Process the rest of `unprocessed` in the next iteration, and read nothing until then."""
        self._pause()
        self._schedule()

    def _pause(self) -> None:
        """Read nothing until `_resume`. A chunk that the transport still delivers is appended to `unprocessed`."""
        self.paused = True
        if not self.is_lost:
            self.transport.pauseProducing()

    def _schedule(self) -> None:
        if self._resume_call is None:
            self._resume_call = self.factory.clock.callLater(0, self._resume)

    def _resume(self) -> None:
        self._resume_call = None
        if self.joining:
            return
        self.paused = False
        if self.unprocessed and self.state in (OPEN, CLOSING):
            data, self.unprocessed = self.unprocessed, b""
            self.dataReceived(data)
        if self.paused or self.joining:
            return
        if self.is_lost:
            self._finish()
        elif self._reads:
            self.transport.resumeProducing()

    # the end

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end of the TCP connection. The WebSocket ends once all received messages have been processed."""
        self.factory.websockets.discard(socket_transport(self.transport))
        self._lost = reason
        self.is_lost = True
        if self.state != OPEN or not (self.paused or self.joining):
            self._finish()

    def dropped(self) -> None:
        # Twisted reports the end of a transport only once.
        self._finish()

    def _finish(self) -> None:
        reason, self._lost = self._lost, None
        if reason is not None:
            super().connectionLost(reason)

    # writing

    def before_queued_write(self) -> None:
        self.session_transport.write_through_queue()
        super().before_queued_write()

    def send_response(self, data: bytes) -> None:
        sent = send_now(self.transport, data)
        if sent < len(data):
            super().send_response(data[sent:])

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.session_transport.write_through_queue()
        super().onClose(wasClean, code, reason)
