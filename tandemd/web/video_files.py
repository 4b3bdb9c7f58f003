"""The films of `web.videos_dir`: lists, and files that are opened without a way out of the directory.

All functions block, so they belong into threads. Each part of a path is opened relative to the directory before it, without
following symbolic links. So a link that replaces a file or a directory at any moment leads nowhere.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from ..rules.local_titles import is_video_name
from .file_responses import FileVersion

FILM_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".ogv": "video/ogg",
    ".webm": "video/webm",
}
"""The types of files that are listed as films."""

SUBTITLE_TYPES = {".srt": "application/x-subrip", ".vtt": "text/vtt; charset=utf-8"}

TYPES = {
    **FILM_TYPES,
    **SUBTITLE_TYPES,
    ".aac": "audio/aac",
    ".m4s": "video/iso.segment",
    ".ts": "video/mp2t",
}
"""The types of files that are served. The others also belong to films: the pieces of an HLS stream."""

MAX_LISTED = 1000
"""Films, and directories, in one list."""
MAX_FOUND = 200
"""Films that a search returns."""
MAX_VISITED = 50_000
"""Entries of directories that one list or walk reads."""
MAX_DEPTH = 12
"""Directories above a film."""
MAX_WALK_SECONDS = 10.0
INDEX_SECONDS = 15.0
"""Time for which searches use the result of one walk."""
PAUSE_ENTRIES = 100
"""Entries after which a walk pauses, so that the node's main thread can run."""
PAUSE_SECONDS = 0.001


class Film(Struct, frozen=True):
    """A film in a list.

    path: below the directory, with slashes.
    size: in bytes.
    subtitles: the paths of files with subtitles beside it: those whose names begin with its name.
    """

    path: str
    size: int
    subtitles: list[str]


class FilmList(Struct, frozen=True):
    """A list of films.

    directory: its path; "" is the whole.
    complete: whether the list has all films and directories.
    """

    directory: str
    directories: list[str]
    films: list[Film]
    complete: bool


class OpenVideo:
    """An open file. Its owner closes it."""

    def __init__(self, descriptor: int, version: FileVersion):
        self.version = version
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes; none at the end of the file. Blocks."""
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        """Close the file. It may be closed already."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class VideoDirectory:
    """The films below one directory. Searches use one thread at a time."""

    def __init__(self, root: str, seconds: Callable[[], float] = time.monotonic):
        self._root = root
        self._seconds = seconds
        self._index: tuple[list[tuple[str, Film]], bool] = ([], True)
        self._indexed_at = -INDEX_SECONDS

    def open(self, path: Sequence[str]) -> OpenVideo:
        """Open a file. path: the names of its directories, and its own. Raises OSError for all that is no film or part of one."""
        if not path or not all(map(is_video_name, path)):
            raise FileNotFoundError
        kind = TYPES.get(os.path.splitext(path[-1])[1].lower())
        if kind is None:
            raise FileNotFoundError
        directory = self._open_directory(path[:-1])
        try:
            # A pipe must not block the thread.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path[-1], flags, dir_fd=directory)
        finally:
            os.close(directory)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise FileNotFoundError
        tag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
        return OpenVideo(descriptor, FileVersion(status.st_size, tag, int(status.st_mtime), kind))

    def list_directory(self, path: Sequence[str]) -> FilmList:
        """Return the films and directories in one directory, by name. Raises OSError if it is none."""
        if not all(map(is_video_name, path)):
            raise FileNotFoundError
        directories, films, count = self._read(path, MAX_VISITED)
        complete = count <= MAX_VISITED and max(len(directories), len(films)) <= MAX_LISTED
        return FilmList("/".join(path), directories[:MAX_LISTED], films[:MAX_LISTED], complete)

    def search(self, words: str) -> FilmList:
        """Return the films whose path contains all words, in any case."""
        if self._seconds() - self._indexed_at >= INDEX_SECONDS:
            self._index = self._walk()
            self._indexed_at = self._seconds()
        index, complete = self._index
        wanted = set(words.casefold().split())
        found = [film for folded, film in index if all(word in folded for word in wanted)]
        return FilmList("", [], found[:MAX_FOUND], complete and len(found) <= MAX_FOUND)

    def _walk(self) -> tuple[list[tuple[str, Film]], bool]:
        """Return all films with their paths in one case, and whether these are all."""
        index: list[tuple[str, Film]] = []
        pending: list[list[str]] = [[]]
        visited, complete, end = 0, True, self._seconds() + MAX_WALK_SECONDS
        while pending:
            if visited > MAX_VISITED or self._seconds() > end:
                return index, False
            path = pending.pop()
            try:
                directories, films, count = self._read(path, MAX_VISITED - visited)
            except OSError:
                continue  # it was removed meanwhile, or is forbidden
            visited += count
            index += [(film.path.casefold(), film) for film in films]
            if len(path) < MAX_DEPTH:
                pending += [[*path, name] for name in reversed(directories)]
            else:
                complete = complete and not directories
        return index, complete and visited <= MAX_VISITED

    def _read(self, path: Sequence[str], limit: int) -> tuple[list[str], list[Film], int]:
        """Return the directories and films in one directory, by name, and the number of its entries. It stops above `limit`."""
        directories: list[str] = []
        sizes: dict[str, int] = {}
        subtitles: list[str] = []
        count = 0
        directory = self._open_directory(path)
        try:
            for entry in _entries(directory):
                count += 1
                if count > limit:
                    break
                if count % PAUSE_ENTRIES == 0:
                    time.sleep(PAUSE_SECONDS)
                suffix = os.path.splitext(entry.name)[1].lower()
                if not is_video_name(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                elif suffix in FILM_TYPES:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        sizes[entry.name] = status.st_size
                elif suffix in SUBTITLE_TYPES and entry.is_file(follow_symlinks=False):
                    subtitles.append(entry.name)
        finally:
            os.close(directory)
        beside = _beside(sizes, sorted(subtitles))
        films = [
            Film("/".join([*path, name]), sizes[name], ["/".join([*path, one]) for one in beside[name]])
            for name in sorted(sizes, key=_order)
        ]
        return sorted(directories, key=_order), films, count

    def _open_directory(self, path: Sequence[str]) -> int:
        """Return a descriptor of a directory below the root. Raises OSError."""
        # The operator may have named a link.
        directory = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in path:
            above = directory
            try:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                directory = os.open(name, flags, dir_fd=above)
            finally:
                os.close(above)
        return directory


def _entries(directory: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        yield from entries


def _beside(films: Sequence[str] | dict[str, int], subtitles: Sequence[str]) -> dict[str, list[str]]:
    """Return the subtitles of each film: NAME.vtt, NAME.en.srt and so on, each with the film of the longest name."""
    by_stem: dict[str, list[str]] = {}
    for film in films:
        by_stem.setdefault(os.path.splitext(film)[0], []).append(film)
    beside: dict[str, list[str]] = {film: [] for film in films}
    for name in subtitles:
        stem = os.path.splitext(name)[0]
        while stem and stem not in by_stem:
            stem = stem.rpartition(".")[0]
        for film in by_stem.get(stem, ()):
            beside[film].append(name)
    return beside


def _order(name: str) -> tuple[str, str]:
    return name.casefold(), name
