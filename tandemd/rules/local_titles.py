"""Titles of the reserved host tandemd.invalid: films that each member's page takes from its own place.

- `/clip`: the sample clip of the server's page.
- `/file/NAME?duration=SECONDS&size=BYTES`: a file of which each member opens its own copy.
- `/videos/PATH`: a file of the server (`web.videos_dir`).

Members may reach the server under different host names, so none of these titles names one. The host leads to no other place.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote_to_bytes

from .title_urls import TitleUrl

LOCAL_ORIGIN = "https://tandemd.invalid"
CLIP_URL = LOCAL_ORIGIN + "/clip"
FILE_URL = LOCAL_ORIGIN + "/file"
VIDEOS_URL = LOCAL_ORIGIN + "/videos"

MAX_NAME_CHARS = 200
"""Characters of a file's name in a title."""
MAX_VIDEO_NAME_BYTES = 255
"""Bytes of the name of a file or directory on the server, as file systems limit it."""

FILE_FORM = "https://tandemd.invalid/file/NAME?duration=SECONDS&size=BYTES"

# `encodeURIComponent` keeps these, beside letters, digits, "-", ".", "_" and "~".
_SAFE_IN_NAME = "!'()*"
_DURATION = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,9})?", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,15}", re.ASCII)
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of characters that hide or reorder others."""


def local_form(title: TitleUrl) -> TitleUrl:
    """Return a title in its one form. Titles of other hosts have it already.

    Raises ValueError with a sentence for the client.
    """
    if title.origin != LOCAL_ORIGIN:
        return title
    kind, _, rest = title.path[1:].partition("/")
    if title.path == "/clip" and not title.rest:
        return title
    if kind == "file":
        return TitleUrl(LOCAL_ORIGIN, f"/file/{_file_name(rest)}", _copy(title.rest))
    if kind == "videos" and not title.rest:
        return TitleUrl(LOCAL_ORIGIN, f"/videos/{_video_path(rest)}", "")
    raise ValueError(f"The host tandemd.invalid has the titles /clip, {FILE_FORM} and /videos/PATH only.")


def is_video_name(name: str) -> bool:
    """Say whether a file or directory below `web.videos_dir` may have this name: no hidden one, and no way out."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return False
    return 0 < length <= MAX_VIDEO_NAME_BYTES and not name.startswith(".") and not re.search(r"[/\x00-\x1f\x7f]", name)


def video_title(path: list[str]) -> str:
    """Return the title of a file of the server. path: the names of its directories, and its own."""
    return f"{VIDEOS_URL}/{'/'.join(quote(name, _SAFE_IN_NAME) for name in path)}"


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("A name in the URL is not UTF-8.") from None


def _file_name(escaped: str) -> str:
    if "/" in escaped:
        raise ValueError(f"The name of the file contains a slash; write {FILE_FORM}.")
    name = unicodedata.normalize("NFC", _decoded(escaped))
    if not 0 < len(name) <= MAX_NAME_CHARS:
        raise ValueError(f"The name of the file does not have 1 to {MAX_NAME_CHARS} characters; write {FILE_FORM}.")
    if "/" in name or "\\" in name or any(unicodedata.category(letter) in _INVISIBLE for letter in name):
        raise ValueError("The name of the file contains a slash, a backslash or an invisible character.")
    return quote(name, _SAFE_IN_NAME)


def _copy(query: str) -> str:
    """Return duration and size of a copy in their one form."""
    pairs = [pair.partition("=") for pair in query.removeprefix("?").split("&")]
    found = {name: value for name, _, value in pairs}
    duration, size = found.get("duration", ""), found.get("size", "")
    if len(pairs) != 2 or not _DURATION.fullmatch(duration) or not _SIZE.fullmatch(size):
        raise ValueError(f"A file's title needs duration (0: unknown) and size, and nothing else; write {FILE_FORM}.")
    seconds = f"{float(duration):.3f}".rstrip("0").rstrip(".")
    return f"?duration={seconds}&size={int(size)}"


def _video_path(escaped: str) -> str:
    names = [_decoded(part) for part in escaped.split("/")]
    if not all(map(is_video_name, names)):
        raise ValueError("The path below /videos names no file of the server.")
    return "/".join(quote(name, _SAFE_IN_NAME) for name in names)
