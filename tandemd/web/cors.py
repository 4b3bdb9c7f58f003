"""The allow-list of web pages that may read responses of this server and open WebSockets."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.http import Request

from ..rules.title_urls import parse_title

OWN, TITLES = "self", "titles"
"""Words for a list of origins: the pages of this server, and the sites of `titles.allowed`."""
USUAL = (OWN, TITLES, "chrome-extension://*", "moz-extension://*", "safari-web-extension://*")
"""The origins of this server's own page, of the allowed titles, and of browser extensions."""


class Cors:
    """The allow-list of origins.

    allowed_origins: web origins such as "https://www.netflix.com", "null", "moz-extension://*" for all of a scheme, OWN,
    TITLES, or "*" for any.
    titles: the URLs of `titles.allowed`.
    own: URLs of this server, besides the Host of a request.
    """

    def __init__(self, allowed_origins: Iterable[str] = ("*",), titles: Iterable[str] = (), own: Iterable[str] = ()):
        listed = [origin.rstrip("/").lower() for origin in allowed_origins]
        self._any = "*" in listed
        site = frozenset(map(origin_of, titles))
        here = frozenset(map(origin_of, own))
        self._listed = _Origins(listed, site, here)
        self._usual = _Origins(USUAL, site, here)

    def allows(self, origin: bytes | None, host: str = "") -> bool:
        """Say whether a page of this origin may open a WebSocket.

        origin: the value of Origin; None for a program that is no browser.
        host: the value of Host.
        """
        return self._any or origin is None or self._listed.has(origin, host)

    def familiar(self, origin: bytes | None, host: str = "") -> bool:
        """Say whether a user is responsible for a connection of this origin. False for a page that only "*" allows."""
        return origin is None or self._listed.has(origin, host) or self._usual.has(origin, host)

    def apply(self, request: Request) -> None:
        """Set the CORS headers of the response."""
        headers = request.responseHeaders
        if self._any:
            headers.setRawHeaders(b"Access-Control-Allow-Origin", [b"*"])
        else:
            headers.addRawHeader(b"Vary", b"Origin")
            origin = request.getHeader(b"Origin")
            if origin is None:
                return
            host = (request.getHeader(b"Host") or b"").decode("latin-1")
            # The browser redirects the extension's request for /status, which then has the origin null.
            if not self._listed.has(origin, host) and (origin, request.path) != (b"null", b"/status"):
                return
            headers.setRawHeaders(b"Access-Control-Allow-Origin", [origin])
        headers.setRawHeaders(b"Access-Control-Allow-Methods", [b"GET, OPTIONS"])
        # A star would not include Authorization.
        headers.setRawHeaders(b"Access-Control-Allow-Headers", [b"Authorization, Content-Type"])
        headers.setRawHeaders(b"Access-Control-Expose-Headers", [b"Location, Retry-After"])
        if request.method == b"OPTIONS":
            headers.setRawHeaders(b"Access-Control-Max-Age", [b"86400"])


class _Origins:
    """Origins in one list, all in lower case."""

    def __init__(self, listed: Iterable[str], titles: Iterable[str], own: Iterable[str]):
        origins = frozenset(listed)
        self._own = OWN in origins
        exact = origins | (frozenset(titles) if TITLES in origins else frozenset())
        exact |= frozenset(own) if self._own else frozenset()
        self._exact = frozenset(origin.encode() for origin in exact) - {b"", OWN.encode(), TITLES.encode()}
        self._schemes = tuple(origin[:-1].encode() for origin in origins if origin.endswith("://*"))

    def has(self, origin: bytes, host: str) -> bool:
        origin = origin.lower()
        if origin in self._exact or origin.startswith(self._schemes):
            return True
        return self._own and bool(host) and _same_host(origin, host.lower())


def _same_host(origin: bytes, host: str) -> bool:
    """Say whether an origin is of this host. The schemes may differ behind a proxy that terminates TLS."""
    scheme, _, place = origin.decode("latin-1").partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme)
    return port is not None and place.removesuffix(port) == host.removesuffix(port)


def origin_of(url: str) -> str:
    """Return the origin of a title's URL, or of a URL of this server, as browsers write it; '' without one."""
    try:
        return parse_title(url).origin
    except ValueError:
        return ""
