"""Server time: monotonic time that approaches a reference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd.util.server_time import SLEW, ServerTime

ROUNDING = 2e-6
"""Seconds that are nothing but rounding of numbers as large as the seconds since 1970."""


class ServerTimeTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.time = ServerTime(self.clock)

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

    @property
    def reference_ahead(self) -> float:
        return self.time.reference() - self.clock.seconds()

    def test_before_the_first_sample_it_is_the_clock(self) -> None:
        for seconds in (0.0, 0.1, 3600.7):
            self.clock.advance(seconds)
            self.assertEqual(self.time.now(), self.clock.seconds())

    def test_the_first_sample_counts_at_once(self) -> None:
        for ahead in (1_700_000_000.0, -500.0):
            self.time = ServerTime(self.clock)
            self.exchange(ahead)
            self.assertAlmostEqual(self.ahead, ahead, places=5)
            self.assertAlmostEqual(self.reference_ahead, ahead, places=5)

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
        self.exchange(10.0, 0.001, 0.001)
        began = self.clock.seconds()
        for _ in range(100):
            self.clock.advance(0.2)
            self.exchange(10.0, 0.001, 0.001)
            self.assertAlmostEqual(self.ahead, SLEW * (self.clock.seconds() - began), places=5)

    def test_it_gets_there_both_ways(self) -> None:
        for wanted in (1.0, -1.0):
            for _ in range(30):
                self.clock.advance(2.0)
                self.exchange(wanted)
            self.assertAlmostEqual(self.ahead, wanted, places=5)

    def test_it_stops_where_the_reference_is(self) -> None:
        self.exchange(0.0)
        self.exchange(1.0)
        self.clock.advance(3600.0)  # and no sample comes any more
        self.assertAlmostEqual(self.ahead, 1.0)

    def test_a_reference_that_is_set_is_believed_at_once_and_approached_slowly(self) -> None:
        for set_by in (3600.0, -600.0):
            self.time = ServerTime(self.clock)
            for _ in range(20):
                self.exchange(7.0, 0.0001, 0.0001)
                self.clock.advance(2.0)
            self.exchange(7.0 + set_by, 0.1, 0.0)  # slower than all before
            self.assertLess(abs(self.reference_ahead - (7.0 + set_by)), 0.06)
            self.assertAlmostEqual(self.ahead, 7.0)
            self.clock.advance(10.0)
            self.assertAlmostEqual(self.ahead, 7.0 + (0.5 if set_by > 0 else -0.5))

    def test_look(self) -> None:
        self.time.look(lambda: 5000.0)
        self.assertEqual(self.time.now(), 5000.0)
        self.clock.advance(2.0)
        self.time.look(lambda: 1402.0)
        self.assertEqual((self.time.now(), self.time.reference()), (5002.0, 1402.0))

    def test_it_may_begin_ahead_of_the_reference(self) -> None:
        self.time.look(lambda: 5000.0)
        self.time.begin(5001.0)
        self.assertEqual(self.time.now(), 5001.0)
        self.clock.advance(10.0)
        self.assertAlmostEqual(self.time.now(), 5010.5)
        self.clock.advance(20.0)
        self.assertAlmostEqual(self.time.now(), 5030.0)

    @given(
        st.lists(
            st.tuples(
                st.floats(0.0, 100.0),  # until the next sample
                st.floats(-5000.0, 5000.0),  # by which the reference is set before it
                st.floats(0.0, 1.0),  # the way there
                st.floats(0.0, 1.0),  # and back
            ),
            max_size=30,
        ),
        st.sampled_from([0.0, 1_700_000_000.0]),
    )
    def test_it_never_steps_and_never_decreases(
        self, steps: list[tuple[float, float, float, float]], ahead: float
    ) -> None:
        self.setUp()
        self.exchange(ahead)
        last, here = self.time.now(), self.clock.seconds()
        for pause, set_by, there, back in steps:
            ahead += set_by
            for _ in range(2):
                now, elapsed = self.time.now(), self.clock.seconds() - here
                self.assertGreaterEqual(now, last)
                self.assertLessEqual(abs(now - last - elapsed), SLEW * elapsed + ROUNDING)
                last, here = now, self.clock.seconds()
                self.clock.advance(pause / 2)
            self.exchange(ahead, there, back)
