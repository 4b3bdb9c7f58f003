"""The state of a room, and how a commit moves it.

A room is a small set of named fields, each an immutable value: "playback", "host", "settings", "gate",
"moderation", "departed", "empty_since", and one "m:<user id>" for every member. A commit carries the new values of the fields it
changes; applying it is assigning them. That is all a store has to know about a room.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from .timeline import Playback

Version = tuple[int, int]
"""(epoch, seq): the epoch tells apart lives of a room's log, seq counts its commits without a hole."""

MEMBER = "m:"
HOST, GUEST = "host", "guest"
"""Roles that a signed token may give."""
RECENT = 8
"""How many of a member's acknowledged command ids are remembered, to acknowledge again instead of applying again."""


class Pin(Struct, frozen=True, gc=False):
    """A room's PIN, as a salted hash (hexadecimal both)."""

    salt: str
    hash: str


class Settings(Struct, frozen=True, gc=False):
    """What rarely changes: set at creation or by the host."""

    guest_control: bool = False
    pin: Pin | None = None
    invite: str = ""


class Bar(Struct, frozen=True, gc=False):
    """Somebody who may not come in, unless already a member.

    username: as it was last shown. address: from which no newcomer may come in either, "" for none.
    until: server time at which it ends; 0.0 for the life of the room.
    """

    user_id: str
    username: str | None
    address: str = ""
    until: float = 0.0


class Moderation(Struct, frozen=True, gc=False):
    """What the host has decided about single people, and about newcomers.

    locked: nobody new comes in. delegates: user ids of the members who may control the film beside the host.
    bars: those who were kicked or banned, oldest first.
    """

    locked: bool = False
    delegates: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()

    def without(self, user: str) -> Moderation:
        """Return it after a member has gone."""
        if user not in self.delegates:
            return self
        return Moderation(self.locked, tuple(other for other in self.delegates if other != user), self.bars)


class Member(Struct, frozen=True, gc=False):
    """Somebody in the room.

    conn: "node/boot/number" of the connection that speaks for the member, "" while it is lost.
    order: seq of the commit that admitted the member; the lowest among the connected is the longest present.
    lost_at: server time at which the connection was lost; 0.0 while connected.
    watching: whether a gate waits for the member; true while its positions arrive.
    address: where the member was last seen; "" if addresses mean nothing here.
    token, next_token: SHA-256 (hexadecimal) of the resume secrets that are valid; "" for none.
    proven: whether the member ever used a token or a command id; its user id alone then proves nothing.
    recent: (nonce, id, seq) of the last commands that carried an id, oldest first.
    role: "host" or "guest" if a signed token said so, else "". named: whether the name is the token's.
    forgotten: the highest id, under the nonce of the newest of them, for which there is no room in `recent` any more.
    """

    user_id: str
    username: str | None
    conn: str
    order: int
    joined_at: float
    lost_at: float = 0.0
    watching: bool = False
    address: str = ""
    token: str = ""
    next_token: str = ""
    proven: bool = False
    recent: tuple[tuple[str, int, int], ...] = ()
    forgotten: int = -1
    role: str = ""
    named: bool = False


class Gate(Struct, frozen=True, gc=False):
    """A seek that waits until those who watch have got there.

    awaited: user ids that have not answered yet; ready: those that have. Together they were fixed at the SEEK.
    resume: whether the film goes on when the gate opens.
    """

    position: float
    since: float
    awaited: tuple[str, ...]
    ready: tuple[str, ...] = ()
    resume: bool = False


class Departed(Struct, frozen=True, gc=False):
    """Somebody who left lately; a client that was away meanwhile still shows them.

    address: as that of a `Member`: who has left may be banned.
    """

    user_id: str
    at: float
    address: str = ""


class Commit(Struct, frozen=True, gc=False):
    """One accepted change of a room: it leads from (epoch, seq - 1) to (epoch, seq).

    at: server time in seconds. event: the row's type in the archive, "" for a change that has no row.
    user: who did it, "" for the server. details: what the archive keeps of it. changes: new values of fields, None
    deletes a member. messages: to every member, in order, except `skip`. due: the next time the room wants to be
    looked at, 0.0 for never. closes: the room ends with this commit.
    """

    epoch: int
    seq: int
    at: float
    event: str
    user: str
    details: dict[str, Any] | None
    changes: dict[str, Any]
    messages: tuple[Any, ...]
    skip: str = ""
    due: float = 0.0
    closes: bool = False


