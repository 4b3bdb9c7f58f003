"""The output of sessions, and the groups of sessions that receive the same.

Output is written at the end of a reactor iteration: one write for each connection, joined once for all members of a room that
receive the same. A large group gathers messages that are not about playback for longer, because a write for each message and
member would cost most of its time. Each connection receives its frames in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..metrics import Counter
from ..util.time_slicer import TimeSlicer
from .session import Session

if TYPE_CHECKING:
    from .replica import RoomReplica

LARGE_GROUP_SESSIONS = 100
"""Sessions beyond which a group gathers messages."""

GATHER_SECONDS = 0.05
"""The longest time for which a message is gathered."""

GATHER_BYTES = 64 * 1024
"""Gathered bytes beyond which they are written at the end of the reactor iteration."""


class RoomSessions:
    """The sessions of one room on this node, by user id.

    pending: the frames that some of the sessions have yet to receive.
    is_due: whether they are written at the end of this reactor iteration. Otherwise they are gathered until the timer fires.
    is_large: whether the group gathers messages.
    ahead: the sessions that have received the first `Session.ahead` of the pending frames, or must not receive them.
    """

    __slots__ = ("_gathered_bytes", "_sessions", "_timer", "ahead", "is_due", "is_large", "live", "outbox", "pending")

    def __init__(self, outbox: Outbox, live: RoomReplica):
        self.live = live
        self._sessions: dict[str, Session] = {}
        self.outbox = outbox
        self.pending: list[bytes] = []
        self.is_due = False
        self.is_large = False
        self.ahead: dict[Session, None] = {}
        self._timer: IDelayedCall | None = None
        self._gathered_bytes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def members(self) -> Collection[Session]:
        """Return a view of the sessions, which follows their changes."""
        return self._sessions.values()

    def get(self, user: str) -> Session | None:
        return self._sessions.get(user)

    def add(self, session: Session, user: str) -> None:
        """Let a session speak for a member. It receives no earlier frames of the group, unless it was in it."""
        before = self._sessions.get(user)
        if before is not session:
            if before is not None:
                self.remove(before)
            session.group = self
            session.user = user
            session.detached = False
            self._sessions[user] = session
            self.is_large = len(self._sessions) > self.outbox.large_group_sessions
            if self.pending:
                self._be_ahead(session)

    def remove(self, session: Session) -> None:
        """Remove a session, if it is in the group. It still receives all earlier frames of the group."""
        if self._sessions.get(session.user) is session:
            if self.pending:
                self.outbox.take(session, self)
                del self.ahead[session]
                session.ahead = 0
            del self._sessions[session.user]
            session.group = None
            session.user = ""
            session.unconfirmed_relays = None
            self.is_large = len(self._sessions) > self.outbox.large_group_sessions
            if not self._sessions and not self.is_due:
                self.pending = []
                self.stop_gathering()

    def send(self, frame: bytes, skip: str = "") -> None:
        """Send a frame to all sessions, at the end of this reactor iteration.

        skip: the user id of one that does not receive it.
        """
        if skip in self._sessions:
            self._skip(self._sessions[skip])
        if self._sessions:
            if not self.is_due:
                self.outbox.group_is_due(self)
            self.pending.append(frame)

    def gather(self, frame: bytes, skip: str = "") -> None:
        """Send a frame to all sessions within `GATHER_SECONDS`, but not after a later frame. skip: as in `send`."""
        if self.is_due or not self.is_large:
            self.send(frame, skip)
            return
        if skip in self._sessions:
            self._skip(self._sessions[skip])
        if self._timer is None:
            self._timer = self.outbox.start_timer(self)
            self._gathered_bytes = 0
        self.pending.append(frame)
        self._gathered_bytes += len(frame)
        if self._gathered_bytes > GATHER_BYTES:
            self.outbox.group_is_due(self)

    def _skip(self, session: Session) -> None:
        """Have a session not receive the next frame."""
        if self.pending:
            self.outbox.take(session, self)
        self._be_ahead(session, 1)

    def _be_ahead(self, session: Session, of_next: int = 0) -> None:
        """Have a session receive none of the pending frames, and of the next ones."""
        session.ahead = len(self.pending) + of_next
        self.ahead[session] = None

    def take(self, session: Session) -> None:
        """Make those pending frames the session's own that it has yet to receive."""
        session.pending_frames = [(0, frame) for frame in merged(self.pending, session)]
        self._be_ahead(session)

    def timer_fired(self) -> None:
        """Write the gathered frames."""
        self._timer = None
        if self.pending and not self.is_due:
            self.outbox.group_is_due(self)

    def stop_gathering(self) -> None:
        """Stop the timer, because all is written or the group is out of use."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Outbox:
    """Writes the output of all sessions at the end of a reactor iteration.

    deliveries: counts the frames written, for each connection.
    large_group_sessions: see `LARGE_GROUP_SESSIONS`.
    """

    def __init__(self, clock: IReactorTime, deliveries: Counter, large_group_sessions: int = LARGE_GROUP_SESSIONS):
        self._clock = clock
        self._deliveries = deliveries
        self.large_group_sessions = large_group_sessions
        self._groups: list[RoomSessions] = []
        self._sessions: list[Session] = []
        self._scheduled = False
        self._slicer = TimeSlicer(clock)

    def group_is_due(self, group: RoomSessions) -> None:
        """Write the pending frames of a group at the end of this reactor iteration."""
        group.is_due = True
        self._groups.append(group)
        self._schedule()

    def start_timer(self, group: RoomSessions) -> IDelayedCall:
        """Call `group.timer_fired` after `GATHER_SECONDS`."""
        return self._clock.callLater(GATHER_SECONDS, group.timer_fired)

    def send(self, session: Session, frame: bytes) -> None:
        """Send a frame to one session, after all earlier frames of its group."""
        if not session.pending_frames:
            self._sessions.append(session)
            self._schedule()
        group = session.group
        session.pending_frames.append((len(group.pending) if group is not None else 0, frame))

    def stream(self, sessions: Iterable[Session], pieces: Iterable[bytes]) -> None:
        """Send the same long output to sessions that have left their group, in slices of time.

        A session that is in a group again before its turn does not receive it.
        """
        self._slicer.run(_stream(sessions, pieces))

    def take(self, session: Session, group: RoomSessions) -> None:
        """Send a session the pending frames of its group, at the end of this reactor iteration."""
        has_own = bool(session.pending_frames)
        group.take(session)
        if not has_own and session.pending_frames:
            self._sessions.append(session)
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._flush_iteration)

    def _flush_iteration(self) -> None:
        self._scheduled = False
        self.flush()

    def flush_session(self, session: Session) -> None:
        """Write all pending output of one session now, with the gathered frames of its group."""
        group = session.group
        if group is not None and group.pending:
            group.take(session)
        own, session.pending_frames = session.pending_frames, []
        if own:
            session.relayed = 0
            self._deliveries.value += len(own)
            _write(session, b"".join([frame for _, frame in own]))

    def flush(self) -> None:
        """Write all pending output now, except gathered frames for sessions without other output."""
        groups, self._groups = self._groups, []
        sessions, self._sessions = self._sessions, []
        count = 0
        for group in groups:
            frames, group.pending = group.pending, []
            group.is_due = False
            if group.is_large:
                group.stop_gathering()
            if group.ahead:
                ahead, group.ahead = group.ahead, {}
                members = [session for session in group.members() if session not in ahead]
                for session in ahead:
                    own = merged(frames, session)
                    session.ahead = 0
                    if own:
                        count += len(own)
                        _write(session, own[0] if len(own) == 1 else b"".join(own))
            else:
                members = list(group.members())
            joined = frames[0] if len(frames) == 1 else b"".join(frames)
            size = len(joined)
            for session in members:
                if session.pending_frames:
                    count += len(session.pending_frames)
                    _write(session, b"".join(merged(frames, session)))
                    continue
                # Inlined `_write`: no other code runs as often.
                direct = session.raw_send
                if direct is None:
                    session.write(joined)
                    continue
                try:
                    sent = direct(joined)
                except OSError:
                    sent = 0
                if sent != size:
                    session.write_rest(memoryview(joined)[sent:])
            count += len(frames) * len(members)
        for session in sessions:
            if session.pending_frames:
                own_group = session.group
                if own_group is not None and own_group.pending:
                    own_group.take(session)
                extras, session.pending_frames = session.pending_frames, []
                session.relayed = 0
                count += len(extras)
                _write(session, extras[0][1] if len(extras) == 1 else b"".join([frame for _, frame in extras]))
        self._deliveries.value += count


def _stream(sessions: Iterable[Session], pieces: Iterable[bytes]) -> Iterator[None]:
    for session in sessions:
        if session.group is None and not session.gone:
            session.stream(iter(pieces))
        yield


def _write(session: Session, data: bytes) -> None:
    direct = session.raw_send
    if direct is not None:
        try:
            sent = direct(data)
        except OSError:
            sent = 0
        if sent != len(data):
            session.write_rest(memoryview(data)[sent:])
    else:
        session.write(data)


def merged(frames: list[bytes], session: Session) -> list[bytes]:
    """Return those frames of a group that a session has yet to receive, with its own frames in their places between them."""
    own, session.pending_frames = session.pending_frames, []
    session.relayed = 0
    at = session.ahead
    if not own:
        return frames[at:]
    found: list[bytes] = []
    for position, frame in own:
        if position > at:
            found += frames[at:position]
            at = position
        found.append(frame)
    return found + frames[at:] if at < len(frames) else found
