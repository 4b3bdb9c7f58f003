"""Faults: each begins, lasts, and ends; afterwards all must be well in time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import deferLater

from .client import OldClient
from .cluster import Cluster, NodeProcess
from .party import Party


@dataclass
class Stage:
    """Where faults happen. long: whether there is time for faults to last."""

    reactor: Any
    cluster: Cluster
    party: Party
    random: random.Random
    long: bool = False

    def node(self) -> NodeProcess:
        """Return some node that is well."""
        return self.random.choice([node for node in self.cluster.nodes if node.accepts])

    async def wait(self, seconds: float) -> None:
        """Let time pass in which a fault lasts."""
        await deferLater(self.reactor, seconds)


async def kill_node(stage: Stage) -> None:
    """kill -9 of a node: its clients go elsewhere, at once. It is started again later."""
    node = stage.node()
    await node.kill()


async def start_nodes(stage: Stage) -> None:
    """Start the nodes again that were killed."""
    for node in stage.cluster.nodes:
        if node.process.status is not None:
            await node.start()


async def freeze_node(stage: Stage) -> None:
    """SIGSTOP of a node for longer than its sign of life is believed, then SIGCONT."""
    node = stage.node()
    node.freeze()
    await stage.wait(stage.random.uniform(11, 14))
    node.thaw()


async def restart_redis_complete(stage: Stage) -> None:
    """Redis comes back with everything it had."""
    await stage.cluster.restart_redis("complete")


async def restart_redis_older(stage: Stage) -> None:
    """Redis comes back with what it had a moment ago."""
    await stage.cluster.keep_redis()
    await stage.wait(stage.random.uniform(0.5, 2))
    await stage.cluster.restart_redis("older")


async def restart_redis_empty(stage: Stage) -> None:
    """Redis comes back with nothing."""
    await stage.cluster.restart_redis("none")


async def freeze_redis(stage: Stage) -> None:
    """Redis does not answer for a while."""
    stage.cluster.freeze_redis()
    await stage.wait(stage.random.uniform(0.5, 8) if stage.long else 4.5)
    stage.cluster.thaw_redis()


async def kill_subscriptions(stage: Stage) -> None:
    """All subscriptions end."""
    stage.cluster.ask_redis("CLIENT", "KILL", "TYPE", "pubsub")


async def cut_redis(stage: Stage) -> None:
    """A node's connections to Redis end; whatever was on its way is lost."""
    stage.node().proxy.cut()


async def black_hole(stage: Stage) -> None:
    """A subscription is silent, and its end does not know."""
    stage.node().proxy.black_hole(subscriptions_only=True)


async def stop_postgres(stage: Stage) -> None:
    """PostgreSQL is away for a while."""
    await stage.cluster.stop_postgres()
    await stage.wait(stage.random.uniform(2, 60) if stage.long else 2)
    await stage.cluster.start_postgres()


async def kill_postgres_connections(stage: Stage) -> None:
    """PostgreSQL ends all connections."""
    await stage.cluster.kill_postgres_connections()


async def restart_worker(stage: Stage) -> None:
    """Some old clients come back under new user ids."""
    old = [client for client in stage.party.clients if isinstance(client, OldClient) and client.joined]
    for client in stage.random.sample(old, min(2, len(old))):
        client.restart_worker()


Fault = Callable[[Stage], Awaitable[None]]

REDIS: tuple[Fault, ...] = (restart_redis_complete, restart_redis_older, restart_redis_empty)
"""After these the rooms go on under new epochs."""

DATA_LOSS: tuple[Fault, ...] = (restart_redis_older, restart_redis_empty)

POSTGRES: tuple[Fault, ...] = (stop_postgres, kill_postgres_connections)
"""During these the rooms are always usable."""

ALL: tuple[Fault, ...] = (
    kill_node, freeze_node, *REDIS, freeze_redis, kill_subscriptions, cut_redis, black_hole, *POSTGRES, restart_worker,
)  # fmt: skip
