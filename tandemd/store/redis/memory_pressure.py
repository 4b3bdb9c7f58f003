"""The state of Redis' memory, and the measures before it is full."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .metrics import StoreMetrics

HIGH_SHARE, EASED_SHARE = 0.8, 0.75
"""Shares of maxmemory at which pressure begins and ends."""
REFUSAL_LOG_SECONDS = 60.0
"""Seconds between two log lines about refused changes."""
SHORT_LOG_COMMITS = 32
"""Commits in a log under pressure."""
SHORT_LOG_BYTES = 64 * 1024
"""Bytes of such a log."""


class Pressure:
    """Decides whether Redis' memory is short. Does no I/O.

    high: whether memory is short. New rooms wait then, and logs stay short.
    began: called when memory becomes short.
    eased: called when memory suffices again, and when Redis may accept changes again that it has rejected.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        metrics: StoreMetrics,
        began: Callable[[], None] = lambda: None,
        eased: Callable[[], None] = lambda: None,
    ):
        self.high = False
        self._full = False
        self._used = self._limit = 0
        self._clock = clock
        self._metrics = metrics
        self._began = began
        self._eased = eased
        self._said_at = -REFUSAL_LOG_SECONDS

    def measured(self, used: int, limit: int) -> None:
        """Record Redis' used memory and its limit in bytes; 0 is no limit."""
        self._used, self._limit = used, limit
        self._metrics.redis_memory.value = used
        self._metrics.redis_memory_limit.value = limit
        was_full, self._full = self._full, bool(limit) and used > limit
        if limit and used >= HIGH_SHARE * limit:
            self._rise()
        elif self.high and (not limit or used < EASED_SHARE * limit):
            self.high = False
            self._log.info("redis: memory is no longer short: rooms open again", event="redis_memory_sufficient")
            self._eased()
        if self.high and was_full and not self._full:
            self._eased()

    def refused(self) -> None:
        """Record a command that Redis has rejected because its memory is full."""
        self._metrics.redis_memory_refusals.value += 1
        self._full = True
        now = self._clock.seconds()
        if now >= self._said_at + REFUSAL_LOG_SECONDS:
            self._said_at = now
            self._log.error(
                "redis: memory is full, and Redis refuses changes: raise its maxmemory", event="redis_memory_full"
            )
        self._rise()

    def _rise(self) -> None:
        if not self.high:
            self.high = True
            self._log.warn(
                "redis: memory is short ({used} of {limit} bytes): new rooms wait, and logs of rooms are kept short",
                event="redis_memory_short",
                used=self._used,
                limit=self._limit,
            )
            self._began()

    def warning(self) -> str:
        """Return '' if Redis has enough memory, else the consequences, for operators."""
        if not self.high:
            return ""
        share = f" ({self._used / self._limit:.0%} of maxmemory)" if self._limit else ""
        if self._full:
            return f"the memory of Redis is full{share}: changes of rooms are refused, rooms still end; raise its maxmemory"
        return f"the memory of Redis is short{share}: new rooms wait, and a resume may need the whole state; raise its maxmemory"
