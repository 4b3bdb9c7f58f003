"""What the rules are asked to decide, and what they answer."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from ..messages import LoggedMessage, ServerMessage
from .event_types import EventType
from .state import Pin


class Command(Struct, frozen=True, gc=False):
    """Something that somebody, or the server itself, wants to happen in a room.

    user, conn: the member and its connection; both "" for the server's own commands.
    body: a ClientMessage, or one of the classes below.
    nonce: gives the body's `id` its meaning; "" if the client gave none, then the connection does.
    """

    user: str
    conn: str
    body: Any
    nonce: str = ""


class Enter(Struct, frozen=True, gc=False):
    """A JOIN, after everything in it that takes time or chance was worked out.

    address: where it comes from; "" where addresses mean nothing.
    pin: the PIN hashed with the salt of the room's PIN, or for a new room with a new salt; None if none was given.
    token: SHA-256 of the token given, "" for none. new_token: SHA-256 of the secret to issue if one is due, "" for none.
    resume: the client goes on where it was and asks for what it missed.
    invite: invite code, if the room is created by this.
    role: "host" or "guest" if a signed token proves who this is, else "". named: whether the name is the token's.
    modern: whether the client can do better than an address: it keeps a token, or counts its commands.
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
    id: int | None = None


class Lost(Struct, frozen=True, gc=False):
    """The member's connection is gone."""

    id: int | None = None


class NodeLost(Struct, frozen=True, gc=False):
    """A node is gone, and with it all connections whose name begins with `prefix` ("node/boot/"; "" for all).

    It marks a part of the members at a time: to be given again until it changes nothing.
    """

    prefix: str
    id: int | None = None


class Reattach(Struct, frozen=True, gc=False):
    """The member was taken for lost, but its connection is here and alive."""

    id: int | None = None


class Due(Struct, frozen=True, gc=False):
    """Time has passed: do what is due. floor: no grace period counts from before this time."""

    floor: float = 0.0
    id: int | None = None


class Watching(Struct, frozen=True, gc=False):
    """The positions of these members, each given as (user id, connection), have begun to arrive, or have ceased."""

    watching: bool
    members: tuple[tuple[str, str], ...]
    id: int | None = None


class CorrectPlayback(Struct, frozen=True, gc=False):
    """The host's player is elsewhere than the timeline, at this position (seconds)."""

    position: float
    playing: bool
    id: int | None = None


class Close(Struct, frozen=True, gc=False):
    """An administrator ends the room. by: who, for the archive. reason: for its members, None for none."""

    by: str
    reason: str | None = None
    id: int | None = None


class Announce(Struct, frozen=True, gc=False):
    """An administrator says something to everybody in the room. by: who, for the archive."""

    by: str
    text: str
    id: int | None = None


class Decision(Struct, gc=False):
    """What a command leads to; without changes and messages and with no `event`, it leads to no commit.

    changes, messages, skip, event, details, closes: as in `Commit`.
    reply: a message for the sender alone, sent after the commit.
    reschedule: whether the room's due time may be another afterwards.
    seq: that of the commit that carried the command out already, if this is a repetition of it; else None.
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
        return bool(self.event or self.changes or self.messages)


class StalePinError(Exception):
    """The PIN of an `Enter` was hashed with another salt than the room's: hash again and ask again."""
