"""The router of all HTTP requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from ..interfaces import IAdministration, INodeStatus, IRooms
from ..metrics import Counter
from ..ratelimit.connections import ConnectionLimiter
from ..ratelimit.invite_lookups import InviteLookupLimiter
from .admin_api import AdminApi
from .client_addresses import Addresses
from .cors import Cors
from .health import Health, MetricsEndpoint
from .invites import Api, InviteCodes, RoomLink
from .requests import MAX_URL_BYTES, address_of, forwarded_for, header, wants_websocket
from .responses import Endpoint, HttpError, Response, ResponseWriter, rejection_answer, text_answer
from .settings import WebSettings
from .static_files import Page
from .status import Status
from .video_reader import VideoReader
from .videos import MembersOnly, Videos

if TYPE_CHECKING:
    from .site import TandemChannel

METHODS = "GET, HEAD, OPTIONS"

DRAINING_RESPONSE = text_answer(503, "This node is draining; connect again.\n", ("Retry-After", "1"))
"""The response to WebSocket handshakes while the node drains."""

_HEALTH = (b"/health", b"/health/ready")
"""Paths without a request limit, because load balancers need them. Above the limit, each request needs a new connection."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class NotFound(Endpoint):
    """All other paths. Errors in the path itself have the same form."""

    plain = True

    def answer(self, request: Request, path: list[str]) -> Response:
        raise HttpError(404, "Not found")


class Upgrade(Endpoint):
    """/ws without a WebSocket handshake."""

    plain = True

    def answer(self, request: Request, path: list[str]) -> Response:
        if path:
            raise HttpError(404, "Not found")
        return text_answer(
            426, "This path accepts WebSocket handshakes only.", ("Upgrade", "websocket"), ("Connection", "Upgrade")
        )


class Root(Resource):
    """Routes requests by their whole path.

    Twisted's own traversal of resources accepts malformed escapes.
    """

    isLeaf = True

    def __init__(
        self,
        websocket: IResource,
        endpoints: dict[str, Endpoint],
        page: Endpoint,
        cors: Cors,
        accepts_clients: Callable[[], bool],
        addresses: Addresses,
        limiter: ConnectionLimiter,
        hsts: float = 0.0,
    ):
        """Make the root resource.

        endpoints: by the first part of the path.
        accepts_clients: returns whether the node accepts WebSockets.
        limiter: the limits of connections and requests.
        hsts: the seconds of Strict-Transport-Security.
        """
        super().__init__()
        self._websocket = websocket
        self._endpoints = endpoints
        self._page = page
        self._cors = cors
        self._accepts_clients = accepts_clients
        self._addresses = addresses
        self._limiter = limiter
        self._hsts = hsts
        self._nowhere = NotFound()

    def render(self, request: Request) -> int | bytes:
        channel = cast("TandemChannel", request.channel)
        if request.method == b"GET" and wants_websocket(request):
            refused = channel.refused or self.refusal(
                request.getClientAddress(),
                request.requestHeaders.getRawHeaders(b"Origin", []),
                forwarded_for(request),
                header(request, b"Host"),
            )
            if refused is not None:
                # A new connection costs the client more than a further handshake.
                channel.persistent = 0
                ResponseWriter(request, self._nowhere).send(refused)
                return NOT_DONE_YET
            result: int | bytes = self._websocket.render(request)
            if channel.transport is None:
                channel.taken_over()
            return result
        address = address_of(request, self._addresses)
        channel.asked_by(address)
        # The limit comes before the path is parsed, because a malformed path costs as much.
        refused = None
        if request.path not in _HEALTH:
            rejected = self._limiter.request(address)
            refused = None if rejected is None else rejection_answer(rejected)
        elif self._limiter.checks_often(address):
            channel.persistent = 0
        request.setHeader(b"Server", b"tandemd")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        if self._hsts and request.isSecure():
            request.setHeader(b"Strict-Transport-Security", b"max-age=%d" % self._hsts)
        self._cors.apply(request)
        if refused is not None:
            ResponseWriter(request, self._nowhere).send(refused)
            return NOT_DONE_YET
        if request.method == b"OPTIONS":
            ResponseWriter(request, self._nowhere).send(Response(200, headers=(("Allow", METHODS),)))
            return NOT_DONE_YET
        try:
            endpoint, path = self._route(_parts(request))
        except HttpError as error:
            ResponseWriter(request, self._nowhere).send(self._nowhere.error(error.status, error.text))
            return NOT_DONE_YET
        delivery = ResponseWriter(request, endpoint)
        if any(".." in part.split("/") for part in path):
            # Proxies authorize requests by their path. Some resolve this part, others do not.
            delivery.send(endpoint.error(404, "Not found"))
        elif (
            request.method in (b"GET", b"HEAD")
            or endpoint is self._nowhere
            or (endpoint.posts and request.method == b"POST")
        ):
            delivery.run(path)
        else:
            refusal = endpoint.error(405, f"This path accepts only {METHODS}.")
            delivery.send(msgspec.structs.replace(refusal, headers=(*refusal.headers, ("Allow", METHODS))))
        return NOT_DONE_YET

    def refusal(self, peer: object, origins: Sequence[bytes], forwarded: Sequence[str], host: str) -> Response | None:
        """Return the response that rejects a handshake, or None. To be called once for each handshake.

        peer: the transport's.
        origins, forwarded, host: the values of Origin, X-Forwarded-For and Host.
        """
        if not self._accepts_clients():
            return DRAINING_RESPONSE
        if not all(self._cors.allows(origin, host) for origin in origins):
            return rejection_answer(self._limiter.refuse_origin())
        rejected = self._limiter.check(self._addresses.rule(peer, forwarded))
        return None if rejected is None else rejection_answer(rejected)

    def _route(self, parts: list[str]) -> tuple[Endpoint, list[str]]:
        match parts:
            case [""]:
                return self._page, ["index.html"]
            case ["page", *rest]:
                return self._page, rest
            case [first, *rest] if first in self._endpoints:
                return self._endpoints[first], rest
        return self._nowhere, parts


