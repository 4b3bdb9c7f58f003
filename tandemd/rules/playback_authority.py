"""The authority over a timeline: which reports of a host's player move it, and how often a member is corrected.

The timeline is the room's. Controls move it; reports of players are evidence. A client that follows the room is never
followed. The room follows the player of any other host, on evidence of motion, once that player has been in step.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from .playback import LEFTOVER_SECONDS, Playback, drift

SLOWEST, FASTEST = 0.5, 2.0
"""The progress of a playing player in a second, as multiples of the rate; anything else is no evidence of motion."""
PAUSED_PROGRESS_SECONDS = 0.1
"""By how many seconds two reports of a paused player may differ: players round."""
REPORT_GAP_SECONDS = 3.0
"""The most time between two reports that are compared. Players are silent while they seek, and after controls."""
STALL_SECONDS = 1.5
"""How long a playing player may make no progress before the room waits for it."""
NEAR_SECONDS = 3.0
"""By how much a player that stalls may differ from the timeline and hold the room where the player stands. Reports are ignored
for `FollowSettings.control_quiet` after a control, so a player that has stalled since then is that far behind."""
STALL_REPORTS = 2
"""How many reports in a row must show that: a single one may have been late."""
LATE_SECONDS = 0.6
"""A report that is less than this behind the timeline, and shows less than `PROMPT` of the rate, was perhaps late."""
PROMPT = 0.75
IN_STEP_SECONDS = 0.5
"""By how much a player that is in step may differ from the timeline."""
UNSEEN_TITLE_SECONDS = 0.5
"""The longest time after a title in which a control may come from a client that has not seen it."""
LEAST_ROUND_TRIP_SECONDS = 0.002
"""The round trip of a connection before it is measured, and the least one: in a data centre."""

JUMP_AGAIN_SECONDS, JUMP_STEADY_SECONDS = 30.0, 3.0
"""How long after the room has followed a jump of the player the next jump needs more evidence, and how long the player must move
without a jump for that. Two pages of one member that report in turn would move the room to and fro."""

LEFTOVER_MARGIN_SECONDS = 2.0
"""By how much such a report may differ from the old timeline."""
LEFTOVER_FASTEST = 1.25
"""The greatest progress of the old player, as a multiple of the time since the members left its title."""
OPENING_SECONDS = 5.0
"""By how much a player may be ahead of a title that began when it was chosen: a page tells its title after a moment."""

FIRST_CORRECTION_SECONDS, LAST_CORRECTION_SECONDS = 3.0, 30.0
"""The shortest and the longest time between two corrections of a client that does not get in step."""


class FollowSettings(Struct, frozen=True):
    """The limits of the configuration, in seconds.

    drift: distance from the timeline at which the timeline is corrected.
    play_state_after: how long the host must play or pause otherwise than the room before the room does as well.
    control_quiet: how long after a control reports may be older than it.
    """

    drift: float = 0.25
    play_state_after: float = 1.5
    control_quiet: float = 2.0


class Motion(Enum):
    """The comparison of two reports of one player."""

    UNKNOWN = "not comparable: the first report, or the first one after a silence or a change between play and pause"
    MOVING = "plays at about the room's rate"
    STANDING = "is paused"
    STALLED = "says that it plays, and makes too little progress"
    JUMPED = "is somewhere else"


class Verdict(Enum):
    """The consequence of a report of the host's player."""

    NOTHING = "the report says nothing new, or nothing reliable"
    FOLLOW = "the timeline moves to the report"
    HOLD = "the player stalls: the room is paused"
    GUIDE = "the player has not been in step: it is corrected as a guest is"


class HostEvidence(Struct, frozen=True, gc=False):
    """The evidence that the reports of one host's player gave for one title.

    titled_at: names the title; see `Playback`.
    trusted: whether the player was in step with the title once, or its member has sent a control.
    position, playing, at: the last report and its server time; `at` is 0.0 without one.
    moved_position, moved_at: the last report with progress, while the player plays; `moved_at` is 0.0 without one.
    still_reports: the number of reports since then, which show no progress.
    mismatch_since: since when it plays in a paused room, or the other way round; 0.0: it does not.
    steady_since: since when its reports fit each other; `at` if the last one did not fit.
    jump_followed_at: when the room followed a jump of it last; 0.0: never.
    """

    titled_at: float = 0.0
    trusted: bool = False
    position: float = 0.0
    playing: bool = False
    at: float = 0.0
    moved_position: float = 0.0
    moved_at: float = 0.0
    still_reports: int = 0
    mismatch_since: float = 0.0
    steady_since: float = 0.0
    jump_followed_at: float = 0.0


