"""Construction of messages that several rules send."""

from __future__ import annotations

from typing import Literal

import msgspec

from .. import messages as m
from .playback import Playback
from .state import Room


def number_parts(*messages: m.LoggedMessage) -> tuple[m.LoggedMessage, ...]:
    """Return the messages of one commit; several get their part numbers."""
    if len(messages) < 2:
        return messages
    count = len(messages)
    return tuple(msgspec.structs.replace(message, part=(i, count)) for i, message in enumerate(messages, 1))


def milliseconds(seconds: float) -> float:
    """Return a server time in ms with fractions, as messages carry it."""
    return round(seconds * 1000, 3)


def play_pause(
    room: Room, user: str, position: float, playing: bool, at: float, scheduled: bool = False
) -> m.PlayPauseEvent:
    """Return the PLAY_PAUSE of the room's next commit.

    user: the actor. position: seconds of film at server time `at`. scheduled: whether `at` is ahead.
    """
    rate = room.playback.rate
    return m.PlayPauseEvent(
        seq=room.seq + 1,
        prev=room.prev,
        user_id=user,
        control="play" if playing else "pause",
        current_time=position,
        timestamp=int(at * 1000),
        at=milliseconds(at) if scheduled else None,
        rate=None if rate == 1.0 else rate,
    )


def rate_changed(room: Room, user: str, playback: Playback) -> m.RateChanged:
    """Return the RATE_CHANGED of the room's next commit. user: the actor. playback: the timeline after it."""
    return m.RateChanged(
        seq=room.seq + 1,
        prev=room.prev,
        user_id=user,
        rate=playback.rate,
        current_time=playback.position,
        at=milliseconds(playback.at),
    )


def seek_pause(room: Room, by: str, position: float, now: float) -> m.SeekPause:
    """Return the SEEK_PAUSE of the room's next commit.

    Its sender is the server, so that the member `by`, which sent SEEK, pauses too. position: seconds of film.
    """
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
    """Return LEAVE, on which clients drop the video connection, and USER_LEFT, on which they remove the member."""
    seq, prev = room.seq + 1, room.prev
    return m.LegacyLeave(seq=seq, prev=prev, user_id=user), m.UserLeft(seq=seq, prev=prev, user_id=user, reason=reason)


def host_changed(room: Room, host: str) -> m.HostChanged:
    """Return the HOST_CHANGED of the room's next commit. host: its user id, "" for none."""
    return m.HostChanged(seq=room.seq + 1, prev=room.prev, host_user_id=host or None)


def sync_message(room: Room, now: float) -> m.PlayPauseEvent | m.SeekPause:
    """Return a message that brings one player to the room's position. It belongs to no commit."""
    if room.gate is not None:
        return m.SeekPause(user_id=m.SERVER, current_time=room.gate.position, timestamp=int(now * 1000))
    playback = room.playback
    at = playback.moment(now)
    return m.PlayPauseEvent(
        user_id=m.SERVER,
        control="play" if playback.playing else "pause",
        current_time=playback.position_at(now),
        timestamp=int(at * 1000),
        at=milliseconds(at) if at > now else None,
        rate=playback.unusual_rate,
    )
