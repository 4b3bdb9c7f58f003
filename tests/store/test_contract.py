"""The contract of a room store, shown of the memory store and of Redis by the same tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tandemd.interfaces import Conflict, IClusterClock, IMailboxes, IRateLimitStore, IRoomStore, IStore
from tandemd.ratelimit.buckets import Flag, RoomQuota, TokenBucket
from tandemd.rules.state import Ban, Departed, Moderation, Room, RoomSettings
from tandemd.store.memory import MemoryStore
from tests.support.settings import bounds

from ..support.redis_nodes import Hand, RedisTestCase, member, reactor, until


class StoreContract:
    """Mixed into a TestCase that offers `make`. log: how many commits of a room are kept at least, and about at most."""

    LOG = 100
    make: Any
    assertEqual: Any
    assertIs: Any
    assertIsNone: Any
    assertIsInstance: Any
    assertIsNot: Any
    assertTrue: Any

    async def begin(self) -> tuple[Any, Hand]:
        store = await self.make()
        store.rooms.subscribe("room")
        self.assertIsNone(await store.rooms.load("room"))
        hand = Hand(store, "room")
        self.assertIsNone(await hand.say("1", event="USER_JOINED"))
        return store, hand

    def same(self, room: Room | None, other: Room) -> None:
        assert room is not None
        for name in Room.__slots__:
            self.assertEqual(getattr(room, name), getattr(other, name), name)

    async def test_interface(self) -> None:
        store = await self.make()
        self.assertTrue(verifyObject(IStore, store))
        for interface, part in (
            (IRoomStore, store.rooms),
            (IMailboxes, store.mailboxes),
            (IRateLimitStore, store.rate_limits),
            (IClusterClock, store.clock),
        ):
            self.assertTrue(verifyObject(interface, part))
        self.assertEqual(store.ready(), "")

    async def test_a_room_comes_back_as_it_was_committed(self) -> None:
        store, hand = await self.begin()
        await hand.send(hand.next({**member("ann", "n/b/1"), "host": "ann"}, due=12345.5))
        await hand.send(hand.next({**member("bob", "n/b/2", 3)}, text="hello"))
        await hand.send(hand.next({"m:ann": None}, event=""))
        eve, mal = Ban("eve", "Eve", "10.0.0.2", at=1.0), Ban("mal", None, until=12345.5, at=2.0)
        await hand.send(
            hand.next({"locked": True, "d:bob": True, "b:eve": eve, "b:mal": mal, "b:ned": Ban("ned", None)})
        )
        await hand.send(hand.next({"b:ned": None, "x:cid": Departed("cid", 5.0)}))
        self.assertEqual(hand.room.moderation, Moderation(True, ("bob",), (eve, mal)))
        self.same(await store.rooms.load("room"), hand.room)

    async def test_one_member(self) -> None:
        store, hand = await self.begin()
        await hand.send(hand.next({**member("ann", "n/b/1"), **member("bob", "n/b/2", 3)}))
        self.assertEqual(await store.rooms.member("room", "bob"), hand.room.members["bob"])
        await hand.send(hand.next({"m:bob": None}, event=""))
        for code, user in (("room", "bob"), ("room", "eve"), ("nowhere", "ann")):
            self.assertIsNone(await store.rooms.member(code, user))

    async def test_what_is_loaded_is_a_copy(self) -> None:
        store, hand = await self.begin()
        room = await store.rooms.load("room")
        room.apply(hand.next())
        self.assertEqual((await store.rooms.load("room")).seq, 1)

    async def test_the_callers_room_is_left_alone(self) -> None:
        store, hand = await self.begin()
        before = hand.room.version
        result = Hand(store, "room", hand.room.copy()).send(hand.next())
        await result
        self.assertEqual(hand.room.version, before)

    async def test_only_the_first_of_two_counts(self) -> None:
        store, hand = await self.begin()
        other = Hand(store, "room", hand.room.copy())
        first, second = hand.say("a"), other.say("b")
        self.assertIsNone(await first)
        self.assertEqual(await second, Conflict(hand.room.version))
        self.same(await store.rooms.load("room"), hand.room)

    async def test_only_one_of_two_rooms_is_made(self) -> None:
        store = await self.make()
        one, two = Hand(store, "room"), Hand(store, "room")
        two.room.room_uuid = "another"
        results = [await one.say("a"), await two.say("b")]
        self.assertIsNone(results[0])
        self.assertIsInstance(results[1], Conflict)
        self.assertEqual((await store.rooms.load("room")).room_uuid, one.room.room_uuid)

    async def test_a_room_that_is_not_there(self) -> None:
        store = await self.make()
        hand = Hand(store, "room")
        hand.room.seq = 5
        self.assertEqual(await hand.say("a"), Conflict(None))
        self.assertIsNone(await store.rooms.load("room"))

    async def test_a_batch_is_one(self) -> None:
        store, hand = await self.begin()
        late = Hand(store, "room", hand.room.copy())
        batch = hand.batch("a", "b", "c")
        self.assertIsNone(await hand.send(*batch))
        self.same(await store.rooms.load("room"), hand.room)
        self.assertEqual(await late.send(*late.batch("d", "e")), Conflict(hand.room.version))
        self.assertEqual(await store.rooms.replay("room", (hand.room.epoch, 1)), batch)

    async def test_a_batch_that_creates(self) -> None:
        store = await self.make()
        hand = Hand(store, "room")
        self.assertIsNone(await hand.send(*hand.batch("a", "b", "c")))
        self.same(await store.rooms.load("room"), hand.room)
        self.assertEqual(await store.rooms.find_invite("inv-room"), "room")

    async def test_many_at_once_lose_nothing(self) -> None:
        store, hand = await self.begin()
        hands = [await self._another(store, f"room{i}") for i in range(20)]
        results = await DeferredList([each.say("x") for each in hands])
        self.assertEqual([result for _, result in results], [None] * 20)
        for each in hands:
            self.same(await store.rooms.load(each.room.room_id), each.room)

    async def _another(self, store: Any, code: str) -> Hand:
        hand = Hand(store, code)
        assert await hand.say("first") is None
        return hand

    async def test_replay(self) -> None:
        store, hand = await self.begin()
        for text in "abcd":
            await hand.say(text)
        epoch = hand.room.epoch
        self.assertEqual(await store.rooms.replay("room", (epoch, 5)), [])
        self.assertEqual(await store.rooms.replay("room", (epoch, 2)), hand.log[2:])
        self.assertEqual(await store.rooms.replay("room", (epoch, 0)), hand.log)
        self.assertIsNone(await store.rooms.replay("room", (epoch, 6)))
        self.assertIsNone(await store.rooms.replay("room", (epoch + 1, 2)))
        self.assertIsNone(await store.rooms.replay("room", (epoch - 1, 2)))
        self.assertIsNone(await store.rooms.replay("elsewhere", (epoch, 2)))

    async def test_the_log_is_bounded(self) -> None:
        store, hand = await self.begin()
        for _ in range(10):
            self.assertIsNone(await hand.send(*hand.batch(*"x" * 40)))
        epoch, seq = hand.room.version
        self.assertEqual(await store.rooms.replay("room", (epoch, seq - self.LOG + 1)), hand.log[-self.LOG + 1 :])
        self.assertIsNone(await store.rooms.replay("room", (epoch, 1)))

    async def test_a_closed_room_is_gone(self) -> None:
        store, hand = await self.begin()
        self.assertIsNone(await hand.send(hand.next({}, event="USER_LEFT", closes=True, due=0.0)))
        self.assertIsNone(await store.rooms.load("room"))
        self.assertIsNone(await store.rooms.find_invite("inv-room"))
        self.assertIsInstance(await Hand(store, "room", hand.room).say("too late"), Conflict)

    async def test_a_code_is_used_again(self) -> None:
        store, hand = await self.begin()
        await hand.send(hand.next({}, event="USER_LEFT", closes=True))
        again = Hand(store, "room")
        again.room.epoch = hand.room.epoch + 7
        self.assertIsNone(await again.say("new"))
        self.same(await store.rooms.load("room"), again.room)
        self.assertEqual(await store.rooms.find_invite("inv-room"), "room")
        self.assertIsNone(await store.rooms.replay("room", hand.room.version))
        self.assertEqual(await store.rooms.replay("room", (again.room.epoch, 0)), again.log)

    async def test_an_older_blank_room_can_still_be_made(self) -> None:
        """Two nodes imagine the same room; the later one's has come and gone when the earlier one's is wanted."""
        store = await self.make()
        early = Hand(store, "room")
        late = Hand(store, "room")
        late.room.epoch += 10
        await late.say("a")
        await late.send(late.next({}, closes=True))
        self.assertIsNone(await early.say("b"))
        self.same(await store.rooms.load("room"), early.room)

    async def test_invites(self) -> None:
        store, _ = await self.begin()
        self.assertEqual(await store.rooms.find_invite("inv-room"), "room")
        self.assertIsNone(await store.rooms.find_invite("nothing"))

    async def test_due_rooms_are_those_without_a_subscriber(self) -> None:
        store, followed = await self.begin()
        now = store.clock.now()
        await followed.send(followed.next(due=now - 1))
        due = await self._another(store, "due")
        await due.send(due.next(due=now - 2))
        later = await self._another(store, "later")
        await later.send(later.next(due=now + 1000))
        never = await self._another(store, "never")
        await never.send(never.next(due=now - 2))
        await never.send(never.next(due=0.0))
        gone = await self._another(store, "gone")
        await gone.send(gone.next(due=now - 2))
        await gone.send(gone.next({}, closes=True, due=0.0))
        self.assertEqual(await self.due(store), {"due"})
        store.rooms.unsubscribe("room")
        self.assertTrue("room" in await self.due(store))

    async def due(self, store: Any) -> set[str]:
        """Return the due rooms, once any are due: a store need not look every time it is asked."""
        found: set[str] = set()

        def some() -> bool:
            store.rooms.due_rooms(store.clock.now()).addCallback(found.update)
            return bool(found)

        await until(some)
        return found

    async def test_mail(self) -> None:
        store, hand = await self.begin()
        await hand.send(hand.next({**member("ann", ""), **member("bob", "")}))
        for text in (b"1", b"2", b"2"):
            store.mailboxes.relay("room", "ann", text)
        store.mailboxes.relay("room", "bob", b"3")
        self.assertEqual(await store.mailboxes.take_mail("room", "ann"), [b"1", b"2", b"2"])
        self.assertEqual(await store.mailboxes.take_mail("room", "ann"), [])
        store.mailboxes.drop_mail("room", "bob")
        self.assertEqual(await store.mailboxes.take_mail("room", "bob"), [])

    async def test_a_mailbox_is_bounded(self) -> None:
        store, hand = await self.begin()
        await hand.send(hand.next(member("ann", "")))
        for i in range(250):
            store.mailboxes.relay("room", "ann", b"%d" % i)
        self.assertEqual(await store.mailboxes.take_mail("room", "ann"), [b"%d" % i for i in range(50, 250)])

    async def test_a_member_who_is_out_has_no_mailbox(self) -> None:
        store, hand = await self.begin()
        await hand.send(hand.next(member("ann", "")))
        store.mailboxes.relay("room", "ann", b"1")
        await hand.send(hand.next({"m:ann": None}))
        await hand.send(hand.next(member("ann", "")))
        self.assertEqual(await store.mailboxes.take_mail("room", "ann"), [])

    async def test_a_budget_is_taken_and_grows_back(self) -> None:
        store = await self.make()
        budget = TokenBucket("tries:room", 2, 0.4)
        self.assertEqual([(await store.rate_limits.take([[budget]])).way for _ in range(2)], [0, 0])
        while (refused := await store.rate_limits.take([[budget]])).way == 0:
            pass  # on a busy machine, some of it has grown back already
        self.assertEqual((refused.way, refused.lacking), (-1, "tries:room"))
        self.assertTrue(0 < refused.wait <= 0.2, refused)
        await deferLater(reactor, refused.wait + 0.01)
        self.assertEqual((await store.rate_limits.take([[budget]])).way, 0)

    async def test_budgets_have_names_of_every_kind(self) -> None:
        store = await self.make()
        for name in ("a:\u2028\U0001f600", "a:", "a:b:c", "a:2001:db8::/64"):
            self.assertEqual(
                [(await store.rate_limits.take([[TokenBucket(name, 1, 60)]])).way for _ in range(2)], [0, -1]
            )

    async def test_a_way_is_taken_as_a_whole(self) -> None:
        store = await self.make()
        few, many = TokenBucket("few:x", 1, 60), TokenBucket("many:x", 2, 60)
        self.assertEqual((await store.rate_limits.take([[few, many]])).way, 0)
        refused = await store.rate_limits.take([[few, many]])
        self.assertEqual((refused.way, refused.lacking), (-1, "few:x"))
        self.assertTrue(59 < refused.wait <= 60, refused)
        self.assertEqual((await store.rate_limits.take([[many]])).way, 0)
        self.assertEqual((await store.rate_limits.take([[many]])).way, -1)

    async def test_the_first_way_that_can_be_gone(self) -> None:
        store = await self.make()
        ways = [[TokenBucket("a:x", 1, 60)], [TokenBucket("b:x", 1, 30)]]
        self.assertEqual([(await store.rate_limits.take(ways)).way for _ in range(2)], [0, 1])
        refused = await store.rate_limits.take(ways)
        self.assertEqual((refused.way, refused.lacking, refused.nearest), (-1, "b:x", 1))

    async def test_some_may_have_to_be_left(self) -> None:
        store = await self.make()
        reserved, all_ = TokenBucket("a:x", 4, 60, reserve=2), TokenBucket("a:x", 4, 60)
        self.assertEqual([(await store.rate_limits.take([[reserved]])).way for _ in range(3)], [0, 0, -1])
        self.assertEqual([(await store.rate_limits.take([[all_]])).way for _ in range(3)], [0, 0, -1])

    async def test_only_who_has_taken_none_lately(self) -> None:
        store = await self.make()
        fresh = TokenBucket("a:x", 3, 60, reserve=2)
        self.assertEqual([(await store.rate_limits.take([[fresh]])).way for _ in range(2)], [0, -1])

    async def test_what_is_given_back_can_be_taken(self) -> None:
        store = await self.make()
        way = [TokenBucket("a:x", 1, 60), TokenBucket("b:x", 2, 60), RoomQuota("c:x", "room", 1)]
        for _ in range(5):
            self.assertEqual((await store.rate_limits.take([way])).way, 0)
            store.rate_limits.refund(way)
        self.assertEqual((await store.rate_limits.take([[RoomQuota("c:x", "other", 1)]])).way, 0)

    async def test_marks(self) -> None:
        store = await self.make()
        mark = Flag("seen:room\x00ann")
        self.assertEqual((await store.rate_limits.take([[mark, TokenBucket("a:x", 1, 60)]])).lacking, mark.name)
        store.rate_limits.mark(mark.name, 600)
        self.assertEqual((await store.rate_limits.take([[mark, TokenBucket("a:x", 1, 60)]])).way, 0)
        short = Flag("seen:room\x00bob")
        store.rate_limits.mark(short.name, 0.3)
        while (await store.rate_limits.take([[short]])).way == 0:
            await deferLater(reactor, 0.01)
        self.assertEqual((await store.rate_limits.take([[mark]])).way, 0)

    async def test_a_share_is_of_rooms_that_there_are(self) -> None:
        store = await self.make()
        for code in ("one", "two"):
            self.assertEqual((await store.rate_limits.take([[RoomQuota("s:ann", code, 2)]])).way, 0)
        hand = await self._another(store, "one")
        await self._another(store, "two")
        refused = await store.rate_limits.take([[RoomQuota("s:ann", "three", 2)]])
        self.assertEqual((refused.way, refused.lacking), (-1, "s:ann"))
        self.assertEqual((await store.rate_limits.take([[RoomQuota("s:ann", "two", 2)]])).way, 0)
        await hand.send(hand.next({}, event="USER_LEFT", closes=True))
        self.assertEqual(
            [(await store.rate_limits.take([[RoomQuota("s:ann", code, 2)]])).way for code in ("three", "four")], [0, 0]
        )

    async def test_text_of_every_kind(self) -> None:
        store = await self.make()
        code = "Räum: 1 \U0001f37f*[x]"
        hand = Hand(store, code)
        self.assertIsNone(await hand.send(hand.next(member("ünï:c", "n/b/1"), text='\u2028\U0001f600"\\')))
        self.same(await store.rooms.load(code), hand.room)
        self.assertEqual(await store.rooms.replay(code, (hand.room.epoch, 0)), hand.log)


class MemoryContractTest(StoreContract, TestCase):
    async def make(self) -> Any:
        return MemoryStore(reactor, self.LOG, lambda room, commit: None, bounds())


class RedisContractTest(StoreContract, RedisTestCase):
    async def make(self) -> Any:
        return await self.node(log_length=self.LOG)

    async def test_rooms_that_no_node_has_open_are_counted(self) -> None:
        """Each node's share of them, with every sign of life."""
        store = await self.make()
        for number in range(5):
            hand = Hand(store, f"room{number}")
            await hand.send(hand.next({"settings": RoomSettings(invite=f"invite{number}")}))
        await until(lambda: store.rooms.size() == 5)
        other = await self.node("b/1/")
        await until(lambda: other.rooms.size() == 3 and store.rooms.size() == 3)
