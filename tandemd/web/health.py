"""What can be asked of a node by HTTP, besides its page."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from math import ceil
from urllib.parse import quote

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from ..interfaces import IRooms
from ..messages import Id
from ..ratelimit.invite_lookups import InviteLookupLimiter
from .client_addresses import Addresses
from .responses import Endpoint, HttpError, Response, json_answer, text_answer

NO_STORE = ("Cache-Control", "no-store")
RENDERED = 1.0
"""Seconds for which a copy of the metrics is served."""
NO_ROOM = "Room not found"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

_CODE = re.compile(r"[0-9A-Za-z]{10}")
_PIN = re.compile(r"[0-9]{1,32}")
_BEARER = re.compile(rb"bearer +([\x21-\x7e]{1,1200})", re.IGNORECASE)
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")


class Health(Endpoint):
    """/health: the process is alive. /health/ready: whether it should be sent clients.

    readiness: returns the reasons why not, for people; empty if it should. warnings: returns what else is wrong.
    """

    def __init__(
        self,
        node_id: str,
        readiness: Callable[[], Sequence[str]],
        warnings: Callable[[], Sequence[str]],
        addresses: Addresses,
    ):
        self._node_id = node_id
        self._readiness = readiness
        self._warnings = warnings
        self._addresses = addresses

    def answer(self, request: Request, path: list[str]) -> Response:
        if not path:
            return json_answer(200, {"status": "ok", "nodeId": self._node_id}, NO_STORE)
        if path != ["ready"]:
            raise HttpError(404, "Not found")
        reasons = list(self._readiness())
        body: dict[str, object] = {"status": "unready" if reasons else "ready", "nodeId": self._node_id}
        if reasons:
            body["reasons"] = reasons
        warnings = [*self._warnings(), *self._addresses.warnings()]
        if warnings:
            body["warnings"] = warnings
        return json_answer(503 if reasons else 200, body, NO_STORE)


class MetricsEndpoint(Endpoint):
    """/metrics: what Prometheus reads. text: renders it, in some 10 ms, so it is called once in `RENDERED` seconds at most.

    token: a scraper must show it as a bearer token; '': none is needed.
    """

    plain = True

    def __init__(self, text: Callable[[], bytes], clock: IReactorTime, token: str = ""):
        self._text = text
        self._clock = clock
        self._token = token
        self._rendered = b""
        self._until = 0.0

    def answer(self, request: Request, path: list[str]) -> Response:
        if path:
            raise HttpError(404, "Not found")
        if self._token and not shows(request, self._token):
            raise HttpError(401, "Show the token of web.metrics_token: `Authorization: Bearer TOKEN`.")
        now = self._clock.seconds()
        # A clock that was set back must not keep the copy.
        if not self._rendered or not self._until - RENDERED <= now < self._until:
            self._rendered, self._until = self._text(), now + RENDERED
        return Response(200, self._rendered, METRICS, (NO_STORE,))


class Status(Endpoint):
    """/status: the node in figures, and the room of whoever proves to be a member by the token.

    started_at: seconds on `clock`. wall: returns the time of day. connections: counts the open WebSockets. limits: of
    questions with a token.
    """

    def __init__(
        self,
        rooms: IRooms,
        node_id: str,
        version: str,
        started_at: float,
        clock: IReactorTime,
        wall: Callable[[], float],
        connections: Callable[[], int],
        limits: InviteLookupLimiter,
        addresses: Addresses,
    ):
        self._limits = limits
        self._addresses = addresses
        self._rooms = rooms
        self._node_id = node_id
        self._version = version
        self._started_at = started_at
        self._clock = clock
        self._wall = wall
        self._connections = connections

    async def answer(self, request: Request, path: list[str]) -> Response:
        if path:
            raise HttpError(404, "Not found")
        token = bearer(request)
        room = None
        if token:
            # The look-up of a room, and a guess at a token: the same limit as for other look-ups.
            allow(
                self._limits.take_for_member(self._addresses.rule(request.getClientAddress(), forwarded_for(request)))
            )
            room = await self._rooms.room_for_token(token)
        counts = self._rooms.counts()
        body = {
            "nodeId": self._node_id,
            "version": self._version,
            "timestamp": int(self._wall() * 1000),
            "uptime": round(self._clock.seconds() - self._started_at, 3),
            "localConnections": self._connections(),
            "localRooms": counts["rooms"],
            "localMembers": counts["members"],
            # Room ids are all that is needed to join: only members get to see theirs.
            "rooms": [] if room is None else [room],
        }
        return json_answer(200, body, ("Cache-Control", "private, max-age=15"), ("Vary", "Authorization"))


class InviteCodes:
    """Finds rooms by invite code and invite codes by room, as often as an address may: the same limit however it is asked."""

    def __init__(self, rooms: IRooms, limits: InviteLookupLimiter, addresses: Addresses):
        self._rooms = rooms
        self._limits = limits
        self._addresses = addresses

    async def room_id(self, request: Request, code: str) -> str:
        """Return the id of the room that a code belongs to.

        Raise HttpError 404 if there is none, 429 if there were too many look-ups.
        """
        address = self._address(request)
        allow(self._limits.take(address))
        room_id = await self._rooms.find_invite(code.lower(), address) if _CODE.fullmatch(code) else None
        if room_id is None:
            raise HttpError(404, NO_ROOM)
        self._limits.refund_last()
        return room_id

    async def code(self, request: Request, room_id: str, wait: float) -> str:
        """Return the invite code of a room that the asker is in, as far as can be told from the address; see IRooms.

        Raise HttpError 404 if it is not, or there is no such room; 429 if there were too many look-ups.
        """
        address = self._address(request)
        allow(self._limits.take_for_member(address))
        invite = await self._rooms.invite(room_id, address, wait)
        if invite is None:
            raise HttpError(404, NO_ROOM)
        return invite

    def _address(self, request: Request) -> str:
        return self._addresses.rule(request.getClientAddress(), forwarded_for(request))


def allow(wait: float) -> None:
    """Raise HttpError 429 where a look-up has to wait. wait: seconds."""
    if wait:
        raise HttpError(429, f"Too many look-ups; try again in {ceil(wait)} s.", wait)


class RoomLink(Endpoint):
    """/room/<code>[/<PIN>][/]: an invite link, which leads to where the title is watched.

    target: a URL, or "/" for this server's own page.
    """

    plain = True

    def __init__(self, codes: InviteCodes, target: str):
        self._codes = codes
        self._target = target.rstrip("/")

    async def answer(self, request: Request, path: list[str]) -> Response:
        if path and not path[-1]:
            path = path[:-1]
        if not 1 <= len(path) <= 2 or not all(_PIN.fullmatch(pin) for pin in path[1:]):
            raise HttpError(404, NO_ROOM)
        room_id = await self._codes.room_id(request, path[0])
        location = f"{self._target}/?tandemRoom={quote(room_id, safe='')}"
        if len(path) == 2:
            location += f"&pin={path[1]}"
        return text_answer(302, f"The party is at {location}", ("Location", location), NO_STORE)


class Api(Endpoint):
    """/api/room/<code>: the room of an invite code. /api/short-id/<room>: the invite code and link of a room.

    The second is for those who are in the room. It is asked beside the first JOIN, and waits up to `short_id_wait` seconds.
    base_url: the beginning of links; empty: as the client reached this server.
    """

    def __init__(self, codes: InviteCodes, addresses: Addresses, base_url: str, short_id_wait: float):
        self._codes = codes
        self._addresses = addresses
        self._base_url = base_url.rstrip("/")
        self._short_id_wait = short_id_wait

    async def answer(self, request: Request, path: list[str]) -> Response:
        match path:
            case ["room", code]:
                room_id = await self._codes.room_id(request, code)
                return json_answer(200, {"roomId": room_id, "shortId": code.lower()}, NO_STORE)
            case ["short-id", room_id]:
                return await self._short_id(request, room_id)
        raise HttpError(404, "Not found")

    async def _short_id(self, request: Request, room_id: str) -> Response:
        try:
            msgspec.convert(room_id, Id)
        except msgspec.ValidationError as error:
            raise HttpError(400, f"This is no room id: {error}") from None
        base_url = self._base_url or reached_url(request, self._addresses)
        invite = await self._codes.code(request, room_id, self._short_id_wait)
        answer = {"shortId": invite, "roomId": room_id, "shortUrl": f"{base_url}/room/{invite}"}
        return json_answer(200, answer, NO_STORE)


def bearer(request: Request) -> str:
    """Return the bearer token that a request shows, or ''."""
    shown = _BEARER.fullmatch((request.getHeader(b"Authorization") or b"").strip())
    return shown[1].decode() if shown else ""


def shows(request: Request, token: str) -> bool:
    """Say whether a request shows this very bearer token."""
    # Hashes: a comparison of the tokens themselves would tell their lengths.
    shown, right = (hashlib.sha256(text.encode()).digest() for text in (bearer(request), token))
    return hmac.compare_digest(shown, right)


def forwarded_for(request: Request) -> list[str]:
    """Return the values of X-Forwarded-For, in order."""
    return [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"X-Forwarded-For", [])]


def reached_url(request: Request, addresses: Addresses) -> str:
    """Return the beginning of the URL by which the client reached this server, such as "https://party.example.org"."""
    forwarded_proto = (request.getHeader(b"X-Forwarded-Proto") or b"").decode("latin-1")
    scheme = "https" if request.isSecure() or addresses.secure(forwarded_proto) else "http"
    host = (request.getHeader(b"Host") or b"").decode("latin-1").strip()
    if not HOST.fullmatch(host):
        raise HttpError(400, "The Host header is missing or is no host name.")
    return f"{scheme}://{host}"
