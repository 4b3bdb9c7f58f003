"""Which titles a room may show: absolute http(s) URLs that the configuration allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from ..errors import ErrorCode, RequestError

CLIP_URL = "https://tandemd.invalid/clip"
"""Stands for the party page's own clip, under whatever name a member reaches the server. It leads nowhere else."""


_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.ASCII)
"""A name, or an IPv6 address without its brackets. Browsers read more as a host; each in its own way."""


class TitleAllowlist:
    """The allow-list: origins ("https://www.netflix.com"), URLs with a path that the title's must begin with, or "*".

    Raises ValueError, naming the entry, for one that is none of these.
    """

    def __init__(self, allowed: Sequence[str], max_length: int = 2048):
        self._max_length = max_length
        self._any = "*" in allowed
        self._prefixes = [(_origin(url), url.path.rstrip("/")) for url in map(_entry, allowed) if url is not None]

    def check(self, url: str) -> None:
        """Raise RequestError, with code "bad_url", unless the URL is an allowed title."""
        fault = self._fault(url)
        if fault:
            raise RequestError(ErrorCode.BAD_URL, fault)

    def allows(self, url: str) -> bool:
        """Whether the URL is an allowed title."""
        return not self._fault(url)

    def _fault(self, url: str) -> str:
        if len(url) > self._max_length:
            return f"The URL is longer than {self._max_length} characters."
        if not url.isprintable() or " " in url or "\\" in url:
            return "The URL contains a space, a backslash or a character that cannot be printed."
        try:
            parts = urlsplit(url)
            origin = _origin(parts)
        except ValueError:
            return "The URL cannot be understood."
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return "A title is an absolute http or https URL."
        if "@" in parts.netloc:
            return "The URL contains a user name."
        if not _HOST.fullmatch(parts.hostname):
            return "The URL's host is not written as browsers do (xn--... for other alphabets)."
        if not self._any and not any(origin == o and _below(parts.path, path) for o, path in self._prefixes):
            return "This server does not allow titles from there (titles.allowed)."
        return ""


def same_title(one: str, other: str) -> bool:
    """Whether two URLs lead to the same title, although one may say how somebody got to it ("trackId") and the other not."""
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
            f"{text!r} is neither an origin such as 'https://www.netflix.com', nor a URL to begin with, nor '*'"
        )
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, default if parts.port is None else parts.port


def _below(path: str, prefix: str) -> bool:
    if not prefix:
        return True
    # Browsers take "%2e" for a dot.
    if ".." in path.lower().replace("%2e", ".").split("/"):
        return False
    return path == prefix or path.startswith(prefix + "/")
