"""Which titles a room may show: absolute http(s) URLs that the configuration allows."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from ..errors import Refused

CLIP = "https://tandemd.invalid/clip"
"""Stands for the party page's own clip, under whatever name a member reaches the server. It leads nowhere else."""


class Titles:
    """The allow-list: origins ("https://www.netflix.com"), URLs with a path that the title's must begin with, or "*".

    Raises ValueError, naming the entry, for one that is none of these.
    """

    def __init__(self, allowed: Sequence[str], max_length: int = 2048):
        self._max_length = max_length
        self._any = "*" in allowed
        self._prefixes = [(_origin(url), url.path.rstrip("/")) for url in map(_entry, allowed) if url is not None]

    def check(self, url: str) -> None:
        """Raise Refused, with code "bad_url", unless the URL is an allowed title."""
        if len(url) > self._max_length:
            raise Refused("bad_url", f"The URL is longer than {self._max_length} characters.")
        if not url.isprintable() or " " in url or "\\" in url:
            raise Refused("bad_url", "The URL contains a space, a backslash or a character that cannot be printed.")
        try:
            parts = urlsplit(url)
            origin = _origin(parts)
        except ValueError:
            raise Refused("bad_url", "The URL cannot be understood.") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused("bad_url", "A title is an absolute http or https URL.")
        if "@" in parts.netloc:
            raise Refused("bad_url", "The URL contains a user name.")
        if not self._any and not any(origin == o and _below(parts.path, path) for o, path in self._prefixes):
            raise Refused("bad_url", "This server does not allow titles from there (titles.allowed).")


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
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            f"{text!r} is neither an origin such as 'https://www.netflix.com', nor a URL to begin with, nor '*'"
        )
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default


def _below(path: str, prefix: str) -> bool:
    if not prefix:
        return True
    # Browsers take "%2e" for a dot.
    if ".." in path.lower().replace("%2e", ".").split("/"):
        return False
    return path == prefix or path.startswith(prefix + "/")
