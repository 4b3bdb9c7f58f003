"""python -m tests.simulation [--seed N] [--count N] [--size small|large] [--jobs N] [--resume FILE] [--twice] [--trace]

Runs schedules until one fails. A failure is shortened first. With --trace, everything that happened is printed, and is the
same each time and everywhere. `make simulate` does this.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from twisted.logger import ILogObserver, globalLogBeginner
from zope.interface import implementer

from .minimise import minimised
from .run import Result, run
from .schedule import Schedule, large, small
from .states import INTERESTING

SIZES = {"small": small, "large": large}
PIECE = 10
"""Schedules that a process runs before it reports."""
REPORT = 100
"""Schedules between two lines of progress."""


@dataclass
class Piece:
    """The outcome of some schedules. failed: the seed of the first that failed, and its problems."""

    first: int
    failed: tuple[int, list[str]] | None = None
    coverage: Counter[str] = field(default_factory=Counter)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the first schedule; random without it, and printed")
    parser.add_argument("--count", type=int, default=None, help="schedules; 1 with --seed, else until one fails")
    parser.add_argument("--size", choices=SIZES, default="small", help="of the schedules")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run schedules")
    parser.add_argument(
        "--resume", metavar="FILE", default="", help="file with the next seed, read first and kept up to date"
    )
    parser.add_argument("--twice", action="store_true", help="run each schedule twice, and compare the traces")
    parser.add_argument("--trace", action="store_true", help="print the trace of each run; in one process")
    parser.add_argument("--whole", action="store_true", help="do not shorten a schedule that fails")
    return parser.parse_args()


def _show(result: Result, *, with_trace: bool) -> None:
    for line in result.trace if with_trace else ():
        print(line)
    print(result.schedule.describe())
    for problem in result.problems[:20]:
        print("WRONG", problem)
    print(f"seed {result.schedule.seed}: {result.seconds:.0f} s, {result.events} events, trace {result.digest[:16]}")


@implementer(ILogObserver)
def ignored(event: object) -> None:
    """Drop an event of the log."""


def quiet() -> None:
    """Keep the log of a process to the simulations."""
    globalLogBeginner.beginLoggingTo([ignored], redirectStandardIO=False, discardBuffer=True)


def _fails(schedule: Schedule) -> bool:
    return bool(run(schedule).problems)


def _run_piece(task: tuple[str, int, int, bool]) -> Piece:
    size, first, count, twice = task
    piece = Piece(first)
    for seed in range(first, first + count):
        result = run(SIZES[size](seed))
        piece.coverage.update(result.coverage)
        problems = result.problems
        if twice and run(SIZES[size](seed)).digest != result.digest:
            problems = [*problems, "its trace is another one the second time"]
        if problems:
            piece.failed = seed, problems
            break
    return piece


def _pieces(options: argparse.Namespace, first: int, count: int) -> Iterator[Piece]:
    """Run schedules in order of their seeds, and yield the outcomes in this order."""
    tasks = (
        (options.size, start, min(PIECE, first + count - start), options.twice)
        for start in range(first, first + count, PIECE)
    )
    if options.jobs == 1:
        yield from map(_run_piece, tasks)
        return
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        # `imap` would take all tasks at once, and they are endless.
        running = []
        for task in tasks:
            running.append(pool.apply_async(_run_piece, (task,)))
            if len(running) >= 2 * options.jobs:
                yield running.pop(0).get()
        for work in running:
            yield work.get()


def _first_seed(options: argparse.Namespace) -> int:
    if options.resume and os.path.exists(options.resume):
        with open(options.resume, encoding="ascii") as file:
            return int(file.read())
    return options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)


def _keep_seed(path: str, seed: int) -> None:
    if path:
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(f"{seed}\n")
        os.replace(path + ".new", path)


def _report_failure(options: argparse.Namespace, seed: int, problems: list[str]) -> None:
    schedule = SIZES[options.size](seed)
    for problem in problems[:3]:
        print(f"seed {seed} WRONG {problem}", flush=True)
    if not options.whole:
        schedule = minimised(schedule, _fails)
    _show(run(schedule, keeps_trace=options.trace), with_trace=options.trace)
    print(f"make simulate SEED={seed} SIZE={options.size} TRACE=1 shows it again")


def _trace(options: argparse.Namespace, first: int, count: int) -> int:
    for seed in range(first, first + count):
        schedule = SIZES[options.size](seed)
        result = run(schedule, keeps_trace=True)
        if result.problems:
            if not options.whole:
                result = run(minimised(schedule, _fails), keeps_trace=True)
            _show(result, with_trace=True)
            return 1
        _show(result, with_trace=True)
    return 0


def main() -> int:
    options = _arguments()
    quiet()
    first = _first_seed(options)
    count = options.count if options.count is not None else 1 if options.seed is not None else 10**9
    print(f"from seed {first}, {options.size}", flush=True)
    if options.trace:
        return _trace(options, first, count)
    coverage: Counter[str] = Counter()
    for piece in _pieces(options, first, count):
        coverage.update(piece.coverage)
        if piece.failed is not None:
            _keep_seed(options.resume, piece.failed[0])
            _report_failure(options, *piece.failed)
            return 1
        done = min(piece.first + PIECE, first + count) - first
        _keep_seed(options.resume, first + done)
        if done % REPORT == 0:
            print(f"{done} schedules, the last with seed {first + done - 1}", flush=True)
    for state in sorted(coverage):
        print(f"{coverage[state]:8} {state}")
    never = [state for state in INTERESTING if not coverage[state]]
    print(f"never reached: {', '.join(never)}" if never else "all interesting states were reached")
    print(f"{count} schedules, all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
