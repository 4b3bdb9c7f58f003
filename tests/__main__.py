"""Run the suite: each module of tests in a process of its own, several at once. `make test` does this.

One line reports the end of each module. Failures are printed in full as they happen; the last lines name the first cause of
each failure, and the skipped tests with their reasons. The very last line is "N passed, N failed[, N skipped]".

Everything is bounded: each test (tests/onemodule.py), each module by the tests in it, and the whole run. A module whose
process dies in a test goes on with its next test. All files are in one temporary directory, which is removed;
_trial_temp_failed keeps output and logs of modules with failures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, Any, NoReturn

from .support.patience import TEST_LIMIT_SECONDS

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "_trial_temp_failed"
"""Where the output and the log of modules with failures are kept."""
LONGEST_FIRST = (
    "web.test_page_screens",
    "simulation.test_simulation",
    "chaos.test_chaos",
    "attacks.test_attacks",
    "chaos.test_slow_links",
    "web.test_call_in_browser",
    "integration.test_wall_clock",
    "web.test_page_without_abilities",
    "store.redis.test_login",
    "web.test_films_in_browser",
    "attacks.test_allowed_messages",
    "attacks.test_redis_exhaustion",
    "web.test_page_in_browser",
    "store.redis.test_contract_faults",
    "operations.test_redis_pods",
    "integration.test_cluster_playback",
    "ctl.test_main",
    "store.redis.test_incarnation",
    "integration.test_startup_errors",
    "attacks.test_allowed_requests",
    "store.redis.test_journal",
    "store.redis.test_sentinel",
    "store.redis.test_memory_pressure",
    "operations.test_runner",
    "chaos.test_checker",
)
"""Modules that take longer than 20 s start first, so that the others fill the time beside them: browsers, which work, between
those that wait. Another order than that of the alphabet has them first too."""
SPARE_SECONDS = 30.0
"""Between the limit of a test and the end of its process, and then to the end of the servers that it has started."""
SILENCE_SECONDS = 1800.0
"""A module's process is ended if a test has begun and nothing is heard for this long: no test may take that long."""
IDLE_SECONDS = 240.0
"""It is ended if nothing is heard for this long between tests: while it is loaded, or waits for its threads in the end."""
BUSY = "while True: pass"


@dataclass
class Test:
    """One test that has ended. why: the causes of its failure, or the reason why it was skipped."""

    id: str
    outcome: str
    why: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Module:
    """The tests of a module. output: its standard output and error."""

    name: str
    tests: list[Test] = field(default_factory=list)
    output: str = ""
    seconds: float = 0.0

    def of(self, outcome: str) -> list[Test]:
        return [test for test in self.tests if test.outcome == outcome]


def closing_line(counts: Counter[str]) -> str:
    """Return the last line for counts by outcome."""
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{counts['passed']} passed, {counts['failed']} failed{skipped}"


def summary(modules: Iterable[Module]) -> Iterator[str]:
    """Yield a line for the first cause of each failed test, and for the skipped tests of each reason."""
    failed = [test for module in modules for test in module.of("failed")]
    skipped: dict[str, list[str]] = {}
    for module in modules:
        for test in module.of("skipped"):
            skipped.setdefault("; ".join(test.why), []).append(test.id)
    for test in failed:
        first, *others = test.why or ["no cause was reported"]
        yield f"FAILED {test.id}: {first}" + (f" (and {len(others)} more, first: {others[0]})" if others else "")
    for reason, tests in skipped.items():
        classes = sorted({test.rpartition(".")[0] for test in tests})
        yield f"SKIPPED {len(tests)} of {', '.join(classes)}: {reason}"


