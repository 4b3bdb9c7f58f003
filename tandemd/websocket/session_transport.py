"""The write side of one WebSocket: frames, close codes, pings and the send queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import CloseCode, RequestError
from ..messages.framing import error_frame
from ..rules.lead import one_way_delay
from .autobahn_private import OPEN
from .keepalive import Keepalive
from .send_queue import SendQueue

if TYPE_CHECKING:
    from .protocol import TandemProtocol

ABUSIVE_CLOSE_SECONDS = 1.0
"""Time that an abusive client has to read the close frame."""


class WebSocketTransport:
    """Writes to one connection and watches it. One object for the life of the connection.

    It implements three interfaces: `rooms.session.SessionTransport` for the session, `keepalive.Peer` and
    `send_queue.SendQueueOwner`. The factory uses the rest.
    """

    __slots__ = ("_keepalive", "_protocol", "queue")

    def __init__(self, protocol: TandemProtocol):
        self._protocol = protocol
        self._keepalive: Keepalive | None = None
        self.queue: SendQueue | None = None
        """None before the connection is open, after its end, and once the client was too slow for the queue."""

    def opened(self, queue: SendQueue, keepalive: Keepalive) -> None:
        """Begin to write and to ping."""
        self.queue = queue
        self._keepalive = keepalive

    def closed(self) -> None:
        """Write nothing more. Pending probes fail."""
        self.queue = None
        if self._keepalive is not None:
            self._keepalive.stop()

    def pong_received(self, payload: bytes) -> None:
        """Note a pong, and the quality of the connection that it shows."""
        connection = self._protocol.connection
        if self._keepalive is not None and connection is not None:
            self._keepalive.answered(payload)
            connection.session.quality = self._keepalive.quality
            if self._keepalive.round_trips:
                connection.session.round_trip = self._keepalive.round_trips[-1]
                connection.session.delay = one_way_delay(self._keepalive.round_trips)

    # rooms.session.SessionTransport

    def write(self, data: bytes) -> None:
        if self._protocol.state == OPEN and self.queue is not None:
            self.queue.write(data)

    def stream(self, pieces: Iterator[bytes]) -> None:
        if self._protocol.state == OPEN and self.queue is not None:
            self.queue.stream(pieces)

    def close(self, code: int, reason: str) -> None:
        if self._protocol.state == OPEN:
            self._protocol.send_close(code, reason)

    def close_abusive(self, reason: str) -> None:
        if self._protocol.state == OPEN and self._protocol.transport is not None:
            self.close(CloseCode.POLICY_VIOLATION, reason)
            # The client's answer and everything it has sent meanwhile stay unread.
            self._protocol.stop_reading()
            self._protocol.factory.clock.callLater(ABUSIVE_CLOSE_SECONDS, self._protocol.abort)

    def probe(self, answered: Callable[[bool], None]) -> None:
        if self._keepalive is None or self._protocol.state != OPEN:
            answered(False)
        else:
            self._keepalive.probe(answered)

    def crowded(self) -> bool:
        return self.queue is not None and self.queue.half_full

    def settled(self) -> None:
        if self._protocol.connection is not None:
            self._protocol.connection.join_finished()
            self._protocol.join_finished()

    # keepalive.Peer

    def send_ping(self, payload: bytes) -> None:
        self._protocol.sendPing(payload)

    def ping_timed_out(self) -> None:
        self._protocol.factory.dropped["no_pong"] += 1
        self._protocol.abort()

    # send_queue.SendQueueOwner

    def fell_behind(self) -> None:
        if self._protocol.connection is not None:
            self._protocol.connection.session.lagging = True

    def caught_up(self) -> None:
        if self._protocol.connection is not None:
            self._protocol.connection.session.caught_up()

    def slow_consumer(self, reason: str) -> None:
        self._protocol.factory.dropped[reason] += 1
        # The client resumes behind the last message that it has received, so no message may follow the discarded ones.
        self.queue = None
        # A client that does not read the close frame either is dropped by Autobahn's timer.
        self.close(CloseCode.POLICY_VIOLATION, "client reads too slowly")

    # the factory

    def send_frame(self, frame: bytes) -> None:
        """Send a frame after everything that was sent before."""
        if self._protocol.connection is not None:
            self._protocol.connection.session.send(frame)

    def close_for_restart(self) -> None:
        """Close with 1012, after everything that was sent before."""
        if self._protocol.connection is not None:
            self._protocol.connection.session.close(CloseCode.SERVICE_RESTART, "the server restarts")

    def close_with_error(self, error: RequestError) -> None:
        """Close with 1008, after an ERROR that gives the reason."""
        if self._protocol.connection is not None:
            self._protocol.connection.session.send(error_frame(error, None))
            self._protocol.connection.session.close(CloseCode.POLICY_VIOLATION, error.text)

    @property
    def has_sent_join_or_ping(self) -> bool:
        """Whether the client has shown that it speaks the protocol. True after the end of the connection."""
        connection = self._protocol.connection
        return connection is None or connection.has_sent_join_or_ping

    def check(self) -> None:
        """Check the send queue and the keepalive. To be called about once a second."""
        protocol = self._protocol
        if protocol.state != OPEN or protocol.is_lost:
            return
        now = protocol.factory.clock.seconds()
        if self.queue is not None:
            self.queue.check(now)
        # A pong cannot be read while reading is paused.
        if self._keepalive is not None and not protocol.paused and protocol.state == OPEN:
            if protocol.connection is not None and protocol.connection.look():
                self._keepalive.hurry(now)
            self._keepalive.check(now)
