"""What the archive is to know of, on its way there: a stream in Redis, and a file while the stream is full."""

from __future__ import annotations

import base64
import os
from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..metrics import Metrics
from ..room.state import Room
from .link import Disconnected, Link, RedisError

KEPT = 50_000
"""How many of its own entries a node keeps at most, in case Redis loses them before the archive has them."""


class Journal:
    """This node's side of the journal.

    length: entries in the stream from which on they go to the spool, a file of this node, until there is room again.
    """

    _log = Logger()

    def __init__(self, link: Link, stream: bytes, length: int, spool: str, metrics: Metrics):
        self._link = link
        self._stream = stream
        self._length = length
        self._path = spool
        self._metrics = metrics
        self._kept: deque[tuple[tuple[int, int], tuple[bytes, bytes, bytes]]] = deque(maxlen=KEPT)
        self._spooled = os.path.getsize(spool) if os.path.exists(spool) else 0

    def written(self, room: Room, entries: Sequence[bytes], ids: Sequence[bytes], *, full: bool) -> None:
        """Take note of what a commit has put into the stream, or not because that is full."""
        if full and entries:
            self._spool([(room.id.encode(), room.code.encode(), entry) for entry in entries])
            return
        for id_, entry in zip(ids, entries, strict=False):
            self._kept.append((_id(id_), (room.id.encode(), room.code.encode(), entry)))

    def again(self) -> None:
        """Put everything that may not be in the archive into the stream once more: Redis may have lost it."""
        kept, self._kept = self._kept, deque(maxlen=KEPT)
        for _, entry in kept:
            self._add(entry)

    def _add(self, entry: tuple[bytes, bytes, bytes]) -> None:
        def added(id_: bytes) -> None:
            self._kept.append((_id(id_), entry))

        added_at = self._link.call(b"XADD", self._stream, b"*", b"r", entry[0], b"k", entry[1], b"c", entry[2])
        added_at.addCallbacks(added, lambda failure: self._spool([entry]))

    def tidy(self) -> Deferred[None]:
        """Forget what the archive has, and bring back what was spooled. To be called about once a second."""
        return Deferred.fromCoroutine(self._tidy())

    async def _tidy(self) -> None:
        if not self._link.usable:
            return
        last = self._kept[-1][0] if self._kept else None
        try:
            first = await self._link.call(b"XRANGE", self._stream, b"-", b"+", b"COUNT", b"1")
            length = int(await self._link.call(b"XLEN", self._stream))
        except (Disconnected, RedisError):
            return
        self._metrics.journal_length.value = length
        oldest = _id(first[0][0]) if first else None
        while (
            self._kept
            and last is not None
            and self._kept[0][0] <= last
            and (oldest is None or self._kept[0][0] < oldest)
        ):
            self._kept.popleft()
        if self._spooled and length < self._length // 2:
            await self._unspool()

    # -- the spool

    def _spool(self, entries: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        if not self._spooled:
            self._log.warn("the journal in Redis is full: changes go to {path}", path=self._path)
        lines = b"".join(b" ".join(base64.b64encode(part) for part in entry) + b"\n" for entry in entries)
        with open(self._path, "ab", opener=_private) as file:
            file.write(lines)
        self._spooled += len(lines)
        self._metrics.spooled.value = self._spooled

    async def _unspool(self) -> None:
        moving = self._path + ".moving"
        if not os.path.exists(moving):
            os.replace(self._path, moving)
            self._spooled = 0
        with open(moving, "rb") as file:
            entries = [[base64.b64decode(part) for part in line.split(b" ")] for line in file]
        try:
            for room, code, entry in entries:
                await self._link.call(b"XADD", self._stream, b"*", b"r", room, b"k", code, b"c", entry)
        except (Disconnected, RedisError):
            self._spooled = max(self._spooled, 1)  # once more from its beginning: the archive takes nothing twice
            return
        os.unlink(moving)
        self._metrics.spooled.value = self._spooled
        self._log.info("{count} spooled changes are in the journal", count=len(entries))

    def close(self) -> None:
        """Keep what the stream may have lost, in the spool, if Redis is away."""
        if not self._link.usable and self._kept:
            self._spool([entry for _, entry in self._kept])


def _id(text: bytes) -> tuple[int, int]:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
