"""Which web pages may read what this server answers."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.http import Request


class Cors:
    """Cross-origin headers.

    allowed_origins: web origins such as "https://www.netflix.com", "null", or "*" for any.
    """

    def __init__(self, allowed_origins: Iterable[str] = ("*",)):
        origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)
        self._any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def apply(self, request: Request) -> None:
        """Set the headers of the answer."""
        headers = request.responseHeaders
        if self._any:
            headers.setRawHeaders(b"Access-Control-Allow-Origin", [b"*"])
        else:
            headers.addRawHeader(b"Vary", b"Origin")
            origin = request.getHeader(b"Origin")
            if origin is None or origin.lower() not in self._origins:
                return
            headers.setRawHeaders(b"Access-Control-Allow-Origin", [origin])
        headers.setRawHeaders(b"Access-Control-Allow-Methods", [b"GET, OPTIONS"])
        # The star never covers Authorization: it has to be named.
        headers.setRawHeaders(b"Access-Control-Allow-Headers", [b"Authorization, Content-Type"])
        headers.setRawHeaders(b"Access-Control-Expose-Headers", [b"Location, Retry-After"])
        if request.method == b"OPTIONS":
            headers.setRawHeaders(b"Access-Control-Max-Age", [b"86400"])
