"""python -m tests.chaos [--seconds N] [--seed S] [--only fault ...]: faults at random, alone and together, then the checks."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import asdict
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.python.failure import Failure

from . import faults, serverfaults
from .cluster import Cluster
from .faults import Fault, Stage
from .party import USABLE_WITHIN, Party
from .run import finish

REDIS = (*faults.REDIS, *serverfaults.SERVER, *serverfaults.EMPTIED)
DATA_LOSS = (*faults.DATA_LOSS, *serverfaults.EMPTIED)
POSTGRES = (*faults.POSTGRES, *serverfaults.DATABASE)
ALL = (*faults.ALL, *serverfaults.SERVER, *serverfaults.EMPTIED, *serverfaults.DATABASE, serverfaults.end_rooms)
LAYOUT = ((12, 0), (8, 4), (20, 10), (0, 8), (2, 2), (30, 0), (6, 6))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="for how long there are faults")
    parser.add_argument("--seed", type=int, default=None, help="of the randomness; printed")
    parser.add_argument("--only", nargs="*", default=[], help="names of faults, to have no others")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep what is left on disk, with the nodes' logs and what the clients have seen",
    )
    return parser.parse_args()


def _pick(rng: random.Random, only: list[str]) -> list[Fault]:
    pool = [fault for fault in ALL if not only or fault.__name__ in only]
    chosen = rng.sample(pool, min(len(pool), rng.choice((1, 1, 2, 3))))
    if any(fault in DATA_LOSS for fault in chosen):
        # A loss in a node and in Redis within the same second is a stated limit.
        chosen = [fault for fault in chosen if fault not in (faults.kill_node, faults.freeze_node)]
    if any(fault in faults.DISKS for fault in chosen):
        # The memory of a node whose disk takes nothing is lost with it.
        chosen = [fault for fault in chosen if fault is not faults.kill_node]
    on_redis = [fault for fault in chosen if fault in (*REDIS, faults.freeze_redis, faults.kill_subscriptions)]
    on_postgres = [fault for fault in chosen if fault in (*POSTGRES, *faults.DISKS, serverfaults.empty_redis_behind)]
    return [fault for fault in chosen if fault not in (*on_redis[1:], *on_postgres[1:])]


async def _main(options: argparse.Namespace) -> list[str]:
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    cluster = Cluster(reactor, 3, TANDEMD_REDIS_JOURNAL_LENGTH=str(faults.JOURNAL))
    party = Party(reactor, cluster.choice, LAYOUT, seed)
    stage = Stage(reactor, cluster, party, rng, long=options.seconds > 120)
    try:
        await cluster.start()
        await party.begin()
        party.load()
        await party.settled("at first", usable=USABLE_WITHIN, old=USABLE_WITHIN)
        print(party.reports[-1], flush=True)
        end = time.monotonic() + options.seconds
        used: set[Fault] = set()
        while time.monotonic() < end:
            chosen = _pick(rng, options.only)
            used.update(chosen)
            name = " + ".join(fault.__name__ for fault in chosen)
            print(f"... {name}", flush=True)
            happening = gatherResults([Deferred.fromCoroutine(fault(stage)) for fault in chosen], consumeErrors=True)  # type: ignore[arg-type]
            if all(fault in POSTGRES for fault in chosen):
                await stage.wait(0.5)
                await party.settled(f"during {name}", usable=USABLE_WITHIN, old=USABLE_WITHIN)
            await happening
            await party.settled(name, usable=USABLE_WITHIN, old=USABLE_WITHIN)
            print(party.reports[-1], flush=True)
            await faults.start_nodes(stage)
            await stage.wait(rng.uniform(0.5, 3))
        await party.quiet()
        return await finish(
            cluster,
            party,
            may_renew=not used.isdisjoint((*faults.REDIS, *serverfaults.EMPTIED)),
            may_lose=not used.isdisjoint(DATA_LOSS),
        )
    finally:
        for node in cluster.nodes:
            (cluster.home / f"{node.name}.log").write_text(node.log)
        await cluster.stop()
        seen = [asdict(history) for history in party.stop()]
        (cluster.home / "histories.json").write_text(json.dumps(seen))
        print(f"logs in {cluster.home}" if options.keep else "")
        if not options.keep:
            cluster.remove()


def _run(reactor: Any) -> Deferred[None]:
    def judged(problems: list[str]) -> None:
        for problem in problems[:50]:
            print("WRONG", problem)
        print(f"{len(problems)} problems" if problems else "all is well")
        if problems:
            raise SystemExit(1)

    def failed(failure: Failure) -> None:
        if failure.check(SystemExit):
            failure.raiseException()
        failure.printBriefTraceback(sys.stdout)
        raise SystemExit(1)

    return Deferred.fromCoroutine(_main(_arguments())).addCallback(judged).addErrback(failed)


if __name__ == "__main__":
    react(_run)
