"""The faults: each begins, lasts for its time, and ends."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, cast

from twisted.internet.task import deferLater

from ..chaos.client import Client, NewClient, OldClient
from ..chaos.party import Party
from .cluster import Cluster, SimulatedNode
from .network import Delays, Side
from .schedule import Fault
from .world import World

LONG_SECONDS = 13.0
"""A node that is frozen for so long is taken for dead."""


MOST_AWAY_SECONDS = 5.0
"""How long Redis accepts no commands at most: a node that starts gives up after 8 s, as `store.redis.store` says."""


class Stage:
    """Where faults happen.

    grace: the nodes' grace period in seconds.
    gone: the clients that have gone for good. going_on: the number of faults that have begun and not ended.
    quiet_since: when the last fault has ended.
    """

    def __init__(self, world: World, cluster: Cluster, party: Party, grace: float):
        self.world = world
        self.grace = grace
        self.cluster = cluster
        self.party = party
        self.random = world.random("faults")
        self.gone: list[Client] = []
        self.going_on = 0
        self.quiet_since = 0.0

    async def wait(self, seconds: float) -> None:
        await deferLater(cast(Any, self.world.outside), seconds)

    async def happen(self, fault: Fault) -> None:
        """Let a fault begin and end."""
        await self.wait(fault.at)
        self.world.note("fault", f"{fault} begins")
        self.world.cover(f"fault: {fault.name}")
        self.going_on += 1
        await _FAULTS[fault.name](self, fault)
        self.going_on -= 1
        self.quiet_since = self.world.now
        self.world.note("fault", f"{fault.name} ends")

    async def start_nodes(self) -> None:
        """Start the nodes again that were killed."""
        for node in self.cluster.nodes:
            if not node.running:
                await node.start()

    def node(self, fault: Fault) -> SimulatedNode | None:
        """Return the node of a fault, if it is well."""
        nodes = [node for node in self.cluster.nodes if node.accepts]
        return nodes[fault.target % len(nodes)] if nodes else None

    def connected_clients(self, random: Random, most: int) -> list[Client]:
        """Return some clients that have a connection."""
        clients = [client for client in self.party.clients if client.wire is not None and client.wire.open]
        return random.sample(clients, min(most, len(clients)))

    def client_sides(self, random: Random, most: int) -> list[Side]:
        """Return the clients' sides of some connections."""
        return _sides(self.connected_clients(random, most))


def _sides(clients: Sequence[Client]) -> list[Side]:
    sides = [client.wire.transport for client in clients if client.wire is not None]
    return [cast(Side, side) for side in sides if side is not None]


# -- nodes


async def kill_node(stage: Stage, fault: Fault) -> None:
    """kill -9; the node is started again."""
    node = stage.node(fault)
    if node is not None:
        node.kill()
        await stage.wait(fault.seconds)
        if not node.running:
            await node.start()


async def freeze_node(stage: Stage, fault: Fault) -> None:
    node = stage.node(fault)
    if node is not None:
        node.freeze()
        await stage.wait(fault.seconds if fault.target % 2 else LONG_SECONDS)
        node.thaw()


async def restart_node(stage: Stage, fault: Fault) -> None:
    node = stage.node(fault)
    if node is not None:
        await node.stop()
        await stage.wait(min(fault.seconds, 1.0))
        if not node.running:
            await node.start()


async def restart_nodes(stage: Stage, fault: Fault) -> None:
    """All nodes are restarted, one after another, as with a new version."""
    for node in stage.cluster.nodes:
        if node.accepts:
            await node.stop()
            await node.start()
            await stage.wait(fault.seconds / 20)


# -- Redis


async def _restart(stage: Stage, fault: Fault, data: Callable[[], dict[bytes, Any]]) -> None:
    redis = stage.cluster.redis
    redis.stop()
    await stage.wait(fault.seconds / 4)
    redis.start(data())


async def restart_redis_complete(stage: Stage, fault: Fault) -> None:
    data = stage.cluster.redis.data()
    await _restart(stage, fault, lambda: data)


async def restart_redis_older(stage: Stage, fault: Fault) -> None:
    stage.cluster.redis.keep()
    await stage.wait(0.2 + fault.seconds / 4)
    await _restart(stage, fault, stage.cluster.redis.older)


async def restart_redis_empty(stage: Stage, fault: Fault) -> None:
    await _restart(stage, fault, dict)


async def fail_over(stage: Stage, fault: Fault) -> None:
    """The master is lost, and a replica with slightly older data takes its place."""
    redis = stage.cluster.redis
    redis.keep()
    await stage.wait(stage.random.uniform(0.0, 0.3))
    redis.stop()
    await stage.wait(fault.seconds / 4)
    stage.cluster.fail_over(stage.random)


async def stop_redis(stage: Stage, fault: Fault) -> None:
    """Its process is frozen: connections stay, and nothing is answered."""
    stage.cluster.redis_machine.freeze()
    await stage.wait(min(fault.seconds, MOST_AWAY_SECONDS))
    stage.cluster.redis_machine.thaw()


