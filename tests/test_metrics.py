"""The metrics: the rendered text of counted events."""

import platform

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.metrics import NodeMetrics
from tandemd.metrics import Histogram, LabeledCounter, MetricGroup, MetricsRegistry


class MetricsTestCase(SynchronousTestCase):
    def setUp(self):
        self.metrics = NodeMetrics("1.2.3", "n1", received=["PING", "JOIN"])

    def samples(self):
        """Return the samples of a scrape: value by name and labels."""
        found = {}
        for family in text_string_to_metric_families(self.metrics.render().decode()):
            for sample in family.samples:
                found[(sample.name, *sample.labels.values())] = sample.value
        return found

    def instruments(self):
        """Return the instruments of all groups; a shared one once."""
        found = [instrument for group in self.metrics.groups() for instrument in group.instruments()]
        return list({id(instrument): instrument for instrument in found}.values())

    def test_counting(self):
        metrics = self.metrics
        metrics.rooms.deliveries.value += 3
        metrics.rooms.deliveries.inc()
        metrics.connections.received["PING"] += 2
        metrics.rooms.refused["forbidden"] += 1
        metrics.rooms.rooms.value = 7
        metrics.rooms.members.read = lambda: 9
        samples = self.samples()
        self.assertEqual(samples[("tandemd_deliveries_total",)], 4)
        self.assertEqual(samples[("tandemd_messages_received_total", "PING")], 2)
        self.assertEqual(samples[("tandemd_messages_received_total", "JOIN")], 0)
        self.assertEqual(samples[("tandemd_messages_refused_total", "forbidden")], 1)
        self.assertEqual(samples[("tandemd_rooms",)], 7)
        self.assertEqual(samples[("tandemd_members",)], 9)

    def test_histogram(self):
        for seconds in (0.0005, 0.0006, 0.2, 99):
            self.metrics.archive.db_run.observe(seconds, "write")
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
        self.metrics.rooms.refused["x"] += 1
        names = {name for name, *_ in self.samples()}
        self.assertFalse([name for name in names if name.endswith("_created")])
        self.assertFalse([name for name in names if not name.startswith(("tandemd_", "process_", "python_"))])
        instruments = self.instruments()
        self.assertEqual(len({instrument.name for instrument in instruments}), len(instruments))
        self.assertIn(("tandemd_build_info", "n1", platform.python_version(), "1.2.3"), self.samples())

    def test_one_that_cannot_be_read_does_not_hide_the_others(self):
        self.metrics.rooms.rooms.read = lambda: 1 // 0
        self.metrics.rooms.members.value = 2
        samples = self.samples()
        self.assertNotIn(("tandemd_rooms",), samples)
        self.assertEqual(samples[("tandemd_members",)], 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_two_nodes_in_one_process(self):
        other = NodeMetrics("1", "n2")
        other.rooms.deliveries.value += 5
        self.assertEqual(self.samples()[("tandemd_deliveries_total",)], 0)

    def test_labels_are_escaped(self):
        class Group(MetricGroup):
            def __init__(self):
                self.counts = LabeledCounter("tandemd_x_total", "X", "label")

        group, registry = Group(), MetricsRegistry("1", "n")
        group.counts['a"\n\\'] += 1
        registry.register(group)
        (family,) = (
            family
            for family in text_string_to_metric_families(registry.render().decode())
            if family.name == "tandemd_x"
        )
        self.assertEqual([(sample.labels, sample.value) for sample in family.samples], [({"label": 'a"\n\\'}, 1)])

    def test_a_shared_instrument_is_rendered_once(self):
        self.metrics.rooms.refused["x"] += 1
        self.assertIs(self.metrics.rooms.refused, self.metrics.connections.refused)
        self.assertEqual(self.metrics.render().count(b'tandemd_messages_refused_total{code="x"}'), 1)

    def test_every_instrument_is_rendered(self):
        for instrument in self.instruments():
            if isinstance(instrument, LabeledCounter):
                instrument["x"] += 1
            elif isinstance(instrument, Histogram):
                instrument.observe(1, "x" if instrument.label else "")
        names = {name for name, *_ in self.samples()}
        for instrument in self.instruments():
            name = instrument.name + ("_bucket" if isinstance(instrument, Histogram) else "")
            self.assertIn(name, names)
