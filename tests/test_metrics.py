"""The metrics: what is rendered of what was counted."""

import gc

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.metrics import GcPause, Histogram, LabeledCounter, Metrics, ReactorLag


class MetricsTestCase(SynchronousTestCase):
    def setUp(self):
        self.metrics = Metrics("1.2.3", "n1", received=["PING", "JOIN"])

    def samples(self):
        """Return what a scrape sees: value by name and labels."""
        found = {}
        for family in text_string_to_metric_families(self.metrics.render().decode()):
            for sample in family.samples:
                found[(sample.name, *sample.labels.values())] = sample.value
        return found

    def test_counting(self):
        metrics = self.metrics
        metrics.deliveries.value += 3
        metrics.deliveries.inc()
        metrics.received["PING"] += 2
        metrics.refused["forbidden"] += 1
        metrics.rooms.value = 7
        metrics.members.read = lambda: 9
        samples = self.samples()
        self.assertEqual(samples[("tandemd_deliveries_total",)], 4)
        self.assertEqual(samples[("tandemd_messages_received_total", "PING")], 2)
        self.assertEqual(samples[("tandemd_messages_received_total", "JOIN")], 0)
        self.assertEqual(samples[("tandemd_messages_refused_total", "forbidden")], 1)
        self.assertEqual(samples[("tandemd_rooms",)], 7)
        self.assertEqual(samples[("tandemd_members",)], 9)

    def test_histogram(self):
        for seconds in (0.0005, 0.0006, 0.2, 99):
            self.metrics.db_run.observe(seconds, "write")
        samples = self.samples()
        buckets = {
            bound: samples[("tandemd_db_transaction_seconds_bucket", bound, "write")] for bound in ("0.0005", "0.001")
        }
        self.assertEqual(buckets, {"0.0005": 1, "0.001": 2})
        self.assertEqual(samples[("tandemd_db_transaction_seconds_bucket", "10.0", "write")], 3)
        self.assertEqual(samples[("tandemd_db_transaction_seconds_bucket", "+Inf", "write")], 4)
        self.assertEqual(samples[("tandemd_db_transaction_seconds_count", "write")], 4)
        self.assertAlmostEqual(samples[("tandemd_db_transaction_seconds_sum", "write")], 99.2011)

    def test_names(self):
        self.metrics.refused["x"] += 1
        names = {name for name, *_ in self.samples()}
        self.assertFalse([name for name in names if name.endswith("_created")])
        self.assertFalse([name for name in names if not name.startswith(("tandemd_", "process_", "python_"))])
        self.assertEqual(len({instrument.name for instrument in self.metrics._all}), len(self.metrics._all))
        self.assertIn(("tandemd_info", "n1", "1.2.3"), self.samples())

    def test_one_that_cannot_be_read_does_not_hide_the_others(self):
        self.metrics.rooms.read = lambda: 1 // 0
        self.metrics.members.value = 2
        samples = self.samples()
        self.assertNotIn(("tandemd_rooms",), samples)
        self.assertEqual(samples[("tandemd_members",)], 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_two_nodes_in_one_process(self):
        other = Metrics("1", "n2")
        other.deliveries.value += 5
        self.assertEqual(self.samples()[("tandemd_deliveries_total",)], 0)

    def test_labels_are_escaped(self):
        counts = LabeledCounter("tandemd_x_total", "X", "label")
        counts['a"\n\\'] += 1
        self.metrics._all.append(counts)
        self.assertEqual(self.samples()[("tandemd_x_total", 'a"\n\\')], 1)

    def test_every_instrument_is_rendered(self):
        for instrument in self.metrics._all:
            if isinstance(instrument, LabeledCounter):
                instrument["x"] += 1
            elif isinstance(instrument, Histogram):
                instrument.observe(1, "x" if instrument.label else "")
        names = {name for name, *_ in self.samples()}
        for instrument in self.metrics._all:
            name = instrument.name + ("_bucket" if isinstance(instrument, Histogram) else "")
            self.assertIn(name, names)


class Helpers(SynchronousTestCase):
    def test_reactor_lag(self):
        clock, lag = Clock(), Histogram("tandemd_x", "X", bounds=(0.1, 1.0))
        service = ReactorLag(clock, lag, interval=0.5)
        service.startService()
        clock.advance(0.5)
        clock.advance(0.8)
        clock.advance(0.4)
        clock.advance(0.1)
        service.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
        (series,) = lag._series.values()
        self.assertEqual(series[:3], [2, 1, 0])
        self.assertAlmostEqual(series[3], 0.3)

    def test_gc_pause(self):
        times = iter([1.0, 1.25])
        pause = Histogram("tandemd_x", "X", "generation")
        service = GcPause(lambda: next(times), pause)
        before = list(gc.callbacks)
        gc.disable()
        self.addCleanup(gc.enable)
        service.startService()
        gc.collect(2)
        service.stopService()
        self.assertEqual(gc.callbacks, before)
        self.assertEqual(pause._series["2"][-1], 0.25)
