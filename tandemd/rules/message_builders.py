"""How the rules phrase what they have to tell."""

from __future__ import annotations

from typing import Literal

import msgspec

from .. import messages as m
from .state import Room


def number_parts(*messages: m.LoggedMessage) -> tuple[m.LoggedMessage, ...]:
    """Return the messages of one commit, numbered if there are several."""
    if len(messages) < 2:
        return messages
    count = len(messages)
    return tuple(msgspec.structs.replace(message, part=(i, count)) for i, message in enumerate(messages, 1))


def play_pause(room: Room, user: str, position: float, playing: bool, now: float) -> m.PlayPauseEvent:
    """Return the PLAY_PAUSE of the room's next commit."""
    return m.PlayPauseEvent(
        seq=room.seq + 1,
        prev=room.prev,
        user_id=user,
        control="play" if playing else "pause",
        current_time=position,
        timestamp=int(now * 1000),
    )


def seek_pause(room: Room, by: str, position: float, now: float) -> m.SeekPause:
    """Return the SEEK_PAUSE of the room's next commit. The server sends it, so that whoever seeked pauses too."""
    return m.SeekPause(
        seq=room.seq + 1,
        prev=room.prev,
        user_id=m.SERVER,
        current_time=position,
        timestamp=int(now * 1000),
        by=by,
    )


def user_left(
    room: Room, user: str, reason: Literal["kicked", "banned"] | None = None
) -> tuple[m.LegacyLeave, m.UserLeft]:
    """Return what tells that somebody is gone: clients drop the video connection on one, the tile on the other."""
    seq, prev = room.seq + 1, room.prev
    return m.LegacyLeave(seq=seq, prev=prev, user_id=user), m.UserLeft(seq=seq, prev=prev, user_id=user, reason=reason)


def host_changed(room: Room, host: str) -> m.HostChanged:
    """Return the HOST_CHANGED of the room's next commit."""
    return m.HostChanged(seq=room.seq + 1, prev=room.prev, host_user_id=host or None)


def sync_message(room: Room, now: float) -> m.PlayPauseEvent | m.SeekPause:
    """Return the message that brings one player where the room is; it belongs to no commit."""
    if room.gate is not None:
        return m.SeekPause(user_id=m.SERVER, current_time=room.gate.position, timestamp=int(now * 1000))
    return m.PlayPauseEvent(
        user_id=m.SERVER,
        control="play" if room.playback.playing else "pause",
        current_time=room.playback.position_at(now),
        timestamp=int(now * 1000),
    )
