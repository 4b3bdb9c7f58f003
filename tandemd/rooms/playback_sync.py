"""Players' positions: the room follows its host's, others' show who watches, and guests are told every few seconds.

Positions stay on the node. They are by far the most frequent messages, so one costs a few assignments and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from .. import messages as m
from ..interfaces import IClusterClock, PlayerStatus
from ..messages.framing import text_frame
from ..rules.commands import Command, CorrectPlayback, Watching
from ..rules.message_builders import sync_message
from ..rules.playback import drift
from ..rules.settings import MAX_MEMBERS_PER_COMMIT
from ..rules.state import Commit, Room
from .metrics import RoomMetrics
from .queued_command import QueuedCommand
from .replica import RoomReplica
from .session import Session


class PlaybackSyncSettings(Struct, frozen=True):
    """Durations in seconds.

    heartbeat: between two messages to guests. drift: how far the host may be from the timeline before the timeline is
    corrected. play_state_after: how long the host must play or pause otherwise than the room before the room does as well.
    control_quiet: after a control, positions may be older than it and are not believed.
    watching_timeout: without positions for so long, a member does not watch any more.
    steer_after: how long a guest must play or pause otherwise than the room, or be elsewhere while it is paused, before it
    is told again where the room is. steer_drift: what is elsewhere.
    """

    heartbeat: float
    drift: float
    play_state_after: float
    control_quiet: float
    watching_timeout: float
    steer_after: float = 3.0
    steer_drift: float = 0.5


STEERS = 5
"""How often a guest is steered in vain until there is another control: some players cannot get there."""


OUT_OF_SYNC_SECONDS = 2.0
"""Seconds; who is further from the room sees another scene than the others."""


class PlaybackSync:
    """What members' players say, and what follows from it. rooms: returns the rooms that are open here."""

    def __init__(
        self,
        clock: IClusterClock,
        settings: PlaybackSyncSettings,
        rooms: Callable[[], Iterable[RoomReplica]],
        metrics: RoomMetrics,
    ):
        self._clock = clock
        self._settings = settings
        self._rooms = rooms
        self._metrics = metrics

    def position_received(
        self, session: Session, live: RoomReplica, message: m.PositionUpdate | m.HostHeartbeat
    ) -> None:
        """A member's player has said where it is."""
        now = self._clock.now()
        session.position = message.current_time
        session.playing = message.is_playing
        session.last_position_at = now
        room = live.room
        if room.gate is None:
            if session.user == room.host:
                self._follow(session, live, now)
            else:
                self._resync_guest(session, live, now)
        if not session.watching:
            session.watching = True
            live.new_watchers.append(session)
        if message.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

    def _follow(self, session: Session, live: RoomReplica, now: float) -> None:
        playback, settings = live.room.playback, self._settings
        if now - playback.control_at < settings.control_quiet:
            live.host_mismatch_since = 0.0
            return
        if session.playing != playback.playing and playback.known:
            if not live.host_mismatch_since:
                live.host_mismatch_since = now
                return
            if now - live.host_mismatch_since < settings.play_state_after:
                return
        elif playback.known and -settings.drift <= drift(playback, session.position, now) <= settings.drift:
            live.host_mismatch_since = 0.0
            return
        live.host_mismatch_since = 0.0
        if playback.known:
            self._metrics.host_drift.observe(abs(drift(playback, session.position, now)))
        live.submit(
            QueuedCommand(Command(session.user, session.conn, CorrectPlayback(session.position, session.playing)))
        )

    def _resync_guest(self, session: Session, live: RoomReplica, now: float) -> None:
        """Tell a guest that is out of step, where heartbeats would not: they end with the film, and leave play states."""
        playback, settings = live.room.playback, self._settings
        if session.playing == playback.playing and (
            playback.playing or abs(drift(playback, session.position, now)) <= settings.steer_drift
        ):
            session.out_of_sync_since = 0.0
        elif not playback.known or now - playback.control_at < settings.control_quiet:
            session.out_of_sync_since = 0.0
            session.resyncs_sent = 0
        elif not session.out_of_sync_since:
            session.out_of_sync_since = now
        elif now - session.out_of_sync_since >= settings.steer_after and session.resyncs_sent < STEERS:
            session.out_of_sync_since = 0.0
            session.resyncs_sent += 1
            if self._spared(session):
                return
            self._metrics.guest_resyncs.value += 1
            # Old clients take no 0 from PLAY_PAUSE, and no play state from a heartbeat without a drift.
            far = abs(drift(playback, session.position, now)) > settings.steer_drift
            steer = self._heartbeat(live.room, now) if far else sync_message(live.room, now)
            session.send(text_frame(m.encode(steer)))

    def commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """A commit has been applied: what it told of the film need not be told again at once."""
        if commit.messages and "playback" in commit.changes:
            live.next_heartbeat_at = commit.at + self._settings.heartbeat
        if "gate" in commit.changes and live.room.gate is None:
            # Players were silent while it was closed.
            for session in live.group:
                session.last_position_at = max(session.last_position_at, commit.at)

    def sweep(self, live: RoomReplica) -> None:
        """Send the heartbeat if it is due, and notice who watches now and who does not any more.

        To be called a few times a second for each room.
        """
        now, room = self._clock.now(), live.room
        if live.new_watchers:
            self.begin(live)
        if room.gate is None:
            if room.playback.playing and now >= live.next_heartbeat_at:
                live.next_heartbeat_at = now + self._settings.heartbeat
                self._send_heartbeats(live, now)
            self._expire_watchers(live, now)

    def begin(self, live: RoomReplica) -> None:
        """Have the room know who has begun to watch: one command for all of them, since a party begins together."""
        began, live.new_watchers = live.new_watchers, []
        _watch(live, True, [session for session in began if session.watching])

    def _send_heartbeats(self, live: RoomReplica, now: float) -> None:
        frame, host = text_frame(m.encode(self._heartbeat(live.room, now))), live.room.host
        for session in live.group:
            if session.user != host and not self._spared(session):
                session.send(frame)

    def _spared(self, session: Session) -> bool:
        """Whether a client does not read, so that a message from the timeline would be old when it does; a new one follows."""
        if session.lagging and session.on_drained is None:
            session.on_drained = lambda: self._refresh(session)
        return session.lagging

    def _refresh(self, session: Session) -> None:
        if session.group is not None:
            room = session.group.live.room
            # The host's own player is what the room follows; and who waits at a gate is told when it opens.
            if session.user != room.host and room.gate is None:
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
            # What was said before a control says nothing about what came of it.
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


def _watch(live: RoomReplica, watching: bool, sessions: Iterable[Session]) -> None:
    # Who has left the room since, or is another member now, is none of it for the rules.
    members = tuple((session.user, session.conn) for session in sessions)
    for start in range(0, len(members), MAX_MEMBERS_PER_COMMIT):
        live.submit(QueuedCommand(Command("", "", Watching(watching, members[start : start + MAX_MEMBERS_PER_COMMIT]))))
