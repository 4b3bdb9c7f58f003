"""Endpoint of the node's status, for clients: /status."""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.http import Request

from ..interfaces import INodeStatus, IRooms
from ..ratelimit.invite_lookups import InviteLookupLimiter
from .client_addresses import Addresses
from .invites import raise_if_limited
from .requests import address_of, bearer
from .responses import Endpoint, HttpError, Response, json_answer


class Status(Endpoint):
    """/status: figures of the node, and the room of a client that shows a member's resume token.

    wall: returns the time of day, in seconds since 1970.
    limits: the limits of requests with a token.
    """

    def __init__(
        self,
        node_id: str,
        version: str,
        status: INodeStatus,
        rooms: IRooms,
        wall: Callable[[], float],
        limits: InviteLookupLimiter,
        addresses: Addresses,
    ):
        self._node_id = node_id
        self._version = version
        self._status = status
        self._rooms = rooms
        self._wall = wall
        self._limits = limits
        self._addresses = addresses

    async def answer(self, request: Request, path: list[str]) -> Response:
        if path:
            raise HttpError(404, "Not found")
        token = bearer(request)
        room = None
        if token:
            # The request looks up a room, and may guess a token, so it counts as a look-up.
            raise_if_limited(self._limits.take_for_member(address_of(request, self._addresses)))
            room = await self._rooms.room_for_token(token)
        counts = self._rooms.counts()
        body = {
            "nodeId": self._node_id,
            "version": self._version,
            "timestamp": int(self._wall() * 1000),
            "uptime": round(self._status.uptime(), 3),
            "localConnections": self._status.connection_count(),
            "localRooms": counts["rooms"],
            "localMembers": counts["members"],
            # A room id is enough to join, so only members see theirs.
            "rooms": [] if room is None else [room],
        }
        return json_answer(200, body, ("Cache-Control", "private, max-age=15"), ("Vary", "Authorization"))
