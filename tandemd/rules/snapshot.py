"""Whole rooms as JSON, for the archive."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from .gate import Gate
from .playback import Playback
from .state import MEMBER, Departed, Member, Moderation, Room, RoomSettings


class _Dump(Struct):
    """Hold a room as the archive keeps it in `rooms.state`."""

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
    """Return the room as JSON, without the values that `load` receives as arguments."""
    fields = {name: getattr(room, name) for name in _Dump.__struct_fields__}
    return _encode(_Dump(**{**fields, "members": list(room.members.values())}))


def load(room_uuid: str, room_id: str, created_at: float, epoch: int, seq: int, state: bytes | str) -> Room:
    """Return the room that `dump` wrote.

    state: the dump. Raises msgspec.MsgspecError, a ValueError, if it is none.
    """
    dumped = _decode_dump(state)
    room = Room(room_uuid, room_id, created_at, epoch, seq)
    for name in _Dump.__struct_fields__:
        if name != "members":
            setattr(room, name, getattr(dumped, name))
    room.assign({MEMBER + member.user_id: member for member in dumped.members})
    return room
