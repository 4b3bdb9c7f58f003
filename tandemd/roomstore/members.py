"""Which nodes are alive, and what becomes of the members of one that is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..interfaces import IFollower
from ..metrics import Metrics
from . import scripts
from .link import Link

DEAD_AFTER = 10.0
"""Seconds without a sign of life after which a node is dead."""


class Members:
    """This node's signs of life, and the taking over of dead nodes' members.

    name: "node/boot/" of this node. places: returns the key of the set of rooms in which a node has members.
    alive: how many nodes have given a sign of life lately, this one included. floor: server time before which no grace
    period began, as far as it matters: the store was away until then.
    """

    def __init__(
        self, link: Link, nodes: bytes, store: bytes, name: str, places: Callable[[str], bytes], metrics: Metrics
    ):
        self.floor = 0.0
        self.alive = 1
        self._link = link
        self._nodes = nodes
        self._store = store
        self._name = name
        self._places = places
        self._metrics = metrics
        self._follower: IFollower | None = None
        self._taken: set[str] = set()

    def attach(self, follower: IFollower) -> None:
        """Set who puts members in their grace period."""
        self._follower = follower

    async def beat(self) -> tuple[float, Sequence[str]]:
        """Give a sign of life; return the time and the names of dead nodes. Raises Disconnected or RedisError."""
        now, floor, dead, alive = await self._link.run(
            scripts.BEAT, [self._nodes, self._store], self._name.encode(), b"%f" % DEAD_AFTER
        )
        self.floor = float(floor)
        self.alive = int(alive)
        return float(now), [name.decode() for name in dead]

    async def take_over(self, dead: Sequence[str]) -> None:
        """Begin the grace period of dead nodes' members. All nodes try; the first commit in each room counts."""
        for prefix in dead:
            places = self._places(prefix)
            codes = await self._link.call(b"SMEMBERS", places)
            if prefix not in self._taken:
                self._taken.add(prefix)
                self._metrics.takeovers.value += 1
            if not codes:
                await self._link.call(b"ZREM", self._nodes, prefix.encode())
                continue
            for code in codes:
                if self._follower is not None:
                    await self._follower.node_lost(code.decode(), prefix)
                await self._link.call(b"SREM", places, code)
