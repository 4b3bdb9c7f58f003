"""Disks that are full, or read-only, or that have no room for a file: real ones where this process may mount."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import SkipTest


class SmallDisk:
    """A file system in memory at a directory. Skips the test where it cannot be mounted."""

    def __init__(self, path: str, size: int):
        self.path = path
        self._ballast = os.path.join(path, "ballast")
        if (
            os.geteuid()
            or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", path], capture_output=True, check=False
            ).returncode
        ):
            raise SkipTest("this process may not mount")

    def remove(self) -> None:
        subprocess.run(["umount", "-l", self.path], check=True)

    def fill(self, left: int = 0) -> None:
        """Leave room for no more than `left` bytes (of whole pages)."""
        with suppress(OSError), open(self._ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        if left:
            os.truncate(self._ballast, os.path.getsize(self._ballast) - left)

    def empty(self) -> None:
        """Make room."""
        os.unlink(self._ballast)

    def set_read_only(self, read_only: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if read_only else 'rw'}", self.path], check=True)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more: EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Quota:
    """Opens files, as `open` does. room: how many bytes may still be written to them. error: fails every operation."""

    def __init__(self) -> None:
        self.room = 1 << 30
        self.error: OSError | None = None
        self.truncates = True

    def __call__(self, path: str, mode: str, **options: Any) -> Any:
        if self.error is not None:
            raise self.error
        file = open(path, mode, **options)  # noqa: SIM115
        return _Limited(self, file) if "a" in mode else file


class _Limited:
    def __init__(self, quota: Quota, file: Any):
        self._quota = quota
        self._file = file

    def __enter__(self) -> _Limited:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        if not self._quota.room:
            raise OSError(28, "No space left on device")
        written: int = self._file.write(data[: self._quota.room])
        self._quota.room -= written
        return written

    def truncate(self, size: int) -> int:
        if not self._quota.truncates:
            raise OSError(5, "Input/output error")
        return int(self._file.truncate(size))
