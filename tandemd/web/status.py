"""Endpoint of the node's status, for clients: /status."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from ..interfaces import IRooms
from ..ratelimit.invite_lookups import InviteLookupLimiter
from .client_addresses import Addresses
from .invites import raise_if_limited
from .requests import address_of, bearer
from .responses import Endpoint, HttpError, Response, json_answer


class NodeIdentity(Struct, frozen=True):
    """A node and its process.

    started_at: when the process started, in seconds on the reactor's clock.
    """

    node_id: str
    version: str
    started_at: float


class Status(Endpoint):
    """/status: figures of the node, and the room of a client that shows a member's resume token.

    clock: the reactor's.
    wall: returns the time of day, in seconds since 1970.
    connections: returns the number of open WebSockets.
    limits: the limits of requests with a token.
    """

    def __init__(
        self,
        node: NodeIdentity,
        rooms: IRooms,
        clock: IReactorTime,
        wall: Callable[[], float],
        connections: Callable[[], int],
        limits: InviteLookupLimiter,
        addresses: Addresses,
    ):
        self._node = node
        self._rooms = rooms
        self._clock = clock
        self._wall = wall
        self._connections = connections
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
            "nodeId": self._node.node_id,
            "version": self._node.version,
            "timestamp": int(self._wall() * 1000),
            "uptime": round(self._clock.seconds() - self._node.started_at, 3),
            "localConnections": self._connections(),
            "localRooms": counts["rooms"],
            "localMembers": counts["members"],
            # A room id is enough to join, so only members see theirs.
            "rooms": [] if room is None else [room],
        }
        return json_answer(200, body, ("Cache-Control", "private, max-age=15"), ("Vary", "Authorization"))
