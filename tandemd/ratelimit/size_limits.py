"""How many bytes a room may hold, whatever its members send."""

from __future__ import annotations

from msgspec import Struct


class Bounds(Struct, frozen=True):
    """Bytes, of JSON as it is stored or sent. See the section `limits` of the configuration.

    commit: of one change. log: of the changes that are kept for members that come back. replay: of the changes that one
    of them is told. mailbox: of what waits for one member whose connection is lost.
    """

    commit: int = 128 * 1024
    log: int = 256 * 1024
    replay: int = 256 * 1024
    mailbox: int = 256 * 1024


ENDED_LOG = 16 * 1024
"""Bytes of the log that stay when a room has ended, or its last member has gone: for nodes that have still to hear of that."""
