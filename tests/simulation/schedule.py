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
ON_DATABASE = (
    "database_away", "database_locked", "database_full", "database_fails", "database_loses_answers", "slow_database",
)  # fmt: skip
ON_CLIENTS = ("cut_clients", "mute_clients", "deafen_clients", "restart_worker", "leave_and_return", "desert")
ON_DISKS = ("fill_disk", "remount_read_only", "break_disk")
ON_PROCESSES = ("exhaust_files", "step_wall_clock")
GROUPS = ON_NODES, (*ON_REDIS, "fail_over"), ON_DATABASE, (*ON_DISKS, *ON_DATABASE)
"""Of each of them, a round has one fault."""
LOSSES = frozenset(("restart_redis_older", "restart_redis_empty", "empty_redis", "fail_over"))
"""Faults after which Redis lacks data."""
RENEWALS = LOSSES | {"restart_redis_complete"}
"""Faults after which rooms have a new epoch."""
SILENCES = frozenset((*ON_NODES, *ON_REDIS, *ON_LINKS, "fail_over"))
"""Faults that keep a node from Redis for longer than a moment, also together."""
ALONE = ("restart_node", "stop_redis", *ON_CLIENTS, *ON_DATABASE, *ON_PROCESSES)
"""Faults that a single node survives without loss, as far as it has the part."""

VACANT_SECONDS = 5.0
"""How long rooms are kept without members, if all clients leave."""
LOG_BYTES = 4 * 1024 * 1024
"""The bytes of a log and of a replay, so many that only `log_length` bounds a log: the checker knows no sizes."""
SHORT_GRACE_SECONDS = 15.0
"""A grace period that ends during a run. Then faults are short, so that clients are back before."""
SHORT_JOURNAL = 20
"""A journal that fills up. Then logs are long: if an answer is lost meanwhile, the node finds its commit in the log."""
CONSTANTS = (
    ("tandemd.archive.writer", "MAX_RETRY_SECONDS", (1.0,)),
    ("tandemd.rooms.command_queue", "MAX_BATCH_COMMANDS", (1, 2)),
    ("tandemd.rooms.commit_tail", "MAX_COMMITS", (1, 5)),
    ("tandemd.rooms.log_follower", "MAX_EARLY_COMMITS", (1, 3)),
    ("tandemd.store.redis.cluster_membership", "TAKEOVER_BATCH_ROOMS", (1,)),
    ("tandemd.store.redis.journal", "MOVE_BATCH_ENTRIES", (7,)),
    ("tandemd.store.redis.journal_consumer", "BATCH_ENTRIES", (1, 7)),
    ("tandemd.store.redis.reseeding", "BATCH_ROOMS", (1,)),
    ("tandemd.store.redis.room_store", "DUE_BATCH_ROOMS", (1,)),
    ("tandemd.store.redis.spool", "WRITE_BATCH_ENTRIES", (1, 3)),
    ("tandemd.store.redis.subscription", "COMPARE_BATCH_ROOMS", (1,)),
)
"""Limits in the code of a node: modules, names, and values that make rare paths common."""


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
    sentinels: whether nodes find Redis through sentinels. drift: how much faster or slower the nodes' clocks run, at most.
    wall_error: seconds by which their wall clocks are wrong, at most. silent_share: of new clients that never say READY.
    vacates: whether all clients leave in the end, and all that was kept for them must go. constants: see `CONSTANTS`.
    watches: whether the guests among the new clients watch, so that gates wait for them.
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
    sentinels: bool
    drift: float
    wall_error: float
    silent_share: float
    vacates: bool
    constants: tuple[tuple[str, str, float], ...]
    watches: bool

    def config(self) -> Config:
        """Return the configuration of the nodes."""
        default = Config()
        return dataclasses.replace(
            default,
            fast_path=self.fast_path,
            drain_seconds=self.drain_seconds,
            limits=dataclasses.replace(default.limits, joins=self.joins, log_bytes=LOG_BYTES, replay_bytes=LOG_BYTES),
            rooms=dataclasses.replace(
                default.rooms,
                grace=self.grace,
                log_length=self.log_length,
                room_ttl=VACANT_SECONDS if self.vacates else default.rooms.room_ttl,
            ),
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
            f" {self.strangers} strangers, {self.joins} joins a minute, sentinels {self.sentinels}, drift {self.drift},"
            f" wall clocks {self.wall_error:.0f} s, {self.silent_share} never ready, guests watch {self.watches},"
            f" all leave {self.vacates},"
            f" {', '.join(f'{name} {value}' for _, name, value in self.constants) or 'usual limits'}:"
            f" {rounds}"
        )


