"""Pacing of writes that replace a whole value: the larger the value, the less often it is written."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

SMALL_BYTES = 16 * 1024
"""Size up to which a value is written at each change."""
BYTES_PER_SECOND = 64 * 1024
"""Rate for larger values. Two writes are at least a second apart."""


class WritePacing:
    """Knows for each value when it may be written again.

    A large room would otherwise cause megabytes of writes per second for a few words of one member.
    """

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._due_at: dict[str, float] = {}

    def due_at(self, name: str) -> float:
        """Return the earliest time of the next write, by the clock; 0.0 for now."""
        return self._due_at.get(name, 0.0)

    def written(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Note writes. sizes: pairs of name and bytes."""
        now = self._clock.seconds()
        self._due_at = {name: at for name, at in self._due_at.items() if at > now}
        for name, size in sizes:
            if size > SMALL_BYTES:
                self._due_at[name] = now + max(1.0, size / BYTES_PER_SECOND)
