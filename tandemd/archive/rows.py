"""The conversion of rooms and commits to rows. Pure."""

from __future__ import annotations

import functools
import time
import uuid
from typing import Any

import msgspec

from ..interfaces import PlayerStatus
from ..rules.snapshot import dump
from ..rules.state import Commit, Member, Room

Row = tuple[Any, ...]

_encode = msgspec.json.Encoder().encode
_NUL = "\\u0000"


@functools.lru_cache(maxsize=65536)
def user_key(room_uuid: str, user_id: str) -> str:
    """Return the UUID of a user's row, derived from room UUID and user id."""
    return str(uuid.uuid5(uuid.UUID(room_uuid), user_id))


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def timestamp(at: float) -> str:
    """Return a time as text: UTC, ISO 8601, milliseconds."""
    seconds, milliseconds = divmod(round(at * 1000), 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


def json_text(value: Any) -> str:
    """Return a value as JSON without NUL characters, which PostgreSQL cannot store."""
    text = _encode(value).decode()
    if _NUL in text:
        text = _encode(_without_nul(msgspec.json.decode(text))).decode()
    return text


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _text(value: str | None) -> str | None:
    return value.replace("\0", "") if value else value


ROOM_COLUMNS = (
    "id", "code", "host_user_id", "current_url", "current_time", "is_playing", "guest_control_enabled", "epoch", "seq",
    "state", "archived_at", "created_at", "updated_at",
)  # fmt: skip


def room_row(room: Room, superseded: bool = False) -> Row:
    """Return the row of a room. superseded: a younger room has its room id, so this one has ended."""
    ended = room.closed or superseded
    playback = room.playback
    at = timestamp(room.at)
    state = None
    if not ended:
        state = dump(room).decode()
        if _NUL in state:
            state = json_text(msgspec.json.decode(state))
    return (
        str(uuid.UUID(room.room_uuid)), room.room_id, user_key(room.room_uuid, room.host) if room.host else None,
        _text(playback.url), playback.position_at(room.at), playback.playing, room.settings.guest_control, room.epoch, room.seq,
        state, at if ended else None, timestamp(room.created_at), at,
    )  # fmt: skip


USER_COLUMNS = (
    "id", "room_id", "client_id", "username", "epoch", "seq", "last_heartbeat", "created_at", "left_at",
)  # fmt: skip


def user_row(room: Room, user_id: str) -> Row:
    """Return the row of a user at the room's version; a user that is not a member has left."""
    member: Member | None = room.members.get(user_id)
    key = user_key(room.room_uuid, user_id)
    if member is None or room.closed:
        name = member.username if member else None
        at = timestamp(room.at)
        return key, room.room_uuid, user_id, _text(name), room.epoch, room.seq, at, at, at
    joined = timestamp(member.joined_at)
    return key, room.room_uuid, user_id, _text(member.username), room.epoch, room.seq, joined, joined, None


EVENT_COLUMNS = ("room_id", "epoch", "seq", "event_type", "user_id", "details", "created_at")


def event_row(room_uuid: str, commit: Commit) -> Row:
    """Return the row of a commit that has an `event`."""
    return (
        room_uuid, commit.epoch, commit.seq, commit.event, user_key(room_uuid, commit.user) if commit.user else None,
        None if commit.details is None else json_text(commit.details), timestamp(commit.at),
    )  # fmt: skip


PRESENCE_COLUMNS = ("id", "current_time", "is_playing", "connection_quality", "last_heartbeat")


def presence_row(presence: PlayerStatus) -> Row:
    """Return the values that update a user's row."""
    return (
        user_key(presence.room_uuid, presence.user_id), presence.position, presence.playing, presence.quality,
        timestamp(presence.heartbeat),
    )  # fmt: skip


def dead_letter_text(content: Any) -> str:
    """Return a rejected row, or the values for it, as text for operators. Accepts any object."""
    try:
        return json_text(content)
    except (ValueError, TypeError, RecursionError):
        return plain(repr(content))


def plain(text: str) -> str:
    """Return text in ASCII without NUL, which all databases accept."""
    return text.encode("ascii", "backslashreplace").decode().replace("\0", "")