def small(seed: int) -> Schedule:
    """Return a short schedule with few clients."""
    return _make(seed, Random(f"{seed} schedule"), (2, 5), (2.0, 4.0), (1, 1, 1, 2))


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
    grace = random.choice((SHORT_GRACE_SECONDS, 30.0, 45.0, 90.0))
    sentinels = nodes > 1 and random.random() < 0.25
    rate, length = random.choice((1.0, 3.0, 6.0)), random.uniform(*seconds)
    rounds_of_faults = tuple(_round(random, nodes, grace, sentinels) for _ in range(random.choice(rounds)))
    log_length, journal_length = random.choice((3, 20, 1000, 1000)), random.choice((SHORT_JOURNAL, 200_000, 200_000))
    return Schedule(
        seed=seed,
        nodes=nodes,
        layout=tuple(layout),
        rate=rate,
        seconds=length,
        rounds=rounds_of_faults,
        grace=grace,
        log_length=log_length if journal_length > SHORT_JOURNAL else 1000,
        journal_length=journal_length,
        drain_seconds=random.choice((0.0, 1.0, 4.0)),
        fast_path=random.random() < 0.7,
        client_delays=random.choice(((0.001, 0.005), (0.005, 0.08), (0.05, 0.3))),
        redis_jitter=random.choice((0.0005, 0.002, 0.02)),
        strangers=random.choice((0, 0, 2, 4)),
        joins=random.choice((600, 600, 20)),
        sentinels=sentinels,
        drift=random.choice((0.0, 0.0002, 0.01)),
        wall_error=random.choice((0.0, 0.0, 5.0, 86400.0)),
        silent_share=(silent_share := random.choice((0.0, 0.0, 0.5))),
        vacates=grace == SHORT_GRACE_SECONDS and random.random() < 0.5,
        constants=tuple(
            (module, name, random.choice(values)) for module, name, values in CONSTANTS if random.random() < 0.25
        ),
        watches=silent_share > 0 or random.random() < 0.2,
    )


def _round(random: Random, nodes: int, grace: float, sentinels: bool) -> tuple[Fault, ...]:
    """Return faults that may happen together: the architecture states which combinations may lose something."""
    if nodes == 1:
        names = random.sample([ALONE[0], *ALONE[2:]], random.choice((1, 1, 2)))
    else:
        pool = [*ON_NODES, *ON_REDIS, *ON_LINKS, *ON_DATABASE, *ON_CLIENTS, *ON_DISKS, *ON_PROCESSES]
        pool += ["fail_over"] * 4 if sentinels else []  # such schedules are about it
        names = random.sample(pool, random.choice((0, 1, 1, 2, 2, 3, 4)))
    if LOSSES.intersection(names):
        # A loss in a node and in Redis within the same second is a stated limit.
        names = [name for name in names if name not in ON_NODES]
    if not {*ON_DISKS, "exhaust_files"}.isdisjoint(names):
        # The memory of a node whose disk takes nothing is lost with it.
        names = [name for name in names if name not in ON_NODES]
    kept: list[str] = []
    for name in names:
        group = next((group for group in GROUPS if name in group), ())
        if not any(other in group for other in kept):
            kept.append(name)
    durations = (0.3, 1.0, 2.5) if grace == SHORT_GRACE_SECONDS else (0.3, 1.0, 2.5, 5.0, 8.0)
    # With an odd number, a frozen node is not frozen for longer than that.
    odd = 1 if grace == SHORT_GRACE_SECONDS else 0
    return tuple(
        Fault(name, random.uniform(0.0, 2.0), random.choice(durations), random.randrange(1000) | odd) for name in kept
    )
