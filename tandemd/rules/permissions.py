"""The permission that each message type needs. Message types outside the table do not exist."""

from __future__ import annotations

from enum import Enum

from .. import messages as m
from ..errors import ErrorCode, RequestError
from .state import GUEST, Member, Room


class Permission(Enum):
    """The senders that a message type is open to."""

    ANY_CLIENT = "any open connection"
    MEMBER = "a member"
    CONTROLLER = "the host; delegates; guests while guest control is on, or while the host is gone"
    HOST = "the host"


PERMISSIONS: dict[type[m.ClientMessage], Permission] = {
    m.Join: Permission.ANY_CLIENT,
    m.Ping: Permission.ANY_CLIENT,
    m.Leave: Permission.MEMBER,
    m.PlayPause: Permission.CONTROLLER,
    m.Seek: Permission.CONTROLLER,
    m.SetRate: Permission.CONTROLLER,
    m.UrlChange: Permission.CONTROLLER,
    m.HostHeartbeat: Permission.MEMBER,
    m.PositionUpdate: Permission.MEMBER,
    m.Ready: Permission.MEMBER,
    m.RequestSync: Permission.MEMBER,
    m.Status: Permission.MEMBER,
    m.UpdateUsername: Permission.MEMBER,
    m.Chat: Permission.MEMBER,
    m.ToggleGuestControl: Permission.HOST,
    m.WaitForBuffering: Permission.HOST,
    m.TransferHost: Permission.HOST,
    m.DelegateControl: Permission.HOST,
    m.LockRoom: Permission.HOST,
    m.Kick: Permission.HOST,
    m.Ban: Permission.HOST,
    m.Unban: Permission.HOST,
    m.Admit: Permission.HOST,
    m.Offer: Permission.MEMBER,
    m.Answer: Permission.MEMBER,
    m.IceCandidate: Permission.MEMBER,
    m.PlaybackAck: Permission.MEMBER,
    m.SyncResponse: Permission.MEMBER,
    m.Call: Permission.MEMBER,
    m.RequestIceServers: Permission.MEMBER,
}

_HOST, _CONTROLLER, MEMBER = Permission.HOST, Permission.CONTROLLER, Permission.MEMBER
"""For checks of each command, which would need a call for an attribute of the enum."""


def member_for_connection(room: Room, user: str, conn: str) -> Member:
    """Return the member that a connection speaks for. Raises RequestError if it speaks for none."""
    member = room.members.get(user)
    if member is None:
        raise RequestError(ErrorCode.NOT_JOINED, "You are not in this room, or no longer; send JOIN.")
    if member.conn != conn or not conn:
        raise RequestError(ErrorCode.DETACHED, "Another connection speaks for you now; send JOIN to take over again.")
    return member


def may_control(room: Room, user: str, now: float, host_gone: float) -> bool:
    """Say whether the room accepts controls of a member; see `Permission.CONTROLLER`.

    host_gone: seconds of the host's absence after which guests may control the film.
    """
    if believes_it_controls(room, user):
        return True
    host = room.members.get(room.host)
    if host is None:
        # The role "guest" does not control a room without host.
        return room.members[user].role != GUEST
    return not host.conn and now - host.lost_at >= host_gone


def believes_it_controls(room: Room, user: str) -> bool:
    """Say whether the member's client believes that it controls the film, and therefore reports the title of its page.

    The server must not send such a client to a title, because each would then answer the other without end. A guest that
    controls only because the host is gone does not know it.
    """
    return user == room.host or room.settings.guest_control or user in room.moderation.delegates


def own_control(room: Room, user: str) -> m.GuestControl:
    """Return a GUEST_CONTROL for one member that says whether it may control the film as a guest.

    Old clients do not know delegation, so a delegate is told that guests have control.
    """
    return m.GuestControl(enabled=room.settings.guest_control or user in room.moderation.delegates)


def check_not_banned(room: Room, user: str, address: str, now: float) -> None:
    """Raise RequestError if the host has kicked or banned this user id, or newcomers from this address.

    address: "" where addresses mean nothing.
    """
    for ban in room.moderation.bans:
        if ban.user_id == user or (address and (ban.address == address or address in ban.earlier)):
            if not ban.until:
                raise RequestError(ErrorCode.BANNED, "JOIN: the host has banned you from this room.")
            if now < ban.until:
                raise RequestError(
                    ErrorCode.KICKED,
                    "JOIN: the host has removed you from this room.",
                    int((ban.until - now) * 1000) + 1,
                )


def check(room: Room, user: str, kind: type[m.ClientMessage], now: float, host_gone: float) -> None:
    """Raise RequestError unless a member may send a type of message now. host_gone: as in `may_control`."""
    permission = PERMISSIONS[kind]
    if permission is _HOST and user != room.host:
        raise RequestError(ErrorCode.FORBIDDEN, "Only the host may send this.")
    if permission is _CONTROLLER and not may_control(room, user, now, host_gone):
        raise RequestError(ErrorCode.FORBIDDEN, "Only the host controls the film, unless it lets others control it.")
