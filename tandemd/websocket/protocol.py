"""WebSocket: Autobahn's protocol, made to carry our connections, and the factory that knows them all.

Autobahn's classes own many names, so these two only pass things on (`DatabaseConnection`, `Session`, `Keepalive`). Its callbacks
must not raise: it would drop the connection, or lose the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from .. import messages as m
from ..errors import CloseCode, ErrorCode, RequestError
from ..messages.framing import error_frame, text_frame
from ..ratelimit import MessageLimits
from . import fast_path
from .client import ClientConnection
from .keepalive import Keepalive
from .send_queue import SendQueue, SendQueueLimits

READ_BYTES = 16 * 1024
"""Bytes that are read from a connection at once: room for what honest clients send in one piece."""
FRAMES_AFTER_CLOSE = 100
"""How many chunks and frames are looked at after a close of ours, for the client's."""
RECONNECT_MS = 1000
"""When clients of a single node are to come back after a restart."""
EXPELLED = 1.0
"""Seconds that a client which is thrown out has for reading why."""


IDLE = RequestError(ErrorCode.IDLE, "You have sent neither JOIN nor PING; connect again when you want to.")


class ProtocolSettings(Struct, frozen=True):
    """frame_bytes: the longest message a client may send. fast_path: whether to use `fast_path`.

    send_queue: how much output may wait, and for how long. join_timeout: seconds within which a client must have sent a JOIN
    or PING; 0: any time.
    """

    frame_bytes: int
    fast_path: bool
    send_queue: SendQueueLimits
    join_timeout: float


