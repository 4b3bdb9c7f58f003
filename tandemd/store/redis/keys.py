"""Names of keys in Redis; docs/architecture.md describes their contents."""

from __future__ import annotations

PREFIX = b"tandem:"

STORE = PREFIX + b"store"
"""Also the channel that announces a new incarnation."""
NODES = PREFIX + b"nodes"
DUE = PREFIX + b"due"
INVITES = PREFIX + b"invites"
JOURNAL = PREFIX + b"journal"
COMPLETING = PREFIX + b"completing"
PROBE = PREFIX + b"probe"
ROOM = PREFIX + b"room:"


def room_key(room_id: str) -> bytes:
    """Return the key of a room's hash, also the name of its channel."""
    return ROOM + room_id.encode()


def log_key(room_id: str) -> bytes:
    return PREFIX + b"log:" + room_id.encode()


def ended_key(room_id: str) -> bytes:
    """Return the key of the UUID of the last room with this room id, for a day after its end."""
    return PREFIX + b"ended:" + room_id.encode()


def mail_key(room_id: str, user_id: str) -> bytes:
    return PREFIX + b"mail:" + room_id.encode() + b"\x00" + user_id.encode()


def budget_key(name: str) -> bytes:
    """Return the key of a token bucket, a flag or a quota."""
    return PREFIX + b"budget:" + name.encode()


def places_key(prefix: str) -> bytes:
    """Return the key of the set of rooms with members of a node ("node/boot/")."""
    return PREFIX + b"at:" + prefix.encode()


def canary_key(prefix: str) -> bytes:
    """Return the channel of a node's canary."""
    return PREFIX + b"canary:" + prefix.encode()


def split(channel: bytes) -> tuple[bytes, bytes]:
    """Return the kind and the name in a key or channel."""
    kind, _, name = channel[len(PREFIX) :].partition(b":")
    return kind, name
