"""The playback rate of a room."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import CorrectPlayback, HoldPlayback
from tandemd.rules.join import state_of
from tandemd.rules.playback import Playback
from tandemd.rules.playback_authority import is_stalled

from ..support.rules_fixture import OTHER_TITLE, TITLE, World, told

rates = st.floats(0.25, 4.0)


class TimelineTest(SynchronousTestCase):
    @given(st.floats(0, 1e6), st.booleans(), st.lists(st.tuples(st.floats(0, 100), rates), max_size=8))
    def test_changes_keep_the_position(
        self, position: float, playing: bool, changes: list[tuple[float, float]]
    ) -> None:
        now, expected = 1_700_000_000.0, position
        playback = Playback("u", position, now, playing, known=True)
        for seconds, rate in changes:
            expected += seconds * playback.rate * playing
            now += seconds
            playback = playback.rated(rate, now)
            self.assertAlmostEqual(playback.position_at(now), expected, 2)
            self.assertEqual((playback.rate, playback.playing), (rate, playing))

    def test_a_timeline_that_begins_later_keeps_its_start(self) -> None:
        playback = Playback("u").controlled(10.0, True, 100.5).rated(2.0, 100.0)
        self.assertEqual((playback.at, playback.position_at(100.5), playback.position_at(101.5)), (100.5, 10.0, 12.0))

    def test_an_old_player_is_not_stalled_in_a_faster_room(self) -> None:
        self.assertFalse(is_stalled(3.0, 3.0, 4.0))
        self.assertTrue(is_stalled(0.3, 3.0, 4.0))
        self.assertFalse(is_stalled(1.5, 3.0, 0.5))
        self.assertTrue(is_stalled(0.3, 3.0, 0.5))


class RateTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("ann", follows=True)
        self.world.join("bob", follows=True)
        self.world.do("ann", m.UrlChange(url=TITLE))
        self.world.play("ann", 100.0)

    def rate(self, rate: float, user: str = "ann") -> m.RateChanged:
        (message,) = self.world.do(user, m.SetRate(rate=rate)).messages
        assert isinstance(message, m.RateChanged)
        return message

    def test_all_are_told(self) -> None:
        self.world.advance(10.0)
        message = self.rate(1.5)
        self.assertEqual(
            (message.user_id, message.rate, message.current_time, message.at),
            ("ann", 1.5, 110.0, self.world.now * 1000),
        )
        self.world.advance(10.0)
        self.assertEqual(self.world.position, 125.0)

    def test_the_same_rate_again_changes_nothing(self) -> None:
        self.rate(2.0)
        self.assertFalse(self.world.do("ann", m.SetRate(rate=2.0)).commits)

    def test_pause_and_seek_keep_it(self) -> None:
        self.rate(2.0)
        self.assertEqual(self.world.pause("ann").messages[0].rate, 2.0)
        self.assertEqual(told(self.world.seek("ann", 500.0)), ["SEEK_PAUSE", "PLAY_PAUSE"])
        self.world.advance(10.0)
        self.assertEqual(self.world.position, 520.0)
        self.assertEqual(state_of(self.world.room, self.world.now, ()).rate, 2.0)

    def test_a_new_title_has_rate_1(self) -> None:
        self.rate(2.0)
        self.world.do("ann", m.UrlChange(url=TITLE))
        self.assertEqual(self.world.room.playback.rate, 2.0)
        self.world.do("ann", m.UrlChange(url=OTHER_TITLE))
        self.assertEqual(self.world.room.playback.rate, 1.0)

    def test_in_a_paused_room(self) -> None:
        self.world.pause("ann", 100.0)
        self.rate(2.0)
        self.world.advance(10.0)
        self.assertEqual((self.world.position, self.world.room.playback.playing), (100.0, False))

    def test_during_a_seek(self) -> None:
        self.world.watch("bob")
        self.world.seek("ann", 500.0)
        self.assertEqual(self.rate(2.0).current_time, 500.0)
        self.world.ready("bob", 500.0)
        self.world.advance(1.0)
        self.assertEqual(self.world.position, 502.0)

    def test_only_who_may_control(self) -> None:
        self.assertEqual(self.world.refused("bob", m.SetRate(rate=2.0)), "forbidden")
        self.world.do("ann", m.DelegateControl(target_user_id="bob", enabled=True))
        self.assertEqual(self.rate(2.0, "bob").user_id, "bob")

    def test_not_for_another_title(self) -> None:
        seq = self.world.room.seq
        self.world.do("ann", m.DelegateControl(target_user_id="bob", enabled=True))
        self.world.do("ann", m.UrlChange(url=OTHER_TITLE))
        self.assertEqual(self.world.refused("bob", m.SetRate(rate=2.0, seq=seq)), "stale")

    def test_wrong_rates_are_refused_by_name(self) -> None:
        for text in ("0", "0.2", "4.01", "100", "-1", "1e400", "NaN", '"2"', "null", "true"):
            frame = b'{"type":"SET_RATE","rate":%s}' % text.encode()
            try:
                m.decode(frame)
            except msgspec.DecodeError as error:
                answer = m.recover(frame, error)
                assert isinstance(answer, m.Error), text
                self.assertEqual(answer.code, "bad_message")
                if text not in ("NaN", "1e400"):
                    self.assertIn("`rate`", answer.message)
            else:
                self.fail(text)


class OldClientsTest(SynchronousTestCase):
    """The old extension knows no rates."""

    def setUp(self) -> None:
        self.world = World()
        self.world.join("old")
        self.world.join("bob", follows=True)
        self.world.do("old", m.UrlChange(url=TITLE))
        self.world.do("old", m.DelegateControl(target_user_id="bob", enabled=True))
        self.world.play("old", 100.0)

    def test_the_room_does_not_follow_an_old_host_at_another_rate(self) -> None:
        self.world.do("bob", m.SetRate(rate=2.0))
        self.world.advance(10.0)
        for body in (CorrectPlayback(110.0, True), HoldPlayback(110.0)):
            self.assertFalse(self.world.do("old", body).commits)
        self.world.do("bob", m.SetRate(rate=1.0))
        self.assertTrue(self.world.do("old", CorrectPlayback(110.0, True)).commits)

    def test_it_ends_with_the_last_client_that_knows_it(self) -> None:
        """The others could not end it."""
        self.world.do("bob", m.SetRate(rate=2.0))
        self.world.advance(10.0)
        decision = self.world.leave("bob")
        self.assertEqual(told(decision), ["LEAVE", "USER_LEFT", "RATE_CHANGED"])
        self.assertEqual([message.part for message in decision.messages], [(1, 3), (2, 3), (3, 3)])
        self.assertEqual((self.world.room.playback.rate, self.world.position), (1.0, 120.0))

    def test_another_rate_ends_a_hold(self) -> None:
        """The host's player would never be followed back."""
        self.world.do("old", HoldPlayback(101.0))
        self.assertTrue(self.world.room.playback.held)
        decision = self.world.do("bob", m.SetRate(rate=2.0))
        self.assertEqual(told(decision), ["RATE_CHANGED", "PLAY_PAUSE"])
        self.world.advance(1.0)
        self.assertEqual((self.world.room.playback.held, self.world.position), (False, 103.0))
