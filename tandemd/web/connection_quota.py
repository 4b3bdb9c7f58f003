"""HTTP connections are bounded: those on which a request is awaited, and all of them, from accept to close."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ..ratelimit import scopes

SHARE = 8
"""How many connections `Ending` ends in one turn of the reactor, at some 0.1 ms each."""


class Channel(Protocol):
    """A connection that may be dropped."""

    def drop(self) -> None:
        """End it at once."""


class Quota:
    """Connections in the order in which they came. Where there are too many, the oldest goes.

    An honest client has said what it wants, and taken the answer, within a moment; so its turn does not come.

    most: in all; per_address: of one address, and as `ratelimit.scopes` says of the network around it; 0: any number. dropped:
    called for each that had to go.
    """

    def __init__(self, most: int = 0, per_address: int = 0, dropped: Callable[[], None] = lambda: None):
        self._most = most
        self._per_address = per_address
        self._dropped = dropped
        # Dictionaries keep the order in which things were put into them.
        self._all: dict[Channel, str] = {}
        self._by_scope: dict[str, dict[Channel, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, channel: Channel, address: str) -> None:
        """Count a connection, as the newest. address: as rules by address use it, '' for none."""
        self.end(channel)
        self._all[channel] = address
        for scope in scopes(address):
            same = self._by_scope.setdefault(scope.name, {})
            same[channel] = None
            if 0 < self._per_address * scope.times < len(same):
                self._drop(next(iter(same)))
        if 0 < self._most < len(self._all):
            self._drop(next(iter(self._all)))

    def end(self, channel: Channel) -> None:
        """Count it no more; to be told once or more."""
        for scope in scopes(self._all.pop(channel, "")):
            same = self._by_scope.get(scope.name, {})
            same.pop(channel, None)
            if not same:
                self._by_scope.pop(scope.name, None)

    def _drop(self, channel: Channel) -> None:
        self.end(channel)
        self._dropped()
        channel.drop()


class Ending:
    """Ends connections, a share of them in each turn of the reactor.

    Thousands that were opened together reach their time limits together, and ending one takes 0.1 to 0.2 ms.
    """

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._left: deque[Callable[[], None]] = deque()

    def add(self, end: Callable[[], None]) -> None:
        """Call `end`, after those that were added before."""
        self._left.append(end)
        if len(self._left) == 1:
            self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        for _ in range(min(SHARE, len(self._left))):
            # It stays in the queue meanwhile: what it leads to must not begin a second round of turns.
            self._left[0]()
            self._left.popleft()
        if self._left:
            self._clock.callLater(0, self._go_on)
