"""Who is connected here: one session a connection, grouped by room, and what is about to be written to them.

Everything sent in one turn of the reactor leaves in one write a connection, joined once for a whole room where all its
members get the same. The order for each connection is that of the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..interfaces import ISession
from ..ratelimit import Meter
from .unconfirmed_relays import AGAIN, Letters

if TYPE_CHECKING:
    from .joining.pending_join import PendingJoin
    from .replica import RoomReplica


RELAYED_AT_ONCE = 128 * 1024
"""Bytes that other members send to one in a turn until they are written before its end."""


class SessionTransport(Protocol):
    """The connection below a session."""

    def write(self, data: bytes) -> None:
        """Write whole frames, unless the connection is closing."""

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Write pieces of whole frames, each of which is made only when the client has taken what comes before it."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""

    def close_abusive(self, reason: str) -> None:
        """Close with 1008, without listening to the client any more."""

    def probe(self, answered: Callable[[bool], None]) -> None:
        """Ping, and say whether a pong came in time."""

    def crowded(self) -> bool:
        """Say whether so much waits for the client that what one other member sends it has to stay out."""

    def settled(self) -> None:
        """The session's JOIN has been answered: messages that came after it may be handled."""


@implementer(ISession)
class Session:
    """One connection.

    conn, address, send, close, probe: see ISession. user, nonce: the member it speaks for, "" while in no room.
    position, playing, last_position_at: what its player last said, and when (server time; 0.0: never).
    watching: whether the room knows that it watches. quality: see interfaces.PlayerStatus. gone: the connection is closed.
    out_of_sync_since: since when it is out of step (server time; 0.0: it is not). resyncs_sent: how often it was told so.
    lagging: whether its client does not read as fast as it is written to. on_drained: what to tell it when it reads again.
    letters: what other members have sent and its client may not have got. pending_join: the newest JOIN.
    detached: whether it is in no room because another
    connection speaks for its member now. write, raw_send: write now; for the outbox. raw_send: None, or what does it as long as
    nothing waits, and returns how many bytes it has written; it raises OSError if none. relayed: bytes that other members
    have sent it in this turn. meter: what its address has spent; None for no limit.
    """

    __slots__ = (
        "_outbox", "_wire", "address", "pending_join", "lagging", "conn", "detached", "raw_send", "pending_frames",
        "gone", "group", "last_position_at", "letters", "meter", "nonce", "out_of_sync_since", "on_drained", "playing",
        "position", "quality", "relayed", "resyncs_sent", "user", "watching", "write",
    )  # fmt: skip

    def __init__(self, conn: str, address: str, wire: SessionTransport, outbox: Outbox):
        self.conn = conn
        self.address = address
        self._wire = wire
        self.write = wire.write
        self.raw_send: Callable[[bytes], int] | None = None
        self._outbox = outbox
        self.group: RoomSessions | None = None
        self.user = ""
        self.nonce = ""
        self.pending_join: PendingJoin | None = None
        self.detached = False
        self.pending_frames: list[tuple[int, bytes]] = []
        self.position = 0.0
        self.playing = False
        self.last_position_at = 0.0
        self.watching = False
        self.out_of_sync_since = 0.0
        self.resyncs_sent = 0
        self.quality = "unknown"
        self.lagging = False
        self.on_drained: Callable[[], None] | None = None
        self.relayed = 0
        self.meter: Meter | None = None
        self.letters: Letters | None = None
        self.gone = False

    def send(self, frame: bytes) -> None:
        self._outbox.send(self, frame)

    def flush(self) -> None:
        """Write what waits for the end of the turn, to this session and all others."""
        self._outbox.flush()

    def hand_over(self, letter: bytes) -> None:
        """Send what another member has sent, and keep it until the client shows a sign of life, unless it was sent before."""
        if letter[:1] == AGAIN:
            letter = letter[1:]
        else:
            if self.letters is None:
                self.letters = Letters()
            self.letters.add(letter)
        self._outbox.send(self, letter)
        self.relayed += len(letter)
        if self.relayed > RELAYED_AT_ONCE:
            # How much of it has to wait is known only when it is written; until then nothing of it would be refused.
            self._outbox.flush()

    def unproven(self) -> list[bytes]:
        """Return the letters that the client may not have got, marked as handed over once, and forget them."""
        letters, self.letters = self.letters, None
        return [AGAIN + letter for letter in letters or ()]

    def look(self, *, alive: bool) -> bool:
        """Forget letters that the client has; return whether some are left.

        alive: whether it has sent anything since the last look.
        """
        if self.letters is not None:
            self.letters.look(alive=alive)
            if not self.letters:
                self.letters = None
        return self.letters is not None

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Send frames in pieces that are made when they are needed, after everything sent before."""
        self._outbox.flush()
        self.raw_send = None
        self._wire.stream(pieces)

    def close(self, code: int, reason: str) -> None:
        self._outbox.flush()
        self._wire.close(code, reason)

    def close_abusive(self, reason: str) -> None:
        """Close with 1008, without listening to the client any more."""
        self._outbox.flush()
        self._wire.close_abusive(reason)

    def probe(self, answered: Callable[[bool], None]) -> None:
        self._wire.probe(answered)

    @property
    def congested(self) -> bool:
        """Whether no relays are taken for it: else any other member could have it cut off as too slow."""
        return self.lagging and self._wire.crowded()

    def caught_up(self) -> None:
        """Its client has read everything: tell it what it was spared, as it is now."""
        self.lagging = False
        owed, self.on_drained = self.on_drained, None
        if owed is not None:
            owed()

    def settled(self) -> None:
        """Its JOIN has been answered."""
        self._wire.settled()


class RoomSessions:
    """The sessions of one room on this node, by user id, and the frames that wait for all of them."""

    __slots__ = ("_sessions", "live", "outbox", "pending")

    def __init__(self, outbox: Outbox, live: RoomReplica):
        self.live = live
        self._sessions: dict[str, Session] = {}
        self.outbox = outbox
        self.pending: list[bytes] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def members(self) -> Iterable[Session]:
        """Return the sessions as they are at any time."""
        return self._sessions.values()

    def get(self, user: str) -> Session | None:
        return self._sessions.get(user)

    def add(self, session: Session, user: str) -> None:
        """Let a session speak for a member. Whatever was sent to the group before does not concern it."""
        if self.pending:
            self.outbox.flush()
        session.group = self
        session.user = user
        session.detached = False
        self._sessions[user] = session

    def remove(self, session: Session) -> None:
        """Take a session out, if it is in; what was sent to the group before still reaches it."""
        if self._sessions.get(session.user) is session:
            if self.pending:
                self.outbox.flush()
            del self._sessions[session.user]
            session.group = None
            session.user = ""
            session.letters = None

    def send(self, frame: bytes, skip: str = "") -> None:
        """Send a frame to all, or all but one."""
        if skip in self._sessions:
            for user, session in self._sessions.items():
                if user != skip:
                    session.send(frame)
        elif self._sessions:
            if not self.pending:
                self.outbox.group_has_pending(self)
            self.pending.append(frame)


class Outbox:
    """What leaves at the end of the reactor's turn.

    delivered: is told how many deliveries a flush made.
    """

    def __init__(self, clock: IReactorTime, delivered: Callable[[int], None] = lambda count: None):
        self._clock = clock
        self._delivered = delivered
        self._groups: list[RoomSessions] = []
        self._sessions: list[Session] = []
        self._scheduled = False

    def group_has_pending(self, group: RoomSessions) -> None:
        """The group's `pending` is not empty any more."""
        self._groups.append(group)
        self._schedule()

    def send(self, session: Session, frame: bytes) -> None:
        """Send to one session, after what its group was sent."""
        if not session.pending_frames:
            self._sessions.append(session)
            self._schedule()
        group = session.group
        session.pending_frames.append((len(group.pending) if group is not None else 0, frame))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._flush_turn)

    def _flush_turn(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write everything that waits."""
        groups, self._groups = self._groups, []
        sessions, self._sessions = self._sessions, []
        count = 0
        for group in groups:
            frames, group.pending = group.pending, []
            joined = frames[0] if len(frames) == 1 else b"".join(frames)
            size = len(joined)
            members = tuple(group.members())
            for session in members:
                if session.pending_frames:
                    count += len(session.pending_frames)
                    _write(session, b"".join(_merge(frames, session)))
                    continue
                # As `_write` does, without a call: nothing else is done as often.
                direct = session.raw_send
                if direct is None:
                    session.write(joined)
                    continue
                try:
                    sent = direct(joined)
                except OSError:
                    sent = 0
                if sent != size:
                    _write_rest(session, joined, sent)
            count += len(frames) * len(members)
        for session in sessions:
            if session.pending_frames:
                extras, session.pending_frames = session.pending_frames, []
                session.relayed = 0
                count += len(extras)
                _write(session, extras[0][1] if len(extras) == 1 else b"".join([frame for _, frame in extras]))
        self._delivered(count)


def _write(session: Session, data: bytes) -> None:
    direct = session.raw_send
    if direct is not None:
        try:
            sent = direct(data)
        except OSError:
            sent = 0
        if sent != len(data):
            _write_rest(session, data, sent)
    else:
        session.write(data)


def _write_rest(session: Session, data: bytes, sent: int) -> None:
    """Write what the socket did not take; from now on everything waits behind that."""
    session.raw_send = None
    session.write(data[sent:])


def _merge(frames: list[bytes], session: Session) -> Iterable[bytes]:
    """Yield a group's frames with those of one of its sessions between them, where they belong."""
    extras, session.pending_frames = session.pending_frames, []
    session.relayed = 0
    at = 0
    for position, frame in extras:
        yield from frames[at:position]
        at = max(at, position)
        yield frame
    yield from frames[at:]