class TandemProtocol(WebSocketServerProtocol):
    """One WebSocket connection."""

    _log = Logger()
    factory: TandemFactory
    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.connection: ClientConnection | None = None
        self._backlog: SendQueue | None = None
        self._pulse: Keepalive | None = None
        self._opened_at = 0.0
        self._late = 0
        self._paused = False
        self._resume: IDelayedCall | None = None
        self._listens = True
        self._lost: Failure | None = None

    # Autobahn's callbacks

    def onConnect(self, request: ConnectionRequest) -> None:
        """Accept: who may join is decided by JOIN."""

    def onOpen(self) -> None:
        try:
            self.factory.opened(self)
        except Exception:
            self._log.failure("opening a connection")
            self.abort()

    def begin(self, connection: ClientConnection, backlog: SendQueue, pulse: Keepalive, now: float) -> None:
        """Take what the factory has made for this connection."""
        self.connection = connection
        self._backlog = backlog
        self._pulse = pulse
        self._opened_at = now
        transport = _socket_transport(self.transport)
        transport.bufferSize = READ_BYTES
        self.factory.websockets.add(transport)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.connection is None or self.state != self.STATE_OPEN:
            return
        if isBinary:
            self.close(CloseCode.UNSUPPORTED_DATA, "only text frames are understood")
        else:
            self.connection.received(payload)

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        if self.current_frame.opcode == 0:
            self._framed()

    def consumeData(self) -> None:
        """Read frames as Autobahn does, but at most `FRAMES_PER_ITERATION` of them in one iteration, and none while a JOIN is
        being decided.

        After a close of ours, only `FRAMES_AFTER_CLOSE` frames in all are read: a rejected client may go on sending.
        """
        if self._paused:
            return
        if self.state == self.STATE_CLOSING:
            self._late += 1
        elif self.state != self.STATE_OPEN:
            super().consumeData()
            return
        elif self.joining:
            self._pause()
            return
        # Each takes two steps.
        left = 2 * fast_path.FRAMES_PER_ITERATION
        while self._late < FRAMES_AFTER_CLOSE and self.processData() and self.state != self.STATE_CLOSED:
            self._late += self.state == self.STATE_CLOSING
            left -= 1
            if self.data:
                if self.joining:
                    self._pause()
                    break
                if not left:
                    self.resume_next_iteration()
                    break
        if self._late >= FRAMES_AFTER_CLOSE:
            # The close frame still gets out; in a few seconds the connection is dropped.
            self.data = b""
            self._stop_reading()

    @property
    def joining(self) -> bool:
        """Whether a JOIN of the client is being decided, and messages behind it wait."""
        return self.state == self.STATE_OPEN and self.connection is not None and self.connection.joining

    def resume_next_iteration(self) -> None:
        """Read the rest of `data` in the next iteration, and nothing more until then."""
        self._pause()
        self._schedule()

    def _pause(self) -> None:
        """Read nothing until `_read_on`. What the transport still hands over is appended to `data`."""
        self._paused = True
        if self._lost is None:
            self.transport.pauseProducing()

    def _schedule(self) -> None:
        if self._resume is None:
            self._resume = self.factory.clock.callLater(0, self._read_on)

    def _read_on(self) -> None:
        self._resume = None
        if self.joining:
            return
        self._paused = False
        if self.data and self.state in (self.STATE_OPEN, self.STATE_CLOSING):
            data, self.data = self.data, b""
            self.dataReceived(data)
        if self._paused or self.joining:
            return
        if self._lost is not None:
            self._end()
        elif self._listens:
            self.transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that the transport is gone. An open connection ends when all that was received has been processed."""
        self.factory.websockets.discard(_socket_transport(self.transport))
        self._lost = reason
        if self.state != self.STATE_OPEN or not (self._paused or self.joining):
            self._end()

    def _end(self) -> None:
        reason, self._lost = self._lost, None
        if reason is not None:
            super().connectionLost(reason)

    def dropConnection(self, abort: bool = False) -> None:
        super().dropConnection(abort)
        # The transport says so only once.
        self._end()

    def _stop_reading(self) -> None:
        """Read nothing any more."""
        self._listens = False
        if self._lost is None:
            self.transport.pauseProducing()

    def onPing(self, payload: bytes) -> None:
        self._framed()
        # Whoever reads no answers gets none; only the last one would matter.
        if self._backlog is None or not self._backlog.paused:
            super().onPing(payload)

    def sendCloseFrame(self, *args: Any, **kwargs: Any) -> None:
        if self._backlog is not None and self.state == self.STATE_OPEN:
            if self.connection is not None:
                # Answers to what came before, in the same chunk perhaps: nothing can follow a close frame.
                self.connection.session.flush()
            self._backlog.release()
        super().sendCloseFrame(*args, **kwargs)

    def onPong(self, payload: bytes) -> None:
        self._framed()
        if self._pulse is not None and self.connection is not None:
            self._pulse.answered()
            self.connection.session.quality = self._pulse.quality

    def _framed(self) -> None:
        if self.connection is not None and self.state == self.STATE_OPEN:
            self.connection.control_frame_received()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        connection, self.connection = self.connection, None
        self._backlog = None
        if connection is None:
            return
        try:
            if wasClean and self.closedByMe:
                # Its answer to the close frame shows that it has all that was written before.
                connection.session.unconfirmed_relays = None
            connection.closed()
            if self._pulse is not None:
                self._pulse.stop()
        except Exception:
            self._log.failure("closing a connection")
        # Last: when the node stops and this was the last connection, the room service goes next, and must have heard of it.
        self.factory.closed(self, code, connection, self._opened_at)

    # sessions.Wire

    def write(self, data: bytes) -> None:
        if self.state == self.STATE_OPEN and self._backlog is not None:
            self._backlog.write(data)

    def stream(self, pieces: Iterator[bytes]) -> None:
        if self.state == self.STATE_OPEN and self._backlog is not None:
            self._backlog.stream(pieces)

    def close(self, code: int, reason: str) -> None:
        if self.state == self.STATE_OPEN:
            # sendClose() allows only 1000 and 3000-4999.
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:120])

    def close_abusive(self, reason: str) -> None:
        if self.state == self.STATE_OPEN and self.transport is not None:
            self.close(CloseCode.POLICY_VIOLATION, reason)
            # What it has sent meanwhile, and its answer, are not worth reading.
            self._stop_reading()
            self.factory.clock.callLater(EXPELLED, self.abort)

    def probe(self, answered: Callable[[bool], None]) -> None:
        if self._pulse is None or self.state != self.STATE_OPEN:
            answered(False)
        else:
            self._pulse.probe(answered)

    def crowded(self) -> bool:
        return self._backlog is not None and self._backlog.half_full

    def settled(self) -> None:
        if self.connection is not None:
            self.connection.join_finished()
            if self._paused or self._lost is not None:
                self._schedule()

    # for the factory

    def send_frame(self, frame: bytes) -> None:
        """Send a frame after everything that was sent before."""
        if self.connection is not None:
            self.connection.session.send(frame)

    def send_away(self) -> None:
        """Close with 1012, after everything that was sent before."""
        if self.connection is not None:
            self.connection.session.close(CloseCode.SERVICE_RESTART, "the server restarts")

    def close_with_error(self, error: RequestError) -> None:
        """Close with 1008 after an ERROR that says why."""
        if self.connection is not None:
            self.connection.session.send(error_frame(error, None))
            self.connection.session.close(CloseCode.POLICY_VIOLATION, error.text)

    def abort(self) -> None:
        """Drop the connection at once, and what it has sent but was not processed."""
        self.dropConnection(abort=True)

    @property
    def proven(self) -> bool:
        """Whether its client has shown to be one."""
        return self.connection is None or self.connection.has_sent_join_or_ping

    def check(self) -> None:
        """See `Keepalive.check` and `SendQueue.check`; to be called about once a second."""
        now = self.factory.clock.seconds()
        if self._lost is not None:
            return
        if self._backlog is not None and self.state == self.STATE_OPEN:
            self._backlog.check(now)
        # While nothing is read, no pong can be.
        if self._pulse is not None and self.state == self.STATE_OPEN and not self._paused:
            if self.connection is not None and self.connection.look():
                self._pulse.hurry(now)
            self._pulse.check(now)

    # keepalive.Peer

    def ping_timed_out(self) -> None:
        self.factory.given_up("no_pong")
        self.abort()

    # backlog.Reader

    def fell_behind(self) -> None:
        if self.connection is not None:
            self.connection.session.lagging = True

    def caught_up(self) -> None:
        if self.connection is not None:
            self.connection.session.caught_up()

    def slow_consumer(self, reason: str) -> None:
        self.factory.given_up(reason)
        # If it does not read this either, Autobahn's timer drops it.
        self.close(CloseCode.POLICY_VIOLATION, "you do not read what you are sent")


def _socket_transport(transport: Any) -> Any:
    """Return the transport that has the socket, below TLS and the PROXY protocol."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


