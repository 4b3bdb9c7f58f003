"""A semaphore for work that keeps a processor busy."""

from __future__ import annotations

from twisted.internet.defer import Deferred


class QueueFullError(Exception):
    """Too many callers wait, and newer ones have arrived."""


class LifoSemaphore:
    """Admits a few holders at a time, one for each key, the newest caller first.

    Under overload, the newest callers are served in time; in order of arrival, all would be served too late.

    at_once: the number of holders.
    most: the number of waiting callers; beyond it, the oldest one fails.
    """

    def __init__(self, at_once: int = 2, most: int = 500):
        self._at_once = at_once
        self._most = most
        self._busy: list[str] = []
        self._waiting: list[tuple[str, Deferred[None]]] = []
        self._choosing = False

    def acquire(self, key: str) -> Deferred[None]:
        """Fire when the caller is admitted, perhaps at once. It must call `release` then. Fail with QueueFullError."""
        turn: Deferred[None] = Deferred()
        self._waiting.append((key, turn))
        self._next()
        if len(self._waiting) > self._most:
            self._waiting.pop(0)[1].errback(QueueFullError())
        return turn

    def release(self, key: str) -> None:
        """Admit the next caller."""
        self._busy.remove(key)
        self._next()

    def _next(self) -> None:
        # A holder may release at once. Without this check, the calls would nest as deep as the queue is long.
        if self._choosing:
            return
        self._choosing = True
        try:
            while (turn := self._choose()) is not None:
                turn.callback(None)
        finally:
            self._choosing = False

    def _choose(self) -> Deferred[None] | None:
        if len(self._busy) < self._at_once:
            for place in range(len(self._waiting) - 1, -1, -1):
                key, turn = self._waiting[place]
                if key not in self._busy:
                    del self._waiting[place]
                    self._busy.append(key)
                    return turn
        return None