def motion(before: HostEvidence, position: float, playing: bool, now: float, rate: float) -> Motion:
    """Compare a report with the one before it."""
    elapsed = now - before.at
    if not before.at or playing != before.playing or not 0 < elapsed <= REPORT_GAP_SECONDS:
        return Motion.UNKNOWN
    progress = position - before.position
    if not playing:
        return Motion.STANDING if abs(progress) <= PAUSED_PROGRESS_SECONDS else Motion.JUMPED
    if progress < -PAUSED_PROGRESS_SECONDS or progress > FASTEST * rate * elapsed:
        return Motion.JUMPED
    return Motion.MOVING if progress >= SLOWEST * rate * elapsed else Motion.STALLED


def continues_old_title(playback: Playback, position: float, now: float) -> bool:
    """Return whether a report may come from the player of a title that the members have left.

    That player stands where it was, or plays on. A position belongs to the new title if the room is there, or if the new
    title can have played from its beginning to there.
    """
    elapsed = max(0.0, now - playback.titled_at)
    if not playback.titled_at or elapsed > LEFTOVER_SECONDS or position <= elapsed + OPENING_SECONDS:
        return False
    if playback.known and abs(drift(playback, position, now)) <= IN_STEP_SECONDS:
        return False
    earliest = playback.left_position - LEFTOVER_MARGIN_SECONDS
    latest = playback.left_position + LEFTOVER_FASTEST * (now - playback.left_at) + LEFTOVER_MARGIN_SECONDS
    return earliest <= position <= latest


def is_in_step(
    evidence: HostEvidence, playback: Playback, position: float, playing: bool, now: float, settings: FollowSettings
) -> bool:
    """Return whether a report of a trusted host says that its player is where the room is."""
    return (
        evidence.trusted
        and evidence.titled_at == playback.titled_at
        and playing == playback.playing
        and not playback.held
        and now - playback.control_at >= settings.control_quiet
        and abs(drift(playback, position, now)) <= settings.drift
    )


def evidence_in_step(
    before: HostEvidence, playback: Playback, position: float, playing: bool, now: float
) -> HostEvidence:
    """Return the evidence after a report of a trusted host in step: its player has moved or stood as the room has."""
    jump_followed_at = before.jump_followed_at
    return HostEvidence(
        playback.titled_at, True, position, playing, now, position, now, jump_followed_at=jump_followed_at
    )


def observe(
    before: HostEvidence, playback: Playback, position: float, playing: bool, now: float, settings: FollowSettings
) -> tuple[HostEvidence, Verdict]:
    """Weigh a report of the host's player, and return the evidence with it and the consequence.

    before: the evidence so far; that for another title is dropped.
    """
    if is_in_step(before, playback, position, playing, now, settings):
        return evidence_in_step(before, playback, position, playing, now), Verdict.NOTHING
    if before.titled_at != playback.titled_at:
        before = HostEvidence(playback.titled_at)
    trusted = before.trusted
    if continues_old_title(playback, position, now):
        return HostEvidence(playback.titled_at, trusted), Verdict.NOTHING
    if now - playback.control_at < settings.control_quiet:
        return HostEvidence(playback.titled_at, trusted), Verdict.NOTHING
    off = drift(playback, position, now)
    if before.at and now - before.at > REPORT_GAP_SECONDS and abs(off) > NEAR_SECONDS:
        # Old clients say nothing while their player is at 0, as a page that loads again. It begins where it likes.
        trusted = False
    if not trusted and playback.known:
        trusted = playing == playback.playing and abs(off) <= IN_STEP_SECONDS
        if not trusted:
            after = HostEvidence(playback.titled_at, False, position, playing, now, position, now)
            if not playback.held:
                return after, Verdict.GUIDE
            # A correction would pause it in earnest. The room goes on as soon as it moves, and then the player is corrected.
            reliable = motion(before, position, playing, now, playback.rate) in (Motion.MOVING, Motion.STANDING)
            return after, Verdict.FOLLOW if reliable else Verdict.NOTHING
    moves = motion(before, position, playing, now, playback.rate)
    after = _evidence(before, playback, position, playing, now, moves)
    verdict = _weigh(before, after, playback, settings, moves, off)
    if verdict is Verdict.HOLD and abs(drift(playback, after.moved_position, after.moved_at)) > NEAR_SECONDS:
        after = replace(after, trusted=False)
    if verdict is Verdict.FOLLOW and abs(off) > NEAR_SECONDS and playback.known and after.trusted:
        is_another = after.jump_followed_at <= after.steady_since
        if is_another and now < min(
            after.jump_followed_at + JUMP_AGAIN_SECONDS, after.steady_since + JUMP_STEADY_SECONDS
        ):
            return after, Verdict.NOTHING
        after = replace(after, jump_followed_at=now)
    return after, verdict