class TandemFactory(WebSocketServerFactory):
    """Makes connections, knows the open ones, and sends them away when the node stops.

    connect: makes the Connection for a protocol. counted: is told of each connection that was opened (True) or has ended, by
    the client's address and the close code. given_up: is told why a connection is ended whose client does not read, does not
    answer or wants nothing. limits: what the connections have been given, which wants to know the time. websockets: where
    the reactor looks up the transports of open connections, see `FairReactor`.
    """

    protocol: Any = TandemProtocol
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: ProtocolSettings,
        connect: Callable[[TandemProtocol], ClientConnection],
        counted: Callable[[str, int | None, bool], None],
        given_up: Callable[[str], None] = lambda reason: None,
        limits: MessageLimits | None = None,
        websockets: set[Any] | None = None,
    ):
        super().__init__(server="tandemd", reactor=clock)
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            utf8validateIncoming=True,
            maxFramePayloadSize=settings.frame_bytes,
            maxMessagePayloadSize=settings.frame_bytes,
            failByDrop=False,
            closeHandshakeTimeout=5,
            openHandshakeTimeout=5,
            perMessageCompressionAccept=lambda offers: None,
            # Origins have been looked at before, for which Autobahn has too many rules.
            allowedOrigins=["*"],
            allowNullOrigin=True,
        )
        self.websockets = websockets if websockets is not None else set()
        self.frame_bytes = settings.frame_bytes
        if settings.fast_path:
            self.protocol = fast_path.fast(TandemProtocol, self)
        self.clock = clock
        self._connect = connect
        self._counted = counted
        self.given_up = given_up
        self._send_queue_limits = settings.send_queue
        self._limits = limits
        self._join_timeout = settings.join_timeout
        self._protocols: set[TandemProtocol] = set()
        self._unproven: dict[TandemProtocol, float] = {}
        self._emptied: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._protocols)

    def opened(self, protocol: TandemProtocol) -> None:
        """A handshake has succeeded."""
        now = self.clock.seconds()
        connection = self._connect(protocol)
        self._protocols.add(protocol)
        self._counted(connection.session.address, None, True)
        backlog = SendQueue(protocol.transport, protocol, self.clock, self._send_queue_limits)
        protocol.begin(connection, backlog, Keepalive(self.clock, protocol), now)
        if self._join_timeout:
            self._unproven[protocol] = now + self._join_timeout

    def closed(
        self, protocol: TandemProtocol, code: int | None, connection: ClientConnection, opened_at: float
    ) -> None:
        """An open connection has ended."""
        self._protocols.discard(protocol)
        self._unproven.pop(protocol, None)
        self._counted(connection.session.address, code, False)
        self._log.debug(
            "connection closed after {seconds:.0f} s and {messages} messages",
            seconds=self.clock.seconds() - opened_at,
            messages=connection.count,
            code=code,
        )
        if not self._protocols and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def to_check(self) -> list[TandemProtocol]:
        """Close the connections that do not want anything, and return those to `check`; to be called about once a second."""
        if self._limits is not None:
            self._limits.refresh_clock()
        self._check_unproven(self.clock.seconds())
        return list(self._protocols)

    def _check_unproven(self, now: float) -> None:
        # They are in the order in which their time is up.
        for protocol, until in list(self._unproven.items()):
            if until > now:
                break
            del self._unproven[protocol]
            if not protocol.proven:
                self.given_up("idle")
                protocol.close_with_error(IDLE)

    def send_away(self, over: float, closing: float) -> Deferred[None]:
        """Close all connections with 1012, spread over `over` seconds; fires when they are closed, at last after `closing` more.

        Each is told beforehand when it should come back.
        """
        protocols = list(self._protocols)
        done: Deferred[None] = Deferred()
        if not protocols:
            done.callback(None)
            return done
        frame = text_frame(m.encode(m.ServerRestart(reconnect_after_ms=0 if over else RECONNECT_MS)))
        for number, protocol in enumerate(protocols):
            # All are told at once, so that each knows when its turn is.
            after = over * number / len(protocols)
            if over:
                frame = text_frame(m.encode(m.ServerRestart(reconnect_after_ms=int(after * 1000))))
            protocol.send_frame(frame)
            if after:
                self.clock.callLater(after, protocol.send_away)
            else:
                protocol.send_away()
        self._emptied = done
        timer = self.clock.callLater(over + closing, self._drop_rest)
        done.addCallback(lambda _: timer.cancel() if timer.active() else None)
        return done

    def _drop_rest(self) -> None:
        for protocol in list(self._protocols):
            protocol.abort()
        if self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
