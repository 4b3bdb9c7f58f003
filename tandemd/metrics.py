"""Instruments for Prometheus, and the registry of a node.

A package declares its metrics as a `MetricGroup`, such as `rooms.metrics.RoomMetrics`; `app.metrics.NodeMetrics` registers
the groups. Counting is an addition to a plain number, below 0.1 us: `metrics.deliveries.value += 3`,
`metrics.received["PING"] += 1`, `metrics.rooms.value = 5`, `metrics.batch.observe(7)`. `inc` is the same for callbacks.
All of it is on the reactor's thread, except the durations of database work and of garbage collection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from platform import python_version

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from twisted.logger import Logger

SECONDS_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DRIFT_BOUNDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds between players. Smaller distances than `rooms.drift` are not corrected."""
SIZE_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


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
    """Numbers that only grow, by one label from a closed set: add to `counter[label]`, which begins at 0."""

    __slots__ = ("name", "doc", "label")

    def __init__(self, name: str, doc: str, label: str, known: Iterable[str] = ()):
        """known: labels that are shown as 0 from the start, so that Prometheus sees the first increment."""
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
    """A number that goes up and down: set `value`, or set `read` to a function that each scrape calls."""

    __slots__ = ("name", "doc", "value", "read")

    def __init__(self, name: str, doc: str):
        self.name = name
        self.doc = doc
        self.value: float = 0
        self.read: Callable[[], float] | None = None

    def collect(self) -> Metric:
        return GaugeMetricFamily(self.name, self.doc, value=self.value if self.read is None else self.read())


class Histogram:
    """The distribution of a value, by one label from a closed set ("" for none). About 0.5 us a value."""

    __slots__ = ("name", "doc", "label", "bounds", "_series")

    def __init__(self, name: str, doc: str, label: str = "", bounds: tuple[float, ...] = SECONDS_BOUNDS):
        self.name = name
        self.doc = doc
        self.label = label
        self.bounds = bounds
        self._series: dict[str, list[float]] = {}

    def observe(self, value: float, label: str = "") -> None:
        series = self._series.get(label)
        if series is None:
            series = self._series[label] = [0.0] * (len(self.bounds) + 2)  # the sum is last
        series[bisect_left(self.bounds, value)] += 1
        series[-1] += value

    def collect(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.doc, labels=[self.label] if self.label else [])
        for label, series in list(self._series.items()):
            buckets: list[tuple[str, float]] = []
            total = 0.0
            for bound, count in zip((*map(str, self.bounds), "+Inf"), series, strict=False):
                total += count
                buckets.append((bound, total))
            family.add_metric([label] if self.label else [], buckets, series[-1])
        return family


Instrument = Counter | LabeledCounter | Gauge | Histogram


class MetricGroup:
    """The instruments of one package: the attributes of a subclass that are instruments."""

    def instruments(self) -> Iterator[Instrument]:
        """Return the instruments in the order of their declaration."""
        for value in vars(self).values():
            if isinstance(value, Instrument):
                yield value


class MetricsRegistry:
    """The metrics of one node. version, node_id: labels of `tandemd_build_info`."""

    content_type = CONTENT_TYPE_LATEST
    """The media type of the text that `render` returns."""

    def __init__(self, version: str, node_id: str):
        self._instruments: list[Instrument] = []
        self._registry = CollectorRegistry()
        info = {"version": version, "python": python_version(), "node": node_id}
        self._registry.register(_InstrumentCollector(self._instruments, info))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def register(self, group: MetricGroup) -> None:
        """Show a group's instruments. An instrument that several groups share is shown once."""
        self._instruments += [
            instrument
            for instrument in group.instruments()
            if not any(instrument is other for other in self._instruments)
        ]

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _InstrumentCollector(Collector):
    """Reads the instruments at each scrape."""

    _log = Logger()

    def __init__(self, instruments: list[Instrument], info: Mapping[str, str]):
        self._instruments = instruments
        self._info = info

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "tandemd_build_info",
            "Version of the program and of Python, and the node; always 1",
            labels=list(self._info),
        )
        info.add_metric(list(self._info.values()), 1)
        yield info
        for instrument in self._instruments:
            try:
                yield instrument.collect()
            except Exception:  # a metric that cannot be read must not hide the others
                self._log.failure("failed to read {metric}", event="metric_failed", metric=instrument.name)
