"""Messages to single members after decisions of the host or an administrator. The room's replica sends them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import messages as m
from . import moderation
from .event_types import EventType
from .permissions import own_control
from .state import Commit, Room

REMOVAL_EVENTS = frozenset((EventType.USER_KICKED, EventType.USER_BANNED))
NEWCOMER_EVENTS = frozenset((EventType.NEWCOMER_ADMITTED, EventType.NEWCOMER_REFUSED))
"""Commits without a change of the room, about a JOIN that waits."""
CONTROL_EVENTS = frozenset((EventType.GUEST_CONTROL, EventType.CONTROL_DELEGATED))


def for_removed_members(commit: Commit) -> m.ServerMessage:
    """Return the message for the sessions of members that a commit has kicked or banned.

    Their connections stay open, because old clients reconnect at once after a close. Old clients do not know KICKED either, so
    that they get the `departures` of the other members.
    """
    details = commit.details or {}
    until = details.get("until")
    return m.Kicked(
        by=commit.user,
        banned=until is None,
        reason=details.get("why"),
        retry_after_ms=None if until is None else int((until - commit.at) * 1000),
    )


def for_closed_room(commit: Commit) -> m.ServerMessage:
    """Return the message for the members of a room that an administrator has closed.

    As with KICKED, connections stay open, and old clients get the `departures` of all members.
    """
    return m.RoomClosed(reason=(commit.details or {}).get("why"))


def departures(users: Iterable[str]) -> Iterator[m.ServerMessage]:
    """Yield the departures of members, for clients that have no part in the room any more."""
    for user in users:
        yield m.LegacyLeave(user_id=user)
        yield m.UserLeft(user_id=user)


def for_controllers(room: Room, commit: Commit) -> dict[str, m.ServerMessage]:
    """Return, by user id, messages for members whose permission to control may have changed with a commit."""
    users = set(room.moderation.delegates)
    if commit.event == EventType.CONTROL_DELEGATED:
        users = {(commit.details or {})["user"]}
    return {user: own_control(room, user) for user in users}


def for_new_host(room: Room, commit: Commit) -> m.ServerMessage | None:
    """Return the kicks and bans in force, which only the host sees, after a commit has changed the host. None without any."""
    bans = moderation.active(room.moderation, commit.at)
    return moderation.bans_message(bans) if bans else None
