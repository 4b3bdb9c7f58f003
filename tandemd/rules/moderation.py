"""Decisions of a host about members and newcomers: kick, ban, lock, delegation of control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from .. import messages as m
from ..errors import ErrorCode, RequestError
from . import membership
from .commands import Decision
from .display_names import clean_line
from .event_types import EventType
from .settings import MAX_MEMBERS_PER_COMMIT, RuleSettings
from .state import Ban, Departed, Member, Moderation, Room

MAX_BANS = 100
"""Kicks and bans in force, at most."""
MAX_REASON_LENGTH = 200
"""Characters that the server keeps of a reason."""


def kick(settings: RuleSettings, room: Room, member: Member, body: m.Kick, now: float) -> Decision:
    """Remove a member, and exclude its user id for `rooms.kick`."""
    target = room.members.get(body.target_user_id)
    if target is None:
        raise RequestError(ErrorCode.NO_SUCH_MEMBER, "KICK: `targetUserId` is not a member of this room.")
    ban = Ban(target.user_id, target.username, until=now + settings.kick, at=now)
    return _remove_and_ban(room, target, ban, EventType.USER_KICKED, body.reason, now)


def ban(room: Room, member: Member, body: m.Ban, now: float) -> Decision:
    """Exclude a user id, a member's or not, for the life of the room, and optionally newcomers from its addresses."""
    user = body.target_user_id
    target = room.members.get(user)
    before = next((ban for ban in room.moderation.bans if ban.user_id == user), Ban(user, None))
    departed = next((other for other in room.departed if other.user_id == user), None)
    source: Member | Departed | Ban = target or departed or before
    # A newcomer from the host's own address may be the host, after a restart of its client.
    addresses = [other for other in (source.address, *source.earlier) if other and other != member.address]
    if not body.by_address or not addresses:
        addresses = [""]
    name = target.username if target is not None else before.username
    ban = Ban(user, name, addresses[0], at=now, earlier=tuple(addresses[1:]))
    neighbours: list[Member] = []
    if ban.address and body.with_members is not None:
        neighbours = [
            other
            for other in room.members.values()
            if other.address in addresses
            and other.user_id not in (user, room.host)
            and (body.with_members == "all" or not (other.has_secret or other.role))
        ][: MAX_MEMBERS_PER_COMMIT - 1]
    return _remove_and_ban(room, target, ban, EventType.USER_BANNED, body.reason, now, neighbours)


def unban(room: Room, member: Member, body: m.Unban, now: float) -> Decision:
    """End a kick or ban."""
    bans = active(room.moderation, now)
    others = tuple(ban for ban in bans if ban.user_id != body.target_user_id)
    if len(others) == len(bans):
        raise RequestError(ErrorCode.NO_SUCH_MEMBER, "UNBAN: `targetUserId` is neither kicked nor banned.")
    changes = {"moderation": msgspec.structs.replace(room.moderation, bans=others)}
    return Decision(EventType.USER_UNBANNED, changes, (), {"user": body.target_user_id}, reply=bans_message(others))


def lock(room: Room, member: Member, body: m.LockRoom, now: float) -> Decision:
    """Make the room reject newcomers, or accept them again."""
    if body.locked == room.moderation.locked:
        return Decision()
    changes = {"moderation": msgspec.structs.replace(room.moderation, locked=body.locked)}
    message = m.RoomLocked(seq=room.seq + 1, prev=room.prev, locked=body.locked)
    return Decision(EventType.ROOM_LOCKED, changes, (message,), {"locked": body.locked})


def admit(room: Room, member: Member, body: m.Admit, now: float) -> Decision:
    """Let one newcomer into a locked room, or reject its JOIN. The commit tells the node where the JOIN waits."""
    if not room.moderation.locked or body.target_user_id in room.members:
        return Decision()
    event = EventType.NEWCOMER_ADMITTED if body.admitted else EventType.NEWCOMER_REFUSED
    return Decision(event, details={"user": body.target_user_id})


def delegate(room: Room, member: Member, body: m.DelegateControl, now: float) -> Decision:
    """Delegate control of the film to a member, or take it back. The delegation ends when the member leaves."""
    user, before = body.target_user_id, room.moderation
    if user not in room.members:
        raise RequestError(ErrorCode.NO_SUCH_MEMBER, "DELEGATE_CONTROL: `targetUserId` is not a member of this room.")
    if body.enabled == (user in before.delegates):
        return Decision()
    after = before.without(user)
    if body.enabled:
        after = msgspec.structs.replace(before, delegates=(*before.delegates, user))
    message = m.ControlDelegated(seq=room.seq + 1, prev=room.prev, user_id=user, enabled=body.enabled)
    details = {"user": user, "enabled": body.enabled}
    return Decision(EventType.CONTROL_DELEGATED, {"moderation": after}, (message,), details)


def active(moderation: Moderation, now: float) -> tuple[Ban, ...]:
    """Return the kicks and bans in force at server time `now`."""
    return tuple(ban for ban in moderation.bans if not ban.until or now < ban.until)


def bans_message(bans: tuple[Ban, ...]) -> m.Bans:
    """Return the message with these bans for the host."""
    return m.Bans(
        bans=[
            m.BanEntry(ban.user_id, ban.username, bool(ban.address), int(ban.until * 1000) if ban.until else None)
            for ban in bans
        ]
    )


def _remove_and_ban(
    room: Room,
    target: Member | None,
    ban: Ban,
    event: Literal[EventType.USER_KICKED, EventType.USER_BANNED],
    reason: str | None,
    now: float,
    neighbours: Sequence[Member] = (),
) -> Decision:
    """Add a kick or ban, and remove its member and `neighbours`: members at the same addresses."""
    if ban.user_id == room.host:
        raise RequestError(ErrorCode.FORBIDDEN, "You are the host: make another member host first (TRANSFER_HOST).")
    leavers = [target, *neighbours] if target is not None else list(neighbours)
    decision = (
        membership.remove(room, leavers, "kicked" if event is EventType.USER_KICKED else "banned", now)
        if leavers
        else Decision()
    )
    bans = _with_ban(active(room.moderation, now), ban)
    before = decision.changes.get("moderation", room.moderation)
    changes: dict[str, Any] = {**decision.changes, "moderation": msgspec.structs.replace(before, bans=bans)}
    details: dict[str, Any] = {
        "user": ban.user_id,
        "username": ban.username,
        "why": clean_line(reason, MAX_REASON_LENGTH),
    }
    if ban.until:
        details["until"] = ban.until
    else:
        details["byAddress"] = bool(ban.address)
    if neighbours:
        details["along"] = [other.user_id for other in neighbours]
    return msgspec.structs.replace(decision, event=event, changes=changes, details=details, reply=bans_message(bans))


def _with_ban(bans: tuple[Ban, ...], ban: Ban) -> tuple[Ban, ...]:
    others = [other for other in bans if other.user_id != ban.user_id]
    if len(others) >= MAX_BANS:
        # The oldest kick gives way, because kicks end soon.
        kick = next((other for other in others if other.until), None)
        if kick is None:
            raise RequestError(
                ErrorCode.FORBIDDEN,
                f"This room has {MAX_BANS} bans already; lock it (LOCK_ROOM), or lift some (UNBAN).",
            )
        others.remove(kick)
    return (*others, ban)
