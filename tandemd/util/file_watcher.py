"""What is in files, read again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from twisted.application import service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .services import Periodic

LOOK = 10.0
"""Seconds between two looks at the files. What is being written is read when it has stayed the same for one of these."""

T = TypeVar("T")


class InvalidFileError(Exception):
    """What is in the files cannot be used. Its text is one line that names the file and the remedy."""


def files_in(path: str, suffixes: Collection[str]) -> list[str]:
    """Return the files of a directory, without hidden ones, that end with one of the suffixes; or just the path.

    Raises OSError for a directory that cannot be read.
    """
    if not os.path.isdir(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    return [os.path.join(path, name) for name in names if os.path.splitext(name)[1] in suffixes]


class FileWatcher(service.Service, Generic[T]):
    """Holds what was read last. What cannot be used changes nothing: it is logged once, and tried again at each look."""

    _log = Logger()

    def __init__(
        self,
        paths: Sequence[str],
        suffixes: Collection[str],
        read: Callable[[], T],
        changed: Callable[[T], object],
        failed: str,
        clock: IReactorTime,
    ):
        """Read the files for the first time. Raises what `read` raises.

        paths, suffixes: what to look at; see `files_in`. read: raises Unusable. changed: is given what was read again; must
        not fail. failed: the log line for when it could not be, with "{reason}".
        """
        self._paths = paths
        self._suffixes = suffixes
        self._read = read
        self._changed = changed
        self._failed = failed
        self._looking = Periodic(clock, LOOK, self._look, "looking at files")
        # Taken before reading, here and below: a change in between is seen at the next look. Taken after it, it would
        # be the state of something that was never read.
        self._seen = self._state()
        self._held: object = self._seen
        """The state of the files when `content` was read from them. None: they were wrong since."""
        self._said: object = None
        self.content = read()

    def startService(self) -> None:
        super().startService()
        self._looking.start()

    def stopService(self) -> None:
        super().stopService()
        self._looking.stop()

    def reload(self) -> None:
        """Read the files now, changed or not. Somebody asked for it, so what is wrong is said again."""
        self._said = None
        self._read_again(self._state())

    def _look(self) -> None:
        before, self._seen = self._seen, self._state()
        # Files that belong together are written one after the other: not before all have been.
        if self._seen == before and self._seen != self._held:
            self._read_again(self._seen)

    def _read_again(self, state: object) -> None:
        try:
            self.content = self._read()
        except Exception as error:
            # It may not be the files' fault (no descriptors left), and then they will not change.
            self._held = None
            if self._said != (state, str(error)):
                self._said = (state, str(error))
                if isinstance(error, InvalidFileError):
                    self._log.error(self._failed, reason=str(error))
                else:  # a fault of ours; without this it would be the last look
                    self._log.failure(self._failed, reason=repr(error))
            return
        self._held = state
        self._said = None
        self._changed(self.content)

    def _state(self) -> object:
        """Return something that is another when the files are."""
        state: list[object] = []
        for path in self._paths:
            try:
                for file in files_in(path, self._suffixes):
                    s = os.stat(file)
                    # ctime: also for permissions, and for a copy that brings its own mtime.
                    state.append((file, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))
            except OSError as error:
                state.append((path, error.errno))
        return state
