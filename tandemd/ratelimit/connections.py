"""Limits for WebSocket handshakes and HTTP requests, decided from the client's address alone."""

from __future__ import annotations

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from ..errors import ErrorCode
from ..metrics import LabeledCounter
from . import Penalties, scopes
from .buckets import PerMinute

FULL_WAIT = 10.0
"""Seconds until a client may try again at a full node."""


class Rejection(Struct, frozen=True):
    """Say why a connection or a request is rejected.

    code, text: for the client. wait: seconds after which to try again, None for never.
    """

    code: ErrorCode
    text: str
    wait: float | None = None


class ConnectionLimits(Struct, frozen=True):
    """The keys of the same names in the section `limits` of the configuration. 0: no limit.

    connections: open at a time, in all. connections_per_address: of one address. connections_per_minute: new ones of one
    address. requests_per_minute: by HTTP, of one address. penalty, longest_penalty: seconds that an address is kept out after
    an offence; see Penalties.
    """

    connections: int = 0
    connections_per_address: int = 0
    connections_per_minute: int = 0
    penalty: float = 0.0
    longest_penalty: float = 0.0
    requests_per_minute: int = 0


class ConnectionLimiter:
    """Count the open connections of each address, and reject addresses with too many, or with a penalty.

    Addresses are as `scopes` takes them, which also says how the wider network is limited. Only the limit of all connections
    applies to ''.
    limited: the counter of rejections by reason.
    """

    def __init__(self, clock: IReactorTime, settings: ConnectionLimits, limited: LabeledCounter):
        self._settings = settings
        self._limited = limited
        self._opening = PerMinute(clock, "opening", settings.connections_per_minute)
        self._asking = PerMinute(clock, "asking", settings.requests_per_minute)
        self._checking = PerMinute(clock, "checking", settings.requests_per_minute)
        self._penalties = Penalties(clock, settings.penalty, settings.longest_penalty)
        self._open: dict[str, int] = {}
        self._count = 0

    def check(self, address: str) -> Rejection | None:
        """Return why a handshake is rejected, or None. To be asked once for each handshake."""
        settings = self._settings
        wait = self._penalties.wait(address)
        if wait:
            return self._refuse(
                ErrorCode.RATE_LIMITED, "penalized", "A client at your address broke the limits repeatedly.", wait
            )
        if settings.connections and self._count >= settings.connections:
            return self._refuse(
                ErrorCode.UNAVAILABLE, "connections", "The server has as many connections as it may have.", FULL_WAIT
            )
        if settings.connections_per_address and any(
            self._open.get(scope.name, 0) >= settings.connections_per_address * scope.times for scope in scopes(address)
        ):
            return self._refuse(
                ErrorCode.RATE_LIMITED,
                "connections_per_address",
                "Your address has as many connections as it may have.",
                FULL_WAIT,
            )
        wait = self._opening.take(address)
        if wait:
            return self._refuse(
                ErrorCode.RATE_LIMITED, "connection_rate", "Too many new connections from your address.", wait
            )
        return None

    def request(self, address: str) -> Rejection | None:
        """Return why an HTTP request is rejected, or None. To be asked once for each request."""
        wait = self._asking.take(address)
        return (
            self._refuse(ErrorCode.RATE_LIMITED, "request_rate", "Too many requests from your address.", wait)
            if wait
            else None
        )

    def checks_often(self, address: str) -> bool:
        """Say whether an address asks for the node's health more often than it may ask for everything else. To be asked once for
        each time."""
        return bool(self._checking.take(address))

    def refuse_origin(self) -> Rejection:
        """Return why the handshake of a web page is rejected that may not use this server."""
        self._limited["origin"] += 1
        return Rejection(ErrorCode.FORBIDDEN, "Pages of this origin may not use this server.")

    def _refuse(self, code: ErrorCode, reason: str, text: str, wait: float) -> Rejection:
        self._limited[reason] += 1
        return Rejection(code, text, wait)

    def opened(self, address: str) -> None:
        """A connection was opened."""
        self._count += 1
        for scope in scopes(address):
            self._open[scope.name] = self._open.get(scope.name, 0) + 1

    def closed(self, address: str) -> None:
        """It has ended."""
        self._count -= 1
        for scope in scopes(address):
            count = self._open.pop(scope.name) - 1
            if count:
                self._open[scope.name] = count

    def penalize(self, address: str) -> None:
        """A client had to be thrown out: its address is not let in for a while."""
        if self._settings.penalty:
            self._penalties.punish(address)
