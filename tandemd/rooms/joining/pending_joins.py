"""JOINs that wait at a room until it can accept them, and asking the room again for those that a change concerns.

A change costs no more than the JOINs that it may let in: a place that became free asks for one, a user id that became free for
the newest JOIN under it. More than a few are asked for in slices, so that other rooms have their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ... import messages as m
from ...errors import ErrorCode
from ...ratelimit.scopes import scopes
from ...rules import join as joining
from ...rules.settings import RuleSettings
from ...rules.state import MEMBER, Commit
from ..session import Session

if TYPE_CHECKING:
    from ..replica import RoomReplica

SLICE = 8
"""JOINs asked for in one turn of the reactor, of all rooms together."""

USER, PLACE, STORE = "user", "place", "store"
"""What a JOIN waits for: its user id, a place in the room, the store."""

LINES = {
    ErrorCode.IDENTITY_CONFLICT: USER,
    ErrorCode.ROOM_FULL: PLACE,
    ErrorCode.LOCKED: PLACE,
    ErrorCode.UNAVAILABLE: STORE,
}
"""The line in which a JOIN waits, by the code of its ERROR."""


class PendingJoins:
    """The JOINs that wait at one room, by user id; each step costs the same, however many wait.

    asked: sessions for which the room is asked again and has not answered yet.
    """

    __slots__ = ("_by_user", "_count", "_line_of", "_lines", "_of_scope", "_ready", "asked")

    def __init__(self) -> None:
        self.asked: dict[Session, None] = {}
        self._count = 0
        self._by_user: dict[str, dict[Session, m.Join]] = {}
        self._lines: dict[str, dict[str, None]] = {}
        self._line_of: dict[str, str] = {}
        self._of_scope: dict[str, int] = {}
        self._ready: dict[str, None] = {}

    def __len__(self) -> int:
        return self._count

    def of_scope(self, name: str) -> int:
        """Return how many JOINs wait here from an address or the network around it. name: of a `Scope`."""
        return self._of_scope.get(name, 0)

    def add(self, session: Session, join: m.Join, line: str) -> None:
        """Let a JOIN wait, as the newest under its user id. line: one of those above."""
        user = join.user_id
        self.asked.pop(session, None)
        self._by_user.setdefault(user, {})[session] = join
        self._count += 1
        for scope in scopes(session.address):
            self._of_scope[scope.name] = self._of_scope.get(scope.name, 0) + 1
        if self._line_of.get(user) != line:
            self._leave_line(user)
            self._line_of[user] = line
            self._lines.setdefault(line, {})[user] = None

    def forget(self, session: Session, user: str) -> bool:
        """Forget a session's JOIN; say whether it waited here."""
        if session not in self._by_user.get(user, ()):
            return False
        self._remove(session, user)
        return True

    def make_ready(self, user: str) -> bool:
        """Have the newest JOIN under a user id asked for; say whether one waits."""
        if user not in self._by_user:
            return False
        self._ready[user] = None
        return True

    def make_ready_from(self, user: str, address: str) -> bool:
        """Have the newest JOIN under a user id asked for that comes from an address; say whether one waits."""
        sessions = self._by_user.get(user, {})
        found = [session for session in sessions if session.address == address]
        for session in found:
            sessions[session] = sessions.pop(session)
        return bool(found) and self.make_ready(user)

    def make_all_ready(self, *lines: str) -> None:
        """Have every user id in these lines asked for."""
        for line in lines:
            self._ready.update(self._lines.get(line, {}))

    def waits(self, line: str) -> bool:
        """Say whether a JOIN waits in a line."""
        return line in self._lines

    def next(self, places: int) -> tuple[Session, m.Join] | None:
        """Return the next JOIN to ask for, which waits no longer, or None. places: how many newcomers the room accepts."""
        if self._ready:
            user = next(iter(self._ready))
            del self._ready[user]
        elif places > len(self.asked) and self._lines.get(PLACE):
            user = next(iter(self._lines[PLACE]))
        else:
            return None
        sessions = self._by_user[user]
        newest = next(reversed(sessions))
        join = sessions[newest]
        self._remove(newest, user)
        for older in list(self._by_user.get(user, ())):
            if older.address == newest.address:
                # Accepted later, it would take over from the newer one.
                self._remove(older, user)
        if user in self._by_user:
            # Those from other addresses come after everybody else.
            line = self._lines[self._line_of[user]]
            del line[user]
            line[user] = None
        self.asked[newest] = None
        return newest, join

    def _remove(self, session: Session, user: str) -> None:
        sessions = self._by_user[user]
        del sessions[session]
        self._count -= 1
        for scope in scopes(session.address):
            left = self._of_scope[scope.name] - 1
            if left:
                self._of_scope[scope.name] = left
            else:
                del self._of_scope[scope.name]
        if not sessions:
            del self._by_user[user]
            self._ready.pop(user, None)
            self._leave_line(user)

    def _leave_line(self, user: str) -> None:
        name = self._line_of.pop(user, None)
        if name is not None:
            del self._lines[name][user]
            if not self._lines[name]:
                del self._lines[name]


