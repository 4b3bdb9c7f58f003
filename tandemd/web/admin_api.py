"""Endpoint of tandemctl: /admin/v1. It requires the token `admin.token`, and does not exist without one."""

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
from ..messages import Id, replace_lone_surrogates
from ..ratelimit.buckets import PerMinute
from .client_addresses import Addresses
from .requests import address_of, argument, forwarded_for, has_bearer
from .responses import NO_STORE, Endpoint, HttpError, Response, json_answer

log = Logger()

WRONG_TOKENS_PER_MINUTE = 10
"""Wrong tokens of one address per minute that are answered with 401, and logged."""
MAX_LIMIT = 1000
"""The largest page of rooms or events."""

B = TypeVar("B", bound="Body")


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST."""


class CloseRequest(Body, frozen=True):
    """reason: a text for the members."""

    reason: str | None = None


class AnnounceRequest(Body, frozen=True):
    """text: one line for all members."""

    text: str


class DrainRequest(Body, frozen=True):
    """Drain the node.

    undo: accept clients again.
    force: drain even if no other node can accept the clients.
    """

    undo: bool = False
    force: bool = False


class AdminApi(Endpoint):
    """Everything below /admin/v1. GET reads, POST with a body in JSON acts."""

    posts = True

    def __init__(self, administration: IAdministration, token: str, addresses: Addresses, clock: IReactorTime):
        self._administration = administration
        self._token = token
        self._addresses = addresses
        self._wrong = PerMinute(clock, "wrong", WRONG_TOKENS_PER_MINUTE)

    async def answer(self, request: Request, path: list[str]) -> Response:
        by = self._admitted(request)
        post = request.method == b"POST"
        match path:
            case ["v1", "node"] if not post:
                return json_answer(200, self._administration.node(), NO_STORE)
            case ["v1", "rooms"] if not post:
                after = argument(request, b"after", "")
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
                draining = _body(request, DrainRequest)
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
            # The right token passes even if the address has shown too many wrong ones: 32 characters cannot be guessed.
            return self._addresses.client(request.getClientAddress(), forwarded_for(request)) or "local"
        wait = self._wrong.take(address_of(request, self._addresses) or "local")
        if wait:
            raise HttpError(429, f"Too many wrong tokens from your address; try again in {ceil(wait)} s.", wait)
        # The log contains no client addresses.
        log.warn("administration: request with a wrong token", event="administration_token_wrong")
        raise HttpError(401, "The request needs the token of admin.token: `Authorization: Bearer TOKEN`.")


def _found(value: object) -> Response:
    if value is None:
        raise HttpError(404, "No open room has this id.")
    return json_answer(200, value, NO_STORE)


def _room_id(written: str) -> str:
    try:
        return msgspec.convert(written, Id)
    except msgspec.ValidationError as error:
        raise HttpError(400, f"Malformed room id: {error}") from None


def _limit(request: Request) -> int:
    written = argument(request, b"limit", "100")
    if not re.fullmatch(r"[0-9]{1,4}", written, re.ASCII) or not 1 <= int(written) <= MAX_LIMIT:
        raise HttpError(400, f"limit: write a number from 1 to {MAX_LIMIT}.")
    return int(written)


def _body(request: Request, kind: type[B]) -> B:
    content: bytes = request.content.read() or b"{}"  # type: ignore[union-attr]
    try:
        return msgspec.json.decode(replace_lone_surrogates(content), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, f"Malformed body: {error}") from None


def _text(request: Request) -> str:
    text = _body(request, AnnounceRequest).text.strip()
    if len(text.splitlines()) != 1:
        raise HttpError(400, "text: write one line.")
    return text
