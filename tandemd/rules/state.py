"""The state of a room, and how a commit moves it.

A room is a set of named fields, each an immutable value. Those of a fixed size are "playback", "host", "settings", "gate",
"locked" and "empty_since". The title's URL, which may have 8 kB, is "url": "playback" comes without it. What grows with
people is one field for each of them: "m:<user id>" is a member, "b:" a bar, "d:" a delegate, "x:" a member who has departed,
"r:" an answer to the gate. A commit carries the new values of the fields that it changes; applying it is assigning them.
That is all a store has to know about a room.

The rules see bars, delegates, answers and the departed as values of the room, and decide on whole new values. `split`
turns those into the fields that differ, so that a commit is as long as what it changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from .playback import Playback

Version = tuple[int, int]
"""(epoch, seq): the epoch tells apart lives of a room's log, seq counts its commits without a hole."""

MEMBER = "m:"
BAR = "b:"
DELEGATE = "d:"
DEPARTED = "x:"
ANSWER = "r:"
HOST, GUEST = "host", "guest"
"""Roles that a signed token may give."""
PERSON_BYTES = 400
"""About how many bytes the state of a room has for each member, bar and departed member."""
RECENT = 8
"""How many of a member's acknowledged command ids are remembered, to acknowledge again instead of applying again."""


class Pin(Struct, frozen=True, gc=False):
    """A room's PIN, as a salted hash (hexadecimal both)."""

    salt: str
    hash: str


class RoomSettings(Struct, frozen=True, gc=False):
    """What rarely changes: set at creation or by the host."""

    guest_control: bool = False
    pin: Pin | None = None
    invite: str = ""


class Ban(Struct, frozen=True, gc=False):
    """Somebody who may not come in, unless already a member.

    username: as it was last shown. address: from which no newcomer may come in either, "" for none. earlier: more of those.
    until: server time at which it ends; 0.0 for the life of the room. at: server time at which it began.
    """

    user_id: str
    username: str | None
    address: str = ""
    until: float = 0.0
    at: float = 0.0
    earlier: tuple[str, ...] = ()


class Moderation(Struct, frozen=True, gc=False):
    """What the host has decided about single people, and about newcomers.

    locked: nobody new comes in. delegates: user ids of the members who may control the film beside the host.
    bans: those who were kicked or banned, oldest first.
    """

    locked: bool = False
    delegates: tuple[str, ...] = ()
    bans: tuple[Ban, ...] = msgspec.field(default=(), name="bars")

    def without(self, *users: str) -> Moderation:
        """Return it after members have gone."""
        gone = frozenset(users)
        if gone.isdisjoint(self.delegates):
            return self
        return Moderation(self.locked, tuple(other for other in self.delegates if other not in gone), self.bans)


class Member(Struct, frozen=True, gc=False, omit_defaults=True):
    """Somebody in the room.

    conn: "node/boot/number" of the connection that speaks for the member, "" while it is lost.
    order: seq of the commit that admitted the member; the lowest among the connected is the longest present.
    lost_at: server time at which the connection was lost; 0.0 while connected.
    watching: whether a gate waits for the member; true while its positions arrive.
    address: where the member was last seen; "" if addresses mean nothing here. earlier: the last other ones, newest first.
    token, next_token: SHA-256 (hexadecimal) of the resume secrets that are valid; "" for none.
    identity_proven: whether the member ever used a token or a command id; its address alone then proves nothing.
    recent_commands: (nonce, id, seq) of the last commands that carried an id, oldest first.
    role: "host" or "guest" if a signed token said so, else "". name_from_token: whether the name is the token's.
    highest_evicted_id: the highest id, under the nonce of the newest of them, for which there is no room in `recent_commands`
    any more.
    missed: how many gates in a row have opened without its READY.
    since: seq of the last commit that admitted it without its resume token. It is not replayed what was said before that.
    nonce: that of the JOIN that admitted it, if it is one that cannot be guessed: with the address, it proves a repeated JOIN.
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
    identity_proven: bool = msgspec.field(default=False, name="proven")
    recent_commands: tuple[tuple[str, int, int], ...] = msgspec.field(default=(), name="recent")
    highest_evicted_id: int = msgspec.field(default=-1, name="forgotten")
    role: str = ""
    name_from_token: bool = msgspec.field(default=False, name="named")
    since: int = 0
    nonce: str = ""
    earlier: tuple[str, ...] = ()
    missed: int = 0

    @property
    def has_secret(self) -> bool:
        """Whether the member can prove who it is, so that its address proves nothing."""
        return self.identity_proven or bool(self.token)

    @property
    def replayed_from(self) -> int:
        """The lowest seq from which it may resume: what follows on it was said in its presence."""
        # A member stored by an older version has no `since`.
        return max(self.order, self.since)


class Gate(Struct, frozen=True, gc=False):
    """A seek that waits until those who watch have got there.

    pending: user ids that have not answered yet; ready: those that have; gone: those that left or were lost meanwhile.
    Together they were fixed at the SEEK. resume: whether the film goes on when the gate opens.
    """

    position: float
    since: float
    pending: tuple[str, ...] = msgspec.field(name="awaited")
    ready: tuple[str, ...] = ()
    resume: bool = False
    gone: tuple[str, ...] = ()

    def answered(self, users: Collection[str], ready: bool) -> Gate:
        """Return it after members became ready, or have gone."""
        out = frozenset(users)
        still = tuple(user for user in self.pending if user not in out)
        were_ready = tuple(user for user in self.ready if user not in out)
        were_gone = tuple(user for user in self.gone if user not in out)
        if ready:
            return Gate(self.position, self.since, still, (*were_ready, *users), self.resume, were_gone)
        return Gate(self.position, self.since, still, were_ready, self.resume, (*were_gone, *users))


class Departed(Struct, frozen=True, gc=False):
    """Somebody who left lately; a client that was away meanwhile still shows them.

    address, earlier: as those of a `Member`: who has left may be banned.
    seq: of the commit with which they left; 0 where an older version stored it.
    """

    user_id: str
    at: float
    address: str = ""
    seq: int = 0
    earlier: tuple[str, ...] = ()


class Commit(Struct, frozen=True, gc=False, array_like=True):
    """One accepted change of a room: it leads from (epoch, seq - 1) to (epoch, seq).

    at: server time in seconds. event: the row's type in the archive, "" for a change that has no row.
    user: who did it, "" for the server. details: what the archive keeps of it. changes: new values of fields, None
    deletes a member. messages: to every member, in order, except `skip`. due: the next time the room wants to be
    looked at, 0.0 for never. closes: the room ends with this commit. unrecorded: it has no row although it has an event.
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
    unrecorded: bool = False

    @property
    def has_row(self) -> bool:
        """Whether the archive gets a row of it."""
        return bool(self.event) and not self.unrecorded


