"""The hold: a room that waits for its host's player, and everything that ends the wait."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import CorrectPlayback, HoldPlayback, StopUnwatched

from ..support.rules_fixture import OTHER_TITLE, TITLE, World, told


class HoldTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest", watching=True)
        self.world.do("host", m.UrlChange(url=TITLE))
        self.world.play("host", 100.0)
        self.world.advance(5)
        self.hold = self.world.do("host", HoldPlayback(103.0))

    def film(self) -> tuple[float, bool, bool]:
        playback = self.world.room.playback
        return playback.position_at(self.world.now), playback.playing, playback.held

    def test_the_room_stands_where_the_player_stands(self) -> None:
        self.world.advance(10)
        self.assertEqual(self.film(), (103.0, False, True))

    def test_no_logged_message_tells_of_it(self) -> None:
        """The host would receive it, too, and pause in earnest."""
        self.assertEqual(self.hold.messages, ())
        self.assertTrue(self.hold.details and self.hold.details["held"])

    def test_it_is_held_once(self) -> None:
        self.assertFalse(self.world.do("host", HoldPlayback(103.0)).commits)

    def test_it_goes_on_with_the_player(self) -> None:
        self.world.advance(10)
        self.assertEqual(self.world.do("host", CorrectPlayback(103.8, True)).messages, ())
        self.assertEqual(self.film(), (103.8, True, False))

    def test_a_player_that_is_paused_makes_it_a_pause(self) -> None:
        self.world.do("host", CorrectPlayback(103.0, False))
        self.assertEqual(self.film(), (103.0, False, False))

    def test_controls_end_it(self) -> None:
        self.world.pause("host", 103.0)
        self.assertEqual(self.film(), (103.0, False, False))

    def test_a_seek_means_the_film_to_go_on(self) -> None:
        self.world.seek("host", 50.0, playing=False)
        for user in ("host", "guest"):
            self.world.ready(user, 50.0)
        self.assertEqual(self.film(), (50.0, True, False))

    def test_a_new_title_ends_it(self) -> None:
        self.world.do("host", m.UrlChange(url=OTHER_TITLE))
        self.assertEqual(self.film(), (0.0, False, False))

    def test_it_ends_with_what_it_waits_for(self) -> None:
        """Nothing of the host can move again: the film goes on for the others, and they are told."""
        ends = {
            "lost": lambda: self.world.lose("host"),
            "left": lambda: self.world.leave("host"),
            "reloaded": lambda: self.world.join("host", again=True),
            "not watching": lambda: self.world.watch("host", False),
            "no host": lambda: self.world.do("host", m.TransferHost(target_user_id="guest")),
        }
        for what, end in ends.items():
            self.setUp()
            self.world.advance(2)
            decision = end()
            self.assertEqual(self.film(), (103.0, True, False), what)
            self.assertEqual(told(decision)[-1], "PLAY_PAUSE", what)
            parts = [message.part for message in decision.messages]
            count = len(parts)
            self.assertEqual(parts, [(i + 1, count) for i in range(count)] if count > 1 else [None], what)

    def test_it_ends_with_an_elected_host(self) -> None:
        """A newcomer with the role "host" replaces a host with the role "guest"."""
        self.world.do("host", CorrectPlayback(103.0, True))
        self.world.join("guest", again=True, role="guest")
        self.world.do("host", m.TransferHost(target_user_id="guest"))
        self.world.do("guest", HoldPlayback(103.0))
        decision = self.world.join("boss", role="host")
        self.assertEqual(self.world.host, "boss")
        self.assertEqual(self.film(), (103.0, True, False))
        self.assertEqual(told(decision)[-1], "PLAY_PAUSE")

    def test_it_does_not_end_with_a_guest(self) -> None:
        self.world.lose("guest")
        self.world.join("guest")
        self.world.watch("guest", False)
        self.assertEqual(self.film(), (103.0, False, True))


class UnwatchedTests(SynchronousTestCase):
    """F22: the timeline stands still while no member watches."""

    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest")
        self.world.do("host", m.UrlChange(url=TITLE))
        self.world.play("host", 100.0)
        self.world.advance(5)

    def stop(self) -> bool:
        return self.world.do("", StopUnwatched()).commits

    def test_it_stands_and_goes_on(self) -> None:
        self.assertTrue(self.stop())
        self.assertFalse(self.stop(), "once")
        self.world.advance(100)
        self.assertEqual(self.world.position, 105.0)
        self.world.watch("guest")
        self.world.advance(3)
        self.assertEqual(self.world.position, 108.0)

    def test_it_does_not_stand_while_a_member_watches(self) -> None:
        self.world.watch("guest")
        self.assertFalse(self.stop())

    def test_controls_count(self) -> None:
        self.stop()
        self.world.play("host")
        self.world.advance(3)
        self.assertEqual(self.world.position, 108.0)

    def test_a_paused_film_stands_already(self) -> None:
        self.world.pause("host", 105.0)
        self.assertFalse(self.stop())


class StaleTests(SynchronousTestCase):
    """F4: a control meant for the title before."""

    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest")
        self.world.do("host", m.ToggleGuestControl(enabled=True))
        self.world.do("host", m.UrlChange(url=TITLE))
        self.world.play("host", 5000.0)
        self.before = self.world.room.seq
        self.world.do("host", m.UrlChange(url=OTHER_TITLE))

    def test_controls_of_the_old_title_are_refused(self) -> None:
        for body in (
            m.PlayPause(control="pause", current_time=5003.0, seq=self.before),
            m.Seek(current_time=5100.0, is_playing=True, seq=self.before),
            m.UrlChange(url=TITLE, seq=self.before),
        ):
            self.assertEqual(self.world.refused("guest", body), "stale")
        self.assertEqual(self.world.position, 0.0)

    def test_controls_of_the_present_title_count(self) -> None:
        self.world.do("guest", m.PlayPause(control="play", current_time=3.0, seq=self.before + 1))
        self.assertEqual(self.world.position, 3.0)

    def test_its_chooser_need_not_wait_for_it(self) -> None:
        self.world.do("host", m.PlayPause(control="play", current_time=0.0, seq=self.before))
        self.assertTrue(self.world.room.playback.playing)

    def test_the_same_title_again_is_not_stale(self) -> None:
        self.world.do("guest", m.UrlChange(url=OTHER_TITLE, seq=self.before))
        self.assertEqual(self.world.room.playback.url, OTHER_TITLE)

    def test_who_may_not_control_is_told_that_first(self) -> None:
        self.world.do("host", m.ToggleGuestControl(enabled=False))
        body = m.PlayPause(control="pause", current_time=5003.0, seq=self.before)
        self.assertEqual(self.world.refused("guest", body), "forbidden")

    def test_a_ready_for_the_old_title_opens_no_gate(self) -> None:
        self.world.watch("guest")
        self.world.seek("host", 5000.0)
        self.world.do("guest", m.Ready(target_time=5000.0, seq=self.before))
        self.assertIsNotNone(self.world.room.gate)
        self.world.do("guest", m.Ready(target_time=5000.0, seq=self.world.room.seq))
        self.assertIsNone(self.world.room.gate)
