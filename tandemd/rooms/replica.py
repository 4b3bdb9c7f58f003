"""The replicas of open rooms: each has a copy of the state, a queue of commands, and the sessions here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .. import messages as m
from ..interfaces import IStore
from ..messages.framing import FrameParts, text_frame
from ..ratelimit import Meter
from ..rules import private_messages
from ..rules.commands import Command, Due
from ..rules.engine import Rules
from ..rules.event_types import EventType
from ..rules.join import present_state
from ..rules.state import MEMBER, Commit, Member, Room, Version
from .command_queue import CommandQueue
from .commit_tail import MAX_BYTES, CommitTail, size_of_changes
from .departure_frames import DepartureFrames
from .joining.pending_joins import PendingJoins
from .log_follower import LogFollower
from .metrics import RoomMetrics
from .outbox import Outbox, RoomSessions
from .player_state import SyncState
from .queued_command import QueuedCommand
from .replay import Replay
from .session import Session
from .user_list import LARGE_ROOM_MEMBERS, UserList

SILENT = "silent"
"""The label of commits without event, in the metrics."""

DUE_RETRY_SECONDS = 1.0
"""The shortest time until the next DUE, if the last one has not changed the due time."""


LONG_STATE_BYTES = 64 * 1024
"""The size of a ROOM_STATE beyond which its parts wait until the client has read what was sent before."""


GATHERED_DELIVERIES = 25
"""The cost of a gathered message, in deliveries: its bytes go to all members, but it shares the writes with others."""


class OrphanedSessionHandler(Protocol):
    """Handles sessions whose members were changed by other nodes."""

    def reloaded(self, live: RoomReplica, room: Room | None) -> None:
        """Replace the room of a replica. The store has another room than the log leads to, or none."""

    def reattach(self, live: RoomReplica, session: Session, member: Member | None) -> None:
        """Reattach a session whose member was taken for lost, or close it if the member was removed (None)."""


class RoomReplica:
    """An open room. Only the replica changes its copy of the state.

    room: the state after the last applied commit.
    tail: the last commits up to this state.
    group: the sessions of members that are connected here.
    waiting: the JOINs that wait here for a change.
    commands: the queue of commands.
    submit: see `CommandQueue.submit`.
    refuse_waiting: see `CommandQueue.refuse_waiting`.
    following: applies the commits of other nodes.
    features: the abilities of the node, for ROOM_STATE.
    drift_policy: the corrections that clients make to their players, for ROOM_STATE.
    replay: the encoded messages for members that resume.
    meter, rows: the budgets of the room, and of its rows in the archive; None for no limit.
    closed: whether the replica is out of use.
    sync: the synchronisation of its players.
    """

    def __init__(
        self,
        room: Room,
        rules: Rules,
        store: IStore,
        clock: IReactorTime,
        outbox: Outbox,
        metrics: RoomMetrics,
        commit_applied: Callable[[RoomReplica, Commit], None],
        orphans: OrphanedSessionHandler,
    ):
        """commit_applied: called after each commit that changes or closes the room."""
        self.room = room
        self.group = RoomSessions(outbox, self)
        self.waiting = PendingJoins()
        self.tail = CommitTail()
        self.features = rules.features
        self.drift_policy = rules.settings.drift_policy
        self.replay = Replay(rules.titles.allows)
        self.meter: Meter | None = None
        self.rows: Meter | None = None
        self.closed = False
        self.sync = SyncState()
        self._rules = rules
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._commit_applied = commit_applied
        self._orphans = orphans
        self._users = 0
        self._user_list: UserList | None = None
        self.commands = CommandQueue(self, rules, store, clock, metrics)
        self.submit = self.commands.submit
        self.refuse_waiting = self.commands.refuse_waiting
        self.following = LogFollower(
            self, store.rooms, clock, metrics, self.commands.run, lambda room: orphans.reloaded(self, room)
        )
        self._timer: IDelayedCall | None = None
        self._timer_due = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing here needs the room to be open."""
        return not (len(self.group) or len(self.waiting)) and self.is_settled

    @property
    def is_settled(self) -> bool:
        """Whether no command, JOIN or query of the store is under way."""
        return self.commands.is_idle and not (self._users or self.following.catching_up)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the room open while a coroutine uses it."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    def close(self) -> None:
        """Stop all timers. The replica is out of use."""
        self.closed = True
        self.following.close()
        self.group.stop_gathering()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def renew(self, room: Room) -> None:
        """Replace the room by another one with the same room id, or by one that was just loaded."""
        self._rules.drop_disallowed_title(room)
        self.room = room
        self._user_list = None
        self.tail.clear()
        self._schedule()

    def charge(self, session: Session, meter: Meter, size: int, deliveries: int) -> None:
        """Charge a room and the address of a session. meter: that of the room. size: in bytes."""
        meter.charge(size, deliveries)
        if session.meter is not None:
            session.meter.charge(size, deliveries)

    def deliveries_of(self, commit: Commit) -> int:
        """Return the deliveries that a commit in a room with a large group is charged for."""
        members = len(self.room.members)
        return sum(
            GATHERED_DELIVERIES if type(message) in m.GATHERED_MESSAGES else members for message in commit.messages
        )

    def send_state(self, session: Session) -> None:
        """Send a session the present state, after a command about an earlier one."""
        now = self._store.clock.now()
        told = present_state(
            self.room, session.user, now, self.features, sync=self.drift_policy, with_users=self.lists_users()
        )
        for message in told:
            if isinstance(message, m.RoomState):
                self.send_room_state(session, message)
            else:
                session.send(text_frame(m.encode(message)))

    def lists_users(self) -> bool:
        """Return whether the next ROOM_STATE for `send_room_state` must list the users. In a large room, the replica does."""
        if len(self.room.members) <= LARGE_ROOM_MEMBERS:
            self._user_list = None
            return True
        if self._user_list is None:
            self._user_list = UserList(self.room.members.values())
        return False

    def send_room_state(self, session: Session, state: m.RoomState) -> None:
        """Send a session a ROOM_STATE of the present version, made as `lists_users` demands."""
        if self._user_list is not None:
            frame = FrameParts(self._user_list.frame_parts(state))
            if frame.length > LONG_STATE_BYTES:
                session.stream(frame)
            else:
                session.send(b"".join(frame))
        elif session.lagging:
            # The encoding of this long message waits until the client reads.
            session.stream(text_frame(m.encode(message)) for message in (state,))
        else:
            session.send(text_frame(m.encode(state)))

    def since(self, after: Version) -> list[Commit] | None:
        """Return the commits since a version. None if the tail does not reach back to it."""
        return self.tail.since(after, self.room)

    # -- commits

    def apply(self, commit: Commit) -> None:
        """Move to the version of a commit, and send its messages to the members here."""
        room = self.room
        room.apply(commit)
        self._metrics.commits[commit.event or SILENT] += 1
        size = 0
        if commit.changes:
            size = size_of_changes(commit.changes)
            removed: list[Session] = []
            for name in commit.changes:
                if name[:2] == MEMBER:
                    self._reconcile(name[2:], commit, removed)
                    if self._user_list is not None:
                        self._user_list.update(name[2:], room.members.get(name[2:]))
            if removed:
                self._tell_removed(removed, commit)
        group = self.group
        for message in commit.messages:
            frame = text_frame(m.encode(message))
            size += len(frame)
            if group.is_large and type(message) in m.GATHERED_MESSAGES:
                group.gather(frame, commit.skip)
            else:
                group.send(frame, commit.skip)
        tail = self.tail
        tail.commits.append(commit)
        tail.sizes.append(size)
        tail.last_size = size
        tail.max_total += size
        if tail.max_total > MAX_BYTES:
            tail.shorten()
        if commit.event in private_messages.CONTROL_EVENTS:
            for user, private in private_messages.for_controllers(room, commit).items():
                if (controller := self.group.get(user)) is not None:
                    controller.send(text_frame(m.encode(private)))
        if "host" in commit.changes and commit.skip != room.host and (host := self.group.get(room.host)) is not None:
            bans = private_messages.for_new_host(room, commit)
            if bans is not None:
                host.send(text_frame(m.encode(bans)))
        if room.due != self._timer_due or (room.due and room.due <= commit.at):
            self._schedule()
        if commit.changes or commit.closes or commit.event in private_messages.NEWCOMER_EVENTS:
            self._commit_applied(self, commit)

    def _reconcile(self, user: str, commit: Commit, removed: list[Session]) -> None:
        """Remove the session of a member that another connection speaks for now, or that has left.

        The connection stays open, because it may join again. The session is appended to `removed`.
        """
        session = self.group.get(user)
        member = self.room.members.get(user)
        if session is None or (member is not None and member.conn == session.conn):
            return
        if member is not None and not member.conn:
            self._orphans.reattach(self, session, member)
        elif member is None and (commit.details or {}).get("reason") == "lost":
            self._orphans.reattach(self, session, None)
        else:
            if member is not None and commit.event == EventType.USER_RESUMED:
                # The old connection may have been dead for long. The new one belongs to the same client.
                for frame in session.take_unconfirmed():
                    self._store.mailboxes.relay(self.room.room_id, user, frame)
            self.group.remove(session)
            session.detached = member is not None
            removed.append(session)

    def _tell_removed(self, removed: list[Session], commit: Commit) -> None:
        """Tell sessions why their members were removed, and let old clients take all members from their screens."""
        if commit.event == EventType.ROOM_CLOSED:
            notice = private_messages.for_closed_room(commit)
            users = [name[2:] for name in commit.changes]
        elif commit.event in private_messages.REMOVAL_EVENTS:
            notice = private_messages.for_removed_members(commit)
            users = list(self.room.members)
        else:
            return
        frames = text_frame(m.encode(notice))
        departures = DepartureFrames(users)
        if len(departures) <= 1:
            frames += b"".join(departures)
        for session in removed:
            session.send(frames)
        if len(departures) > 1:
            self.group.outbox.stream(removed, departures)

    # -- due time

    def _schedule(self, min_delay: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_due = self.room.due
        if self.room.due and not self.closed:
            delay = max(min_delay, self.room.due - self._store.clock.now())
            self._timer = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._timer_due = 0.0
        try:
            self.submit(QueuedCommand(Command("", "", Due(self._store.clock.grace_floor()))))
        finally:
            if self.room.due and self._timer is None and not self.room.closed:
                self._schedule(DUE_RETRY_SECONDS)
