"""The allow-list of titles: absolute http and https URLs that rooms may show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from ..errors import ErrorCode, RequestError

CLIP_URL = "https://tandemd.invalid/clip"
"""The page's own clip, on any host name of the server. The URL leads to no other place."""

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.ASCII)
"""A host name, or an IPv6 address without brackets. Browsers accept more hosts, but differ in their meaning."""


class TitleAllowlist:
    """Decide which titles rooms may show.

    allowed: origins ("https://www.netflix.com"), URLs with a path that the title's path must begin with, or "*" for all.
    max_length: of a title's URL, in characters.
    Raises ValueError that names an invalid entry.
    """

    def __init__(self, allowed: Sequence[str], max_length: int = 2048):
        self._max_length = max_length
        self._any = "*" in allowed
        self._prefixes = [(_origin(url), url.path.rstrip("/")) for url in map(_entry, allowed) if url is not None]

    def check(self, url: str) -> None:
        """Raise RequestError with the code BAD_URL unless the URL is an allowed title."""
        fault = self._fault(url)
        if fault:
            raise RequestError(ErrorCode.BAD_URL, fault)

    def allows(self, url: str) -> bool:
        """Say whether the URL is an allowed title."""
        return not self._fault(url)

    def _fault(self, url: str) -> str:
        if len(url) > self._max_length:
            return f"The URL is longer than {self._max_length} characters."
        if not url.isprintable() or " " in url or "\\" in url:
            return "The URL contains a space, a backslash or an unprintable character."
        try:
            parts = urlsplit(url)
            origin = _origin(parts)
        except ValueError:
            return "The URL is malformed."
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return "The URL is not an absolute http or https URL."
        if "@" in parts.netloc:
            return "The URL contains a user name."
        if not _HOST.fullmatch(parts.hostname):
            return "The URL's host is not in the form that browsers use (xn--... for other alphabets)."
        if not self._any and not any(origin == o and _below(parts.path, path) for o, path in self._prefixes):
            return "This server does not allow this title (titles.allowed)."
        return ""


def same_title(one: str, other: str) -> bool:
    """Say whether two URLs lead to the same title. They may differ in `trackId`, with which Netflix tracks the way to a title."""
    return one == other or ("trackId=" in one + other and _untracked(one) == _untracked(other))


def _untracked(url: str) -> SplitResult:
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if not pair.startswith("trackId=")]
    return parts._replace(query="&".join(kept))


def _entry(text: str) -> SplitResult | None:
    if text == "*":
        return None
    parts = urlsplit(text)
    host = parts.hostname or ""
    web = parts.scheme in ("http", "https") and _HOST.fullmatch(host) and "@" not in parts.netloc
    if not web or parts.query or parts.fragment:
        raise ValueError(
            f"{text!r} is neither an origin such as 'https://www.netflix.com', nor the beginning of a URL, nor '*'"
        )
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, default if parts.port is None else parts.port


def _below(path: str, prefix: str) -> bool:
    if not prefix:
        return True
    # Browsers read "%2e" as a dot.
    if ".." in path.lower().replace("%2e", ".").split("/"):
        return False
    return path == prefix or path.startswith(prefix + "/")
