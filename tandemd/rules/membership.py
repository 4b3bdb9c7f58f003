"""Going: lost connections, leaving, the election of a host, and what that does to a gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from .. import messages as m
from . import ready_gate as gates
from .commands import Decision
from .event_types import EventType
from .message_builders import host_changed, number_parts, user_left
from .state import GUEST, MEMBER, Departed, Member, Moderation, Room

MAX_DEPARTED_MEMBERS = 100
"""How many who left are remembered, and for how many seconds, for clients that were away meanwhile."""
DEPARTED_MEMBER_SECONDS = 600.0


def lose_connections(room: Room, members: Sequence[Member], event: EventType, now: float) -> Decision:
    """Connections are gone: the grace period begins, and nobody is told. A gate does not wait for these members."""
    changes: dict[str, Any] = {
        MEMBER + member.user_id: msgspec.structs.replace(member, conn="", lost_at=now, watching=False)
        for member in members
    }
    decision = Decision(event, changes, (), {"users": [member.user_id for member in members]}, reschedule=True)
    return gates.without_members(room, [member.user_id for member in members], decision, now)


def reattach(room: Room, member: Member, conn: str) -> Decision:
    """A connection that was taken for lost is alive: the member has it back, and nobody is told."""
    back = msgspec.structs.replace(member, conn=conn, lost_at=0.0)
    decision = Decision(EventType.USER_RESUMED, {MEMBER + member.user_id: back}, reschedule=True)
    if room.host not in room.members and member.role != GUEST:
        decision.changes["host"] = member.user_id
        decision.messages = (host_changed(room, member.user_id),)
    return decision


def leave(room: Room, member: Member, reason: Literal["left", "lost"], now: float) -> Decision:
    """The member is out: by its own LEAVE, or at the end of its grace period."""
    if reason == "left" and len(room.members) == 1:
        # Who was lost goes by no command of its own, so the archive has to be told who it was.
        details = {"reason": reason, "user": member.user_id}
        return Decision(EventType.USER_LEFT, {MEMBER + member.user_id: None}, (), details, reschedule=True, closes=True)
    return remove(room, [member], reason, now)


def remove(
    room: Room, members: Sequence[Member], reason: Literal["left", "lost", "kicked", "banned"], now: float
) -> Decision:
    """Members are out, by their own doing or the host's; the room stays."""
    users = [member.user_id for member in members]
    out = frozenset(users)
    others = [other for other in room.members.values() if other.user_id not in out]
    by_host = reason if reason == "kicked" or reason == "banned" else None
    messages: list[m.LoggedMessage] = []
    for user in users:
        messages += user_left(room, user, by_host)
    changes: dict[str, Any] = {MEMBER + user: None for user in users}
    changes["departed"] = with_departed(room, members, now)
    moderation = room.moderation.without(*users)
    if moderation is not room.moderation:
        changes["moderation"] = moderation
    if room.host in out:
        host = elect_host(others)
        changes["host"] = host
        if others:
            messages.append(host_changed(room, host))
    if not others:
        # The film stops where the last one saw it.
        playback = room.playback
        changes["playback"] = playback.corrected(playback.position_at(members[-1].lost_at or now), False, now)
        changes["gate"] = None
        changes["empty_since"] = now
        if room.moderation.locked:
            # No member could let a newcomer in.
            changes["moderation"] = Moderation(bans=room.moderation.bans)
        messages = []
    decision = Decision(
        EventType.USER_LEFT, changes, tuple(messages), {"reason": reason, "user": users[0]}, reschedule=True
    )
    decision = gates.without_members(room, users, decision, now)
    decision.messages = number_parts(*decision.messages)
    return decision


def elect_host(members: list[Member]) -> str:
    """Return the user id of the longest-present connected member, "" if none is connected.

    Those who are guests by their tokens come after all others.
    """
    connected = [(member.role == GUEST, member.order, member.user_id) for member in members if member.conn]
    return min(connected)[2] if connected else ""


def with_departed(room: Room, members: Sequence[Member], now: float) -> tuple[Departed, ...]:
    """Return the remembered leavers with some more, these last."""
    out = frozenset(member.user_id for member in members)
    kept = [gone for gone in room.departed if gone.user_id not in out and now - gone.at < DEPARTED_MEMBER_SECONDS]
    more = (Departed(other.user_id, now, other.address, room.seq + 1, other.earlier) for other in members)
    return (*kept, *more)[-MAX_DEPARTED_MEMBERS:]
