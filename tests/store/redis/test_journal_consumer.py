"""From the journal to the archive: everything, and once."""

from __future__ import annotations

import os
from typing import Any, cast

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.task import deferLater

from tandemd.app.metrics import NodeMetrics
from tandemd.archive.database import Database
from tandemd.archive.migrations import migrate
from tandemd.archive.postgresql import PostgreSQL
from tandemd.archive.sql_archive import SQLArchive
from tandemd.rules.playback import Playback
from tandemd.store.redis import codec, scripts
from tandemd.store.redis.journal_consumer import GROUP, JournalConsumer
from tandemd.store.redis.keys import JOURNAL, STORE, room_key
from tandemd.store.redis.spool import Quarantine, line_of

from ...support import private_servers
from ...support.redis_nodes import Hand, RedisTestCase, member, reactor, until

NAME = "consumer"


class ConsumerTestCase(RedisTestCase):
    @property
    def unreadable(self) -> str:
        return os.path.join(self.directory, "unreadable")

    async def consumer(
        self, name: str = "a/1/", abandoned: int = 30_000, archive: Any = None, **options: str
    ) -> JournalConsumer:
        metrics = NodeMetrics("test", name).store
        consumer = JournalConsumer(
            reactor,
            UNIXClientEndpoint(reactor, self.server.path),
            options,
            name,
            archive or self.archive,
            metrics,
            Quarantine(self.unreadable, metrics),
            abandoned,
        )
        self.addCleanup(lambda: consumer.stopService() if consumer.running else None)
        consumer.startService()
        return consumer

    async def drained(self, store: Any) -> None:
        """Wait until the archive has everything."""
        while await self.ask(store, b"XLEN", JOURNAL):
            await deferLater(reactor, 0.01)

    def seqs(self, room_id: str) -> list[int]:
        return sorted(seq for id_, _, seq in self.archive.events if id_ == room_id)


