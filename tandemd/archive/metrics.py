"""Metrics of the archive and its database."""

from __future__ import annotations

from ..metrics import SIZE_BOUNDS, Counter, Gauge, Histogram, MetricGroup


class ArchiveMetrics(MetricGroup):
    """Batches of events, and transactions."""

    def __init__(self) -> None:
        self.archive_batch = Histogram("tandemd_archive_batch_events", "Events in a batch", bounds=SIZE_BOUNDS)
        self.archive_queue = Gauge("tandemd_archive_queue_events", "Events that are not in the archive yet")
        self.archive_lag = Gauge(
            "tandemd_archive_lag_seconds", "Age of the oldest event that is not in the archive yet"
        )
        self.archive_failures = Counter("tandemd_archive_failures_total", "Batches that could not be written")
        self.db_queue = Histogram("tandemd_db_queue_wait_seconds", "Wait for a database thread", "transaction")
        self.db_run = Histogram("tandemd_db_transaction_seconds", "Duration of a database transaction", "transaction")
