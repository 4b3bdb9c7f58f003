"""The allow-list of titles: absolute http and https URLs that rooms may show."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ..errors import ErrorCode, RequestError
from .title_urls import TitleUrl, parse_title

CLIP_URL = "https://tandemd.invalid/clip"
"""The page's own clip, on any host name of the server. The URL leads to no other place."""


class TitleAllowlist:
    """Decide which titles rooms may show.

    allowed: origins ("https://www.netflix.com"), URLs with a path that the title's path must begin with, or "*" for all.
    max_length: of a title's URL, in characters.
    Raises ValueError that names an invalid entry.
    """

    def __init__(self, allowed: Sequence[str], max_length: int = 2048):
        self._max_length = max_length
        self._any = "*" in allowed
        self._prefixes = [(url.origin, url.path.rstrip("/")) for url in map(_entry, allowed) if url is not None]
        self.entries: tuple[str, ...] = ("*",) if self._any else tuple(map("".join, self._prefixes))
        """The list for clients: "*" for all titles, or origins, some with the beginning of a path, as browsers write URLs."""

    def check(self, url: str) -> str:
        """Return the URL in its one form, see `title_urls`. Raise RequestError with the code BAD_URL unless it is allowed."""
        if len(url) > self._max_length:
            raise self._too_long()
        try:
            title = parse_title(url)
        except ValueError as error:
            raise RequestError(ErrorCode.BAD_URL, str(error)) from None
        if len(str(title)) > self._max_length:
            raise self._too_long()
        if not self._any and not any(
            title.origin == origin and _below(title.path, path) for origin, path in self._prefixes
        ):
            raise RequestError(ErrorCode.BAD_URL, "This server does not allow this title (titles.allowed).")
        return str(title)

    def allows(self, url: str) -> bool:
        """Say whether the URL is an allowed title."""
        try:
            self.check(url)
        except RequestError:
            return False
        return True

    def _too_long(self) -> RequestError:
        return RequestError(
            ErrorCode.BAD_URL, f"The URL is longer than {self._max_length} characters, as a browser writes it."
        )


def same_title(one: str, other: str) -> bool:
    """Say whether two URLs, each in any form, lead to the same title.

    They may differ in `trackId`, with which Netflix tracks the way to a title.
    """
    return one == other or (bool(one and other) and _untracked(one) == _untracked(other))


def _untracked(url: str) -> tuple[str, list[str], str]:
    with suppress(ValueError):
        url = str(parse_title(url))
    address, hash_, fragment = url.partition("#")
    path, mark, query = address.partition("?")
    kept = [pair for pair in query.split("&") if not pair.startswith("trackId=")]
    return path, kept if mark else [], hash_ + fragment


def _entry(text: str) -> TitleUrl | None:
    if text == "*":
        return None
    try:
        url = parse_title(text)
    except ValueError:
        url = None
    if url is None or url.rest:
        raise ValueError(
            f"{text!r} is neither an origin such as 'https://www.netflix.com', nor the beginning of a URL, nor '*'"
        )
    return url


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + "/")
