"""/admin/v1: what tandemctl asks for. Only for who shows the token; there is nothing here where none is configured."""

from __future__ import annotations

import re
from math import ceil
from typing import TypeVar

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request

from ..interfaces import IAdministration
from ..messages import Id
from ..ratelimit.buckets import PerMinute
from .client_addresses import Addresses
from .requests import address_of, forwarded_for, has_bearer
from .responses import NO_STORE, Endpoint, HttpError, Response, json_answer

WRONG_TOKENS = 10
"""Wrong tokens of one address that are answered, and logged, in a minute."""
MOST = 1000

B = TypeVar("B", bound="Body")


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """What is posted."""


class CloseRequest(Body, frozen=True):
    """reason: for the members."""

    reason: str | None = None


class Announcing(Body, frozen=True):
    """text: what everybody is told."""

    text: str


class Draining(Body, frozen=True):
    """undo: take clients again. force: also where no other node could take them."""

    undo: bool = False
    force: bool = False


class AdminApi(Endpoint):
    """Everything below /admin/v1. Questions are asked by GET, acts are done by POST with a body in JSON."""

    posts = True
    _log = Logger()

    def __init__(self, administration: IAdministration, token: str, addresses: Addresses, clock: IReactorTime):
        self._administration = administration
        self._token = token
        self._addresses = addresses
        self._wrong = PerMinute(clock, "wrong", WRONG_TOKENS)

    async def answer(self, request: Request, path: list[str]) -> Response:
        by = self._admitted(request)
        post = request.method == b"POST"
        match path:
            case ["v1", "node"] if not post:
                return json_answer(200, self._administration.node(), NO_STORE)
            case ["v1", "rooms"] if not post:
                after = _argument(request, b"after", "")
                return json_answer(200, {"rooms": await self._administration.rooms(after, _limit(request))}, NO_STORE)
            case ["v1", "rooms", room_id] if not post:
                return _found(await self._administration.room(_room_id(room_id)))
            case ["v1", "rooms", room_id, "events"] if not post:
                events = await self._administration.events(_room_id(room_id), _limit(request))
                return _found(None if events is None else {"events": events})
            case ["v1", "rooms", room_id, "close"] if post:
                closing = _body(request, CloseRequest)
                done = await self._administration.close(_room_id(room_id), by, closing.reason)
                return _found({"closed": True} if done else None)
            case ["v1", "rooms", room_id, "announce"] if post:
                done = await self._administration.announce(_room_id(room_id), by, _text(request))
                return _found({"rooms": 1} if done else None)
            case ["v1", "announce"] if post:
                return json_answer(
                    200, {"rooms": await self._administration.announce_to_all(by, _text(request))}, NO_STORE
                )
            case ["v1", "drain"] if post:
                draining = _body(request, Draining)
                count = self._administration.drain(by, draining.undo, draining.force)
                return json_answer(200, {"connections": count}, NO_STORE)
            case ["v1", "node" | "rooms" | "announce" | "drain"] | ["v1", "rooms", _]:
                raise HttpError(405, f"Use {'GET' if post else 'POST'} here.")
            case ["v1", "rooms", _, "events" | "close" | "announce"]:
                raise HttpError(405, f"Use {'GET' if post else 'POST'} here.")
        raise HttpError(404, "Not found")

    def _admitted(self, request: Request) -> str:
        """Return the address of an administrator. Raise HttpError 401 for a wrong token, or 429 after too many of them."""
        if has_bearer(request, self._token):
            # Never locked out by others at its address: 32 characters cannot be guessed.
            return self._addresses.client(request.getClientAddress(), forwarded_for(request)) or "local"
        wait = self._wrong.take(address_of(request, self._addresses) or "local")
        if wait:
            raise HttpError(429, f"Too many wrong tokens from your address; try again in {ceil(wait)} s.", wait)
        # Without the address: at no level has the log one of a client.
        self._log.warn("administration: a wrong token was shown")
        raise HttpError(401, "Show the token of admin.token: `Authorization: Bearer TOKEN`.")


def _found(value: object) -> Response:
    if value is None:
        raise HttpError(404, "There is no such room, or nobody in it.")
    return json_answer(200, value, NO_STORE)


def _room_id(written: str) -> str:
    try:
        return msgspec.convert(written, Id)
    except msgspec.ValidationError as error:
        raise HttpError(400, f"This is no room id: {error}") from None


def _argument(request: Request, name: bytes, default: str) -> str:
    """Return an argument of the query."""
    try:
        values: list[bytes] = (request.args or {}).get(name, [default.encode()])
        return values[-1].decode()
    except UnicodeDecodeError:
        raise HttpError(400, f"{name.decode()}: it is not UTF-8.") from None


def _limit(request: Request) -> int:
    written = _argument(request, b"limit", "100")
    if not re.fullmatch(r"[0-9]{1,4}", written, re.ASCII) or not 1 <= int(written) <= MOST:
        raise HttpError(400, f"limit: write a number from 1 to {MOST}.")
    return int(written)


def _body(request: Request, kind: type[B]) -> B:
    try:
        return msgspec.json.decode(request.content.read() or b"{}", type=kind)  # type: ignore[union-attr]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, f"The body is wrong: {error}") from None


def _text(request: Request) -> str:
    text = _body(request, Announcing).text.strip()
    if not text or not text.isprintable():
        raise HttpError(400, "text: write one line.")
    return text
