"""The sessions of a node: one per connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from ..ratelimit import Meter
from .player_state import PlayerState
from .unconfirmed_relays import RESENT, UnconfirmedRelays

if TYPE_CHECKING:
    from .joining.pending_join import PendingJoin
    from .outbox import Outbox, RoomSessions


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
    delay: its one-way delay in ms, see `rules.lead.one_way_delay`.
    lagging: whether the client reads more slowly than the node writes.
    on_drained: called when the client has read all output.
    unconfirmed_relays: relays that the client may not have received.
    relayed: the bytes of relays to it in this reactor iteration.
    write, raw_send: write immediately; for the outbox. raw_send returns the number of bytes written, and raises OSError if that
    is 0. It is None while output waits. Only the transport sets it.
    write_rest: writes the frames that raw_send has not written completely: a view of complete frames, without the written
    beginning. The transport sets it with raw_send.
    pending_frames: its output of this reactor iteration, each frame with the number of frames of the group before it.
    ahead: how many of the pending frames of its group it has received already, or does not receive.
    """

    __slots__ = (
        "_outbox", "_transport", "address", "ahead", "pending_join", "lagging", "conn", "delay", "detached", "raw_send",
        "pending_frames",
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
        self.ahead = 0
        self.player = PlayerState()
        self.round_trip = 0.0
        self.delay = 0
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
        """Write all pending output of this session."""
        self._outbox.flush_session(self)

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
            self.flush()

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
        self.flush()
        self._transport.stream(pieces)

    def close(self, code: int, reason: str) -> None:
        """Close the connection with a close code, after all earlier output."""
        self.flush()
        self._transport.close(code, reason)

    def close_abusive(self, reason: str) -> None:
        """Close with 1008 after all earlier output, and stop reading."""
        self.flush()
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


def _no_raw_send(rest: memoryview) -> None:
    raise RuntimeError("only a transport that sets raw_send has a rest to write")
