"""Latency and stalls between nodes and Redis, and disks of nodes that take nothing: no client loses anything."""

from __future__ import annotations

import random

from twisted.internet import reactor

from . import faults
from .faults import Stage
from .test_chaos import ChaosTestCase


class SlowTests(ChaosTestCase):
    """Nothing that is on its way is lost, and much of it is late."""

    async def test_nothing_is_lost(self) -> None:
        party = await self.party((8, 0), (3, 3))
        stage = Stage(reactor, self.cluster, party, random.Random(3))
        party.load()
        for fault in faults.SLOW:
            await fault(stage)
            await party.settled(fault.__name__)
        await self.judge(party)


class DiskTests(ChaosTestCase):
    """PostgreSQL is away, the journal is full, and the nodes' disks are as well."""

    environ = {"TANDEMD_REDIS_JOURNAL_LENGTH": str(faults.JOURNAL)}

    async def test_nothing_is_lost(self) -> None:
        party = await self.party((8, 0), rate=10.0)
        stage = Stage(reactor, self.cluster, party, random.Random(4))
        party.load()
        for fault in faults.DISKS:
            await fault(stage)
            await party.settled(fault.__name__)
        await self.judge(party)
        self.assertEqual(await self.metric("tandemd_journal_unreadable_total"), 0)
        self.assertEqual(await self.metric("tandemd_journal_lost_total"), 0)
