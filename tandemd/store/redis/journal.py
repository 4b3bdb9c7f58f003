"""The journal: entries for the archive in a stream in Redis, and in a file while the stream is full."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...rules.state import Room
from . import scripts
from .connection import DisconnectedError, RedisError
from .gateway import RedisGateway
from .keys import JOURNAL, STORE
from .metrics import StoreMetrics
from .replies import answers
from .spool import MAX_KEPT_ENTRIES, Entry, Spool

MOVE_BATCH_ENTRIES = 2000
"""Entries that return from the spool to the stream at a time."""
MOVE_BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of these entries, or one entry."""


class Journal:
    """A node's access to the journal. A node keeps its own entries (at most `MAX_KEPT_ENTRIES`), because Redis may lose them.

    length, size: entries and bytes in the stream from which on entries go to the spool.
    bounds: the same as arguments of scripts.
    """

    _log = Logger()

    def __init__(self, gateway: RedisGateway, length: int, size: int, spool: Spool, metrics: StoreMetrics):
        self._gateway = gateway
        self._length = length
        self._size = size
        self.bounds = b"%d" % length, b"%d" % size
        self._spool = spool
        self._metrics = metrics
        self._kept: deque[tuple[tuple[int, int], Entry]] = deque(maxlen=MAX_KEPT_ENTRIES)
        self._full = False

    def written(self, room: Room, entries: Sequence[bytes], ids: Sequence[bytes], *, full: bool) -> None:
        """Record the entries that a commit has appended, or spool them because the stream is full."""
        if full and entries:
            if not self._full:
                self._log.warn("redis: the journal is full; changes go to the spool of this node", event="journal_full")
                self._full = True
            self._spool.append([(room.room_uuid.encode(), room.room_id.encode(), entry) for entry in entries])
            return
        for id_, entry in zip(ids, entries, strict=True):
            self._kept.append((_id(id_), (room.room_uuid.encode(), room.room_id.encode(), entry)))

    def put(self, room: Room, entries: Sequence[bytes]) -> None:
        """Append entries that the stream may already have; the archive ignores duplicates."""
        for entry in entries:
            self._add((room.room_uuid.encode(), room.room_id.encode(), entry))

    def again(self) -> None:
        """Append all kept entries again, because Redis may have lost them."""
        kept, self._kept = self._kept, deque(maxlen=MAX_KEPT_ENTRIES)
        for _, entry in kept:
            self._add(entry)

    def _add(self, entry: Entry) -> Deferred[None]:
        def added(id_: bytes) -> None:
            if id_:
                self._kept.append((_id(id_), entry))
            else:
                self._spool.append([entry])

        def failed(failure: Failure) -> None:
            self._spool.append([entry])

        room_uuid, room_id, commit = entry
        run = self._gateway.link.run(
            scripts.JOURNAL_ADD,
            [JOURNAL, STORE],
            {
                "max_entries": self.bounds[0],
                "max_bytes": self.bounds[1],
                "room_uuid": room_uuid,
                "room_id": room_id,
                "entry": commit,
            },
        )
        return run.addCallbacks(added, failed)

    async def tidy(self) -> None:
        """Drop kept entries that the archive has, and return spooled ones to the stream. Called every second."""
        self._spool.flush()
        self._spool.measure()
        if not self._gateway.usable:
            return
        last = self._kept[-1][0] if self._kept else (0, 0)
        call = self._gateway.link.call
        try:
            first, length, (number, size) = await answers(
                [
                    call(b"XRANGE", JOURNAL, b"-", b"+", b"COUNT", b"1"),
                    call(b"XLEN", JOURNAL),
                    call(b"HMGET", STORE, b"number", b"journal"),
                ]
            )
        except (DisconnectedError, RedisError):
            return
        if number is None or number != self._gateway.incarnation:
            return  # the stream may be empty because the server has lost its data
        oldest = _id(first[0][0]) if first else None
        self._metrics.journal_length.value = length
        self._metrics.journal_bytes.value = int(size or 0) if length else 0
        self._metrics.journal_age.value = max(0.0, self._gateway.time.reference() - oldest[0] / 1000) if oldest else 0.0
        while self._kept and self._kept[0][0] <= last and (oldest is None or self._kept[0][0] < oldest):
            self._kept.popleft()
        await self._bring_back(length, int(size or 0) if length else 0)

    async def _bring_back(self, length: int, size: int) -> None:
        """Move some spooled entries to the stream, if it has space. length, size: entries and bytes in it."""
        spool = self._spool
        if spool.in_memory:
            # The disk fails, so entries are safer in the stream.
            if length < self._length and size < self._size:
                await self._add_all(spool.take_from_memory(MOVE_BATCH_ENTRIES))
        elif spool.on_disk and length < self._length // 2 and size < self._size // 2:
            try:
                most = min(MOVE_BATCH_ENTRIES, max(1, self._length // 2))
                await self._add_all(spool.read(most, min(MOVE_BATCH_BYTES, self._size // 2)))
                if spool.passed():
                    self._full = False
                    self._log.info("journal spool drained", event="spool_drained")
            except OSError as error:
                spool.failed(error)

    async def _add_all(self, entries: Sequence[Entry]) -> None:
        # Entries that the stream rejects return to the spool.
        await gatherResults([self._add(entry) for entry in entries])

    async def close(self) -> None:
        """Spool the kept entries if Redis is unavailable, and the entries in memory. Ends within seconds."""
        if self._gateway.link.usable:
            await self._add_all(self._spool.take_from_memory(MAX_KEPT_ENTRIES))
        elif self._kept:
            self._spool.append([entry for _, entry in self._kept])
            self._kept.clear()
        self._spool.close()


def _id(text: bytes) -> tuple[int, int]:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)
