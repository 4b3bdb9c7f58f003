"""Metrics of HTTP."""

from __future__ import annotations

from ..metrics import LabeledCounter, MetricGroup

STATUSES = (
    "200",
    "206",
    "302",
    "304",
    "400",
    "401",
    "403",
    "404",
    "405",
    "413",
    "414",
    "416",
    "426",
    "429",
    "500",
    "503",
)
"""The statuses that the server sends often."""


class WebMetrics(MetricGroup):
    """HTTP responses of a node."""

    def __init__(self) -> None:
        self.responses = LabeledCounter(
            "tandemd_http_responses_total", "HTTP responses, except to handshakes", "code", STATUSES
        )
        self.handshakes_rejected = LabeledCounter(
            "tandemd_handshakes_rejected_total",
            "WebSocket handshakes answered with an HTTP error",
            "code",
            ("400", "403", "405", "426", "429", "503"),
        )

    def count(self, status: int, is_handshake: bool) -> None:
        """Count a response that opens no WebSocket. is_handshake: whether the request asked for one."""
        (self.handshakes_rejected if is_handshake else self.responses)[str(status)] += 1
