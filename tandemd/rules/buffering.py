"""The status of members (`STATUS`), and the ready gate that waits for members whose players buffer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from .. import messages as m
from .commands import Decision
from .event_types import EventType
from .gate import Gate
from .message_builders import seek_pause
from .ready_gate import awaited_members
from .state import BUFFERING, MEMBER, Member, Room

BUFFERING_SECONDS = 1.5
"""How long a member buffers before the gate closes for it."""
MAX_WAITS = 3
"""How often the gate closes for one member within `WAITS_SECONDS`; after that, not before the next control."""
WAITS_SECONDS = 300.0
MAX_KEPT_WAITS = 60
"""Entries of `Playback.waits`."""


def set_status(room: Room, member: Member, body: m.Status, now: float) -> Decision:
    """Change the status of a member, and tell all members."""
    if body.status == member.status:
        return Decision()
    after = msgspec.structs.replace(member, status=body.status, status_at=now)
    message = m.MemberStatus(seq=room.seq + 1, prev=room.prev, user_id=member.user_id, status=body.status)
    # Without an event: the history of a status is of no use.
    return Decision(changes={MEMBER + member.user_id: after}, messages=(message,))


def wait_for_buffering(room: Room, member: Member, body: m.WaitForBuffering, now: float) -> Decision:
    """Have the room wait for members that buffer, or not."""
    settings = msgspec.structs.replace(room.settings, wait_for_buffering=body.enabled)
    message = m.WaitForBufferingChanged(seq=room.seq + 1, prev=room.prev, enabled=body.enabled)
    details = {"enabled": body.enabled}
    return Decision(EventType.WAIT_FOR_BUFFERING, {"settings": settings}, (message,), details, reschedule=True)


def closes_at(room: Room) -> float:
    """Return the server time at which the gate closes because of members that buffer; 0.0 for never."""
    return min((at for _, at in _waits(room)), default=0.0)


def close_gate(room: Room, now: float) -> Decision | None:
    """Close the gate at the present position if a member has buffered for long enough; None otherwise."""
    users = [user for user, at in _waits(room) if at <= now]
    if not users:
        return None
    before = room.playback
    position = before.position_at(now)
    kept = [wait for wait in before.waits if wait[1] > now - WAITS_SECONDS or _count(room, wait[0]) >= MAX_WAITS]
    waits = (*kept, *((user, now) for user in users))[-MAX_KEPT_WAITS:]
    changes: dict[str, Any] = {
        "playback": before.controlled(position, False, now, waits),
        "gate": Gate(position, now, awaited_members(room), (), True),
    }
    details = {"position": position, "resume": True, "users": users[:MAX_WAITS]}
    return Decision(EventType.BUFFERING, changes, (seek_pause(room, "", position, now),), details, reschedule=True)


def _waits(room: Room) -> Iterator[tuple[str, float]]:
    """Yield the user id of each member for which the gate will close, and the server time at which it does."""
    playback = room.playback
    if not room.settings.wait_for_buffering or room.gate is not None or not playback.playing or playback.unwatched:
        return
    for user in awaited_members(room):
        member = room.members[user]
        if member.status == BUFFERING and _count(room, user) < MAX_WAITS:
            yield user, max(member.status_at, playback.control_at) + BUFFERING_SECONDS


def _count(room: Room, user: str) -> int:
    return sum(other == user for other, _ in room.playback.waits)
