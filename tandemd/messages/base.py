"""Base classes of messages."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from .fields import Count


class ClientMessage(
    Struct, tag_field="type", rename="camel", frozen=True, gc=False, omit_defaults=True, kw_only=True
):  # fmt: skip
    """Every message of a client may carry this field.

    id: a counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id.
    """

    legacy: ClassVar[bool] = False
    """Whether only the old extension sends it. A new client does not need it."""
    id: Count | None = None


class ServerMessage(
    Struct, tag_field="type", rename="camel", frozen=True, gc=False, omit_defaults=True, kw_only=True
):  # fmt: skip
    """A message of the server."""

    legacy: ClassVar[bool] = False
    """Whether only the old extension uses it. A new client can ignore it."""


class SequencedMessage(ServerMessage, frozen=True, kw_only=True):
    """A message of a change of the room; all members receive these in the same order, without gaps or duplicates.

    seq: the number of the change. It grows; not every number carries a message. Absent in a message to a single member.
    prev: the seq of the last change before it that carried messages; a client that has not seen that one missed a message.
    part: [which, of how many], from 1, if the change carries several messages.
    replayed: true for a missed message, after a resume. Show it; do not let it drive the player.
    """

    seq: Count | None = None
    prev: Count = 0
    part: tuple[int, int] | None = None
    replayed: bool = False
