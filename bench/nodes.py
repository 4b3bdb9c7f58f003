"""The processes of a benchmark: tandemd nodes, their servers, and the kernel's counters of them."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tests.support.private_servers import PostgreSQL, Redis, free_port

from .load import Load

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICK = 1 / os.sysconf("SC_CLK_TCK")
READY_WITHIN = 20.0

SERVER_CORES, OTHER_CORES = (
    ({cores[0]}, set(cores[1:])) if len(cores := sorted(os.sched_getaffinity(0))) > 1 else (set(cores), set(cores))
)
"""The node under test has one core for itself; everything else has the others."""


class Node:
    """One tandemd process. started_in: seconds from its start until it was ready."""

    def __init__(self, directory: str, name: str, environ: dict[str, str], cores: set[int]):
        self.port = free_port()
        state = os.path.join(directory, name)
        os.mkdir(state)
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
        command += ["tandemd", "--state-dir", state, "--port", f"tcp:{self.port}:interface=127.0.0.1:backlog=4096"]
        began = time.monotonic()
        with open(state + ".log", "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TANDEMD_LIMITS_ENABLED": "false", **environ},
            )  # fmt: skip
        os.sched_setaffinity(self.process.pid, cores)
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > began + READY_WITHIN:
                raise RuntimeError("the node did not start:\n" + pathlib.Path(state + ".log").read_text())
            time.sleep(0.003)
        self.started_in = time.monotonic() - began

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def cpu(self) -> float:
        """Seconds of CPU time up to now, all threads together, in the program and in the kernel for it."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def counted(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Loaders:
    """The processes with the clients, one a core that the nodes do not have."""

    def __init__(self, load: Load, processes: int = 0):
        count = min(processes or len(OTHER_CORES), load.rooms)
        shares = [load.rooms // count + (i < load.rooms % count) for i in range(count)]
        self._processes = []
        self.clients = load.rooms * load.members
        began = time.monotonic()
        first = 0
        for share in shares:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.load"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            os.sched_setaffinity(process.pid, OTHER_CORES)
            self._processes.append(process)
            self._tell(process, json.dumps({**asdict(load), "first_room": first, "rooms": share}))
            first += share
        joined = self._answers()
        self.joined = sum(answer["joined"] for answer in joined)
        self.join_seconds = max(answer["seconds"] for answer in joined)
        self.ready_after = time.monotonic() - began

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def _answers(self) -> list[dict[str, Any]]:
        return [json.loads(process.stdout.readline()) for process in self._processes if process.stdout is not None]

    def run(self, seconds: float, **changes: Any) -> dict[str, float]:
        """Load for so long; counts are sums, latencies (ms) those of the slowest process. changes: fields of the load."""
        for process in self._processes:
            self._tell(process, json.dumps({"seconds": seconds, **changes}))
        answers = self._answers()
        slowest = ("p50", "p95", "p99", "max", "spread", "seconds")
        return {name: (max if name in slowest else sum)(answer[name] for answer in answers) for name in answers[0]}

    def stop(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


@contextlib.contextmanager
def nodes(stores: bool, count: int = 1, **settings: str) -> Iterator[Sequence[Node]]:
    """Run nodes, by themselves or with a private Redis and PostgreSQL. settings: more environment variables."""
    directory = tempfile.mkdtemp(prefix="tandemd-bench-")
    started: list[Node] = []
    servers: list[Any] = []
    try:
        environ = dict(settings)
        if stores:
            redis, postgresql = Redis(port=free_port()), PostgreSQL()
            servers += [redis, postgresql]
            for process in (redis.process, postgresql.process):
                assert process is not None
                os.sched_setaffinity(process.pid, OTHER_CORES)
            postgresql.create("tandemd")
            environ |= {
                "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port), "POSTGRES_HOST": postgresql.directory,
                "POSTGRES_USER": "postgres", "POSTGRES_DB": "tandemd",
            }  # fmt: skip
        for number in range(count):
            name = f"node{number}"
            cores = SERVER_CORES if number == 0 else OTHER_CORES
            started.append(Node(directory, name, {**environ, "NODE_ID": name}, cores))
        yield started
    finally:
        for node in started:
            node.stop()
        for server in servers:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)
