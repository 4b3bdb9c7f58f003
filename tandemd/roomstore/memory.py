"""Rooms in this process: a commit is a function call. For one node; what must survive a restart goes to the archive."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..budgets import Budgets, Taken, Way
from ..errors import Refused
from ..interfaces import CommitResult, Conflict, IFollower, IRoomStore
from ..room.state import MEMBER, Commit, Member, Room, Version
from ..servertime import ServerTime

MAILBOX = 200
"""How many frames are kept for one member; a WebRTC handshake with ten others needs about half of it."""


class _Kept:
    """A room as the store has it."""

    __slots__ = ("log", "mail", "room")

    def __init__(self, room: Room, log_length: int):
        self.room = room
        self.log: deque[Commit] = deque(maxlen=log_length)
        self.mail: dict[str, deque[bytes]] = {}


@implementer(IRoomStore)
class MemoryStore:
    """The store of a single node.

    log_length: commits kept for each room, for those who resume.
    journal: is given the room after each commit, and the commit. It must be quick.
    time: server time; without it, the clock counts from 1970, as simulated time does.
    """

    def __init__(
        self,
        clock: IReactorTime,
        log_length: int,
        journal: Callable[[Room, Commit], None],
        time: ServerTime | None = None,
    ):
        self._clock = clock
        self._time = time or ServerTime(clock)
        self._log_length = log_length
        self._journal = journal
        self._rooms: dict[str, _Kept] = {}
        self._invites: dict[str, str] = {}
        self._due: list[tuple[float, str]] = []
        self._followed: set[str] = set()
        self._restored_at = 0.0
        self._budgets = Budgets(self._rooms.__contains__)

    def restore(self, rooms: Sequence[Room]) -> None:
        """Take over rooms from the archive. To be called before the first commit."""
        # The wall clock may have been set back since they were stored; nothing in them may be of a later time than now.
        latest = max((room.at for room in rooms), default=0.0)
        if latest > self._time.now():
            self._time.begin(latest)
        self._restored_at = self._time.now()
        for room in rooms:
            self._keep(room)

    def _keep(self, room: Room) -> _Kept:
        kept = self._rooms[room.code] = _Kept(room, self._log_length)
        if room.settings.invite:
            self._invites[room.settings.invite] = room.code
        if room.due:
            heapq.heappush(self._due, (room.due, room.code))
        return kept

    def codes(self) -> list[str]:
        """Return the codes of all rooms."""
        return list(self._rooms)

    # IRoomStore

    def now(self) -> float:
        return self._time.now()

    def load(self, code: str) -> Deferred[Room | None]:
        kept = self._rooms.get(code)
        return defer.succeed(kept.room.copy() if kept else None)

    def member(self, code: str, user_id: str) -> Deferred[Member | None]:
        kept = self._rooms.get(code)
        return defer.succeed(kept.room.members.get(user_id) if kept else None)

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        kept = self._rooms.get(room.code)
        if kept is None:
            if room.seq:
                done(Conflict(None))
                return
            created = room.copy()
            kept = _Kept(created, self._log_length)
        stored = kept.room
        if stored.id != room.id or stored.epoch != room.epoch or stored.seq != room.seq:
            done(Conflict(stored.version))
            return
        for commit in commits:
            due, invite = stored.due, stored.settings.invite
            stored.apply(commit)
            for name, value in commit.changes.items():
                if value is None and name.startswith(MEMBER):
                    kept.mail.pop(name.removeprefix(MEMBER), None)
            kept.log.append(commit)
            if stored.due != due and stored.due:
                heapq.heappush(self._due, (stored.due, room.code))
            if stored.settings.invite != invite:
                self._invites[stored.settings.invite] = room.code
            self._journal(stored, commit)
        if stored.closed:
            self._rooms.pop(room.code, None)
            self._invites.pop(stored.settings.invite, None)
        else:
            self._rooms[room.code] = kept
        done(None)

    def replay(self, code: str, after: Version) -> Deferred[Sequence[Commit] | None]:
        kept = self._rooms.get(code)
        if kept is None or after[0] != kept.room.epoch or after[1] > kept.room.seq:
            return defer.succeed(None)
        missed = kept.room.seq - after[1]
        if missed > len(kept.log):
            return defer.succeed(None)
        return defer.succeed(list(kept.log)[len(kept.log) - missed :])

    def follow(self, code: str, follower: IFollower) -> None:
        # There are no other nodes: nothing to tell. Only `due_rooms` wants to know.
        self._followed.add(code)

    def unfollow(self, code: str) -> None:
        self._followed.discard(code)
        kept = self._rooms.get(code)
        if kept is not None and kept.room.due:
            heapq.heappush(self._due, (kept.room.due, code))

    def relay(
        self, code: str, user_id: str, frame: bytes, done: Callable[[Refused | None], None] = lambda error: None
    ) -> None:
        kept = self._rooms.get(code)
        if kept is not None and user_id in kept.room.members:
            kept.mail.setdefault(user_id, deque(maxlen=MAILBOX)).append(frame)
        done(None)

    def take_mail(self, code: str, user_id: str) -> Deferred[Sequence[bytes]]:
        kept = self._rooms.get(code)
        return defer.succeed(list(kept.mail.pop(user_id, ())) if kept else [])

    def drop_mail(self, code: str, user_id: str) -> None:
        kept = self._rooms.get(code)
        if kept is not None:
            kept.mail.pop(user_id, None)

    def find_invite(self, invite: str) -> Deferred[str | None]:
        return defer.succeed(self._invites.get(invite))

    def due_rooms(self, now: float) -> Deferred[Sequence[str]]:
        codes: list[str] = []
        while self._due and self._due[0][0] <= now and len(codes) < 1000:
            due, code = heapq.heappop(self._due)
            kept = self._rooms.get(code)
            if kept is not None and kept.room.due == due and code not in self._followed:
                codes.append(code)
        return defer.succeed(codes)

    def take(self, ways: Sequence[Way]) -> Deferred[Taken]:
        return defer.succeed(self._budgets.take(ways, self._clock.seconds()))

    def give_back(self, way: Way) -> None:
        self._budgets.give_back(way, self._clock.seconds())

    def mark(self, name: str, seconds: float) -> None:
        self._budgets.mark(name, self._clock.seconds() + seconds)

    def size(self) -> int:
        return len(self._rooms)

    def grace_floor(self) -> float:
        return self._restored_at

    def ready(self) -> str:
        return ""
