"""The names under which everything is kept in Redis; docs/architecture.md tells what is kept there."""

from __future__ import annotations

PREFIX = b"tandem:"

STORE = PREFIX + b"store"
"""Also the channel on which a new incarnation is announced."""
NODES = PREFIX + b"nodes"
DUE = PREFIX + b"due"
INVITES = PREFIX + b"invites"
JOURNAL = PREFIX + b"journal"
COMPLETING = PREFIX + b"completing"
PROBE = PREFIX + b"probe"
ROOM = PREFIX + b"room:"


def room_key(room_id: str) -> bytes:
    """Return the key of a room's hash. The channel on which the room's followers are told things has the same name."""
    return ROOM + room_id.encode()


def log_key(room_id: str) -> bytes:
    return PREFIX + b"log:" + room_id.encode()


def ended_key(room_id: str) -> bytes:
    """Return the key that holds the UUID of the room that had this code last, for a day after its end."""
    return PREFIX + b"ended:" + room_id.encode()


def mail_key(room_id: str, user_id: str) -> bytes:
    return PREFIX + b"mail:" + room_id.encode() + b"\x00" + user_id.encode()


def budget_key(name: str) -> bytes:
    """Return the key of a budget, a mark or a share."""
    return PREFIX + b"budget:" + name.encode()


def places_key(prefix: str) -> bytes:
    """Return the key of the set of rooms in which a node ("node/boot/") has, or had, members."""
    return PREFIX + b"at:" + prefix.encode()


def canary_key(prefix: str) -> bytes:
    """Return the channel on which a node hears itself."""
    return PREFIX + b"canary:" + prefix.encode()


def split(channel: bytes) -> tuple[bytes, bytes]:
    """Return the kind and the name of what a key or channel is about."""
    kind, _, name = channel[len(PREFIX) :].partition(b":")
    return kind, name
