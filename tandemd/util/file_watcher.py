"""Content of files, read again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from twisted.application import service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .services import Periodic

log = Logger()

POLL_SECONDS = 10.0
"""Time between two checks of the files. Changed files are read once they have stayed the same for this time."""

T = TypeVar("T")


class InvalidFileError(Exception):
    """The content of a file is invalid. The text is one line with the file and the remedy."""


def files_in(path: str, suffixes: Collection[str]) -> list[str]:
    """Return the files of a directory with one of the suffixes, without hidden files. For a file, return its path.

    Raise OSError for a directory that cannot be read.
    """
    if not os.path.isdir(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    return [os.path.join(path, name) for name in names if os.path.splitext(name)[1] in suffixes]


class FileWatcher(service.Service, Generic[T]):
    """Keeps the last valid content of files. An invalid file is logged once, and read again at each check."""

    def __init__(
        self,
        paths: Sequence[str],
        suffixes: Collection[str],
        read: Callable[[], T],
        changed: Callable[[T], object],
        failed: str,
        clock: IReactorTime,
    ):
        """Read the files for the first time. Raise the errors of `read`.

        paths, suffixes: the files, see `files_in`.
        read: returns the content, or raises InvalidFileError.
        changed: is called with new content; must not fail.
        failed: the log line for an invalid file, with "{reason}".
        """
        self._paths = paths
        self._suffixes = suffixes
        self._read = read
        self._changed = changed
        self._failed = failed
        self._periodic = Periodic(clock, POLL_SECONDS, self._poll, "check of watched files")
        # The state is older than the content, here and below, so that the next check sees a change in between.
        self._seen = self._state()
        self._held: object = self._seen
        """The state of the files when `content` was read. None after an invalid file."""
        self._said: object = None
        self.content = read()

    def startService(self) -> None:
        super().startService()
        self._periodic.start()

    def stopService(self) -> None:
        super().stopService()
        self._periodic.stop()

    def reload(self) -> None:
        """Read the files now, changed or not. An operator asked for it, so an error is logged again."""
        self._said = None
        self._read_again(self._state())

    def _poll(self) -> None:
        before, self._seen = self._seen, self._state()
        # Files that belong together are written one after the other, so wait until they stay the same.
        if self._seen == before and self._seen != self._held:
            self._read_again(self._seen)

    def _read_again(self, state: object) -> None:
        try:
            self.content = self._read()
        except Exception as error:
            # The cause may lie outside of the files, such as a lack of file descriptors. Then the files do not change.
            self._held = None
            if self._said != (state, str(error)):
                self._said = (state, str(error))
                if isinstance(error, InvalidFileError):
                    log.error(self._failed, event="file_reload_failed", reason=str(error))
                else:  # an unexpected error must not end the checks
                    log.failure(self._failed, event="file_reload_failed", reason=repr(error))
            return
        self._held = state
        self._said = None
        self._changed(self.content)

    def _state(self) -> object:
        """Return a value that changes with the files."""
        state: list[object] = []
        for path in self._paths:
            try:
                for file in files_in(path, self._suffixes):
                    s = os.stat(file)
                    # ctime shows changed permissions, and a copy with an older mtime.
                    state.append((file, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))
            except OSError as error:
                state.append((path, error.errno))
        return state
