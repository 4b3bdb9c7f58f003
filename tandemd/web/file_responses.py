"""Responses with files: conditional requests and ranges of bytes (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from msgspec import Struct
from twisted.web.http import Request, datetimeToString

from .requests import header
from .responses import Body, Response

_RANGE = re.compile(r"bytes=(?:(?P<first>[0-9]{1,18})-(?P<last>[0-9]{0,18})|-(?P<suffix>[0-9]{1,18}))")


class FileVersion(Struct, frozen=True):
    """A version of a file.

    size: in bytes. tag: the strong entity tag. modified: in seconds since 1970. content_type: the value of Content-Type.
    """

    size: int
    tag: str
    modified: int
    content_type: str


def file_response(
    request: Request, file: FileVersion, part: Callable[[int, int], Body], headers: tuple[tuple[str, str], ...]
) -> Response:
    """Return the response with a file, or with the requested part of it.

    part: returns the body for an offset and a size, in bytes; it is called once at most.
    headers: further headers; this function adds those about the version and the range.
    """
    modified = datetimeToString(file.modified).decode()
    headers = (("ETag", file.tag), ("Last-Modified", modified), *headers, ("Accept-Ranges", "bytes"))
    if _unchanged(request, file.tag, file.modified):
        return Response(304, headers=headers)
    wanted = _range(request, file.size) if header(request, b"If-Range") in ("", file.tag, modified) else None
    if wanted is None:
        return Response(200, part(0, file.size), file.content_type, headers)
    first, count = wanted
    if not count:
        return Response(416, headers=(*headers, ("Content-Range", f"bytes */{file.size}")))
    content_range = ("Content-Range", f"bytes {first}-{first + count - 1}/{file.size}")
    return Response(206, part(first, count), file.content_type, (*headers, content_range))


def _unchanged(request: Request, tag: str, modified: int) -> bool:
    """Say whether the client has this version of the file."""
    tags = header(request, b"If-None-Match")
    if tags:
        return tags == "*" or tag in [entry.strip().removeprefix("W/") for entry in tags.split(",")]
    since = header(request, b"If-Modified-Since")
    try:
        return bool(since) and parsedate_to_datetime(since).timestamp() >= modified
    except (ValueError, OverflowError):
        return False


def _range(request: Request, size: int) -> tuple[int, int] | None:
    """Return offset and size of the requested part. The size is 0 if the part lies outside of the file.

    Return None for a request without a single range of bytes. By HTTP, the response is the whole file then.
    """
    match = _RANGE.fullmatch(header(request, b"Range"))
    if match is None:
        return None
    if match["suffix"] is not None:
        count = min(int(match["suffix"]), size)
        return size - count, count
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else max(first, size - 1)
    if last < first:
        return None
    return first, max(0, min(last, size - 1) - first + 1)
