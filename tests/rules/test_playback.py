"""Positions of a timeline."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd.rules.playback import Playback, drift

times = st.floats(0, 2e9)
positions = st.floats(0, 1e7)


class PlaybackTests(SynchronousTestCase):
    def test_it_moves_while_it_plays(self) -> None:
        self.assertEqual(Playback(position=10.0, at=100.0, playing=True).position_at(105.0), 15.0)
        self.assertEqual(Playback(position=10.0, at=100.0, playing=False).position_at(105.0), 10.0)
        self.assertEqual(Playback(position=10.0, at=100.0, playing=True, rate=1.5).position_at(102.0), 13.0)

    def test_a_clock_that_steps_back_does_not_move_it_back(self) -> None:
        self.assertEqual(Playback(position=10.0, at=100.0, playing=True).position_at(99.0), 10.0)

    def test_a_control_is_remembered_and_a_correction_is_not(self) -> None:
        playback = Playback("u").controlled(5.0, True, 100.0)
        self.assertEqual((playback.control_at, playback.known, playback.url), (100.0, True, "u"))
        playback = playback.corrected(9.0, False, 103.0)
        self.assertEqual((playback.control_at, playback.position, playback.at), (100.0, 9.0, 103.0))

    def test_a_new_title_is_at_its_beginning_and_known_to_no_member(self) -> None:
        playback = Playback("u", 50.0, 1.0, True, 2.0, True, 1.0).titled("v", 9.0, seq=4, by="ann")
        self.assertEqual(playback, Playback("v", 0.0, 9.0, False, 1.0, False, 9.0, 9.0, 4, "ann", 66.0, 9.0))

    def test_a_room_without_watchers_stands_still(self) -> None:
        playback = Playback("u", 50.0, 100.0, True, known=True).stopped_unwatched(105.0)
        self.assertEqual((playback.playing, playback.position_at(200.0)), (True, 55.0))
        playback = playback.watched_again(200.0)
        self.assertEqual((playback.position_at(200.0), playback.position_at(201.0)), (55.0, 56.0))

    def test_a_hold_ends_with_whatever_moves_the_room(self) -> None:
        held = Playback("u", 50.0, 100.0, True, known=True).held_at(49.0, 101.0)
        self.assertEqual((held.held, held.playing, held.position_at(200.0)), (True, False, 49.0))
        for after in (held.controlled(1.0, True, 102.0), held.corrected(1.0, True, 102.0), held.titled("v", 102.0)):
            self.assertFalse(after.held)

    def test_drift_is_positive_for_who_is_ahead(self) -> None:
        playback = Playback(position=10.0, at=100.0, playing=True)
        self.assertEqual((drift(playback, 16.0, 105.0), drift(playback, 14.0, 105.0)), (1.0, -1.0))

    @given(positions, times, st.booleans(), times)
    def test_a_control_is_where_it_says_at_that_moment(
        self, position: float, at: float, playing: bool, then: float
    ) -> None:
        playback = Playback().controlled(position, playing, at)
        self.assertEqual(playback.position_at(at), position)
        self.assertGreaterEqual(playback.position_at(then), position)
        self.assertEqual(drift(playback, playback.position_at(then), then), 0.0)
