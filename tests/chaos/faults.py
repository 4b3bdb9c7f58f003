"""Faults: each begins, lasts and ends; afterwards the cluster must recover in time."""

from __future__ import annotations

import random
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import deferLater

from .client import OldClient
from .cluster import Cluster, NodeProcess
from .party import Party


@dataclass
class Stage:
    """Where faults happen. long: whether faults may last."""

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
    """Redis comes back with its data of a moment ago."""
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
    """A node's connections to Redis end, with all bytes on their way."""
    stage.node().proxy.cut()


async def black_hole(stage: Stage) -> None:
    """A subscription is silent, and its end does not know."""
    stage.node().proxy.black_hole(subscriptions_only=True)


async def slow_redis(stage: Stage) -> None:
    """All that a node asks Redis, and all that it hears, is late, each time another while."""
    proxy = stage.node().proxy
    for way in ("requests", "replies"):
        for subscriptions in (False, True):
            proxy.slow(way, 0.15, 0.2, subscriptions=subscriptions)
    await stage.wait(stage.random.uniform(5, 30) if stage.long else 2.5)
    proxy.let_go()


async def late_answers(stage: Stage) -> None:
    """A node hears of others' changes long before it gets Redis' answers."""
    proxy = stage.node().proxy
    proxy.slow("replies", 0.15)
    await stage.wait(stage.random.uniform(5, 30) if stage.long else 2.5)
    proxy.let_go()


async def late_news(stage: Stage) -> None:
    """A node gets Redis' answers long before it hears of others' changes."""
    proxy = stage.node().proxy
    proxy.slow("replies", 0.3, 0.3, subscriptions=True)
    await stage.wait(stage.random.uniform(5, 30) if stage.long else 2.5)
    proxy.let_go()


async def _stall(stage: Stage, way: str, *, subscriptions: bool = False) -> None:
    proxy = stage.node().proxy
    proxy.hold(way, subscriptions=subscriptions)
    await stage.wait(stage.random.uniform(0.5, 6) if stage.long else 2.5)
    proxy.let_go()


async def stall_requests(stage: Stage) -> None:
    """The requests of a node to Redis do not get there for a while, and then all of them do."""
    await _stall(stage, "requests")


async def stall_replies(stage: Stage) -> None:
    """Redis' answers to a node do not get there for a while, and then all of them do."""
    await _stall(stage, "replies")


async def stall_news(stage: Stage) -> None:
    """News of other nodes do not get to a node for a while, and then all of them do."""
    await _stall(stage, "replies", subscriptions=True)


async def _fill_journal(stage: Stage) -> None:
    """Have the journal in Redis full, by copies of an entry: the archive takes nothing twice."""
    while not stage.cluster.ask_redis("XLEN", "tandem:journal"):
        await stage.wait(0.05)
    stage.cluster.ask_redis("EVAL", _FILL, "1", "tandem:journal", str(JOURNAL))


_FILL = """
local entry = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][2]
while redis.call('XLEN', KEYS[1]) < tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', unpack(entry)) end
"""

JOURNAL = 1000
"""How many entries the nodes' journal must hold at most for these (TANDEMD_REDIS_JOURNAL_LENGTH)."""


async def full_disks(stage: Stage) -> None:
    """PostgreSQL is away, the journal in Redis is full, and no node can write to its files; then all is well again."""
    await stage.cluster.stop_postgres()
    await _fill_journal(stage)
    nodes = [node for node in stage.cluster.nodes if node.accepts]
    for node in nodes:
        node.limit(resource.RLIMIT_FSIZE, 5000)
    await stage.wait(stage.random.uniform(5, 30) if stage.long else 5)
    for node in nodes:
        node.limit(resource.RLIMIT_FSIZE, None)
    await stage.wait(1.5)  # every second, the journal in memory is written
    await stage.cluster.start_postgres()


async def no_files(stage: Stage) -> None:
    """A node can open nothing more for a while, neither files nor connections."""
    node = stage.node()
    node.limit(resource.RLIMIT_NOFILE, 3)
    node.proxy.cut()
    await stage.wait(stage.random.uniform(2, 10) if stage.long else 2)
    node.limit(resource.RLIMIT_NOFILE, None)


async def useless_directory(stage: Stage) -> None:
    """PostgreSQL is away until a node has spooled something, and the spool cannot be moved for a while."""
    node = stage.node()
    await stage.cluster.stop_postgres()
    await _fill_journal(stage)
    await stage.wait(stage.random.uniform(5, 20) if stage.long else 4)
    obstacle = node.state / "journal.spool.moving" / "obstacle"
    if not obstacle.parent.exists():
        obstacle.mkdir(parents=True)
    await stage.cluster.start_postgres()
    await stage.wait(3)
    if obstacle.exists():
        obstacle.rmdir()
        obstacle.parent.rmdir()


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

SLOW: tuple[Fault, ...] = (slow_redis, late_answers, late_news, stall_requests, stall_replies, stall_news)
"""Nothing is lost, and some of it is late."""

DISKS: tuple[Fault, ...] = (full_disks, no_files, useless_directory)

ALL: tuple[Fault, ...] = (
    kill_node, freeze_node, *REDIS, freeze_redis, kill_subscriptions, cut_redis, black_hole, *POSTGRES, restart_worker,
    *SLOW, *DISKS,
)  # fmt: skip
