"""The client connection of each WebSocket: its session, its address and its limits."""

from __future__ import annotations

from ..errors import CloseCode
from ..interfaces import IClusterClock
from ..ratelimit import MessageLimits, Spending
from ..rooms.outbox import Outbox
from ..rooms.service import RoomService
from ..rooms.session import Session
from ..web import Addresses, ConnectionLimiter, Cors
from ..websocket.client import ClientConnection
from ..websocket.metrics import ConnectionMetrics
from ..websocket.protocol import TandemProtocol

_CLOSE_CODES = frozenset(CloseCode)


class ClientOrigins:
    """The origin of clients: the address that rules apply to, and whether their web page is a familiar one."""

    def __init__(self, addresses: Addresses, cors: Cors):
        self._addresses = addresses
        self._cors = cors

    def address(self, protocol: TandemProtocol) -> str:
        """Return the address of a client as rules by address use it."""
        forwarded = (protocol.http_headers or {}).get("x-forwarded-for")
        peer = protocol.transport.getPeer() if protocol.transport is not None else None
        return self._addresses.rule(peer, [forwarded] if forwarded else [])

    def is_familiar(self, protocol: TandemProtocol) -> bool:
        """Whether a client answers for its address.

        A web page of another site does not: it runs in the browser of a visitor who knows nothing of it.
        """
        headers = protocol.http_headers or {}
        origin = headers.get("origin")
        return self._cors.familiar(
            None if origin is None else origin.encode("utf-8", "replace"), headers.get("host", "")
        )


class ClientFactory:
    """Makes the client connection of each open WebSocket.

    conn_prefix: the beginning of the names of this node's connections, "node/boot/". spending: budgets of addresses.
    limits: message rates of connections. None: no limits.
    """

    def __init__(
        self,
        conn_prefix: str,
        origins: ClientOrigins,
        rooms: RoomService,
        outbox: Outbox,
        clock: IClusterClock,
        metrics: ConnectionMetrics,
        spending: Spending | None,
        limits: MessageLimits | None,
    ):
        self._conn_prefix = conn_prefix
        self._origins = origins
        self._rooms = rooms
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._spending = spending
        self._limits = limits
        self._count = 0

    def connect(self, protocol: TandemProtocol) -> ClientConnection:
        """Return the client connection of a WebSocket whose handshake is done."""
        self._count += 1
        address = self._origins.address(protocol)
        session = Session(f"{self._conn_prefix}{self._count}", address, protocol.session_transport, self._outbox)
        if self._spending is not None:
            session.meter = self._spending.address(address)
        return ClientConnection(
            session, self._rooms, self._clock, self._metrics, self._limits, self._origins.is_familiar(protocol)
        )


class ConnectionCounter:
    """Counts open and closed connections, for the metrics and for the limits of each address."""

    def __init__(self, limiter: ConnectionLimiter, metrics: ConnectionMetrics):
        self._limiter = limiter
        self._metrics = metrics

    def count(self, address: str, code: int | None, opened: bool) -> None:
        """Count a connection that opened or closed. code: the close code, None without one."""
        if opened:
            self._limiter.opened(address)
            self._metrics.opened.value += 1
        else:
            self._limiter.closed(address)
            self._metrics.closed[str(code) if code in _CLOSE_CODES else "other"] += 1
