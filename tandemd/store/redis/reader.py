"""Reading rooms from Redis, and from the archive what Redis has lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...interfaces import IArchive
from ...rules.state import MEMBER, Commit, Member, Room, Version
from . import codec, scripts
from .connection import DisconnectedError, RedisError, answers
from .gateway import RedisGateway, unavailable
from .keys import DUE, INVITES, STORE, log_key, room_key
from .reseeding import RoomReseeder

DUE_AT_ONCE = 1000
"""Rooms that are looked at when it is asked which are due."""
DUE_AGAIN = 5.0
"""Seconds after which a room is named as due again: perhaps it could not be dealt with."""
DUE_EVERY = 1.0
"""Seconds between two questions to Redis which rooms are due."""


class RoomReader:
    """Reads.

    heard_of: waits until what happens to a room will be told. followed: whether a room is open here. replay_bytes: how
    large a replay may be.

    unresolved_lookup: the code of a room of which it could not be learned whether there is one; "" if there is none such.
    """

    _log = Logger()

    def __init__(
        self,
        access: RedisGateway,
        archive: IArchive,
        offers: RoomReseeder,
        clock: IReactorTime,
        heard_of: Callable[[str], Awaitable[None]],
        followed: Callable[[str], bool],
        replay_bytes: int,
    ):
        self.unresolved_lookup = ""
        self._access = access
        self._archive = archive
        self._offers = offers
        self._clock = clock
        self._heard_of = heard_of
        self._followed = followed
        self._replay_bytes = replay_bytes
        self._named: dict[str, float] = {}
        self._asked_due = 0.0

    async def load(self, room_id: str, archived: bool = True) -> Room | None:
        """As IRoomStore says."""
        await self._heard_of(room_id)
        channel = room_key(room_id)
        while True:
            await self._access.available()
            number = self._access.incarnation or b""
            try:
                fields = await self._access.link.run(
                    scripts.LOAD_ROOM, [channel, STORE], channel, number, b"%f" % self._access.longest_offer_seconds
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
                self._access.incarnation_changed()
            elif fields[0] == b"wait":
                await deferLater(self._clock, float(fields[1]) + 0.01)
            else:
                stored = codec.pairs(fields)
                room = codec.decode_room(room_id, stored)
                if codec.is_old(stored):
                    await self._reshape(room)
                return room

    async def _reshape(self, room: Room) -> None:
        """Write a room that was stored in the old form in the present one, unless another node has."""
        words = [codec.version_text(room.room_uuid, room.version)]
        for name, value in room.fields().items():
            words += (name.encode(), codec.encode_field(value))
        try:
            await self._access.link.run(scripts.RESHAPE, [room_key(room.room_id)], *words)
        except (DisconnectedError, RedisError):
            raise unavailable() from None

    async def member(self, room_id: str, user_id: str) -> Member | None:
        """As IRoomStore says."""
        await self._access.available()
        name = MEMBER + user_id
        try:
            written = await self._access.link.call(b"HGET", room_key(room_id), name.encode())
        except (DisconnectedError, RedisError):
            raise unavailable() from None
        found: Member | None = codec.decode_fields({name: written})[name] if written is not None else None
        return found

    async def _from_archive(self, room_id: str) -> Room | None:
        """Return a room that Redis has lost. Whether there is none is known only if the archive can be asked."""
        try:
            return await self._archive.find(room_id)
        except Exception as error:
            if not self.unresolved_lookup:
                self._log.warn(
                    "whether there is a room {room} cannot be asked: {error}", room=room_id, error=str(error)
                )
            self.unresolved_lookup = room_id
            raise unavailable() from None

    async def ask_again(self) -> bool:
        """Return whether the archive, which could not be asked, can be asked again."""
        try:
            await self._archive.find(self.unresolved_lookup)
        except Exception:
            return False
        self.unresolved_lookup = ""
        return True

    async def replay(self, room_id: str, after: Version) -> Sequence[Commit] | None:
        """As IRoomStore says."""
        await self._access.available()
        first = b"%d-%d" % after
        try:
            call = self._access.link.call
            (at, written), found = await answers(
                [call(b"HMGET", room_key(room_id), b"v", b"i"), call(b"XRANGE", log_key(room_id), first, b"+")]
            )
        except (DisconnectedError, RedisError):
            raise unavailable() from None
        if at is not None and written != self._access.incarnation:
            return None
        # The first may be the last one that is known.
        encoded = [codec.pairs(fields)["c"] for _, fields in found]
        if sum(len(encoded[n]) for n, (id_, _) in enumerate(found) if id_ != first) > self._replay_bytes:
            return None
        commits = [codec.decode_commit(commit) for commit in encoded]
        knows = bool(commits) and (commits[0].epoch, commits[0].seq) == after
        if knows:
            del commits[0]
        version = codec.parse_version(at)[1] if at is not None else None
        if version is not None and version[0] != after[0] and not knows:
            return None  # of another life of the log, which may have had other commits under the same numbers
        for place, commit in enumerate(commits):
            if commit.seq != after[1] + 1 + place:
                return None
        if version is not None:
            end = after[1] + len(commits)
            # The log was read last: it may be ahead.
            return commits if end == version[1] or (commits and end > version[1]) else None
        return commits if commits and commits[-1].closes else None

    async def find_invite(self, invite: str) -> str | None:
        """As IRoomStore says."""
        await self._access.available()
        try:
            room_id = await self._access.link.call(b"HGET", INVITES, invite.encode())
        except (DisconnectedError, RedisError):
            raise unavailable() from None
        return room_id.decode() if room_id is not None else None

    async def count(self) -> int:
        """Return how many rooms Redis has. Raises Disconnected or RedisError."""
        return int(await self._access.link.call(b"HLEN", INVITES))

    async def due_rooms(self, now: float) -> Sequence[str]:
        """As IRoomStore says."""
        here = self._clock.seconds()
        if not self._access.usable or here < self._asked_due + DUE_EVERY:
            return []
        self._asked_due = here
        try:
            found = await self._access.link.call(
                b"ZRANGEBYSCORE", DUE, b"-inf", b"%f" % now, b"LIMIT", b"0", b"%d" % DUE_AT_ONCE
            )
        except (DisconnectedError, RedisError):
            return []
        # Some have nothing to be done although they are due, as long as grace periods are prolonged.
        self._named = {room_id: at for room_id, at in self._named.items() if at + DUE_AGAIN > here}
        room_ids = [
            room_id
            for room_id in map(bytes.decode, found)
            if not self._followed(room_id) and room_id not in self._named
        ]
        self._named.update(dict.fromkeys(room_ids, here))
        return room_ids
