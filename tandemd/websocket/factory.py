"""The factory of WebSocket connections: it opens and counts them, checks them, and closes them when the node stops."""

from __future__ import annotations

from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .. import messages as m
from ..errors import ErrorCode, RequestError
from ..messages.framing import text_frame
from ..metrics import LabeledCounter
from ..ratelimit import MessageLimits
from .client import ClientConnection
from .fast_path import FastProtocol
from .keepalive import Keepalive
from .protocol import PlainProtocol, TandemProtocol
from .send_queue import SendQueue, SendQueueLimits
from .session_transport import WebSocketTransport

RECONNECT_MS = 1000
"""Milliseconds after which the clients of a single node reconnect to the restarted node."""
HANDSHAKE_SECONDS = 5
"""Time for the opening and for the closing handshake."""

IDLE_ERROR = RequestError(ErrorCode.IDLE, "The client has sent neither JOIN nor PING within `limits.join_timeout`.")

log = Logger()


class ProtocolSettings(Struct, frozen=True):
    """Settings of connections.

    frame_bytes: the length of the longest message that a client may send.
    fast_path: whether connections use the fast path, see `fast_path`.
    send_queue: the limits of the send queue.
    join_timeout: seconds within which a client must send JOIN or PING; 0: no limit.
    """

    frame_bytes: int
    fast_path: bool
    send_queue: SendQueueLimits
    join_timeout: float


class TandemFactory(WebSocketServerFactory):
    """Makes connections, and keeps the set of the open ones."""

    def __init__(
        self,
        clock: IReactorTime,
        settings: ProtocolSettings,
        connect: Callable[[TandemProtocol], ClientConnection],
        counted: Callable[[str, int | None, bool], None],
        dropped: LabeledCounter,
        limits: MessageLimits | None = None,
        random: Random | None = None,
        rejected: Callable[[int], object] = lambda status: None,
    ):
        """Make a factory.

        connect: makes the `ClientConnection` for a protocol.
        counted: is called with a client's address, the close code, and True after a connection was opened, False after its end.
        dropped: counts the connections that the server ends because their client does not read, answer or join.
        limits: the limits of all connections; `to_check` refreshes their clock.
        random: of the pings; None for the system's. A client that knew it could claim a short round trip.
        rejected: is called with the HTTP status of each handshake that is malformed.
        """
        super().__init__(server="tandemd", reactor=clock)
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            utf8validateIncoming=True,
            maxFramePayloadSize=settings.frame_bytes,
            maxMessagePayloadSize=settings.frame_bytes,
            failByDrop=False,
            closeHandshakeTimeout=HANDSHAKE_SECONDS,
            openHandshakeTimeout=HANDSHAKE_SECONDS,
            perMessageCompressionAccept=lambda offers: None,
            # The router has checked the origin. Autobahn's check accepts fewer forms of origins.
            allowedOrigins=["*"],
            allowNullOrigin=True,
        )
        self.protocol: Any = FastProtocol if settings.fast_path else PlainProtocol
        websockets: set[Any] | None = getattr(clock, "websockets", None)  # of `FairReactor`
        self.websockets: set[Any] = websockets if websockets is not None else set()
        self.frame_bytes = settings.frame_bytes
        self.clock = clock
        self.dropped = dropped
        self.rejected = rejected
        self._connect = connect
        self._counted = counted
        self._queue_limits = settings.send_queue
        self._limits = limits
        self._join_timeout = settings.join_timeout
        self._random = random or SystemRandom()
        self._protocols: dict[TandemProtocol, None] = {}
        self._join_deadlines: dict[WebSocketTransport, float] = {}
        """When connections must have sent JOIN or PING, in the order of these times."""
        self._emptied: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._protocols)

    def opened(self, protocol: TandemProtocol) -> None:
        """Begin a connection whose handshake has succeeded."""
        now = self.clock.seconds()
        connection = self._connect(protocol)
        self._protocols[protocol] = None
        self._counted(connection.session.address, None, True)
        transport = protocol.session_transport
        queue = SendQueue(protocol.transport, transport, self.clock, self._queue_limits)
        protocol.begin(connection, queue, Keepalive(self.clock, transport, self._random), now)
        if self._join_timeout:
            self._join_deadlines[transport] = now + self._join_timeout

    def closed(
        self, protocol: TandemProtocol, code: int | None, connection: ClientConnection, opened_at: float
    ) -> None:
        """Forget a connection that has ended."""
        self._protocols.pop(protocol, None)
        self._join_deadlines.pop(protocol.session_transport, None)
        self._counted(connection.session.address, code, False)
        log.debug(
            "connection closed after {seconds:.0f} s and {messages} messages",
            event="connection_closed",
            seconds=self.clock.seconds() - opened_at,
            messages=connection.count,
            code=code,
        )
        if not self._protocols:
            self._drained()

    def to_check(self) -> list[WebSocketTransport]:
        """Close connections without JOIN or PING, and return the objects to `check`. To be called about once a second."""
        if self._limits is not None:
            self._limits.refresh_clock()
        now = self.clock.seconds()
        for transport, deadline in list(self._join_deadlines.items()):
            if deadline > now:
                break
            del self._join_deadlines[transport]
            if not transport.has_sent_join_or_ping:
                self.dropped["idle"] += 1
                transport.close_with_error(IDLE_ERROR)
        return [protocol.session_transport for protocol in self._protocols]

    def drain(self, over: float, closing: float) -> Deferred[None]:
        """Close all connections with 1012. Each client is told in advance when to reconnect.

        over: seconds over which the closes are spread.
        closing: seconds after `over` until the remaining connections are dropped.
        Return a Deferred that fires when all connections have ended.
        """
        transports = [protocol.session_transport for protocol in self._protocols]
        done: Deferred[None] = Deferred()
        if not transports:
            done.callback(None)
            return done
        frame = text_frame(m.encode(m.ServerRestart(reconnect_after_ms=0 if over else RECONNECT_MS)))
        for number, transport in enumerate(transports):
            # All clients are told at once, so that each knows its time.
            after = over * number / len(transports)
            if over:
                frame = text_frame(m.encode(m.ServerRestart(reconnect_after_ms=int(after * 1000))))
            transport.send_frame(frame)
            if after:
                self.clock.callLater(after, transport.close_for_restart)
            else:
                transport.close_for_restart()
        self._emptied = done
        timer = self.clock.callLater(over + closing, self._drop_rest)
        done.addCallback(lambda _: timer.cancel() if timer.active() else None)
        return done

    def _drop_rest(self) -> None:
        for protocol in list(self._protocols):
            protocol.abort()
        self._drained()

    def _drained(self) -> None:
        if self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
