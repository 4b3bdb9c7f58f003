"""The end of every run: everything gets into the archive, and all that was seen is checked."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from twisted.internet.threads import deferToThread

from .checker import Checker
from .cluster import Cluster
from .party import Party


async def archived(cluster: Cluster, party: Party) -> None:
    """Wait until the archive has every change, and every member has been told of it.

    The journal is empty, no node keeps anything that is to go there, and no member is behind: all of it at one moment.
    """

    def empty() -> bool:
        spooled = any(path.name.startswith("journal.spool") for node in cluster.nodes for path in node.state.iterdir())
        return not spooled and bool(cluster.ask_redis("XLEN", "tandem:journal") == 0)

    # What a consumer has taken that was killed is taken over after some seconds.
    assert await party.clock.until(lambda: not party.behind() and empty()), (
        f"behind: {party.behind()}; the journal: {cluster.ask_redis('XINFO', 'CONSUMERS', 'tandem:journal', 'archive')}"
    )


async def finish(cluster: Cluster, party: Party, *, may_renew: bool, may_lose: bool) -> list[str]:
    """Return what is wrong. may_renew, may_lose: see Checker."""
    await party.quiet()
    await party.settled("in the end")
    await party.quiet()
    # A gate that opens, or a connection that is lost, changes a room after the last command too.
    await archived(cluster, party)
    histories = party.stop()
    rows, rooms = await deferToThread(cluster.archived)
    rows = [row for row in rows if row.room in party.rooms]
    rooms = [room for room in rooms if room.room in party.rooms]
    checker = Checker(histories, may_renew=may_renew, may_lose=may_lose)
    problems = checker.check(rows, rooms)
    if problems:
        kept = Path(f"histories-{time.time_ns()}.json").resolve()
        kept.write_text(
            json.dumps({"problems": problems, "histories": histories, "rows": rows}, default=asdict, indent=1)
        )
        party.reports.append(f"the histories are in {kept}; seed {party.seed}")
    heard = sum(1 for history in histories for _ in history.heard())
    party.reports.append(f"{len(rows)} events, {heard} messages, {checker.gaps} gaps over a new epoch")
    return problems
