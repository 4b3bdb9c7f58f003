"""JOIN: the admission of newcomers, the return of members, and the messages that follow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .. import messages as m
from ..errors import ErrorCode, RequestError
from ..ratelimit.scopes import scopes
from . import moderation, permissions
from .commands import Command, Decision, Enter, StalePinError
from .display_names import clean_name, is_reserved
from .event_types import EventType
from .hold import release
from .identity import (
    claimed_host,
    has_token,
    is_known_dead,
    is_same_secret,
    is_unguessable,
    may_take_over,
    proves_identity,
)
from .membership import with_departed
from .message_builders import host_changed, milliseconds, number_parts, sync_message, user_left
from .permissions import believes_it_controls
from .settings import RuleSettings
from .state import GUEST, HOST, MEMBER, WATCHING, Member, Room

DEAD_CONNECTION_SECONDS = 60.0
"""Time for which a dead connection may stay unnoticed; the client missed the messages sent meanwhile."""

MAX_EARLIER_ADDRESSES = 3
"""Addresses of a member, beside its last one, that a ban can cover."""


def enter(room: Room, command: Command, body: Enter, now: float, settings: RuleSettings) -> Decision:
    """Admit the sender of a JOIN, as a newcomer or a returning member.

    Raises RequestError, or StalePinError if the PIN was hashed with another salt than the room's.
    """
    user = command.user
    if is_reserved(user):
        raise RequestError(ErrorCode.BAD_USER, "JOIN: `userId` is reserved: it is, or looks like, 'server'.")
    name = clean_name(body.username, settings.username_length)
    member = room.members.get(user)
    if member is not None and proves_identity(member, command.conn, command.nonce, body):
        return _come_back(room, member, command, body, name, now)
    # These checks come before identity_conflict: a client that could not join must not learn which members the room has.
    permissions.check_not_banned(room, user, body.address, now)
    if room.moderation.locked and not body.admitted:
        raise RequestError(ErrorCode.LOCKED, "JOIN: the host has locked this room.", 5000)
    claimed = claimed_host(room, body, name) if member is None else None
    successor = claimed if claimed is not None and is_known_dead(claimed, now) else None
    _check_pin(room, body)
    if member is not None and may_take_over(member, command.nonce, now):
        return _come_back(room, member, command, body, name, now)
    if member is not None:
        raise RequestError(
            ErrorCode.IDENTITY_CONFLICT, "JOIN: another client is in this room with this `userId`.", 5000
        )
    if successor is None and len(room.members) >= settings.members_per_room:
        raise RequestError(
            ErrorCode.ROOM_FULL,
            f"JOIN: the room is full, with {settings.members_per_room} members.",
            5000,
        )
    if settings.members_per_address and successor is None:
        _check_crowd(room, body.address, settings.members_per_address)
    return _admit(room, command, body, name, claimed, now)


def free_places(room: Room, settings: RuleSettings) -> int:
    """Return the number of newcomers that the room accepts now."""
    return 0 if room.moderation.locked else max(0, settings.members_per_room - len(room.members))


def _check_crowd(room: Room, address: str, most: int) -> None:
    """Raise RequestError if an address, or its network, has `most` members in the room; for networks see `scopes`."""
    for scope in scopes(address):
        count = room.scope_counts.get(scope.name, 0)
        if count >= scope.times * most:
            raise RequestError(
                ErrorCode.RATE_LIMITED, f"JOIN: your address already has {count} members in this room.", 5000
            )


def _admit(room: Room, command: Command, body: Enter, name: str | None, claimed: Member | None, now: float) -> Decision:
    """Admit a newcomer.

    claimed: the host, if the newcomer may be the same person under another user id: an old client whose service worker
    restarted. If the host is known to be dead, its membership ends, and the newcomer is host. None for most newcomers.
    """
    user, order = command.user, room.seq + 1
    old = claimed if claimed is not None and is_known_dead(claimed, now) else None
    messages: list[m.LoggedMessage] = []
    changes: dict[str, Any] = {}
    if old is not None:
        order = old.order
        changes[MEMBER + old.user_id] = None
        changes["departed"] = with_departed(room, [old], now)
        if old.user_id in room.moderation.delegates:
            changes["moderation"] = room.moderation.without(old.user_id)
        messages += user_left(room, old.user_id)
    in_call = _not_in_call(body)
    changes[MEMBER + user] = Member(
        user, name, command.conn, order, now, address=body.address, token=body.new_token,
        identity_proven=body.id is not None, nonce=command.nonce,
        role=body.role, name_from_token=body.named, since=room.seq + 1, follows=body.follows, schedules=body.schedules,
        successor_of=claimed.user_id if claimed is not None and old is None else "",
        in_call=in_call, attached_at=body.received_at,
    )  # fmt: skip
    messages.append(_joined(room, user, name, in_call))
    if old is not None or _becomes_host(room, body.role):
        changes["host"] = user
        messages.append(host_changed(room, user))
    if room.empty_since:
        changes["empty_since"] = 0.0
    if room.seq == 0:
        changes["settings"] = msgspec.structs.replace(room.settings, pin=body.pin, invite=body.invite)
    details = {"username": name} if old is None else {"username": name, "was": old.user_id}
    # Most newcomers begin and end no wait. A look for the next one would copy the room.
    reschedule = claimed is not None or "host" in changes or room.empty_since != 0.0
    decision = Decision(
        EventType.USER_JOINED, changes, number_parts(*messages), details, skip=user, reschedule=reschedule
    )
    # A host from a token replaces an elected guest, for whose player the room no longer waits.
    return release(room, decision, now) if "host" in changes else decision


def _come_back(room: Room, member: Member, command: Command, body: Enter, name: str | None, now: float) -> Decision:
    _check_latest(member, command, body)
    by_token = has_token(member, body.token)
    token, next_token = member.token, member.next_token
    if by_token and is_same_secret(body.token, next_token):
        token, next_token = next_token, ""
    elif not by_token and body.new_token:
        token, next_token = (token, body.new_token) if token else (body.new_token, "")
    back = msgspec.structs.replace(
        member,
        username=name or member.username,
        conn=command.conn,
        lost_at=0.0,
        address=body.address or member.address,
        earlier=_earlier(member, body.address),
        token=token,
        next_token=next_token,
        identity_proven=member.identity_proven or by_token or body.id is not None,
        # The client of the token needs no other proof.
        nonce=command.nonce if not by_token or is_unguessable(command.nonce) else "",
        # A reloaded page does not watch yet, so that gates must not wait for it.
        watching=member.watching and body.resume and by_token,
        missed=member.missed if body.resume and by_token else 0,
        role=body.role,
        name_from_token=body.named,
        since=member.since if by_token else room.seq + 1,
        follows=body.follows,
        schedules=body.schedules,
        status=member.status if body.resume and by_token else WATCHING,
        status_at=member.status_at if body.resume and by_token else 0.0,
        # A reloaded page has lost its connections to the others.
        in_call=member.in_call if body.resume and by_token else _not_in_call(body),
        attached_at=body.received_at,
    )
    changes: dict[str, Any] = {MEMBER + member.user_id: back}
    messages: list[m.LoggedMessage] = []
    host = room.host
    if not host and body.role != GUEST:
        changes["host"] = host = member.user_id
        messages.append(host_changed(room, host))
    if back.username and back.username != member.username:
        messages.append(
            m.UsernameUpdated(seq=room.seq + 1, prev=room.prev, user_id=member.user_id, username=back.username)
        )
    skip = ""
    if not (body.resume and by_token):
        skip = member.user_id
        messages = [_joined(room, member.user_id, back.username, _not_in_call(body))]
        if host == member.user_id:
            messages.append(host_changed(room, host))
    event = EventType.USER_RESUMED if body.resume and by_token else EventType.USER_REJOINED
    decision = Decision(
        event, changes, number_parts(*messages), {"username": back.username}, skip=skip, reschedule=True
    )
    if member.conn != command.conn and not body.resume and not believes_it_controls(room, member.user_id):
        playback = room.playback
        if playback.url and playback.titled_at > (member.lost_at or now) - DEAD_CONNECTION_SECONDS:
            decision.reply = m.UrlChanged(user_id=m.SERVER, url=playback.url)
    # The host's player starts again: the others do not wait for it.
    return release(room, decision, now) if host == member.user_id else decision


def _check_latest(member: Member, command: Command, body: Enter) -> None:
    """Raise RequestError if the client has joined over another connection while this JOIN waited."""
    if member.conn not in ("", command.conn) and 0.0 < body.received_at < member.attached_at:
        raise RequestError(ErrorCode.DETACHED, "JOIN: you have joined over another connection since.")


def _becomes_host(room: Room, role: str) -> bool:
    """Say whether a newcomer becomes host. role: its role from an auth token.

    The first member does. A newcomer with the role "host" replaces an elected guest.
    """
    host = room.members.get(room.host)
    if host is None:
        return role != GUEST
    return role == HOST and host.role == GUEST


def _earlier(member: Member, address: str) -> tuple[str, ...]:
    """Return the member's addresses before the present one, newest first."""
    if not address or address == member.address:
        return member.earlier
    others = (member.address, *(other for other in member.earlier if other != address))
    return tuple(other for other in others if other)[:MAX_EARLIER_ADDRESSES]


