"""`make together`: measure how far apart the players are, print a table, and write a JSON file."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import signal
import sys
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.support.browser import launch

from ..nodes import OTHER_CORES, SERVER_CORES, nodes
from . import pages, viewers
from .table import lines


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make together ARGS='...'", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="decides devices, links and losses")
    parser.add_argument("--viewers", type=int, default=50, help="in the room at once (default: %(default)s)")
    parser.add_argument("--jitter", type=float, default=50.0, help="of the worst link, in ms (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=20, help="of steady play, and of losses (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="of each transition (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=viewers.PARTS, help="a part; may be repeated")
    parser.add_argument("--no-models", action="store_true", help="without the models of other rules")
    parser.add_argument("--no-viewers", action="store_true", help="only the pages in Chromium")
    parser.add_argument("--no-pages", action="store_true", help="without the pages in Chromium")
    parser.add_argument("--output", default="together.json", help="where to write the figures (default: %(default)s)")
    return parser.parse_args(arguments)


def measure_viewers(options: argparse.Namespace, port: int) -> dict[str, Any]:
    """Measure the client library with simulated players, and the models. Raises SkipTest."""
    scenario = viewers.Scenario(
        options.seed, options.viewers, options.jitter, options.seconds, options.rounds,
        tuple(options.only or viewers.PARTS), not options.no_models,
    )  # fmt: skip
    say(f"{options.viewers} viewers, links with jitter of up to {options.jitter:g} ms ...")
    return viewers.play(scenario, port)


def measure_pages(options: argparse.Namespace, port: int) -> dict[str, Any]:
    """Measure pages in Chromium, which may use all cores. Raises SkipTest."""
    os.sched_setaffinity(0, SERVER_CORES | OTHER_CORES)
    parts = options.only or viewers.PARTS
    figures = {}
    chromium = launch(pages.ARGUMENTS)
    for jitter in {min(10.0, options.jitter): None, options.jitter: None}:
        say(f"{len(pages.DELAYS_MS)} pages, links with jitter of {jitter:g} ms ...")
        with pages.links(port, pages.DELAYS_MS, jitter, options.seed) as ports:
            name = f"Chromium, jitter {jitter:g} ms"
            figures[name] = pages.play(chromium, ports, options.rounds, options.seconds, parts)
    return {"figures": figures}


def main(arguments: Sequence[str]) -> int:
    options = parsed(arguments)
    # The servers of a benchmark that is ended must end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.sched_setaffinity(0, OTHER_CORES)
    say(f"seed {options.seed}")
    document: dict[str, object] = {"seed": options.seed, "jitter": options.jitter}
    for name, measure in (("viewers", measure_viewers), ("pages", measure_pages)):
        if getattr(options, f"no_{name}"):
            continue
        try:
            with nodes(stores=False) as (node,):
                measured = measure(options, node.port)
        except SkipTest as reason:
            say(f"{name}: skipped, {reason}")
            continue
        document[name] = measured
        for line in lines(measured):
            say(line)
    pathlib.Path(options.output).write_text(json.dumps(document, indent=1) + "\n")
    say(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
