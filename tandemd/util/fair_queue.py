"""A queue for slow work that many clients can request."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from .lifo_semaphore import QueueFullError


class FairQueue:
    """Does one piece of work at a time: one of each key in turn, the oldest of a key first.

    So a client that requests much delays its own requests, and those of others by one piece of work each.

    run: starts a function with arguments, perhaps in a thread, and returns its result.
    most: the number of waiting pieces of one key; beyond it, the oldest one fails.
    """

    def __init__(self, run: Callable[..., Deferred[Any]], most: int):
        self._run = run
        self._most = most
        self._busy = False
        self._waiting: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()

    async def call(self, key: str, function: Callable[..., Any], *arguments: object) -> Any:
        """Return the result of the function. Raise QueueFullError.

        While the work waits, its cancellation removes it; later the work is completed in vain.
        """
        if self._busy:
            await self._turn(key)
        self._busy = True
        # If this caller is cancelled, the next one still has to wait for the end of the work.
        result: Deferred[Any] = Deferred()
        self._run(function, *arguments).addBoth(self._done, result)
        return await result

    def _turn(self, key: str) -> Deferred[None]:
        turn: Deferred[None] = Deferred(lambda cancelled: self._remove(key, cancelled))
        line = self._waiting.setdefault(key, deque())
        line.append(turn)
        if len(line) > self._most:
            line.popleft().errback(QueueFullError())
        return turn

    def _remove(self, key: str, turn: Deferred[None]) -> None:
        line = self._waiting[key]
        line.remove(turn)
        if not line:
            del self._waiting[key]

    def _done(self, outcome: Any, result: Deferred[Any]) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            key, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            if line:
                self._waiting[key] = line
            turn.callback(None)
        if not result.called:
            result.callback(outcome)  # a Failure fails it
