"""The state of a node: whether clients should be sent to it, its warnings and its figures."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from .. import __version__
from ..interfaces import INodeStatus
from ..rooms.service import RoomService
from ..util.services import OrderedMultiService
from ..websocket.factory import TandemFactory
from .backends import Backend
from .metrics import NodeMetrics
from .tls import Certificates


@implementer(INodeStatus)
class NodeStatus:
    """Answers health checks, /status, /metrics and the administration API.

    drained: an administrator has closed the node to clients.
    """

    def __init__(
        self,
        node_id: str,
        service: OrderedMultiService,
        backend: Backend,
        rooms: RoomService,
        websockets: TandemFactory,
        certificates: Certificates | None,
        clock: IReactorTime,
        wall: Callable[[], float],
    ):
        """certificates: None without TLS. wall: the wall clock, in seconds since 1970."""
        self._node_id = node_id
        self._service = service
        self._backend = backend
        self._rooms = rooms
        self._websockets = websockets
        self._certificates = certificates
        self._clock = clock
        self._wall = wall
        self.drained = False
        self._started_at = clock.seconds()

    def accepts_clients(self) -> bool:
        """See `INodeStatus`."""
        return bool(self._service.running) and not self.drained

    def readiness(self) -> list[str]:
        """See `INodeStatus`."""
        if not self._service.running:
            return ["the node is stopping"]
        if not self._service.started:
            return ["the node is starting"]
        if self.drained:
            return ["the node was drained by an administrator"]
        return self._backend.ready()

    def warnings(self) -> list[str]:
        """See `INodeStatus`."""
        return [
            *self._backend.warnings(),
            *(self._certificates.warnings() if self._certificates is not None else []),
        ]

    def connection_count(self) -> int:
        """See `INodeStatus`."""
        return len(self._websockets)

    def uptime(self) -> float:
        """See `INodeStatus`."""
        return self._clock.seconds() - self._started_at

    def about(self) -> dict[str, object]:
        """Return the node's part of the administration API: `GET /admin/v1/node`."""
        counts = self._rooms.directory.counts()
        return {
            "nodeId": self._node_id,
            "version": __version__,
            "uptime": round(self.uptime(), 3),
            "time": self._wall(),
            "storeTime": self._backend.store.clock.now(),
            "drained": self.drained,
            "reasons": self.readiness(),
            "warnings": self.warnings(),
            "connections": self.connection_count(),
            "rooms": counts["rooms"],
            "members": counts["members"],
        }

    def measure(self, metrics: NodeMetrics) -> None:
        """Set the gauges that are read at a scrape."""
        counts = self._rooms.directory.counts()
        metrics.connections.connections.value = self.connection_count()
        metrics.rooms.rooms.value = counts["rooms"]
        metrics.rooms.members.value = counts["members"]
        metrics.process.ready.value = not self.readiness()
        metrics.rooms.guests_out_of_sync.value = self._rooms.positions.out_of_sync_count()
        self._backend.measure()
