"""Readers of request headers that several endpoints use."""

from __future__ import annotations

import hashlib
import hmac
import re

from twisted.web.http import Request

from .client_addresses import Addresses
from .responses import HttpError

MAX_URL_BYTES = 4096
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
"""A host name or an address, perhaps with a port."""

_ABSOLUTE = re.compile(rb"(?:https?|wss?)://([^/?#@]+)(/[^?]*)?(\?.*)?", re.IGNORECASE | re.DOTALL)
"""A request target in absolute-form: authority, path and query (RFC 9112, section 3.2.2)."""

_BEARER = re.compile(rb"bearer +([\x21-\x7e]{1,1200})", re.IGNORECASE)


def origin_form(target: bytes) -> tuple[bytes, bytes] | None:
    """Convert a request target in absolute-form, as clients send it that take the server for a proxy.

    Return the target in origin-form and its authority, which replaces the Host header. Return None for all other targets,
    also for URLs with user information, which are deprecated in requests.
    """
    match = None if target.startswith(b"/") else _ABSOLUTE.fullmatch(target)
    if match is None or not HOST.fullmatch(match[1].decode("latin-1")):
        return None
    return (match[2] or b"/") + (match[3] or b""), match[1]


def header(request: Request, name: bytes) -> str:
    """Return the last value of a header without surrounding spaces, or ''."""
    return (request.getHeader(name) or b"").decode("latin-1").strip()


def bearer(request: Request) -> str:
    """Return the bearer token of a request, or ''."""
    match = _BEARER.fullmatch((request.getHeader(b"Authorization") or b"").strip())
    return match[1].decode() if match else ""


def has_bearer(request: Request, token: str) -> bool:
    """Say whether the bearer token of a request is this one."""
    # A comparison of the tokens themselves would reveal their lengths, so their hashes are compared.
    shown, right = (hashlib.sha256(text.encode()).digest() for text in (bearer(request), token))
    return hmac.compare_digest(shown, right)


def argument(request: Request, name: bytes, default: str) -> str:
    """Return the last value of an argument of the query. Raise HttpError 400 if it is not UTF-8."""
    try:
        values: list[bytes] = (request.args or {}).get(name, [default.encode()])
        return values[-1].decode()
    except UnicodeDecodeError:
        raise HttpError(400, f"{name.decode()}: the value is not UTF-8.") from None


def forwarded_for(request: Request) -> list[str]:
    """Return the values of X-Forwarded-For, in order."""
    return [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"X-Forwarded-For", [])]


def address_of(request: Request, addresses: Addresses) -> str:
    """Return the client's address as rules by address use it. See `Addresses.rule`."""
    return addresses.rule(request.getClientAddress(), forwarded_for(request))


def is_secure(request: Request, addresses: Addresses) -> bool:
    """Say whether the client uses https, perhaps to a trusted proxy."""
    return request.isSecure() or addresses.secure(header(request, b"X-Forwarded-Proto"))


def base_url(request: Request, addresses: Addresses) -> str:
    """Return the beginning of the URL by which the client reached this server, such as "https://party.example.org".

    Raise HttpError 400 if the Host header is missing or malformed.
    """
    scheme = "https" if is_secure(request, addresses) else "http"
    host = header(request, b"Host")
    if not HOST.fullmatch(host):
        raise HttpError(400, "The Host header is missing or is no host name.")
    return f"{scheme}://{host}"


def wants_websocket(request: Request) -> bool:
    """Say whether a request is a WebSocket handshake."""
    if request.path not in (b"/ws", b"/") or len(request.uri) > MAX_URL_BYTES or request.clientproto != b"HTTP/1.1":
        return False
    upgrade = b",".join(request.requestHeaders.getRawHeaders(b"Upgrade", []))
    return b"websocket" in [token.strip().lower() for token in upgrade.split(b",")]
