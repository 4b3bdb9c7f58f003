"""Commands, as input of the rules, and decisions, as their output."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from ..messages import LoggedMessage, ServerMessage
from .event_types import EventType
from .state import Pin


class Command(Struct, frozen=True, gc=False):
    """Carry a request of a member, or of the server, to the rules.

    user, conn: the member and its connection; both "" for commands of the server.
    body: a ClientMessage, or one of the classes below.
    nonce: the scope of the body's `id`; "" for the scope of the connection.
    seen: the last seq that a client without `seq` can have seen; None: any.
    """

    user: str
    conn: str
    body: Any
    nonce: str = ""
    seen: int | None = None


class Enter(Struct, frozen=True, gc=False):
    """Admit the sender of a JOIN, after the parts of it that need time or randomness.

    username: None for the name that the member has already, or for none.
    address: the client's address; "" where addresses mean nothing.
    pin: the PIN, hashed with the salt of the room's PIN, or with a new salt for a new room; None without a PIN.
    token: SHA-256 of the JOIN's resume token, "" for none. new_token: SHA-256 of a token to issue, "" for none.
    resume: whether the client continues an earlier session and asks for the missed messages.
    invite: the invite code of the room that this JOIN creates; "" for an existing room.
    role: "host" or "guest" from a valid auth token, else "". named: whether the auth token gave the name.
    modern: whether the client has a proof of identity besides its address: it keeps a token, or sends an `id`.
    follows: whether the client follows the room also while its member is host.
    schedules: whether the client starts its player at the time that PLAY_PAUSE names.
    admitted: whether the host has let this newcomer in, although the room is locked.
    calls: whether the client says by CALL whether it takes part in the call.
    received_at: server time at which the JOIN arrived; 0.0 if not known.
    """

    username: str | None
    address: str
    pin: Pin | None = None
    token: str = ""
    new_token: str = ""
    resume: bool = False
    invite: str = ""
    role: str = ""
    named: bool = False
    modern: bool = False
    follows: bool = False
    schedules: bool = False
    admitted: bool = False
    calls: bool = False
    received_at: float = 0.0
    id: int | None = None


class Lost(Struct, frozen=True, gc=False):
    """Report the loss of the member's connection. since: server time since which it does not answer; 0.0 for now."""

    since: float = 0.0
    id: int | None = None


class Probe(Struct, frozen=True, gc=False):
    """Ask the node of a member to probe its connection, because another connection wants to speak for the member."""

    id: int | None = None


class NodeLost(Struct, frozen=True, gc=False):
    """Report the loss of a node, with all connections whose names begin with `prefix` ("node/boot/"; "" for all).

    A decision covers `MAX_MEMBERS_PER_COMMIT` members. Repeat the command until it changes nothing.
    """

    prefix: str
    id: int | None = None


class Reattach(Struct, frozen=True, gc=False):
    """Give a lost member its connection back, because the connection is alive on this node."""

    id: int | None = None


class Due(Struct, frozen=True, gc=False):
    """Apply one change that is due: end of a grace period, opening of the gate, or expiry of the room.

    floor: server time before which no grace period begins.
    """

    floor: float = 0.0
    id: int | None = None


class Watching(Struct, frozen=True, gc=False):
    """Report members whose positions have begun or ceased to arrive. members: (user id, connection) of each.

    position: of a player that has played on while its positions did not arrive, in seconds; None without one.
    delays: of the members, in the same order, as `lead.one_way_delay` returns them; empty if they do not matter.
    """

    watching: bool
    members: tuple[tuple[str, str], ...]
    position: float | None = None
    delays: tuple[int, ...] = ()
    id: int | None = None


class MeasuredDelay(Struct, frozen=True, gc=False):
    """Report the delay of the member, which has changed. delay: see `lead.one_way_delay`."""

    delay: int
    id: int | None = None


class ReportEnd(Struct, frozen=True, gc=False):
    """Tell the other nodes the knowledge of the member's player about the end of the title. kind, end: see `playback.KnownEnd`."""

    kind: Literal["ended", "duration", "further"]
    end: float
    id: int | None = None


class CorrectPlayback(Struct, frozen=True, gc=False):
    """Move the timeline to the host's player. position: seconds of film."""

    position: float
    playing: bool
    id: int | None = None


class HoldPlayback(Struct, frozen=True, gc=False):
    """The host's player stalls at this position (seconds): the room waits for it."""

    position: float
    id: int | None = None


class StopUnwatched(Struct, frozen=True, gc=False):
    """No member watches: the timeline stands still until one does."""

    id: int | None = None


class StopAtEnd(Struct, frozen=True, gc=False):
    """The timeline is past the end of the film: it stops there. position: of the end, in seconds."""

    position: float
    id: int | None = None


class Close(Struct, frozen=True, gc=False):
    """End the room. by: the administrator, for the archive. reason: a text for its members, None for none."""

    by: str
    reason: str | None = None
    id: int | None = None


class Announce(Struct, frozen=True, gc=False):
    """Send an announcement to the members. by: the administrator, for the archive."""

    by: str
    text: str
    id: int | None = None


class Decision(Struct, gc=False):
    """Hold the effect of a command. A decision without event, changes and messages leads to no commit.

    event, changes, messages, details, skip, closes: as in `Commit`; changes may hold whole new values, see `room_fields`.
    reply: a message for the sender alone, to send after the commit.
    reschedule: whether the room's due time may change.
    seq: of a repeated command, the seq of the commit that applied it; else None.
    """

    event: EventType | Literal[""] = ""
    changes: dict[str, Any] = {}
    messages: tuple[LoggedMessage, ...] = ()
    details: dict[str, Any] | None = None
    skip: str = ""
    closes: bool = False
    reply: ServerMessage | None = None
    reschedule: bool = False
    seq: int | None = None

    @property
    def commits(self) -> bool:
        """Whether the decision leads to a commit."""
        return bool(self.event or self.changes or self.messages)


class StalePinError(Exception):
    """Reject an `Enter` whose PIN was hashed with another salt than the room's. Hash it with the room's salt and repeat."""
