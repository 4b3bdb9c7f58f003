"""The allow-list of titles: absolute http and https URLs that rooms may show."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ..errors import ErrorCode, RequestError
from .local_titles import VIDEOS_URL, local_form
from .title_urls import TitleUrl, parse_title

_ANY = {"*": ("https", "http"), "https://*": ("https",), "http://*": ("http",)}
"""Entries for all URLs, and the schemes that they allow."""


class TitleAllowlist:
    """Decide which titles rooms may show.

    allowed: origins ("https://www.netflix.com"), URLs with a path that the title's path must begin with, "https://*" for
    all https URLs, or "*" for all.
    max_length: of a title's URL, in characters.
    videos: whether the server has films of its own (`web.videos_dir`). They need no entry, and no entry allows them otherwise.
    Raises ValueError that names an invalid entry.
    """

    def __init__(self, allowed: Sequence[str], max_length: int = 2048, videos: bool = False):
        self._max_length = max_length
        self._videos = videos
        self._any = any_schemes(allowed)
        self._prefixes = [(url.origin, url.path.rstrip("/")) for url in map(_entry, allowed) if url is not None]
        self.entries = self._entries()
        """The list for clients: "*" for all titles, "https://*" for all https URLs, or origins, some with the beginning of a path,
        as browsers write URLs."""

    def check(self, url: str) -> str:
        """Return the URL in its one form, see `title_urls`. Raise RequestError with the code BAD_URL unless it is allowed."""
        if len(url) > self._max_length:
            raise self._too_long()
        try:
            title = local_form(parse_title(url))
        except ValueError as error:
            raise RequestError(ErrorCode.BAD_URL, str(error)) from None
        if len(str(title)) > self._max_length:
            raise self._too_long()
        if str(title).startswith(VIDEOS_URL + "/"):
            if not self._videos:
                raise RequestError(ErrorCode.BAD_URL, "This server has no films of its own (web.videos_dir).")
        elif not self._any_of(title.origin) and not any(
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

    def _entries(self) -> tuple[str, ...]:
        any_entries = ["*"] if len(self._any) > 1 else [f"{scheme}://*" for scheme in self._any]
        prefixes = [origin + path for origin, path in self._prefixes if not self._any_of(origin)]
        return (*any_entries, *prefixes, *([VIDEOS_URL] if self._videos else ()))

    def _any_of(self, origin: str) -> bool:
        return origin.partition(":")[0] in self._any

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
        url = str(local_form(parse_title(url)))
    address, hash_, fragment = url.partition("#")
    path, mark, query = address.partition("?")
    kept = [pair for pair in query.split("&") if not pair.startswith("trackId=")]
    return path, kept if mark else [], hash_ + fragment


def any_schemes(allowed: Sequence[str]) -> set[str]:
    """Return the schemes of which the entries allow all URLs: "http", "https", both or none."""
    return {scheme for entry in allowed for scheme in _ANY.get(entry, ())}


def _entry(text: str) -> TitleUrl | None:
    if text in _ANY:
        return None
    try:
        url = parse_title(text)
    except ValueError:
        url = None
    if url is None or url.rest:
        raise ValueError(
            f"{text!r} is neither an origin such as 'https://www.netflix.com', nor the beginning of a URL, nor 'https://*' or '*'"
        )
    return url


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + "/")
