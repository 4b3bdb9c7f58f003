"""Schedules: nodes, clients, faults and their times, all from one number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tandemd.config import Config

ON_NODES = ("kill_node", "freeze_node", "restart_node", "restart_nodes")
ON_REDIS = (
    "restart_redis_complete", "restart_redis_older", "restart_redis_empty", "stop_redis", "pause_redis", "flush_scripts",
    "fill_redis", "empty_redis", "step_redis_clock",
)  # fmt: skip
ON_LINKS = (
    "slow_redis", "cut_redis", "lose_replies", "stall_requests", "stall_replies", "stall_news", "black_hole",
    "kill_subscriptions", "refuse_redis",
)  # fmt: skip
ON_DATABASE = ("database_away", "database_locked", "database_full", "database_fails", "database_loses_answers")
ON_CLIENTS = ("cut_clients", "mute_clients", "deafen_clients", "restart_worker", "leave_and_return")
ON_DISKS = ("fill_disk",)
LOSSES = frozenset(("restart_redis_older", "restart_redis_empty", "empty_redis"))
"""Faults after which Redis lacks data."""
RENEWALS = LOSSES | {"restart_redis_complete"}
"""Faults after which rooms have a new epoch."""
ALONE = ("restart_node", "stop_redis", *ON_CLIENTS, *ON_DATABASE)
"""Faults that a single node survives without loss, as far as it has the part."""


@dataclass(frozen=True)
class Fault:
    """A fault. at: seconds after the beginning of its round. target: which node, if it has one; any number."""

    name: str
    at: float
    seconds: float
    target: int

    def __str__(self) -> str:
        return f"{self.name}(at={self.at:.2f}, seconds={self.seconds:.2f}, target={self.target})"


@dataclass(frozen=True)
class Schedule:
    """One run.

    nodes: their number; 1 has its rooms in memory.
    layout: for each room (new clients, old clients). strangers: clients that are no part of the party.
    rate: commands a second in each room. joins: of an address in a minute.
    rounds: faults that happen together; after each round all must be well.
    """

    seed: int
    nodes: int
    layout: tuple[tuple[int, int], ...]
    rate: float
    seconds: float
    rounds: tuple[tuple[Fault, ...], ...]
    grace: float
    log_length: int
    journal_length: int
    drain_seconds: float
    fast_path: bool
    client_delays: tuple[float, float]
    redis_jitter: float
    strangers: int
    joins: int

    def config(self) -> Config:
        """Return the configuration of the nodes."""
        default = Config()
        return dataclasses.replace(
            default,
            fast_path=self.fast_path,
            drain_seconds=self.drain_seconds,
            limits=dataclasses.replace(default.limits, joins=self.joins),
            rooms=dataclasses.replace(default.rooms, grace=self.grace, log_length=self.log_length),
            redis=dataclasses.replace(default.redis, journal_length=self.journal_length),
        )

    def names(self) -> frozenset[str]:
        return frozenset(fault.name for round_ in self.rounds for fault in round_)

    def describe(self) -> str:
        rounds = "; ".join(" + ".join(map(str, round_)) or "no fault" for round_ in self.rounds)
        return (
            f"seed {self.seed}: {self.nodes} nodes, rooms {self.layout}, {self.rate:.1f} commands/s, {self.seconds:.1f} s,"
            f" grace {self.grace:.0f} s, log {self.log_length}, journal {self.journal_length}, fast path {self.fast_path},"
            f" clients {self.client_delays[0]:.3f}-{self.client_delays[1]:.3f} s, Redis +{self.redis_jitter:.4f} s,"
            f" {self.strangers} strangers, {self.joins} joins a minute:"
            f" {rounds}"
        )


def small(seed: int) -> Schedule:
    """Return a short schedule with few clients."""
    return _make(seed, Random(f"{seed} schedule"), (2, 5), (4.0, 8.0), (1, 1, 2))


def large(seed: int) -> Schedule:
    """Return a schedule of 12 to 40 clients, and 30 to 300 seconds."""
    return _make(seed, Random(f"{seed} large schedule"), (6, 14), (15.0, 60.0), (2, 3, 4, 5))


def _make(
    seed: int, random: Random, people: tuple[int, int], seconds: tuple[float, float], rounds: Sequence[int]
) -> Schedule:
    nodes = random.choice((1, 2, 3, 3, 3, 3))
    layout = []
    for _ in range(random.choice((1, 1, 2)) if people[0] < 6 else random.choice((2, 3))):
        count = random.randint(*people)
        old = random.choice((0, 0, count // 3, count // 2, count))
        layout.append((count - old, old))
    return Schedule(
        seed=seed,
        nodes=nodes,
        layout=tuple(layout),
        rate=random.choice((1.0, 3.0, 8.0)),
        seconds=random.uniform(*seconds),
        rounds=tuple(_round(random, nodes) for _ in range(random.choice(rounds))),
        grace=random.choice((30.0, 45.0, 90.0)),
        log_length=random.choice((20, 100, 1000)),
        journal_length=random.choice((20, 200_000, 200_000)),
        drain_seconds=random.choice((0.0, 1.0, 4.0)),
        fast_path=random.random() < 0.7,
        client_delays=random.choice(((0.001, 0.005), (0.005, 0.08), (0.05, 0.3))),
        redis_jitter=random.choice((0.0005, 0.002, 0.02)),
        strangers=random.choice((0, 0, 2, 4)),
        joins=random.choice((600, 600, 20)),
    )


def _round(random: Random, nodes: int) -> tuple[Fault, ...]:
    """Return faults that may happen together: the architecture states which combinations may lose something."""
    if nodes == 1:
        names = [random.choice(ALONE[0:1] + ALONE[2:])]
    else:
        pool = [*ON_NODES, *ON_REDIS, *ON_LINKS, *ON_DATABASE, *ON_CLIENTS, *ON_DISKS]
        names = random.sample(pool, random.choice((0, 1, 1, 1, 2, 3)))
    if LOSSES.intersection(names):
        # A loss in a node and in Redis within the same second is a stated limit.
        names = [name for name in names if name not in ON_NODES]
    if "fill_disk" in names:
        # The memory of a node whose disk takes nothing is lost with it.
        names = [name for name in names if name not in ON_NODES]
    redis = [name for name in names if name in ON_REDIS]
    database = [name for name in names if name in ON_DATABASE]
    nodes_ = [name for name in names if name in ON_NODES]
    names = [name for name in names if name not in (*redis[1:], *database[1:], *nodes_[1:])]
    return tuple(
        Fault(name, random.uniform(0.0, 2.0), random.choice((0.3, 1.0, 2.5, 5.0, 8.0)), random.randrange(1000))
        for name in names
    )
