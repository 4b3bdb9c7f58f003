"""Proofs of identity: which JOIN speaks for a member, and when a member counts as dead."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec

from .commands import Decision, Enter
from .event_types import EventType
from .membership import with_departed
from .message_builders import host_changed, number_parts, user_left
from .state import MEMBER, Member, Room

MIN_SECRET_NONCE_LENGTH = 12
"""Length in characters from which a nonce counts as secret, because others cannot guess it."""

TAKEOVER_SECONDS = 5.0
"""Time for which a lost member must be without connection before a JOIN without proof can speak for it.

Meanwhile its own client can come back. It applies to members that cannot prove themselves, and to the host that may have come
back under another user id."""

PROBE_INTERVAL_SECONDS = 1.0
"""Shortest time between two requests to probe the connection of a member on another node."""


def proves_identity(member: Member, conn: str, nonce: str, body: Enter) -> bool:
    """Say whether a JOIN proves that its sender is the member.

    Proofs are the role in an auth token, the resume token, the same connection, or the same nonce from the same address. If
    the nonce can be guessed, the member's connection must be dead.
    The address alone is enough only for old clients without another proof. They keep superseded connections open, so that the
    member's connection may be alive. Other clients wait until it is dead.
    """
    if body.role or has_token(member, body.token) or member.conn == conn:
        return True
    if not body.address or body.address != member.address:
        return False
    if is_same_secret(nonce, member.nonce) and (is_unguessable(nonce) or not member.conn):
        # The client lost the answer to its last JOIN, and with it the token.
        return True
    return not member.has_secret and not (body.modern and member.conn)


def may_take_over(member: Member, nonce: str, now: float) -> bool:
    """Say whether a JOIN that proves nothing can speak for a member: a lost one, which cannot prove itself from any address.

    Its client may have another address now, so that it would stay outside until the end of the grace period. A secret nonce
    proves the client also from another address, because ROOM_STATE and the token in it may have been lost.
    """
    return is_known_dead(member, now) and (
        not can_prove_itself(member) or (is_unguessable(nonce) and is_same_secret(nonce, member.nonce))
    )


def is_known_dead(member: Member, now: float) -> bool:
    """Say whether a member has no connection, and its client has had `TAKEOVER_SECONDS` to come back."""
    return not member.conn and now - member.lost_at >= TAKEOVER_SECONDS


def seconds_to_takeover(room: Room, user: str, address: str, now: float) -> float:
    """Return in how many seconds a refused JOIN may be accepted, because a lost member counts as dead then.

    0.0 if no such time lies ahead. The member is the one with this user id, else a host at this address.
    """
    member = room.members.get(user)
    if member is None:
        member = room.members.get(room.host)
        if member is None or member.address != address:
            return 0.0
    return 0.0 if member.conn else max(0.0, member.lost_at + TAKEOVER_SECONDS - now)


def request_probe(room: Room, user: str, now: float) -> Decision:
    """Note on a member that its node shall probe its connection, at most every `PROBE_INTERVAL_SECONDS`."""
    member = room.members.get(user)
    if member is None or not member.conn or now - member.probed_at < PROBE_INTERVAL_SECONDS:
        return Decision()
    return Decision(changes={MEMBER + user: msgspec.structs.replace(member, probed_at=now)})


def claimed_host(room: Room, body: Enter, name: str | None) -> Member | None:
    """Return the host if the JOIN has its address and name, and the host has no stronger proof of identity; else None."""
    host = room.members.get(room.host)
    if host is None or host.has_secret or body.role or not body.address or name is None:
        return None
    return host if (host.address, host.username) == (body.address, name) else None


def successor(room: Room) -> tuple[Member, Member] | None:
    """Return the lost host, and the member that may be the same person under another user id; None if no member may be.

    An old client whose service worker restarted has a new user id. It joins after the loss of its old connection, or at most
    `TAKEOVER_SECONDS` before the server notices the loss.
    """
    host = room.members.get(room.host)
    if host is None or host.conn:
        return None
    heirs = [
        member
        for member in room.members.values()
        if member.successor_of == host.user_id and member.conn and member.joined_at >= host.lost_at - TAKEOVER_SECONDS
    ]
    return (host, max(heirs, key=lambda heir: heir.order)) if heirs else None


def succeed(room: Room, now: float, floor: float) -> Decision | None:
    """Make the successor host in place of the lost host, whose membership ends, when the host is known to be dead.

    floor: server time before which no absence begins. None if nothing is due.
    """
    succession = successor(room)
    if succession is None:
        return None
    host, heir = succession
    if max(host.lost_at, floor) + TAKEOVER_SECONDS > now:
        return None
    changes: dict[str, Any] = {
        MEMBER + host.user_id: None,
        MEMBER + heir.user_id: msgspec.structs.replace(heir, order=host.order, successor_of=""),
        "departed": with_departed(room, [host], now),
        "host": heir.user_id,
    }
    if host.user_id in room.moderation.delegates:
        changes["moderation"] = room.moderation.without(host.user_id)
    messages = number_parts(*user_left(room, host.user_id), host_changed(room, heir.user_id))
    details = {"reason": "lost", "user": host.user_id, "host": heir.user_id}
    return Decision(EventType.HOST_CHANGED, changes, messages, details, reschedule=True)


def has_token(member: Member, token: str) -> bool:
    """Say whether a token is valid for a member. token: SHA-256 in hexadecimal, "" for none."""
    return bool(token) and (is_same_secret(token, member.token) or is_same_secret(token, member.next_token))


def is_unguessable(nonce: str) -> bool:
    """Say whether a nonce counts as secret."""
    return len(nonce) >= MIN_SECRET_NONCE_LENGTH


def can_prove_itself(member: Member) -> bool:
    """Say whether the client of a member has something that proves its identity from any address.

    A client that only sends ids has not.
    """
    return bool(member.token or member.role) or is_unguessable(member.nonce)


def is_same_secret(a: str, b: str) -> bool:
    """Compare secrets in constant time. Empty ones are never equal."""
    return bool(b) and hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))
