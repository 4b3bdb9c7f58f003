"""Limits for the bytes that a room holds."""

from __future__ import annotations

from msgspec import Struct


class Bounds(Struct, frozen=True):
    """Bytes, of JSON as it is stored or sent: the keys of the same names in the section `limits` of the configuration.

    commit_bytes: of one change.
    log_bytes: of the changes that are kept for members that resume.
    replay_bytes: of the changes that one resume replays.
    mailbox_bytes: of the relays that wait for one member without a connection.
    """

    commit_bytes: int
    log_bytes: int
    replay_bytes: int
    mailbox_bytes: int


ENDED_LOG = 16 * 1024
"""Bytes of the log that stay when a room has ended, or its last member has gone: for nodes that have not yet received the end."""
