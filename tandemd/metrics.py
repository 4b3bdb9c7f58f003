"""What is counted, for Prometheus.

To add a metric, add one line to `MetricsEndpoint`. Counting is adding to a plain number, below 0.1 us:
`metrics.deliveries.value += 3`, `metrics.received["PING"] += 1`, `metrics.rooms.value = 5`.
Everything is on the reactor's thread, except the durations of database work and of garbage collection.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from twisted.application import service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PUT_OFF = (
    "joins", "creations", "rooms_per_address", "rooms_per_node", "pin_tries_per_room", "pin_tries_per_address", "hashing",
    "pending_joins", "members_per_address",
)  # fmt: skip
"""Why a JOIN may have to wait: the keys of the configuration's `limits`, nearly."""
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)

GIVEN_UP = ("idle", "no_pong", "output_bytes", "output_stall")
"""Why connections are ended whose clients want nothing, do not answer or do not read."""


LIMITS = (
    "messages", "bytes", "joins", "frames", "abuse",
    "penalized", "connections", "connections_per_address", "connection_rate", "pending_handshakes", "http_connections", "origin",
    "request_rate", "room", "address", "events",
)  # fmt: skip
"""Reasons for which something is refused, delayed or ended. First what one connection does: too many messages, too many
bytes, too many JOINs (delayed), frames that are no messages, going on after all that. Then at the door: an
address that is kept out, too many connections in all, of one address, or in too short a time, too many of which no request
comes, too many that are no WebSockets, a web page of another origin. And too many HTTP requests of one address. Last,
what a room or an address has spent: bytes stored, and deliveries; and
events that have no row in the archive."""


class Counter:
    """A number that only grows: `counter.value += 1`."""

    __slots__ = ("name", "doc", "value")

    def __init__(self, name: str, doc: str):
        self.name = name
        self.doc = doc
        self.value: float = 0

    def inc(self, number: float = 1) -> None:
        """Add to `value`; for callbacks."""
        self.value += number

    def collect(self) -> Metric:
        return CounterMetricFamily(self.name, self.doc, value=self.value)


class LabeledCounter(dict[str, int]):
    """Numbers that only grow, by one label from a closed set: add to `counts[label]`, which begins at 0."""

    __slots__ = ("name", "doc", "label")

    def __init__(self, name: str, doc: str, label: str, known: Iterable[str] = ()):
        """known: labels to show from the beginning, so that the first increment is seen as one."""
        super().__init__(dict.fromkeys(known, 0))
        self.name = name
        self.doc = doc
        self.label = label

    def __missing__(self, label: str) -> int:
        return 0

    def inc(self, label: str) -> None:
        """Add 1 to `self[label]`; for callbacks."""
        self[label] += 1

    def collect(self) -> Metric:
        family = CounterMetricFamily(self.name, self.doc, labels=[self.label])
        for label, value in list(self.items()):
            family.add_metric([label], value)
        return family


class Gauge:
    """A number that goes up and down: set `value`, or `read` to a function that is asked at every scrape."""

    __slots__ = ("name", "doc", "value", "read")

    def __init__(self, name: str, doc: str):
        self.name = name
        self.doc = doc
        self.value: float = 0
        self.read: Callable[[], float] | None = None

    def collect(self) -> Metric:
        return GaugeMetricFamily(self.name, self.doc, value=self.value if self.read is None else self.read())


class Histogram:
    """How often a value was how large, by one label from a closed set ("" for none). About 0.5 us a value."""

    __slots__ = ("name", "doc", "label", "_bounds", "_series")

    def __init__(self, name: str, doc: str, label: str = "", bounds: tuple[float, ...] = SECONDS):
        self.name = name
        self.doc = doc
        self.label = label
        self._bounds = bounds
        self._series: dict[str, list[float]] = {}

    def observe(self, value: float, label: str = "") -> None:
        series = self._series.get(label)
        if series is None:
            series = self._series[label] = [0.0] * (len(self._bounds) + 2)  # the sum is last
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    def collect(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.doc, labels=[self.label] if self.label else [])
        for label, series in list(self._series.items()):
            buckets: list[tuple[str, float]] = []
            total = 0.0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), series, strict=False):
                total += count
                buckets.append((bound, total))
            family.add_metric([label] if self.label else [], buckets, series[-1])
        return family