def _joined(room: Room, user: str, name: str | None, in_call: bool | None) -> m.UserJoined:
    return m.UserJoined(seq=room.seq + 1, prev=room.prev, user_id=user, username=name, in_call=in_call)


def _not_in_call(body: Enter) -> bool | None:
    """Return the `in_call` of a member that comes in: old clients do not say whether they take part."""
    return False if body.calls else None


def _check_pin(room: Room, body: Enter) -> None:
    pin = room.settings.pin
    if room.seq == 0 or pin is None:
        return
    if body.pin is None:
        raise RequestError(ErrorCode.BAD_PIN, "JOIN: this room has a PIN; send it in `pin`.")
    if body.pin.salt != pin.salt:
        raise StalePinError
    if not is_same_secret(body.pin.hash, pin.hash):
        raise RequestError(ErrorCode.BAD_PIN, "JOIN: `pin` is not this room's PIN.")


def greeting(
    room: Room,
    user: str,
    now: float,
    features: tuple[str, ...],
    *,
    first: bool,
    controls: bool,
    resumed: bool | None,
    token: str | None,
    sync: m.DriftPolicy | None = None,
    with_users: bool = True,
    ice: m.IceServers | None = None,
) -> list[m.ServerMessage]:
    """Return the messages to the joining member, in order. The commit of its JOIN has been applied.

    features: as in `state_of`.
    first: whether this is the first admission of the user id.
    controls: whether the member may control the film.
    resumed: whether the member has received all missed messages; None if it did not ask for them.
    token: the new resume token, None for none.
    sync: the corrections that clients make to their players.
    with_users: as in `state_of`.
    ice: the ICE servers of the member, None if its client did not ask for them.
    """
    playback = room.playback
    state = state_of(room, now, features, resumed=resumed, token=token, sync=sync, with_users=with_users, ice=ice)
    messages: list[m.ServerMessage] = [state]
    if user in room.moderation.delegates:
        messages.append(permissions.own_control(room, user))
    if user == room.host and (bans := moderation.active(room.moderation, now)):
        messages.append(moderation.bans_message(bans))
    if resumed:
        return messages
    was_here = any(other.user_id == user for other in room.departed)
    if was_here or not first:
        # The client may still show members that left while it was away, because ROOM_STATE does not remove members from the
        # screen of an old client. It does not learn of members that left before it came. If an old client has left and come
        # back, an earlier greeting may have been lost with its connection.
        since = -1 if first or (was_here and resumed is None) else room.members[user].order
        for other in room.departed:
            if other.user_id not in room.members and (other.seq > since or not other.seq):
                messages += [m.LegacyLeave(user_id=other.user_id), m.UserLeft(user_id=other.user_id)]
    if first and not controls and playback.url:
        messages.append(m.UrlChanged(user_id=m.SERVER, url=playback.url))
    if room.gate is not None or (user != room.host and playback.known):
        messages.append(sync_message(room, now))
    return messages


