"""What other members have sent to one connection, until its client has shown that it lives: else it gets that again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

MOST = 200
"""How many letters are kept for a connection; the oldest go first."""
MOST_BYTES = 256 * 1024
"""How long they may be together."""
AGAIN = b"\0"
"""Begins a letter that is handed over for the second time. No frame begins with it."""


class Letters:
    """Letters of one connection, in order: those before the last look, `_older` of them, and those since.

    A sign of life between two looks shows that the client has what was written before the first of them. What was written a
    moment before the sign may have crossed it on the way.
    """

    __slots__ = ("_kept", "_older", "_size")

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque()
        self._older = 0
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._kept)

    def add(self, frame: bytes) -> None:
        """Keep a frame that is being written."""
        self._kept.append(frame)
        self._size += len(frame)
        while self._size > MOST_BYTES or len(self._kept) > MOST:
            self._drop()

    def look(self, *, alive: bool) -> None:
        """Forget what the client has. alive: whether it has sent anything since the last look. To be called about once a second."""
        if alive:
            while self._older:
                self._drop()
        self._older = len(self._kept)

    def _drop(self) -> None:
        self._size -= len(self._kept.popleft())
        if self._older:
            self._older -= 1
