"""How often something is written that is written whole: the larger it is, the more seldom."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

SMALL = 16 * 1024
"""Bytes up to which it is written as often as it changes."""
A_SECOND = 64 * 1024
"""Bytes of a larger one that are written in a second, which is the shortest time between two."""


class WritePacing:
    """Knows when each may be written again.

    Writing all of a large room each time would be megabytes a second for a few words of one member.
    """

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._due_at: dict[str, float] = {}

    def due_at(self, name: str) -> float:
        """Return when it is to be written at the earliest, by the clock; 0.0 for at once."""
        return self._due_at.get(name, 0.0)

    def written(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Take note of what has been written. sizes: names, and bytes."""
        now = self._clock.seconds()
        self._due_at = {name: at for name, at in self._due_at.items() if at > now}
        for name, size in sizes:
            if size > SMALL:
                self._due_at[name] = now + max(1.0, size / A_SECOND)
