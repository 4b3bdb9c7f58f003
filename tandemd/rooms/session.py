"""The sessions of a node: one per connection, grouped by room, and their output.

Output is written at the end of a reactor iteration: one write for each connection, joined once for all members of a room that
receive the same. Each connection receives its frames in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime

from ..metrics import Counter
from ..ratelimit import Meter
from .player_state import PlayerState
from .unconfirmed_relays import RESENT, UnconfirmedRelays

if TYPE_CHECKING:
    from .joining.pending_join import PendingJoin
    from .replica import RoomReplica


MAX_PENDING_RELAY_BYTES = 128 * 1024
"""The bytes of relays to one session in a reactor iteration, beyond which all output is written at once."""


class SessionTransport(Protocol):
    """The connection of a session."""

    def write(self, data: bytes) -> None:
        """Write complete frames, unless the connection is closing."""

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Write pieces of complete frames. Each is made only when the client has read all earlier output."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""

    def close_abusive(self, reason: str) -> None:
        """Close with 1008, and stop reading."""

    def probe(self, answered: Callable[[bool], None]) -> None:
        """Send a ping. `answered` is called with whether a pong has arrived in time."""

    def crowded(self) -> bool:
        """Return whether so much output waits for the client that it takes no relays."""

    def settled(self) -> None:
        """Continue with the messages that the client has sent after its JOIN."""


class Session:
    """A connection, and the member that it speaks for.

    conn: 'node/boot/number', the name of the connection, unique in the cluster for all time.
    address: the client's address for limits and bans; '' where addresses mean nothing.
    group, user, nonce: the room and the member that it speaks for; None and "" while it is in no room.
    pending_join: the newest JOIN.
    has_failed_pin: whether it has sent a wrong PIN.
    detached: whether it is in no room because another connection has taken over its member.
    gone: whether the connection is closed.
    meter: the budget of its address, None for no limit.
    quality: see `PlayerStatus`.
    player: the state of its player.
    round_trip: the round trip of the connection in seconds, 0.0 before the first pong.
    lagging: whether the client reads more slowly than the node writes.
    on_drained: called when the client has read all output.
    unconfirmed_relays: relays that the client may not have received.
    relayed: the bytes of relays to it in this reactor iteration.
    write, raw_send: write immediately; for the outbox. raw_send returns the number of bytes written, and raises OSError if that
    is 0. It is None while output waits. Only the transport sets it.
    write_rest: writes the frames that raw_send has not written completely: a view of complete frames, without the written
    beginning. The transport sets it with raw_send.
    pending_frames: its output of this reactor iteration, each frame with the number of frames of the group before it.
    """

    __slots__ = (
        "_outbox", "_transport", "address", "pending_join", "lagging", "conn", "detached", "raw_send", "pending_frames",
        "gone", "group", "unconfirmed_relays", "meter", "nonce", "on_drained", "player", "quality", "relayed", "round_trip",
        "user", "write", "write_rest", "has_failed_pin",
    )  # fmt: skip

    def __init__(self, conn: str, address: str, transport: SessionTransport, outbox: Outbox):
        self.conn = conn
        self.address = address
        self._transport = transport
        self.write = transport.write
        self.raw_send: Callable[[bytes], int] | None = None
        self.write_rest: Callable[[memoryview], None] = _no_raw_send
        self._outbox = outbox
        self.group: RoomSessions | None = None
        self.user = ""
        self.nonce = ""
        self.pending_join: PendingJoin | None = None
        self.has_failed_pin = False
        self.detached = False
        self.pending_frames: list[tuple[int, bytes]] = []
        self.player = PlayerState()
        self.round_trip = 0.0
        self.quality = "unknown"
        self.lagging = False
        self.on_drained: Callable[[], None] | None = None
        self.relayed = 0
        self.meter: Meter | None = None
        self.unconfirmed_relays: UnconfirmedRelays | None = None
        self.gone = False

    def send(self, frame: bytes) -> None:
        """Send an encoded frame after all earlier ones. A closing connection drops it."""
        self._outbox.send(self, frame)

    def flush(self) -> None:
        """Write all pending output of this session and of all others."""
        self._outbox.flush()

    def send_relay(self, frame: bytes) -> None:
        """Send a relay, and keep it until the client shows a sign of life. A relay that is marked as resent is not kept."""
        if frame[:1] == RESENT:
            frame = frame[1:]
        else:
            if self.unconfirmed_relays is None:
                self.unconfirmed_relays = UnconfirmedRelays()
            self.unconfirmed_relays.add(frame)
        self._outbox.send(self, frame)
        self.relayed += len(frame)
        if self.relayed > MAX_PENDING_RELAY_BYTES:
            # Only a write shows whether the client is congested. Until then no relay would be refused.
            self._outbox.flush()

    def take_unconfirmed(self) -> list[bytes]:
        """Return the relays that the client may not have received, marked as resent, and forget them."""
        relays, self.unconfirmed_relays = self.unconfirmed_relays, None
        return [RESENT + frame for frame in relays or ()]

    def check_relays(self, *, alive: bool) -> bool:
        """Forget relays that the client has received. Return whether some are left.

        alive: whether the client has sent anything since the last check.
        """
        if self.unconfirmed_relays is not None:
            self.unconfirmed_relays.check(alive=alive)
            if not self.unconfirmed_relays:
                self.unconfirmed_relays = None
        return self.unconfirmed_relays is not None

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Send frames in pieces that are made on demand, after all earlier output."""
        self._outbox.flush()
        self._transport.stream(pieces)

    def close(self, code: int, reason: str) -> None:
        """Close the connection with a close code, after all earlier output."""
        self._outbox.flush()
        self._transport.close(code, reason)

    def close_abusive(self, reason: str) -> None:
        """Close with 1008 after all earlier output, and stop reading."""
        self._outbox.flush()
        self._transport.close_abusive(reason)

    def probe(self, answered: Callable[[bool], None]) -> None:
        """Ping the client, and call `answered` within 5 s: True after a pong, False without."""
        self._transport.probe(answered)

    @property
    def congested(self) -> bool:
        """Whether the session takes no relays. Otherwise any member could have it closed as too slow."""
        return self.lagging and self._transport.crowded()

    def caught_up(self) -> None:
        """Note that the client has read all output, and send the current state that it was spared."""
        self.lagging = False
        on_drained, self.on_drained = self.on_drained, None
        if on_drained is not None:
            on_drained()

    def settled(self) -> None:
        """Continue with the messages after a JOIN, which was answered or waits."""
        self._transport.settled()


