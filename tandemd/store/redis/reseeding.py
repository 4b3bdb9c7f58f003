"""The restoration of rooms to a Redis that has lost them, from nodes or the archive."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from ...rules.state import Commit, Room
from . import codec, scripts
from .connection import RedisConnection
from .keys import DUE, INVITES, NODES, ended_key, log_key, places_key, room_key
from .replies import answers

BATCH_ROOMS = 50
"""Rooms offered before the first answer, so that other commands get their turn."""


class RoomReseeder:
    """Offers rooms to Redis. log_length, log_bytes: limits of a log."""

    def __init__(self, link: RedisConnection, log_length: int, log_bytes: int):
        self._link = link
        self._log_length = b"%d" % log_length
        self._log_bytes = b"%d" % log_bytes

    async def all(self, rooms: Sequence[tuple[Room, Sequence[Commit]]], *, absent: bool = False) -> None:
        """Offer rooms. Raises DisconnectedError or RedisError; then Redis has none, some or all of them."""
        for start in range(0, len(rooms), BATCH_ROOMS):
            some = rooms[start : start + BATCH_ROOMS]
            await answers([self.one(room, commits, absent=absent) for room, commits in some])

    def one(self, room: Room, commits: Sequence[Commit], *, absent: bool = False) -> Deferred[int]:
        """Offer a room with its last commits. absent: keep a room that Redis has, even an older one.

        Fires with 1 if Redis has taken it, 0 if Redis has a newer one, -1 if the room has ended.
        """
        room_id = room.room_id
        places = sorted({member.conn.rpartition("/")[0] + "/" for member in room.members.values() if member.conn})
        words = [*(prefix.encode() for prefix in places), b"%d" % len(commits)]
        for commit in commits:
            words += (b"%d-%d" % (commit.epoch, commit.seq), codec.encode_commit(commit))
        words += (codec.HEAD.encode(), codec.encode_head(room))
        for name, value in room.fields().items():
            words += (name.encode(), codec.encode_field(value))
        keys = [room_key(room_id), log_key(room_id), INVITES, DUE, ended_key(room_id), NODES, *map(places_key, places)]
        return self._link.run(
            scripts.RESEED,
            keys,
            {
                "room_uuid": room.room_uuid.encode(),
                "epoch": b"%d" % room.epoch,
                "seq": b"%d" % room.seq,
                "room_id": room_id.encode(),
                "invite": room.settings.invite.encode(),
                "due_at": b"%f" % room.due if room.due else b"",
                "log_length": self._log_length,
                "only_absent": b"1" if absent else b"",
                "log_bytes": self._log_bytes,
                "node_count": b"%d" % len(places),
            },
            *words,
        )
