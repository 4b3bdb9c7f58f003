"""Contracts between the packages of tandemd. Read this first.

     web, websocket          speak HTTP and WebSocket, know no rules
           |
         rooms  --->  rules  decide commands: pure
           |
         IStore              keeps version, fields and log of each room; compares and sets
           |
        IArchive             the durable record in SQL, written in batches

Call all methods on the reactor's thread. Times are server time in seconds since 1970, unless a docstring says otherwise.
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
    """Report that the room was at another version than the commits follow."""

    version: Version | None
    """The room's version in the store; None if the store has no such room."""


class Unavailable(Struct, frozen=True):
    """Report that the store cannot be reached, and that it certainly changes nothing, now or later."""

    retry_after: float
    """Seconds after which to try again."""


class TooLarge(Struct, frozen=True):
    """Report that a commit exceeds the limit of the store, which changed nothing."""

    number: int
    """Index of the commit, from 0."""
    size: int
    """Size of the commit in bytes."""
    most: int
    """Limit in bytes."""


CommitResult = Conflict | Unavailable | TooLarge | None
"""The result of a commit; None for success."""


class Claims(Struct, frozen=True):
    """Hold the claims of a JOIN's auth token about its sender."""

    role: str
    """'host' or 'guest'."""
    name: str
    """The name to show; '' if the member chooses it."""


class IStoreEventHandler(Interface):
    """The receiver of a store's events: the room service. A store of one node calls none of these methods."""

    def committed(room_id: str, commits: Sequence[Commit]) -> None:
        """Receive commits of this node or another, in order. Some may be known already; earlier ones may be missing."""

    def head(room_id: str, room_uuid: str, version: Version) -> None:
        """Receive the room's version in the store; "" and (0, 0) if the store does not have the room."""

    def renewed(room_id: str) -> None:
        """Load the room again, because the store may have replaced it."""

    def held() -> Sequence[tuple[Room, Sequence[Commit]]]:
        """Return the open rooms of this node, with the last known commits of each."""

    def available() -> None:
        """Continue, because the store is reachable again."""

    def present(room_id: str, user_id: str) -> bool:
        """Say whether the member is connected to this node."""

    def members_here(room_id: str) -> Sequence[str]:
        """Return the user ids of the room's members that are connected to this node."""

    def relayed(room_id: str, user_id: str, frame: bytes) -> None:
        """Deliver a frame to a member that is connected to this node."""

    def node_lost(room_id: str, prefix: str) -> Deferred[None]:
        """Report the loss of connections whose names begin with `prefix`. Fires when the room has committed it."""

    def check_connections(room_id: str) -> Deferred[bool]:
        """Report the loss of connections that the room has on this node, but this node has not: the store has lost their end.

        Fires with False if commands or JOINs are under way; then ask again later. Fails if the room cannot be opened.
        """


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

    def unsubscribe(room_id: str, *, is_known: bool = True) -> None:
        """End the subscription; this node has no members in the room any more.

        is_known: whether the node knew the room. If not, its state may have members of this node, whose connections are to be
        checked.
        """

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


class INodeStatus(Interface):
    """The state of a node, for HTTP."""

    def readiness() -> list[str]:
        """Return the reasons why a load balancer should send no clients, as text; empty if it should."""

    def warnings() -> list[str]:
        """Return faults that are no reason to send clients to another node, as text."""

    def accepts_clients() -> bool:
        """Return whether the node accepts new WebSockets."""

    def connection_count() -> int:
        """Return the number of open WebSockets."""

    def uptime() -> float:
        """Return the seconds since the node was made."""


class IRooms(Interface):
    """The room service, for HTTP."""

    def invite(room_id: str, address: str, wait: float) -> Deferred[str | None]:
        """Return the invite code of an open room with a member at this address, or None.

        The answer takes up to `wait` seconds even for a room that does not exist, so that clients elsewhere do not learn of
        it. With the address '' it is None at once, because no address tells a member from a stranger.
        """

    def find_invite(invite: str, address: str) -> Deferred[str | None]:
        """Return the room id for an invite code (lower case), or None.

        A client at this address then has a larger share of the room's limits for JOINs.
        """

    def room_for_token(token: str) -> Deferred[dict[str, object] | None]:
        """Return the room of the member with this resume token, as /status shows it, or None."""

    def counts() -> dict[str, int]:
        """Return the numbers of 'rooms' and 'members' on this node."""