class RoomSessions:
    """The sessions of one room on this node, by user id.

    pending: frames for all of them, for the end of the reactor iteration.
    """

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
        """Return a view of the sessions, which follows their changes."""
        return self._sessions.values()

    def get(self, user: str) -> Session | None:
        return self._sessions.get(user)

    def add(self, session: Session, user: str) -> None:
        """Let a session speak for a member. It receives no earlier frames of the group."""
        if self.pending:
            self.outbox.flush()
        session.group = self
        session.user = user
        session.detached = False
        self._sessions[user] = session

    def remove(self, session: Session) -> None:
        """Remove a session, if it is in the group. It still receives all earlier frames of the group."""
        if self._sessions.get(session.user) is session:
            if self.pending:
                self.outbox.flush()
            del self._sessions[session.user]
            session.group = None
            session.user = ""
            session.unconfirmed_relays = None

    def send(self, frame: bytes, skip: str = "") -> None:
        """Send a frame to all sessions. skip: the user id of one that does not receive it."""
        if skip in self._sessions:
            for user, session in self._sessions.items():
                if user != skip:
                    session.send(frame)
        elif self._sessions:
            if not self.pending:
                self.outbox.group_has_pending(self)
            self.pending.append(frame)


class Outbox:
    """Writes the output of all sessions at the end of a reactor iteration.

    deliveries: counts the frames written, for each connection.
    """

    def __init__(self, clock: IReactorTime, deliveries: Counter):
        self._clock = clock
        self._deliveries = deliveries
        self._groups: list[RoomSessions] = []
        self._sessions: list[Session] = []
        self._scheduled = False

    def group_has_pending(self, group: RoomSessions) -> None:
        """Note that the `pending` of a group is no longer empty."""
        self._groups.append(group)
        self._schedule()

    def send(self, session: Session, frame: bytes) -> None:
        """Send a frame to one session, after all earlier frames of its group."""
        if not session.pending_frames:
            self._sessions.append(session)
            self._schedule()
        group = session.group
        session.pending_frames.append((len(group.pending) if group is not None else 0, frame))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._flush_iteration)

    def _flush_iteration(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write all pending output."""
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
                extras, session.pending_frames = session.pending_frames, []
                session.relayed = 0
                count += len(extras)
                _write(session, extras[0][1] if len(extras) == 1 else b"".join([frame for _, frame in extras]))
        self._deliveries.value += count


def _no_raw_send(rest: memoryview) -> None:
    raise RuntimeError("only a transport that sets raw_send has a rest to write")


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


def _merge(frames: list[bytes], session: Session) -> Iterable[bytes]:
    """Yield the frames of a group, with the frames for one of its sessions in their places between them."""
    extras, session.pending_frames = session.pending_frames, []
    session.relayed = 0
    at = 0
    for position, frame in extras:
        yield from frames[at:position]
        at = max(at, position)
        yield frame
    yield from frames[at:]
