"""The nodes of a simulation with their Redis and their archive."""

from __future__ import annotations

import atexit
import dataclasses
import errno
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from random import Random
from typing import Any, cast

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater

from tandemd.app.environment import Environment
from tandemd.app.node import Node
from tandemd.config import Config
from tandemd.util.services import OrderedMultiService

from .database import Database, SimulatedSQLite, Threads
from .network import Delays, Network, Side
from .redis import Redis
from .sentinel import Sentinel
from .world import Machine, World

FIRST_PORT = 4001
REDIS_PORTS = 6379, 6380
SENTINEL_PORTS = 26379, 26380, 26381
START_LIMIT_SECONDS = 60.0


@functools.cache
def _home() -> str:
    """Return a directory for the files of this process: few runs write any."""
    directory = tempfile.mkdtemp(prefix="tandemd-simulation-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


class SimulatedNode:
    """One node: a process that can be killed, frozen and started again, always with the same name and port.

    accepts: whether a load balancer sends clients to it. disk_error: the error of its state directory, if it has one.
    rate, wall_offset: of its clocks, see `Machine`.
    """

    def __init__(self, cluster: Cluster, number: int, config: Config):
        self.name = f"n{number + 1}"
        self.port = FIRST_PORT + number
        self.cluster = cluster
        self.accepts = False
        self.boots = 0
        self.disk_error: OSError | None = None
        self.rate = 1.0
        self.wall_offset = 0.0
        self.machine: Machine | None = None
        self.state_dir = os.path.join(cluster.directory, self.name)
        self.config = dataclasses.replace(config, node_id=self.name, port=f"tcp:{self.port}", state_dir=self.state_dir)
        self.node: Node
        self.service: OrderedMultiService

    @property
    def running(self) -> bool:
        return self.machine is not None

    def _open(self, path: str, mode: str = "r", **options: Any) -> Any:
        error = self.disk_error
        if self.machine is not None and self.machine.out_of_files:
            error = OSError(errno.EMFILE, "Too many open files")
        if error is not None and ("a" in mode or error.errno not in (errno.ENOSPC, errno.EROFS)):
            self.cluster.world.cover(f"node: {error.strerror}")
            raise error
        if "a" in mode:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # few runs need it
        return open(path, mode, **options)

    async def start(self) -> None:
        """Start it, and wait until it accepts clients."""
        world = self.cluster.world
        self.boots += 1
        machine = self.machine = Machine(world, self.name, self.rate)
        machine.wall_offset = self.wall_offset
        machine.on_stop = self._stops
        environment = Environment(
            wall=machine.wall,
            random=world.random(f"{self.name} {self.boots}"),
            thread_pool=cast(Any, lambda least, most, name: Threads(machine, self.cluster.database)),
            dialect=lambda config: SimulatedSQLite(self.cluster.database),
            open=self._open,
        )
        self.service = OrderedMultiService(machine, lambda status: world.problem(f"{self.name} exits"))
        before, world.current = world.current, machine
        self.node = Node(self.config, machine, self.service, environment)
        self.service.startService()
        world.current = before
        world.note("node", f"{self.name} starts")
        end = world.now + START_LIMIT_SECONDS
        while self.machine is machine and self.node.status.readiness():
            if world.now > end:
                world.problem(f"{self.name} is not ready after its start: {self.node.status.readiness()}")
                return
            await deferLater(cast(Any, world.outside), 0.05)
        self.accepts = self.machine is machine

    def _stops(self) -> None:
        """A single node whose archive cannot be read does not start. A service manager would start it again."""
        if len(self.cluster.nodes) > 1 or not self.cluster.database.has_fault:
            self.cluster.world.problem(f"{self.name}: the node stops by itself")
        else:
            self.cluster.world.cover("start failed without the archive")
            self.kill()

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        self.accepts = False
        machine, self.machine = self.machine, None
        if machine is not None:
            self.cluster.world.note("fault", f"{self.name} is killed")
            machine.kill()
            for port in list(machine.ports):
                port.stopListening()
            for side in list(machine.sides):
                side.close_by_kernel()

    async def stop(self) -> None:
        """Have it send its clients away and end."""
        self.accepts = False
        machine = self.machine
        if machine is not None:
            self.cluster.world.note("fault", f"{self.name} stops")
            await maybeDeferred(self.service.stopService)
            if self.machine is machine:
                self.kill()

    def freeze(self) -> None:
        if self.machine is not None:
            self.accepts = False
            self.cluster.world.note("fault", f"{self.name} freezes")
            self.machine.freeze()

    def thaw(self) -> None:
        if self.machine is not None and self.machine.frozen:
            self.accepts = True
            self.cluster.world.note("fault", f"{self.name} thaws")
            self.machine.thaw()

    def redis_sides(self, *, subscriptions: bool = False) -> list[Side]:
        """Return the node's sides of its connections to Redis."""
        if self.machine is None:
            return []
        sides = [side for side in self.machine.sides if side.address == self.cluster.redis.address]
        return [side for side in sides if not subscriptions or _is_subscription(side)]


def _is_subscription(side: Side) -> bool:
    link = getattr(side.protocol, "link", None)
    return getattr(link, "name", "") == "subscription"


class Cluster:
    """Some nodes with a Redis and an archive. count: 1 without Redis for a single node in memory."""

    def __init__(
        self, world: World, count: int, config: Config, *, uses_redis: bool = True, uses_sentinels: bool = False
    ):
        self.world = world
        self.network = Network(world)
        self.network.delays = self._delays
        self.directory = os.path.join(_home(), "state")
        self.database = Database(world)
        self.redis_delays = Delays(0.0002, 0.0008, 0.02)
        self.client_delays = 0.005, 0.08
        self.redis_machine = Machine(world, "redis")
        self.redis = Redis(world, self.redis_machine, REDIS_PORTS[0] if uses_sentinels else "/redis")
        self.sentinels: list[Sentinel] = []
        self._former: Redis | None = None
        self._failovers = 0
        if uses_sentinels:
            self.sentinels = [Sentinel(world, port, REDIS_PORTS[0]) for port in SENTINEL_PORTS]
            written = tuple(sentinel.written for sentinel in self.sentinels)
            config = dataclasses.replace(config, redis=dataclasses.replace(config.redis, sentinels=written))
        elif uses_redis:
            config = dataclasses.replace(config, redis=dataclasses.replace(config.redis, host=str(self.redis.address)))
        self.nodes = [SimulatedNode(self, number, config) for number in range(count)]

    def _delays(self, address: int | str, peer: str) -> Delays:
        if isinstance(address, str) or address in (*REDIS_PORTS, *SENTINEL_PORTS):
            return self.redis_delays
        random = self.network.random
        low, high = self.client_delays
        return Delays(random.uniform(low, high), random.choice((0.0, 0.005, 0.03)), 0.05)

    def fail_over(self, random: Random) -> None:
        """Start the replica as the master, with the data of the last `Redis.keep`. The former master becomes a replica."""
        former = self.redis.address
        (address,) = (port for port in REDIS_PORTS if port != former)
        if self._former is not None:
            self._former.stop()
        self.redis.start(self.redis.older(), address)
        self._former = Redis(self.world, Machine(self.world, f"replica {former}"), former)
        self._former.role = [b"slave", b"10.0.0.1", address, b"connected", 0]
        self._failovers += 1
        for sentinel in self.sentinels:
            seconds = random.choice((0.0, 0.1, 1.0, 3.0))
            self.world.outside.callLater(seconds, sentinel.learn, 1 + self._failovers, address)

    def end(self) -> None:
        """Release all that the run has taken from the real world."""
        self.database.end()
        if os.path.exists(self.directory):
            shutil.rmtree(self.directory)

    def choice(self, random: Random) -> Callable[[], int | None]:
        """Return a function that chooses a port for a client, as a load balancer would."""

        def choose() -> int | None:
            ports = [node.port for node in self.nodes if node.accepts]
            return random.choice(ports) if ports else None

        return choose

    def node(self, random: Random) -> SimulatedNode | None:
        """Return some node that is well."""
        nodes = [node for node in self.nodes if node.accepts]
        return random.choice(nodes) if nodes else None
