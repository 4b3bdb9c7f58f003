"""JOINs that wait at a room for a change, and the retries that a change leads to.

The cost of a change is proportional to the JOINs that it may let in. A free place leads to one retry, and a free user id to a
retry of the newest JOIN under it. Many retries are spread over reactor iterations, so that other rooms have their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...errors import ErrorCode
from ...ratelimit.scopes import scopes
from ...rules import join as rules_of_join
from ...rules.settings import RuleSettings
from ...rules.state import MEMBER, Commit
from .pending_join import PendingJoin

if TYPE_CHECKING:
    from ..replica import RoomReplica

RETRIES_PER_ITERATION = 8
"""JOINs retried in one reactor iteration, of all rooms together."""

MIN_RETRY_SECONDS = 0.1
"""Shortest time until a retry that waits for a time. Server time may be slower than the clock of the timer."""

USER, PLACE, STORE = "user", "place", "store"
"""The lines of a room: JOINs that wait for a user id, for a place in the room, or for the store."""

LINES = {
    ErrorCode.IDENTITY_CONFLICT: USER,
    ErrorCode.ROOM_FULL: PLACE,
    ErrorCode.LOCKED: PLACE,
    ErrorCode.UNAVAILABLE: STORE,
}
"""The line in which a JOIN waits, by the code of its ERROR."""


class PendingJoins:
    """The JOINs that wait at one room, by user id. The cost of each method does not depend on their number.

    retrying: JOINs that the room decides again, without a result so far.
    """

    __slots__ = ("_by_user", "_count", "_line_of", "_lines", "_of_scope", "_ready", "retrying")

    def __init__(self) -> None:
        self.retrying: dict[PendingJoin, None] = {}
        self._count = 0
        self._by_user: dict[str, dict[PendingJoin, None]] = {}
        self._lines: dict[str, dict[str, None]] = {}
        self._line_of: dict[str, str] = {}
        self._of_scope: dict[str, int] = {}
        self._ready: dict[str, None] = {}

    def __len__(self) -> int:
        return self._count

    def of_scope(self, name: str) -> int:
        """Return how many JOINs of an address, or of the network around it, wait here. name: of a `Scope`."""
        return self._of_scope.get(name, 0)

    def add(self, pending: PendingJoin, line: str) -> None:
        """Add a JOIN as the newest under its user id. line: `USER`, `PLACE` or `STORE`."""
        user = pending.join.user_id
        self.retrying.pop(pending, None)
        self._by_user.setdefault(user, {})[pending] = None
        self._count += 1
        for scope in scopes(pending.session.address):
            self._of_scope[scope.name] = self._of_scope.get(scope.name, 0) + 1
        if self._line_of.get(user) != line:
            self._leave_line(user)
            self._line_of[user] = line
            self._lines.setdefault(line, {})[user] = None

    def forget(self, pending: PendingJoin) -> bool:
        """Remove a JOIN. Return whether it waited here."""
        if pending not in self._by_user.get(pending.join.user_id, ()):
            return False
        self._remove(pending)
        return True

    def newest(self, user: str) -> PendingJoin | None:
        """Return the newest JOIN under a user id, or None."""
        return next(reversed(self._by_user.get(user, {})), None)

    def make_ready(self, user: str) -> bool:
        """Mark the newest JOIN under a user id for a retry. Return whether one waits."""
        if user not in self._by_user:
            return False
        self._ready[user] = None
        return True

    def make_ready_from(self, user: str, address: str) -> bool:
        """Mark the newest JOIN under a user id from an address for a retry. Return whether one waits."""
        waiting = self._by_user.get(user, {})
        matches = [pending for pending in waiting if pending.session.address == address]
        for pending in matches:
            del waiting[pending]
            waiting[pending] = None
        return bool(matches) and self.make_ready(user)

    def make_all_ready(self, *lines: str) -> None:
        """Mark every user id in these lines for a retry."""
        for line in lines:
            self._ready.update(self._lines.get(line, {}))

    def has_line(self, line: str) -> bool:
        """Return whether a JOIN waits in a line."""
        return line in self._lines

    def next(self, places: int) -> PendingJoin | None:
        """Remove and return the next JOIN to retry, or None. places: how many new members the room accepts."""
        if self._ready:
            user = next(iter(self._ready))
            del self._ready[user]
        elif places > len(self.retrying) and self._lines.get(PLACE):
            user = next(iter(self._lines[PLACE]))
        else:
            return None
        waiting = self._by_user[user]
        newest = next(reversed(waiting))
        self._remove(newest)
        for older in list(self._by_user.get(user, ())):
            if older.session.address == newest.session.address:
                # Accepted later, it would take over from the newer one.
                self._remove(older)
                older.cancel()
        if user in self._by_user:
            # JOINs under this user id from other addresses wait behind all other user ids.
            line = self._lines[self._line_of[user]]
            del line[user]
            line[user] = None
        self.retrying[newest] = None
        return newest

    def _remove(self, pending: PendingJoin) -> None:
        user = pending.join.user_id
        waiting = self._by_user[user]
        del waiting[pending]
        self._count -= 1
        for scope in scopes(pending.session.address):
            left = self._of_scope[scope.name] - 1
            if left:
                self._of_scope[scope.name] = left
            else:
                del self._of_scope[scope.name]
        if not waiting:
            del self._by_user[user]
            self._ready.pop(user, None)
            self._leave_line(user)

    def _leave_line(self, user: str) -> None:
        name = self._line_of.pop(user, None)
        if name is not None:
            del self._lines[name][user]
            if not self._lines[name]:
                del self._lines[name]


class JoinRetries:
    """Retries JOINs that wait at rooms, when a change of their room or of the store may let them in."""

    def __init__(self, clock: IReactorTime, settings: RuleSettings, is_store_usable: Callable[[], bool]):
        self._clock = clock
        self._settings = settings
        self._is_store_usable = is_store_usable
        self._store_timers: dict[RoomReplica, IDelayedCall] = {}
        self._user_timers: dict[tuple[RoomReplica, str], IDelayedCall] = {}
        self._rooms: dict[RoomReplica, None] = {}
        self._timer: IDelayedCall | None = None
        self._is_closed = False

    def close(self) -> None:
        """Stop all retries."""
        self._is_closed = True
        self._rooms.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in (*self._store_timers.values(), *self._user_timers.values()):
            call.cancel()
        self._store_timers.clear()
        self._user_timers.clear()

    def commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """Schedule the retries that a commit leads to. Call it for commits with changes, if JOINs wait at the room."""
        if commit.closes:
            self.room_replaced(live)
            return
        room, waiting = live.room, live.waiting
        is_relevant = "moderation" in commit.changes or "locked" in commit.changes
        for name in commit.changes:
            if name.startswith(MEMBER):
                user = name[len(MEMBER) :]
                member = room.members.get(user)
                if member is None:
                    waiting.make_ready(user)
                    is_relevant = True
                elif not member.conn:
                    # The client at the address of the member comes first; others may have to wait.
                    is_ready = waiting.make_ready_from(user, member.address) or waiting.make_ready(user)
                    is_relevant = is_ready or is_relevant
        if is_relevant:
            self.schedule(live)

    def room_replaced(self, live: RoomReplica) -> None:
        """Retry all JOINs that wait for a user id: the room is another one, in which the ids may be free."""
        live.waiting.make_all_ready(USER)
        self.schedule(live)

    def store_available(self, live: RoomReplica) -> None:
        """Retry the JOINs that wait for a user id or for the store."""
        live.waiting.make_all_ready(USER, STORE)
        self.schedule(live)

    def retry_store_after(self, live: RoomReplica, seconds: float) -> None:
        """Retry the JOINs that the store has refused after some seconds.

        The store may never report that it is available again, because it may never have reported an outage.
        """
        if live not in self._store_timers and not self._is_closed:
            self._store_timers[live] = self._clock.callLater(seconds, self._retry_store, live, seconds)

    def retry_user_after(self, live: RoomReplica, user: str, seconds: float) -> None:
        """Retry the newest JOIN under a user id after some seconds, because no commit marks that time."""
        if (live, user) not in self._user_timers and not self._is_closed:
            delay = max(seconds, MIN_RETRY_SECONDS)
            self._user_timers[live, user] = self._clock.callLater(delay, self._retry_user, live, user)

    def _retry_user(self, live: RoomReplica, user: str) -> None:
        del self._user_timers[live, user]
        if not live.closed and live.waiting.make_ready(user):
            self.schedule(live)

    def _retry_store(self, live: RoomReplica, seconds: float) -> None:
        del self._store_timers[live]
        if live.closed or not live.waiting.has_line(STORE):
            return
        if self._is_store_usable():
            live.waiting.make_all_ready(STORE)
            self.schedule(live)
        else:
            self.retry_store_after(live, seconds)

    def retry_ended(self, live: RoomReplica, pending: PendingJoin) -> None:
        """Note the end of a retry: accepted, rejected, deferred or cancelled. Other JOINs may use its place."""
        waiting = live.waiting
        if pending in waiting.retrying:
            del waiting.retrying[pending]
            user = pending.join.user_id
            member = live.room.members.get(user)
            if member is None or not member.conn:
                waiting.make_ready(user)
        self.schedule(live)

    def schedule(self, live: RoomReplica) -> None:
        """Retry the JOINs that a room may accept, from the next reactor iteration on."""
        if len(live.waiting) and not self._is_closed:
            self._rooms[live] = None
            if self._timer is None:
                self._timer = self._clock.callLater(0, self._run)

    def _run(self) -> None:
        self._timer = None
        for _ in range(RETRIES_PER_ITERATION):
            if not self._rooms:
                return
            live = next(iter(self._rooms))
            del self._rooms[live]
            pending = None if live.closed else live.waiting.next(rules_of_join.free_places(live.room, self._settings))
            if pending is not None:
                # The rooms take turns.
                self._rooms[live] = None
                pending.resubmit(live)
        if self._rooms and not self._is_closed and self._timer is None:
            self._timer = self._clock.callLater(0, self._run)
