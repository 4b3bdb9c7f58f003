"""Which reports of a host's player move the room, and how often a member is corrected: examples and properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tandemd.rules.playback import LEFTOVER_SECONDS, Playback
from tandemd.rules.playback_authority import (
    NEAR_SECONDS,
    FollowSettings,
    HostEvidence,
    Motion,
    Verdict,
    continues_old_title,
    correction_wait,
    followed_position,
    missed_title,
    motion,
    newest_seen,
    observe,
)

START = 1_700_000_000.0
PLAYING = Playback("https://a.example/1", 100.0, START, True, known=True, titled_at=START - 1000)
PAUSED = replace(PLAYING, playing=False)
NEW = PLAYING.titled("https://a.example/2", START)
TRUSTED = HostEvidence(PLAYING.titled_at, True)


def verdicts(
    playback: Playback, *reports: tuple[float, float, bool], evidence: HostEvidence = TRUSTED
) -> tuple[list[Verdict], HostEvidence]:
    """Return the consequences of reports, each given as (seconds since the start, position, playing)."""
    found = []
    for at, position, playing in reports:
        evidence, verdict = observe(evidence, playback, position, playing, START + at, FollowSettings())
        found.append(verdict)
    return found, evidence


class MotionTests(SynchronousTestCase):
    def compare(self, progress: float, *, playing: bool = True, before: bool = True, seconds: float = 1.0) -> Motion:
        evidence = HostEvidence(position=50.0, playing=before, at=START)
        return motion(evidence, 50.0 + progress, playing, START + seconds, 1.0)

    def test_progress_between_half_and_twice_the_rate_is_motion(self) -> None:
        found = [self.compare(progress) for progress in (0.0, 0.4, 0.5, 1.0, 2.0, 2.1, -1.0)]
        stalled, moving, jumped = Motion.STALLED, Motion.MOVING, Motion.JUMPED
        self.assertEqual(found, [stalled, stalled, moving, moving, moving, jumped, jumped])

    def test_a_paused_player_makes_none(self) -> None:
        self.assertIs(self.compare(0.05, playing=False, before=False), Motion.STANDING)
        self.assertIs(self.compare(1.0, playing=False, before=False), Motion.JUMPED)

    def test_reports_that_cannot_be_compared(self) -> None:
        self.assertIs(motion(HostEvidence(), 50.0, True, START, 1.0), Motion.UNKNOWN)
        self.assertIs(self.compare(1.0, playing=False), Motion.UNKNOWN)
        self.assertIs(self.compare(10.0, seconds=10.0), Motion.UNKNOWN)


class ObserveTests(SynchronousTestCase):
    def test_one_report_is_no_evidence(self) -> None:
        found, _ = verdicts(PLAYING, (0.0, 50.0, True), (0.5, 50.5, True), (1.0, 51.0, True))
        self.assertEqual(found, [Verdict.NOTHING, Verdict.FOLLOW, Verdict.FOLLOW])

    def test_positions_without_motion_move_nothing(self) -> None:
        """A player that lies, or two pages of one member."""
        reports = [(i / 2, position, True) for i, position in enumerate((7.0, 90.0, 3.0, 55.0, 20.0))]
        self.assertEqual(verdicts(PLAYING, *reports)[0], [Verdict.NOTHING] * 5)

    def test_a_player_in_step_moves_nothing(self) -> None:
        reports = [(i / 2, 100.2 + i / 2, True) for i in range(20)]
        self.assertEqual(set(verdicts(PLAYING, *reports)[0]), {Verdict.NOTHING})

    def test_a_stall_holds_the_room_after_its_time(self) -> None:
        """F1."""
        reports = [(i / 2, 100.0 + min(i / 2, 2.0), True) for i in range(9)]
        found, _ = verdicts(PLAYING, *reports)
        self.assertEqual(found, [Verdict.NOTHING] * 7 + [Verdict.HOLD] * 2)

    def test_a_report_that_was_late_is_no_stall(self) -> None:
        reports = [(0.0, 100.0, True), (0.5, 100.5, True), (2.2, 101.0, True), (2.25, 101.9, True), (2.5, 102.4, True)]
        self.assertEqual(set(verdicts(PLAYING, *reports)[0]), {Verdict.NOTHING})

    def test_a_report_that_was_late_does_not_set_the_room_back(self) -> None:
        reports = [(0.0, 100.0, True), (0.5, 100.5, True), (1.5, 101.0, True), (1.5, 101.5, True), (2.0, 102.0, True)]
        self.assertEqual(set(verdicts(PLAYING, *reports)[0]), {Verdict.NOTHING})
        behind = [(0.0, 100.0, True), (0.5, 100.1, True), (1.0, 100.6, True)]
        self.assertEqual(verdicts(PLAYING, *behind)[0][-1], Verdict.FOLLOW)

    def test_a_held_room_goes_on_with_the_player(self) -> None:
        held = PLAYING.held_at(102.0, START)
        reports = [(0.5, 102.0, True), (1.0, 102.0, True), (1.5, 102.1, True), (2.0, 102.6, True)]
        self.assertEqual(verdicts(held, *reports)[0], [Verdict.NOTHING] * 3 + [Verdict.FOLLOW])

    def test_a_stall_where_no_motion_has_led_holds_the_room_where_it_is(self) -> None:
        """The page of the host was loaded again, or shows an advertisement: it stands at 0 and says that it plays."""
        for spot in (0.0, 40.0, 3000.0):
            reports = [(i / 2, 100.0 + i / 2 if i < 4 else spot, True) for i in range(9)]
            found, evidence = verdicts(PLAYING, *reports)
            self.assertEqual(found, [Verdict.NOTHING] * 7 + [Verdict.HOLD, Verdict.GUIDE])
            self.assertEqual(followed_position(evidence, PLAYING, START + 4), 104.0)

    def test_a_stall_after_a_control_holds_the_room_where_the_player_is(self) -> None:
        control = PLAYING.controlled(500.0, True, START)
        found, evidence = verdicts(control, *[(i / 2, 500.0, True) for i in range(9)])
        self.assertEqual(found[-1], Verdict.HOLD)
        self.assertEqual(followed_position(evidence, control, START + 4), 500.0)

    def test_a_player_that_was_silent_and_is_elsewhere_is_brought_back(self) -> None:
        """Old clients report no position of 0: the page was loaded again, and plays from its beginning."""
        before = [(i / 2, 100.0 + i / 2, True) for i in range(4)]
        elsewhere = [(8.0 + i / 2, 0.5 + i / 2, True) for i in range(4)]
        self.assertEqual(verdicts(PLAYING, *before, *elsewhere)[0], [Verdict.NOTHING] * 4 + [Verdict.GUIDE] * 4)
        near = [(8.0 + i / 2, 106.0 + i / 2, True) for i in range(2)]
        self.assertEqual(verdicts(PLAYING, *before, *near)[0], [Verdict.NOTHING] * 5 + [Verdict.FOLLOW])

    def test_such_a_player_is_not_followed_when_it_moves(self) -> None:
        held, distrusted = PLAYING.held_at(104.0, START), HostEvidence(PLAYING.titled_at)
        for playing in (True, False):
            reports = [(0.5, 0.0, playing), (1.0, 0.5 * playing, playing)]
            found, evidence = verdicts(held, *reports, evidence=distrusted)
            self.assertEqual(found, [Verdict.NOTHING, Verdict.FOLLOW], "the room goes on, or is paused")
            self.assertEqual(followed_position(evidence, held, START + 1), 104.0)
        found, _ = verdicts(replace(PLAYING, position=104.0), (0.5, 0.5, True), (1.0, 1.0, True), evidence=evidence)
        self.assertEqual(set(found), {Verdict.GUIDE})

    def test_a_held_room_stays_paused_for_a_player_that_is_paused(self) -> None:
        held = PLAYING.held_at(102.0, START)
        found, _ = verdicts(held, (0.5, 102.0, False), (1.0, 102.0, False))
        self.assertEqual(found, [Verdict.NOTHING, Verdict.FOLLOW])

    def test_the_play_state_follows_after_its_time(self) -> None:
        reports = [(i / 2, 100.0, False) for i in range(4)]
        self.assertEqual(verdicts(PLAYING, *reports)[0], [Verdict.NOTHING] * 3 + [Verdict.FOLLOW])

    def test_a_player_that_claims_to_play_starts_no_paused_room(self) -> None:
        reports = [(i / 2, 100.0, True) for i in range(10)]
        self.assertEqual(set(verdicts(PAUSED, *reports)[0]), {Verdict.NOTHING})

    def test_a_new_host_has_to_be_in_step_first(self) -> None:
        new = HostEvidence()
        reports = [(0.0, 50.0, True), (0.5, 50.5, True), (1.0, 51.0, True), (2.0, 102.3, True), (2.5, 50.0, True)]
        found, evidence = verdicts(PLAYING, *reports, evidence=new)
        self.assertEqual(found, [Verdict.GUIDE] * 3 + [Verdict.NOTHING] * 2)
        self.assertTrue(evidence.trusted)

    def test_a_position_passed_by_a_paused_player_is_not_in_step(self) -> None:
        found, evidence = verdicts(PLAYING, (0.0, 100.0, False), evidence=HostEvidence())
        self.assertEqual((found, evidence.trusted), ([Verdict.GUIDE], False))

    def test_a_new_title_ends_the_trust(self) -> None:
        known = NEW.controlled(0.0, True, START)
        found, _ = verdicts(known, (3.0, 70.0, True))
        self.assertEqual(found, [Verdict.GUIDE])

    def test_the_first_motion_in_an_unknown_title_is_believed(self) -> None:
        """A page that goes on where its member once stopped."""
        found, _ = verdicts(NEW, (3.0, 1200.0, True), (3.5, 1200.5, True))
        self.assertEqual(found, [Verdict.NOTHING, Verdict.FOLLOW])

    def test_a_second_jump_needs_more_evidence(self) -> None:
        """Two pages of one member that report in turn moved the room to and fro."""

        def follow(reports: list[tuple[float, float]]) -> list[float]:
            playback, evidence, followed = PLAYING, TRUSTED, []
            for at, position in reports:
                now = START + at
                evidence, verdict = observe(evidence, playback, position, True, now, FollowSettings())
                if verdict is Verdict.FOLLOW:
                    followed.append(at)
                    playback = playback.corrected(followed_position(evidence, playback, now), True, now)
            return followed

        times = [i / 2 for i in range(80)]
        for turn in (1, 2, 3):
            in_turn = [(at, at + (900 if int(at / turn) % 2 else 100)) for at in times]
            self.assertLessEqual(len(follow(in_turn)), 2, turn)
        self.assertEqual(follow([(at, at + (100 if at < 2 else 900)) for at in times]), [2.5], "a jump")
        twice = [(at, at + (100 if at < 2 else 900 if at < 6 else 500)) for at in times]
        self.assertEqual(follow(twice), [2.5, 9.0], "and another one")
        later = [(at, at + (100 if at < 2 else 900 if at < 35 else 500)) for at in times]
        self.assertEqual(follow(later), [2.5, 35.5], "much later")

    def test_reports_right_after_a_control_are_older_than_it(self) -> None:
        control = PLAYING.controlled(500.0, True, START)
        found, _ = verdicts(control, (0.5, 102.0, True), (1.0, 102.5, True), (1.5, 103.0, True))
        self.assertEqual(set(found), {Verdict.NOTHING})


class OldTitleTests(SynchronousTestCase):
    def test_the_old_player_is_recognised(self) -> None:
        """F3: moving, or standing where it was."""
        left = replace(PLAYING, position=5000.0).titled("https://a.example/2", START)
        for seconds in (0.0, 2.5, 8.0):
            self.assertTrue(continues_old_title(left, 5000.0 + seconds, START + seconds))
            self.assertTrue(continues_old_title(left, 5000.0, START + seconds))
            for position in (0.0, seconds, 1200.0, 5030.0, 4990.0):
                self.assertFalse(continues_old_title(left, position, START + seconds))
        self.assertFalse(continues_old_title(left, 5000.0, START + LEFTOVER_SECONDS + 1))

    def test_its_reports_say_nothing(self) -> None:
        left = replace(PLAYING, position=5000.0).titled("https://a.example/2", START)
        old = [(i / 2, 5000.0 + i / 2, True) for i in range(8)]
        new = [(4.0, 0.5, True), (4.5, 1.0, True)]
        found, _ = verdicts(left, *old, *new)
        self.assertEqual(found, [Verdict.NOTHING] * 9 + [Verdict.FOLLOW])

    def test_titles_chosen_before_the_first_one_has_loaded_do_not_hide_the_old_player(self) -> None:
        """The host skips several titles, while its player still shows the one before them, playing or where it stood."""
        last, chosen = replace(PLAYING, position=5000.0), 0.0
        for chosen in (0.0, 1.0, 4.0, 10.0):
            last = last.titled(f"https://a.example/{chosen:g}", START + chosen)
        times = [chosen + i / 2 for i in range(8)]
        self.assertEqual(set(verdicts(last, *[(at, 5000.0 + at, True) for at in times])[0]), {Verdict.NOTHING})
        self.assertEqual(set(verdicts(last, *[(at, 5000.0, False) for at in times])[0]), {Verdict.NOTHING})

    def test_a_title_that_a_player_has_shown_is_the_one_that_is_left(self) -> None:
        first = replace(PLAYING, position=5000.0).titled("https://a.example/2", START)
        shown = first.corrected(1.0, True, START + 5).titled("https://a.example/3", START + 9)
        self.assertEqual((shown.left_position, shown.left_at), (5.0, START + 9))
        late = first.titled("https://a.example/3", START + LEFTOVER_SECONDS + 1)
        self.assertEqual(late.left_position, 0.0)

    def test_a_title_left_near_its_beginning_is_not_mistaken(self) -> None:
        left = replace(PLAYING, position=3.0).titled("https://a.example/2", START)
        self.assertFalse(continues_old_title(left, 3.0, START + 2.5))

    def test_the_room_may_go_where_the_old_title_was(self) -> None:
        there = replace(PLAYING, position=5000.0).titled("https://a.example/2", START).controlled(5001.0, True, START)
        self.assertFalse(continues_old_title(there, 5004.0, START + 3))


class SeenTests(SynchronousTestCase):
    TITLE = PLAYING.titled("https://a.example/2", START, seq=8, by="ann")

    def test_a_control_about_an_earlier_title(self) -> None:
        self.assertTrue(missed_title(self.TITLE, "bob", 7))
        self.assertFalse(missed_title(self.TITLE, "bob", 8))
        self.assertFalse(missed_title(self.TITLE, "bob", None))
        self.assertFalse(missed_title(self.TITLE, "ann", 7), "it chose the title itself")

    def test_a_client_without_seq_has_not_seen_a_title_within_its_round_trip(self) -> None:
        examples = ((0.05, 0.04, 7), (0.05, 0.06, 9), (5.0, 0.4, 7), (5.0, 0.6, 9), (0.0, 0.001, 7))
        for round_trip, seconds, seen in examples:
            self.assertEqual(newest_seen(self.TITLE, 9, seconds, round_trip), seen)

    def test_a_client_has_seen_nothing_that_was_not_sent(self) -> None:
        self.assertEqual(newest_seen(self.TITLE, 5, 100, 0.1), 5)


class CorrectionTests(SynchronousTestCase):
    def test_they_back_off(self) -> None:
        self.assertEqual([correction_wait(sent) for sent in range(8)], [0, 3, 6, 12, 24, 30, 30, 30])
        self.assertEqual(correction_wait(10_000), 30)


reports = st.lists(
    st.tuples(st.floats(0, 5), st.floats(0, 1e6), st.booleans()).map(lambda r: (r[0], round(r[1], 3), r[2])),
    max_size=30,
)


class Properties(SynchronousTestCase):
    @given(reports, st.booleans(), st.booleans())
    def test_what_moves_the_room_is_supported_by_the_report_before(
        self, gaps: list[tuple[float, float, bool]], playing: bool, trusted: bool
    ) -> None:
        playback = replace(PLAYING, playing=playing)
        evidence, now = HostEvidence(playback.titled_at, trusted), START
        for gap, position, plays in gaps:
            before, now = evidence, now + gap
            evidence, verdict = observe(before, playback, position, plays, now, FollowSettings())
            self.assertEqual(evidence, observe(before, playback, position, plays, now, FollowSettings())[0], "pure")
            if verdict is Verdict.FOLLOW:
                self.assertIn(motion(before, position, plays, now, 1.0), (Motion.MOVING, Motion.STANDING))
                self.assertTrue(before.trusted)
            elif verdict is Verdict.HOLD:
                if abs(position - playback.position_at(now)) > NEAR_SECONDS + now - before.moved_at:
                    self.assertEqual(followed_position(evidence, playback, now), playback.position_at(now))
                self.assertTrue(before.trusted and plays and playing)
                self.assertLess(position - before.moved_position, 0.5 * (now - before.moved_at))
            elif verdict is Verdict.GUIDE:
                self.assertFalse(evidence.trusted)

    @given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 10), st.floats(0, 10))
    def test_a_title_is_seen_in_the_end(self, room_seq: int, titled: int, seconds: float, trip: float) -> None:
        playback = PLAYING.titled("https://a.example/2", START, seq=titled, by="ann")
        seen = newest_seen(playback, room_seq, seconds, trip)
        self.assertLessEqual(seen, room_seq)
        if seconds >= 0.5:
            self.assertEqual(seen, room_seq)
