"""Metrics of the Redis store: commits, subscription, journal, memory. A node without Redis shows them as 0."""

from __future__ import annotations

from ...metrics import SIZE_BOUNDS, Counter, Gauge, Histogram, MetricGroup


class StoreMetrics(MetricGroup):
    """The Redis store of a node. archive_batch, archive_failures: of the archive, which the journal's consumer fills."""

    def __init__(self, archive_batch: Histogram, archive_failures: Counter):
        self.archive_batch = archive_batch
        self.archive_failures = archive_failures

        self.batch = Histogram("tandemd_commit_batch_size", "Commands committed together", bounds=SIZE_BOUNDS)
        self.retries = Counter("tandemd_commit_retries_total", "Commits that waited for the store, or lost its answer")
        self.canary_age = Gauge("tandemd_pubsub_canary_age_seconds", "Time since the subscription last delivered")
        self.pubsub_reconnects = Counter("tandemd_pubsub_reconnects_total", "Losses of the subscription")
        self.takeovers = Counter("tandemd_node_takeovers_total", "Dead nodes whose members this node took over")

        self.journal_length = Gauge("tandemd_journal_entries", "Entries in the journal that await the archive")
        self.journal_bytes = Gauge("tandemd_journal_bytes", "Bytes of the entries in the journal")
        self.journal_age = Gauge("tandemd_journal_age_seconds", "Age of the oldest entry in the journal")
        self.spooled = Gauge("tandemd_journal_spooled_bytes", "Entries in this node's spool: the journal was full")
        self.journal_unreadable = Counter(
            "tandemd_journal_unreadable_total", "Unreadable entries for the archive, kept in journal.unreadable"
        )
        self.journal_lost = Counter(
            "tandemd_journal_lost_total", "Entries for the archive that neither Redis nor the disk has taken"
        )

        self.redis_memory = Gauge("tandemd_redis_memory_used_bytes", "Memory that Redis uses")
        self.redis_memory_limit = Gauge("tandemd_redis_memory_limit_bytes", "Redis' maxmemory; 0 for none")
        self.redis_memory_refusals = Counter(
            "tandemd_redis_memory_refusals_total", "Commands that Redis refused: its memory was full"
        )
