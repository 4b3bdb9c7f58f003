"""Redis comes back with all of its data, with some of it, or with none; and nodes and the archive fill it up."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import fail, succeed
from twisted.internet.task import deferLater

from tandemd.errors import ErrorCode, RequestError
from tandemd.interfaces import Conflict
from tandemd.rules.state import Member, Room
from tandemd.store.redis import codec
from tandemd.store.redis.keys import DUE, JOURNAL, NODES, PREFIX, STORE, log_key, places_key, room_key

from ...support.redis_nodes import Hand, RedisTestCase, member, reactor, until

SAVED = ("--save", "3600 1", "--dbfilename", "dump.rdb")


class RestartTestCase(RedisTestCase):
    options = SAVED

    def dump(self) -> str:
        return os.path.join(self.server.directory, "dump.rdb")

    async def save(self, store: Any) -> None:
        """Have Redis write its data to the disk."""
        await self.ask(store, b"SAVE")
        shutil.copy(self.dump(), self.dump() + ".kept")

    async def restart(self, *stores: Any, data: str) -> None:
        """Restart Redis with the data that was saved last ("kept"), or "none"; wait until the stores can use it."""
        before = [store._gateway.incarnation for store in stores]
        self.server.stop()
        if data == "none":
            pathlib.Path(self.dump()).unlink(missing_ok=True)
        else:
            shutil.copy(self.dump() + ".kept", self.dump())
        self.server.start()
        for store, number in zip(stores, before, strict=True):
            await until(lambda store=store, number=number: store._gateway.incarnation not in (None, number))
            await until(lambda store=store: not store.ready())

    async def held(self, store: Any, code: str = "room", says: int = 3) -> Hand:
        """Return a room that the store's node has open, with members."""
        hand = await self.open(store, code)
        await hand.send(hand.next({**member("ann", "a/1/1"), **member("bob", "dead/1/2"), "host": "ann"}, due=99.0))
        for i in range(says):
            await hand.say(str(i))
        store.follower.rooms[code] = (hand.room, hand.log)
        return hand

    def is_like(self, room: Room | None, before: Room) -> None:
        assert room is not None
        self.assertGreater(room.epoch, before.epoch)
        self.assertEqual(room.seq, before.seq)
        self.assertEqual(room.fields(), before.fields())
        for name in ("room_uuid", "created_at", "prev", "due"):
            self.assertEqual(getattr(room, name), getattr(before, name), name)


