"""Which web pages may use this server: read its answers, and open a WebSocket."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.http import Request


class Cors:
    """The allow-list of origins.

    allowed_origins: web origins such as "https://www.netflix.com", "null", "moz-extension://*" for all of a scheme, or "*"
    for any.
    """

    def __init__(self, allowed_origins: Iterable[str] = ("*",)):
        origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)
        self._any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)
        self._schemes = tuple(origin[:-1].encode() for origin in origins if origin.endswith("://*"))

    def allows(self, origin: bytes | None) -> bool:
        """Say whether a page of this origin may open a WebSocket; None is for a program that is no web page."""
        return self._any or origin is None or self._listed(origin)

    def _listed(self, origin: bytes) -> bool:
        origin = origin.lower()
        return origin in self._origins or origin.startswith(self._schemes)

    def apply(self, request: Request) -> None:
        """Set the headers of the answer."""
        headers = request.responseHeaders
        if self._any:
            headers.setRawHeaders(b"Access-Control-Allow-Origin", [b"*"])
        else:
            headers.addRawHeader(b"Vary", b"Origin")
            origin = request.getHeader(b"Origin")
            if origin is None or not self._listed(origin):
                return
            headers.setRawHeaders(b"Access-Control-Allow-Origin", [origin])
        headers.setRawHeaders(b"Access-Control-Allow-Methods", [b"GET, OPTIONS"])
        # The star never covers Authorization: it has to be named.
        headers.setRawHeaders(b"Access-Control-Allow-Headers", [b"Authorization, Content-Type"])
        headers.setRawHeaders(b"Access-Control-Expose-Headers", [b"Location, Retry-After"])
        if request.method == b"OPTIONS":
            headers.setRawHeaders(b"Access-Control-Max-Age", [b"86400"])
