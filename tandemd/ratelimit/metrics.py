"""Metrics of the limits."""

from __future__ import annotations

from ..metrics import Counter, LabeledCounter, MetricGroup

LIMIT_REASONS = (
    "messages", "bytes", "joins", "frames", "abuse",
    "penalized", "connections", "connections_per_address", "connection_rate", "pending_handshakes", "http_connections", "origin",
    "request_rate", "room", "address", "events",
)  # fmt: skip
"""Limits that reject, delay or end something.

Of one connection: too many messages, too many bytes, too many JOINs (delayed), too many control frames, the end of the
connection after further violations. Of new connections: an address with a penalty, too many connections in all, of one
address, or within a short time, too many without a request, too many that are no WebSockets, a web page of another origin.
Of HTTP: too many requests of one address. Of a room or an address: its bytes and deliveries are spent. Of the archive:
events without a row.
"""


class LimitMetrics(MetricGroup):
    """Rejections by limits, in all packages."""

    def __init__(self) -> None:
        self.rate_limited = LabeledCounter(
            "tandemd_rate_limited_total", "Requests that a limit rejected, delayed or ended", "reason", LIMIT_REASONS
        )
        self.lookups_refused = Counter(
            "tandemd_code_lookups_refused_total", "Rejected look-ups of invite codes: too many"
        )