class IAdministration(Interface):
    """Administration of the node and its rooms, for HTTP.

    by: the administrator, for the log and the events of rooms.
    Deferreds fail with `RequestError(ErrorCode.UNAVAILABLE, ...)` while store or archive cannot be reached.
    """

    def node() -> dict[str, object]:
        """Return the state of this node."""

    def rooms(after: str, limit: int) -> Deferred[Sequence[dict[str, object]]]:
        """Return up to `limit` open rooms of all nodes in the order of room ids, beginning after `after`."""

    def room(room_id: str) -> Deferred[dict[str, object] | None]:
        """Return the state of a room, or None if no such room is open."""

    def events(room_id: str, limit: int) -> Deferred[Sequence[dict[str, object]] | None]:
        """Return the last `limit` events of the newest room with this id, oldest first; None if it never existed."""

    def close(room_id: str, by: str, reason: str | None) -> Deferred[bool]:
        """End a room on all nodes. The result says whether it existed."""

    def announce(room_id: str, by: str, text: str) -> Deferred[bool]:
        """Send an announcement to the members of a room. The result says whether it has members."""

    def announce_to_all(by: str, text: str) -> Deferred[int]:
        """Send an announcement to the members of all rooms, and return the number of rooms."""

    def drain(by: str, undo: bool, force: bool) -> int:
        """Send this node's clients to other nodes and reject new ones, and return the number of clients. undo: accept again.

        Raises RequestError if no other node could accept the clients, unless `force`.
        """


class Snapshot(Struct, frozen=True):
    """Hold the state of one room after a batch of commits, for the archive."""

    room: Room
    """A copy that does not change any more."""
    users: frozenset[str]
    """The user ids of changed members, departed ones included."""


class PlayerStatus(Struct, frozen=True, gc=False):
    """Hold the status of a member's player, from the node with its connection."""

    room_uuid: str
    user_id: str
    position: float
    """Seconds of film."""
    playing: bool
    quality: str
    """'excellent', 'good', 'fair' or 'poor' by the round trip of the last ping, or 'unknown'."""
    heartbeat: float
    """Server time of the member's last sign of life."""


class IArchiveQueries(Interface):
    """Queries of administrators to the archive. Deferreds fail with the errors of the database's driver."""

    def rooms(after: str, limit: int) -> Deferred[list[dict[str, object]]]:
        """Return up to `limit` rooms that have not ended in the order of room ids, beginning after `after`."""

    def events(room_id: str, limit: int) -> Deferred[list[dict[str, object]] | None]:
        """Return the last `limit` events of the newest room with this id, oldest first; None if it never existed."""


class IArchive(Interface):
    """The durable record in SQL. Batches come from the journal, never from the message path."""

    def restore(now: float) -> Deferred[Sequence[Room]]:
        """Return the rooms that have not ended, each under a new epoch, which the archive has stored.

        The new epoch is max(old + 1, `now` in milliseconds); seq continues.
        """

    def living() -> Deferred[Sequence[Room]]:
        """Return the rooms that have not ended, in their last archived state."""

    def find(room_id: str) -> Deferred[Room | None]:
        """Return the room with this id that has not ended, in its last archived state, or None."""

    def write(commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot]) -> Deferred[None]:
        """Store commits that have a row, as (room UUID, commit), and the rooms after them, in one transaction.

        Repetition changes nothing: events are unique by (room, epoch, seq), and rooms and users only move to a greater
        (epoch, seq).
        """

    def presence(records: Sequence[PlayerStatus]) -> Deferred[None]:
        """Update position, quality and heartbeat of archived users."""

    def purge(before: float) -> Deferred[int]:
        """Delete rooms that ended before a server time, and older events. Return the number of deleted rows."""

    def shrink(most: int) -> Deferred[int]:
        """Delete the oldest events beyond about `most` bytes. Return the number of deleted rows."""

    def ready() -> str:
        """Return '' if the archive accepts writes, else the reason, for operators."""