class IncarnationTest(RestartTestCase):
    async def test_complete(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.held(a)
        before = hand.room.copy()
        await self.save(a)
        await self.restart(a, b, data="kept")
        self.assertIn("room", a.follower.renewals)
        self.assertEqual(await hand.say("to the old epoch"), Conflict(None))
        room = await b.rooms.load("room")
        self.is_like(room, before)
        self.assertEqual((await a.rooms.load("room")).version, room.version)
        goes_on = Hand(a, "room", room)
        self.assertIsNone(await goes_on.say("x"))
        # Earlier members miss nothing, across the epochs.
        missed = await a.rooms.replay("room", (before.epoch, before.seq - 1))
        self.assertEqual(missed, [hand.log[-1], *goes_on.log])
        self.assertEqual(await a.rooms.replay("room", before.version), goes_on.log)

    async def test_older(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.held(a)
        await self.save(a)
        for i in range(5):
            await hand.say(f"not saved {i}")
        before = hand.room.copy()
        await self.restart(a, b, data="kept")
        self.is_like(await b.rooms.load("room"), before)
        self.assertEqual(await b.rooms.replay("room", (before.epoch, 3)), hand.log[3:])

    async def test_a_node_that_knows_less_changes_nothing(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.held(a)
        b.follower.rooms["room"] = (hand.room.copy(), hand.log[:])
        for i in range(5):
            await hand.say(f"b has not heard {i}")
        before = hand.room.copy()
        await self.restart(a, b, data="none")
        self.is_like(await b.rooms.load("room"), before)

    async def test_none_and_held(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.held(a)
        before = hand.room.copy()
        await self.restart(a, b, data="none")
        room = await b.rooms.load("room")
        self.is_like(room, before)
        self.assertEqual(await b.rooms.find_invite("inv-room"), "room")
        self.assertEqual(await b.rooms.replay("room", (before.epoch, 1)), hand.log[1:])
        self.assertIsNone(await Hand(b, "room", room).say("x"))
        # The room's due times are known again as well.
        self.assertEqual(await self.ask(a, b"ZRANGE", DUE, b"0", b"-1"), [b"room"])
        for prefix in ("a/1/", "dead/1/"):
            self.assertEqual(await self.ask(a, b"SMEMBERS", places_key(prefix)), [b"room"])
            self.assertIsNotNone(await self.ask(a, b"ZSCORE", NODES, prefix.encode()))

    async def test_none_and_no_node_holds_it(self) -> None:
        a = await self.node()
        hand = await self.held(a)
        self.archive.rooms["room"] = hand.room.copy()
        a.follower.rooms.clear()
        a.rooms.unsubscribe("room")
        await self.restart(a, data="none")
        # Without any request for it: it must end some time too.
        while await a.rooms.find_invite("inv-room") is None:
            pass
        self.is_like(await a.rooms.load("room"), hand.room)
        self.assertEqual(await self.ask(a, b"SMEMBERS", places_key("dead/1/")), [b"room"])

    async def test_the_archive_knows_less_than_a_node(self) -> None:
        a = await self.node()
        hand = await self.held(a)
        self.archive.rooms["room"] = hand.room.copy()
        await hand.say("not archived yet")
        before = hand.room.copy()
        await self.restart(a, data="none")
        self.is_like(await a.rooms.load("room"), before)

    async def test_the_archive_is_away_meanwhile(self) -> None:
        a = await self.node()
        hand = await self.held(a)
        self.archive.rooms["room"] = hand.room.copy()
        a.follower.rooms.clear()
        self.archive.away = True
        await self.restart(a, data="none")
        self.assertIsNone(await a.rooms.find_invite("inv-room"))
        self.archive.away = False
        while await a.rooms.find_invite("inv-room") is None:
            pass
        self.is_like(await a.rooms.load("room"), hand.room)

    async def test_too_late(self) -> None:
        """A node that was away while rooms were offered: rooms that go on without it stay."""
        a = await self.node("a/1/")
        b = await self.node("b/1/")
        hand = await self.held(a)
        await self.save(a)
        await hand.say("only a knows")
        a._gateway.link.retry_seconds = 4.0, 4.0  # it takes long to come back
        await self.restart(b, data="kept")
        late = await b.rooms.load("room")
        self.assertEqual(late.seq, hand.room.seq - 1)
        goes_on = Hand(b, "room", late)
        self.assertIsNone(await goes_on.say("x"))
        await until(lambda: not a.ready())
        self.assertIn("room", a.follower.renewals)
        self.assertEqual((await a.rooms.load("room")).version, goes_on.room.version)
        self.assertIsNone(await a.rooms.replay("room", hand.room.version))

    async def test_each_node_checks_its_own_connections(self) -> None:
        """Redis may have lost their end. A room that answers later, or not at all, is asked again."""
        a, b = await self.node("a/1/"), await self.node("b/1/")
        await self.held(a)
        await self.held(b, "other")
        a.rooms.subscribe("second")
        await Hand(a, "second").say("first", event="USER_JOINED")
        await self.save(a)
        for code in ("room", "second"):
            a.rooms.unsubscribe(code)  # no node has them open
        await self.restart(a, b, data="kept")
        answers = {"room": [succeed(False)], "second": [fail(RequestError(ErrorCode.UNAVAILABLE, "not now"))]}
        worked = a.follower.check_connections

        def check(code: str) -> Any:
            done = worked(code)
            return answers[code].pop() if answers.get(code) else done

        a.follower.check_connections = check
        a.follower.checked.clear()
        await a._heartbeat()
        await a._heartbeat()
        await until(lambda: {"room", "second"} <= set(a.follower.checked) and not answers["room"] + answers["second"])
        await until(lambda: min(map(a.follower.checked.count, answers)) >= 2)
        await until(lambda: b.follower.checked == ["other"])

    async def test_rooms_of_the_archive_are_checked_when_all_have_come(self) -> None:
        a = await self.node(settle_seconds=0.1)
        hand = await self.held(a)
        self.archive.rooms["room"] = hand.room.copy()
        a.follower.rooms.clear()
        a.rooms.unsubscribe("room")
        await self.restart(a, data="none")
        await until(lambda: a.follower.checked[-1:] == ["room"])

    async def test_emptied_while_running(self) -> None:
        a = await self.node()
        hand = await self.held(a)
        before = hand.room.copy()
        number = a._gateway.incarnation
        await self.ask(a, b"FLUSHALL")
        self.assertEqual(await hand.say("x"), Conflict(None))
        await until(lambda: a._gateway.incarnation not in (None, number))
        self.is_like(await a.rooms.load("room"), before)

    async def test_emptied_and_no_node_commits(self) -> None:
        a = await self.node()
        await self.held(a)
        number = a._gateway.incarnation
        await self.ask(a, b"FLUSHALL")
        await until(lambda: a._gateway.incarnation not in (None, number))
        self.assertIn("room", a.follower.renewals)

    async def test_an_ended_room_is_not_offered_back(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.held(a)
        b.follower.rooms["room"] = (hand.room.copy(), hand.log[:])
        await hand.send(hand.next({}, event="USER_LEFT", closes=True))
        a.follower.rooms.clear()
        await self.save(a)
        await self.restart(a, b, data="kept")
        self.assertIsNone(await a.rooms.load("room"))

    async def test_the_same_server_is_the_same_incarnation(self) -> None:
        a = await self.node()
        hand = await self.held(a)
        number = a._gateway.incarnation
        a._gateway.link.drop()
        await until(lambda: a._gateway.incarnation is None)
        await until(lambda: a._gateway.incarnation == number)
        self.assertEqual(a.follower.renewals, [])
        self.assertIsNone(await hand.say("x"))

    async def test_large_rooms(self) -> None:
        a = await self.node()
        hand = await self.held(a)
        crowd = {f"m:u{i}": Member(f"u{i}", "x", "", 1, 0.0) for i in range(5000)}
        for name, value in crowd.items():
            hand.room.members[name[2:]] = value
        before = hand.room.copy()
        await self.restart(a, data="none")
        self.is_like(await a.rooms.load("room"), before)

    async def test_a_node_begins_with_the_time_of_the_others(self) -> None:
        a = await self.node("a/1/")
        for ahead in (1000, -1000):  # as if Redis' clock had been set, and this node were approaching it
            a._gateway.time.begin(reactor.seconds() + ahead)
            await a._heartbeat()
            b = await self.node(f"b{ahead}/1/")
            self.assertLess(abs(b.clock.now() - a.clock.now()), 100.0)

    async def test_the_first_node_begins_with_the_latest_time(self) -> None:
        a = await self.node("a/1/")
        await until(a.clock.grace_floor)  # it has given a sign of life
        await a.stopService()
        for ahead in (1000, -1000):
            at = reactor.seconds()
            self.server.execute("HSET", STORE.decode(), "time", str(at + ahead), "told", str(at - 1000))
            b = await self.node(f"b{ahead}/1/")
            self.assertLess(abs(b.clock.now() - reactor.seconds() - max(ahead, 0)), 100.0)
            await b.stopService()

    async def test_offering_is_over_when_redis_is_set_back(self) -> None:
        a = await self.node("a/1/")
        await self.open(a)
        await self.ask(a, b"HSET", STORE, b"opens", b"%f" % (reactor.seconds() + 600))
        await self.ask(a, b"HSET", room_key("room"), b"i", b"1")  # of an earlier incarnation
        b = await self.node("b/1/")
        b.rooms.subscribe("room")
        self.assertEqual((await b.rooms.load("room")).seq, 1)


class EmptiedTest(RestartTestCase):
    """Redis loses its data and no connection (FLUSHALL), while the archive has only older states of the rooms."""

    async def emptied(self, a: Any, b: Any, deafen: Callable[[], None] = lambda: None) -> Hand:
        """Have Redis lose all data, and only node a notice; return a room that b has open.

        The archive knows an older state of it.
        """
        hand = await self.held(b)
        self.archive.rooms["room"] = hand.room.copy()
        await hand.say("acknowledged, not archived")
        other = await self.open(a, "other")
        deafen()
        await self.ask(b, b"FLUSHALL")
        self.assertEqual(await other.say("x"), Conflict(None))
        await until(lambda: not a.ready())
        return hand

    async def test_every_node_is_told(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        await until(lambda: b.members.heard_at)
        # No other sign than the announcement: b gives no sign of life, and its rooms are not used.
        for loop in b._loops:
            loop.stop()
        number = b._gateway.incarnation
        hand = await self.emptied(a, b)
        self.is_like(await a.rooms.load("room"), hand.room)
        await until(lambda: b._gateway.incarnation not in (None, number))

    async def test_a_node_that_is_not_told_has_the_time_to_notice(self) -> None:
        a = await self.node("a/1/")
        proxy, b = await self.proxied("b/1/")
        await until(lambda: b.members.heard_at)
        hand = await self.emptied(a, b, lambda: setattr(proxy, "deaf", "subscriptions"))
        self.is_like(await a.rooms.load("room"), hand.room)


class CompleteTest(RestartTestCase):
    """Redis knows whether it has all rooms that the archive has: then a new room begins without the archive."""

    async def complete(self, store: Any) -> None:
        async def is_complete() -> bool:
            number, complete = await self.ask(store, b"HMGET", STORE, b"number", b"complete")
            return bool(number == complete)

        while not await is_complete():
            await deferLater(reactor, 0.01)

    async def test_a_new_room_while_the_archive_is_away(self) -> None:
        a = await self.node(settle_seconds=0.1)
        await self.complete(a)
        await until(lambda: a._recovery._complete_for)
        self.archive.away = True
        self.assertIsNone(await a.rooms.load("new"))
        self.assertIsNone(await Hand(a, "new").say("first"))
        self.assertEqual(a.warnings(), [])

    async def test_after_a_loss_it_waits_and_a_warning_says_so(self) -> None:
        a = await self.node(settle_seconds=0.1)
        await self.complete(a)
        room = Room("0b7e1b0a-0000-4000-8000-000000000001", "old", a.clock.now(), 1, 3)
        self.archive.rooms["old"] = room
        self.archive.away = True
        await self.restart(a, data="none")
        await self.assertFailure(a.rooms.load("new"), RequestError)
        self.assertIn("new ones too, wait for the archive", a.warnings()[0])
        self.archive.away = False
        await self.complete(a)
        self.assertEqual((await a.rooms.load("old")).seq, 3)
        asked = self.archive.asked
        self.assertIsNone(await a.rooms.load("new"))
        self.assertEqual(self.archive.asked, asked)
        await until(lambda: not a.warnings())

    async def test_a_question_that_is_not_worth_asking_the_archive(self) -> None:
        """M1: `/status` asked PostgreSQL for each room that Redis did not have."""
        a = await self.node()
        self.archive.rooms["old"] = Room("0b7e1b0a-0000-4000-8000-000000000001", "old", a.clock.now(), 1, 3)
        asked = self.archive.asked
        self.assertIsNone(await a.rooms.load("old", archived=False))
        self.assertEqual(self.archive.asked, asked)
        self.assertEqual((await a.rooms.load("old")).seq, 3)
        self.assertEqual((await a.rooms.load("old", archived=False)).seq, 3)

    async def test_not_while_changes_wait_for_the_archive(self) -> None:
        """Entries that Redis has lost may be in the journal again, and nowhere else."""
        a = await self.node()
        await self.ask(a, b"XADD", JOURNAL, b"1-0", b"r", b"", b"k", b"", b"c", b"")
        b = await self.node("b/1/", settle_seconds=0.1)
        await until(lambda: b.members.heard_at)
        for _ in range(3):
            await b._recovery.complete()
        self.assertIsNone(await self.ask(a, b"HGET", STORE, b"complete"))
        await self.ask(a, b"DEL", JOURNAL)
        await self.complete(a)

    async def test_epochs_in_the_archive_stay(self) -> None:
        """An epoch of its own there would reject the coming rows of rooms that go on in Redis."""
        a = await self.node(settle_seconds=0.1)
        hand = await self.open(a)
        self.archive.rooms["room"] = hand.room.copy()
        await self.ask(a, b"DEL", JOURNAL)
        await self.complete(a)
        self.assertEqual(self.archive.rooms["room"].epoch, hand.room.epoch)
        self.assertEqual((await a.rooms.load("room")).version, hand.room.version)


class LostAnswerTest(RestartTestCase):
    """A commit whose answer was lost because Redis went away, and its fate in Redis or on another node."""

    async def sent(self, a: Any, b: Any, hand: Hand, proxy: Any) -> Any:
        """Return the promise of the result of a batch that was committed, whose answer was lost."""
        proxy.deaf = "all"
        result = hand.send(*hand.batch("x", "y"))
        while (await b.rooms.load("room")).seq != hand.room.seq + 2:
            pass
        return result

    async def begin(self) -> tuple[Any, Any, Any, Hand]:
        b = await self.node("b/1/")
        proxy, a = await self.proxied("a/1/")
        return proxy, a, b, await self.held(a)

    async def test_redis_has_it(self) -> None:
        proxy, a, b, hand = await self.begin()
        result = await self.sent(a, b, hand, proxy)
        await self.save(b)
        proxy.deaf = ""
        await self.restart(a, b, data="kept")
        self.assertIsNone(await result)
        self.assertEqual((await a.rooms.load("room")).seq, hand.room.seq)

    async def test_no_node_has_it(self) -> None:
        proxy, a, b, hand = await self.begin()
        await self.save(b)
        result = await self.sent(a, b, hand, proxy)
        proxy.deaf = ""
        await self.restart(a, b, data="kept")
        self.assertEqual(await result, Conflict(None))
        self.assertEqual((await a.rooms.load("room")).seq, hand.room.seq)

    async def test_another_node_has_it(self) -> None:
        """Decided again, it would be done twice."""
        proxy, a, b, hand = await self.begin()
        b.rooms.subscribe("room")
        room = await b.rooms.load("room")
        result = await self.sent(a, b, hand, proxy)
        await until(lambda: len(b.follower.seqs("room")) == 2)
        for commit in b.follower.commits["room"]:
            room.apply(commit)
        b.follower.rooms["room"] = (room, b.follower.commits["room"])
        proxy.deaf = ""
        await self.restart(a, b, data="none")
        self.assertIsNone(await result)
        self.assertEqual((await a.rooms.load("room")).seq, hand.room.seq)
        # The archive gets to know of it, though the journal that it was written to is lost.
        entries = await self.ask(a, b"XRANGE", JOURNAL, b"-", b"+")
        found = {fields[5] for _, fields in entries}
        self.assertEqual(len([entry for entry in found if b',"CHAT",' in entry]), 5 + 1)


class LostNodeTest(RestartTestCase):
    """A node dies, and soon after it Redis loses that node's last journal entries."""

    async def test_others_put_it_there_again(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.held(a)
        hand.log[:3] = [msgspec.structs.replace(commit, at=commit.at - 100.0) for commit in hand.log[:3]]
        b.follower.rooms["room"] = (hand.room.copy(), hand.log[:])
        await a.stopService()
        self.stores.remove(a)
        await self.restart(b, data="none")
        await until(lambda: b.journal._kept)
        entries = await self.ask(b, b"XRANGE", JOURNAL, b"-", b"+")
        told = [codec.decode_commit(fields[5]).seq for _, fields in entries]
        # Commits of long before are in the archive, or will never be.
        self.assertEqual(told, [commit.seq for commit in hand.log[3:]])


class KeysTest(RedisTestCase):
    async def test_everything_has_our_name(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        a.mailboxes.relay("room", "ann", b"1")
        await hand.send(hand.next({}, closes=True, due=0.0))
        await self.open(a, "other")
        await until(lambda: a.members.floor is not None)
        names = await self.ask(a, b"KEYS", b"*")
        self.assertEqual([name for name in names if not name.startswith(PREFIX)], [])
        self.assertIn(STORE, names)
        self.assertIn(log_key("other"), names)
