"""python -m tests.simulation [--seed N] [--count N] [--size small|large] [--trace]: runs schedules until one fails.

A failure is shortened first. With --trace, everything that happened is printed, and is the same each time and everywhere.
`make simulate` does this.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter

from twisted.logger import ILogObserver, globalLogBeginner
from zope.interface import implementer

from .minimise import minimised
from .run import Result, run
from .schedule import Schedule, large, small
from .states import INTERESTING

SIZES = {"small": small, "large": large}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the first schedule; random without it, and printed")
    parser.add_argument("--count", type=int, default=None, help="schedules; 1 with --seed, else until one fails")
    parser.add_argument("--size", choices=SIZES, default="small", help="of the schedules")
    parser.add_argument("--trace", action="store_true", help="print the trace of each run")
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


def _fails(schedule: Schedule) -> bool:
    return bool(run(schedule).problems)


def main() -> int:
    options = _arguments()
    globalLogBeginner.beginLoggingTo([ignored], redirectStandardIO=False, discardBuffer=True)
    make = SIZES[options.size]
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    count = options.count if options.count is not None else 1 if options.seed is not None else 10**9
    coverage: Counter[str] = Counter()
    print(f"from seed {first}, {options.size}", flush=True)
    for number in range(count):
        schedule = make(first + number)
        result = run(schedule, keeps_trace=options.trace)
        coverage.update(result.coverage)
        if result.problems:
            if not options.whole:
                result = run(minimised(schedule, _fails), keeps_trace=options.trace)
            _show(result, with_trace=options.trace)
            print(f"make simulate SEED={first + number} SIZE={options.size} TRACE=1 shows it again")
            return 1
        if options.trace:
            _show(result, with_trace=True)
        elif (number + 1) % 100 == 0:
            print(f"{number + 1} schedules, the last with seed {first + number}", flush=True)
    for state in sorted(coverage):
        print(f"{coverage[state]:8} {state}")
    never = [state for state in INTERESTING if not coverage[state]]
    print(f"never reached: {', '.join(never)}" if never else "all interesting states were reached")
    print(f"{count} schedules, all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
