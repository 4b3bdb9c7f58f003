"""All metrics of a node: the groups of its packages in one registry."""

from __future__ import annotations

from collections.abc import Iterable

from ..archive.metrics import ArchiveMetrics
from ..metrics import Gauge, Histogram, MetricGroup, MetricsRegistry
from ..ratelimit.metrics import LimitMetrics
from ..rooms.metrics import RoomMetrics
from ..store.redis.metrics import StoreMetrics
from ..web.metrics import WebMetrics
from ..websocket.metrics import ConnectionMetrics


class ProcessMetrics(MetricGroup):
    """The process and its state."""

    def __init__(self) -> None:
        self.ready = Gauge("tandemd_ready", "1 while clients should be sent to the node, else 0")
        self.draining = Gauge("tandemd_draining", "1 while the node sends its clients away, else 0")
        self.certificate_expiry = Gauge(
            "tandemd_tls_certificate_expiry_timestamp_seconds", "End of the TLS certificate; 0 without TLS"
        )
        self.reactor_lag = Histogram("tandemd_reactor_lag_seconds", "Delay of a timer of the event loop")
        self.gc_pause = Histogram("tandemd_gc_seconds", "Duration of garbage collections", "generation")


class NodeMetrics:
    """The metrics of one node, by package."""

    def __init__(self, version: str, node_id: str, received: Iterable[str] = ()):
        """received: the types of client messages."""
        self.process = ProcessMetrics()
        self.limits = LimitMetrics()
        self.rooms = RoomMetrics(self.limits)
        self.connections = ConnectionMetrics(self.rooms, received)
        self.web = WebMetrics()
        self.archive = ArchiveMetrics()
        self.store = StoreMetrics(self.archive.archive_batch, self.archive.archive_failures)
        self._registry = MetricsRegistry(version, node_id)
        for group in self.groups():
            self._registry.register(group)

    def groups(self) -> tuple[MetricGroup, ...]:
        """Return the groups of all packages."""
        return self.process, self.limits, self.rooms, self.connections, self.web, self.archive, self.store

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return self._registry.render()
