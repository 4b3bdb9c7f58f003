"""Living nodes, and the takeover of dead nodes' members."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import DeferredList
from zope.interface import implementer

from ...interfaces import IClusterClock
from ...util.server_time import ServerTime
from . import scripts
from .gateway import AWAY_SECONDS, RedisGateway
from .keys import NODES, STORE, places_key
from .metrics import StoreMetrics

DEAD_SECONDS = 10.0
"""Seconds without a heartbeat after which a node is dead."""
TAKEOVER_BATCH_ROOMS = 20
"""Rooms in one step of a takeover."""


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
