"""Examples of the rules: playback, the ready gate, permissions, command ids."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import CorrectPlayback, Due, HoldPlayback
from tandemd.rules.state import MAX_RECENT_COMMANDS, MEMBER

from ..support.rules_fixture import OTHER_TITLE, START, TITLE, World, make_rules, told, types


class PlaybackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest")

    def test_play_moves_the_timeline_and_tells_all_members(self) -> None:
        decision = self.world.play("host", 100.0)
        (message,) = decision.messages
        self.assertEqual(
            message,
            m.PlayPauseEvent(
                seq=self.world.room.seq,
                prev=2,
                user_id="host",
                control="play",
                current_time=100.0,
                timestamp=int(START * 1000),
            ),
        )
        self.assertEqual(decision.skip, "")
        self.world.advance(10)
        self.assertAlmostEqual(self.world.position, 110.0)

    def test_pause_stops_it(self) -> None:
        self.world.play("host", 100.0)
        self.world.advance(10)
        self.world.pause("host", 110.5)
        self.world.advance(10)
        self.assertEqual(self.world.position, 110.5)

    def test_without_a_position_the_room_stays_where_it_is(self) -> None:
        """A controller that leaves the film's page sends a pause without position."""
        self.world.play("host", 100.0)
        self.world.advance(10)
        decision = self.world.pause("host")
        self.assertAlmostEqual(decision.messages[0].current_time, 110.0)

    def test_the_repetition_by_an_old_client_changes_nothing_to_speak_of(self) -> None:
        """X2: the extension repeats each play after 3 s, with the position at that time."""
        self.world.play("host", 100.0)
        self.world.advance(3)
        self.world.play("host", 103.0)
        self.assertAlmostEqual(self.world.position, 103.0)
        self.assertTrue(self.world.room.playback.playing)

    def test_controls_keep_the_order_in_which_they_came(self) -> None:
        """B13: PLAY and PAUSE arrived in reverse order."""
        self.world.play("host", 1.0)
        self.world.pause("host", 2.0)
        self.assertEqual([c.messages[0].control for c in self.world.log[-2:]], ["play", "pause"])
        self.assertFalse(self.world.room.playback.playing)

    def test_a_title_starts_at_its_beginning(self) -> None:
        """B22: the server synchronised a new episode to the position of the old one."""
        self.world.play("host", 100.0)
        decision = self.world.do("host", m.UrlChange(url=TITLE))
        self.assertEqual(told(decision), ["URL_CHANGE"])
        self.assertEqual((decision.messages[0].url, decision.messages[0].user_id), (TITLE, "host"))
        playback = self.world.room.playback
        self.assertEqual(
            (playback.url, playback.position, playback.playing, playback.known), (TITLE, 0.0, False, False)
        )

    def test_a_title_carries_no_position(self) -> None:
        """B22, X4: positions in URL_CHANGE are in a wrong unit, and receivers act on them."""
        decision = self.world.do("host", m.UrlChange(url=TITLE))
        self.assertNotIn(b"currentTime", m.encode(decision.messages[0]))

    def test_the_same_title_again_leaves_the_film_alone(self) -> None:
        """A page that reloads sends its title again."""
        self.world.do("host", m.UrlChange(url=TITLE))
        self.world.play("host", 100.0)
        before = self.world.room.playback
        self.world.do("host", m.UrlChange(url=TITLE))
        self.assertEqual(self.world.room.playback, before)

    def test_the_same_title_found_another_way_is_the_same_title(self) -> None:
        """X22: the extension keeps `trackId`, which differs by the way to a title, and reloads pages with another URL."""
        self.world.do("host", m.UrlChange(url=TITLE + "?trackId=14"))
        self.world.play("host", 100.0)
        before = self.world.room.playback
        decision = self.world.do("host", m.UrlChange(url=TITLE + "?trackId=15"))
        self.assertEqual(self.world.room.playback, before)
        self.assertEqual(decision.messages[0].url, TITLE + "?trackId=14")

    def test_a_foreign_title_is_refused(self) -> None:
        """B22: the server relayed `javascript:` and other hosts: an open redirect."""
        for url in (
            "javascript:alert(1)",
            "https://evil.example/watch/1",
            "",
            "//www.netflix.com",
            "https://[",
            "\x00",
        ):
            self.assertEqual(self.world.refused("host", m.UrlChange(url=url)), "bad_url", url)

    def test_broadcasts_have_no_time_of_the_sender(self) -> None:
        """B42, X14: the clocks of clients differ."""
        for decision in (self.world.play("host", 1.0), self.world.seek("host", 5.0)):
            for message in decision.messages:
                self.assertNotIn(b"eventTimestamp", m.encode(message))


class FollowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest")
        self.world.play("host", 100.0)

    def test_drift_is_corrected_without_a_word(self) -> None:
        decision = self.world.do("host", CorrectPlayback(105.0, True))
        self.assertEqual((decision.messages, decision.event), ((), ""))
        self.assertEqual(self.world.position, 105.0)

    def test_a_correction_is_no_control(self) -> None:
        at = self.world.room.playback.control_at
        self.world.advance(5)
        self.world.do("host", CorrectPlayback(105.5, True))
        self.assertEqual(self.world.room.playback.control_at, at)

    def test_another_play_state_is_told(self) -> None:
        """X21: heartbeats do not repair a wrong play state."""
        decision = self.world.do("host", CorrectPlayback(100.0, False))
        self.assertEqual(told(decision), ["PLAY_PAUSE"])
        self.assertEqual((decision.messages[0].control, decision.event), ("pause", "PLAY_PAUSE"))

    def test_only_the_host_is_followed(self) -> None:
        """B4: the heartbeat of any member moved the room."""
        self.assertFalse(self.world.do("guest", CorrectPlayback(5.0, True)).commits)

    def test_only_one_connection_speaks_for_the_host(self) -> None:
        self.assertFalse(self.world.decide("host", CorrectPlayback(5.0, True), conn="n/boot/99").commits)

    def test_not_while_a_seek_waits(self) -> None:
        """B16: positions of the host broke the closed gate."""
        self.world.watch("guest")
        self.world.seek("host", 200.0)
        self.assertFalse(self.world.do("host", CorrectPlayback(100.0, True)).commits)
        self.assertEqual(self.world.position, 200.0)

    def test_an_unknown_position_becomes_known(self) -> None:
        self.world.do("host", m.UrlChange(url=TITLE))
        decision = self.world.do("host", CorrectPlayback(7.0, True))
        self.assertEqual(told(decision), ["PLAY_PAUSE"])
        self.assertTrue(self.world.room.playback.known)

    def test_a_client_that_follows_is_not_followed(self) -> None:
        self.world.join("host", again=True, follows=True)
        for body in (CorrectPlayback(5.0, True), HoldPlayback(5.0)):
            self.assertFalse(self.world.do("host", body).commits)
        self.world.join("host", again=True)
        self.assertTrue(self.world.do("host", CorrectPlayback(5.0, True)).commits)

    def test_a_title_chosen_by_a_client_that_follows_is_at_its_beginning(self) -> None:
        self.world.join("host", again=True, follows=True)
        self.world.do("host", m.UrlChange(url=TITLE))
        playback = self.world.room.playback
        self.assertEqual((playback.known, playback.playing, playback.position), (True, False, 0.0))

    def test_a_title_under_a_host_that_follows_is_at_its_beginning(self) -> None:
        self.world.join("host", again=True, follows=True)
        self.world.do("host", m.ToggleGuestControl(enabled=True))
        self.world.do("guest", m.UrlChange(url=TITLE))
        self.assertTrue(self.world.room.playback.known)

    def test_a_new_host_that_follows_makes_an_unknown_title_known(self) -> None:
        self.world.join("guest", again=True, follows=True)
        self.world.do("host", m.UrlChange(url=TITLE))
        self.world.do("host", m.TransferHost(target_user_id="guest"))
        self.assertFalse(self.world.room.playback.known)
        self.world.do("guest", CorrectPlayback(700.0, True))
        playback = self.world.room.playback
        self.assertEqual((playback.known, playback.playing, playback.position), (True, False, 0.0))
        self.assertFalse(self.world.do("guest", CorrectPlayback(700.0, True)).commits)

    def test_a_member_that_has_left_is_not_followed(self) -> None:
        """B17: a late heartbeat created a room again."""
        self.world.leave("host")
        self.assertFalse(self.world.do("host", CorrectPlayback(5.0, True)).commits)
        self.assertFalse(self.world.watch("host").commits)


class GateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("a", "b", "c", "d", "e", watching=True)
        self.world.play("a", 10.0)

    def test_a_seek_pauses_all_members_and_its_sender(self) -> None:
        decision = self.world.seek("a", 50.0)
        (message,) = decision.messages
        self.assertIsInstance(message, m.SeekPause)
        self.assertEqual((message.user_id, message.current_time, message.by), ("server", 50.0, "a"))
        self.assertFalse(self.world.room.playback.playing)
        assert self.world.room.gate is not None
        self.assertEqual(self.world.room.gate.pending, ("a", "b", "c", "d", "e"))

    def test_it_opens_when_all_are_ready(self) -> None:
        """B15: two members always waited 7 s."""
        self.world.seek("a", 50.0)
        for user in "abcd":
            self.assertEqual(self.world.ready(user, 50.0).messages, ())
        (message,) = self.world.ready("e", 50.0).messages
        self.assertEqual((message.user_id, message.control, message.current_time), ("server", "play", 50.0))
        self.assertIsNone(self.world.room.gate)
        self.assertEqual(self.world.room.due, 0.0)

    def test_a_lone_watcher_waits_for_itself_only(self) -> None:
        """B15: a single member waited 7 s, too."""
        world = World()
        world.join_all("a", watching=True)
        world.seek("a", 50.0)
        self.assertEqual(told(world.ready("a", 50.0)), ["PLAY_PAUSE"])

    def test_who_has_missed_two_is_not_awaited_until_it_is_ready_again(self) -> None:
        """L8: one silent guest extended each seek of three members to 7 s."""
        world = World()
        world.join_all("a", "b", "c", watching=True)
        for missed in range(2):
            world.seek("a", 50.0)
            world.ready("a", 50.0)
            self.assertEqual(types(world.advance(6.99)), [])
            self.assertEqual(types(world.advance(0.02)), ["PLAY_PAUSE"])
            self.assertEqual([world.member(user).missed for user in "abc"], [0, missed + 1, missed + 1])
        world.ready("b", 50.0)
        world.seek("a", 60.0)
        assert world.room.gate is not None
        self.assertEqual(world.room.gate.pending, ("a", "b"))
        world.ready("a", 60.0)
        self.assertEqual(told(world.ready("b", 60.0)), ["PLAY_PAUSE"])
        self.assertEqual(world.member("c").missed, 2)

    def test_ready_in_time_forgives_a_miss(self) -> None:
        world = World()
        world.join_all("a", "b", watching=True)
        for _ in range(3):
            world.seek("a", 50.0)
            world.ready("a", 50.0)
            world.advance(8)
            self.assertEqual(world.member("b").missed, 1)
            world.seek("a", 60.0)
            world.ready("b", 60.0)
            world.ready("a", 60.0)
            self.assertEqual(world.member("b").missed, 0)

    def test_a_page_that_is_loaded_again_is_awaited_again(self) -> None:
        world = World()
        world.join_all("a", "b", watching=True)
        for _ in range(2):
            world.seek("a", 50.0)
            world.ready("a", 50.0)
            world.advance(8)
        world.join("b", again=True)
        self.assertEqual(world.member("b").missed, 0)

    def test_a_quorum_opens_it_after_two_seconds(self) -> None:
        self.world.seek("a", 50.0)
        for user in "abc":
            self.world.ready(user, 50.0)
        self.assertEqual(self.world.advance(1.99), [])
        self.assertEqual(types(self.world.advance(0.02)), ["PLAY_PAUSE"])

    def test_a_quorum_reached_later_opens_it_at_once(self) -> None:
        self.world.seek("a", 50.0)
        self.world.ready("a", 50.0)
        self.world.ready("b", 50.0)
        self.assertEqual(self.world.advance(3), [])
        self.assertEqual(told(self.world.ready("c", 50.0)), ["PLAY_PAUSE"])

    def test_it_opens_at_its_deadline_whatever_happens(self) -> None:
        self.world.seek("a", 50.0)
        self.assertEqual(self.world.advance(6.99), [])
        (message,) = self.world.advance(0.02)
        self.assertEqual(message.current_time, 50.0)

    def test_it_opens_into_a_pause_without_a_word(self) -> None:
        self.world.pause("a", 10.0)
        self.world.seek("a", 50.0, playing=False)
        self.assertEqual(self.world.advance(8), [])
        self.assertIsNone(self.world.room.gate)
        self.assertFalse(self.world.room.playback.playing)

    def test_only_readiness_for_this_position_counts(self) -> None:
        """B15: READYs of one seek opened the gate of the next."""
        self.world.seek("a", 50.0)
        for user in "abcde":
            self.assertFalse(self.world.ready(user, 50.002).commits)
            self.assertTrue(self.world.ready(user, 50.0009).commits)

    def test_being_ready_twice_counts_once(self) -> None:
        self.world.seek("a", 50.0)
        self.world.ready("a", 50.0)
        self.assertFalse(self.world.ready("a", 50.0).commits)

    def test_a_member_that_does_not_watch_is_not_awaited(self) -> None:
        """B15: the gate waited for members whose page showed no film."""
        self.world.watch("b", False)
        self.world.lose("c")
        self.world.join("f")
        self.world.seek("a", 50.0)
        assert self.world.room.gate is not None
        self.assertEqual(self.world.room.gate.pending, ("a", "d", "e"))

    def test_the_awaited_are_fixed_when_it_closes(self) -> None:
        self.world.seek("a", 50.0)
        self.world.watch("b", False)
        self.world.join("f")
        self.world.watch("f")
        assert self.world.room.gate is not None
        self.assertEqual(self.world.room.gate.pending, ("a", "b", "c", "d", "e"))
        self.assertFalse(self.world.ready("f", 50.0).commits)

    def test_no_member_watches_so_nothing_waits(self) -> None:
        world = World()
        world.join_all("a", "b")
        decision = world.seek("a", 50.0)
        self.assertEqual(told(decision), ["SEEK_PAUSE", "PLAY_PAUSE"])
        self.assertEqual([message.part for message in decision.messages], [(1, 2), (2, 2)])
        self.assertTrue(world.room.playback.playing)
        self.assertEqual(told(world.seek("a", 60.0, playing=False)), ["SEEK_PAUSE"])

    def test_who_leaves_is_no_longer_awaited(self) -> None:
        """B15: the gate waited for members that had left."""
        self.world.seek("a", 50.0)
        for user in "abcd":
            self.world.ready(user, 50.0)
        decision = self.world.leave("e")
        self.assertEqual(told(decision), ["LEAVE", "USER_LEFT", "PLAY_PAUSE"])
        self.assertEqual([message.part for message in decision.messages], [(1, 3), (2, 3), (3, 3)])

    def test_who_is_lost_is_no_longer_awaited(self) -> None:
        self.world.seek("a", 50.0)
        for user in "abcd":
            self.world.ready(user, 50.0)
        self.assertEqual(told(self.world.lose("e")), ["PLAY_PAUSE"])

    def test_the_host_leaves_while_it_waits(self) -> None:
        self.world.seek("a", 50.0)
        decision = self.world.leave("a")
        self.assertEqual(told(decision), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertEqual(types(self.world.advance(7)), ["PLAY_PAUSE"])

    def test_any_control_cancels_it(self) -> None:
        """B16: the server undid a pause within 7 s after a seek."""
        for control in (
            m.PlayPause(control="pause", current_time=50.0),
            m.PlayPause(control="play"),
            m.UrlChange(url=OTHER_TITLE),
        ):
            self.world.seek("a", 50.0)
            self.world.do("a", control)
            self.assertIsNone(self.world.room.gate)
            self.assertEqual(self.world.room.due, 0.0)
            self.assertEqual(self.world.advance(10), [])

    def test_playing_without_a_position_goes_on_from_where_it_waits(self) -> None:
        self.world.seek("a", 50.0)
        self.world.advance(1)
        self.assertEqual(self.world.play("a").messages[0].current_time, 50.0)

    def test_a_second_seek_replaces_it_and_still_means_to_go_on(self) -> None:
        self.world.seek("a", 50.0)
        self.world.ready("b", 50.0)
        self.world.advance(5)
        self.world.seek("a", 60.0, playing=False)
        assert self.world.room.gate is not None
        self.assertEqual((self.world.room.gate.ready, self.world.room.gate.resume), ((), True))
        self.assertEqual(self.world.advance(6.9), [])
        self.assertEqual(self.world.advance(0.2)[0].current_time, 60.0)

    def test_a_late_ready_gets_one_catch_up_for_itself(self) -> None:
        self.world.seek("a", 50.0)
        self.world.advance(9)
        decision = self.world.ready("e", 50.0)
        self.assertFalse(decision.commits)
        assert isinstance(decision.reply, m.PlayPauseEvent)
        self.assertEqual((decision.reply.user_id, decision.reply.control, decision.reply.seq), ("server", "play", None))
        self.assertAlmostEqual(decision.reply.current_time, 52.0)

    def test_an_unexpected_ready_has_no_effect(self) -> None:
        self.world.pause("a", 5.0)
        decision = self.world.ready("b", 50.0)
        self.assertEqual((decision.commits, decision.reply), (False, None))

    def test_nothing_is_left_of_it_when_the_room_is_empty(self) -> None:
        """B17: the gate's timer created a broken room in place of an ended one."""
        world = World()
        world.join_all("a", watching=True)
        world.seek("a", 50.0)
        world.lose("a")
        world.advance(60)
        self.assertEqual((world.room.gate, dict(world.room.members)), (None, {}))
        self.assertFalse(world.room.playback.playing)

    def test_the_same_title_again_does_not_cancel_it(self) -> None:
        self.world.do("a", m.UrlChange(url=TITLE))
        self.world.seek("a", 50.0)
        self.world.do("a", m.UrlChange(url=TITLE))
        self.assertIsNotNone(self.world.room.gate)


class SettingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest")

    def test_guest_control(self) -> None:
        self.assertEqual(self.world.refused("guest", m.PlayPause(control="play")), "forbidden")
        decision = self.world.do("host", m.ToggleGuestControl(enabled=True))
        self.assertEqual((told(decision), decision.messages[0].enabled), (["GUEST_CONTROL"], True))
        self.assertEqual(told(self.world.play("guest", 5.0)), ["PLAY_PAUSE"])
        self.world.do("host", m.ToggleGuestControl(enabled=False))
        self.assertEqual(self.world.refused("guest", m.PlayPause(control="play")), "forbidden")

    def test_guests_may_not_let_guests_control(self) -> None:
        self.world.do("host", m.ToggleGuestControl(enabled=True))
        self.assertEqual(self.world.refused("guest", m.ToggleGuestControl(enabled=False)), "forbidden")
        self.assertEqual(self.world.refused("guest", m.TransferHost(target_user_id="guest")), "forbidden")

    def test_transfer(self) -> None:
        """B40: TRANSFER_HOST did nothing."""
        decision = self.world.do("host", m.TransferHost(target_user_id="guest"))
        self.assertEqual((told(decision), decision.messages[0].host_user_id), (["HOST_CHANGED"], "guest"))
        self.assertEqual(self.world.refused("host", m.PlayPause(control="play")), "forbidden")
        self.assertEqual(told(self.world.play("guest", 1.0)), ["PLAY_PAUSE"])

    def test_transfer_to_oneself_changes_nothing(self) -> None:
        self.world.do("host", m.TransferHost(target_user_id="host"))
        self.assertEqual(self.world.host, "host")

    def test_transfer_only_to_a_present_member(self) -> None:
        self.assertEqual(self.world.refused("host", m.TransferHost(target_user_id="nobody")), "no_such_member")
        self.world.lose("guest")
        self.assertEqual(self.world.refused("host", m.TransferHost(target_user_id="guest")), "no_such_member")

    def test_names(self) -> None:
        decision = self.world.do("guest", m.UpdateUsername(username="  Ann\x00e\n Lee " + "x" * 100))
        self.assertEqual(decision.messages[0].username, ("Ann e Lee " + "x" * 100)[:50])
        self.assertEqual(self.world.member("guest").username, decision.messages[0].username)

    def test_a_name_with_nothing_to_see_is_refused(self) -> None:
        for name in (" ", "\x00\x01", "\u200b", "\u202e", "\u2028", "\u200d"):
            self.assertEqual(self.world.refused("guest", m.UpdateUsername(username=name)), "bad_message", ascii(name))

    def test_chat_reaches_all_members_and_not_the_archive(self) -> None:
        decision = self.world.do("guest", m.Chat(text="hi"))
        (said,) = decision.messages
        self.assertEqual((said.user_id, said.username, said.text), ("guest", "Guest", "hi"))
        self.assertEqual(decision.details, {"length": 2})
        self.assertEqual(decision.changes, {})

    def test_chat_has_a_length(self) -> None:
        self.world.do("guest", m.Chat(text="x" * 2000))
        self.assertEqual(self.world.refused("guest", m.Chat(text="x" * 2001)), "bad_message")


class HostGoneTests(SynchronousTestCase):
    def test_guests_control_when_the_host_has_been_gone_for_ten_seconds(self) -> None:
        world = World()
        world.join_all("host", "guest")
        world.lose("host")
        world.advance(9.9)
        self.assertEqual(world.refused("guest", m.PlayPause(control="play")), "forbidden")
        world.advance(0.1)
        self.assertEqual(told(world.play("guest", 1.0)), ["PLAY_PAUSE"])
        self.assertEqual(world.host, "host")
        world.join("host")
        self.assertEqual(world.refused("guest", m.PlayPause(control="play")), "forbidden")


class NumberTests(SynchronousTestCase):
    """`seq`, `prev` and `part`, by which a client detects missed messages."""

    def test_prev_names_the_last_change_that_had_messages(self) -> None:
        world = World()
        world.join_all("a", "b")
        world.watch("a")
        world.watch("b")
        decision = world.play("a", 1.0)
        self.assertEqual((decision.messages[0].seq, decision.messages[0].prev), (5, 2))
        world.do("b", CorrectPlayback(1.0, True))
        decision = world.do("b", m.Chat(text="x"))
        self.assertEqual((decision.messages[0].seq, decision.messages[0].prev), (6, 5))

    def test_all_messages_of_a_change_have_the_same_number(self) -> None:
        world = World()
        world.join_all("a", "b")
        decision = world.leave("a")
        self.assertEqual([(x.seq, x.prev, x.part) for x in decision.messages], [(3, 2, (i, 3)) for i in (1, 2, 3)])

    def test_a_single_message_has_no_part(self) -> None:
        world = World()
        world.join("a")
        self.assertIsNone(world.play("a", 1.0).messages[0].part)


class CommandIdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("a", "b")

    def test_the_same_command_again_is_acknowledged_again_and_not_applied(self) -> None:
        first = self.world.do("a", m.Chat(id=1, text="x"), nonce="n")
        self.assertTrue(first.commits)
        seq = self.world.room.seq
        self.world.do("b", m.Chat(text="y"))
        again = self.world.do("a", m.Chat(id=1, text="x"), nonce="n")
        self.assertEqual((again.commits, again.seq), (False, seq))

    def test_also_over_a_reconnect(self) -> None:
        self.world.join("a", again=True, new_token="t")
        self.world.do("a", m.Chat(id=1, text="x"), nonce="n")
        seq = self.world.room.seq
        self.world.lose("a")
        self.world.join("a", token="t", resume=True)
        self.assertEqual(self.world.do("a", m.Chat(id=1, text="x"), nonce="n").seq, seq)

    def test_another_run_of_the_client_restarts_its_ids(self) -> None:
        self.world.do("a", m.Chat(id=1, text="x"), nonce="n")
        self.assertTrue(self.world.do("a", m.Chat(id=1, text="x"), nonce="o").commits)

    def test_without_a_nonce_ids_mean_something_on_one_connection_only(self) -> None:
        """A reloaded page counts from 1 again, and the room must not ignore its commands."""
        self.world.join("a", again=True, new_token="t")
        self.world.do("a", m.Chat(id=1, text="x"))
        self.assertFalse(self.world.do("a", m.Chat(id=1, text="x")).commits)
        self.world.join("a", token="t")
        self.assertTrue(self.world.do("a", m.Chat(id=1, text="x")).commits)

    def test_another_member_has_its_own(self) -> None:
        self.world.do("a", m.Chat(id=1, text="x"), nonce="n")
        self.assertTrue(self.world.do("b", m.Chat(id=1, text="x"), nonce="n").commits)

    def test_what_was_refused_may_be_tried_again(self) -> None:
        self.assertEqual(self.world.refused("b", m.PlayPause(id=1, control="play")), "forbidden")
        self.world.do("a", m.ToggleGuestControl(enabled=True))
        self.assertTrue(self.world.do("b", m.PlayPause(id=1, control="play")).commits)

    def test_a_repetition_is_acknowledged_even_if_it_would_be_refused_now(self) -> None:
        decision = self.world.do("a", m.TransferHost(id=1, target_user_id="b"), nonce="n")
        self.assertTrue(decision.commits)
        self.assertEqual(
            self.world.do("a", m.TransferHost(id=1, target_user_id="b"), nonce="n").seq, self.world.room.seq
        )

    def test_the_last_few_are_remembered_with_the_change_itself(self) -> None:
        for number in range(MAX_RECENT_COMMANDS + 2):
            decision = self.world.do("a", m.UpdateUsername(id=number, username=f"A{number}"), nonce="n")
            self.assertIn(MEMBER + "a", decision.changes)
            self.assertEqual(self.world.member("a").username, f"A{number}")
        self.assertEqual(
            [entry[1] for entry in self.world.member("a").recent_commands], list(range(2, MAX_RECENT_COMMANDS + 2))
        )

    def test_what_is_older_than_the_last_few_is_not_done_again(self) -> None:
        for number in range(MAX_RECENT_COMMANDS + 2):
            self.world.do("a", m.UpdateUsername(id=number, username=f"A{number}"), nonce="n")
        for number in (0, 1):
            again = m.UpdateUsername(id=number, username=f"A{number}")
            self.assertEqual(self.world.refused("a", again, nonce="n"), "forgotten")
        # Other ids are acknowledged again. A new id is applied, and an old id under another nonce, too.
        self.assertFalse(self.world.do("a", m.UpdateUsername(id=2, username="A2"), nonce="n").commits)
        self.assertTrue(
            self.world.do("a", m.UpdateUsername(id=MAX_RECENT_COMMANDS + 2, username="B"), nonce="n").commits
        )
        self.assertTrue(self.world.do("a", m.UpdateUsername(id=0, username="C"), nonce="o").commits)
        self.assertEqual(self.world.member("a").highest_evicted_id, -1)

    def test_one_that_was_refused_may_be_tried_again_later(self) -> None:
        for number in range(1, MAX_RECENT_COMMANDS + 1):
            self.world.do("a", m.UpdateUsername(id=number, username=f"A{number}"), nonce="n")
        self.assertTrue(self.world.do("a", m.UpdateUsername(id=0, username="late"), nonce="n").commits)

    def test_a_leave_with_an_id(self) -> None:
        self.world.do("a", m.Leave(id=1), nonce="n")
        self.assertNotIn("a", self.world.room.members)

    def test_what_changes_nothing_is_not_remembered(self) -> None:
        self.assertFalse(self.world.do("a", m.Ready(id=1, target_time=1.0), nonce="n").commits)
        self.assertEqual(self.world.member("a").recent_commands, ())


class DueTests(SynchronousTestCase):
    def test_too_early_is_no_harm(self) -> None:
        world = World()
        world.join_all("a", watching=True)
        world.seek("a", 5.0)
        world.join("b")
        world.lose("b")
        self.assertFalse(world.decide("", Due()).commits)

    def test_quorum_and_deadline_are_configuration(self) -> None:
        world = World(make_rules(gate_deadline=3.0, gate_quorum=0.5, gate_quorum_after=1.0))
        world.join_all("a", "b", watching=True)
        world.seek("a", 5.0)
        self.assertEqual(world.room.due, START + 3.0)
        world.ready("a", 5.0)
        self.assertEqual(world.room.due, START + 1.0)
