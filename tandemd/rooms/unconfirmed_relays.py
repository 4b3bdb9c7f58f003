"""Relays to one connection that its client has not confirmed by a sign of life. Its next connection receives them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

MAX_RELAYS = 200
"""The relays that are kept for one connection. The oldest are dropped first."""
MAX_BYTES = 256 * 1024
"""The size of these relays together."""
RESENT = b"\0"
"""The first byte of a relay that is sent for the second time. No frame begins with it."""


class UnconfirmedRelays:
    """The relays of one connection, in order: those before the last check, `_older` of them, and those since.

    A sign of life between two checks shows that the client has received all relays from before the first check. A later relay
    may have crossed the sign of life on the way.
    """

    __slots__ = ("_older", "_relays", "_size")

    def __init__(self) -> None:
        self._relays: deque[bytes] = deque()
        self._older = 0
        self._size = 0

    def __len__(self) -> int:
        return len(self._relays)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._relays)

    def add(self, frame: bytes) -> None:
        """Add a relay that is being written."""
        self._relays.append(frame)
        self._size += len(frame)
        while self._size > MAX_BYTES or len(self._relays) > MAX_RELAYS:
            self._drop()

    def check(self, *, alive: bool) -> None:
        """Drop the relays that the client has received. Call it about once a second.

        alive: whether the client has sent anything since the last check.
        """
        if alive:
            while self._older:
                self._drop()
        self._older = len(self._relays)

    def _drop(self) -> None:
        self._size -= len(self._relays.popleft())
        if self._older:
            self._older -= 1
