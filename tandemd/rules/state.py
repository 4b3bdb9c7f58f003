"""The state of a room, and the commits that change it.

A room is a set of named fields, each an immutable value. Fields of fixed size: "playback", "host", "settings", "gate",
"locked", "empty_since". "url" holds the title's URL of up to 8 kB; "playback" is stored without it. Each member has a field
"m:<user id>". Likewise "b:" is a ban, "d:" a delegate, "x:" a departed member, "r:" an answer to the gate. A commit carries
new values of fields, and applying it assigns them. A store needs to know no more about a room.

The rules see bans, delegates, answers and departed members as values of the room, and decide on whole new values.
`room_fields.changed_fields` selects the fields that differ.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from ..messages import LoggedMessage, MemberState
from ..ratelimit.scopes import scopes
from .gate import Gate
from .playback import Playback

ValueT = TypeVar("ValueT")

Version = tuple[int, int]
"""(epoch, seq): a store begins a new epoch when it restores the room; seq counts commits without gaps."""

MEMBER = "m:"
BAN = "b:"
DELEGATE = "d:"
DEPARTED = "x:"
ANSWER = "r:"
HOST, GUEST = "host", "guest"
"""Roles in signed tokens."""
WATCHING: Final = "watching"
BUFFERING: Final = "buffering"
"""States of members; see `MemberState`."""
PERSON_BYTES = 400
"""Approximate size of a member, a ban or a departed member in the state of a room."""
MAX_RECENT_COMMANDS = 8
"""Ids of acknowledged commands that a member keeps: a repeated command is acknowledged again, not applied again."""


class Pin(Struct, frozen=True, gc=False):
    """Hold a room's PIN as a salted hash. salt, hash: hexadecimal."""

    salt: str
    hash: str


class RoomSettings(Struct, frozen=True, gc=False):
    """Hold the settings that creation or the host sets.

    guest_control: whether guests control the film.
    pin: None for a room without PIN.
    invite: the invite code in lower case.
    wait_for_buffering: whether the ready gate closes for members that buffer.
    """

    guest_control: bool = False
    pin: Pin | None = None
    invite: str = ""
    wait_for_buffering: bool = False


class Ban(Struct, frozen=True, gc=False):
    """Exclude a user id from the room, and optionally newcomers from its addresses. A kick is a ban with an end.

    username: the name that members saw last.
    address: the address that is excluded too, "" for none. earlier: more such addresses.
    until: server time of the end; 0.0 for the life of the room.
    at: server time of the beginning.
    """

    user_id: str
    username: str | None
    address: str = ""
    until: float = 0.0
    at: float = 0.0
    earlier: tuple[str, ...] = ()


class Moderation(Struct, frozen=True, gc=False):
    """Hold the host's decisions about members and newcomers.

    locked: whether the room rejects newcomers.
    delegates: user ids of the members with delegated control.
    bans: kicks and bans, oldest first.
    """

    locked: bool = False
    delegates: tuple[str, ...] = ()
    bans: tuple[Ban, ...] = msgspec.field(default=(), name="bars")

    def without(self, *users: str) -> Moderation:
        """Return the same without the delegation to members that have gone."""
        gone = frozenset(users)
        if gone.isdisjoint(self.delegates):
            return self
        return Moderation(self.locked, tuple(other for other in self.delegates if other not in gone), self.bans)


