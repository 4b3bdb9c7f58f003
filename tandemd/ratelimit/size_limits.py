"""How many bytes a room may hold, whatever its members send."""

from __future__ import annotations

from msgspec import Struct


class Bounds(Struct, frozen=True):
    """Bytes, of JSON as it is stored or sent: the keys of the same names in the section `limits` of the configuration.

    commit_bytes: of one change. log_bytes: of the changes that are kept for members that come back. replay_bytes: of the
    changes that one of them is told. mailbox_bytes: of what waits for one member whose connection is lost.
    """

    commit_bytes: int
    log_bytes: int
    replay_bytes: int
    mailbox_bytes: int


ENDED_LOG = 16 * 1024
"""Bytes of the log that stay when a room has ended, or its last member has gone: for nodes that have still to hear of that."""
