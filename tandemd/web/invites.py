"""Endpoints of invite links, invite codes and the node's configuration for clients: /room and /api."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil
from urllib.parse import quote

import msgspec
from twisted.web.http import Request

from ..interfaces import IRooms
from ..messages import Id
from ..ratelimit.invite_lookups import InviteLookupLimiter
from .client_addresses import Addresses, client_address
from .client_config import ClientConfig
from .machine_addresses import is_loopback
from .requests import address_of, base_url, forwarded_for
from .responses import NO_STORE, Endpoint, HttpError, Response, json_answer, text_answer

ROOM_NOT_FOUND = "Room not found"

_CODE = re.compile(r"[0-9A-Za-z]{10}")
_PIN = re.compile(r"[0-9]{1,32}")


class InviteCodes:
    """Finds rooms by invite code, and invite codes by room. All endpoints share the limits of an address."""

    def __init__(self, rooms: IRooms, limits: InviteLookupLimiter, addresses: Addresses):
        self._rooms = rooms
        self._limits = limits
        self._addresses = addresses

    async def room_id(self, request: Request, code: str) -> str:
        """Return the id of the room with this invite code.

        Raise HttpError 404 for an unknown code, 429 after too many look-ups.
        """
        address = self._address(request)
        raise_if_limited(self._limits.take(address))
        room_id = await self._rooms.find_invite(code.lower(), address) if _CODE.fullmatch(code) else None
        if room_id is None:
            raise HttpError(404, ROOM_NOT_FOUND)
        self._limits.refund_last()
        return room_id

    async def code(self, request: Request, room_id: str, wait: float) -> str:
        """Return the invite code of a room. A member must be connected from the client's address, see `IRooms.invite`.

        wait: seconds to wait for that member's JOIN.
        Raise HttpError 404 for an unknown room, or without such a member; 429 after too many look-ups.
        """
        address = self._address(request)
        raise_if_limited(self._limits.take_for_member(address))
        invite = await self._rooms.invite(room_id, address, wait)
        if invite is None:
            raise HttpError(404, ROOM_NOT_FOUND)
        return invite

    def _address(self, request: Request) -> str:
        return address_of(request, self._addresses)


def raise_if_limited(wait: float) -> None:
    """Raise HttpError 429 if `wait`, the seconds until the next look-up is allowed, is not 0."""
    if wait:
        raise HttpError(429, f"Too many look-ups; try again in {ceil(wait)} s.", wait)


class RoomLink(Endpoint):
    """/room/<code>[/<PIN>][/]: an invite link. It redirects to the site of the title.

    target: a URL, or "/" for this server's own page. The redirect to the page is relative, because a proxy may serve the page
    below a path.
    """

    plain = True

    def __init__(self, codes: InviteCodes, target: str):
        self._codes = codes
        self._target = target.rstrip("/")

    async def answer(self, request: Request, path: list[str]) -> Response:
        # A browser resolves ".." against the directory of the link: /room/, /room/<code>/ or /room/<code>/<PIN>/.
        start = self._target or "/".join([".."] * len(path))
        if path and not path[-1]:
            path = path[:-1]
        if not 1 <= len(path) <= 2 or not all(_PIN.fullmatch(pin) for pin in path[1:]):
            raise HttpError(404, ROOM_NOT_FOUND)
        room_id = await self._codes.room_id(request, path[0])
        location = f"{start}/?tandemRoom={quote(room_id, safe='')}"
        if len(path) == 2:
            location += f"&pin={path[1]}"
        return text_answer(302, f"The party is at {location}", ("Location", location), NO_STORE)


class Api(Endpoint):
    """/api/room/<code>: the room of an invite code. /api/short-id/<room>: the invite code and link of a room. /api/config.

    The second is for members of the room. Clients send the request beside their first JOIN, so that it waits for the JOIN.

    /api/addresses: the hosts for links to this machine, for clients on this machine.

    invite_base_url: the beginning of links; empty: the URL by which the client reached this server.
    short_id_wait: the longest wait, in seconds.
    config: the answer of /api/config.
    hosts: returns the hosts under which other machines may reach this one.
    """

    def __init__(
        self,
        codes: InviteCodes,
        addresses: Addresses,
        invite_base_url: str,
        short_id_wait: float,
        config: ClientConfig,
        hosts: Callable[[], list[str]],
    ):
        self._codes = codes
        self._addresses = addresses
        self._invite_base_url = invite_base_url.rstrip("/")
        self._short_id_wait = short_id_wait
        self._config = json_answer(200, msgspec.to_builtins(config), ("Cache-Control", "private, max-age=60"))
        self._hosts = hosts

    async def answer(self, request: Request, path: list[str]) -> Response:
        match path:
            case ["room", code]:
                room_id = await self._codes.room_id(request, code)
                return json_answer(200, {"roomId": room_id, "shortId": code.lower()}, NO_STORE)
            case ["short-id", room_id]:
                return await self._short_id(request, room_id)
            case ["config"]:
                return self._config
            case ["addresses"]:
                # A proxy on this machine forwards requests of others.
                client = client_address(request.getClientAddress(), (), 0)
                local = is_loopback(client) and not forwarded_for(request)
                return json_answer(200, {"addresses": self._hosts() if local else []}, NO_STORE)
        raise HttpError(404, "Not found")

    async def _short_id(self, request: Request, room_id: str) -> Response:
        try:
            msgspec.convert(room_id, Id)
        except msgspec.ValidationError as error:
            raise HttpError(400, f"Malformed room id: {error}") from None
        start = self._invite_base_url or base_url(request, self._addresses)
        invite = await self._codes.code(request, room_id, self._short_id_wait)
        answer = {"shortId": invite, "roomId": room_id, "shortUrl": f"{start}/room/{invite}"}
        return json_answer(200, answer, NO_STORE)