def _parts(request: Request) -> list[str]:
    """Return the decoded parts of the path; an escaped slash stays within its part. Raise HttpError 400, 404 or 414."""
    if len(request.uri) > MAX_URL_BYTES:
        raise HttpError(414, f"The URL is longer than {MAX_URL_BYTES} bytes.")
    path = request.path
    if not path.startswith(b"/"):
        raise HttpError(
            400, "The request target must be a path that begins with a slash, or an http:// or https:// URL."
        )
    if _BAD_ESCAPE.search(path):
        raise HttpError(400, "In the path, two hexadecimal digits must follow %; write %25 for the character itself.")
    try:
        parts = [unquote_to_bytes(part).decode() for part in path[1:].split(b"/")]
    except UnicodeDecodeError:
        raise HttpError(400, "The path is not UTF-8.") from None
    if any(_CONTROL.search(part) for part in parts):
        raise HttpError(400, "The path contains a control character.")
    if b"%" in path[1:].partition(b"/")[0]:
        # No endpoint's name needs an escape. Some proxies that keep clients from /admin and /metrics compare the path as it is.
        raise HttpError(404, "Not found")
    return parts


class WebServices(Struct, frozen=True):
    """The parts of a node that serve HTTP requests.

    websocket: takes over the connections at /ws and /, while the node accepts clients.
    metrics_text: returns the metrics in the text format of Prometheus.
    limiter: the limits of connections and requests.
    lookups_refused: counts rejected look-ups of invite codes.
    cors: the web pages that may use the server.
    administration: the service behind /admin; None: none.
    hosts: returns the hosts under which other machines may reach this one, see `machine_addresses.reachable_hosts`.
    videos: the films of the server; None: none.
    """

    websocket: IResource
    rooms: IRooms
    metrics_text: Callable[[], bytes]
    addresses: Addresses
    limiter: ConnectionLimiter
    lookups_refused: Counter
    cors: Cors
    administration: IAdministration | None
    hosts: Callable[[], list[str]]
    videos: VideoReader | None = None


def root_resource(
    settings: WebSettings, status: INodeStatus, services: WebServices, clock: IReactorTime, wall: Callable[[], float]
) -> Root:
    """Return the root resource of a node.

    clock: the reactor's. wall: returns the time of day, in seconds since 1970.
    """
    addresses = services.addresses
    lookups = InviteLookupLimiter(clock, settings.code_lookups, settings.code_lookups_total, services.lookups_refused)
    codes = InviteCodes(services.rooms, lookups, addresses)
    endpoints: dict[str, Endpoint] = {
        "health": Health(settings.node_id, status, addresses),
        "metrics": MetricsEndpoint(services.metrics_text, clock, settings.metrics_token),
        "status": Status(settings.node_id, settings.version, status, services.rooms, wall, lookups, addresses),
        "room": RoomLink(codes, settings.redirect_target),
        "ws": Upgrade(),
        "api": Api(
            codes,
            addresses,
            settings.invite_base_url,
            settings.short_id_wait,
            settings.client_config,
            services.hosts,
        ),
        "client": Page(settings.client_directory, settings.titles),
    }
    if services.administration is not None and settings.admin_token:
        endpoints["admin"] = AdminApi(services.administration, settings.admin_token, addresses, clock)
    if services.videos is not None:
        only = MembersOnly(services.rooms, lookups, addresses, clock) if settings.videos_access == "members" else None
        endpoints["videos"] = Videos(services.videos, addresses, only)
    page = Page(settings.page_directory, settings.titles)
    return Root(
        services.websocket,
        endpoints,
        page,
        services.cors,
        status.accepts_clients,
        addresses,
        services.limiter,
        settings.hsts,
    )