class Room:
    """A room at one version. Only `apply` changes it; whoever needs to try something out makes a `copy`.

    id: UUID of this life of the room. code: the room id that clients use. prev: seq of the last commit that carried
    messages. at: server time of the last commit. empty_since: when the last member went, 0.0 while there is one.
    """

    __slots__ = (
        "at", "closed", "code", "created_at", "departed", "due", "empty_since", "epoch", "gate", "host", "id",
        "members", "moderation", "playback", "prev", "seq", "settings",
    )  # fmt: skip

    def __init__(self, id: str, code: str, created_at: float, epoch: int, seq: int = 0):
        self.id = id
        self.code = code
        self.created_at = created_at
        self.epoch = epoch
        self.seq = seq
        self.prev = 0
        self.at = created_at
        self.playback = Playback()
        self.host = ""
        self.settings = Settings()
        self.gate: Gate | None = None
        self.moderation = Moderation()
        self.members: dict[str, Member] = {}
        self.departed: tuple[Departed, ...] = ()
        self.empty_since = 0.0
        self.due = 0.0
        self.closed = False

    @property
    def version(self) -> Version:
        return self.epoch, self.seq

    def copy(self) -> Room:
        """Return an independent room at the same version (its values are shared: they are immutable)."""
        other = Room.__new__(Room)
        for name in Room.__slots__:
            setattr(other, name, getattr(self, name))
        other.members = dict(self.members)
        return other

    def apply(self, commit: Commit) -> None:
        """Move to the commit's version. Raises ValueError if it does not follow on the present one."""
        if commit.epoch != self.epoch or commit.seq != self.seq + 1:
            raise ValueError(f"commit {commit.epoch}:{commit.seq} does not follow {self.epoch}:{self.seq}")
        if commit.changes:
            self._assign(commit.changes)
        self.seq = commit.seq
        self.at = commit.at
        self.due = commit.due
        if commit.messages:
            self.prev = commit.seq
        if commit.closes:
            self.closed = True

    def assign(self, changes: dict[str, Any]) -> None:
        """Set fields without moving the version: for trying out what a commit would lead to."""
        self._assign(changes)

    def _assign(self, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            if name.startswith(MEMBER):
                if value is None:
                    self.members.pop(name[2:], None)
                else:
                    self.members[name[2:]] = value
            else:
                setattr(self, name, value)

    def connected(self) -> Iterable[Member]:
        """Yield the members that have a connection, longest present first."""
        return sorted((m for m in self.members.values() if m.conn), key=_order)

    def fields(self) -> dict[str, Any]:
        """Return all fields by name, as `apply` takes them."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in FIELD_TYPES if name != MEMBER}
        fields.update((MEMBER + user, member) for user, member in self.members.items())
        return fields


def _order(member: Member) -> tuple[int, str]:
    return member.order, member.user_id


FIELD_TYPES: dict[str, Any] = {
    "playback": Playback,
    "host": str,
    "settings": Settings,
    "gate": Gate | None,
    "moderation": Moderation,
    "departed": tuple[Departed, ...],
    "empty_since": float,
    MEMBER: Member,
}


class _Dump(Struct):
    """A whole room as the archive keeps it in `rooms.state`."""

    prev: int
    at: float
    due: float
    playback: Playback
    host: str
    settings: Settings
    gate: Gate | None
    departed: tuple[Departed, ...]
    empty_since: float
    members: list[Member]
    moderation: Moderation = Moderation()


_encode = msgspec.json.Encoder().encode
_decode_dump = msgspec.json.Decoder(_Dump).decode


def dump(room: Room) -> bytes:
    """Return everything the rules need to go on with the room, as JSON, except what `load` is given separately."""
    return _encode(
        _Dump(
            room.prev, room.at, room.due, room.playback, room.host, room.settings, room.gate,
            room.departed, room.empty_since, list(room.members.values()), room.moderation,
        )
    )  # fmt: skip


def load(id: str, code: str, created_at: float, epoch: int, seq: int, state: bytes | str) -> Room:
    """Return the room that `dump` wrote. Raises msgspec.MsgspecError (a ValueError) if `state` is not such a dump."""
    dumped = _decode_dump(state)
    room = Room(id, code, created_at, epoch, seq)
    for name in _Dump.__struct_fields__:
        if name != "members":
            setattr(room, name, getattr(dumped, name))
    room.members = {member.user_id: member for member in dumped.members}
    return room
