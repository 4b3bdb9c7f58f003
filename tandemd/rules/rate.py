"""The playback rate of a room: seconds of film per second."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from .. import messages as m
from .commands import Decision
from .event_types import EventType
from .message_builders import number_parts, play_pause, rate_changed
from .state import Member, Room


def set_rate(room: Room, member: Member, body: m.SetRate, now: float) -> Decision:
    """Change the rate for all members; the position goes on from where it is."""
    before = room.playback
    if body.rate == before.rate:
        return Decision()
    after = before.rated(body.rate, now)
    messages: tuple[m.LoggedMessage, ...] = (rate_changed(room, member.user_id, after),)
    if before.held:
        # At another rate than 1 the room follows no player, so it does not wait for one either.
        after = after.controlled(after.position, True, now)
        start = msgspec.structs.replace(play_pause(room, m.SERVER, after.position, True, now), rate=after.unusual_rate)
        messages = number_parts(*messages, start)
    details = {"rate": body.rate, "position": after.position}
    return Decision(EventType.RATE_CHANGED, {"playback": after}, messages, details)


def reset_unless_known(room: Room, leavers: Collection[str], decision: Decision, now: float) -> Decision:
    """Add the end of another rate than 1 to a decision that removes members, if no client that knows rates is left.

    leavers: the user ids of these members. A client that follows the room knows rates; the old extension can neither show nor
    end one.
    """
    playback = decision.changes.get("playback", room.playback)
    if playback.rate == 1.0:
        return decision
    others = [member for member in room.members.values() if member.user_id not in leavers]
    if not any(other.follows for other in others):
        decision.changes["playback"] = after = playback.rated(1.0, now)
        if others:
            decision.messages += (rate_changed(room, m.SERVER, after),)
    return decision