class Run:
    """A run of the suite. options: of the command line. seed: "" for the order of the alphabet."""

    def __init__(self, names: list[str], options: argparse.Namespace, seed: str, directory: pathlib.Path):
        self._names = names
        self._options = options
        self._seed = seed
        self._files = directory / "modules"
        temporary = directory / "tmp"
        temporary.mkdir()
        self._environ = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
        if seed:
            self._environ["TANDEMD_TEST_SEED"] = seed
        self._processes: set[subprocess.Popen[Any]] = set()
        self._lock = threading.Lock()
        self._over = False
        self._running: dict[str, str] = {}
        """The test that runs in a module."""

    def run(self) -> list[Module]:
        """Run all modules and print how each ended."""
        modules: list[Module] = []
        began = time.monotonic()
        signal.signal(signal.SIGALRM, self._too_long)
        signal.signal(signal.SIGTERM, _interrupted)
        signal.setitimer(signal.ITIMER_REAL, self._options.limit * 60)
        try:
            for _ in range(self._options.busy):
                self._spawn([sys.executable, "-c", BUSY])
            with ThreadPoolExecutor(self._options.jobs) as pool:
                try:
                    waiting = [pool.submit(self._module, name) for name in self._names]
                    for done in as_completed(waiting):
                        modules.append(done.result())
                        _print_module(modules[-1], len(modules), len(self._names), time.monotonic() - began)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    self._end_all()
                    raise
        except RunLimitError:
            unfinished = dict(self._running)
            text = f"the whole run has a limit of {self._options.limit:g} minutes, and reached it"
            modules.append(Module("run", [Test(test, "failed", [text]) for test in unfinished.values()] or
                                  [Test("run", "failed", [text])]))  # fmt: skip
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._end_all()
        return modules

    def _too_long(self, number: int, frame: FrameType | None) -> NoReturn:
        raise RunLimitError

    def _spawn(self, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        with self._lock:
            if self._over:
                raise RuntimeError("the run is over")
            process: subprocess.Popen[Any] = subprocess.Popen(
                command, cwd=ROOT, env=self._environ, stdin=subprocess.DEVNULL, start_new_session=True, **options
            )
            self._processes.add(process)
        return process

    def _end_all(self) -> None:
        with self._lock:
            self._over = True
            for process in self._processes:
                _end(process)
            self._processes.clear()

    def _module(self, name: str) -> Module:
        """Run the tests of a module, in as many processes as it takes."""
        module = Module(name)
        began = time.monotonic()
        files = self._files / name
        files.mkdir(parents=True)
        while self._process(module, files):
            pass
        module.seconds = time.monotonic() - began
        if module.of("failed"):
            kept = pathlib.Path(self._options.kept) / name
            kept.mkdir(parents=True, exist_ok=True)
            (kept / "output").write_text(module.output)
            for log in [*files.glob("trial*/test.log"), *files.glob("trial*/histories-*.json")]:
                shutil.copy(log, kept)
        shutil.rmtree(files)
        return module

    def _process(self, module: Module, files: pathlib.Path) -> bool:
        """Run the tests of a module that have no result yet. Return whether to try again: the process died in a test."""
        done = [test.id for test in module.tests]
        plan: list[str] | None = None
        current = ""
        ours, theirs = os.pipe()
        with open(files / "output", "wb") as output:
            limits = [str(self._options.test_limit), str(self._options.spare)]
            arguments = [str(theirs), str(files / "trial"), *limits, self._seed, f"tests.{module.name}"]
            process = self._spawn(
                [sys.executable, "-m", "tests.onemodule", *arguments, *done],
                stdout=output,
                stderr=output,
                pass_fds=[theirs],
            )
        os.close(theirs)
        with os.fdopen(ours) as stream:
            for event in _events(stream, process):
                if "plan" in event:
                    plan = event["plan"]
                elif "began" in event:
                    self._running[module.name] = current = event["began"]
                else:
                    current = ""
                    self._running.pop(module.name, None)
                    module.tests.append(Test(event["test"], event["outcome"], event["why"], event["seconds"]))
        status = _end(process)
        with self._lock:
            self._processes.discard(process)
        module.output += (files / "output").read_text(errors="replace")
        if status in (0, 1) and plan is not None and not current:
            return False
        ended = f"its process ended with {status}; the output of tests.{module.name} has the stacks"
        module.tests.append(Test(current or f"tests.{module.name}", "failed", [ended]))
        return bool(current and not self._over)


class RunLimitError(Exception):
    """The whole run took longer than its limit."""


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[Any]) -> int:
    """End a process with all that it has started, and return its exit status."""
    if process.poll() is None:
        process.kill()
        process.wait()
        time.sleep(0.5)  # PostgreSQL is sent SIGQUIT then, and gives back its shared memory
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _events(stream: IO[str], process: subprocess.Popen[Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a module's process until it has ended, or has been silent for too long."""
    os.set_blocking(stream.fileno(), False)
    rest = b""
    heard, limit = time.monotonic(), IDLE_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() < heard + limit:
            ended = process.poll() is not None
            if selector.select(0 if ended else 1.0):
                data = os.read(stream.fileno(), 1 << 16)
                if not data:
                    break
                heard = time.monotonic()
                *lines, rest = (rest + data).split(b"\n")
                for event in map(json.loads, lines):
                    limit = SILENCE_SECONDS if "began" in event else IDLE_SECONDS
                    yield event
            elif ended:
                break
    end = time.monotonic() + SPARE_SECONDS  # for its servers to stop
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)


def _print_module(module: Module, number: int, of: int, seconds: float) -> None:
    counts = Counter(test.outcome for test in module.tests)
    if counts["failed"]:
        print(module.output)
    word = "FAILED" if counts["failed"] else "ok"
    print(f"[{seconds:4.0f} s {number:3}/{of}] {module.name:28} {module.seconds:6.1f} s  {word}: {closing_line(counts)}",
          flush=True)  # fmt: skip


def _module_names() -> list[str]:
    names = sorted(
        ".".join(path.relative_to(ROOT / "tests").with_suffix("").parts) for path in ROOT.glob("tests/**/test_*.py")
    )
    return sorted(names, key=lambda name: LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description="Run the suite.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to run, such as test_rules; everything without")
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        help="modules at once (default: 5, as they wait more than they work, and 4 with --busy)",
    )
    parser.add_argument(
        "--seed", default="", help="run modules, classes and tests in an order made from this; `random` for any"
    )
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="have N processes beside it that keep a core busy each"
    )
    parser.add_argument("--limit", type=float, default=60.0, metavar="MINUTES", help="of the whole run (default: 60)")
    parser.add_argument(
        "--test-limit", type=float, default=TEST_LIMIT_SECONDS, metavar="SECONDS", help="of a test (default: 600)"
    )
    parser.add_argument("--spare", type=float, default=SPARE_SECONDS, metavar="SECONDS", help="after it (default: 30)")
    parser.add_argument(
        "--kept", default=str(KEPT), metavar="DIR", help="for the files of failures (default: _trial_temp_failed)"
    )
    options = parser.parse_args()
    options.jobs = options.jobs or (4 if options.busy else 5)
    names = [name.removeprefix("tests.") for name in options.names] or _module_names()
    seed = str(random.randrange(1, 1_000_000)) if options.seed == "random" else options.seed
    if seed and not seed.isdecimal():
        parser.error(f"--seed: {seed!r} is no whole number; leave it away, or say `random`")
    if seed:
        random.Random(seed).shuffle(names)
        names.sort(key=lambda name: name not in LONGEST_FIRST)
        print(f"random order, seed {seed}")
    shutil.rmtree(options.kept, ignore_errors=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tandemd-tests-"))
    directory.chmod(0o755)  # PostgreSQL runs as another user than root
    began = time.monotonic()
    try:
        modules = Run(names, options, seed, directory).run()
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    counts = Counter(test.outcome for module in modules for test in module.tests)
    print()
    for line in summary(modules):
        print(line)
    print(f"{time.monotonic() - began:.0f} s" + (f", seed {seed}" if seed else ""))
    print(closing_line(counts))
    return 0 if counts["passed"] and not counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
