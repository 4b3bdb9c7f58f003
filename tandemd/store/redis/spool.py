"""Files of a node for entries on their way to the archive: what Redis has no room for, and what cannot be read."""

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

KEPT = 50_000
"""How many entries are kept in memory at most while the disk takes none."""
KEPT_BYTES = 64 * 1024 * 1024
"""How many bytes of them."""
PIECE = 2000
"""How many entries are written at once."""
TORN = b"!\n"
"""Ends a line whose end is missing: no line of base64 holds the first of these bytes."""

Entry = tuple[bytes, bytes, bytes]
"""Room UUID, code, and the commit as codec.encode_commit makes it for the journal."""
Open = Callable[..., IO[bytes]]
"""As the built-in `open`."""


def append(path: str, data: bytes, open_: Open = open) -> None:
    """Append whole lines to a file, all of them or none.

    A line whose end is missing, because the disk was full or the process was killed, is ended first. Raises OSError.
    """
    with open_(path, "ab+", buffering=0, opener=_private) as file:
        before = file.seek(0, os.SEEK_END)
        if before:
            file.seek(before - 1)
            if file.read(1) != b"\n":
                data = TORN + data
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise


class Quarantine:
    """Keeps entries that cannot be read in a file, for people. They are logged and counted."""

    _log = Logger()

    def __init__(self, path: str, metrics: StoreMetrics, open_: Open = open):
        self._path = path
        self._metrics = metrics
        self._open = open_

    def keep(self, lines: Sequence[bytes], origin: str) -> None:
        """Append lines to the file. origin: where they were. Raises OSError; then they must stay there."""
        if not lines:
            return
        append(self._path, b"".join(lines), self._open)
        self._metrics.journal_unreadable.value += len(lines)
        self._log.error(
            "{count} entries for the archive in {origin} cannot be read: they are kept in {path}",
            count=len(lines), origin=origin, path=self._path,
        )  # fmt: skip


class Spool:
    """Entries in a file, and in memory while the disk takes none.

    A file that is being read has a name of its own (`.moving`), so that what is added meanwhile goes to a new one.
    open_: as `open`.
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
        """Whether there are entries in the files."""
        return self._file_bytes > 0

    @property
    def in_memory(self) -> int:
        """How many entries wait in memory."""
        return len(self._memory)

    def measure(self) -> None:
        """Look how large the files are."""
        try:
            self._file_bytes = _size(self._path) + _size(self._moving)
        except OSError as error:
            self.failed(error)
        self._show()

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries to the file; to memory, if that is not possible. Never fails."""
        # What fails is tried by `flush` only: at each commit it would cost as much as all that waits.
        if self._memory or not self._write(entries):
            self._keep(entries)
        self._show()

    def flush(self, most: int = PIECE) -> None:
        """Write what waits in memory to the file, `most` entries of it, if the disk takes them."""
        while self._memory and most > 0:
            piece = list(islice(self._memory, PIECE))
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
        while len(self._memory) > KEPT or self._memory_bytes > KEPT_BYTES:
            self._memory_bytes -= sum(map(len, self._memory.popleft()))
            lost += 1
        if lost:
            self._metrics.journal_lost.value += lost
            if not self._losing:
                self._losing = True
                self._log.error(
                    "changes for the archive are lost: neither Redis nor {path} takes them, and {count} are in memory",
                    path=self._path, count=len(self._memory),
                )  # fmt: skip

    def take_from_memory(self, most: int) -> list[Entry]:
        """Return entries that wait in memory, and forget them."""
        taken = [self._memory.popleft() for _ in range(min(most, len(self._memory)))]
        self._memory_bytes -= sum(sum(map(len, entry)) for entry in taken)
        self._show()
        return taken

    def read(self, most: int, size: int) -> list[Entry]:
        """Return the next entries of the file: `most` of them, and no more after `size` bytes.

        They stay in it until `passed` is called. Raises OSError.
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
        """Forget the entries that `read` returned; say whether they were the last. Raises OSError.

        Should they not be forgotten for good, they are read again after a restart: the archive takes nothing twice.
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
        """Log why the files cannot be used, unless that is known already."""
        if str(error) != self._failure:
            self._failure = str(error)
            self._log.error(
                "{path} cannot be used: {error}; nothing is lost, it is tried again; mend the disk or its mount",
                path=self._path, error=str(error),
            )  # fmt: skip

    def worked(self) -> None:
        """Log that the files can be used again, if they could not."""
        if self._failure:
            self._failure = ""
            self._log.info("{path} can be used again", path=self._path)

    def close(self) -> None:
        """Write what waits in memory, and log how much is lost if the disk does not take it."""
        self.flush(KEPT)
        if self._memory:
            self._metrics.journal_lost.value += len(self._memory)
            self._log.error(
                "{count} changes for the archive are lost: {reason}", count=len(self._memory), reason=self._failure
            )

    def _show(self) -> None:
        self._metrics.spooled.value = self._file_bytes + self._memory_bytes


def line_of(entry: Sequence[bytes]) -> bytes:
    """Return an entry as a line of a file."""
    return b" ".join(map(base64.b64encode, entry)) + b"\n"


def _entry(line: bytes) -> Entry | None:
    """Return the entry of a line, or None if it was not written to its end."""
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
