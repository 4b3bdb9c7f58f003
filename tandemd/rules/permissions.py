"""Who may send what. A message type that is not in the table does not exist."""

from __future__ import annotations

from enum import Enum

from .. import messages as m
from ..errors import ErrorCode, RequestError
from .state import GUEST, Member, Room


class Permission(Enum):
    """The least a sender must be."""

    ANY_CLIENT = "any open connection"
    MEMBER = "a member"
    CONTROLLER = "the host; whom the host lets; guests while guest control is on, or while the host is gone"
    HOST = "the host"


PERMISSIONS: dict[type[m.ClientMessage], Permission] = {
    m.Join: Permission.ANY_CLIENT,
    m.Ping: Permission.ANY_CLIENT,
    m.Leave: Permission.MEMBER,
    m.PlayPause: Permission.CONTROLLER,
    m.Seek: Permission.CONTROLLER,
    m.UrlChange: Permission.CONTROLLER,
    m.HostHeartbeat: Permission.MEMBER,
    m.PositionUpdate: Permission.MEMBER,
    m.Ready: Permission.MEMBER,
    m.RequestSync: Permission.MEMBER,
    m.UpdateUsername: Permission.MEMBER,
    m.Chat: Permission.MEMBER,
    m.ToggleGuestControl: Permission.HOST,
    m.TransferHost: Permission.HOST,
    m.DelegateControl: Permission.HOST,
    m.LockRoom: Permission.HOST,
    m.Kick: Permission.HOST,
    m.Ban: Permission.HOST,
    m.Unban: Permission.HOST,
    m.Offer: Permission.MEMBER,
    m.Answer: Permission.MEMBER,
    m.IceCandidate: Permission.MEMBER,
    m.PlaybackAck: Permission.MEMBER,
    m.SyncResponse: Permission.MEMBER,
}


def member_for_connection(room: Room, user: str, conn: str) -> Member:
    """Return the member that this connection speaks for. Raises RequestError otherwise."""
    member = room.members.get(user)
    if member is None:
        raise RequestError(ErrorCode.NOT_JOINED, "You are not in this room (any more); send JOIN.")
    if member.conn != conn or not conn:
        raise RequestError(ErrorCode.DETACHED, "Another connection speaks for you now; send JOIN to take over again.")
    return member


def may_control(room: Room, user: str, now: float, host_gone: float) -> bool:
    """Whether a member's controls count: see `Permission.CONTROLLER`. host_gone: seconds of absence that free the controls."""
    if believes_it_controls(room, user):
        return True
    host = room.members.get(room.host)
    if host is None:
        # A guest by its token waits for a host.
        return room.members[user].role != GUEST
    return not host.conn and now - host.lost_at >= host_gone


def believes_it_controls(room: Room, user: str) -> bool:
    """Whether the member's client believes that it may control, and tells the title of its page by itself.

    Such a client must not be sent to a title: the two would chase each other for ever. Whoever may control only because
    the host is gone does not know.
    """
    return user == room.host or room.settings.guest_control or user in room.moderation.delegates


def own_control(room: Room, user: str) -> m.GuestControl:
    """Return the GUEST_CONTROL that tells one member whether its controls count while it is a guest.

    An old client knows of no delegates: one that may control must be told that guests may, and others not.
    """
    return m.GuestControl(enabled=room.settings.guest_control or user in room.moderation.delegates)


def check_not_banned(room: Room, user: str, address: str, now: float) -> None:
    """Raise RequestError if the host has barred this user id, or newcomers from this address ("": it means nothing)."""
    for ban in room.moderation.bans:
        if ban.user_id == user or (address and (ban.address == address or address in ban.earlier)):
            if not ban.until:
                raise RequestError(ErrorCode.BANNED, "JOIN: the host has banned you from this room.")
            if now < ban.until:
                raise RequestError(
                    ErrorCode.KICKED, "JOIN: the host has sent you out of this room.", int((ban.until - now) * 1000) + 1
                )


def check(room: Room, user: str, kind: type[m.ClientMessage], now: float, host_gone: float) -> None:
    """Raise RequestError unless this member may send this type of message now."""
    who = PERMISSIONS[kind]
    if who is Permission.HOST and user != room.host:
        raise RequestError(ErrorCode.FORBIDDEN, "Only the host may do that.")
    if who is Permission.CONTROLLER and not may_control(room, user, now, host_gone):
        raise RequestError(
            ErrorCode.FORBIDDEN, "Only the host controls the film, until the host lets others control it."
        )
