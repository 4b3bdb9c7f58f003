"""Rooms in this process, for a single node: a commit is a function call. The archive keeps them across restarts."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..errors import MAILBOX_FULL, RequestError
from ..interfaces import (
    CommitResult,
    Conflict,
    IClusterClock,
    IMailboxes,
    IRateLimitStore,
    IRoomStore,
    IStore,
    TooLarge,
    Unavailable,
)
from ..ratelimit.buckets import Plan, TakeResult, TokenBuckets
from ..ratelimit.size_limits import Bounds
from ..rules.state import MEMBER, Commit, Member, Room, Version
from ..util.server_time import ServerTime
from .redis.codec import decode_commit, encode_whole_commit

FULL_RETRY_SECONDS = 5.0
"""Seconds after which a command may be retried that was rejected because the archive fails."""

MAILBOX_FRAMES = 200
"""Frames in a mailbox; a WebRTC handshake with ten others needs about half of it."""


class _Kept:
    """A stored room.

    log: its last commits, encoded, because objects would be several times as large.
    former_epoch, former_seqs: the epoch before a restart, and its versions since the last message, oldest and newest. A member that
    has seen one of them has missed nothing before the restart. 0 without a restart.
    """

    __slots__ = ("former_epoch", "former_seqs", "log", "log_bytes", "mail", "room")

    def __init__(self, room: Room):
        self.room = room
        self.former_epoch = room.former_epoch
        self.former_seqs = (room.prev, room.seq) if room.former_epoch else (1, 0)
        self.log: deque[bytes] = deque()
        self.log_bytes = 0
        self.mail: dict[str, _Mailbox] = {}

    def trim(self, log_length: int, log_bytes: int) -> None:
        """Drop the oldest commits beyond a number and a size, except the last one."""
        while len(self.log) > 1 and (self.log_bytes > log_bytes or len(self.log) > log_length):
            self.log_bytes -= len(self.log.popleft())

    def drop_mail(self, changes: Mapping[str, Any]) -> None:
        """Drop mailboxes of members that a commit has removed."""
        for name, value in changes.items():
            if value is None and name.startswith(MEMBER):
                self.mail.pop(name.removeprefix(MEMBER), None)

    def forget(self) -> None:
        """Drop log and mailboxes, because the room has no members."""
        self.log.clear()
        self.log_bytes = 0
        self.mail.clear()


class _Mailbox:
    """Frames for one member."""

    __slots__ = ("frames", "size")

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.size = 0

    def put(self, frame: bytes, most: int) -> bool:
        """Append a frame, and drop the oldest beyond `MAILBOX_FRAMES`. Return False if it exceeds `most` bytes."""
        if self.size + len(frame) > most:
            return False
        self.frames.append(frame)
        self.size += len(frame)
        if len(self.frames) > MAILBOX_FRAMES:
            self.size -= len(self.frames.popleft())
        return True


@implementer(IStore, IRoomStore, IMailboxes, IRateLimitStore, IClusterClock)
class MemoryStore:
    """The store of a single node. This object plays all parts of `IStore`.

    log_length: commits in the log of a room, for members that resume.
    journal: called with the room after each commit, and the commit. It must be quick.
    bounds: bytes of a room.
    full: returns whether the journal is full; then the store accepts only commits that end rooms.
    time: server time; by default the clock's time, as in simulations.
    """

    def __init__(
        self,
        clock: IReactorTime,
        log_length: int,
        journal: Callable[[Room, Commit], None],
        bounds: Bounds,
        full: Callable[[], bool] = lambda: False,
        time: ServerTime | None = None,
    ):
        self.rooms = self.mailboxes = self.rate_limits = self.clock = self
        self._clock = clock
        self._time = time or ServerTime(clock)
        self._log_length = log_length
        self._bounds = bounds
        self._full = full
        self._journal = journal
        self._rooms: dict[str, _Kept] = {}
        self._invites: dict[str, str] = {}
        self._due: list[tuple[float, str]] = []
        self._subscribed: set[str] = set()
        # Each message asks for the time: this saves a call.
        self.now = self._time.now  # type: ignore[method-assign]
        self._restored_at = 0.0
        self._budgets = TokenBuckets(self._rooms.__contains__)

    def restore(self, rooms: Sequence[Room]) -> None:
        """Restore rooms from the archive. Called before the first commit."""
        # The wall clock may have been set back since, but stored times must not be in the future.
        latest = max((room.at for room in rooms), default=0.0)
        if latest > self._time.now():
            self._time.begin(latest)
        self._restored_at = self._time.now()
        for room in rooms:
            self._keep(room)

    def _keep(self, room: Room) -> _Kept:
        kept = self._rooms[room.room_id] = _Kept(room)
        if room.settings.invite:
            self._invites[room.settings.invite] = room.room_id
        if room.due:
            heapq.heappush(self._due, (room.due, room.room_id))
        return kept

    def codes(self) -> list[str]:
        """Return the ids of all rooms."""
        return list(self._rooms)

    # IRoomStore

    def now(self) -> float:
        return self._time.now()

    def load(self, room_id: str, *, archived: bool = True) -> Deferred[Room | None]:
        kept = self._rooms.get(room_id)
        return defer.succeed(kept.room.copy() if kept else None)

    def member(self, room_id: str, user_id: str) -> Deferred[Member | None]:
        kept = self._rooms.get(room_id)
        return defer.succeed(kept.room.members.get(user_id) if kept else None)

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        kept = self._rooms.get(room.room_id)
        if kept is None:
            if room.seq:
                done(Conflict(None))
                return
            created = room.copy()
            kept = _Kept(created)
        stored = kept.room
        if stored.room_uuid != room.room_uuid or stored.epoch != room.epoch or stored.seq != room.seq:
            done(Conflict(stored.version))
            return
        if self._full() and not commits[-1].closes:
            done(Unavailable(FULL_RETRY_SECONDS))
            return
        bounds = self._bounds
        encoded: list[bytes] = []
        size = kept.log_bytes
        for commit in commits:
            data = encode_whole_commit(commit)
            if len(data) > bounds.commit_bytes and not commit.closes:
                done(TooLarge(len(encoded), len(data), bounds.commit_bytes))
                return
            encoded.append(data)
            size += len(data)
        for commit in commits:
            due = stored.due
            stored.apply(commit)
            changes = commit.changes
            if changes:
                if "settings" in changes and stored.settings.invite:
                    self._invites[stored.settings.invite] = room.room_id
                if kept.mail:
                    kept.drop_mail(changes)
            if stored.due != due and stored.due:
                heapq.heappush(self._due, (stored.due, room.room_id))
            self._journal(stored, commit)
        if stored.empty_since:
            kept.forget()
        else:
            kept.log += encoded
            kept.log_bytes = size
            if size > bounds.log_bytes or len(kept.log) > self._log_length:
                kept.trim(self._log_length, bounds.log_bytes)
        if stored.closed:
            self._rooms.pop(room.room_id, None)
            self._invites.pop(stored.settings.invite, None)
        else:
            self._rooms[room.room_id] = kept
        done(None)

    def replay(self, room_id: str, after: Version) -> Deferred[Sequence[Commit] | None]:
        kept = self._rooms.get(room_id)
        if kept is None:
            return defer.succeed(None)
        epoch, seq = after
        first, last = kept.former_seqs
        if epoch == kept.former_epoch and first <= seq <= last:
            seq = last  # the numbers go on in the next epoch
        elif epoch != kept.room.epoch or seq > kept.room.seq:
            return defer.succeed(None)
        missed = kept.room.seq - seq
        if missed > len(kept.log):
            return defer.succeed(None)
        found = list(islice(kept.log, len(kept.log) - missed, None))
        if sum(map(len, found)) > self._bounds.replay_bytes:
            return defer.succeed(None)
        return defer.succeed([decode_commit(commit) for commit in found])

    def subscribe(self, room_id: str) -> None:
        # Only `due_rooms` needs it, because other nodes do not exist.
        self._subscribed.add(room_id)

    def unsubscribe(self, room_id: str, *, is_known: bool = True) -> None:
        self._subscribed.discard(room_id)
        kept = self._rooms.get(room_id)
        if kept is not None and kept.room.due:
            heapq.heappush(self._due, (kept.room.due, room_id))

    def relay(
        self, room_id: str, user_id: str, frame: bytes, done: Callable[[RequestError | None], None] = lambda error: None
    ) -> None:
        kept = self._rooms.get(room_id)
        fits = True
        if kept is not None and user_id in kept.room.members:
            fits = kept.mail.setdefault(user_id, _Mailbox()).put(frame, self._bounds.mailbox_bytes)
        done(None if fits else MAILBOX_FULL)

    def take_mail(self, room_id: str, user_id: str) -> Deferred[Sequence[bytes]]:
        kept = self._rooms.get(room_id)
        box = kept.mail.pop(user_id, None) if kept is not None else None
        return defer.succeed(list(box.frames) if box is not None else [])

    def drop_mail(self, room_id: str, user_id: str) -> None:
        kept = self._rooms.get(room_id)
        if kept is not None:
            kept.mail.pop(user_id, None)

    def find_invite(self, invite: str) -> Deferred[str | None]:
        return defer.succeed(self._invites.get(invite))

    def due_rooms(self, now: float) -> Deferred[Sequence[str]]:
        room_ids: list[str] = []
        while self._due and self._due[0][0] <= now and len(room_ids) < 1000:
            due, room_id = heapq.heappop(self._due)
            kept = self._rooms.get(room_id)
            if kept is not None and kept.room.due == due and room_id not in self._subscribed:
                room_ids.append(room_id)
        return defer.succeed(room_ids)

    def take(self, plans: Sequence[Plan]) -> Deferred[TakeResult]:
        return defer.succeed(self._budgets.take(plans, self._clock.seconds()))

    def refund(self, plan: Plan) -> None:
        self._budgets.refund(plan, self._clock.seconds())

    def mark(self, name: str, seconds: float) -> None:
        self._budgets.mark(name, self._clock.seconds() + seconds)

    def size(self) -> int:
        return len(self._rooms)

    def grace_floor(self) -> float:
        return self._restored_at

    def ready(self) -> str:
        return ""