class Member(Struct, frozen=True, gc=False, omit_defaults=True):
    """Hold the state of one member.

    conn: "node/boot/number" of the connection that speaks for the member; "" while it is lost.
    order: seq of the commit that admitted the member; the lowest order is the longest presence.
    joined_at: server time of the admission. attached_at: that of the arrival of its connection's JOIN; 0.0 if not known.
    lost_at: server time of the loss of the connection; 0.0 while connected.
    watching: whether gates wait for the member; true while its positions arrive.
    address: the last known address; "" where addresses mean nothing. earlier: addresses before it, newest first.
    token, next_token: SHA-256 (hexadecimal) of the valid resume tokens; "" for none.
    identity_proven: whether the member has used a token or a command id. While it is connected, its address alone then
    proves nothing.
    recent_commands: (nonce, id, seq) of the last commands with an id, oldest first.
    highest_evicted_id: the highest id that `recent_commands` no longer holds, under the nonce of its newest entry; -1 for none.
    role: "host" or "guest" from a signed token, else "".
    name_from_token: whether the token gave the name.
    since: seq of the last admission without the resume token. Replay to the member begins there, because earlier messages
    may have been meant for another person.
    nonce: the nonce of the last JOIN, unless the JOIN had the token and a nonce that can be guessed; with the address, it
    proves a repeated JOIN.
    missed: gates in a row that opened without the member's READY.
    follows: whether the client follows the room also while the member is host.
    successor_of: user id of the host whose address and name the newcomer had; "" for none. See `identity.successor`.
    in_call: whether the member takes part in the call; None if its client does not say.
    probed_at: server time at which the member's node was last asked to probe the connection; 0.0 for never.
    schedules: whether the client starts its player at the time that PLAY_PAUSE names.
    delay: the one-way delay of the connection in ms, as its node has measured it; 0 for not yet.
    status: as in STATUS. status_at: server time of the last change; 0.0 for none.
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
    follows: bool = False
    successor_of: str = ""
    probed_at: float = 0.0
    schedules: bool = False
    delay: int = 0
    status: MemberState = WATCHING
    status_at: float = 0.0
    in_call: bool | None = None
    attached_at: float = 0.0

    @property
    def has_secret(self) -> bool:
        """Whether the member has a stronger proof of identity than its address."""
        return self.identity_proven or bool(self.token)

    @property
    def replayed_from(self) -> int:
        """The lowest seq from which the member may resume, because it received all later messages itself."""
        # A member stored by an older version has no `since`.
        return max(self.order, self.since)


class Departed(Struct, frozen=True, gc=False):
    """Remember a member that left, for clients that were away and still show it.

    at: server time of the departure.
    address, earlier: as in `Member`, because the host may ban the user later.
    seq: seq of the commit that removed the member; 0 in rooms that an older version stored.
    """

    user_id: str
    at: float
    address: str = ""
    seq: int = 0
    earlier: tuple[str, ...] = ()


class CommitFields(Struct, Generic[ValueT], frozen=True, gc=False, array_like=True, kw_only=True):
    """Hold the fields of a `Commit`. ValueT: the type of values of the room's fields; stores keep them encoded.

    Stores keep a commit as an array in the order of these fields: append new ones, with a default.

    epoch, seq: the version that the commit leads to, from (epoch, seq - 1).
    at: server time.
    event: an `EventType`, or another type of a newer version; "" for a change without a row in the archive.
    user: the user id of the actor, "" for the server.
    details: data of the event for the archive, as JSON.
    changes: new values of fields by name; None deletes the field of a member, a ban and the like.
    messages: messages for all members, in order, except the member `skip`.
    due: the room's next due time; 0.0 for none.
    closes: whether the commit ends the room.
    unrecorded: whether the archive gets no row, although the commit has an event.
    """

    epoch: int
    seq: int
    at: float
    event: str
    user: str
    details: dict[str, Any] | None
    changes: dict[str, ValueT]
    messages: tuple[LoggedMessage, ...]
    skip: str = ""
    due: float = 0.0
    closes: bool = False
    unrecorded: bool = False


class Commit(CommitFields[Any], frozen=True, gc=False, array_like=True):
    """Change a room from version (epoch, seq - 1) to (epoch, seq)."""

    @property
    def has_row(self) -> bool:
        """Whether the archive gets a row for this commit."""
        return bool(self.event) and not self.unrecorded


_NO_PLAYBACK, _NO_SETTINGS, _NO_MODERATION = Playback(), RoomSettings(), Moderation()
_by_time = attrgetter("at", "user_id")


class Room:
    """Hold a room at one version. `apply` moves it to the next; use a `copy` to try out changes.

    room_uuid: the key in stores; a room that is created again gets another.
    room_id: the name that clients chose.
    prev: seq of the last commit with messages.
    at: server time of the last commit.
    lost: `lost_at` of the lost members. scope_counts: members by scope of their address. So a JOIN need not visit all members.
    empty_since: server time of the last member's departure; 0.0 while the room has members.
    due: server time at which the room needs a `Due` command; 0.0 for none.
    former_epoch: the epoch before this one, if a node has restored the room at its start; else 0.
    """

    __slots__ = (
        "at", "closed", "room_id", "created_at", "departed", "due", "empty_since", "epoch", "former_epoch", "gate", "host",
        "room_uuid", "lost", "members", "moderation", "playback", "prev", "scope_counts", "seq", "settings",
    )  # fmt: skip

    def __init__(self, room_uuid: str, room_id: str, created_at: float, epoch: int, seq: int = 0):
        self.room_uuid = room_uuid
        self.room_id = room_id
        self.created_at = created_at
        self.epoch = epoch
        self.former_epoch = 0
        self.seq = seq
        self.prev = 0
        self.at = created_at
        self.playback = _NO_PLAYBACK
        self.host = ""
        self.settings = _NO_SETTINGS
        self.gate: Gate | None = None
        self.moderation = _NO_MODERATION
        self.members: dict[str, Member] = {}
        self.lost: dict[str, float] = {}
        self.scope_counts: dict[str, int] = {}
        self.departed: tuple[Departed, ...] = ()
        self.empty_since = 0.0
        self.due = 0.0
        self.closed = False

    @property
    def version(self) -> Version:
        return self.epoch, self.seq

    def copy(self) -> Room:
        """Return an independent room at the same version. Both share the values, which are immutable."""
        other = Room(self.room_uuid, self.room_id, self.created_at, self.epoch, self.seq)
        other.former_epoch = self.former_epoch
        other.prev = self.prev
        other.at = self.at
        other.playback = self.playback
        other.host = self.host
        other.settings = self.settings
        other.gate = self.gate
        other.moderation = self.moderation
        other.members = dict(self.members)
        other.lost = dict(self.lost)
        other.scope_counts = dict(self.scope_counts)
        other.departed = self.departed
        other.empty_since = self.empty_since
        other.due = self.due
        other.closed = self.closed
        return other

    def apply(self, commit: Commit) -> None:
        """Move to the commit's version. Raises ValueError unless it follows the present version."""
        if commit.epoch != self.epoch or commit.seq != self.seq + 1:
            raise ValueError(f"commit {commit.epoch}:{commit.seq} does not follow {self.epoch}:{self.seq}")
        if commit.changes:
            self.assign(commit.changes)
        self.seq = commit.seq
        self.at = commit.at
        self.due = commit.due
        if commit.messages:
            self.prev = commit.seq
        if commit.closes:
            self.closed = True

    def assign(self, changes: dict[str, Any]) -> None:
        """Set fields without moving the version, to try out the effect of a commit."""
        for name, value in changes.items():
            if name[1:2] != ":":
                if name == "playback":
                    url = self.playback.url
                    self.playback = value if value.url or not url else value.with_url(url)
                elif name == "url":
                    self.playback = self.playback.with_url(value)
                elif name == "locked":
                    before = self.moderation
                    self.moderation = Moderation(value, before.delegates, before.bans)
                else:
                    setattr(self, name, value)
            elif not name.startswith(MEMBER):
                self._assign_one(name[:2], name[2:], value)
            else:
                self._assign_member(name[2:], value)

    def _assign_member(self, user: str, member: Member | None) -> None:
        before = self.members.get(user)
        if before is not None:
            if not before.conn:
                del self.lost[user]
            if member is None or member.address != before.address:
                self._count_address(before.address, -1)
        if member is None:
            self.members.pop(user, None)
            return
        if before is None or member.address != before.address:
            self._count_address(member.address, 1)
        self.members[user] = member
        if not member.conn:
            self.lost[user] = member.lost_at

    def _count_address(self, address: str, change: int) -> None:
        for scope in scopes(address):
            self.scope_counts[scope.name] = count = self.scope_counts.get(scope.name, 0) + change
            if not count:
                del self.scope_counts[scope.name]

    def _assign_one(self, kind: str, user: str, value: Any) -> None:
        before = self.moderation
        if kind == BAN:
            bans = tuple(ban for ban in before.bans if ban.user_id != user)
            self.moderation = Moderation(before.locked, before.delegates, bans if value is None else (*bans, value))
        elif kind == DELEGATE:
            others = tuple(other for other in before.delegates if other != user)
            self.moderation = Moderation(before.locked, (*others, user) if value else others, before.bans)
        elif kind == DEPARTED:
            kept = tuple(other for other in self.departed if other.user_id != user)
            self.departed = kept if value is None else (*kept, value)
        elif self.gate is not None and value is not None:
            self.gate = self.gate.answered((user,), value)

    def weight(self) -> int:
        """Return the approximate size of the room's snapshot, in bytes."""
        persons = len(self.members) + len(self.moderation.bans) + len(self.departed)
        return 1000 + PERSON_BYTES * persons

    def fields(self) -> dict[str, Any]:
        """Return all fields by name, as in `Commit.changes`; fields of fixed size come first."""
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
        fields.update((BAN + ban.user_id, ban) for ban in moderation.bans)
        fields.update((DELEGATE + user, True) for user in moderation.delegates)
        fields.update((DEPARTED + other.user_id, other) for other in self.departed)
        if gate is not None:
            fields.update((ANSWER + user, True) for user in gate.ready)
            fields.update((ANSWER + user, False) for user in gate.gone)
        return fields

    def put_in_order(self) -> None:
        """Sort bans, delegates and departed members after their fields were assigned in any order."""
        before = self.moderation
        self.moderation = Moderation(
            before.locked, tuple(sorted(before.delegates)), tuple(sorted(before.bans, key=_by_time))
        )
        self.departed = tuple(sorted(self.departed, key=_by_time))
