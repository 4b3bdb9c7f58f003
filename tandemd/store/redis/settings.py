"""The settings of the Redis store. This module imports no Redis client, so that a node without Redis can make them."""

from __future__ import annotations

from msgspec import Struct

from ...ratelimit.size_limits import Bounds


class RedisSettings(Struct, frozen=True):
    """Settings with the names of configuration keys are those keys.

    log_length: commits kept for each room. mail_seconds: how long a mailbox is kept. journal_length, journal_bytes: see
    `Journal`. bounds: bytes that a room may hold. offer_seconds: how long nodes may offer the rooms they hold to a server
    that may have lost them. settle_seconds: how long after that nodes put into the journal the commits that it may have lost.
    """

    log_length: int
    mail_seconds: int
    journal_length: int
    journal_bytes: int
    bounds: Bounds
    offer_seconds: float = 1.0
    settle_seconds: float = 5.0
