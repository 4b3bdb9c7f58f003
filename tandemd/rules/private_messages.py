"""What single members here are told beside what everybody is told, because of what the host decided about them."""

from __future__ import annotations

from .. import messages as m
from ..messages.framing import text_frame
from ..rooms.session import Group
from .permissions import own_control
from .state import MEMBER, Commit, Room

KICKS = frozenset(("USER_KICKED", "USER_BANNED"))
CLOSED = "ROOM_CLOSED"
CONTROLS = frozenset(("GUEST_CONTROL", "CONTROL_DELEGATED"))


def shown_out(room: Room, commit: Commit) -> bytes:
    """Return the frames that tell sessions, which are in the room no more, that their members were kicked or banned.

    Their connections stay open: old clients answer every close by coming back at once. They know no KICKED either, and for
    them the others leave.
    """
    details = commit.details or {}
    until = details.get("until")
    told: list[m.ServerMessage] = [
        m.Kicked(
            by=commit.user,
            banned=until is None,
            reason=details.get("why"),
            retry_after_ms=None if until is None else int((until - commit.at) * 1000),
        )
    ]
    for user in room.members:
        told += [m.Left(user_id=user), m.UserLeft(user_id=user)]
    return b"".join(text_frame(m.encode(message)) for message in told)


def room_closed(commit: Commit) -> bytes:
    """Return the frames that tell a room's members that an administrator has ended it.

    As with KICKED, connections stay open, and for old clients everybody leaves.
    """
    told: list[m.ServerMessage] = [m.RoomClosed(reason=(commit.details or {}).get("why"))]
    for name in commit.changes:
        user = name.removeprefix(MEMBER)
        told += [m.Left(user_id=user), m.UserLeft(user_id=user)]
    return b"".join(text_frame(m.encode(message)) for message in told)


def tell_controllers(group: Group, room: Room, commit: Commit) -> None:
    """Tell those to whom control is delegated, or was until this commit, what has become of it for them."""
    users = set(room.moderation.delegates)
    if commit.event == "CONTROL_DELEGATED":
        users = {(commit.details or {})["user"]}
    for user in users:
        session = group.get(user)
        if session is not None:
            session.send(text_frame(m.encode(own_control(room, user))))
