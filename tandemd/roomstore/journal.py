"""What the archive is to know of, on its way there: a stream in Redis, and a file while the stream is full."""

from __future__ import annotations

import base64
import binascii
import os
from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..metrics import Metrics
from ..room.state import Room
from .access import Access
from .keys import JOURNAL, STORE
from .link import Disconnected, RedisError, answers

KEPT = 50_000
"""How many of its own entries a node keeps at most, in case Redis loses them before the archive has them."""
MOVED_AT_ONCE = 2000
"""Entries that go back from the spool to the stream in one go."""

Entry = tuple[bytes, bytes, bytes]
"""Room UUID, code, and the commit as codec.encode_commit makes it for the journal."""


class Journal:
    """This node's side of the journal.

    length: entries in the stream from which on they go to the spool, a file of this node, until there is room again.
    """

    _log = Logger()

    def __init__(self, access: Access, length: int, spool: str, metrics: Metrics):
        self._access = access
        self._length = length
        self._path = spool
        self._moving = spool + ".moving"
        self._metrics = metrics
        self._kept: deque[tuple[tuple[int, int], Entry]] = deque(maxlen=KEPT)
        self._unwritten: deque[Entry] = deque(maxlen=KEPT)
        self._moved = 0
        self._full = False
        _end_line(spool)
        self._measure_spool()

    def written(self, room: Room, entries: Sequence[bytes], ids: Sequence[bytes], *, full: bool) -> None:
        """Take note of what a commit has put into the stream, or not because that is full."""
        if full and entries:
            if not self._full:
                self._log.warn("the journal in Redis is full: changes go to {path}", path=self._path)
                self._full = True
            self._spool([(room.id.encode(), room.code.encode(), entry) for entry in entries])
            return
        for id_, entry in zip(ids, entries, strict=True):
            self._kept.append((_id(id_), (room.id.encode(), room.code.encode(), entry)))

    def put(self, room: Room, entries: Sequence[bytes]) -> None:
        """Put entries of a commit into the stream that may be there already; the archive takes nothing twice."""
        for entry in entries:
            self._add((room.id.encode(), room.code.encode(), entry))

    def again(self) -> None:
        """Put everything that may not be in the archive into the stream once more: Redis may have lost it."""
        kept, self._kept = self._kept, deque(maxlen=KEPT)
        for _, entry in kept:
            self._add(entry)

    def _add(self, entry: Entry) -> Deferred[None]:
        def added(id_: bytes) -> None:
            self._kept.append((_id(id_), entry))

        def failed(failure: Failure) -> None:
            self._spool([entry])

        return self._access.link.call(
            b"XADD", JOURNAL, b"*", b"r", entry[0], b"k", entry[1], b"c", entry[2]
        ).addCallbacks(added, failed)

    def tidy(self) -> Deferred[None]:
        """Forget what the archive has, and bring back what was spooled. To be called about once a second."""
        return Deferred.fromCoroutine(self._tidy())

    async def _tidy(self) -> None:
        if not self._access.usable:
            return
        last = self._kept[-1][0] if self._kept else (0, 0)
        call = self._access.link.call
        try:
            first, length, number = await answers(
                [
                    call(b"XRANGE", JOURNAL, b"-", b"+", b"COUNT", b"1"),
                    call(b"XLEN", JOURNAL),
                    call(b"HGET", STORE, b"number"),
                ]
            )
        except (Disconnected, RedisError):
            return
        if number != self._access.incarnation:
            return  # an empty stream of a server that has lost its data does not mean that the archive has it
        oldest = _id(first[0][0]) if first else None
        self._metrics.journal_length.value = length
        self._metrics.journal_age.value = max(0.0, self._access.time.reference() - oldest[0] / 1000) if oldest else 0.0
        while self._kept and self._kept[0][0] <= last and (oldest is None or self._kept[0][0] < oldest):
            self._kept.popleft()
        for _ in range(len(self._unwritten)):
            self._add(self._unwritten.popleft())
        if self._spooled and length < self._length // 2:
            await self._unspool(min(MOVED_AT_ONCE, max(1, self._length // 2)))

    # -- the spool

    def _measure_spool(self) -> None:
        self._spooled = _size(self._path) + _size(self._moving)
        self._metrics.spooled.value = self._spooled

    def _spool(self, entries: Sequence[Entry]) -> None:
        lines = b"".join(b" ".join(base64.b64encode(part) for part in entry) + b"\n" for entry in entries)
        try:
            with open(self._path, "ab", opener=_private) as file:
                file.write(lines)
        except OSError as error:
            if not self._unwritten:
                self._log.error(
                    "changes for the archive are kept in memory: {path}: {error}", path=self._path, error=error
                )
            self._unwritten.extend(entries)
            return
        self._spooled += len(lines)
        self._metrics.spooled.value = self._spooled

    async def _unspool(self, count: int) -> None:
        """Move some entries back. Should that be interrupted, they are moved once more: the archive takes nothing twice."""
        if not os.path.exists(self._moving):
            os.replace(self._path, self._moving)
            self._moved = 0
        with open(self._moving, "rb") as file:
            file.seek(self._moved)
            lines = [line for _, line in zip(range(count), file, strict=False)]
            end = file.tell() if len(lines) < count else self._moved + sum(map(len, lines))
            over = end >= _size(self._moving)
        # What cannot be put there goes into the spool again.
        await gatherResults([self._add(entry) for entry in map(_entry, lines) if entry is not None])
        self._moved = end
        if over:
            os.unlink(self._moving)
            self._moved = 0
            self._full = False
            self._log.info("what was spooled is in the journal")
        self._measure_spool()

    def close(self) -> None:
        """Keep what the stream may have lost, in the spool, if Redis is away. No more is written after that."""
        if not self._access.link.usable and self._kept:
            self._spool([entry for _, entry in self._kept])
            self._kept.clear()


def _id(text: bytes) -> tuple[int, int]:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


def _entry(line: bytes) -> Entry | None:
    """Return the entry of a line, or None if it was not written to its end."""
    try:
        room, code, commit = (base64.b64decode(part, validate=True) for part in line.strip().split(b" "))
    except (binascii.Error, ValueError):
        return None
    return room, code, commit


def _end_line(path: str) -> None:
    """End a last line that was not written to its end."""
    if not _size(path):
        return
    with open(path, "rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.write(b"\n")


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
