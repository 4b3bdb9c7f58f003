"""Living nodes, the takeover of dead nodes' members, and of own members whose end Redis has lost."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater
from zope.interface import implementer

from ...interfaces import IClusterClock
from ...util.server_time import ServerTime
from . import scripts
from .connection import DisconnectedError, RedisError
from .gateway import AWAY_SECONDS, RedisGateway
from .keys import NODES, STORE, places_key
from .metrics import StoreMetrics

DEAD_SECONDS = 10.0
"""Seconds without a heartbeat after which a node is dead."""
TAKEOVER_BATCH_ROOMS = 20
"""Rooms in one step of a takeover, or of a check of this node's own connections."""


class ClusterMembership:
    """Sends this node's heartbeats, and takes over members of dead nodes.

    name: "node/boot/" of this node.
    alive: the number of living nodes, including this one.
    floor: the server time before which no grace period can have begun, see `IClusterClock.grace_floor`.
    heard_at: the server time of this node's last heartbeat.
    """

    def __init__(self, gateway: RedisGateway, name: str, metrics: StoreMetrics):
        self.floor = 0.0
        self._their_floor = b""
        self.alive = 1
        self.heard_at = 0.0
        self._gateway = gateway
        self._link = gateway.link
        self._time = gateway.time
        self._name = name
        self._metrics = metrics
        self._counted: set[str] = set()
        self._taking = False
        self._has_unknown_places = False
        self._unchecked: set[bytes] = set()
        self._checking = False

    async def beat(self) -> tuple[float, bytes, Sequence[str]]:
        """Send a heartbeat; return Redis' time, the store's incarnation and the names of dead nodes.

        Raises DisconnectedError or RedisError.
        """
        now, floor, number, dead, alive = await self._link.run(
            scripts.NODE_HEARTBEAT,
            [NODES, STORE],
            {
                "node": self._name.encode(),
                "dead_seconds": b"%f" % DEAD_SECONDS,
                "away_seconds": b"%f" % AWAY_SECONDS,
                "server_time": b"%f" % self._time.now(),
            },
        )
        self.alive = int(alive)
        self.heard_at = self._time.now()
        if floor != self._their_floor:
            # Both clocks agree on the elapsed time, but not on the time of day.
            self._their_floor = floor
            self.floor = self.heard_at - max(0.0, float(now) - float(floor)) if float(floor) else 0.0
        return float(now), number, [name.decode() for name in dead]

    async def take_over(self, dead: Sequence[str]) -> None:
        """Start the grace period of dead nodes' members. All nodes try; the first commit in each room counts.

        The next heartbeat retries failed rooms. Raises DisconnectedError or RedisError.
        """
        if self._taking:
            return
        self._taking = True
        try:
            for prefix in dead:
                await self._take(prefix)
        finally:
            self._taking = False

    async def _take(self, prefix: str) -> None:
        places = places_key(prefix)
        room_ids = await self._link.call(b"SMEMBERS", places)
        if prefix not in self._counted:
            self._counted.add(prefix)
            self._metrics.takeovers.value += 1
        if not room_ids:
            await self._link.call(b"ZREM", NODES, prefix.encode())
            self._counted.discard(prefix)
            return
        self._gateway.random.shuffle(room_ids)  # other nodes do the same, in another order
        for start in range(0, len(room_ids), TAKEOVER_BATCH_ROOMS):
            some = room_ids[start : start + TAKEOVER_BATCH_ROOMS]
            noted = await DeferredList(
                [self._gateway.events.node_lost(room_id.decode(), prefix) for room_id in some], consumeErrors=True
            )
            done = [room_id for room_id, (worked, _) in zip(some, noted, strict=True) if worked]
            if done:
                await self._link.call(b"SREM", places, *done)

    def data_changed(self) -> None:
        """Have the next heartbeats check the connections of this node, because Redis or the archive may have lost their end."""
        self._has_unknown_places = True

    async def check_connections(self) -> None:
        """Start the grace period of members whose connections were here and have ended. The next heartbeat retries failed rooms.

        A node that has such a room open would know, but if no node has, no event opens it. Raises DisconnectedError or RedisError.
        """
        if self._checking:
            return
        self._checking = True
        try:
            if self._has_unknown_places:
                self._has_unknown_places = False
                try:
                    self._unchecked.update(await self._link.call(b"SMEMBERS", places_key(self._name)))
                except (DisconnectedError, RedisError):
                    self._has_unknown_places = True
                    raise
            room_ids = sorted(self._unchecked)
            for start in range(0, len(room_ids), TAKEOVER_BATCH_ROOMS):
                some = room_ids[start : start + TAKEOVER_BATCH_ROOMS]
                checked = await DeferredList(
                    [self._gateway.events.check_connections(room_id.decode()) for room_id in some], consumeErrors=True
                )
                self._unchecked.difference_update(
                    room_id for room_id, (worked, done) in zip(some, checked, strict=True) if worked and done
                )
                await deferLater(self._gateway.clock, 0)  # rooms that are open answer at once
        finally:
            self._checking = False


@implementer(IClusterClock)
class RedisClock:
    """Server time, steered to Redis' clock."""

    def __init__(self, time: ServerTime, members: ClusterMembership):
        self._time = time
        self._members = members
        # Each message asks for the time: this saves a call.
        self.now = time.now  # type: ignore[method-assign]

    def now(self) -> float:
        return self._time.now()

    def grace_floor(self) -> float:
        return self._members.floor
