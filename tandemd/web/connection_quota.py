"""Bounds for HTTP connections. When a bound is exceeded, the oldest connection is dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..metrics import LabeledCounter
from ..ratelimit import scopes

log = Logger()

CLOSES_PER_ITERATION = 8
"""Connections that `CloseQueue` closes in one iteration of the reactor, at some 0.1 ms each."""


class Channel(Protocol):
    """A connection that may be dropped."""

    def drop(self) -> None:
        """Drop the connection at once."""


class Quota:
    """A bounded set of connections. If one is too many, the oldest is dropped.

    An honest client completes its request and reads the response within a moment, so it is not dropped.

    most: the bound for all connections; 0: none.
    per_address: the bound for one address, and by `ratelimit.scopes` for the network around it; 0: none.
    limited, reason: the counter of dropped connections, and their label in it.
    """

    def __init__(self, most: int = 0, per_address: int = 0, limited: LabeledCounter | None = None, reason: str = ""):
        self._most = most
        self._per_address = per_address
        self._limited = limited
        self._reason = reason
        # Dictionaries keep the order in which things were put into them.
        self._all: dict[Channel, str] = {}
        self._by_scope: dict[str, dict[Channel, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, channel: Channel, address: str) -> None:
        """Add a connection as the newest. address: the one for rules by address, '' for none."""
        self.remove(channel)
        self._all[channel] = address
        for scope in scopes(address):
            same = self._by_scope.setdefault(scope.name, {})
            same[channel] = None
            if 0 < self._per_address * scope.times < len(same):
                self._drop(next(iter(same)))
        if 0 < self._most < len(self._all):
            self._drop(next(iter(self._all)))

    def remove(self, channel: Channel) -> None:
        """Remove a connection. May be called repeatedly."""
        for scope in scopes(self._all.pop(channel, "")):
            same = self._by_scope.get(scope.name, {})
            same.pop(channel, None)
            if not same:
                self._by_scope.pop(scope.name, None)

    def _drop(self, channel: Channel) -> None:
        self.remove(channel)
        if self._limited is not None:
            self._limited[self._reason] += 1
        channel.drop()


class CloseQueue:
    """Closes connections, a few in each iteration of the reactor.

    Thousands of connections that were opened together reach their time limits together, and closing one takes 0.1 to 0.2 ms.
    """

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._left: deque[Callable[[], object]] = deque()

    def add(self, end: Callable[[], object]) -> None:
        """Call `end` after the functions that were added before."""
        self._left.append(end)
        if len(self._left) == 1:
            self._clock.callLater(0, self._continue)

    def _continue(self) -> None:
        for _ in range(min(CLOSES_PER_ITERATION, len(self._left))):
            # The entry stays in the queue during the call, so that an `add` within it schedules no second round.
            try:
                self._left[0]()
            except Exception:
                log.failure("failed to close a connection", event="close_failed")
            self._left.popleft()
        if self._left:
            self._clock.callLater(0, self._continue)
