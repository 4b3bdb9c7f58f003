"""The party page and the client library: files of a directory, each read once and kept in memory.

`twisted.web.static.File` is not used. It reads files for each response, in pull producers that use the global reactor; it has
no entity tags, lists directories, and follows links out of the directory. A subclass would replace most of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from msgspec import Struct
from twisted.python.filepath import FilePath, InsecurePath
from twisted.web.http import Request

from ..rules.title_allowlist import any_schemes
from .cors import origin_of
from .file_range import FileRange
from .file_responses import FileVersion, file_response
from .requests import HOST, header
from .responses import Endpoint, HttpError, Response

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}

POLICY = (
    "default-src 'self'; media-src 'self'%s blob:; connect-src 'self'%s%s; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""It names the sites of the titles, for films and for the question why a film does not play; and this server's WebSocket,
because some browsers do not include it in 'self'."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_NOT_FOUND = "Not found"


class File(Struct, frozen=True):
    """The content of a file.

    tag: the entity tag.
    modified: in seconds since 1970.
    """

    data: bytes
    tag: str
    modified: int


class Page(Endpoint):
    """The files of a directory, except hidden files and links out of the directory.

    These files are small, and all responses share the content of a file.
    """

    plain = True

    def __init__(self, directory: str, titles: Sequence[str] = ("*",)):
        """Serve a directory. titles: `titles.allowed`, the sites from which the page may play."""
        schemes = any_schemes(titles)
        sites = sorted({origin_of(url) for url in titles if url.partition(":")[0].lower() not in schemes} - {""})
        self._media = "".join(
            f" {site}" for site in [*(f"{scheme}:" for scheme in sorted(schemes, reverse=True)), *sites]
        )
        self._root = FilePath(os.path.realpath(directory))
        self._read: dict[str, File] = {}

    def answer(self, request: Request, path: list[str]) -> Response:
        found = self._find(path)
        try:
            file = self._file(found.path)
        except OSError:
            raise HttpError(404, _NOT_FOUND) from None
        return self._answer(request, found.basename(), file)

    def _file(self, path: str) -> File:
        """Return the current content of a file, read again if it has changed. Raise OSError if the file cannot be read."""
        status = os.stat(path)
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        file = self._read.get(path)
        if file is None or file.tag != tag:
            with open(path, "rb") as opened:
                file = self._read[path] = File(opened.read(), tag, int(status.st_mtime))
        return file

    def _find(self, path: list[str]) -> FilePath[str]:
        file = self._root
        for name in path:
            if not _NAME.fullmatch(name):
                raise HttpError(404, _NOT_FOUND)
            try:
                file = file.child(name)
            except InsecurePath:
                raise HttpError(404, _NOT_FOUND) from None
        inside = os.path.realpath(file.path).startswith(self._root.path + os.sep)
        if not inside or not file.isfile():
            raise HttpError(404, _NOT_FOUND)
        return file

    def _answer(self, request: Request, name: str, file: File) -> Response:
        kind = TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")
        headers = (
            # Browsers keep the file but ask whether it has changed, so that they see a new release at once.
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", POLICY % (self._media, _websockets(header(request, b"Host")), self._media)),
        )
        version = FileVersion(len(file.data), file.tag, file.modified, kind)
        return file_response(request, version, lambda offset, size: FileRange(file.data, offset, size), headers)


def _websockets(host: str) -> str:
    return f" ws://{host} wss://{host}" if HOST.fullmatch(host) else ""
