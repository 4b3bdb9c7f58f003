"""Commits get into the journal, and stay known until the archive has them."""

from __future__ import annotations

import base64
import os
import shutil
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tandemd.store.redis import codec
from tandemd.store.redis.keys import JOURNAL

from ...support.disks import SmallDisk
from ...support.redis_nodes import Hand, RedisTestCase, reactor, until


class JournalTest(RedisTestCase):
    async def entries(self, store: Any) -> list[tuple[str, int]]:
        """Return (event, seq) of the entries in the stream."""
        found = await self.ask(store, b"XRANGE", JOURNAL, b"-", b"+")
        commits = [codec.decode_commit(fields[5]) for _, fields in found]
        return [(commit.event, commit.seq) for commit in commits]

    def spool(self, name: str = "a-1-spool") -> str:
        return os.path.join(self.directory, name)

    def spooled(self) -> list[int]:
        """Return the seqs of the entries in the spool."""
        if not os.path.exists(self.spool()):
            return []
        with open(self.spool(), "rb") as file:
            return [codec.decode_commit(base64.b64decode(line.split(b" ")[2])).seq for line in file]

    async def archived(self, store: Any) -> None:
        """Do as if the archive had everything."""
        await self.ask(store, b"XTRIM", JOURNAL, b"MAXLEN", b"0")

    async def test_what_has_an_event_and_no_message(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await hand.say("a secret")
        await hand.say("nor this", event="")
        await hand.send(hand.next({}, event="USER_LEFT", closes=True, due=0.0))
        self.assertEqual(await self.entries(a), [("USER_JOINED", 1), ("CHAT", 2), ("USER_LEFT", 4)])
        self.assertNotIn(b"a secret", repr(await self.ask(a, b"XRANGE", JOURNAL, b"-", b"+")).encode())

    async def test_measured(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await hand.say()
        await a.journal.tidy()
        self.assertEqual(a.metrics.journal_length.value, 2)
        self.assertLess(a.metrics.journal_age.value, 5.0)
        await self.archived(a)
        await a.journal.tidy()
        self.assertEqual((a.metrics.journal_length.value, a.metrics.journal_age.value), (0, 0.0))

    async def test_put_again_until_the_archive_has_it(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await hand.say()
        await self.ask(a, b"DEL", JOURNAL)
        a.journal.again()
        self.assertEqual(await self.entries(a), [("USER_JOINED", 1), ("CHAT", 2)])
        await self.archived(a)
        await a.journal.tidy()
        a.journal.again()
        self.assertEqual(await self.entries(a), [])

    async def test_a_loss_that_is_noticed_meanwhile_drops_no_entry(self) -> None:
        """The answers come from an empty server, when the node has no incarnation any more."""
        a = await self.node()
        hand = await self.open(a)
        await hand.say()
        flushed = a._gateway.link.call(b"FLUSHALL")
        tidying = Deferred.fromCoroutine(a.journal.tidy())
        a._gateway.incarnation = None
        await flushed
        await tidying
        self.assertEqual(len(a.journal._kept), 2)

    async def test_only_what_is_gone_is_forgotten(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await hand.say()
        await hand.say()
        await self.ask(a, b"XTRIM", JOURNAL, b"MAXLEN", b"1")
        await a.journal.tidy()
        await self.ask(a, b"DEL", JOURNAL)
        a.journal.again()
        self.assertEqual(await self.entries(a), [("CHAT", 3)])

    async def test_an_empty_server_is_no_archive(self) -> None:
        """Its stream is empty because it has lost everything, not because the archive has it."""
        a = await self.node()
        await self.open(a)
        await self.ask(a, b"FLUSHALL")
        await a.journal.tidy()
        a.journal.again()
        self.assertEqual(await self.entries(a), [("USER_JOINED", 1)])

    async def test_again_with_a_new_incarnation(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await hand.say()
        number = a._gateway.incarnation
        self.server.stop()
        self.server.start()
        await until(lambda: a._gateway.incarnation not in (None, number))
        self.assertEqual(await self.entries(a), [("USER_JOINED", 1), ("CHAT", 2)])

    async def test_a_full_journal_goes_to_the_spool_and_comes_back(self) -> None:
        a = await self.node(journal_length=4)
        hand = await self.open(a)
        for _ in range(9):
            self.assertIsNone(await hand.say())
        self.assertEqual(len(await self.entries(a)), 4)
        self.assertEqual(self.spooled(), [5, 6, 7, 8, 9, 10])
        self.assertEqual(a.metrics.spooled.value, os.path.getsize(self.spool()))
        self.assertEqual(os.stat(self.spool()).st_mode & 0o777, 0o600)
        await a.journal.tidy()
        self.assertEqual(len(await self.entries(a)), 4)
        seen = [seq for _, seq in await self.entries(a)]
        for _ in range(20):
            await self.archived(a)
            await a.journal.tidy()
            seen += [seq for _, seq in await self.entries(a)]
            self.assertLessEqual(len(await self.entries(a)), 4)
        self.assertEqual(seen, list(range(1, 11)))
        self.assertEqual(os.listdir(self.directory), [])
        self.assertEqual(a.metrics.spooled.value, 0)

    async def test_few_large_entries_fill_the_journal_too(self) -> None:
        """C1: with PostgreSQL away one address filled Redis with 200 000 entries of 100 kB."""
        a = await self.node(journal_bytes=50_000)
        hand = await self.open(a)
        for _ in range(12):
            self.assertIsNone(await hand.send(hand.next({"host": "h" * 10_000})))
        held = await self.entries(a)
        self.assertEqual(held[-1], ("CHAT", 6))
        self.assertEqual(self.spooled(), [*range(7, 14)])
        # Small ones go to the spool, too, and those to be put again.
        self.assertIsNone(await hand.say())
        a.journal.again()
        await until(lambda: len(self.spooled()) == 8 + len(held))
        self.assertEqual(await self.entries(a), held)
        await a.journal.tidy()
        size = a.metrics.journal_bytes.value
        self.assertGreater(size, 50_000)
        self.assertLess(size, 61_000)
        # Few come back at once, and all of them do.
        seen = set()
        while 14 not in seen or a.metrics.spooled.value:
            found = await self.entries(a)
            self.assertLessEqual(len(found), 6)
            seen.update(seq for _, seq in found)
            await self.archived(a)
            await a.journal.tidy()
        self.assertEqual(seen, set(range(1, 15)))

    async def test_bytes_that_were_not_counted_do_no_harm(self) -> None:
        """Not of an older version, and not of a journal that was deleted by hand."""
        a = await self.node(journal_bytes=50_000)
        hand = await self.open(a)
        for _ in range(6):
            await hand.send(hand.next({"host": "h" * 10_000}))
        await self.ask(a, b"DEL", JOURNAL)
        await hand.say()
        self.assertEqual(len(await self.entries(a)), 1)
        await a.journal.tidy()
        self.assertLess(a.metrics.journal_bytes.value, 1000)

    async def test_the_spool_comes_back_after_a_restart(self) -> None:
        a = await self.node(journal_length=2)
        hand = await self.open(a)
        for _ in range(6):
            await hand.say()
        await self.archived(a)
        await a.journal.tidy()  # some of it is under way
        self.assertTrue(os.path.exists(self.spool() + ".moving"))
        await hand.say()
        await hand.say()
        await a.stopService()
        with open(self.spool(), "ab") as file:
            file.write(b"half a li")
        b = await self.node("a/1/")
        seen = set()
        for _ in range(20):
            await b.journal.tidy()
            seen.update(seq for _, seq in await self.entries(b))
            await self.archived(b)
        self.assertEqual(seen | {1, 2}, set(range(1, 10)))
        self.assertEqual(os.listdir(self.directory), ["a-1-unreadable"])

    async def test_stopping_while_redis_is_away_keeps_what_it_may_have_lost(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await hand.say()
        self.server.stop()
        await until(lambda: a._gateway.incarnation is None)
        await a.stopService()
        self.assertEqual(self.spooled(), [1, 2])
        self.server.start()
        b = await self.node("a/1/")
        await b.journal.tidy()
        self.assertEqual(await self.entries(b), [("USER_JOINED", 1), ("CHAT", 2)])

    async def test_stopping_leaves_no_spool(self) -> None:
        a = await self.node()
        await self.open(a)
        await a.stopService()
        self.assertEqual(self.spooled(), [])

    async def test_a_full_disk_stops_no_commit(self) -> None:
        a = await self.node(journal_length=1)
        hand = await self.open(a)
        os.mkdir(self.spool())  # nothing can be written there
        self.assertIsNone(await hand.say())
        self.assertIsNone(await hand.say())
        await self.archived(a)
        await a.journal.tidy()
        await until(lambda: a.journal._kept)
        self.assertEqual([seq for _, seq in await self.entries(a)], [2])
        await self.archived(a)
        await a.journal.tidy()
        self.assertEqual([seq for _, seq in await self.entries(a)], [3])
        self.assertIsNone(await Hand(a, "room", hand.room).say())

    async def all_of(self, store: Any, last: int) -> list[int]:
        """Wait until the archive, which takes everything from now on, has had the commit `last`; return all it has had."""
        seen: list[int] = []
        over = False
        while not over:
            over = last in seen and not store.metrics.spooled.value
            for id_, fields in await self.ask(store, b"XRANGE", JOURNAL, b"-", b"+"):
                seen.append(codec.decode_commit(fields[5]).seq)
                await self.ask(store, b"XDEL", JOURNAL, id_)
            await deferLater(reactor, 0.02)
        return sorted(set(seen))

    async def test_a_disk_that_was_full_in_the_middle_of_an_append(self) -> None:
        """A2: the first change after the disk had room again continued a torn line, and was lost without a word."""
        disk = SmallDisk(self.directory, 64 * 1024)
        try:
            a = await self.node(journal_length=40)
            hand = await self.open(a)
            disk.fill(left=4096)
            for _ in range(90):
                self.assertIsNone(await hand.say())
            disk.empty()
            for _ in range(5):
                self.assertIsNone(await hand.say())
            self.assertEqual(await self.all_of(a, 96), list(range(1, 97)))
        finally:
            await self._end()
            disk.remove()

    async def test_a_directory_that_was_read_only(self) -> None:
        """A3: the first error ended all housekeeping: spooled entries stayed there until the node was restarted."""
        disk = SmallDisk(self.directory, 64 * 1024)
        try:
            a = await self.node(journal_length=4)
            hand = await self.open(a)
            for _ in range(9):
                self.assertIsNone(await hand.say())
            disk.set_read_only(True)
            await self.archived(a)
            failed = len(self.flushLoggedErrors())
            await deferLater(reactor, 2.5)  # the work of each second is done in vain
            self.assertIsNone(await hand.say())
            disk.set_read_only(False)
            self.assertEqual(len(self.flushLoggedErrors()), failed)
            self.assertEqual(await self.all_of(a, 11), [*range(5, 12)])
        finally:
            await self._end()
            disk.remove()

    async def test_housekeeping_goes_on_after_any_error(self) -> None:
        """A3, on any machine: the file cannot be renamed."""
        a = await self.node(journal_length=4)
        hand = await self.open(a)
        for _ in range(10):
            await hand.say()
        os.makedirs(self.spool() + ".moving/x")
        await self.archived(a)
        await deferLater(reactor, 1.5)
        shutil.rmtree(self.spool() + ".moving")
        self.assertEqual(await self.all_of(a, 11), [*range(5, 12)])
        self.flushLoggedErrors()

    async def test_the_stream_stays_bounded_while_the_disk_is_full(self) -> None:
        a = await self.node(journal_length=4)
        hand = await self.open(a)
        os.mkdir(self.spool())
        for _ in range(20):
            await hand.say()
        for _ in range(3):
            await a.journal.tidy()
        self.assertEqual(len(await self.entries(a)), 4)
        os.rmdir(self.spool())
        await self.archived(a)
        self.assertEqual(await self.all_of(a, 21), [*range(5, 22)])