class Room:
    """A room at one version. Only `apply` changes it; whoever needs to try something out makes a `copy`.

    room_uuid: UUID of this life of the room. room_id: the room id that clients use. prev: seq of the last commit that carried
    messages. at: server time of the last commit. empty_since: when the last member went, 0.0 while there is one.
    """

    __slots__ = (
        "at", "closed", "room_id", "created_at", "departed", "due", "empty_since", "epoch", "gate", "host", "room_uuid",
        "members", "moderation", "playback", "prev", "seq", "settings",
    )  # fmt: skip

    def __init__(self, room_uuid: str, room_id: str, created_at: float, epoch: int, seq: int = 0):
        self.room_uuid = room_uuid
        self.room_id = room_id
        self.created_at = created_at
        self.epoch = epoch
        self.seq = seq
        self.prev = 0
        self.at = created_at
        self.playback = Playback()
        self.host = ""
        self.settings = RoomSettings()
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
            if name[1:2] != ":":
                if name == "playback":
                    self.playback = value if value.url else value.with_url(self.playback.url)
                elif name == "url":
                    self.playback = self.playback.with_url(value)
                elif name == "locked":
                    before = self.moderation
                    self.moderation = Moderation(value, before.delegates, before.bans)
                else:
                    setattr(self, name, value)
            elif not name.startswith(MEMBER):
                self._assign_one(name[:2], name[2:], value)
            elif value is None:
                self.members.pop(name[2:], None)
            else:
                self.members[name[2:]] = value

    def _assign_one(self, kind: str, user: str, value: Any) -> None:
        before = self.moderation
        if kind == BAR:
            bars = tuple(bar for bar in before.bans if bar.user_id != user)
            self.moderation = Moderation(before.locked, before.delegates, bars if value is None else (*bars, value))
        elif kind == DELEGATE:
            others = tuple(other for other in before.delegates if other != user)
            self.moderation = Moderation(before.locked, (*others, user) if value else others, before.bans)
        elif kind == DEPARTED:
            kept = tuple(gone for gone in self.departed if gone.user_id != user)
            self.departed = kept if value is None else (*kept, value)
        elif self.gate is not None and value is not None:
            self.gate = self.gate.answered((user,), value)

    def connected(self) -> Iterable[Member]:
        """Yield the members that have a connection, longest present first."""
        return sorted((m for m in self.members.values() if m.conn), key=_order)

    def weight(self) -> int:
        """Return about how many bytes `dump` has of it."""
        people = len(self.members) + len(self.moderation.bans) + len(self.departed)
        return 1000 + PERSON_BYTES * people

    def fields(self) -> dict[str, Any]:
        """Return all fields by name, as `apply` takes them, those of a fixed size first."""
        gate, moderation = self.gate, self.moderation
        fields: dict[str, Any] = {
            "playback": self.playback.with_url(""),
            "url": self.playback.url,
            "host": self.host,
            "settings": self.settings,
            "gate": gate,
            "locked": moderation.locked,
            "empty_since": self.empty_since,
        }
        fields.update((MEMBER + user, member) for user, member in self.members.items())
        fields.update((BAR + bar.user_id, bar) for bar in moderation.bans)
        fields.update((DELEGATE + user, True) for user in moderation.delegates)
        fields.update((DEPARTED + gone.user_id, gone) for gone in self.departed)
        if gate is not None:
            fields.update((ANSWER + user, True) for user in gate.ready)
            fields.update((ANSWER + user, False) for user in gate.gone)
        return fields

    def put_in_order(self) -> None:
        """Put bars, delegates and the departed in their order, after their fields were assigned in any."""
        before = self.moderation
        self.moderation = Moderation(
            before.locked, tuple(sorted(before.delegates)), tuple(sorted(before.bans, key=_began))
        )
        self.departed = tuple(sorted(self.departed, key=_left))