class Retries:
    """Asks rooms again for JOINs that wait. ask: has a JOIN decided once more. usable: whether the store can be asked."""

    def __init__(
        self,
        clock: IReactorTime,
        settings: RuleSettings,
        ask: Callable[[RoomReplica, Session, m.Join], None],
        usable: Callable[[], bool],
    ):
        self._clock = clock
        self._settings = settings
        self._ask = ask
        self._usable = usable
        self._later: dict[RoomReplica, IDelayedCall] = {}
        self._rooms: dict[RoomReplica, None] = {}
        self._timer: IDelayedCall | None = None
        self.closed = False

    def close(self) -> None:
        """Ask no more."""
        self.closed = True
        self._rooms.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in self._later.values():
            call.cancel()
        self._later.clear()

    def committed(self, live: RoomReplica, commit: Commit) -> None:
        """Look at what a commit has changed for the JOINs that wait; to be called if some do and it changed something."""
        if commit.closes:
            self.reloaded(live)
            return
        room, waiting = live.room, live.waiting
        worth = "moderation" in commit.changes or "locked" in commit.changes
        for name in commit.changes:
            if name.startswith(MEMBER):
                user = name[len(MEMBER) :]
                member = room.members.get(user)
                if member is None:
                    waiting.make_ready(user)
                    worth = True
                elif not member.conn:
                    # Until its grace period ends, only its own address can have it.
                    worth = waiting.make_ready_from(user, member.address) or worth
        if worth:
            self.look(live)

    def reloaded(self, live: RoomReplica) -> None:
        """The room is another than it was: any user id may be free."""
        live.waiting.make_all_ready(USER)
        self.look(live)

    def available(self, live: RoomReplica) -> None:
        """The store can be used again."""
        live.waiting.make_all_ready(USER, STORE)
        self.look(live)

    def again_after(self, live: RoomReplica, seconds: float) -> None:
        """Ask for the JOINs that the store has refused, also if it never says that it can be used again: it may never have
        said that it cannot.
        """
        if live not in self._later and not self.closed:
            self._later[live] = self._clock.callLater(seconds, self._again, live, seconds)

    def _again(self, live: RoomReplica, seconds: float) -> None:
        del self._later[live]
        if live.closed or not live.waiting.waits(STORE):
            return
        if self._usable():
            live.waiting.make_all_ready(STORE)
            self.look(live)
        else:
            self.again_after(live, seconds)

    def answered(self, live: RoomReplica, session: Session, user: str) -> None:
        """The JOIN was accepted, or rejected for good, or is not wanted any more: its place may be another's."""
        waiting = live.waiting
        if session in waiting.asked:
            del waiting.asked[session]
            if user not in live.room.members:
                waiting.make_ready(user)
        self.look(live)

    def look(self, live: RoomReplica) -> None:
        """Ask a room soon for the JOINs that it may accept."""
        if len(live.waiting) and not self.closed:
            self._rooms[live] = None
            if self._timer is None:
                self._timer = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._timer = None
        for _ in range(SLICE):
            if not self._rooms:
                return
            live = next(iter(self._rooms))
            del self._rooms[live]
            found = live.waiting.next(joining.free_places(live.room, self._settings)) if not live.closed else None
            if found is not None:
                # The rooms take turns.
                self._rooms[live] = None
                self._ask(live, *found)
        if self._rooms and not self.closed and self._timer is None:
            self._timer = self._clock.callLater(0, self._turn)
