"""What the pieces of tandemd promise one another. Read this first.

                  web, protocol         speak HTTP and WebSocket, know no rules
                        |
    sessions  <---   rooms   --->  room/          rules: decide(room, command, now)
    (who is here)       |
                     IStore        keeps each room's version, fields and log; compare-and-set
                        |
                   IArchive        durable SQL behind it, written in batches

All methods are called on the reactor's thread. Times are seconds since 1970 on the store's clock, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from .errors import RequestError
from .ratelimit.buckets import Plan, TakeResult
from .rules.state import Commit, Member, Room, Version


class Conflict(Struct, frozen=True):
    """The room was not at the version that the commits were made for."""

    version: Version | None
    """Where the store has it, or None if it has no such room."""


class Unavailable(Struct, frozen=True):
    """The store cannot be asked; it is certain that nothing was changed, now or later."""

    retry_after: float
    """Seconds after which trying again is sensible."""


class TooLarge(Struct, frozen=True):
    """Nothing was changed: one of the commits is larger than the store takes."""

    number: int
    """Which one, from 0."""
    size: int
    """Its bytes."""
    most: int
    """How many a commit may have."""


CommitResult = Conflict | Unavailable | TooLarge | None
"""None: committed."""


class Claims(Struct, frozen=True):
    """What the signed token of a JOIN says of who sends it."""

    role: str
    """'host' or 'guest'."""
    name: str
    """The name to show; '' if the token leaves that to the member."""


class ISession(Interface):
    """One connection, as the room service sees it."""

    conn: str = Attribute("'node/boot/number': names the connection in the whole cluster, for ever.")
    address: str = Attribute("Where it comes from, as rules by address use it; '' where addresses mean nothing.")

    def send(frame: bytes) -> None:
        """Send one encoded WebSocket frame after everything sent before; dropped if the connection is closing."""

    def close(code: int, reason: str) -> None:
        """Close the connection with a WebSocket close code."""

    def probe(answered: Callable[[bool], None]) -> None:
        """Ask the peer for a sign of life (WebSocket ping) and say within 5 s whether it came."""


class IStoreEventHandler(Interface):
    """Whoever follows rooms: the room service. With a store of one node, nothing of this is ever called."""

    def committed(room_id: str, commits: Sequence[Commit]) -> None:
        """There are commits, by this node or another, in order; some may be known already, and some before them lost."""

    def head(room_id: str, room_uuid: str, version: Version) -> None:
        """The store has the room at this version, ("", (0, 0)) if it does not have it."""

    def renewed(room_id: str) -> None:
        """The room may have become another: it is to be loaded anew."""

    def held() -> Sequence[tuple[Room, Sequence[Commit]]]:
        """Return the rooms that are open here, with the last commits that are known of each."""

    def available() -> None:
        """The store can be used again."""

    def present(room_id: str, user_id: str) -> bool:
        """Say whether the member is connected here."""

    def members_here(room_id: str) -> Sequence[str]:
        """Return the user ids of the room's members who are connected here."""

    def relayed(room_id: str, user_id: str, frame: bytes) -> None:
        """Here is a frame for a member who is connected here."""

    def node_lost(room_id: str, prefix: str) -> Deferred[None]:
        """Connections whose names begin with `prefix` are gone; fires when the room has taken note."""


