"""Rooms that this node has open: each with its copy of the state, its queue of commands, and its sessions here.

One queue a room: decide, commit, apply, deliver. While a commit is in flight, commands wait and are then decided one
after another and committed as one batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from .. import messages as m
from ..errors import INTERNAL, ErrorCode, RequestError
from ..interfaces import CommitResult, Conflict, IStore, TooLarge
from ..messages.framing import text_frame
from ..ratelimit import Meter
from ..rules import private_messages
from ..rules.commands import Command, Decision, Due, StalePinError
from ..rules.engine import Rules, commit_of
from ..rules.event_types import EventType
from ..rules.state import MEMBER, Commit, Member, Room, Version
from .joining.pending_joins import PendingJoins
from .log_follower import LogFollower
from .metrics import RoomMetrics
from .queued_command import QueuedCommand
from .replay import Replay
from .session import Outbox, RoomSessions, Session

log = Logger()

BATCH = 64
"""How many commands at most are committed together."""

TAIL = 100
"""How many commits of an open room are kept, to give them back to a store that has lost them."""

TAIL_BYTES = 64 * 1024
"""How large they may be together."""
CHANGE_BYTES = 300
"""What a changed field counts for in that: about what a member has."""

PATIENCE = 2.0
"""Seconds for which commands wait while the store is away."""

OFTEN = frozenset(
    (
        EventType.PLAY_PAUSE,
        EventType.SEEK,
        EventType.GATE_OPENED,
        EventType.URL_CHANGE,
        EventType.CHAT,
        EventType.USERNAME_UPDATED,
        EventType.GUEST_CONTROL,
        EventType.ROOM_LOCKED,
    )
)
"""Events of which a room may have any number, so that not all of them have a row in the archive. Coming, going and moderation
always have."""

SILENT = "silent"
"""The event of commits that have none, in the metrics."""


Outcome = tuple[QueuedCommand, "Decision | RequestError | None", "Commit | None"]
"""What was decided for an entry; None for a stale PIN. The commit that carries it out, if it needs one."""


def _weight(changes: Mapping[str, Any]) -> int:
    """Return about how many bytes changed fields have. Two of them may be much longer than the others."""
    size = CHANGE_BYTES * len(changes)
    gate = changes.get("gate")
    if gate is not None:
        # Every member that watches, at a SEEK.
        size += sum(len(user) if user.isascii() else len(user.encode()) for user in gate.pending)
    if "url" in changes:
        size += len(changes["url"])
    return size


class OrphanedSessionHandler(Protocol):
    """Sees to members here, when what others did concerns them."""

    def reloaded(self, live: RoomReplica, room: Room | None) -> None:
        """The store has another room than what follows on what was known here, or none."""

    def reattach(self, live: RoomReplica, session: Session, member: Member | None) -> None:
        """The member was taken for lost, or is out (None), though its session is here."""


class RoomReplica:
    """An open room. Only it moves its copy of the state.

    room: the state after the last applied commit. tail: the last commits that led to it. group: the members connected
    here. waiting: JOINs that cannot be accepted yet. joining: how many JOINs are being worked out. beat_at:
    when guests are to hear next where the film is. host_mismatch_since: since when the host's player plays while the room is
    paused, or the other way round; 0.0 if it does not. new_watchers: sessions whose positions have begun to arrive, which the
    room is yet to know. replay: what members that come back are told.
    meter: what the room has spent; rows: the same of rows in the archive;
    None for no limit. closed: this object is not used any more.
    """

    def __init__(self, room: Room, rules: Rules, store: IStore, clock: IReactorTime, outbox: Outbox, metrics: RoomMetrics,
                 changed: Callable[[RoomReplica, Commit], None],
                 strays: OrphanedSessionHandler):  # fmt: skip
        """changed: called after each commit."""
        self.room = room
        self.group = RoomSessions(outbox, self)
        self.waiting = PendingJoins()
        self._users = 0
        self.next_heartbeat_at = 0.0
        self.host_mismatch_since = 0.0
        self.new_watchers: list[Session] = []
        self._rules = rules
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._changed = changed
        self._strays = strays
        self.closed = False
        self.tail: deque[Commit] = deque(maxlen=TAIL)
        self._tail_sizes: deque[int] = deque(maxlen=TAIL)
        self._tail_most = 0
        self.replay = Replay(rules.titles.allows)
        self.meter: Meter | None = None
        self.rows: Meter | None = None
        self.following = LogFollower(
            self, store.rooms, clock, metrics, self._go_on, lambda found: strays.reloaded(self, found)
        )
        self._queue: deque[QueuedCommand] = deque()
        self._outcomes: list[Outcome] = []
        self._running = False
        self._in_flight = False
        self._timer: IDelayedCall | None = None
        self._timer_due = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing here needs the room to be open."""
        return not (
            len(self.group)
            or len(self.waiting)
            or self._users
            or self._queue
            or self._running
            or self._in_flight
            or self.following.catching_up
        )

    def close(self) -> None:
        """Stop the timer; the room is not used any more."""
        self.closed = True
        self.following.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the room open while a coroutine uses it."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    # -- the queue

    def submit(self, entry: QueuedCommand, *, first: bool = False) -> None:
        """Have a command decided after those that were submitted before. first: before those that still wait."""
        if first:
            self._queue.appendleft(entry)
        else:
            self._queue.append(entry)
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running = True
        try:
            while self._queue and not self._in_flight and not self.following.catching_up:
                self._step()
        finally:
            self._running = False

    def _go_on(self) -> None:
        if not self._running:
            self._run()

    def _step(self) -> None:
        now = max(self._store.clock.now(), self.room.at)
        room = self.room
        outcomes: list[Outcome] = []
        commits: list[Commit] = []
        while self._queue and len(outcomes) < BATCH:
            entry = self._queue.popleft()
            decided = self._decide(room, entry, now)
            commit = None
            if isinstance(decided, Decision) and decided.commits:
                commit = commit_of(room, entry.command.user, decided, now, self._rules)
                if self.rows is not None and commit.event in OFTEN:
                    commit = self._record(commit, self.rows)
                commits.append(commit)
            outcomes.append((entry, decided, commit))
            if commit is not None and self._queue:
                if commit.closes:
                    break
                if room is self.room:
                    room = room.copy()
                room.apply(commit)
        if not commits:
            self._settle(outcomes)
            return
        self._in_flight = True
        self._outcomes = outcomes
        self._store.rooms.commit(self.room, commits, self._committed)

    def _record(self, commit: Commit, rows: Meter) -> Commit:
        """Return the commit, without a row in the archive if the room has had too many lately."""
        if rows.take():
            return commit
        self._metrics.rate_limited["events"] += 1
        return msgspec.structs.replace(commit, unrecorded=True)

    def _decide(self, room: Room, entry: QueuedCommand, now: float) -> Decision | RequestError | None:
        try:
            return entry.decide(self._rules, room, now)
        except RequestError as error:
            return error
        except StalePinError:
            return None
        except Exception:
            log.failure("deciding {kind} in {room}", kind=type(entry.command.body).__name__, room=room.room_id)
            return INTERNAL

    def _committed(self, result: CommitResult) -> None:
        outcomes, self._outcomes = self._outcomes, []
        self._in_flight = False
        if result is None:
            self._settle(outcomes)
        elif isinstance(result, Conflict):
            # Somebody else was first. Whatever was decided is decided again on what they have done.
            self._metrics.conflicts.value += 1
            self._queue.extendleft(entry for entry, _, _ in reversed(outcomes))
            self.following.catch_up()
        elif isinstance(result, TooLarge):
            self._take_out(outcomes, result)
        else:
            self._refuse(outcomes, result.retry_after)
        self._go_on()

    def _take_out(self, outcomes: Sequence[Outcome], result: TooLarge) -> None:
        """Refuse the command whose commit is too large, and decide the others again without it."""
        culprit = [entry for entry, _, commit in outcomes if commit is not None][result.number]
        self._queue.extendleft(entry for entry, _, _ in reversed(outcomes) if entry is not culprit)
        kind = type(culprit.command.body).__name__
        if culprit.session is None:
            log.error("a change of {room} by {kind} is too large: {size} bytes (limits.commit_bytes)",
                      room=self.room.room_id, kind=kind, size=result.size)  # fmt: skip
        error = RequestError(
            ErrorCode.TOO_LARGE,
            f"This would change {result.size} bytes of the room; {result.most} is the most (limits.commit_bytes).",
        )
        self._metrics.refused[error.code] += 1
        culprit.refused(self, error)

    def _refuse(self, outcomes: Sequence[Outcome], retry_after: float) -> None:
        """The store cannot be used: tell those who wait."""
        error = RequestError(
            ErrorCode.UNAVAILABLE, "The server cannot store changes at the moment.", int(retry_after * 1000)
        )
        for entry, _, _ in outcomes:
            if not entry.retry_when_unavailable:
                self._metrics.refused[error.code] += 1
                entry.refused(self, error)
        lasting = [entry for entry, _, _ in outcomes if entry.retry_when_unavailable]
        if lasting and not self.closed:
            self._clock.callLater(retry_after, self._submit_all, lasting)

    def refuse_waiting(self) -> None:
        """The store has been away for long: tell those whose commands wait behind what is under way."""
        if self._in_flight or self.following.catching_up:
            waiting = [entry for entry in self._queue if not entry.retry_when_unavailable]
            self._queue = deque(entry for entry in self._queue if entry.retry_when_unavailable)
            self._refuse([(entry, None, None) for entry in waiting], PATIENCE)

    def _submit_all(self, entries: Sequence[QueuedCommand]) -> None:
        for entry in entries:
            self.submit(entry)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        for entry, decided, commit in outcomes:
            try:
                if commit is not None:
                    # Its echo may have come before the answer.
                    room = self.room
                    if commit.seq > room.seq if commit.epoch == room.epoch else commit.epoch > room.epoch:
                        self.apply(commit)
                    if self.meter is not None and entry.session is not None:
                        self._charge(entry.session, self.meter, commit)
                if decided is None:
                    entry.stale_pin(self)
                elif isinstance(decided, RequestError):
                    self._metrics.refused[decided.code] += 1
                    entry.refused(self, decided)
                elif commit is not None:
                    entry.done(self, decided, commit.seq)
                else:
                    entry.done(self, decided, self.room.seq if decided.seq is None else decided.seq)
            except Exception:
                # The others have their answers all the same.
                log.failure(
                    "answering {kind} in {room}", kind=type(entry.command.body).__name__, room=self.room.room_id
                )

    def _charge(self, session: Session, meter: Meter, commit: Commit) -> None:
        """Have the room and the address of the sender pay for a command. meter: that of the room."""
        size = self._tail_sizes[-1] if self._tail_sizes else 0
        if size < CHANGE_BYTES:
            size = CHANGE_BYTES
        deliveries = len(self.room.members) * len(commit.messages)
        meter.charge(size, deliveries)
        if session.meter is not None:
            session.meter.charge(size, deliveries)

    def charge(self, session: Session, meter: Meter, size: int, deliveries: int) -> None:
        """Charge a room and the address of a session for relays. meter: that of the room. size: in bytes."""
        meter.charge(size, deliveries)
        if session.meter is not None:
            session.meter.charge(size, deliveries)

    # -- what a commit does

    def apply(self, commit: Commit) -> None:
        """Move to the commit's version and tell the members here."""
        room = self.room
        room.apply(commit)
        if commit.event == EventType.ROOM_CLOSED:
            # Before they are let go of below.
            self.group.send(_frames(private_messages.for_closed_room(commit)))
        self._metrics.commits[commit.event or SILENT] += 1
        size = 0
        if commit.changes:
            size = _weight(commit.changes)
            out: list[Session] = []
            for name in commit.changes:
                if name[:2] == MEMBER:
                    self._reconcile(name[2:], commit, out)
            if out and commit.event in private_messages.REMOVAL_EVENTS:
                frames = _frames(private_messages.for_removed_members(room, commit))
                for session in out:
                    session.send(frames)
        for message in commit.messages:
            frame = text_frame(m.encode(message))
            size += len(frame)
            self.group.send(frame, commit.skip)
        self.tail.append(commit)
        self._tail_sizes.append(size)
        self._tail_most += size
        if self._tail_most > TAIL_BYTES:
            self._shorten_tail()
        if commit.event in private_messages.CONTROL_EVENTS:
            for user, private in private_messages.for_controllers(room, commit).items():
                if (controller := self.group.get(user)) is not None:
                    controller.send(text_frame(m.encode(private)))
        if room.due != self._timer_due or (room.due and room.due <= commit.at):
            self._schedule()
        self._changed(self, commit)

    def _shorten_tail(self) -> None:
        """Drop the oldest commits beyond `TAIL_BYTES`. The last one stays in any case."""
        size = sum(self._tail_sizes)  # less than was counted, if some have dropped out at `TAIL`
        while size > TAIL_BYTES and len(self.tail) > 1:
            self.tail.popleft()
            size -= self._tail_sizes.popleft()
        self._tail_most = size

    def since(self, after: Version) -> list[Commit] | None:
        """Return what was committed after a version, up to where the room is, or None if the tail does not reach back to it."""
        tail = self.tail
        at = after[1] + 1 - tail[0].seq if tail else -1
        if not 0 <= at < len(tail):
            return [] if after == self.room.version else None
        # A commit of an epoch follows on the version of this epoch with the number before.
        known = (tail[at - 1].epoch, tail[at - 1].seq) == after if at else tail[0].epoch == after[0]
        return list(islice(tail, at, None)) if known else None

    def _reconcile(self, user: str, commit: Commit, out: list[Session]) -> None:
        """Let go of a session that does not speak for the member any more, and append it to `out`.

        It stays open: it may join again.
        """
        session = self.group.get(user)
        member = self.room.members.get(user)
        if session is None or (member is not None and member.conn == session.conn):
            return
        if member is not None and not member.conn:
            self._strays.reattach(self, session, member)
        elif member is None and (commit.details or {}).get("reason") == "lost":
            self._strays.reattach(self, session, None)
        else:
            if member is not None and commit.event == EventType.USER_RESUMED:
                # Its connection may have been dead for long. The same page speaks through another now.
                for letter in session.unproven():
                    self._store.mailboxes.relay(self.room.room_id, user, letter)
            self.group.remove(session)
            session.detached = member is not None
            out.append(session)

    def _schedule(self, at_least: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_due = self.room.due
        if self.room.due and not self.closed:
            delay = max(at_least, self.room.due - self._store.clock.now())
            self._timer = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._timer_due = 0.0
        try:
            self.submit(QueuedCommand(Command("", "", Due(self._store.clock.grace_floor()))))
        finally:
            if self.room.due and self._timer is None and not self.room.closed:
                self._schedule(at_least=1.0)

    def renew(self, room: Room) -> None:
        """Go on with another room of the same code, after the old one has ended, or with one just loaded."""
        self._rules.drop_disallowed_title(room)
        self.room = room
        self.tail.clear()
        self._tail_sizes.clear()
        self._tail_most = 0
        self._schedule()


def _frames(messages: Iterable[m.ServerMessage]) -> bytes:
    return b"".join(text_frame(m.encode(message)) for message in messages)
