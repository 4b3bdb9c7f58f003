"""`make bench`: measure, print a table, write a JSON file, and report figures that are slower than those of another file."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from .load import Load
from .nodes import OTHER_CORES, SERVER_CORES, Loaders, Node, nodes

HIGHER, LOWER = "higher", "lower"

NOISE = 0.10
"""A change by less than this share says nothing, however alike repeated measurements were."""

P99_MS = 50.0
"""The longest acceptable latency for users of one core, except for one in a hundred."""


class Results:
    """The figures, by name. A figure measured several times is their median."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._kinds: dict[str, tuple[str, str]] = {}

    def add(self, name: str, value: float, unit: str, better: str) -> None:
        self._values.setdefault(name, []).append(value)
        self._kinds[name] = unit, better

    def as_json(self) -> dict[str, dict[str, object]]:
        return {
            name: {
                "value": statistics.median(values),
                "spread": (max(values) - min(values)) / (statistics.median(values) or 1.0),
                "unit": self._kinds[name][0],
                "better": self._kinds[name][1],
            }
            for name, values in self._values.items()
        }


class Bench:
    """seconds: how long one load lasts. repeat: how often each is measured."""

    def __init__(self, results: Results, seconds: float, repeat: int, quick: bool):
        self._add = results.add
        self._seconds = seconds
        self._repeat = repeat
        self._quick = quick

    # ---- scenarios

    def yardstick(self) -> None:
        """Return the yardstick of this machine: the CPU time of a send and a receive of 200 bytes on a connection to itself."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
        frame, count = b"x" * 200, 20_000
        with near, far:
            for _ in range(5):
                began = time.process_time()
                for _ in range(count):
                    near.send(frame)
                    far.recv(4096)
                self._add("yardstick", 1e6 * (time.process_time() - began) / count, "us", LOWER)

    def embedded(self) -> None:
        """One node with nothing but itself."""
        for kind, senders, window, members, rooms in (
            ("CHAT", 1, 1, 10, 20),
            ("CHAT", 5, 4, 10, 20),
            ("CHAT", 5, 2, 100, 10),
            ("PLAY_PAUSE", 1, 1, 10, 20),
            ("ICE_CANDIDATE", 1, 1, 10, 20),
        ):
            name = f"{kind} {rooms}x{members}" + (
                f", {senders} senders, window {window}" if senders * window > 1 else ""
            )
            self._throughput(
                name, False, Load([], rooms=rooms, members=members, kind=kind, senders=senders, window=window)
            )
        self._positions()
        self._joins("joins", False, 100 if self._quick else 400)
        self._memory(1000 if self._quick else 10_000)

    def with_stores(self) -> None:
        """One node on Redis and PostgreSQL, then two of them."""
        self._throughput("PLAY_PAUSE 20x10, Redis", True, Load([], kind="PLAY_PAUSE"))
        self._joins("joins, Redis", True, 100 if self._quick else 400)
        with nodes(stores=True, count=2) as (first, second):
            load = Load([first.port, second.port], rooms=1, members=2, kind="PLAY_PAUSE", rate=20.0, remote=True)
            with loaders(load, first, second) as crowd:
                crowd.run(0.5)
                for _ in range(self._repeat):
                    seen = crowd.run(self._seconds)
                    self._add("node to node p50", seen["p50"], "ms", LOWER)
                    self._add("node to node p99", seen["p99"], "ms", LOWER)

    def large_room(self) -> None:
        """One room of 4000: its joins, a line of chat a second from 50 members, and how long a play takes to the last."""
        self._large_room("large room", stores=False, count=1)

    def large_room_cluster(self) -> None:
        """The same with the members on two nodes, with Redis and PostgreSQL."""
        self._large_room("large room, two nodes", stores=True, count=2)

    def _large_room(self, name: str, *, stores: bool, count: int) -> None:
        members = 500 if self._quick else 4000
        for number in range(self._repeat):
            with nodes(stores, count, TANDEMD_LIMITS_MEMBERS_PER_ROOM="10000") as running:

                def cpu(running: Sequence[Node] = running) -> float:
                    return sum(node.cpu for node in running)

                before = cpu()
                ports = [node.port for node in running]
                load = Load(ports, f"large{number}", rooms=1, members=members, senders=50, rate=50.0)
                with loaders(load, *running) as crowd:
                    self._add(f"{name}: CPU a join", 1e6 * (cpu() - before) / members, "us", LOWER)
                    self._add(f"{name}: joined", crowd.joined / crowd.join_seconds, "/s", HIGHER)
                    crowd.run(1.0)
                    before = cpu()
                    seen = crowd.run(self._seconds)
                    self._add(f"{name}: CPU of 50 chats a second", 100 * (cpu() - before) / seen["seconds"], "%", LOWER)
                    self._add(f"{name}: chats delivered", seen["delivered"] / seen["sent"] / members, "", HIGHER)
                    self._add(f"{name}: chat p99", seen["p99"], "ms", LOWER)
                    seen = crowd.run(self._seconds, kind="PLAY_PAUSE", rate=2.0, senders=1)
                    self._add(f"{name}: play, first to last", seen["spread"], "ms", LOWER)
                    self._add(f"{name}: play, p50", seen["p50"], "ms", LOWER)

    def start(self) -> None:
        """From the start of the process to ready."""
        for _ in range(self._repeat + 1):
            with nodes(stores=False) as (node,):
                self._add("start", 1000 * node.started_in, "ms", LOWER)

    def users(self) -> None:
        """How many watching users one core serves: rooms of five, a control every 10 s, two positions a second each."""
        fits, too_many, rooms = 0, 0, 200 if self._quick else 1000
        while not too_many or too_many - fits > max(50, fits // 8):
            good = self._fits(rooms)
            if good:
                fits = rooms
            else:
                too_many = rooms
            rooms = (fits + too_many) // 2 if too_many else fits * 2
            if self._quick or rooms * 5 > 26_000 or rooms < 20:
                break
        self._add("users a core", 5 * fits, "", HIGHER)

    def _fits(self, rooms: int) -> bool:
        with nodes(stores=False) as (node,):
            load = Load([node.port], rooms=rooms, members=5, kind="PLAY_PAUSE", rate=0.1, positions=2.0)
            with loaders(load, node) as crowd:
                crowd.run(2.0)
                before = node.cpu
                seen = crowd.run(self._seconds)
                share = (node.cpu - before) / seen["seconds"]
        asked = 2.0 * rooms * 5 * seen["seconds"]
        say(f"  {5 * rooms} users: p99 {seen['p99']:.1f} ms, {100 * share:.0f} % of a core")
        if seen["positions"] < 0.95 * asked:
            say("  (the load generator could not keep up: what is said here is about it)")
        self._add(f"{5 * rooms} users p99", seen["p99"], "ms", LOWER)
        self._add(f"{5 * rooms} users CPU", 100 * share, "%", LOWER)
        return seen["p99"] <= P99_MS and not seen["closed"]

    # ---- how

    def _throughput(self, name: str, stores: bool, load: Load) -> None:
        with nodes(stores=stores) as (node,):
            load.ports = [node.port]
            with loaders(load, node) as crowd:
                crowd.run(0.5)
                for _ in range(self._repeat):
                    commits, before = node.counted("tandemd_commits_total"), node.cpu
                    seen = crowd.run(self._seconds)
                    cpu, commits = node.cpu - before, node.counted("tandemd_commits_total") - commits
                    self._add(f"{name}: delivered", seen["delivered"] / seen["seconds"], "/s", HIGHER)
                    self._add(f"{name}: CPU a message", 1e6 * cpu / seen["sent"], "us", LOWER)
                    self._add(f"{name}: CPU a delivery", 1e6 * cpu / seen["delivered"], "us", LOWER)
                    self._add(f"{name}: p50", seen["p50"], "ms", LOWER)
                    self._add(f"{name}: p99", seen["p99"], "ms", LOWER)
                    if commits:
                        self._add(f"{name}: commits", commits / seen["seconds"], "/s", HIGHER)
                    if seen["errors"] or seen["closed"]:
                        raise RuntimeError(f"{name}: {seen['errors']} errors, {seen['closed']} connections closed")

    def _positions(self) -> None:
        with nodes(stores=False) as (node,):
            load = Load([node.port], rooms=40, members=5, kind="PLAY_PAUSE", rate=0.001, positions=50.0)
            with loaders(load, node) as crowd:
                crowd.run(0.5)
                for _ in range(self._repeat):
                    before = node.cpu
                    seen = crowd.run(self._seconds)
                    self._add(
                        "POSITION_UPDATE: CPU a message", 1e6 * (node.cpu - before) / seen["positions"], "us", LOWER
                    )

    def _joins(self, name: str, stores: bool, rooms: int) -> None:
        with nodes(stores=stores) as (node,):
            for number in range(self._repeat):
                before = node.cpu
                with loaders(Load([node.port], name=f"bench{number}", rooms=rooms, members=5), node) as crowd:
                    self._add(f"{name}: joined", crowd.joined / crowd.join_seconds, "/s", HIGHER)
                    self._add(f"{name}: CPU a join", 1e6 * (node.cpu - before) / crowd.joined, "us", LOWER)

    def _memory(self, clients: int) -> None:
        with nodes(stores=False) as (node,):
            before = node.memory
            with loaders(Load([node.port], rooms=clients // 5, members=5), node):
                time.sleep(1.0)  # the archive is written a moment later
                self._add("memory a client", (node.memory - before) / clients / 1024, "KB", LOWER)


@contextlib.contextmanager
def loaders(load: Load, *on: Node) -> Iterator[Loaders]:
    """Run clients, all of whom have joined."""
    crowd = Loaders(load)
    try:
        if crowd.joined < crowd.clients:
            raise RuntimeError(f"{crowd.joined} of {crowd.clients} clients could join")
        yield crowd
    finally:
        crowd.stop()


def compared(now: dict[str, dict[str, object]], before: dict[str, dict[str, object]]) -> list[str]:
    """Return a line for every figure that got worse by more than noise. CPU times are held against the yardstick."""
    lines = []
    scale = number(now, "yardstick") / number(before, "yardstick")
    for name, figure in now.items():
        if name not in before or name == "yardstick":
            continue
        old = number(before, name) * (scale if figure["unit"] == "us" else 1.0)
        new = number(now, name)
        worse = (new / old if figure["better"] == LOWER else old / new) - 1 if old and new else 0.0
        noise = max(NOISE, float(str(figure["spread"])), float(str(before[name]["spread"])))
        if worse > noise:
            lines.append(f"SLOWER  {name}: {old:.4g} -> {new:.4g} {figure['unit']} ({100 * worse:.0f} % worse)")
    return lines


def number(figures: dict[str, dict[str, object]], name: str) -> float:
    return float(str(figures[name]["value"]))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS='...'", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a minute: shows that everything works, more than how fast"
    )
    parser.add_argument(
        "--only",
        action="append",
        help="a part: embedded, with_stores, large_room, large_room_cluster, start, users; may be repeated",
    )
    parser.add_argument("--output", default="bench.json", help="where to write the figures (default: %(default)s)")
    parser.add_argument(
        "--compare", metavar="BASELINE", help="figures written earlier; status 1 if something is slower"
    )
    options = parser.parse_args(arguments)
    # The servers of a benchmark that is ended must end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.sched_setaffinity(0, OTHER_CORES)
    results = Results()
    bench = Bench(results, 1.0 if options.quick else 4.0, 1 if options.quick else 3, options.quick)
    parts: dict[str, Callable[[], None]] = {
        "embedded": bench.embedded,
        "with_stores": bench.with_stores,
        "large_room": bench.large_room,
        "large_room_cluster": bench.large_room_cluster,
        "start": bench.start,
        "users": bench.users,
    }
    bench.yardstick()
    for name in options.only or parts:
        if name not in parts:
            parser.error(f"--only {name}: there is {', '.join(parts)}")
        say(f"{name} ...")
        parts[name]()
    figures = results.as_json()
    for name, figure in figures.items():
        say(f"{name:50} {number(figures, name):12.4g} {figure['unit']:3} +- {50 * float(str(figure['spread'])):.0f} %")
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": [len(SERVER_CORES), len(OTHER_CORES)],
        "figures": figures,
    }
    pathlib.Path(options.output).write_text(json.dumps(document, indent=1) + "\n")
    say(f"written to {options.output}")
    if options.compare:
        slower = compared(figures, json.loads(pathlib.Path(options.compare).read_text())["figures"])
        for line in slower or ["nothing is slower than in " + options.compare]:
            say(line)
        return 1 if slower else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
