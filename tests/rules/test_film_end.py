"""The end of a film: the players whose word counts for it, and the stop of the timeline."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import ReportEnd, StopAtEnd
from tandemd.rules.film_end import (
    AGREEMENT_SECONDS,
    SETTLED_SECONDS,
    EndReport,
    end_to_share,
    film_end,
    reports_of_all_nodes,
)
from tandemd.rules.playback import KnownEnd

from ..support.rules_fixture import TITLE, World, told

ENDED = EndReport(5400.0, ended=True)
CONTROLLER = EndReport(5400.0, ended=True, may_control=True)
SAYS_DURATION = EndReport(5399.0, duration=5400.0, settled_for=SETTLED_SECONDS)


class FilmEndTests(SynchronousTestCase):
    def test_players_whose_word_is_enough(self) -> None:
        examples = (
            ("no report", [], 2, 0.0),
            ("a player that ended, of a member that may control", [CONTROLLER], 5, 5400.0),
            ("the only player that watches", [ENDED], 1, 5400.0),
            ("a guest's, while others watch", [ENDED], 2, 0.0),
            ("two that ended", [ENDED, ENDED], 5, 5400.0),
            ("two with the same duration", [SAYS_DURATION, SAYS_DURATION], 5, 5400.0),
            ("one that ended and one with that duration", [ENDED, SAYS_DURATION], 5, 5400.0),
            ("a duration alone", [SAYS_DURATION], 1, 0.0),
        )
        for what, reports, watching, end in examples:
            self.assertEqual(film_end(reports, watching), end, what)

    def test_a_growing_duration_is_no_end(self) -> None:
        """F15: that of a live stream, which two players have in common."""
        grows = EndReport(60.0, duration=64.0, settled_for=2.0)
        self.assertEqual(film_end([grows, grows], 2), 0.0)

    def test_a_player_that_goes_on_refutes_it(self) -> None:
        """Its file is the whole one; the others' were cut short."""
        for further in (EndReport(5401.0), EndReport(5399.0, duration=6000.0)):
            self.assertEqual(film_end([CONTROLLER, ENDED, SAYS_DURATION, further], 4), 0.0)

    def test_a_player_that_is_behind_does_not(self) -> None:
        self.assertEqual(film_end([CONTROLLER, EndReport(5390.0)], 2), 5400.0)

    def test_a_false_claim_does_not_hide_the_end(self) -> None:
        self.assertEqual(film_end([EndReport(3.0, ended=True), ENDED, ENDED], 3), 5400.0)

    @given(
        st.lists(
            st.builds(
                EndReport,
                st.floats(0, 100),
                st.booleans(),
                st.sampled_from([0.0, 50.0, 50.3, 90.0]),
                st.sampled_from([0.0, 60.0]),
                st.booleans(),
            ),
            max_size=5,
        ),
        st.integers(0, 6),
    )
    def test_no_player_is_beyond_an_end(self, reports: list[EndReport], watching: int) -> None:
        end = film_end(reports, watching)
        if end:
            self.assertLessEqual(max(report.position for report in reports), end + AGREEMENT_SECONDS)
            self.assertTrue(any(report.end == end for report in reports))


