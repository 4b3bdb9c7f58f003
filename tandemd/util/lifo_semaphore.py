"""Taking turns at something that keeps a processor busy."""

from __future__ import annotations

from twisted.internet.defer import Deferred


class QueueFullError(Exception):
    """Too many wait for a turn, and newer ones have come."""


class LifoSemaphore:
    """A few at a time, one for each asker, the newest first.

    If more wait than can be served soon, those who came last are served in time, and not all too late.
    at_once: how many may have a turn. most: how many may wait; beyond that, the one who waits longest is turned away.
    """

    def __init__(self, at_once: int = 2, most: int = 500):
        self._at_once = at_once
        self._most = most
        self._busy: list[str] = []
        self._waiting: list[tuple[str, Deferred[None]]] = []
        self._choosing = False

    def acquire(self, who: str) -> Deferred[None]:
        """Fire when it is the asker's turn, perhaps at once; `end` is to be called then. Fails with Crowded."""
        turn: Deferred[None] = Deferred()
        self._waiting.append((who, turn))
        self._next()
        if len(self._waiting) > self._most:
            self._waiting.pop(0)[1].errback(QueueFullError())
        return turn

    def release(self, who: str) -> None:
        """The asker's turn is over."""
        self._busy.remove(who)
        self._next()

    def _next(self) -> None:
        # A turn may be over as soon as it has begun: that must not nest, for as many turns as wait.
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
                who, turn = self._waiting[place]
                if who not in self._busy:
                    del self._waiting[place]
                    self._busy.append(who)
                    return turn
        return None