Instrument = Counter | LabeledCounter | Gauge | Histogram
InstrumentT = TypeVar("InstrumentT", Counter, LabeledCounter, Gauge, Histogram)


class Metrics:
    """The metrics of one node, with a registry of its own."""

    _log = Logger()

    def __init__(self, version: str, node_id: str, received: Iterable[str] = ()):
        """received: the message types of clients."""
        self._all: list[Instrument] = []
        add = self._add

        self.connections = add(Gauge("tandemd_connections", "Open WebSocket connections"))
        self.rooms = add(Gauge("tandemd_rooms", "Rooms with members on this node"))
        self.members = add(Gauge("tandemd_members", "Members connected to this node"))
        self.certificate_expiry = add(
            Gauge("tandemd_tls_certificate_expiry_timestamp_seconds", "When the TLS certificate ends; 0 without TLS")
        )
        self.ready = add(Gauge("tandemd_ready", "1 while clients should be sent to the node, else 0"))
        self.draining = add(Gauge("tandemd_draining", "1 while the node sends its clients away, else 0"))

        self.opened = add(Counter("tandemd_connections_opened_total", "WebSocket connections that were opened"))
        self.closed = add(
            LabeledCounter("tandemd_connections_closed_total", "WebSocket connections that ended", "code")
        )
        self.connections_dropped = add(
            LabeledCounter(
                "tandemd_connections_dropped_total", "Connections ended for their clients' silence", "reason", GIVEN_UP
            )
        )
        self.received = add(
            LabeledCounter("tandemd_messages_received_total", "Messages from clients", "type", received)
        )
        self.refused = add(LabeledCounter("tandemd_messages_refused_total", "Messages answered with ERROR", "code"))
        self.rate_limited = add(
            LabeledCounter(
                "tandemd_rate_limited_total", "What was refused, delayed or ended by a limit", "reason", LIMITS
            )
        )
        self.joins_deferred = add(
            LabeledCounter("tandemd_joins_deferred_total", "JOINs that had to wait for a limit", "reason", PUT_OFF)
        )
        self.lookups_refused = add(
            Counter("tandemd_code_lookups_refused_total", "Look-ups of invite codes that were refused: too many")
        )
        self.pin_attempts = add(
            LabeledCounter(
                "tandemd_pin_attempts_total", "PINs that were tried", "result", ("accepted", "rejected", "repeated")
            )
        )
        self.relays = add(Counter("tandemd_relays_total", "Messages passed from one member to one other on this node"))
        self.deliveries = add(Counter("tandemd_deliveries_total", "Messages written to a client"))

        self.commits = add(LabeledCounter("tandemd_commits_total", "Changes of rooms that were accepted", "event"))
        self.conflicts = add(Counter("tandemd_commit_conflicts_total", "Decisions made anew: the room had changed"))

        self.host_drift = add(
            Histogram("tandemd_host_drift_seconds", "How far the room was from its host, when corrected")
        )
        self.guest_resyncs = add(
            Counter("tandemd_guest_resyncs_total", "Times a guest out of step was told where the room is")
        )
        self.guests_out_of_sync = add(
            Gauge("tandemd_guests_out_of_sync", "Guests who watch, and are more than 2 s from their room")
        )

        self.retries = add(
            Counter("tandemd_commit_retries_total", "Commits that waited for the store, or lost its answer")
        )

        self.room_catchups = add(
            Counter("tandemd_room_catchups_total", "Times a room's missing commits were read from the store")
        )
        self.canary_age = add(Gauge("tandemd_pubsub_canary_age_seconds", "Since the subscription was last heard of"))
        self.pubsub_reconnects = add(Counter("tandemd_pubsub_reconnects_total", "Times the subscription was lost"))
        self.takeovers = add(Counter("tandemd_node_takeovers_total", "Nodes found dead, whose members were taken over"))
        self.journal_length = add(Gauge("tandemd_journal_entries", "Entries in the journal that await the archive"))
        self.journal_bytes = add(Gauge("tandemd_journal_bytes", "Bytes of the entries in the journal"))
        self.journal_age = add(Gauge("tandemd_journal_age_seconds", "Age of the oldest entry in the journal"))
        self.spooled = add(Gauge("tandemd_journal_spooled_bytes", "Entries in this node's spool: the journal was full"))
        self.redis_memory = add(Gauge("tandemd_redis_memory_used_bytes", "Memory that Redis uses"))
        self.redis_memory_limit = add(Gauge("tandemd_redis_memory_limit_bytes", "Redis' maxmemory; 0 for none"))
        self.redis_memory_refusals = add(
            Counter("tandemd_redis_memory_refusals_total", "Commands that Redis refused: its memory was full")
        )
        self.journal_unreadable = add(
            Counter(
                "tandemd_journal_unreadable_total", "Entries for the archive that cannot be read: journal.unreadable"
            )
        )
        self.journal_lost = add(
            Counter("tandemd_journal_lost_total", "Entries for the archive that neither Redis nor the disk has taken")
        )
        self.batch = add(Histogram("tandemd_commit_batch_size", "Commands committed together", bounds=SIZES))

        self.archive_batch = add(Histogram("tandemd_archive_batch_events", "Events in a batch", bounds=SIZES))
        self.archive_queue = add(Gauge("tandemd_archive_queue_events", "Events that are not in the archive yet"))
        self.archive_lag = add(Gauge("tandemd_archive_lag_seconds", "Age of the oldest event not in the archive yet"))
        self.archive_failures = add(Counter("tandemd_archive_failures_total", "Batches that could not be written"))
        self.db_queue = add(Histogram("tandemd_db_queue_wait_seconds", "Wait for a database thread", "transaction"))
        self.db_run = add(Histogram("tandemd_db_transaction_seconds", "Time of a database transaction", "transaction"))

        self.reactor_lag = add(Histogram("tandemd_reactor_lag_seconds", "How late the event loop is for a timer"))
        self.gc_pause = add(Histogram("tandemd_gc_seconds", "Duration of garbage collections", "generation"))

        self._registry = CollectorRegistry()
        self._registry.register(_Instruments(self._all, {"version": version, "node": node_id}))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    content_type = CONTENT_TYPE_LATEST
    """The media type of what `render` returns."""

    def _add(self, instrument: InstrumentT) -> InstrumentT:
        self._all.append(instrument)
        return instrument

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Instruments(Collector):
    """Reads the instruments at every scrape."""

    _log = Logger()

    def __init__(self, instruments: list[Instrument], info: Mapping[str, str]):
        self._instruments = instruments
        self._info = info

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("tandemd_info", "The program and the node; always 1", labels=list(self._info))
        info.add_metric(list(self._info.values()), 1)
        yield info
        for instrument in self._instruments:
            try:
                yield instrument.collect()
            except Exception:  # one metric that cannot be read must not hide the others
                self._log.failure("reading {metric}", metric=instrument.name)


class ReactorLag(service.Service):
    """Measures how late the reactor is: what a client waits for, whatever keeps the loop busy."""

    def __init__(self, clock: IReactorTime, lag: Histogram, interval: float = 0.5):
        self._clock = clock
        self._lag = lag
        self._interval = interval
        self._call: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._schedule()

    def stopService(self) -> None:
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _schedule(self) -> None:
        due = self._clock.seconds() + self._interval
        self._call = self._clock.callLater(self._interval, self._measure, due)

    def _measure(self, due: float) -> None:
        late = max(0.0, self._clock.seconds() - due)
        self._schedule()
        self._lag.observe(late)


class GcPause(service.Service):
    """Measures how long garbage collections stop everything. There is one collector in a process: have one of these."""

    def __init__(self, clock: Callable[[], float], pause: Histogram):
        """clock: seconds, monotonic."""
        self._clock = clock
        self._pause = pause
        self._began = 0.0

    def startService(self) -> None:
        super().startService()
        gc.callbacks.append(self._collected)

    def stopService(self) -> None:
        super().stopService()
        gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = self._clock()
        else:
            self._pause.observe(self._clock() - self._began, str(info["generation"]))
