"""One run of a schedule, and its checks."""

from __future__ import annotations

import gc
import json
import math
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, formatEvent

from tandemd.rules import snapshot
from tandemd.store.redis.keys import JOURNAL, mail_key
from tandemd.store.redis.memory_pressure import SHORT_LOG_COMMITS

from ..chaos.checker import Checker, History
from ..chaos.client import NewClient
from ..chaos.party import KINDS, FairClock, Party
from . import departures
from .cluster import Cluster
from .faults import Stage
from .guard import simulated
from .schedule import LOSSES, RENEWALS, SHORT_GRACE_SECONDS, SILENCES, VACANT_SECONDS, Schedule
from .strangers import Stranger
from .watcher import Watcher
from .world import Machine, ProblemError, StuckError, World

WELL_SECONDS = 60.0
"""Seconds after the last fault of a round in which all must be well."""
PROMPT_SECONDS = 3.0
"""Seconds in which a message reaches all members in the end, when no fault is left."""
GONE_SECONDS = 25.0
"""Seconds after its grace period in which a client that has gone for good has left for all others."""
REMOVAL_SECONDS = 20.0
"""Seconds in which a relay that was delivered is out of its mailbox, while several faults keep its node from Redis."""
REPORT_SECONDS = 1.0
"""Seconds between two positions of a client that watches."""
RUN_SECONDS = 3600.0
"""Simulated seconds that a run may take."""


@dataclass
class Result:
    """The outcome of a run. digest: a hash of all that happened. trace: the lines of the trace, if it was kept."""

    schedule: Schedule
    problems: list[str]
    digest: str
    seconds: float
    events: int
    coverage: dict[str, int]
    trace: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)


