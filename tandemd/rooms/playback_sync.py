"""Players' positions: the room follows its host's, others' show who watches, and guests are told every few seconds.

Positions stay on the node. They are by far the most frequent messages, so one costs a few assignments and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from .. import messages as m
from ..interfaces import IClusterClock, PlayerStatus
from ..messages.framing import text_frame
from ..rules.commands import Command, CorrectPlayback, HoldPlayback, StopUnwatched, Watching
from ..rules.event_types import EventType
from ..rules.hold import HELD
from ..rules.message_builders import sync_message
from ..rules.playback import drift
from ..rules.playback_authority import (
    LAST_CORRECTION_SECONDS,
    FollowSettings,
    HostEvidence,
    Verdict,
    correction_wait,
    is_stalled,
    observe,
)
from ..rules.settings import MAX_MEMBERS_PER_COMMIT
from ..rules.state import Commit, Room
from ..rules.title_allowlist import same_title
from .metrics import RoomMetrics
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
        self._follow_settings = FollowSettings(settings.drift, settings.play_state_after, settings.control_quiet)
        self._rooms = rooms
        self._metrics = metrics

    def position_received(
        self, session: Session, live: RoomReplica, message: m.PositionUpdate | m.HostHeartbeat
    ) -> None:
        """Take in the position of a member's player."""
        room = live.room
        if message.url is None or same_title(message.url, room.playback.url):
            now = self._clock.now()
            session.position = message.current_time
            session.playing = message.is_playing
            session.last_position_at = now
            if room.gate is None:
                if session.user == room.host:
                    self._observe_host(session, live, now)
                else:
                    self._correct(session, live, now)
            if not session.watching:
                session.watching = True
                live.new_watchers.append(session)
        if message.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

    def _observe_host(self, session: Session, live: RoomReplica, now: float) -> None:
        member = live.room.members.get(session.user)
        playback = live.room.playback
        if member is None or member.follows:
            if not playback.known and playback.url:
                body = CorrectPlayback(playback.position, playback.playing)
                live.commands.submit(QueuedCommand(Command(session.user, session.conn, body)))
            self._correct(session, live, now)
            return
        if live.evidence_of is not session:
            live.evidence_of, live.host_evidence = session, HostEvidence()
        live.host_evidence, verdict = observe(
            live.host_evidence, playback, session.position, session.playing, now, self._follow_settings
        )
        if verdict is Verdict.NOTHING:
            return
        if verdict is Verdict.GUIDE:
            self._correct(session, live, now)
            return
        wanted: CorrectPlayback | HoldPlayback
        if verdict is Verdict.HOLD:
            wanted = HoldPlayback(session.position)
        else:
            wanted = CorrectPlayback(session.position, session.playing)
            if playback.known:
                self._metrics.host_drift.observe(abs(drift(playback, session.position, now)))
        live.commands.submit(QueuedCommand(Command(session.user, session.conn, wanted)))

    def _correct(self, session: Session, live: RoomReplica, now: float) -> None:
        """Correct a player that is out of step where heartbeats do not: they end with the film, and leave play states."""
        playback, settings = live.room.playback, self._settings
        if session.playing == playback.playing:
            if playback.playing:
                if session.out_of_sync_since:
                    # It has begun to play: the next correction comes as soon as the first one did.
                    session.out_of_sync_since = 0.0
                    session.corrections_sent = 0
                return
            if abs(drift(playback, session.position, now)) <= settings.steer_drift:
                session.out_of_sync_since = 0.0
                session.corrections_sent = 0
                return
        if not playback.known or now - playback.control_at < settings.control_quiet:
            session.out_of_sync_since = 0.0
            session.corrections_sent = 0
        elif not session.out_of_sync_since:
            session.out_of_sync_since = now
        elif now - session.out_of_sync_since >= settings.steer_after and self._correction_due(session, live, now):
            if self._spared(session):
                return
            self._metrics.guest_resyncs.value += 1
            # Old clients take no 0 from PLAY_PAUSE, and no play state from a heartbeat without a drift.
            far = abs(drift(playback, session.position, now)) > settings.steer_drift
            steer = self._heartbeat(live.room, now) if far else sync_message(live.room, now)
            session.send(text_frame(m.encode(steer)))

    def _correction_due(self, session: Session, live: RoomReplica, now: float) -> bool:
        """Say whether a player that is out of step is corrected now, and count it: each in vain doubles the time between two."""
        if session.corrected_at < live.room.playback.control_at:
            session.corrections_sent = 0
        if session.corrections_sent and now - session.corrected_at < correction_wait(session.corrections_sent):
            return False
        session.corrections_sent += 1
        session.corrected_at = now
        return True

    def commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """Take note of an applied commit: a heartbeat need not repeat its news at once."""
        if "playback" in commit.changes:
            self._timeline_moved(live, commit)
        if "url" in commit.changes:
            live.titled_at = self._clock.now()
        if "host" in commit.changes or (commit.user == live.room.host and commit.event in _JOINS):
            live.evidence_of = None
        if "gate" in commit.changes and live.room.gate is None:
            # Players were silent while it was closed.
            for session in live.group:
                session.last_position_at = max(session.last_position_at, commit.at)

    def _timeline_moved(self, live: RoomReplica, commit: Commit) -> None:
        room = live.room
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
            live.evidence_of = live.group.get(room.host) if host is not None and not host.follows else None
            live.host_evidence = HostEvidence(room.playback.titled_at, commit.user == room.host)
        live.next_heartbeat_at = commit.at + self._settings.heartbeat

    def sweep(self, live: RoomReplica) -> None:
        """Send the heartbeat if it is due, and notice which members have begun or ceased to watch.

        To be called a few times a second for each room.
        """
        now, room = self._clock.now(), live.room
        if live.new_watchers:
            self.begin(live)
        if room.gate is None:
            if room.playback.playing and now >= live.next_heartbeat_at:
                live.next_heartbeat_at = now + self._settings.heartbeat
                if self._watched(live, now):
                    self._send_heartbeats(live, now)
            self._expire_watchers(live, now)

    def _watched(self, live: RoomReplica, now: float) -> bool:
        """Say whether members watch; if none has for a while, have the timeline stand still."""
        playback = live.room.playback
        if playback.unwatched:
            return False
        if not live.watched_at or any(member.watching for member in live.room.members.values()):
            live.watched_at = now
        elif now - max(live.watched_at, playback.control_at) >= self._settings.watching_timeout and len(live.group):
            live.commands.submit(QueuedCommand(Command("", "", StopUnwatched())))
        return True

    def begin(self, live: RoomReplica) -> None:
        """Have the room know who has begun to watch: one command for all of them, since a party begins together."""
        began, live.new_watchers = live.new_watchers, []
        _watch(live, True, [session for session in began if session.watching])

    def _send_heartbeats(self, live: RoomReplica, now: float) -> None:
        frame = text_frame(m.encode(self._heartbeat(live.room, now)))
        leader = _leader(live)
        for session in live.group:
            if session is not leader and not self._spared(session) and self._heartbeat_due(session, live, now):
                session.send(frame)

    def _heartbeat_due(self, session: Session, live: RoomReplica, now: float) -> bool:
        """Say whether a heartbeat does more good than harm: for a player that is out of step, each one is a correction."""
        playback, reported_at = live.room.playback, session.last_position_at
        if session.watching and session.playing != playback.playing:
            return False  # `_correct` sends the message that moves it
        if not session.corrections_sent or reported_at > session.corrected_at:
            if reported_at <= playback.at:
                return True
            if abs(drift(playback, session.position, reported_at)) <= self._settings.steer_drift:
                session.corrections_sent = 0
                return True
        progress, elapsed = session.position - session.compared_position, reported_at - session.compared_at
        session.compared_position, session.compared_at = session.position, reported_at
        if is_stalled(progress, elapsed, playback.rate) and now - session.corrected_at < LAST_CORRECTION_SECONDS:
            # A player that waits for its data gets nowhere by a seek.
            return False
        return self._correction_due(session, live, now)

    def _spared(self, session: Session) -> bool:
        """Whether a client does not read, so that a message from the timeline would be old when it does; a new one follows."""
        if session.lagging and session.on_drained is None:
            session.on_drained = lambda: self._refresh(session)
        return session.lagging

    def _refresh(self, session: Session) -> None:
        if session.group is not None:
            room = session.group.live.room
            # A host that the room follows needs no word of it; and a member that waits at a gate is told when it opens.
            if session is not _leader(session.group.live) and room.gate is None:
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
        ceased = [session for session in live.group if session.watching and session.last_position_at < since]
        if ceased:
            for session in ceased:
                session.watching = False
            _watch(live, False, ceased)

    def out_of_sync_count(self) -> int:
        """Return how many guests here watch, and were more than ADRIFT from the room when they last said where they are."""
        return sum(
            abs(drift(live.room.playback, session.position, session.last_position_at)) > OUT_OF_SYNC_SECONDS
            for live in self._rooms()
            if live.room.gate is None and live.room.playback.known
            for session in live.group
            # A position from before a control says nothing about its effect.
            if session.watching
            and session.user != live.room.host
            and session.last_position_at - live.room.playback.control_at > self._settings.control_quiet
        )

    def presence(self) -> list[PlayerStatus]:
        """Return how the members connected here are doing."""
        now = self._clock.now()
        return [
            PlayerStatus(live.room.room_uuid, session.user, session.position, session.playing, session.quality, now)
            for live in self._rooms()
            for session in live.group
        ]


_CONTROLS = frozenset((EventType.PLAY_PAUSE, EventType.SEEK))
_JOINS = frozenset((EventType.USER_JOINED, EventType.USER_REJOINED, EventType.USER_RESUMED))


def _leader(live: RoomReplica) -> Session | None:
    """Return the session of the host whose player the room follows, if it is here."""
    return live.evidence_of if live.host_evidence.trusted else None


def _watch(live: RoomReplica, watching: bool, sessions: Iterable[Session]) -> None:
    # The rules ignore sessions that have left the room, or speak for another member now.
    members = tuple((session.user, session.conn) for session in sessions)
    for start in range(0, len(members), MAX_MEMBERS_PER_COMMIT):
        live.commands.submit(
            QueuedCommand(Command("", "", Watching(watching, members[start : start + MAX_MEMBERS_PER_COMMIT])))
        )