class IRoomStore(Interface):
    """Rooms by room id: version, fields and log. Knows no rules.

    Methods that return Deferreds may return fired ones. They fail with `errors.RequestError("unavailable", ...)` while the
    store cannot be reached.
    """

    def load(room_id: str, *, archived: bool = True) -> Deferred[Room | None]:
        """Return a copy of the room, or None only if it certainly does not exist.

        archived: also look in the archive, if the store does not have the room. Without it, None says only that the store
        does not have it.
        """

    def member(room_id: str, user_id: str) -> Deferred[Member | None]:
        """Return one member of a room, or None if the store has no such room or member. Does not ask the archive.

        The cost does not depend on the size of the room.
        """

    def commit(room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        """Append commits, all or none, if the store has the room at the version that they follow.

        room: the caller's copy before the commits; the store does not change it. Seq 0 creates the room.
        done: called once, possibly before this returns.
        A commit that `closes` ends the room, and its room id is free again.
        """

    def replay(room_id: str, after: Version) -> Deferred[Sequence[Commit] | None]:
        """Return the commits after a version, or None if the log does not reach back to it, or exceeds the bytes of a replay.

        The version may have an earlier epoch, if the log shows that it is part of the room's history; seq continues
        across epochs.
        """

    def subscribe(room_id: str) -> None:
        """Report other nodes' commits and relays of this room to the store's `IStoreEventHandler`, until `unsubscribe`."""

    def unsubscribe(room_id: str) -> None:
        """End the subscription; this node has no members in the room any more."""

    def find_invite(invite: str) -> Deferred[str | None]:
        """Return the room id of the open room with an invite code (lower case), or None."""

    def due_rooms(now: float) -> Deferred[Sequence[str]]:
        """Return the ids of rooms that are due and that this node does not subscribe to, at most 1000."""

    def size() -> int:
        """Return the number of rooms in the store per node, open or not; at most some seconds old."""


class IMailboxes(Interface):
    """Relays for members that are not connected to this node."""

    def relay(
        room_id: str, user_id: str, frame: bytes, done: Callable[[RequestError | None], None] = lambda error: None
    ) -> None:
        """Put a frame into the mailbox of a member, and notify other nodes.

        done: called once, possibly before this returns, with None if the frame is stored, else with the reason.
        """

    def take_mail(room_id: str, user_id: str) -> Deferred[Sequence[bytes]]:
        """Remove the frames in a member's mailbox, and return them in order.

        Fails with `errors.RequestError("unavailable", ...)` while the store cannot be reached.
        """

    def drop_mail(room_id: str, user_id: str) -> None:
        """Delete the frames in a member's mailbox."""


class IRateLimitStore(Interface):
    """Token buckets, flags and quotas that all nodes share. They protect rooms."""

    def take(plans: Sequence[Plan]) -> Deferred[TakeResult]:
        """Take the first plan whose requirements are all met; take nothing if none has.

        Fails with `errors.RequestError("unavailable", ...)` while the store cannot be reached; it may have taken the plan.
        """

    def refund(plan: Plan) -> None:
        """Undo `take` of a plan, soon."""

    def mark(name: str, seconds: float) -> None:
        """Set a flag for some seconds, soon."""


class IClusterClock(Interface):
    """Server time, the same on all nodes."""

    def now() -> float:
        """Return server time."""

    def grace_floor() -> float:
        """Return the time before which no grace period can have begun, because the store was away until then; or 0.0."""


class IStore(Interface):
    """A store of rooms, by concern. One object may provide several of them."""

    rooms: IRoomStore = Attribute("Versions, fields and logs of rooms.")
    mailboxes: IMailboxes = Attribute("Relays for members elsewhere.")
    rate_limits: IRateLimitStore = Attribute("Limits of all nodes together.")
    clock: IClusterClock = Attribute("Server time.")

    def ready() -> str:
        """Return '' if the store accepts commits, else the reason, for operators."""


class IRooms(Interface):
    """What HTTP may ask of the room service."""

    def invite(room_id: str, address: str, wait: float) -> Deferred[str | None]:
        """Return the invite code of a living room that somebody at this address is in, or None.

        That is waited for up to `wait` seconds, whether there is such a room or not: nobody else learns which. None at
        once for '': without an address nothing tells a member from a stranger.
        """

    def find_invite(invite: str, address: str) -> Deferred[str | None]:
        """Return the room id that an invite code (lower case) belongs to, or None. Who knows one is let in more easily."""

    def room_for_token(token: str) -> Deferred[dict[str, object] | None]:
        """Return the room of the member whose resume secret this is, as /status shows it, or None."""

    def counts() -> dict[str, int]:
        """Return how many 'rooms' and 'members' are on this node."""


class IAdministration(Interface):
    """What HTTP may ask of the node for whoever administers it. by: who, for the log and the room's events.

    Deferreds fail with `errors.RequestError("unavailable", ...)` while store or archive cannot be asked.
    """

    def node() -> dict[str, object]:
        """Return what there is to know of this node."""

    def rooms(after: str, limit: int) -> Deferred[Sequence[dict[str, object]]]:
        """Return the rooms of all nodes that have not ended, by code, from the one after `after`."""

    def room(room_id: str) -> Deferred[dict[str, object] | None]:
        """Return a room as it is, or None if there is none."""

    def events(room_id: str, limit: int) -> Deferred[Sequence[dict[str, object]] | None]:
        """Return the last events of the room that has the code, or had it last, oldest first; None if there was none."""

    def close(room_id: str, by: str, reason: str | None) -> Deferred[bool]:
        """End a room, on whatever nodes its members are; say whether there was one."""

    def announce(room_id: str, by: str, text: str) -> Deferred[bool]:
        """Say something to a room's members; say whether there were any."""

    def announce_to_all(by: str, text: str) -> Deferred[int]:
        """Say something to the members of all rooms; return in how many rooms."""

    def drain(by: str, undo: bool, force: bool) -> int:
        """Send this node's clients to other nodes and take no new ones, or take them again; return how many were here.

        Raises RequestError where no other node could take them, unless `force`.
        """


class Snapshot(Struct, frozen=True):
    """What the archive is to know of one room after a batch: the room as it is and what it needs of the commits."""

    room: Room
    """A copy; it is not changed any more."""
    users: frozenset[str]
    """The user ids whose record changed, members or not any more."""


class PlayerStatus(Struct, frozen=True, gc=False):
    """How a member is doing, by the node that holds its connection."""

    room_uuid: str
    user_id: str
    position: float
    playing: bool
    quality: str
    """'excellent', 'good', 'fair', 'poor' by the last ping's round trip, or 'unknown'."""
    heartbeat: float
    """When the member was last heard of."""


class IArchiveQueries(Interface):
    """What an administrator may ask of the archive. Deferreds fail with the errors of the database's driver."""

    def rooms(after: str, limit: int) -> Deferred[list[dict[str, object]]]:
        """Return at most `limit` rooms that have not ended, by room id, from the one behind `after`."""

    def events(room_id: str, limit: int) -> Deferred[list[dict[str, object]] | None]:
        """Return the last `limit` events of the newest room with an id, oldest first; None if there was no such room."""


class IArchive(Interface):
    """Durable SQL. Batches come from the journal, never from the message path."""

    def restore(now: float) -> Deferred[Sequence[Room]]:
        """Return the rooms that are not archived, each under a new epoch that is stored already.

        The new epoch is max(old + 1, now in milliseconds); seq goes on.
        """

    def living() -> Deferred[Sequence[Room]]:
        """Return the rooms that are not archived, as they were last written."""

    def find(room_id: str) -> Deferred[Room | None]:
        """Return the room with this code that is not archived, as it was last written, or None if there is none."""

    def write(commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot]) -> Deferred[None]:
        """Store commits (room UUID, commit) that have an `event`, and the rooms after them, in one transaction.

        Writing the same again changes nothing: events are unique by (room, epoch, seq), rooms and users change only to a greater
        (epoch, seq).
        """

    def presence(records: Sequence[PlayerStatus]) -> Deferred[None]:
        """Update positions, quality and heartbeat of users that are in the archive."""

    def purge(before: float) -> Deferred[int]:
        """Delete what was archived before a time, and events older than that; return how many rows went."""

    def shrink(most: int) -> Deferred[int]:
        """Delete the oldest events beyond about `most` bytes of them; return how many rows went."""

    def ready() -> str:
        """Return '' if the archive can be written, else the reason why not, for people."""