def split(room: Room, changes: dict[str, Any]) -> dict[str, Any]:
    """Return a decision's changes as the fields of the room that differ, where they give whole new values of what is large."""
    if (
        "playback" not in changes
        and "gate" not in changes
        and "departed" not in changes
        and "moderation" not in changes
    ):
        return changes
    fields: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "playback":
            fields["playback"] = value.with_url("")
            if value.url != room.playback.url:
                fields["url"] = value.url
        elif name == "moderation":
            before = room.moderation
            if value.locked != before.locked:
                fields["locked"] = value.locked
            _differ(fields, DELEGATE, dict.fromkeys(before.delegates, True), dict.fromkeys(value.delegates, True))
            _differ(fields, BAR, _by_user(before.bans), _by_user(value.bans))
        elif name == "departed":
            _differ(fields, DEPARTED, _by_user(room.departed), _by_user(value))
        elif name == "gate":
            if value is not room.gate:
                _split_gate(fields, room.gate, value)
        else:
            fields[name] = value
    return fields


def _split_gate(fields: dict[str, Any], before: Gate | None, after: Gate | None) -> None:
    answers = _answers(before)
    if before is None or after is None or not _same_gate(before, after):
        fields["gate"] = after
        fields.update((ANSWER + user, None) for user in answers)
        answers = {}
    _differ(fields, ANSWER, answers, _answers(after))


def _same_gate(before: Gate, after: Gate) -> bool:
    """Whether one follows from the other by answers."""
    return (
        (before.since, before.position, before.resume) == (after.since, after.position, after.resume)
        and {*before.ready, *before.gone} <= {*after.ready, *after.gone}
        and {*before.pending, *before.ready, *before.gone} == {*after.pending, *after.ready, *after.gone}
    )


def _answers(gate: Gate | None) -> dict[str, bool]:
    return {**dict.fromkeys(gate.ready, True), **dict.fromkeys(gate.gone, False)} if gate is not None else {}


def _by_user(values: Iterable[Any]) -> dict[str, Any]:
    return {value.user_id: value for value in values}


def _differ(fields: dict[str, Any], kind: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Set the fields of one kind that `after` has otherwise than `before`."""
    if before != after:
        fields.update((kind + user, None) for user in before if user not in after)
        fields.update((kind + user, value) for user, value in after.items() if before.get(user) != value)


def _order(member: Member) -> tuple[int, str]:
    return member.order, member.user_id


def _began(bar: Ban) -> tuple[float, str]:
    return bar.at, bar.user_id


def _left(gone: Departed) -> tuple[float, str]:
    return gone.at, gone.user_id


FIELD_TYPES: dict[str, Any] = {
    "playback": Playback,
    "url": str,
    "host": str,
    "settings": RoomSettings,
    "gate": Gate | None,
    "locked": bool,
    "empty_since": float,
    MEMBER: Member | None,
    BAR: Ban | None,
    DELEGATE: bool | None,
    DEPARTED: Departed | None,
    ANSWER: bool | None,
    # As rooms were stored before each bar, delegate and departed member had a field:
    "moderation": Moderation,
    "departed": tuple[Departed, ...],
}
"""What a field holds, by its name or the two characters that its name begins with; None in a commit deletes such a one."""


class _Dump(Struct):
    """A whole room as the archive keeps it in `rooms.state`."""

    prev: int
    at: float
    due: float
    playback: Playback
    host: str
    settings: RoomSettings
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


def load(room_uuid: str, room_id: str, created_at: float, epoch: int, seq: int, state: bytes | str) -> Room:
    """Return the room that `dump` wrote. Raises msgspec.MsgspecError (a ValueError) if `state` is not such a dump."""
    dumped = _decode_dump(state)
    room = Room(room_uuid, room_id, created_at, epoch, seq)
    for name in _Dump.__struct_fields__:
        if name != "members":
            setattr(room, name, getattr(dumped, name))
    room.members = {member.user_id: member for member in dumped.members}
    return room
