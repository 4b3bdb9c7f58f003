"""The listening port, and the drain of its connections when the node stops."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from socket import IPPROTO_TCP, SO_REUSEPORT, SOL_SOCKET, TCP_NOTSENT_LOWAT, gaierror
from typing import Any

from twisted.application import service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

from .. import __version__
from ..config import Config
from ..config.endpoints import tls_endpoint
from ..metrics import Gauge
from ..rules.title_allowlist import any_schemes
from ..util.services import StartupError
from ..util.sweeper import Sweeper
from ..util.text import one_line
from ..web import TandemSite
from ..websocket.factory import TandemFactory
from ..websocket.session_transport import WebSocketTransport
from .tls import Certificates

MAX_UNSENT_BYTES = 128 * 1024
"""Limit for unsent bytes of a connection in the kernel (`TCP_NOTSENT_LOWAT`). The default allows several megabytes, which hide a
slow reader from the node."""

CLOSE_TIMEOUT_SECONDS = 5.0
"""Limit for the closing handshake."""


class ConnectionDrain(service.Service):
    """Checks all connections once a second, and closes them when the node stops.

    draining: becomes 1 when the drain starts. elsewhere: says whether another node can take the clients. drain: over how many
    seconds they are sent there. last: called when no other node can.
    """

    name = "connections"
    _log = Logger()

    def __init__(
        self,
        factory: TandemFactory,
        clock: IReactorTime,
        draining: Gauge,
        elsewhere: Callable[[], bool],
        drain: float,
        last: Callable[[], None],
    ):
        self._factory = factory
        self._draining = draining
        self._elsewhere = elsewhere
        self._drain = drain
        self._last = last
        self._check = Sweeper(clock, 1.0, factory.to_check, WebSocketTransport.check)

    def startService(self) -> None:
        super().startService()
        self._check.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._draining.value = 1
        self._check.stop()
        if not self._elsewhere():
            # Connections that arrive from now on wait for the next process.
            self._last()
        return self.send_away()

    def send_away(self) -> Deferred[None]:
        """Close all connections, over `drain` seconds if another node can take them; fires when they are closed."""
        count = len(self._factory)
        if count:
            self._log.info(
                "closing {count} connections; clients reconnect on their own", event="connections_closing", count=count
            )
        if self._elsewhere():
            return self._factory.drain(self._drain, CLOSE_TIMEOUT_SECONDS)
        return self._factory.drain(0.0, CLOSE_TIMEOUT_SECONDS)


def _remedy(cause: object, endpoint: str) -> str:
    """Return the remedy for an error of the system that prevents listening."""
    number = getattr(cause, "errno", None)
    if endpoint.startswith("unix:") and number != errno.EADDRINUSE:
        return "name a path in a directory that exists and in which the daemon may write, or choose another `port`"
    if isinstance(cause, gaierror) or number == errno.EADDRNOTAVAIL:
        return "set `host` (HOST) to an address of this machine, or to 0.0.0.0"
    if number == errno.EACCES:
        return (
            "choose a `port` (PORT, --port) from 1024 on, or give the daemon the right to lower ones "
            "(docs/deployment.md, TLS without a proxy)"
        )
    return "stop what listens there, or choose another `port` (PORT, --port) or `host` (HOST)"


class Listener(service.Service):
    """Accepts connections, and logs the address. Raises StartupError if Twisted does not understand `port`."""

    name = "listener"
    _log = Logger()

    def __init__(self, reactor: Any, site: TandemSite, config: Config, certificates: Certificates | None):
        """certificates: for TLS, started before the listener; None without TLS."""
        self._config = config
        self._port: IListeningPort | None = None
        endpoint, _ = tls_endpoint(config)
        self._secure = certificates is not None or config.port.startswith("ssl:")
        self._factory: Any = site if certificates is None else certificates.wrap_factory(site)
        self._inherited = endpoint.startswith("systemd:")
        try:
            self._endpoint = serverFromString(reactor, endpoint)
        except Exception as error:  # each kind of endpoint raises errors of its own
            if self._inherited:
                raise StartupError(
                    f"port: {config.port!r}: systemd has given no such socket; start the socket unit, or write a port number"
                ) from None
            raise StartupError(
                f"port: {config.port!r} is no endpoint that Twisted understands ({one_line(error)}); "
                "write a port number, or an endpoint such as tcp:4001:interface=127.0.0.1"
            ) from None

    @property
    def address(self) -> Any:
        """The listening address; None before the start."""
        return self._port.getHost() if self._port is not None else None

    def startService(self) -> Deferred[None]:
        super().startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            self._port = await self._endpoint.listen(self._factory)
        except (CannotListenError, OSError) as error:
            cause = getattr(error, "socketError", error)
            reason = getattr(cause, "strerror", None) or cause
            raise StartupError(
                f"cannot listen on {self._config.endpoint}: {reason}; {_remedy(cause, self._config.port)}"
            ) from error
        if self._shared() and not self._config.uses_redis:
            raise StartupError(
                f"port: {self._config.port!r}: other processes may have this port too (SO_REUSEPORT), and each would have "
                "rooms of its own; set redis.host (REDIS_HOST), or take a socket that is not shared (tandemd.socket)"
            )
        limit_kernel_send_buffer(self._port)
        self._log.info("listening on {address}", event="listening", address=self._listening_address())
        page, socket = self._urls()
        self._log.info(
            "ready: the party page is at {page}", event="ready",
            page=page, node=self._config.node_id, version=__version__, state_dir=self._config.state_dir,
        )  # fmt: skip
        self._log.info("ready: clients connect to {socket}", event="ready", socket=socket)
        self._log_films()

    def _log_films(self) -> None:
        """Log which films members may show, if it is more than a list."""
        schemes = any_schemes(self._config.titles.allowed)
        if schemes:
            self._log.info(
                "films: members may show any {schemes} URL; titles.allowed limits this",
                event="titles_any",
                schemes=" or ".join(sorted(schemes, reverse=True)),
            )
        if self._config.videos_path:
            self._log.info(
                "films: the party page offers those in {directory}",
                event="videos_offered",
                directory=self._config.videos_path,
            )

    def _shared(self) -> bool:
        """Whether other processes may receive connections to this port."""
        shared = getattr(self._port, "socket", None)
        return shared is not None and bool(shared.getsockopt(SOL_SOCKET, SO_REUSEPORT))

    def leave_to_next(self) -> None:
        """Accept no more connections if systemd keeps the socket: there they wait for the next process."""
        if self._inherited and self._port is not None:
            port, self._port = self._port, None
            port.stopListening()

    def _listening_address(self) -> str:
        """Return the address that the socket has, such as "0.0.0.0:4001", "[::]:443 (TLS)" or a path."""
        address = self.address
        if isinstance(address, IPv4Address | IPv6Address):
            host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
            return f"{host}:{address.port}{' (TLS)' if self._secure else ''}"
        name = getattr(address, "name", None)
        return os.fsdecode(name) if name else self._config.port

    def _urls(self) -> tuple[str, str]:
        """Return the URLs of page and WebSocket, as this machine reaches them."""
        address = self.address
        if not isinstance(address, IPv4Address | IPv6Address):
            return self._config.port, self._config.port
        host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
        place = f"{'localhost' if host in _THIS_MACHINE else host}:{address.port}"
        s = "s" if self._secure else ""
        return f"http{s}://{place}/", f"ws{s}://{place}/ws"

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)


def limit_kernel_send_buffer(port: Any) -> None:
    """Limit the unsent bytes of accepted connections to `MAX_UNSENT_BYTES`, on systems that can."""
    with contextlib.suppress(AttributeError, OSError):
        port.socket.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)


_THIS_MACHINE = ("0.0.0.0", "127.0.0.1", "[::]", "[::1]")