def present_state(
    room: Room,
    user: str,
    now: float,
    features: tuple[str, ...],
    *,
    sync: m.DriftPolicy | None = None,
    with_users: bool = True,
) -> list[m.ServerMessage]:
    """Return the messages to a member whose command was about an earlier state of the room.

    features, with_users: as in `state_of`. sync: as in `greeting`.
    """
    told: list[m.ServerMessage] = [state_of(room, now, features, sync=sync, with_users=with_users)]
    if user == room.host and (bans := moderation.active(room.moderation, now)):
        told.append(moderation.bans_message(bans))
    if room.gate is not None or (user != room.host and room.playback.known):
        # For old clients, whose players ROOM_STATE does not move.
        told.append(sync_message(room, now))
    return told


def users_of(members: Iterable[Member]) -> list[m.User]:
    """Return members as others see them."""
    return [
        m.User(member.user_id, member.username, None if member.status == WATCHING else member.status, member.in_call)
        for member in members
    ]


def state_of(
    room: Room,
    now: float,
    features: tuple[str, ...],
    *,
    resumed: bool | None = None,
    token: str | None = None,
    sync: m.DriftPolicy | None = None,
    with_users: bool = True,
    ice: m.IceServers | None = None,
) -> m.RoomState:
    """Return the ROOM_STATE of the room at server time `now`.

    features: the abilities of the node, see `messages.features`.
    resumed, token, sync, ice: as in `greeting`. with_users: whether it lists the users; False if the caller adds them.
    """
    start = room.playback.moment(now)
    return m.RoomState(
        room_id=room.room_id,
        url=room.playback.url,
        current_time=room.playback.position_at(now),
        is_playing=room.playback.playing,
        host_user_id=room.host or None,
        guest_control_enabled=room.settings.guest_control,
        users=users_of(room.members.values()) if with_users else [],
        epoch=room.epoch,
        seq=room.seq,
        prev=room.prev,
        server_time=int(now * 1000),
        protocol=m.PROTOCOL,
        features=features,
        at=milliseconds(start) if start > now else None,
        rate=room.playback.unusual_rate,
        token=token,
        resumed=resumed,
        gate=m.GateState(room.gate.position, list(room.gate.pending)) if room.gate else None,
        locked=room.moderation.locked,
        controllers=list(room.moderation.delegates),
        wait_for_buffering=room.settings.wait_for_buffering,
        sync=sync,
        ice_servers=ice.ice_servers if ice is not None else None,
        ice_servers_ttl_ms=ice.ice_servers_ttl_ms if ice is not None else None,
        relay_only=ice is not None and ice.relay_only,
    )
