"""The end of each run: the archive catches up, and the histories are checked."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from twisted.internet.threads import deferToThread

from .checker import Checker, RoomRow, Row
from .cluster import Cluster
from .party import Party


async def archived(cluster: Cluster, party: Party) -> tuple[list[Row], list[RoomRow]]:
    """Wait until the archive has every change and every member knows of it; return the events and rooms in the archive.

    The journal is empty, no node keeps an entry of it, and no member is behind, before the archive is read and after. So
    all clients stay connected until then: a lost connection is a change of its room, and the row of a large room is written
    later than its events.
    """

    def empty() -> bool:
        spooled = any(path.name.startswith("journal.spool") for node in cluster.nodes for path in node.state.iterdir())
        return not spooled and bool(cluster.ask_redis("XLEN", "tandem:journal") == 0)

    def complete() -> bool:
        return not party.behind() and empty()

    while True:
        # Another consumer takes over the entries of one that was killed, after some seconds.
        assert await party.clock.until(complete), (
            f"behind: {party.behind()}; the journal: {cluster.ask_redis('XINFO', 'CONSUMERS', 'tandem:journal', 'archive')}"
        )
        heard = party.heard()
        rows, rooms = await deferToThread(cluster.archived)
        if complete() and party.heard() == heard:
            return rows, rooms


async def finish(cluster: Cluster, party: Party, *, may_renew: bool, may_lose: bool) -> list[str]:
    """Return the broken invariants. may_renew, may_lose: see Checker."""
    await party.quiet()
    await party.settled("in the end")
    await party.quiet()
    # A gate that opens, or a connection that is lost, changes a room after the last command too.
    rows, rooms = await archived(cluster, party)
    histories = party.stop()
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
    party.reports.append(f"{len(rows)} events, {party.heard()} messages, {checker.gaps} gaps over a new epoch")
    return problems
