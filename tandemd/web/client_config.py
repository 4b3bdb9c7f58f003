"""The answer of /api/config, which a client needs before its JOIN."""

from __future__ import annotations

from msgspec import Struct


class ClientLimits(Struct, frozen=True, rename="camel"):
    """Limits of messages and rooms.

    frame_bytes: of a message, in UTF-8.
    title_length, chat_length: in characters; the server rejects more.
    username_length: in characters; the server cuts the rest.
    members_per_room: of each room.
    """

    frame_bytes: int
    title_length: int
    chat_length: int
    username_length: int
    members_per_room: int


class ClientConfig(Struct, frozen=True, rename="camel"):
    """The titles and limits of the node, and its version of the protocol. They do not change while the node runs.

    protocol, features: as in ROOM_STATE.
    titles: see `TitleAllowlist.entries`.
    """

    protocol: int
    features: tuple[str, ...]
    titles: tuple[str, ...]
    limits: ClientLimits
