"""Rooms in Redis, and in the archive if Redis has lost them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ...interfaces import CommitResult, IArchive, IRoomStore
from ...rules.state import MEMBER, Commit, Member, Room, Version
from ...util.coroutines import returns_deferred
from . import codec, scripts
from .cluster_membership import ClusterMembership
from .commit_writer import CommitWriter
from .connection import DisconnectedError, RedisError
from .gateway import RedisGateway, unavailable
from .keys import DUE, INVITES, STORE, log_key, room_key
from .replies import answers
from .reseeding import RoomReseeder
from .subscription import Subscription

DUE_BATCH_ROOMS = 1000
"""Due rooms in one answer."""
DUE_REPEAT_SECONDS = 5.0
"""Seconds after which `due_rooms` returns a room again, because its command may have failed."""
DUE_QUERY_SECONDS = 1.0
"""Seconds between two queries for due rooms."""


@implementer(IRoomStore)
class RedisRoomStore:
    """See `IRoomStore`.

    replay_bytes: the limit of a replay.
    unresolved_lookup: the id of a room that the archive could not look up; or "".
    """

    _log = Logger()

    def __init__(
        self,
        gateway: RedisGateway,
        archive: IArchive,
        offers: RoomReseeder,
        commits: CommitWriter,
        subscription: Subscription,
        members: ClusterMembership,
        replay_bytes: int,
    ):
        self.unresolved_lookup = ""
        self._gateway = gateway
        self._archive = archive
        self._offers = offers
        self._clock = gateway.clock
        self._commits = commits
        self._subscription = subscription
        self._members = members
        self._rooms = 0
        self._replay_bytes = replay_bytes
        self._named: dict[str, float] = {}
        self._asked_due = 0.0

    @returns_deferred
    async def load(self, room_id: str, *, archived: bool = True) -> Room | None:
        """See `IRoomStore.load`."""
        await self._subscription.subscribed(room_id)
        channel = room_key(room_id)
        while True:
            await self._gateway.available()
            number = self._gateway.incarnation or b""
            try:
                fields = await self._gateway.link.run(
                    scripts.LOAD_ROOM,
                    [channel, STORE],
                    {
                        "channel": channel,
                        "incarnation": number,
                        "max_offer_seconds": b"%f" % self._gateway.longest_offer_seconds,
                    },
                )
                if not fields:
                    if not archived:
                        return None
                    room = await self._from_archive(room_id)
                    if room is None or await self._offers.one(room, ()) < 0:
                        return None
                    continue
            except (DisconnectedError, RedisError):
                raise unavailable() from None
            if fields[0] == b"none":
                return None
            if fields[0] == b"astray":
                self._gateway.incarnation_changed()
            elif fields[0] == b"wait":
                await deferLater(self._clock, float(fields[1]) + 0.01)
            else:
                stored = codec.pairs(fields)
                room = codec.decode_room(room_id, stored)
                if codec.is_old(stored):
                    await self._reshape(room)
                return room

    async def _reshape(self, room: Room) -> None:
        """Rewrite a room of the old form, unless another node has done so."""
        words: list[bytes] = []
        for name, value in room.fields().items():
            words += (name.encode(), codec.encode_field(value))
        try:
            await self._gateway.link.run(
                scripts.RESHAPE,
                [room_key(room.room_id)],
                {"version": codec.version_text(room.room_uuid, room.version)},
                *words,
            )
        except (DisconnectedError, RedisError):
            raise unavailable() from None

    @returns_deferred
    async def member(self, room_id: str, user_id: str) -> Member | None:
        """See `IRoomStore.member`."""
        await self._gateway.available()
        name = MEMBER + user_id
        try:
            written = await self._gateway.link.call(b"HGET", room_key(room_id), name.encode())
        except (DisconnectedError, RedisError):
            raise unavailable() from None
        found: Member | None = codec.decode_fields({name: written})[name] if written is not None else None
        return found

    async def _from_archive(self, room_id: str) -> Room | None:
        """Return a room that Redis has lost, or None. Raises RequestError if the archive cannot be asked."""
        try:
            return await self._archive.find(room_id)
        except Exception as error:
            if not self.unresolved_lookup:
                self._log.warn(
                    "cannot look up room {room} in the archive: {error}",
                    event="room_lookup_failed",
                    room=room_id,
                    error=str(error),
                )
            self.unresolved_lookup = room_id
            raise unavailable() from None

    async def ask_again(self) -> bool:
        """Return whether the archive, after a failed lookup, answers again."""
        try:
            await self._archive.find(self.unresolved_lookup)
        except Exception:
            return False
        self.unresolved_lookup = ""
        return True

    @returns_deferred
    async def replay(self, room_id: str, after: Version) -> Sequence[Commit] | None:
        """See `IRoomStore.replay`."""
        await self._gateway.available()
        first = b"%d-%d" % after
        try:
            call = self._gateway.link.call
            (at, written), found = await answers(
                [call(b"HMGET", room_key(room_id), b"v", b"i"), call(b"XRANGE", log_key(room_id), first, b"+")]
            )
        except (DisconnectedError, RedisError):
            raise unavailable() from None
        if at is not None and written != self._gateway.incarnation:
            return None
        # The first commit may be the last known one.
        encoded = [codec.pairs(fields)["c"] for _, fields in found]
        if sum(len(encoded[n]) for n, (id_, _) in enumerate(found) if id_ != first) > self._replay_bytes:
            return None
        commits = [codec.decode_commit(commit) for commit in encoded]
        knows = bool(commits) and (commits[0].epoch, commits[0].seq) == after
        if knows:
            del commits[0]
        version = codec.parse_version(at)[1] if at is not None else None
        if version is not None and version[0] != after[0] and not knows:
            return None  # another epoch may have had other commits with the same numbers
        for place, commit in enumerate(commits):
            if commit.seq != after[1] + 1 + place:
                return None
        if version is not None:
            end = after[1] + len(commits)
            # The log was read after the version, so it may be ahead.
            return commits if end == version[1] or (commits and end > version[1]) else None
        return commits if commits and commits[-1].closes else None

    @returns_deferred
    async def find_invite(self, invite: str) -> str | None:
        """See `IRoomStore.find_invite`."""
        await self._gateway.available()
        try:
            room_id = await self._gateway.link.call(b"HGET", INVITES, invite.encode())
        except (DisconnectedError, RedisError):
            raise unavailable() from None
        return room_id.decode() if room_id is not None else None

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        self._commits.commit(room, commits, done)

    def subscribe(self, room_id: str) -> None:
        self._subscription.subscribe(room_id)

    def unsubscribe(self, room_id: str, *, is_known: bool = True) -> None:
        self._subscription.unsubscribe(room_id, is_known=is_known)

    def size(self) -> int:
        return -(-self._rooms // max(1, self._members.alive))

    async def count(self) -> None:
        """Count the rooms in Redis for `size`. Raises DisconnectedError or RedisError."""
        self._rooms = int(await self._gateway.link.call(b"HLEN", INVITES))

    @returns_deferred
    async def due_rooms(self, now: float) -> Sequence[str]:
        """See `IRoomStore.due_rooms`."""
        here = self._clock.seconds()
        if not self._gateway.usable or here < self._asked_due + DUE_QUERY_SECONDS:
            return []
        self._asked_due = here
        try:
            found = await self._gateway.link.call(
                b"ZRANGEBYSCORE", DUE, b"-inf", b"%f" % now, b"LIMIT", b"0", b"%d" % DUE_BATCH_ROOMS
            )
        except (DisconnectedError, RedisError):
            return []
        # While grace periods are prolonged, some due rooms need no command yet.
        self._named = {room_id: at for room_id, at in self._named.items() if at + DUE_REPEAT_SECONDS > here}
        room_ids = [
            room_id
            for room_id in map(bytes.decode, found)
            if room_id not in self._subscription and room_id not in self._named
        ]
        self._named.update(dict.fromkeys(room_ids, here))
        return room_ids
