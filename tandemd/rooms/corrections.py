"""Messages that bring a player in step: heartbeats, and corrections where heartbeats have no effect."""

from __future__ import annotations

from .. import messages as m
from ..interfaces import IClusterClock
from ..messages.framing import text_frame
from ..rules.message_builders import sync_message
from ..rules.playback import drift
from ..rules.playback_authority import LAST_CORRECTION_SECONDS, correction_wait, is_stalled
from ..rules.state import Room
from .metrics import RoomMetrics
from .playback_settings import PlaybackSyncSettings
from .player_state import PlayerState
from .replica import RoomReplica
from .session import Session


class Corrections:
    """Sends heartbeats and corrections to the members of rooms."""

    def __init__(self, clock: IClusterClock, settings: PlaybackSyncSettings, metrics: RoomMetrics):
        self._clock = clock
        self._settings = settings
        self._metrics = metrics

    def correct(self, session: Session, live: RoomReplica, now: float) -> None:
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

    def send_heartbeats(self, live: RoomReplica, now: float) -> None:
        """Send the position to the guests here, except to those for which it would do more harm than good."""
        frame = text_frame(m.encode(self._heartbeat(live.room, now)))
        leader = live.sync.leader
        for session in live.group:
            if session is not leader and not self._spared(session) and self._heartbeat_due(session.player, live, now):
                session.send(frame)

    def _heartbeat_due(self, player: PlayerState, live: RoomReplica, now: float) -> bool:
        """Say whether a heartbeat does more good than harm: for a player that is out of step, each one is a correction."""
        playback, reported_at = live.room.playback, player.reported_at
        if player.watching and player.playing != playback.playing:
            return False  # `correct` sends the message that moves it
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
            timestamp=int(room.playback.moment(now) * 1000),
            seq=room.seq,
            rate=room.playback.unusual_rate,
        )
