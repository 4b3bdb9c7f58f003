"""HTTP connections that have said nothing yet, or nothing whole: only so many are waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Channel(Protocol):
    """A connection that may be dropped."""

    def drop(self) -> None:
        """End it at once."""


class Waiting:
    """Connections on which a request is awaited. Where there are too many, the one that has been waited for longest goes.

    Who comes honestly has said what it wants within a moment; so it is never its turn to go.

    most: in all; per_address: of one address; 0: any number. dropped: called for each that had to go.
    """

    def __init__(self, most: int = 0, per_address: int = 0, dropped: Callable[[], None] = lambda: None):
        self._most = most
        self._per_address = per_address
        self._dropped = dropped
        # Dictionaries keep the order in which things were put into them.
        self._all: dict[Channel, str] = {}
        self._by_address: dict[str, dict[Channel, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, channel: Channel, address: str) -> None:
        """A request is awaited. address: as rules by address use it, '' for none."""
        self._all[channel] = address
        if address:
            same = self._by_address.setdefault(address, {})
            same[channel] = None
            if 0 < self._per_address < len(same):
                self._drop(next(iter(same)))
        if 0 < self._most < len(self._all):
            self._drop(next(iter(self._all)))

    def end(self, channel: Channel) -> None:
        """It has come, or the connection is gone; to be told once or more."""
        address = self._all.pop(channel, "")
        if address:
            same = self._by_address[address]
            del same[channel]
            if not same:
                del self._by_address[address]

    def _drop(self, channel: Channel) -> None:
        self.end(channel)
        self._dropped()
        channel.drop()
