"""Rooms and commits as JSON, readable for operators in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ...rules.room_fields import FIELD_TYPES
from ...rules.state import Commit, CommitFields, Room, Version

_encode = msgspec.json.Encoder().encode
_decoders = {name: msgspec.json.Decoder(kind).decode for name, kind in FIELD_TYPES.items()}

HEAD = "@"
"""The field of a room's hash with `Head`."""

VERSION = "v"
"""The field that `lua/commit.lua` compares: "<room UUID>:<epoch>:<seq>"."""


class Head(Struct, array_like=True):
    """Attributes of a `Room` that are not fields."""

    created_at: float
    prev: int
    at: float
    due: float


_StoredCommit = CommitFields[msgspec.Raw]
"""A commit whose changes are not decoded yet."""


class Publication(Struct, array_like=True):
    """The commits of one batch, for subscribed nodes."""

    batch: str
    commits: list[CommitFields[msgspec.Raw]]


_decode_head = msgspec.json.Decoder(Head).decode
_decode_commit = msgspec.json.Decoder(_StoredCommit).decode
_decode_publication = msgspec.json.Decoder(Publication).decode


def pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    """Return a list of alternating names and values as a dict."""
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def version_text(room_uuid: str, version: Version) -> bytes:
    """Return a version as `lua/commit.lua` compares it."""
    return f"{room_uuid}:{version[0]}:{version[1]}".encode()


def parse_version(text: bytes) -> tuple[str, Version]:
    """Return (room UUID, version) from `version_text`."""
    room_uuid, epoch, seq = text.decode().split(":")
    return room_uuid, (int(epoch), int(seq))


def encode_field(value: Any) -> bytes:
    return _encode(value)


def decode_fields(fields: Mapping[str, bytes | msgspec.Raw]) -> dict[str, Any]:
    """Return the fields of a room, and ignore other fields. Raises msgspec.MsgspecError."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        decode = _decoders.get(name[:2] if name[1:2] == ":" else name)
        if decode is not None:
            found[name] = decode(value)
    return found


def encode_head(room: Room) -> bytes:
    return encode_head_of(room.created_at, room.prev, room.at, room.due)


def encode_head_of(created_at: float, prev: int, at: float, due: float) -> bytes:
    return _encode((created_at, prev, at, due))


def decode_room(room_id: str, fields: dict[str, bytes]) -> Room:
    """Return the room of a hash. Raises msgspec.MsgspecError or KeyError."""
    room_uuid, (epoch, seq) = parse_version(fields[VERSION])
    head = _decode_head(fields[HEAD])
    room = Room(room_uuid, room_id, head.created_at, epoch, seq)
    room.prev, room.at, room.due = head.prev, head.at, head.due
    found = decode_fields(fields)
    # In the old form, `playback` contains the title.
    room.assign({"url": found.pop("url", "")})
    # Answers to a gate need the gate first.
    room.assign({name: value for name, value in found.items() if name[1:2] != ":"})
    room.assign({name: value for name, value in found.items() if name[1:2] == ":"})
    room.put_in_order()
    return room


def is_old(fields: Mapping[str, bytes]) -> bool:
    """Return whether a hash has the old form, with one field for all bans, or the title in `playback`."""
    return "moderation" in fields or "departed" in fields or "url" not in fields


encode_whole_commit: Callable[[Commit], bytes] = _encode
"""Return a commit as JSON. The encoder itself, because each stored commit needs it."""


def encode_commit(commit: Commit, *, messages: bool = True) -> bytes:
    """Return a commit as JSON. messages: False for the journal, so that the archive gets no chat."""
    return _encode(commit if messages or not commit.messages else msgspec.structs.replace(commit, messages=()))


def decode_commit(data: bytes) -> Commit:
    """Return a commit from JSON. Raises msgspec.MsgspecError."""
    return _commit(_decode_commit(data))


def publication(batch: str, commits: Sequence[bytes]) -> bytes:
    """Return a `Publication` of encoded commits."""
    return b'["%b",[%b]]' % (batch.encode(), b",".join(commits))


def decode_publication(data: bytes) -> tuple[str, list[Commit]]:
    """Return (batch id, commits). Raises msgspec.MsgspecError."""
    told = _decode_publication(data)
    return told.batch, [_commit(commit) for commit in told.commits]


def _commit(stored: CommitFields[msgspec.Raw]) -> Commit:
    # Keywords one by one: `asdict` and its dict take twice the time.
    return Commit(
        epoch=stored.epoch,
        seq=stored.seq,
        at=stored.at,
        event=stored.event,
        user=stored.user,
        details=stored.details,
        changes=decode_fields(stored.changes) if stored.changes else {},
        messages=stored.messages,
        skip=stored.skip,
        due=stored.due,
        closes=stored.closes,
        unrecorded=stored.unrecorded,
    )