class _Clock(FairClock):
    """Simulated seconds, which are fair."""

    POLL = 0.05

    def _tick(self) -> None:
        raise NotImplementedError

    @property
    def now(self) -> float:
        return float(self._reactor.seconds())

    @now.setter
    def now(self, seconds: float) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Simulation:
    """One run of a schedule."""

    def __init__(self, schedule: Schedule, *, keeps_trace: bool = False):
        self.schedule = schedule
        self.world = world = World(schedule.seed, keeps_trace=keeps_trace)
        world.on_log = self._logged
        self.cluster = Cluster(
            world,
            schedule.nodes,
            schedule.config(),
            uses_redis=schedule.nodes > 1,
            uses_sentinels=schedule.sentinels,
        )
        self._set_clocks()
        self.cluster.redis_delays.jitter = schedule.redis_jitter
        self.cluster.client_delays = schedule.client_delays
        self.machine = Machine(world, "clients")
        self.party = Party(
            self.machine,
            self.cluster.choice,
            schedule.layout,
            schedule.seed & 0x7FFFFFFF,
            rate=schedule.rate,
            kinds=KINDS | {"SEEK": 4},
            clock=_Clock(self.machine),
        )
        chosen = world.random("silent")
        for client in self.party.clients:
            if isinstance(client, NewClient) and chosen.random() < schedule.silent_share:
                client.tells_ready = False
        self.stage = Stage(world, self.cluster, self.party, schedule.grace)
        self.watcher = Watcher(world, self.cluster, self.stage, schedule.config().rooms.gate_deadline)
        self.strangers: list[Stranger] = []
        self._bytes = 0

    def run(self) -> Result:
        """Run the schedule."""
        world = self.world
        self.cluster.network.on_bytes = self._moved
        try:
            with simulated(world, self.cluster.redis.time, self.schedule.constants):
                try:
                    world.run(self._run(), RUN_SECONDS)
                except ProblemError:
                    pass
                except (StuckError, AssertionError) as error:
                    world.problem(f"{type(error).__name__}: {error}")
                histories = self.party.stop()
        finally:
            self.cluster.end()
        self._cover()
        if world.trace is not None:
            world.trace += _told(self.machine, histories)
            world.trace.sort(key=lambda line: float(line[:11]))
        return Result(
            self.schedule,
            world.problems,
            f"{world.digest()}{self._bytes:08x}",
            world.now,
            world.events,
            world.coverage,
            world.trace or [],
            self.party.reports,
        )

    @property
    def _may_lose(self) -> bool:
        return not self.schedule.names().isdisjoint(LOSSES)

    def _set_clocks(self) -> None:
        random = self.world.random("clocks")
        for node in self.cluster.nodes:
            node.rate = 1.0 + random.uniform(-self.schedule.drift, self.schedule.drift)
            node.wall_offset = random.uniform(-self.schedule.wall_error, self.schedule.wall_error)

    def _moved(self, data: bytes) -> None:
        self._bytes = zlib.crc32(data, self._bytes)

    def _logged(self, event: dict[str, Any]) -> None:
        level = event.get("log_level", LogLevel.info)
        if level is LogLevel.debug or ("event" not in event and level is LogLevel.info):
            return
        name = event.get("event", event.get("log_namespace", ""))
        failure = event.get("log_failure")
        text = formatEvent(event).replace(self.cluster.directory, "")
        self.world.note("log", f"{level.name} {name}: {text}")
        starts_without_archive = name == "start_failed" and self.schedule.nodes == 1 and self.cluster.database.has_fault
        if level is LogLevel.critical and not starts_without_archive:
            self.world.problem(f"log: {text} {failure.getTraceback() if failure is not None else ''}")
        elif level is not LogLevel.info:
            self.world.cover(f"log: {name}")

    def _cover(self) -> None:
        for node in self.cluster.nodes:
            metrics = getattr(node, "node", None) and node.node.metrics
            if not metrics:
                continue
            for name, value in (
                ("commit lost its race", metrics.rooms.conflicts.value),
                ("room caught up", metrics.rooms.room_catchups.value),
                ("commit waited or lost its answer", metrics.store.retries.value),
                ("subscription lost", metrics.store.pubsub_reconnects.value),
                ("node taken over", metrics.store.takeovers.value),
                ("archive failed", metrics.archive.archive_failures.value),
                ("memory refused", metrics.store.redis_memory_refusals.value),
                ("gate opened", metrics.rooms.commits["GATE_OPENED"]),
            ):
                if value:
                    self.world.coverage[name] = self.world.coverage.get(name, 0) + int(value)

    # -- the run

    async def _run(self) -> None:
        for node in self.cluster.nodes:
            await node.start()
        await self.party.begin()
        self.party.load()
        rooms = [*self.party.rooms, "elsewhere"]
        self.strangers = [
            Stranger(self.world, self.machine, self.cluster, rooms, number) for number in range(self.schedule.strangers)
        ]
        if self.schedule.watches:
            self._report_positions()
        for number, round_ in enumerate(self.schedule.rounds):
            await self._wait(self.schedule.seconds / (2 * len(self.schedule.rounds)))
            happening = [Deferred.fromCoroutine(self.stage.happen(fault)) for fault in round_]
            await gatherResults(happening, consumeErrors=True)
            await self.stage.start_nodes()
            name = f"round {number + 1}"
            await self.party.settled(name, usable=WELL_SECONDS, old=WELL_SECONDS)
            await self._wait(self.schedule.seconds / (2 * len(self.schedule.rounds)))
        for stranger in self.strangers:
            stranger.stop()
        if self.stage.gone and self.schedule.grace == SHORT_GRACE_SECONDS:
            await self._wait(self.schedule.grace + GONE_SECONDS)
            for client in self.stage.gone:
                client.history.gone = True
        if self.schedule.watches:
            self.party.seek()
        await self.party.quiet()
        await self._complete()
        await self.party.settled("in the end", usable=PROMPT_SECONDS, old=PROMPT_SECONDS)
        await self.party.quiet()
        await self._complete()
        self._check()
        if self.schedule.vacates:
            await self._vacate()
        self.watcher.stop()

    def _report_positions(self) -> None:
        for client in self.party.clients:
            if isinstance(client, NewClient):
                client.report_position()
        self.world.outside.callLater(REPORT_SECONDS, self._report_positions)

    async def _wait(self, seconds: float) -> None:
        await deferLater(cast(Any, self.world.outside), seconds)

    def _unfinished(self) -> list[str]:
        """Return the work that is not done yet, in words."""
        found = [f"{text} is behind" for text in self.party.behind()]
        open_ = {
            session.conn for node in self.cluster.nodes for live in node.node._rooms.open for session in live.group
        }
        for node in self.cluster.nodes:
            found += [f"{node.name}: {reason}" for reason in node.node.status.readiness()]
            found += [f"{node.name}: {warning}" for warning in node.node.status.warnings()]
            backend: Any = node.node._backend
            if self.schedule.nodes == 1:
                if len(backend.writer):
                    found.append(f"{node.name}: {len(backend.writer)} commits wait for the archive")
            elif backend.store.journal._spool.on_disk or backend.store.journal._spool.in_memory:
                found.append(f"{node.name}: the spool is not empty")
            for live in node.node._rooms.open:
                if live.room.gate is not None:
                    found.append(f"{node.name}: the gate of {live.room.room_id} is closed")
                if not live.commands.is_idle or live.following.catching_up:
                    found.append(f"{node.name}: {live.room.room_id} has commands or catches up")
                found += [
                    f"{node.name}: {live.room.room_id} has {ghost.user_id} at {ghost.conn}, which is not open"
                    for ghost in live.room.members.values()
                    if ghost.conn and ghost.conn not in open_
                ]
        if self.schedule.nodes > 1:
            keys = self.cluster.redis.server.dbs[0]
            if JOURNAL in keys and len(keys[JOURNAL].value):
                found.append(f"{len(keys[JOURNAL].value)} entries in the journal")
            found += [
                f"the mailbox of {client.user} is not empty"
                for client in self.party.clients
                if client.joined and mail_key(client.room, client.user) in keys
            ]
        return found

    async def _complete(self) -> None:
        """Wait until nothing is unfinished, and the archive has everything."""
        end = self.world.now + WELL_SECONDS
        while found := self._unfinished():
            if self.world.now > end:
                self.world.problem(f"after {WELL_SECONDS} s: {'; '.join(found)}")
                return
            await self._wait(0.2)

    async def _vacate(self) -> None:
        """All clients have left: wait until nothing of them is left."""
        self.world.cover("all clients left")
        await self._wait(self.schedule.grace + VACANT_SECONDS)
        end = self.world.now + WELL_SECONDS
        while found := self.watcher.remains():
            if self.world.now > end:
                self.world.problem(f"{WELL_SECONDS} s after the end of the last room: {'; '.join(found[:5])}")
                return
            await self._wait(1.0)

    # -- checks

    def _check(self) -> None:
        histories = self.party.stop()
        rows, rooms = self.cluster.database.read()
        names = self.schedule.names()
        # A single node gives its rooms a new epoch when it starts.
        renews = not names.isdisjoint(RENEWALS) or (self.schedule.nodes == 1 and "restart_node" in names)
        for history in histories:
            if not names.isdisjoint(SILENCES):
                history.removal = REMOVAL_SECONDS
            if self.schedule.grace == SHORT_GRACE_SECONDS:
                history.stays = history.stays and not history.old  # the extension may come back too late
        checker = Checker(
            histories,
            may_renew=renews,
            may_lose=self._may_lose,
            # While Redis is full, nodes shorten logs.
            log_length=min(self.schedule.log_length, SHORT_LOG_COMMITS if "fill_redis" in names else math.inf),
        )
        self._check_grace(histories)
        for problem in checker.check(
            [row for row in rows if row.room in self.party.rooms],
            [room for room in rooms if room.room in self.party.rooms],
        ):
            self.world.problem(problem)
        self._check_replicas()

    def _check_grace(self, histories: list[History]) -> None:
        replaced = {
            former.user: new.entries[0][0]
            for client in self.party.clients
            for former, new in pairwise(client.histories)
            if new.entries
        }
        found = departures.judge(histories, self.schedule.grace, replaced)
        if found.ended:
            self.world.cover("grace period ended")
        for problem in found.problems:
            self.world.problem(problem)

    def _check_replicas(self) -> None:
        """All nodes have the same room at the same version, and no gate is past its deadline."""
        found: dict[tuple[str, Any], tuple[str, bytes]] = {}
        for node in self.cluster.nodes:
            for live in node.node._rooms.open:
                room = live.room
                if not room.seq:
                    continue
                state = snapshot.dump(room)
                name, other = found.setdefault((room.room_id, room.version), (node.name, state))
                if other != state and _ordered(other) != _ordered(state):
                    self.world.problem(f"{room.room_id} at {room.version}: {name} has {other!r}, {node.name} {state!r}")


def _ordered(state: bytes) -> Any:
    """Return a room with its members in the order of their JOINs: one that leaves and joins in a batch keeps its place."""
    room = json.loads(state)
    room["members"].sort(key=lambda member: member["order"])
    return room


def _told(machine: Machine, histories: list[History]) -> list[str]:
    """Return the lines of the trace for all that clients said and heard."""
    offset = machine.seconds() - machine.world.now
    return [
        f"{time - offset:11.6f} {history.user:<9} {kind:<8} {data}"
        for history in histories
        for time, kind, data in history.entries
    ]


def run(schedule: Schedule, *, keeps_trace: bool = False) -> Result:
    """Run a schedule, and return its outcome."""
    collects = gc.isenabled()
    gc.disable()  # the collector would end coroutines at times of its own
    try:
        return Simulation(schedule, keeps_trace=keeps_trace).run()
    finally:
        if collects:
            gc.enable()
        gc.collect(1)
