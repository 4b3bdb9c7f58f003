"""The services that measure the process."""

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.runtime_metrics import GcPause, ReactorLag
from tandemd.metrics import Histogram


class RuntimeMetrics(SynchronousTestCase):
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