def followed_position(evidence: HostEvidence, playback: Playback, now: float) -> float:
    """Return the position at which the room goes on or stands after FOLLOW or HOLD, in seconds.

    evidence: with the report. The room stays where it is if the player is not to be believed: it stood still where no motion
    has led, as at the beginning after its page was loaded again.
    """
    believed = evidence.trusted or not playback.known
    return evidence.position if believed else playback.position_at(now)


def _evidence(
    before: HostEvidence, playback: Playback, position: float, playing: bool, now: float, moves: Motion
) -> HostEvidence:
    """Return the evidence with a report of a trusted host, or of the first one in an unknown title."""
    trusted, since = before.trusted or playback.known, 0.0
    if playback.known and playing != playback.playing and moves is not Motion.STALLED and moves is not Motion.JUMPED:
        since = before.mismatch_since or now
    reliable = moves is Motion.MOVING or moves is Motion.STANDING
    steady_since = (before.steady_since or before.at) if reliable else now
    if moves is Motion.STALLED or moves is Motion.JUMPED:
        progress = position - before.moved_position
        # A late report is weighed with the next ones, since the last progress.
        if -PAUSED_PROGRESS_SECONDS <= progress < SLOWEST * playback.rate * (now - before.moved_at):
            return replace(
                before,
                titled_at=playback.titled_at,
                trusted=trusted,
                position=position,
                playing=playing,
                at=now,
                still_reports=before.still_reports + 1,
                mismatch_since=since,
                steady_since=now,
            )
    return HostEvidence(
        titled_at=playback.titled_at,
        trusted=trusted,
        position=position,
        playing=playing,
        at=now,
        moved_position=position,
        moved_at=now,
        mismatch_since=since,
        steady_since=steady_since,
        jump_followed_at=before.jump_followed_at,
    )


def _weigh(
    before: HostEvidence, after: HostEvidence, playback: Playback, settings: FollowSettings, moves: Motion, off: float
) -> Verdict:
    """Return the consequence of a report that counts. off: its distance from the timeline."""
    reliable = moves is Motion.MOVING or moves is Motion.STANDING
    if not playback.known or (playback.held and moves is Motion.MOVING):
        return Verdict.FOLLOW if reliable else Verdict.NOTHING
    if after.playing != playback.playing:
        lasts = after.mismatch_since and after.at - after.mismatch_since >= settings.play_state_after
        return Verdict.FOLLOW if reliable and lasts else Verdict.NOTHING
    if after.playing and after.still_reports >= STALL_REPORTS and after.at - after.moved_at >= STALL_SECONDS:
        return Verdict.HOLD
    if not reliable or (abs(off) <= settings.drift and not playback.held):
        return Verdict.NOTHING
    if after.playing and -LATE_SECONDS < off < 0.0:
        progress = after.position - before.position
        if progress < PROMPT * playback.rate * (after.at - before.at):
            return Verdict.NOTHING
    return Verdict.FOLLOW


def newest_seen(playback: Playback, room_seq: int, titled_for: float, round_trip: float) -> int:
    """Return the seq up to which a client that sends no `seq` can have seen the room when its control arrives.

    room_seq: the last commit that the server had sent it. titled_for: since how many seconds the server has sent the title.
    round_trip: of its connection, in seconds; 0.0 before it is measured.
    """
    if playback.titled_seq and titled_for < min(UNSEEN_TITLE_SECONDS, max(LEAST_ROUND_TRIP_SECONDS, round_trip)):
        return min(room_seq, playback.titled_seq - 1)
    return room_seq


def missed_title(playback: Playback, user: str, seen: int | None) -> bool:
    """Return whether the sender of a control had not seen the present title, which another member chose.

    seen: the last seq that the sender had seen; None: not known.
    """
    return seen is not None and seen < playback.titled_seq and playback.titled_by != user


def allows_following(playback: Playback) -> bool:
    """Return whether the room follows the player of a host whose client does not follow the room.

    At another rate than 1 it does not: such a client knows no rates, and its player would set all others back all the time. The
    server guides it as a guest.
    """
    return playback.rate == 1.0


def is_stalled(progress: float, elapsed: float, rate: float) -> bool:
    """Return whether a player that says it plays makes too little progress, by two of its reports a few seconds apart.

    rate: that of the room. A client that knows no rates plays at rate 1 in a faster room, which is no stall.
    """
    return 0.0 < elapsed <= 4 * FIRST_CORRECTION_SECONDS and abs(progress) < SLOWEST * min(rate, 1.0) * elapsed


def correction_wait(sent: int) -> float:
    """Return the seconds that must lie between a correction and the next one, after `sent` corrections without effect."""
    if sent <= 0:
        return 0.0
    return min(LAST_CORRECTION_SECONDS, FIRST_CORRECTION_SECONDS * 2.0 ** min(sent - 1, 10))
