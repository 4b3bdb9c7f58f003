"""PostgreSQL fails while the journal is archived: nothing of it is lost, nothing is there twice, and rooms go on."""

from __future__ import annotations

import signal
from typing import Any, cast

import psycopg2
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from tandemd.app.backends import ClusterBackend

from ..store.redis.test_login import DATABASE, NodesTestCase
from ..support.redis_nodes import Hand, until

reactor = cast(Any, _reactor)


class FaultTests(NodesTestCase):
    """Two nodes archive the commits of one of them all the time."""

    async def begin(self) -> None:
        # The tests' server forgets commits just before a crash, unless it is told not to.
        self.postgres.execute(f"alter database {DATABASE} set synchronous_commit = on")
        self.server = server = self.redis()
        self.nodes = [await self.stores(name, REDIS_HOST=server.path) for name in ("a", "b")]
        self.hand = Hand(self.nodes[0].store, "movie")
        self.results: list[Any] = []
        self.stopping = False
        self.addCleanup(self.postgres.start)
        self.talking: Deferred[None] = ensureDeferred(self._talk())
        await until(lambda: len(self.archived()) > 20)

    async def _talk(self) -> None:
        while not self.stopping:
            self.results.append(await self.hand.say("x"))
            await deferLater(reactor, 0.002)

    async def end(self) -> None:
        """Stop talking; everything that was committed is in the archive once, and the journal is empty."""
        self.stopping = True
        await self.talking
        self.assertEqual(set(self.results), {None})  # rooms never noticed
        wanted = list(range(1, self.hand.room.seq + 1))
        await until(lambda: len(self.archived()) >= len(wanted))
        self.assertEqual(self.archived(), wanted)
        await until(lambda: self.server.execute("XLEN", "tandem:journal") == b":0\r\n")
        row = self.postgres.execute("select seq, archived_at from rooms where code = 'movie'", DATABASE)
        self.assertEqual(row, [(self.hand.room.seq, None)])
        await until(lambda: all(node.warnings() == node.ready() == [] for node in self.nodes))

    def warned(self, node: ClusterBackend) -> bool:
        return any("the archive cannot be written: " in warning for warning in node.warnings())

    async def test_it_is_restarted(self) -> None:
        await self.begin()
        self.postgres.stop()
        spoken = len(self.results)
        await until(lambda: any(self.warned(node) for node in self.nodes))
        self.assertEqual([node.ready() for node in self.nodes], [[], []])
        await until(lambda: len(self.results) > spoken + 100)
        self.postgres.start()
        await self.end()

    async def test_it_crashes_in_the_middle(self) -> None:
        await self.begin()
        for _ in range(3):
            self.postgres.stop(signal.SIGQUIT)
            spoken = len(self.results)
            self.postgres.start()
            await until(lambda spoken=spoken: len(self.results) > spoken + 30)
        await self.end()

    async def test_its_connections_are_killed(self) -> None:
        await self.begin()
        for _ in range(20):
            self.postgres.execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{DATABASE}'", "postgres"
            )
            await deferLater(reactor, 0.02)
        await self.end()

    async def test_it_answers_no_more(self) -> None:
        """A lock of another client is as bad as a disk that hangs: statements wait until they are given up."""
        await self.begin()
        holder = psycopg2.connect(**self.postgres.arguments(DATABASE))
        self.addCleanup(holder.close)
        holder.cursor().execute("lock table room_events in access exclusive mode")
        spoken = len(self.results)
        await until(lambda: len(self.results) > spoken + 100)
        holder.rollback()
        await self.end()
