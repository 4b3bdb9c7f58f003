"""Players' positions: the room follows its host's, others' show who watches, and guests are told every few seconds.

Positions stay on the node. They are by far the most frequent messages, so one costs a few assignments and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .. import messages as m
from ..interfaces import IClusterClock, PlayerStatus
from ..messages.framing import text_frame
from ..rules.commands import (
    Command,
    CorrectPlayback,
    HoldPlayback,
    MeasuredDelay,
    ReportEnd,
    StopAtEnd,
    StopUnwatched,
    Watching,
)
from ..rules.event_types import EventType
from ..rules.film_end import PAST_END_SECONDS, EndReport, end_to_share, film_end, reports_of_all_nodes
from ..rules.hold import HELD
from ..rules.lead import has_changed
from ..rules.message_builders import sync_message
from ..rules.permissions import believes_it_controls
from ..rules.playback import KnownEnd, drift
from ..rules.playback_authority import (
    FollowSettings,
    HostEvidence,
    Verdict,
    allows_following,
    evidence_in_step,
    followed_position,
    is_in_step,
    observe,
)
from ..rules.playback_commands import is_watching, may_be_watched
from ..rules.settings import MAX_MEMBERS_PER_COMMIT
from ..rules.state import Commit
from ..rules.title_allowlist import same_title
from ..util.time_slicer import TimeSlicer
from .corrections import Corrections
from .metrics import RoomMetrics
from .playback_settings import PlaybackSyncSettings
from .queued_command import QueuedCommand
from .replica import RoomReplica
from .session import Session
from .sync_figures import SyncFigures

OUT_OF_SYNC_SECONDS = 2.0
"""Seconds; a player further from the room shows another scene than the others."""
MEASURE_SECONDS = 1.0
"""The interval at which the delays and errors of members are checked."""
DELAY_CHANGED_SECONDS = 5.0
"""How long a measured delay must differ from the one that the room knows before the room learns it."""


class PlaybackSync:
    """Weighs the positions of members' players. rooms: returns the rooms that are open here. slicer: for rooms of thousands."""

    def __init__(
        self,
        clock: IClusterClock,
        settings: PlaybackSyncSettings,
        rooms: Callable[[], Iterable[RoomReplica]],
        metrics: RoomMetrics,
        slicer: TimeSlicer,
    ):
        self._clock = clock
        self._slicer = slicer
        self._settings = settings
        self._drift = settings.drift
        self._follow_settings = FollowSettings(settings.drift, settings.play_state_after, settings.control_quiet)
        self._rooms = rooms
        self._metrics = metrics
        self._corrections = Corrections(clock, settings, metrics)
        self._figures = SyncFigures(metrics)

    def position_received(
        self, session: Session, live: RoomReplica, message: m.PositionUpdate | m.HostHeartbeat
    ) -> None:
        """Process the position of a member's player."""
        playback = live.room.playback
        if message.url is None or same_title(message.url, playback.url):
            player, now = session.player, self._clock.now()
            position, playing = message.current_time, message.is_playing
            player.claimed_at = message.at
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
                    sync.host_evidence, player.in_step_with, player.position, player.playing, player.reported_at
                )
            player.in_step_with = None
        player.position = position
        player.playing = playing
        player.reported_at = now
        if room.gate is None:
            if session.user == room.host:
                self._observe_host(session, live, now)
            else:
                self._corrections.correct(session, live, now)

    def _observe_host(self, session: Session, live: RoomReplica, now: float) -> None:
        member, player, sync = live.room.members.get(session.user), session.player, live.sync
        playback = live.room.playback
        if member is None or member.follows or not allows_following(playback):
            if not playback.known and playback.url:
                body = CorrectPlayback(playback.position, playback.playing)
                live.commands.submit(QueuedCommand(Command(session.user, session.conn, body)))
            self._corrections.correct(session, live, now)
            return
        if sync.host is not session:
            sync.weigh(session, HostEvidence())
        if player.duration is not None and player.position > player.duration + PAST_END_SECONDS:
            return  # No player is there: the position or the duration is wrong.
        sync.host_evidence, verdict = observe(
            sync.host_evidence, playback, player.position, player.playing, now, self._follow_settings
        )
        if verdict is Verdict.NOTHING:
            if is_in_step(sync.host_evidence, playback, player.position, player.playing, now, self._follow_settings):
                player.in_step_with = playback
            return
        if verdict is Verdict.GUIDE:
            self._corrections.correct(session, live, now)
            return
        wanted: CorrectPlayback | HoldPlayback
        position = followed_position(sync.host_evidence, playback, now)
        if verdict is Verdict.HOLD:
            wanted = HoldPlayback(position)
        else:
            wanted = CorrectPlayback(position, player.playing)
            if playback.known and sync.host_evidence.trusted:
                self._metrics.host_drift.observe(abs(drift(playback, player.position, now)))
        live.commands.submit(QueuedCommand(Command(session.user, session.conn, wanted)))

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

    def room_reloaded(self, live: RoomReplica, has_new_title: bool) -> None:
        """Weigh the players from the beginning: the room may have another host, and know of other watchers.

        has_new_title: whether the members have learned of the title just now.
        """
        if has_new_title:
            live.sync.titled_at = self._clock.now()
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
            is_followed = host is not None and not host.follows and allows_following(room.playback)
            followed = live.group.get(room.host) if is_followed else None
            sync.weigh(followed, HostEvidence(room.playback.titled_at, commit.user == room.host))
        sync.next_heartbeat_at = commit.at + self._settings.heartbeat

    def sweep(self, live: RoomReplica) -> None:
        """Send the heartbeat if it is due, and notice which members have begun or ceased to watch.

        To be called a few times a second for each room.
        """
        now, room, sync = self._clock.now(), live.room, live.sync
        if sync.new_watchers:
            self._slicer.run(self._begin(live))
        if now >= sync.measured_at + MEASURE_SECONDS:
            self._check_delays(live, now)
            self._slicer.run(self._figures.measure(live, now))
        if room.gate is None:
            if room.playback.playing and now >= sync.next_heartbeat_at:
                sync.next_heartbeat_at = now + self._settings.heartbeat
                if self._watched(live, now) and not self._ended(live, now):
                    self._corrections.send_heartbeats(live, now)
            self._expire_watchers(live, now)

    def _check_delays(self, live: RoomReplica, now: float) -> None:
        """Have the room learn the delays of members that watch and schedule, once they have differed for a while."""
        for session in live.group:
            player, member = session.player, live.room.members.get(session.user)
            if member is None or not member.watching or not member.schedules:
                continue
            measured = session.delay
            if not has_changed(member.delay, measured):
                player.delay_differs_since = 0.0
            elif member.delay and not player.delay_differs_since:
                player.delay_differs_since = now
            elif not member.delay or now - player.delay_differs_since >= DELAY_CHANGED_SECONDS:
                player.delay_differs_since = 0.0
                live.commands.submit(QueuedCommand(Command(session.user, session.conn, MeasuredDelay(measured))))

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
        room, playback = live.room, live.room.playback
        if not playback.ends and not any(s.player.ended or s.player.duration is not None for s in live.group):
            return False
        sessions = [s for s in live.group if s.player.watching and s.player.reported_at > playback.control_at]
        here = {
            session.user: EndReport(
                session.player.position,
                session.player.ended,
                session.player.duration or 0.0,
                now - session.player.duration_since,
                believes_it_controls(room, session.user),
            )
            for session in sessions
        }
        watching = sum(member.watching for member in room.members.values())
        if watching == len(here):
            end = film_end(list(here.values()), watching)
        else:
            known = [known for known in playback.ends if is_watching(room, known.user)]
            self._share_ends(live, here, sessions, known, now)
            reports = reports_of_all_nodes(here, known, lambda user: believes_it_controls(room, user), now)
            end = film_end(reports, watching)
        if not end or room.playback.position_at(now) < end + PAST_END_SECONDS:
            return False
        live.commands.submit(QueuedCommand(Command("", "", StopAtEnd(end))))
        return True

    def _share_ends(
        self,
        live: RoomReplica,
        here: Mapping[str, EndReport],
        sessions: Iterable[Session],
        known: Sequence[KnownEnd],
        now: float,
    ) -> None:
        """Tell the other nodes which end the players of this node report: one or two players, as long as they agree."""
        known, position = list(known), live.room.playback.position_at(now)
        for session in sessions:
            share = end_to_share(here[session.user], known, session.user, position)
            if share is not None:
                known.append(share)
                body = ReportEnd(share.kind, share.end)
                live.commands.submit(QueuedCommand(Command(session.user, session.conn, body)))

    def begin(self, live: RoomReplica) -> None:
        """Tell the room which members have begun to watch: one command for all, because a party begins together."""
        for _ in self._begin(live):
            pass

    def _begin(self, live: RoomReplica) -> Iterator[None]:
        began, live.sync.new_watchers = live.sync.new_watchers, []
        sessions = [session for session in began if session.player.watching]
        playback, position = live.room.playback, None
        if playback.unwatched and sessions:
            position = max(session.player.position_if_played_on(playback) for session in sessions)
        yield from _watch(live, True, sessions, position)

    def _expire_watchers(self, live: RoomReplica, now: float) -> None:
        # Players are silent while a gate is closed and for a moment afterwards.
        since = now - self._settings.watching_timeout
        if live.room.playback.control_at > since:
            return
        ceased = [session for session in live.group if session.player.watching and session.player.reported_at < since]
        if ceased:
            for session in ceased:
                session.player.went_away()
            self._slicer.run(_watch(live, False, ceased))

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


_CONTROLS = frozenset((EventType.PLAY_PAUSE, EventType.SEEK, EventType.BUFFERING, EventType.RATE_CHANGED))
_JOINS = frozenset((EventType.USER_JOINED, EventType.USER_REJOINED, EventType.USER_RESUMED))


def _watch(
    live: RoomReplica, watching: bool, watchers: Sequence[Session], position: float | None = None
) -> Iterator[None]:
    """Tell the room which members watch, or watch no more. Each step is a command.

    The rules ignore sessions that have left the room meanwhile, or speak for another member.
    """
    for start in range(0, len(watchers), MAX_MEMBERS_PER_COMMIT):
        some = watchers[start : start + MAX_MEMBERS_PER_COMMIT]
        members = tuple((session.user, session.conn) for session in some)
        delays = tuple(session.delay for session in some) if watching else ()
        live.commands.submit(QueuedCommand(Command("", "", Watching(watching, members, position, delays))))
        yield
