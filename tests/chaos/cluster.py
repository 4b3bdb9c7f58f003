"""Nodes, Redis and PostgreSQL as processes, and their failures."""

from __future__ import annotations

import os
import pathlib
import random
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from ..support.daemon_process import Daemon
from ..support.patience import wait_for_end
from ..support.private_servers import PostgreSQL, Redis
from .checker import RoomRow, Row
from .proxy import Proxy
from .resp import ask


class NodeProcess:
    """One node: a process that can be killed, frozen and started again, always on the same port.

    proxy: between it and Redis. accepts: whether a load balancer would send clients there.
    """

    def __init__(self, name: str, home: pathlib.Path, proxy: Proxy, environ: dict[str, str]):
        self.name = name
        self.proxy = proxy
        self.port = 0
        self.accepts = False
        self.boots: list[Daemon] = []
        self.state = home / name
        self._environ = environ

    @property
    def process(self) -> Daemon:
        return self.boots[-1]

    async def start(self) -> None:
        """Start it, and wait until it takes clients."""
        daemon = Daemon(self.state, ["--port", f"tcp:{self.port}:interface=127.0.0.1:backlog=1000"], self._environ)
        self.boots.append(daemon)
        await daemon.ready()
        self.port = daemon.port
        self.accepts = True

    async def kill(self) -> None:
        """Have it end at once."""
        self.accepts = False
        ended = self.process.ended()
        self.process.kill(signal.SIGKILL)
        await ended

    async def stop(self) -> None:
        """Have it send its clients away and end."""
        self.accepts = False
        ended = self.process.ended()
        self.process.kill(signal.SIGTERM)
        await ended

    def limit(self, what: int, most: int | None) -> None:
        """Set a limit of the process (resource.RLIMIT_...), or take it away again."""
        _, hard = resource.getrlimit(what)
        resource.prlimit(self.process.transport.pid, what, (hard if most is None else most, hard))

    def freeze(self) -> None:
        """Let it do nothing, as if its machine were suspended."""
        self.accepts = False
        self.process.kill(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.kill(signal.SIGCONT)
        self.accepts = True

    @property
    def log(self) -> str:
        return "\n".join(line for boot in self.boots for line in boot.lines.seen)


class Cluster:
    """Some nodes with a Redis and a PostgreSQL of their own. environ: the nodes' further environment."""

    def __init__(self, reactor: Any, nodes: int = 3, **environ: str):
        self.reactor = reactor
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tandemd-chaos-"))
        self.redis = Redis()
        self.postgres = PostgreSQL()
        self.postgres.create("chaos")
        self.nodes: list[NodeProcess] = []
        for number in range(nodes):
            name = f"n{number + 1}"
            path = str(self.home / f"{name}.redis")
            settings = {
                "NODE_ID": name,
                "REDIS_HOST": path,
                "POSTGRES_HOST": self.postgres.directory,
                "POSTGRES_USER": "postgres",
                "POSTGRES_DB": "chaos",
                "POSTGRES_POOL_SIZE": "3",
                **environ,
            }
            self.nodes.append(NodeProcess(name, self.home, Proxy(reactor, path, self.redis.path), settings))

    async def start(self) -> None:
        """Start all nodes; the first makes the schema."""
        for node in self.nodes:
            await node.proxy.start()
        first, *others = self.nodes
        await first.start()
        await gatherResults([Deferred.fromCoroutine(node.start()) for node in others])

    async def stop(self) -> None:
        """End everything."""
        for node in self.nodes:
            if node.boots and node.process.status is None:
                node.process.kill(signal.SIGCONT)
                await node.kill()
        for node in self.nodes:
            await node.proxy.stop()
        await deferToThread(self.redis.stop)
        await deferToThread(self.postgres.stop, signal.SIGQUIT)

    def remove(self) -> None:
        """Remove the files on disk."""
        for directory in (self.home, self.redis.directory, self.postgres.directory):
            shutil.rmtree(directory, ignore_errors=True)

    def choice(self, random: random.Random) -> Callable[[], int | None]:
        """Return a function that chooses a node for a client, as a load balancer would."""

        def choose() -> int | None:
            ports = [node.port for node in self.nodes if node.accepts]
            return random.choice(ports) if ports else None

        return choose

    # -- Redis

    def ask_redis(self, *words: str) -> Any:
        """Return Redis' answer to a command. Blocks."""
        return ask(self.redis.path, *words)

    def freeze_redis(self) -> None:
        assert self.redis.process is not None
        self.redis.process.send_signal(signal.SIGSTOP)

    def thaw_redis(self) -> None:
        assert self.redis.process is not None
        self.redis.process.send_signal(signal.SIGCONT)

    async def restart_redis(self, data: str) -> None:
        """data: "complete", "older" (from the last `keep_redis`) or "none"."""
        dump = os.path.join(self.redis.directory, "dump.rdb")

        def restart() -> None:
            if data == "complete":
                self.ask_redis("CONFIG", "SET", "save", "")
                self.ask_redis("SHUTDOWN", "SAVE")
                assert self.redis.process is not None
                wait_for_end(self.redis.process)
            self.redis.stop()
            if data == "none" and os.path.exists(dump):
                os.unlink(dump)
            self.redis.start()

        await deferToThread(restart)

    async def keep_redis(self) -> None:
        """Have Redis write the data for a later restart with older data."""
        await deferToThread(self.ask_redis, "SAVE")

    # -- PostgreSQL

    async def stop_postgres(self) -> None:
        await deferToThread(self.postgres.stop)

    async def start_postgres(self) -> None:
        await deferToThread(self.postgres.start)

    async def kill_postgres_connections(self) -> None:
        await deferToThread(
            self.postgres.execute,
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'chaos' and pid <> pg_backend_pid()",
        )

    def archived(self) -> tuple[list[Row], list[RoomRow]]:
        """Return the rows of the archive. Blocks."""
        connection = psycopg2.connect(**self.postgres.arguments("chaos"))
        try:
            return read_archive(connection)
        finally:
            connection.close()


def read_archive(connection: Any) -> tuple[list[Row], list[RoomRow]]:
    """Return the events and rooms that a database has."""
    cursor = connection.cursor()
    cursor.execute(
        'select r."code", e."epoch", e."seq", e."event_type", u."client_id", e."details" from "room_events" e'
        ' join "rooms" r on r."id" = e."room_id" left join "users" u on u."id" = e."user_id" order by e."epoch", e."seq"'
    )
    rows = [Row(code, epoch, seq, event, user or "", details or {})
            for code, epoch, seq, event, user, details in cursor.fetchall()]  # fmt: skip
    cursor.execute('select "code", "epoch", "seq", "guest_control_enabled", "current_url" from "rooms"')
    rooms = [RoomRow(code, (epoch, seq), control, url or "") for code, epoch, seq, control, url in cursor.fetchall()]
    return rows, rooms
