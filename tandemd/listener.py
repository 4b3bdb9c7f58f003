"""Taking connections, keeping an eye on them, and sending them away when the node stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .config import Config
from .metrics import Metrics
from .protocol import TandemFactory
from .services import CannotStart
from .web import TandemSite

CLOSING = 5.0
"""Seconds that the closing handshake may take."""


class Connections(service.Service):
    """Keeps an eye on all connections, and sends them away when the node stops.

    elsewhere: says whether another node can take them. drain: over how many seconds they are sent there.
    """

    name = "connections"
    _log = Logger()

    def __init__(
        self, factory: TandemFactory, clock: IReactorTime, metrics: Metrics, elsewhere: Callable[[], bool], drain: float
    ):
        self._factory = factory
        self._metrics = metrics
        self._elsewhere = elsewhere
        self._drain = drain
        self._check = LoopingCall(factory.check)
        self._check.clock = clock

    def startService(self) -> None:
        super().startService()
        self._check.start(1.0, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._metrics.draining.value = 1
        if self._check.running:
            self._check.stop()
        count = len(self._factory)
        if count:
            self._log.info("closing {count} connections; clients come back by themselves", count=count)
        # Where there is no other node, the sooner the better: the next process takes them.
        return self._factory.send_away(self._drain if self._elsewhere() else 0.0, CLOSING)


class Listener(service.Service):
    """Takes connections, and says in the log where."""

    name = "listener"
    _log = Logger()

    def __init__(self, reactor: Any, site: TandemSite, config: Config):
        self._reactor = reactor
        self._site = site
        self._config = config
        self._port: IListeningPort | None = None

    @property
    def address(self) -> Any:
        """Where it listens, once it does."""
        return self._port.getHost() if self._port is not None else None

    def startService(self) -> Deferred[None]:
        super().startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            self._port = await serverFromString(self._reactor, self._config.endpoint).listen(self._site)
        except CannotListenError as error:
            raise CannotStart(
                f"cannot listen on {self._config.endpoint}: {error.socketError}; choose another `port`"
            ) from error
        host = self.address
        place = f"localhost:{host.port}" if hasattr(host, "port") else str(host)
        self._log.info("ready: the party page is at http://{place}/", place=place, node=self._config.node_id)
        self._log.info("ready: clients connect to ws://{place}/ws", place=place)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