async def pause_redis(stage: Stage, fault: Fault) -> None:
    """It takes commands and carries them out later."""
    stage.cluster.redis.paused = True
    await stage.wait(min(fault.seconds, MOST_AWAY_SECONDS))
    stage.cluster.redis.go_on()


async def flush_scripts(stage: Stage, fault: Fault) -> None:
    for _ in range(8):
        stage.cluster.redis.flush_scripts()
        await stage.wait(stage.random.uniform(0.05, 0.5))


async def fill_redis(stage: Stage, fault: Fault) -> None:
    stage.cluster.redis.full = True
    await stage.wait(min(fault.seconds, MOST_AWAY_SECONDS))
    stage.cluster.redis.full = False


async def empty_redis(stage: Stage, fault: Fault) -> None:
    stage.cluster.redis.flush_all()
    await stage.wait(4.0)  # for so long rooms are offered


async def step_redis_clock(stage: Stage, fault: Fault) -> None:
    stage.cluster.redis.clock_offset += fault.seconds if fault.target % 2 else -fault.seconds
    await stage.wait(1.0)


# -- connections to Redis


def _redis_sides(stage: Stage, fault: Fault, *, subscriptions: bool = False) -> list[Side]:
    node = stage.node(fault)
    return node.redis_sides(subscriptions=subscriptions) if node is not None else []


async def slow_redis(stage: Stage, fault: Fault) -> None:
    sides = _redis_sides(stage, fault)
    slow = Delays(0.05, 0.4 if fault.target % 3 else 2.5, 0.2)
    before = [(side, side.delays) for own in sides for side in (own, own.peer)]
    for side, _ in before:
        side.delays = slow
    await stage.wait(fault.seconds)
    for side, delays in before:
        side.delays = delays


async def cut_redis(stage: Stage, fault: Fault) -> None:
    for side in _redis_sides(stage, fault):
        side.cut()


async def lose_replies(stage: Stage, fault: Fault) -> None:
    """Redis carries commands out, and the connections are lost before its answers arrive."""
    sides = _redis_sides(stage, fault)
    for side in sides:
        side.peer.hold()
    await stage.wait(min(fault.seconds, 1.0))
    for side in sides:
        side.cut()
        side.peer.release()


async def _stall(stage: Stage, fault: Fault, sides: list[Side]) -> None:
    for side in sides:
        side.hold()
    await stage.wait(min(fault.seconds, 6.0))
    for side in sides:
        side.release()


async def stall_requests(stage: Stage, fault: Fault) -> None:
    await _stall(stage, fault, _redis_sides(stage, fault))


async def stall_replies(stage: Stage, fault: Fault) -> None:
    await _stall(stage, fault, [side.peer for side in _redis_sides(stage, fault)])


async def stall_news(stage: Stage, fault: Fault) -> None:
    await _stall(stage, fault, [side.peer for side in _redis_sides(stage, fault, subscriptions=True)])


async def black_hole(stage: Stage, fault: Fault) -> None:
    """A subscription is silent for good, and its end does not know."""
    for side in _redis_sides(stage, fault, subscriptions=True):
        side.hold()
        side.peer.hold()


async def kill_subscriptions(stage: Stage, fault: Fault) -> None:
    stage.cluster.redis.kill_subscriptions()


async def refuse_redis(stage: Stage, fault: Fault) -> None:
    """A node loses its connections, and can open none for a while."""
    network, address = stage.cluster.network, stage.cluster.redis.address
    network.blocked[address] = None
    for side in _redis_sides(stage, fault):
        side.cut()
    await stage.wait(min(fault.seconds, MOST_AWAY_SECONDS))
    network.blocked.pop(address, None)


# -- the archive


async def _database(stage: Stage, fault: Fault, name: str, value: Any, normal: Any) -> None:
    setattr(stage.cluster.database, name, value)
    await stage.wait(fault.seconds)
    setattr(stage.cluster.database, name, normal)


async def database_away(stage: Stage, fault: Fault) -> None:
    await _database(stage, fault, "away", True, False)


async def database_locked(stage: Stage, fault: Fault) -> None:
    await _database(stage, fault, "locked", True, False)


async def database_full(stage: Stage, fault: Fault) -> None:
    await _database(stage, fault, "full", True, False)


async def database_fails(stage: Stage, fault: Fault) -> None:
    await _database(stage, fault, "fails", 0.3, 0.0)


async def database_loses_answers(stage: Stage, fault: Fault) -> None:
    await _database(stage, fault, "lost", 0.5, 0.0)


async def slow_database(stage: Stage, fault: Fault) -> None:
    """The transactions of one node take so long that others take its entries over."""
    node = stage.node(fault)
    if node is not None:
        stage.cluster.database.slow[node.name] = stage.random.choice((0.3, 3.0, 7.0))
        await stage.wait(max(fault.seconds, 2.0))
        del stage.cluster.database.slow[node.name]


# -- clients


