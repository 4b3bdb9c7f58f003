"""The full suite: `python -m tests.attacks`. Every attack several times, in turn with windows without attack.

For each it reports the attacker's results, the growth of the server, and how the 99th percentile of a neighbouring
room's latency compares: the median of the attacked windows against the median of the undisturbed ones.

Last, one address fills Redis for ten minutes, see `redis_exhaustion`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from ..support.patience import wait_for_end
from . import redis_exhaustion
from .case import MIB
from .latency_probe import Neighbour, p99
from .servers import ROOT, Memory, OneNode, Target, TwoNodes
from .suite import BY_NAME

RATIO, MORE_MS = 3.0, 2.0
"""Of a neighbouring room's p99 under attack: at most so many times its quiet p99, or so much more if that is larger."""
HANDSHAKE_TIMEOUT = 5


@dataclass
class Row:
    """The observations of one case. Times are in milliseconds, of one window each."""

    case: str
    target: str
    bound: int
    got: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    grown: float = 0.0
    quiet: list[float] = field(default_factory=list)
    attacked: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(self.attacked) / median(self.quiet)


def attack(target: Target, row: Row, number: int, seconds: float, neighbour: Neighbour) -> None:
    """Attack once, and note the outcome."""
    command = [sys.executable, "-m", "tests.attacks.attacker", row.case, *map(str, target.address), str(number)]
    command += [str(seconds), str(HANDSHAKE_TIMEOUT), "1" if target.proxied else "0"]
    with Memory(target) as memory:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        row.attacked.append(1000 * p99(neighbour.talk(seconds)))
        # Some attacks go on until the server has had enough of them.
        said = process.stdout.read()
        wait_for_end(process)
    row.grown = max(row.grown, memory.grown / MIB)
    if said:
        outcome = json.loads(said)
        row.got.append(outcome["got"])
        row.wrong += [wrong for wrong in outcome["wrong"] if wrong not in row.wrong]
    else:
        row.wrong.append(f"the attack failed with {process.returncode}")
    if row.grown > row.bound:
        row.wrong.append(f"the server grew by {row.grown:.0f} MiB")
    if not neighbour.whole:
        row.wrong.append("a neighbour was cut off")
    row.wrong += target.errors()[:3]


def favour(*pids: int) -> None:
    """Give processes a higher priority, if we may."""
    with contextlib.suppress(PermissionError):
        for pid in pids:
            os.setpriority(os.PRIO_PROCESS, pid, -10)


def run(target: Target, names: list[str], rounds: int, seconds: float) -> list[Row]:
    """Do all cases so many times, with a quiet window before each."""
    rows = [Row(name, target.name, BY_NAME[name].memory) for name in names]
    # Other work of the machine should disturb neither the server nor the measurement.
    favour(os.getpid(), *target.pids())
    neighbour = Neighbour(target.address)
    neighbour.talk(1.0)
    number = 0
    for _ in range(rounds):
        for row in rows:
            number += 1
            row.quiet.append(1000 * p99(neighbour.talk(seconds)))
            attack(target, row, number, seconds, neighbour)
            print(".", end="", flush=True, file=sys.stderr)
            # The after-effects of the attack are over before the next one.
            time.sleep(0.2)
            if not neighbour.whole:
                neighbour.close()
                neighbour = Neighbour(target.address)
    print(file=sys.stderr)
    for row in rows:
        # The machine has its moods; a quiet window of this case alone says little about them.
        quiet = max(median(row.quiet), median(_around(rows, row)))
        if median(row.attacked) > max(RATIO * quiet, quiet + MORE_MS):
            row.wrong.append(f"the neighbours' p99 was {row.ratio:.2f} times as long")
    neighbour.close()
    return rows


def _around(rows: list[Row], row: Row) -> list[float]:
    """Return the quiet windows of a case and of those before and after it."""
    at = rows.index(row)
    return [value for other in rows[max(0, at - 1) : at + 2] for value in other.quiet]


def table(rows: list[Row]) -> str:
    """Return the report as a table in Markdown."""
    lines = [
        "| attack | what the attacker got | memory, MiB | p99 quiet, ms | p99 attacked, ms | ratio | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.case} | {row.got[0] if row.got else ''} | {row.grown:.0f} of {row.bound} | {median(row.quiet):.2f} | "
            f"{median(row.attacked):.2f} | {row.ratio:.2f} | {'; '.join(row.wrong) or 'holds'} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--target", choices=["one", "two", "both"], default="both", help="nodes; two are behind nginx")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the report as JSON")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument(
        "--exhaustion", type=float, default=600.0, help="seconds for which Redis is filled; 0 for not at all"
    )
    options = parser.parse_args()
    names = [name for name in BY_NAME if options.only in name]
    settings = {"TANDEMD_LIMITS_HANDSHAKE_TIMEOUT": f"{HANDSHAKE_TIMEOUT}s"}
    rows: list[Row] = []
    for kind in ("one", "two"):
        if options.target in (kind, "both"):
            target = OneNode(**settings) if kind == "one" else TwoNodes(HANDSHAKE_TIMEOUT, **settings)
            try:
                found = run(target, names, options.rounds, options.seconds)
            finally:
                target.stop()
            print(f"\n## {target.name}\n\n{table(found)}", flush=True)
            rows += found
    if options.json:
        options.json.write_text(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=1))
    wrong = [row for row in rows if row.wrong]
    print(f"\n{len(rows)} attacks, {len(wrong)} got more than they may", flush=True)
    holds = not options.exhaustion or bool(options.only) or redis_exhaustion.run(options.exhaustion)
    return 1 if wrong or not holds else 0


if __name__ == "__main__":
    sys.exit(main())
