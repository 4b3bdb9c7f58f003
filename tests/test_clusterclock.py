"""The estimate of the cluster's clock."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd.roomstore.clusterclock import SLEW, ClusterClock


class ClusterClockTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.time = ClusterClock(self.clock)

    def exchange(self, ahead: float, there: float = 0.01, back: float = 0.01) -> None:
        """Ask a server whose clock is ahead of ours by some seconds; the way there and back takes time."""
        asked = self.clock.seconds()
        self.clock.advance(there)
        theirs = self.clock.seconds() + ahead
        self.clock.advance(back)
        self.time.sample(asked, self.clock.seconds(), theirs)

    @property
    def ahead(self) -> float:
        return self.time.now() - self.clock.seconds()

    def test_the_first_sample_counts_at_once(self) -> None:
        self.exchange(500.0)
        self.assertAlmostEqual(self.ahead, 500.0)

    def test_the_fastest_exchange_tells_most(self) -> None:
        self.exchange(5.0, 0.001, 0.001)
        for _ in range(10):
            self.exchange(5.0, 0.4, 0.0)
        self.assertAlmostEqual(self.ahead, 5.0)

    def test_an_error_is_at_most_half_the_exchange(self) -> None:
        self.exchange(5.0, 0.4, 0.0)
        self.assertAlmostEqual(self.ahead, 5.2)

    def test_it_moves_slowly(self) -> None:
        self.exchange(0.0)
        for _ in range(20):
            self.clock.advance(2.0)
            before = self.time.now(), self.clock.seconds()
            self.exchange(10.0, 0.001, 0.001)
            moved = (self.time.now() - before[0]) - (self.clock.seconds() - before[1])
            self.assertLessEqual(moved, SLEW * 2.01)
        self.assertGreater(self.ahead, 1.5)
        self.assertLess(self.ahead, 2.2)

    def test_it_gets_there_both_ways(self) -> None:
        for wanted in (1.0, -1.0):
            for _ in range(60):
                self.clock.advance(2.0)
                self.exchange(wanted)
            self.assertAlmostEqual(self.ahead, wanted, places=5)

    def test_never_backwards(self) -> None:
        self.exchange(100.0)
        last = self.time.now()
        for _ in range(30):
            self.clock.advance(0.5)
            self.exchange(-100.0, 0.0, 0.0)
            self.assertGreater(self.time.now(), last)
            last = self.time.now()

    def test_another_server_counts_at_once(self) -> None:
        self.exchange(100.0)
        self.time.anchor()
        self.exchange(-50.0, 0.2, 0.2)
        self.assertAlmostEqual(self.ahead, -50.0)
