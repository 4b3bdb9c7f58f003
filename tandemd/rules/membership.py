"""The end of connections and memberships: loss, departure, removal, and the election of a new host."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal

import msgspec

from .. import messages as m
from .commands import Decision
from .event_types import EventType
from .hold import release
from .message_builders import host_changed, number_parts, user_left
from .rate import reset_unless_known
from .ready_gate import without_members
from .settings import MAX_MEMBERS_PER_COMMIT
from .state import GUEST, MEMBER, Departed, Member, Moderation, Room

MAX_DEPARTED_MEMBERS = 100
DEPARTED_MEMBER_SECONDS = 600.0
"""Number and duration for which a room remembers departed members, for clients that were away meanwhile."""


def lose_connections(
    room: Room, members: Sequence[Member], event: EventType, now: float, since: float = 0.0
) -> Decision:
    """Begin the grace period of members whose connections are lost. Members get no message; the gate does not wait for them.

    since: server time of the loss, if the server noticed it later; 0.0 for now.
    """
    lost_at = min(since or now, now)
    changes: dict[str, Any] = {
        MEMBER + member.user_id: msgspec.structs.replace(member, conn="", lost_at=lost_at, watching=False)
        for member in members
    }
    decision = Decision(event, changes, (), {"users": [member.user_id for member in members]}, reschedule=True)
    users = [member.user_id for member in members]
    decision = without_members(room, users, decision, now)
    return release(room, decision, now) if room.host in users else decision


def lose_connection(room: Room, user: str, conn: str, now: float, since: float) -> Decision:
    """Begin the grace period of a member, unless another connection speaks for it. since: as in `lose_connections`."""
    member = room.members.get(user)
    if member is None or member.conn != conn:
        return Decision()
    return lose_connections(room, [member], EventType.CONNECTION_LOST, now, since)


def lose_node(room: Room, prefix: str, now: float) -> Decision:
    """Begin the grace period of the members whose connections begin with `prefix`, `MAX_MEMBERS_PER_COMMIT` at a time."""
    lost = (member for member in room.members.values() if member.conn and member.conn.startswith(prefix))
    some = list(islice(lost, MAX_MEMBERS_PER_COMMIT))
    return lose_connections(room, some, EventType.NODE_LOST, now) if some else Decision()


def reattach(room: Room, member: Member, conn: str) -> Decision:
    """Give a lost member its connection back. Others get no message, unless the room has no host: then it becomes host."""
    back = msgspec.structs.replace(member, conn=conn, lost_at=0.0)
    decision = Decision(EventType.USER_RESUMED, {MEMBER + member.user_id: back}, reschedule=True)
    if room.host not in room.members and member.role != GUEST:
        decision.changes["host"] = member.user_id
        decision.messages = (host_changed(room, member.user_id),)
    return decision


def leave(room: Room, member: Member, reason: Literal["left", "lost"], now: float) -> Decision:
    """Remove a member after its LEAVE, or at the end of its grace period. The LEAVE of the last member ends the room."""
    if reason == "left" and len(room.members) == 1:
        # As in `remove`, the archive gets the user id, because the end of a grace period is no command of the member.
        details = {"reason": reason, "user": member.user_id}
        return Decision(EventType.USER_LEFT, {MEMBER + member.user_id: None}, (), details, reschedule=True, closes=True)
    return remove(room, [member], reason, now)


def remove(
    room: Room, members: Sequence[Member], reason: Literal["left", "lost", "kicked", "banned"], now: float
) -> Decision:
    """Remove members from a room that stays. reason: their own departure, or the host's decision.

    A room without members pauses its film, drops its gate and unlocks itself.
    """
    users = [member.user_id for member in members]
    leavers = frozenset(users)
    has_others = len(room.members) > len(leavers)
    by_host = reason if reason == "kicked" or reason == "banned" else None
    messages: list[m.LoggedMessage] = []
    for user in users:
        messages += user_left(room, user, by_host)
    changes: dict[str, Any] = {MEMBER + user: None for user in users}
    changes["departed"] = with_departed(room, members, now)
    moderation = room.moderation.without(*users)
    if moderation is not room.moderation:
        changes["moderation"] = moderation
    if room.host in leavers:
        host = elect_host([other for other in room.members.values() if other.user_id not in leavers])
        changes["host"] = host
        if has_others:
            messages.append(host_changed(room, host))
    if not has_others:
        # The film stops at the last position that the last member saw.
        playback = room.playback
        changes["playback"] = playback.corrected(playback.position_at(members[-1].lost_at or now), False, now)
        changes["gate"] = None
        changes["empty_since"] = now
        if room.moderation.locked:
            # A locked room without members would stay closed, because no member could unlock it.
            changes["moderation"] = Moderation(bans=room.moderation.bans)
        messages = []
    decision = Decision(
        EventType.USER_LEFT, changes, tuple(messages), {"reason": reason, "user": users[0]}, reschedule=True
    )
    decision = without_members(room, users, decision, now)
    if room.host in users:
        decision = release(room, decision, now)
    decision = reset_unless_known(room, leavers, decision, now)
    decision.messages = number_parts(*decision.messages)
    return decision


def elect_host(members: list[Member]) -> str:
    """Return the user id of the longest-present connected member, "" if none is connected.

    Members with the role "guest" come after all others.
    """
    connected = [(member.role == GUEST, member.order, member.user_id) for member in members if member.conn]
    return min(connected)[2] if connected else ""


def with_departed(room: Room, members: Sequence[Member], now: float) -> tuple[Departed, ...]:
    """Return the departed members of the room, extended by members that leave now."""
    leavers = frozenset(member.user_id for member in members)
    kept = [
        other for other in room.departed if other.user_id not in leavers and now - other.at < DEPARTED_MEMBER_SECONDS
    ]
    more = (Departed(other.user_id, now, other.address, room.seq + 1, other.earlier) for other in members)
    return (*kept, *more)[-MAX_DEPARTED_MEMBERS:]