async def cut_clients(stage: Stage, fault: Fault) -> None:
    """Some clients lose their connections; or one does, and finds no server for half of its grace period."""
    stays_away = fault.target % 4 in (1, 2)
    clients = stage.connected_clients(stage.random, 1 if stays_away else 3)
    for client in clients:
        client.reachable = not stays_away
    for side in _sides(clients):
        side.cut()
    if stays_away:
        await stage.wait(stage.grace / 2)
        stage.world.cover("client away for half of its grace period")
        for client in clients:
            client.reachable = True


async def mute_clients(stage: Stage, fault: Fault) -> None:
    """Nothing that some clients send arrives for a while."""
    await _stall(stage, fault, stage.client_sides(stage.random, 2))


async def deafen_clients(stage: Stage, fault: Fault) -> None:
    """Some clients read nothing for a while."""
    sides = stage.client_sides(stage.random, 2)
    for side in sides:
        side.pauseProducing()
    await stage.wait(fault.seconds)
    for side in sides:
        side.resumeProducing()


async def restart_worker(stage: Stage, fault: Fault) -> None:
    """Some old clients come back under new user ids."""
    old = [client for client in stage.party.clients if isinstance(client, OldClient) and client.joined]
    for client in stage.random.sample(old, min(2, len(old))):
        client.restart_worker()


async def leave_and_return(stage: Stage, fault: Fault) -> None:
    """A new client leaves its room, and joins it again over the same connection."""
    new = [client for client in stage.party.clients if isinstance(client, NewClient) and client.joined]
    for client in stage.random.sample(new, min(1, len(new))):
        if len(stage.party.rooms[client.room]) > 1 and not client.unanswered and client.host != client.user:
            client.history.stays = False
            client.history.fresh = True
            client.say("LEAVE")
            client.token = None  # over another connection, too, it joins as a newcomer: it missed nothing
            await stage.wait(stage.random.choice((0.0, 0.02, 1.0)))
            if client.joined:
                client.opened()


async def desert(stage: Stage, fault: Fault) -> None:
    """A client goes away for good."""
    some = [
        client
        for client in stage.party.clients
        if client.joined and client.host != client.user and len(stage.party.rooms[client.room]) > 2
    ]
    for client in stage.random.sample(some, min(1, len(some))):
        stage.party.rooms[client.room].remove(client)
        client.stop()
        client.history.stays = False
        client.history.add(client.reactor.seconds(), "lost", None)
        if isinstance(client, NewClient):
            client.unanswered.clear()
        stage.gone.append(client)


# -- disks


async def _break_disk(stage: Stage, fault: Fault, number: int, text: str) -> None:
    node = stage.node(fault)
    if node is not None:
        node.disk_error = OSError(number, text)
        stage.cluster.database.away = True
        await stage.wait(min(fault.seconds, 4.0))
        stage.cluster.database.away = False
        node.disk_error = None


async def fill_disk(stage: Stage, fault: Fault) -> None:
    await _break_disk(stage, fault, errno.ENOSPC, "No space left on device")


async def remount_read_only(stage: Stage, fault: Fault) -> None:
    """The state directory can be read, and not be written."""
    await _break_disk(stage, fault, errno.EROFS, "Read-only file system")


async def break_disk(stage: Stage, fault: Fault) -> None:
    """No file of the state directory can be opened."""
    await _break_disk(stage, fault, errno.EIO, "Input/output error")


# -- limits and clocks of a process


async def exhaust_files(stage: Stage, fault: Fault) -> None:
    """A node can open no more files: it accepts no connection, and its new connections fail."""
    node = stage.node(fault)
    machine = node.machine if node is not None else None
    if machine is not None:
        machine.out_of_files = True
        for side in stage.client_sides(stage.random, 2):
            side.cut()
        await stage.wait(min(fault.seconds, 4.0))
        machine.out_of_files = False


async def step_wall_clock(stage: Stage, fault: Fault) -> None:
    """The wall clock of a node is set."""
    node = stage.node(fault)
    if node is not None and node.machine is not None:
        step = stage.random.choice((-86400.0, -3600.0, -5.0, -0.2, 0.2, 5.0, 3600.0, 86400.0))
        node.wall_offset += step
        node.machine.wall_offset += step
        await stage.wait(1.0)


_FAULTS: dict[str, Callable[[Stage, Fault], Awaitable[None]]] = {
    function.__name__: function
    for function in (
        kill_node, freeze_node, restart_node, restart_nodes, restart_redis_complete, restart_redis_older,
        restart_redis_empty, stop_redis, pause_redis, flush_scripts, fill_redis, empty_redis, step_redis_clock, slow_redis,
        cut_redis, lose_replies, stall_requests, stall_replies, stall_news, black_hole, kill_subscriptions, refuse_redis,
        database_away, database_locked, database_full, database_fails, database_loses_answers, cut_clients, mute_clients,
        deafen_clients, restart_worker, leave_and_return, desert, fill_disk, remount_read_only, break_disk, exhaust_files,
        step_wall_clock, fail_over, slow_database,
    )
}  # fmt: skip