class SeveralNodesTests(SynchronousTestCase):
    """Each node knows the players that are connected to it, and the ends that all nodes were told."""

    def judge(self, nodes: list[dict[str, EndReport]], *, position: float = 5401.0, rounds: int = 3) -> float:
        """Return the end that a node finds, if each node looks every 3 s and tells the others. "host" may control."""
        known: list[KnownEnd] = []
        self.shared = known
        watching = sum(map(len, nodes))
        for number in range(rounds):
            now = 3.0 * number
            for here in nodes:
                told = list(known)
                for user, report in here.items():
                    share = end_to_share(report, told, user, position)
                    if share is not None:
                        told.append(share._replace(at=now))
                known[:] = told
                end = film_end(reports_of_all_nodes(here, known, "host".__eq__, now), watching)
                if end:
                    return end
        return 0.0

    def test_players_of_two_nodes_agree(self) -> None:
        self.assertEqual(self.judge([{"a": ENDED}, {"b": ENDED}]), 5400.0)
        self.assertEqual(self.judge([{"a": SAYS_DURATION}, {"b": SAYS_DURATION}]), 5400.0)
        self.assertEqual(self.judge([{"a": ENDED, "x": EndReport(9.0)}, {"b": SAYS_DURATION}]), 5400.0)
        self.assertEqual(self.judge([{"host": CONTROLLER}, {"b": EndReport(5390.0)}]), 5400.0)
        self.assertEqual(self.judge([{"a": EndReport(9.0)}, {"host": CONTROLLER}]), 5400.0)

    def test_one_guest_is_not_enough(self) -> None:
        self.assertEqual(self.judge([{"a": ENDED}, {"b": EndReport(5390.0)}]), 0.0)
        self.assertEqual(self.judge([{"a": SAYS_DURATION}, {"b": EndReport(5390.0)}]), 0.0)

    def test_a_player_of_another_node_refutes_it(self) -> None:
        for further in (EndReport(5401.0), EndReport(5399.0, duration=6000.0)):
            self.assertEqual(self.judge([{"host": CONTROLLER, "a": ENDED}, {"b": further}]), 0.0)
            self.assertEqual(self.judge([{"b": further}, {"host": CONTROLLER, "a": ENDED}]), 0.0)

    def test_two_that_go_on_are_no_end(self) -> None:
        """They are at the same place because they are in step."""
        self.assertEqual(self.judge([{"host": CONTROLLER}, {"b": EndReport(5403.0), "c": EndReport(5403.0)}]), 0.0)

    def test_little_is_told(self) -> None:
        crowd = {f"u{number}": SAYS_DURATION for number in range(1000)}
        self.judge([crowd, {"b": SAYS_DURATION}], position=5380.0)
        self.assertEqual(self.shared, [], "long before the end")
        self.judge([crowd, {"b": EndReport(5390.0)}], position=5395.0)
        self.assertEqual(len(self.shared), 2)
        self.judge([{f"u{number}": CONTROLLER for number in range(1000)}, {"b": EndReport(5403.0)}])
        self.assertLessEqual(len(self.shared), 5)

    def test_the_room_forgets_it_at_a_control(self) -> None:
        world = World()
        world.join_all("host", "guest", watching=True)
        world.do("host", m.UrlChange(url=TITLE))
        world.play("host", 5390.0)
        world.do("guest", ReportEnd("duration", 5400.0))
        world.do("guest", ReportEnd("ended", 5400.0))
        (known,) = world.room.playback.ends
        self.assertEqual((known.user, known.kind, known.end), ("guest", "ended", 5400.0))
        for number in range(20):
            world.do("host", ReportEnd("duration", 5400.0 + number))
        self.assertEqual(len(world.room.playback.ends), 2)
        self.assertFalse(world.decide("stranger", ReportEnd("ended", 1.0)).commits)
        world.watch("guest", False)
        self.assertFalse(world.do("guest", ReportEnd("ended", 1.0)).commits)
        world.play("host", 0.0)
        self.assertEqual(world.room.playback.ends, ())


class StopTests(SynchronousTestCase):
    """F22: the timeline ran on behind the end of the film."""

    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest", watching=True)
        self.world.do("host", m.UrlChange(url=TITLE))
        self.world.play("host", 5390.0)

    def test_the_timeline_stops_at_the_end(self) -> None:
        self.world.advance(12)
        decision = self.world.do("", StopAtEnd(5400.0))
        self.assertEqual(told(decision), ["PLAY_PAUSE"])
        self.assertEqual(decision.messages[0].user_id, m.SERVER)
        self.world.advance(100)
        self.assertEqual((self.world.position, self.world.room.playback.playing), (5400.0, False))

    def test_not_before_it(self) -> None:
        self.world.advance(5)
        self.assertFalse(self.world.do("", StopAtEnd(5400.0)).commits)

    def test_once(self) -> None:
        self.world.advance(12)
        self.world.do("", StopAtEnd(5400.0))
        self.assertFalse(self.world.do("", StopAtEnd(5400.0)).commits)

    def test_not_while_a_seek_waits(self) -> None:
        self.world.advance(12)
        self.world.seek("host", 5500.0)
        self.assertFalse(self.world.do("", StopAtEnd(5400.0)).commits)
