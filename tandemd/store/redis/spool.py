"""Files of a node for entries for the archive: the spool, while the journal is full, and unreadable entries."""

from __future__ import annotations

import base64
import binascii
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO

from twisted.logger import Logger

from .metrics import StoreMetrics

MAX_KEPT_ENTRIES = 50_000
"""Entries in memory at most while the disk fails."""
MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Bytes of these entries."""
WRITE_BATCH_ENTRIES = 2000
"""Entries in one write."""
LINE_END = b"!\n"
"""Ends an incomplete line. The first of these bytes does not occur in base64."""

Entry = tuple[bytes, bytes, bytes]
"""Room UUID, room id, and the commit as `codec.encode_commit` encodes it for the journal."""
Open = Callable[..., IO[bytes]]
"""See the built-in `open`."""


def append(path: str, data: bytes, open_: Open = open) -> None:
    """Append whole lines to a file, all or none. Raises OSError.

    An incomplete last line, left by a full disk or a killed process, is ended first.
    """
    with open_(path, "ab+", buffering=0, opener=_private) as file:
        before = file.seek(0, os.SEEK_END)
        if before:
            file.seek(before - 1)
            if file.read(1) != b"\n":
                data = LINE_END + data
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise


class Quarantine:
    """Keeps unreadable entries in a file for operators, logs and counts them."""

    _log = Logger()

    def __init__(self, path: str, metrics: StoreMetrics, open_: Open = open):
        self._path = path
        self._metrics = metrics
        self._open = open_

    def keep(self, lines: Sequence[bytes], origin: str) -> None:
        """Append lines to the file. origin: their place so far. Raises OSError; then they must stay there."""
        if not lines:
            return
        append(self._path, b"".join(lines), self._open)
        self._metrics.journal_unreadable.value += len(lines)
        self._log.error(
            "{count} entries for the archive in {origin} cannot be read: they are kept in {path}", event="spool_unreadable",
            count=len(lines), origin=origin, path=self._path,
        )  # fmt: skip


class Spool:
    """Entries in a file, and in memory while the disk fails.

    A file that is being read has another name (`.moving`), so that new entries go to a new file.
    open_: see `open`.
    """

    _log = Logger()

    def __init__(self, path: str, quarantine: Quarantine, metrics: StoreMetrics, open_: Open = open):
        self._path = path
        self._moving = path + ".moving"
        self._quarantine = quarantine
        self._metrics = metrics
        self._open = open_
        self._memory: deque[Entry] = deque()
        self._memory_bytes = 0
        self._file_bytes = 0
        self._read = 0
        self._passed = 0
        self._failure = ""
        self._losing = False
        self.measure()

    @property
    def on_disk(self) -> bool:
        """Whether the files hold entries."""
        return self._file_bytes > 0

    @property
    def in_memory(self) -> int:
        """The number of entries in memory."""
        return len(self._memory)

    def measure(self) -> None:
        """Measure the files."""
        try:
            self._file_bytes = _size(self._path) + _size(self._moving)
        except OSError as error:
            self.failed(error)
        self._show()

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries to the file, or keep them in memory if the disk fails. Never fails."""
        # After a failure only `flush` retries. A retry at each commit would cost as much as all waiting entries.
        if self._memory or not self._write(entries):
            self._keep(entries)
        self._show()

    def flush(self, most: int = WRITE_BATCH_ENTRIES) -> None:
        """Write at most `most` entries from memory to the file."""
        while self._memory and most > 0:
            piece = list(islice(self._memory, WRITE_BATCH_ENTRIES))
            if not self._write(piece):
                return
            self.take_from_memory(len(piece))
            most -= len(piece)
        if not self._memory:
            self._losing = False

    def _write(self, entries: Iterable[Entry]) -> bool:
        lines = b"".join(map(line_of, entries))
        try:
            append(self._path, lines, self._open)
        except OSError as error:
            self.failed(error)
            return False
        self.worked()
        self._file_bytes += len(lines)
        return True

    def _keep(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._memory.append(entry)
            self._memory_bytes += sum(map(len, entry))
        lost = 0
        while len(self._memory) > MAX_KEPT_ENTRIES or self._memory_bytes > MAX_KEPT_BYTES:
            self._memory_bytes -= sum(map(len, self._memory.popleft()))
            lost += 1
        if lost:
            self._metrics.journal_lost.value += lost
            if not self._losing:
                self._losing = True
                self._log.error(
                    "changes for the archive are lost: neither Redis nor {path} takes them, and {count} are in memory",
                event="changes_lost",
                    path=self._path, count=len(self._memory),
                )  # fmt: skip

    def take_from_memory(self, most: int) -> list[Entry]:
        """Remove entries from memory, and return them."""
        taken = [self._memory.popleft() for _ in range(min(most, len(self._memory)))]
        self._memory_bytes -= sum(sum(map(len, entry)) for entry in taken)
        self._show()
        return taken

    def read(self, most: int, size: int) -> list[Entry]:
        """Return the next entries of the file: at most `most`, and none after `size` bytes. Raises OSError.

        They stay in the file until `passed`.
        """
        if not os.path.exists(self._moving):
            os.replace(self._path, self._moving)
            self._passed = 0
        with self._open(self._moving, "rb") as file:
            file.seek(self._passed)
            lines: list[bytes] = []
            for line in islice(file, most):
                lines.append(line)
                size -= len(line)
                if size <= 0:
                    break
        entries = [_entry(line) for line in lines]
        unreadable = [line for line, entry in zip(lines, entries, strict=True) if entry is None]
        self._quarantine.keep([line.removesuffix(b"\n") + b"\n" for line in unreadable], self._path)
        self._read = self._passed + sum(map(len, lines))
        return [entry for entry in entries if entry is not None]

    def passed(self) -> bool:
        """Drop the entries that `read` returned; return whether they were the last. Raises OSError.

        A crash may lose this fact. Then they are read again after a restart, and the archive ignores duplicates.
        """
        self._passed = self._read
        over = self._passed >= _size(self._moving)
        if over:
            os.unlink(self._moving)
            self._passed = 0
        self.worked()
        self.measure()
        return over and not self.on_disk

    def failed(self, error: OSError) -> None:
        """Log the failure of the files, once."""
        if str(error) != self._failure:
            self._failure = str(error)
            self._log.error(
                "{path} cannot be used: {error}; nothing is lost, tandemd tries again; repair the disk or its mount",
                event="spool_unavailable",
                path=self._path, error=str(error),
            )  # fmt: skip

    def worked(self) -> None:
        """Log the end of a failure."""
        if self._failure:
            self._failure = ""
            self._log.info("{path} can be used again", event="spool_available", path=self._path)

    def close(self) -> None:
        """Write the entries in memory, and log their number if the disk fails."""
        self.flush(MAX_KEPT_ENTRIES)
        if self._memory:
            self._metrics.journal_lost.value += len(self._memory)
            self._log.error(
                "{count} changes for the archive are lost: {reason}",
                event="changes_lost",
                count=len(self._memory),
                reason=self._failure,
            )

    def _show(self) -> None:
        self._metrics.spooled.value = self._file_bytes + self._memory_bytes


def line_of(entry: Sequence[bytes]) -> bytes:
    """Return an entry as a line of a file."""
    return b" ".join(map(base64.b64encode, entry)) + b"\n"


def _entry(line: bytes) -> Entry | None:
    """Return the entry of a line, or None if the line is incomplete."""
    if not line.endswith(b"\n"):
        return None
    try:
        room, room_id, commit = (base64.b64decode(part, validate=True) for part in line[:-1].split(b" "))
    except (binascii.Error, ValueError):
        return None
    return room, room_id, commit


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