class ConsumerTest(ConsumerTestCase):
    async def test_everything_gets_there(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await self.consumer()
        for _ in range(20):
            await hand.say()
        await self.drained(a)
        self.assertEqual(self.seqs(hand.room.room_uuid), list(range(1, 22)))
        self.assertEqual((await self.archive.find("room")).seq, 21)

    async def test_bytes_of_the_journal_are_counted_down(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        for _ in range(3):
            await hand.say()
        entries = await self.ask(a, b"XRANGE", JOURNAL, b"-", b"+")
        held = sum(len(value) for _, fields in entries for value in fields[1::2])
        self.assertEqual(int(await self.ask(a, b"HGET", STORE, b"journal")), held)
        # One that was archived twice, because its node was slow, is counted once.
        first = entries[0][0], sum(len(value) for value in entries[0][1][1::2])
        for _ in range(2):
            await a._gateway.link.run(
                scripts.JOURNAL_REMOVE,
                [JOURNAL, STORE],
                {
                    "group": GROUP,
                    "count": b"1",
                },
                first[0],
                b"%d" % first[1],
            )
        self.assertEqual(int(await self.ask(a, b"HGET", STORE, b"journal")), held - first[1])
        await self.consumer()
        await self.drained(a)
        self.assertEqual(await self.ask(a, b"HGET", STORE, b"journal"), b"0")

    async def test_deleted_only_when_the_archive_has_it(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        self.archive.away = True
        consumer = await self.consumer()
        await until(consumer.ready)
        await hand.say()
        self.assertEqual(await self.ask(a, b"XLEN", JOURNAL), 2)
        self.archive.away = False
        await self.drained(a)
        self.assertEqual(self.seqs(hand.room.room_uuid), [1, 2])
        await until(lambda: not consumer.ready())

    async def large(self, store: Any) -> Hand:
        """Return a room of 250, which is in the archive."""
        hand = await self.open(store)
        for user in range(250):
            hand.room.assign(member(f"user{user}", "a/1/1"))
        await hand.send(hand.next({name: value for name, value in hand.room.fields().items() if name.startswith("m:")}))
        await self.drained(store)
        return hand

    async def test_the_state_of_a_large_room_is_written_seldom(self) -> None:
        """H2: all of it was written with each batch, which is megabytes a second."""
        a = await self.node()
        await self.consumer()
        hand = await self.large(a)
        self.archive.written.clear()
        began = reactor.seconds()
        for _ in range(40):
            await hand.say()
            seq = hand.room.seq
            await until(lambda: seq in self.seqs(hand.room.room_uuid))  # noqa: B023
        self.assertLessEqual(len(self.archive.written), 1 + reactor.seconds() - began)
        # Until the state is written, the entries stay where a Redis or a node that is lost takes nothing with it.
        await hand.say()
        await until(lambda: hand.room.seq in self.seqs(hand.room.room_uuid))
        kept = await self.ask(a, b"XLEN", JOURNAL)
        self.assertTrue(kept or self.archive.rooms["room"].seq == hand.room.seq)
        await self.drained(a)
        self.assertEqual(self.archive.rooms["room"].seq, hand.room.seq)

    async def test_a_large_room_that_redis_loses_before_its_state_is_written(self) -> None:
        a = await self.node()
        await self.consumer()
        hand = await self.large(a)
        a.rooms.unsubscribe("room")
        await hand.send(hand.next({"host": "user7"}))
        await until(lambda: hand.room.seq in self.seqs(hand.room.room_uuid))
        await self.ask(a, b"DEL", room_key("room"))
        await until(lambda: self.archive.rooms["room"].seq == hand.room.seq)
        self.assertEqual(self.archive.rooms["room"].host, "user7")
        await self.drained(a)

    async def test_a_consumer_that_dies_before_it_writes_a_large_room(self) -> None:
        a = await self.node()
        first = await self.consumer()
        hand = await self.large(a)
        await hand.send(hand.next({"host": "user7"}))
        await until(lambda: hand.room.seq in self.seqs(hand.room.room_uuid))
        await first.stopService()
        await self.consumer("b/1/", abandoned=100)
        await self.drained(a)
        self.assertEqual(self.archive.rooms["room"].host, "user7")

    async def test_a_large_room_that_ends_is_written_at_once(self) -> None:
        a = await self.node()
        await self.consumer()
        hand = await self.large(a)
        await hand.send(hand.next({}, event="USER_LEFT", closes=True, due=0.0))
        await until(lambda: self.archive.rooms["room"].closed)
        await self.drained(a)

    async def test_deleted_and_acknowledged_or_neither(self) -> None:
        """An acknowledged entry comes to no consumer again: if it were not deleted, it would stay in the journal for ever."""
        a = await self.node()
        hand = await self.open(a)
        await self.ask(a, *b"ACL SETUSER ann on >pw ~* +@all -xdel".split())
        consumer = await self.consumer(username="ann", password="pw")
        await until(lambda: "cannot be read" in consumer.ready())
        self.assertEqual(self.seqs(hand.room.room_uuid), [1])
        self.assertEqual((await self.ask(a, b"XPENDING", JOURNAL, GROUP))[0], 1)
        await self.ask(a, *b"ACL SETUSER ann +xdel".split())
        await self.drained(a)
        await until(lambda: not consumer.ready())

    async def test_what_a_dead_node_took_is_taken_over(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await self.ask(a, b"XGROUP", b"CREATE", JOURNAL, GROUP, b"0")
        taken = await self.ask(a, b"XREADGROUP", b"GROUP", GROUP, b"dead/1/", b"STREAMS", JOURNAL, b">")
        self.assertEqual(len(taken[0][1]), 1)
        await hand.say()
        await self.consumer(abandoned=500)
        await self.drained(a)
        self.assertEqual(self.seqs(hand.room.room_uuid), [1, 2])

    async def test_its_own_unfinished_work(self) -> None:
        """The archive has it, and the connection to Redis is lost before it is told."""
        a = await self.node()
        hand = await self.open(a)
        await self.ask(a, b"XGROUP", b"CREATE", JOURNAL, GROUP, b"0")
        await self.ask(a, b"XREADGROUP", b"GROUP", GROUP, b"a/1/", b"STREAMS", JOURNAL, b">")
        await self.consumer("a/1/")
        await self.drained(a)
        self.assertEqual(self.seqs(hand.room.room_uuid), [1])

    async def test_a_missing_group_is_made_again(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await self.consumer()
        await self.drained(a)
        await self.ask(a, b"XGROUP", b"DESTROY", JOURNAL, GROUP)
        await hand.say()
        await self.drained(a)
        self.assertEqual(self.seqs(hand.room.room_uuid), [1, 2])

    async def test_redis_comes_back_with_nothing(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        self.archive.away = True
        await self.consumer()
        for _ in range(5):
            await hand.say()
        a.follower.rooms["room"] = (hand.room, hand.log)
        number = a._gateway.incarnation
        self.server.stop()
        self.server.start()
        await until(lambda: a._gateway.incarnation not in (None, number))
        self.archive.away = False
        await self.drained(a)
        self.assertEqual(self.seqs(hand.room.room_uuid), [1, 2, 3, 4, 5, 6])

    async def test_two_share_the_work(self) -> None:
        a = await self.node()
        hands = [await self.open(a, f"room{i}") for i in range(5)]
        await self.consumer("a/1/")
        await self.consumer("b/1/")
        for _ in range(20):
            for hand in hands:
                await hand.say()
        await self.drained(a)
        for hand in hands:
            self.assertEqual(self.seqs(hand.room.room_uuid), list(range(1, 22)))

    async def test_a_room_that_has_ended(self) -> None:
        """Redis does not have it any more: its row is made of the archive's row and the entries."""
        a = await self.node()
        hand = await self.open(a)
        film = Playback("https://www.netflix.com/watch/1", 5.0, 0.0, False, 1.0)
        await hand.send(hand.next({**member("ann", "a/1/1"), "host": "ann", "playback": film}))
        consumer = await self.consumer()
        await self.drained(a)
        await consumer.stopService()
        await hand.send(hand.next({"m:ann": None}, event="USER_LEFT", closes=True, due=0.0))
        await self.consumer()
        await self.drained(a)
        last = self.archive.written[-1]
        self.assertTrue(last.room.closed)
        self.assertEqual((last.room.version, last.room.playback.url), (hand.room.version, film.url))
        self.assertEqual(last.users, {"ann"})

    async def test_a_room_that_redis_has_lost_keeps_its_state(self) -> None:
        """Entries hold only changes: a row made of them alone would be a room without members."""
        a = await self.node()
        hand = await self.open(a)
        await hand.send(hand.next({**member("ann", "a/1/1"), "host": "ann"}))
        consumer = await self.consumer()
        await self.drained(a)
        await consumer.stopService()
        await hand.say()
        await self.ask(a, b"DEL", room_key("room"))
        await self.consumer()
        await self.drained(a)
        room = self.archive.rooms["room"]
        self.assertEqual((room.version, list(room.members), room.host), (hand.room.version, ["ann"], "ann"))

    async def test_what_cannot_be_read_stops_nothing(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await self.ask(a, b"XADD", JOURNAL, b"*", b"r", b"x", b"k", b"room", b"c", b"nonsense")
        await self.ask(a, b"XADD", JOURNAL, b"*", b"other", b"fields")
        await self.ask(a, b"XADD", JOURNAL, b"*", b"r", b"\xff", b"k", b"room", b"c", b"[]")
        await hand.say()
        consumer = await self.consumer()
        await self.drained(a)
        self.assertEqual(self.seqs(hand.room.room_uuid), [1, 2])
        with open(self.unreadable, "rb") as file:
            self.assertEqual(
                file.read().splitlines(),
                [
                    line_of(entry)[:-1]
                    for entry in ((b"x", b"room", b"nonsense"), (b"", b"", b""), (b"\xff", b"room", b"[]"))
                ],
            )
        self.assertEqual(consumer._metrics.journal_unreadable.value, 3)

    async def test_consumers_long_gone_are_forgotten(self) -> None:
        a = await self.node()
        await self.open(a)
        await self.ask(a, b"XGROUP", b"CREATE", JOURNAL, GROUP, b"$")
        await self.ask(a, b"XGROUP", b"CREATECONSUMER", JOURNAL, GROUP, b"gone/1/")
        consumer = await self.consumer()
        consumer._forgotten = 0
        consumer._claim_at = 0.0

        async def names() -> list[bytes]:
            return [flat[1] for flat in await self.ask(a, b"XINFO", b"CONSUMERS", JOURNAL, GROUP)]

        while b"gone/1/" in await names():
            pass


class PostgreSQLTest(ConsumerTestCase):
    """With the real archive."""

    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.postgres = private_servers.postgresql()
        dialect = PostgreSQL(**self.postgres.create(NAME))
        migrate(dialect)
        self.database = Database(dialect, reactor, lambda name, waited, ran: None)
        self.database.startService()
        self.addCleanup(self.database.stopService)
        self.archive = cast(Any, SQLArchive(self.database))

    def rows(self, room_id: str) -> list[int]:
        found = self.postgres.execute(f"select seq from room_events where room_id = '{room_id}' order by id", NAME)
        return [seq for (seq,) in found]

    async def test_once_although_put_again(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await self.consumer("a/1/")
        await self.consumer("b/1/")
        for _ in range(50):
            await hand.say()
            a.journal.again()
        await self.drained(a)
        self.assertEqual(sorted(self.rows(hand.room.room_uuid)), list(range(1, 52)))

    async def test_an_older_entry_changes_nothing_newer(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await self.consumer()
        await hand.send(hand.next(member("ann", "a/1/1")))
        old = codec.encode_commit(hand.log[0], messages=False)
        await hand.send(hand.next({"host": "ann"}))
        await self.drained(a)
        await self.ask(a, b"DEL", room_key("room"))
        await self.ask(a, b"XADD", JOURNAL, b"*", b"r", hand.room.room_uuid.encode(), b"k", b"room", b"c", old)
        await self.drained(a)
        room = await self.archive.find("room")
        assert room is not None
        self.assertEqual((room.seq, room.host, list(room.members)), (3, "ann", ["ann"]))

    async def test_postgresql_stops_for_a_while(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        consumer = await self.consumer()
        await self.drained(a)
        self.postgres.stop()
        try:
            for _ in range(20):
                self.assertIsNone(await hand.say())
            await until(consumer.ready)
        finally:
            self.postgres.start()
        await self.drained(a)
        self.assertEqual(sorted(self.rows(hand.room.room_uuid)), list(range(1, 22)))
        self.assertIsNone(await Hand(a, "room", hand.room).say())
