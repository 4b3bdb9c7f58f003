"""Players' positions: the room follows its host's, others' show who watches, and guests are told every few seconds.

Positions stay on the node. They are by far the most frequent messages, so one costs a few assignments and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from .. import messages as m
from ..interfaces import IClusterClock, PlayerStatus
from ..messages.framing import text_frame
from ..rules.commands import Command, CorrectPlayback, HoldPlayback, StopAtEnd, StopUnwatched, Watching
from ..rules.event_types import EventType
from ..rules.film_end import PAST_END_SECONDS, EndReport, film_end
from ..rules.hold import HELD
from ..rules.message_builders import sync_message
from ..rules.permissions import believes_it_controls
from ..rules.playback import drift
from ..rules.playback_authority import (
    LAST_CORRECTION_SECONDS,
    FollowSettings,
    HostEvidence,
    Verdict,
    correction_wait,
    evidence_in_step,
    is_in_step,
    is_stalled,
    observe,
)
from ..rules.playback_commands import may_be_watched
from ..rules.settings import MAX_MEMBERS_PER_COMMIT
from ..rules.state import Commit, Room
from ..rules.title_allowlist import same_title
from .metrics import RoomMetrics
from .player_state import PlayerState
from .queued_command import QueuedCommand
from .replica import RoomReplica
from .session import Session


class PlaybackSyncSettings(Struct, frozen=True):
    """Durations in seconds.

    heartbeat: between two messages to guests. drift, play_state_after, control_quiet: see `FollowSettings`.
    watching_timeout: without positions for so long, a member does not watch any more.
    steer_after: how long a guest must play or pause otherwise than the room, or be elsewhere while it is paused, before it
    is corrected. steer_drift: the distance, in seconds, that counts as elsewhere.
    """

    heartbeat: float
    drift: float
    play_state_after: float
    control_quiet: float
    watching_timeout: float
    steer_after: float = 3.0
    steer_drift: float = 0.5


OUT_OF_SYNC_SECONDS = 2.0
"""Seconds; a player further from the room shows another scene than the others."""


class PlaybackSync:
    """Weighs the positions of members' players. rooms: returns the rooms that are open here."""

    def __init__(
        self,
        clock: IClusterClock,
        settings: PlaybackSyncSettings,
        rooms: Callable[[], Iterable[RoomReplica]],
        metrics: RoomMetrics,
    ):
        self._clock = clock
        self._settings = settings
        self._drift = settings.drift
        self._follow_settings = FollowSettings(settings.drift, settings.play_state_after, settings.control_quiet)
        self._rooms = rooms
        self._metrics = metrics

    def position_received(
        self, session: Session, live: RoomReplica, message: m.PositionUpdate | m.HostHeartbeat
    ) -> None:
        """Take in the position of a member's player."""
        playback = live.room.playback
        if message.url is None or same_title(message.url, playback.url):
            player, now = session.player, self._clock.now()
            position, playing = message.current_time, message.is_playing
            if (
                player.in_step_with is playback
                and playing is playback.playing
                and -self._drift <= position - playback.position_at(now) <= self._drift
            ):
                # Nearly every report of a host; `_weigh` makes evidence of it if the next one differs.
                player.position, player.reported_at = position, now
            else:
                self._weigh(session, live, position, playing, now)
            if message.ended is not player.ended or message.duration != player.duration:
                player.end_reported(message.ended, message.duration, now)
            if not player.watching:
                player.watching = True
                live.sync.new_watchers.append(session)
        if message.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

    def _weigh(self, session: Session, live: RoomReplica, position: float, playing: bool, now: float) -> None:
        """Store a report, and act on it if the room expects another one."""
        player, sync, room = session.player, live.sync, live.room
        if player.in_step_with is not None:
            if sync.host is session:
                sync.host_evidence = evidence_in_step(
                    player.in_step_with, player.position, player.playing, player.reported_at
                )
            player.in_step_with = None
        player.position = position
        player.playing = playing
        player.reported_at = now
        if room.gate is None:
            if session.user == room.host:
                self._observe_host(session, live, now)
            else:
                self._correct(session, live, now)

    def _observe_host(self, session: Session, live: RoomReplica, now: float) -> None:
        member, player, sync = live.room.members.get(session.user), session.player, live.sync
        playback = live.room.playback
        if member is None or member.follows:
            if not playback.known and playback.url:
                body = CorrectPlayback(playback.position, playback.playing)
                live.commands.submit(QueuedCommand(Command(session.user, session.conn, body)))
            self._correct(session, live, now)
            return
        if sync.host is not session:
            sync.weigh(session, HostEvidence())
        sync.host_evidence, verdict = observe(
            sync.host_evidence, playback, player.position, player.playing, now, self._follow_settings
        )
        if verdict is Verdict.NOTHING:
            if is_in_step(sync.host_evidence, playback, player.position, player.playing, now, self._follow_settings):
                player.in_step_with = playback
            return
        if verdict is Verdict.GUIDE:
            self._correct(session, live, now)
            return
        wanted: CorrectPlayback | HoldPlayback
        if verdict is Verdict.HOLD:
            wanted = HoldPlayback(player.position)
        else:
            wanted = CorrectPlayback(player.position, player.playing)
            if playback.known:
                self._metrics.host_drift.observe(abs(drift(playback, player.position, now)))
        live.commands.submit(QueuedCommand(Command(session.user, session.conn, wanted)))

    def _correct(self, session: Session, live: RoomReplica, now: float) -> None:
        """Correct a player that is out of step where heartbeats do not: they end with the film, and leave play states."""
        player, playback, settings = session.player, live.room.playback, self._settings
        if player.playing == playback.playing:
            if playback.playing:
                if player.out_of_sync_since:
                    # It has begun to play: the next correction comes as soon as the first one did.
                    player.in_step()
                return
            if abs(drift(playback, player.position, now)) <= settings.steer_drift:
                player.in_step()
                return
        if not playback.known or now - playback.control_at < settings.control_quiet:
            player.in_step()
        elif player.ended and player.position <= playback.position_at(now) + settings.steer_drift:
            player.in_step()  # It has no more to play.
        elif not player.out_of_sync_since:
            player.out_of_sync_since = now
        elif now - player.out_of_sync_since >= settings.steer_after and self._correction_due(player, live, now):
            if self._spared(session):
                return
            self._metrics.guest_resyncs.value += 1
            # Old clients take no 0 from PLAY_PAUSE, and no play state from a heartbeat without a drift.
            far = abs(drift(playback, player.position, now)) > settings.steer_drift
            steer = self._heartbeat(live.room, now) if far else sync_message(live.room, now)
            session.send(text_frame(m.encode(steer)))

    def _correction_due(self, player: PlayerState, live: RoomReplica, now: float) -> bool:
        """Say whether a player that is out of step is corrected now, and count it: each in vain doubles the time between two."""
        if player.corrected_at < live.room.playback.control_at:
            player.corrections_sent = 0
        if player.corrections_sent and now - player.corrected_at < correction_wait(player.corrections_sent):
            return False
        player.corrections_sent += 1
        player.corrected_at = now
        return True

    def commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """Take note of an applied commit: a heartbeat need not repeat its news at once."""
        if "playback" in commit.changes:
            self._timeline_moved(live, commit)
        if "url" in commit.changes:
            live.sync.titled_at = self._clock.now()
        if "host" in commit.changes or (commit.user == live.room.host and commit.event in _JOINS):
            live.sync.weigh(None, live.sync.host_evidence)
        if commit.event in _JOINS:
            self._take_over_watching(live, live.group.get(commit.user))
        if "gate" in commit.changes and live.room.gate is None:
            # Players were silent while it was closed.
            for session in live.group:
                session.player.reported_at = max(session.player.reported_at, commit.at)

    def room_reloaded(self, live: RoomReplica) -> None:
        """Weigh the players from the beginning: the room may have another host, and know of other watchers."""
        live.sync.weigh(None, HostEvidence())
        for session in live.group:
            self._take_over_watching(live, session)

    def _take_over_watching(self, live: RoomReplica, session: Session | None) -> None:
        """Have the next report of a player begin to watch, if the room has taken its member for lost meanwhile."""
        member = live.room.members.get(session.user) if session is not None else None
        if session is not None and member is not None and member.conn == session.conn:
            session.player.watching = member.watching

    def _timeline_moved(self, live: RoomReplica, commit: Commit) -> None:
        room, sync = live.room, live.sync
        if commit.details is not None and HELD in commit.details:
            frame = text_frame(m.encode(sync_message(room, self._clock.now())))
            for session in live.group:
                if session.user != room.host:
                    session.send(frame)
        elif not commit.messages:
            return
        elif commit.event in _CONTROLS and not (commit.details or {}).get("followed"):
            # The host's own control is where its player is; after another member's, its player has to get there first.
            host = room.members.get(room.host)
            followed = live.group.get(room.host) if host is not None and not host.follows else None
            sync.weigh(followed, HostEvidence(room.playback.titled_at, commit.user == room.host))
        sync.next_heartbeat_at = commit.at + self._settings.heartbeat

    def sweep(self, live: RoomReplica) -> None:
        """Send the heartbeat if it is due, and notice which members have begun or ceased to watch.

        To be called a few times a second for each room.
        """
        now, room, sync = self._clock.now(), live.room, live.sync
        if sync.new_watchers:
            self.begin(live)
        if room.gate is None:
            if room.playback.playing and now >= sync.next_heartbeat_at:
                sync.next_heartbeat_at = now + self._settings.heartbeat
                if self._watched(live, now) and not self._ended(live, now):
                    self._send_heartbeats(live, now)
            self._expire_watchers(live, now)

    def _watched(self, live: RoomReplica, now: float) -> bool:
        """Say whether members watch; if none has for a while, have the timeline stand still."""
        playback, sync = live.room.playback, live.sync
        if playback.unwatched:
            return False
        if not sync.watched_at or may_be_watched(live.room):
            sync.watched_at = now
        elif now - max(sync.watched_at, playback.control_at) >= self._settings.watching_timeout and len(live.group):
            live.commands.submit(QueuedCommand(Command("", "", StopUnwatched())))
        return True

    def _ended(self, live: RoomReplica, now: float) -> bool:
        """Say whether the timeline is past the end of the film; if so, have it stop there."""
        room = live.room
        if not any(session.player.ended or session.player.duration is not None for session in live.group):
            return False
        reports = [
            EndReport(
                session.player.position,
                session.player.ended,
                session.player.duration or 0.0,
                now - session.player.duration_since,
                believes_it_controls(room, session.user),
            )
            for session in live.group
            if session.player.watching and session.player.reported_at > room.playback.control_at
        ]
        end = film_end(reports, sum(member.watching for member in room.members.values()))
        if not end or room.playback.position_at(now) < end + PAST_END_SECONDS:
            return False
        live.commands.submit(QueuedCommand(Command("", "", StopAtEnd(end))))
        return True

    def begin(self, live: RoomReplica) -> None:
        """Have the room know who has begun to watch: one command for all of them, since a party begins together."""
        began, live.sync.new_watchers = live.sync.new_watchers, []
        sessions = [session for session in began if session.player.watching]
        playback, position = live.room.playback, None
        if playback.unwatched and sessions:
            position = max(session.player.position_if_played_on(playback) for session in sessions)
        _watch(live, True, sessions, position)

    def _send_heartbeats(self, live: RoomReplica, now: float) -> None:
        frame = text_frame(m.encode(self._heartbeat(live.room, now)))
        leader = live.sync.leader
        for session in live.group:
            if session is not leader and not self._spared(session) and self._heartbeat_due(session.player, live, now):
                session.send(frame)

    def _heartbeat_due(self, player: PlayerState, live: RoomReplica, now: float) -> bool:
        """Say whether a heartbeat does more good than harm: for a player that is out of step, each one is a correction."""
        playback, reported_at = live.room.playback, player.reported_at
        if player.watching and player.playing != playback.playing:
            return False  # `_correct` sends the message that moves it
        if not player.corrections_sent or reported_at > player.corrected_at:
            if reported_at <= playback.at:
                return True
            if abs(drift(playback, player.position, reported_at)) <= self._settings.steer_drift:
                player.corrections_sent = 0
                return True
        progress, elapsed = player.position - player.compared_position, reported_at - player.compared_at
        player.compared_position, player.compared_at = player.position, reported_at
        if is_stalled(progress, elapsed, playback.rate) and now - player.corrected_at < LAST_CORRECTION_SECONDS:
            # A player that waits for its data gets nowhere by a seek.
            return False
        return self._correction_due(player, live, now)

    def _spared(self, session: Session) -> bool:
        """Whether a client does not read, so that a message from the timeline would be old when it does; a new one follows."""
        if session.lagging and session.on_drained is None:
            session.on_drained = lambda: self._refresh(session)
        return session.lagging

    def _refresh(self, session: Session) -> None:
        if session.group is not None:
            room = session.group.live.room
            # A host that the room follows needs no word of it; and a member that waits at a gate is told when it opens.
            if session is not session.group.live.sync.leader and room.gate is None:
                session.send(text_frame(m.encode(sync_message(room, self._clock.now()))))

    def _heartbeat(self, room: Room, now: float) -> m.Heartbeat:
        return m.Heartbeat(
            user_id=m.SERVER,
            current_time=room.playback.position_at(now),
            is_playing=room.playback.playing,
            timestamp=int(now * 1000),
            seq=room.seq,
        )

    def _expire_watchers(self, live: RoomReplica, now: float) -> None:
        # Players are silent while a gate is closed and for a moment afterwards.
        since = now - self._settings.watching_timeout
        if live.room.playback.control_at > since:
            return
        ceased = [session for session in live.group if session.player.watching and session.player.reported_at < since]
        if ceased:
            for session in ceased:
                session.player.went_away()
            _watch(live, False, ceased)

    def out_of_sync_count(self) -> int:
        """Return how many guests here watch, and whose last report was further from the room than `OUT_OF_SYNC_SECONDS`."""
        return sum(
            abs(drift(live.room.playback, session.player.position, session.player.reported_at)) > OUT_OF_SYNC_SECONDS
            for live in self._rooms()
            if live.room.gate is None and live.room.playback.known
            for session in live.group
            # A position from before a control says nothing about its effect.
            if session.player.watching
            and session.user != live.room.host
            and session.player.reported_at - live.room.playback.control_at > self._settings.control_quiet
        )

    def presence(self) -> list[PlayerStatus]:
        """Return how the members connected here are doing."""
        now = self._clock.now()
        return [
            PlayerStatus(
                live.room.room_uuid, session.user, session.player.position, session.player.playing, session.quality, now
            )
            for live in self._rooms()
            for session in live.group
        ]


_CONTROLS = frozenset((EventType.PLAY_PAUSE, EventType.SEEK))
_JOINS = frozenset((EventType.USER_JOINED, EventType.USER_REJOINED, EventType.USER_RESUMED))


def _watch(live: RoomReplica, watching: bool, sessions: Iterable[Session], position: float | None = None) -> None:
    # The rules ignore sessions that have left the room, or speak for another member now.
    members = tuple((session.user, session.conn) for session in sessions)
    for start in range(0, len(members), MAX_MEMBERS_PER_COMMIT):
        live.commands.submit(
            QueuedCommand(
                Command("", "", Watching(watching, members[start : start + MAX_MEMBERS_PER_COMMIT], position))
            )
        )
