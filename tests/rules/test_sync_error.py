"""The errors of players."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd.rules.playback import Playback
from tandemd.rules.sync_error import MAX_ERROR_SECONDS, has_error, is_settling, read_at, sync_error

NOW = 1_700_000_000.0


class ReadTest(SynchronousTestCase):
    def test_the_client_says_when(self) -> None:
        self.assertEqual(read_at((NOW - 0.3) * 1000, NOW, 100), NOW - 0.3)

    def test_otherwise_the_delay_counts(self) -> None:
        self.assertEqual(read_at(None, NOW, 150), NOW - 0.15)

    def test_a_time_of_another_century_is_none(self) -> None:
        for at in (0.0, -1e300, 1e300, (NOW + 60) * 1000, (NOW - 11) * 1000, -62135596800000.0):
            self.assertEqual(read_at(at, NOW, 150), NOW - 0.15)

    @given(st.none() | st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 500))
    def test_any_time(self, at: float | None, delay: int) -> None:
        self.assertLessEqual(abs(read_at(at, NOW, delay) - NOW), 10.0)


class ErrorTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.playback = Playback("u", 100.0, NOW, True, 2.0, True, NOW)

    def test_ahead_and_behind(self) -> None:
        self.assertAlmostEqual(sync_error(self.playback, 121.0, NOW + 10.0) or 0.0, 1.0)
        self.assertAlmostEqual(sync_error(self.playback, 119.0, NOW + 10.0) or 0.0, -1.0)

    def test_positions_from_before_a_control_or_a_start_are_none(self) -> None:
        self.assertIsNone(sync_error(self.playback, 100.0, NOW - 0.001))

    def test_a_correction_since_the_report(self) -> None:
        """The room has followed its host: the report is compared with where the room should have been."""
        corrected = self.playback.corrected(110.0, True, NOW + 5.0)
        self.assertAlmostEqual(sync_error(corrected, 109.0, NOW + 4.5) or 0.0, 0.0)

    def test_only_a_film_that_moves(self) -> None:
        self.assertTrue(has_error(self.playback))
        self.assertFalse(has_error(self.playback.controlled(1.0, False, NOW)))
        self.assertFalse(has_error(self.playback.stopped_unwatched(NOW)))
        self.assertFalse(has_error(Playback("u")))

    def test_phases(self) -> None:
        self.assertTrue(is_settling(self.playback, NOW + 1.9))
        self.assertFalse(is_settling(self.playback, NOW + 2.0))

    @given(st.floats(0, 2**43), st.floats(-10, 1e6))
    def test_it_is_bounded(self, position: float, later: float) -> None:
        error = sync_error(self.playback, position, NOW + later)
        self.assertTrue(error is None or abs(error) <= MAX_ERROR_SECONDS)
