"""What the archive is to know of, on its way there: a stream in Redis, and a file while the stream is full."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...rules.state import Room
from . import scripts
from .connection import DisconnectedError, RedisError, answers
from .gateway import RedisGateway
from .keys import JOURNAL, STORE
from .metrics import StoreMetrics
from .spool import KEPT, Entry, Spool

MOVED_AT_ONCE = 2000
"""Entries that go back from the spool to the stream in one go."""
MOVED_BYTES = 4 * 1024 * 1024
"""Bytes of them, or one entry."""


class Journal:
    """This node's side of the journal. A node keeps its own entries (at most `KEPT`) in case Redis loses them.

    length, size: entries in the stream, and bytes of them, from which on they go to the spool until there is room again.
    bounds: the same as the scripts take them.
    """

    _log = Logger()

    def __init__(self, gateway: RedisGateway, length: int, size: int, spool: Spool, metrics: StoreMetrics):
        self._gateway = gateway
        self._length = length
        self._size = size
        self.bounds = b"%d" % length, b"%d" % size
        self._spool = spool
        self._metrics = metrics
        self._kept: deque[tuple[tuple[int, int], Entry]] = deque(maxlen=KEPT)
        self._full = False

    def written(self, room: Room, entries: Sequence[bytes], ids: Sequence[bytes], *, full: bool) -> None:
        """Take note of what a commit has put into the stream, or not because that is full."""
        if full and entries:
            if not self._full:
                self._log.warn("the journal in Redis is full: changes go to the spool of this node")
                self._full = True
            self._spool.append([(room.room_uuid.encode(), room.room_id.encode(), entry) for entry in entries])
            return
        for id_, entry in zip(ids, entries, strict=True):
            self._kept.append((_id(id_), (room.room_uuid.encode(), room.room_id.encode(), entry)))

    def put(self, room: Room, entries: Sequence[bytes]) -> None:
        """Put entries of a commit into the stream that may be there already; the archive takes nothing twice."""
        for entry in entries:
            self._add((room.room_uuid.encode(), room.room_id.encode(), entry))

    def again(self) -> None:
        """Put everything that may not be in the archive into the stream once more: Redis may have lost it."""
        kept, self._kept = self._kept, deque(maxlen=KEPT)
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
        """Forget what the archive has, and bring back what was spooled. To be called about once a second."""
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
        if number != self._gateway.incarnation:
            return  # an empty stream of a server that has lost its data does not mean that the archive has it
        oldest = _id(first[0][0]) if first else None
        self._metrics.journal_length.value = length
        self._metrics.journal_bytes.value = int(size or 0) if length else 0
        self._metrics.journal_age.value = max(0.0, self._gateway.time.reference() - oldest[0] / 1000) if oldest else 0.0
        while self._kept and self._kept[0][0] <= last and (oldest is None or self._kept[0][0] < oldest):
            self._kept.popleft()
        await self._bring_back(length, int(size or 0) if length else 0)

    async def _bring_back(self, length: int, size: int) -> None:
        """Move some spooled entries to the stream, if it has room for them: `length` are in it, of `size` bytes."""
        spool = self._spool
        if spool.in_memory:
            # The disk takes nothing: whatever is in the stream is safer.
            if length < self._length and size < self._size:
                await self._add_all(spool.take_from_memory(MOVED_AT_ONCE))
        elif spool.on_disk and length < self._length // 2 and size < self._size // 2:
            try:
                most = min(MOVED_AT_ONCE, max(1, self._length // 2))
                await self._add_all(spool.read(most, min(MOVED_BYTES, self._size // 2)))
                if spool.passed():
                    self._full = False
                    self._log.info("what was spooled is in the journal")
            except OSError as error:
                spool.failed(error)

    async def _add_all(self, entries: Sequence[Entry]) -> None:
        # What the stream does not take goes into the spool again.
        await gatherResults([self._add(entry) for entry in entries])

    async def close(self) -> None:
        """Keep what the stream may have lost, in the spool, if Redis is away; and what waits in memory. Ends within seconds."""
        if self._gateway.link.usable:
            await self._add_all(self._spool.take_from_memory(KEPT))
        elif self._kept:
            self._spool.append([entry for _, entry in self._kept])
            self._kept.clear()
        self._spool.close()


def _id(text: bytes) -> tuple[int, int]:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)
