"""Metrics of WebSocket connections."""

from __future__ import annotations

from collections.abc import Iterable

from ..metrics import Counter, Gauge, LabeledCounter, MetricGroup
from ..rooms.metrics import RoomMetrics

DROP_REASONS = ("idle", "no_pong", "output_bytes", "output_stall")
"""Reasons to end a connection: its client sends no JOIN, does not answer pings or does not read."""


class ConnectionMetrics(MetricGroup):
    """WebSocket connections and their messages. refused, rate_limited: see `RoomMetrics`."""

    def __init__(self, rooms: RoomMetrics, received: Iterable[str] = ()):
        """received: the types of client messages."""
        self.refused = rooms.refused
        self.rate_limited = rooms.rate_limited

        self.connections = Gauge("tandemd_connections", "Open WebSocket connections")
        self.opened = Counter("tandemd_connections_opened_total", "Opened WebSocket connections")
        self.closed = LabeledCounter("tandemd_connections_closed_total", "Closed WebSocket connections", "code")
        self.connections_dropped = LabeledCounter(
            "tandemd_connections_dropped_total", "Connections ended because of a silent client", "reason", DROP_REASONS
        )
        self.received = LabeledCounter("tandemd_messages_received_total", "Messages from clients", "type", received)
