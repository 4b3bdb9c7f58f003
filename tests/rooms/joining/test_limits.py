"""Rations of two nodes that share a Redis, and of a node whose store is away."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred, fail

from tandemd.app.metrics import NodeMetrics
from tandemd.errors import ErrorCode, RequestError
from tandemd.ratelimit.buckets import Plan, TakeResult
from tandemd.rooms.joining.limits import JoinDeferredError, JoinLimiter
from tandemd.rules.state import Pin, Room, RoomSettings
from tandemd.store.memory import MemoryStore
from tests.support.settings import bounds, join_limits

from ...support.fake_node import ServiceTestCase
from ...support.redis_nodes import Hand, RedisTestCase, reactor

LIMITS = join_limits(room_creations=3, rooms_per_address=2, pin_tries_per_room=4, pin_tries_per_address=3)
RIGHT = "654321"


class TwoNodesTest(RedisTestCase):
    async def begin(self) -> tuple[JoinLimiter, JoinLimiter, Room]:
        stores = [await self.node("a/1/"), await self.node("b/1/")]
        self.room = room = Room(str(uuid.uuid4()), "room", 0.0, 1)
        room.settings = RoomSettings(pin=Pin("00", "11"), invite="abc")
        a, b = (
            JoinLimiter(store, LIMITS, reactor, NodeMetrics("test", "node").rooms, lambda: 1, SystemRandom())
            for store in stores
        )
        return a, b, room

    async def outcome(self, rations: JoinLimiter, address: str, came: float | None = None, *, token: str = "") -> str:
        """Return "" if an attempt is allowed, else the limit that defers it."""
        try:
            first_seen = reactor.seconds() if came is None else came
            await rations.reserve_pin_attempt(self.room, address, first_seen, token=token)
        except JoinDeferredError as error:
            return error.reason
        return ""

    async def test_tries_are_counted_together(self) -> None:
        a, b, _ = await self.begin()
        self.assertEqual(
            [await self.outcome(rations, f"6.6.6.{i}") for i, rations in enumerate((a, b, a, b))], [""] * 4
        )
        self.assertEqual(await self.outcome(a, "6.6.6.5"), "pin_tries_per_room")
        self.assertEqual(await self.outcome(b, "6.6.6.6"), "pin_tries_per_room")

    async def test_of_an_address_too(self) -> None:
        a, b, room = await self.begin()
        outcomes = []
        for rations in (a, b, a, b):
            self.room = Room(str(uuid.uuid4()), "another", 0.0, 1)
            outcomes.append(await self.outcome(rations, "6.6.6.6"))
        self.assertEqual(outcomes, ["", "", "", "pin_tries_per_address"])

    async def test_of_a_48_too(self) -> None:
        """M6: a guesser has 65 536 /64s in it."""
        a, b, _ = await self.begin()
        outcomes = []
        for number in range(26):
            self.room = Room(str(uuid.uuid4()), "another", 0.0, 1)
            outcomes.append(await self.outcome((a, b)[number % 2], f"2001:db8:0:{number:x}::/64"))
        self.assertEqual(outcomes, [""] * 24 + ["pin_tries_per_address"] * 2)
        self.assertEqual(await self.outcome(a, "2001:db8:1:1::/64"), "")

    async def test_newcomers_of_a_48(self) -> None:
        """Eight of them have a try that is kept for newcomers; then it is a network that has failed lately."""
        a, _, _ = await self.begin()
        outcomes = [await self.outcome(a, f"2001:db8:0:{number:x}::/64") for number in range(2)]
        self.assertEqual(outcomes, ["", ""])
        self.room = Room(str(uuid.uuid4()), "another", 0.0, 1)
        outcomes = [await self.outcome(a, f"2001:db8:0:{number:x}::/64") for number in range(2, 6)]
        self.assertEqual(outcomes, [""] * 4)
        self.room = Room(str(uuid.uuid4()), "third", 0.0, 1)
        outcomes = [await self.outcome(a, f"2001:db8:0:{number:x}::/64") for number in range(6, 10)]
        self.assertEqual(outcomes, [""] * 2 + ["pin_tries_per_address"] * 2)
        self.assertEqual(await self.outcome(a, "2001:db8:1:1::/64"), "")

    async def test_joins_that_wait_of_a_48(self) -> None:
        a, _, _ = await self.begin()
        waiting: dict[str, int] = {"2001:db8:0:1::/64": 49, "2001:db8::/48": 399}
        a.check_waiting("room", "2001:db8:0:1::/64", lambda name: waiting.get(name, 0))
        waiting["2001:db8::/48"] = 400
        for address in ("2001:db8:0:1::/64", "2001:db8:0:2::/64"):
            with self.assertRaises(JoinDeferredError) as caught:
                a.check_waiting("room", address, lambda name: waiting.get(name, 0))
            self.assertEqual(caught.exception.reason, "pending_joins")
        a.check_waiting("room", "2001:db8:1:1::/64", lambda name: waiting.get(name, 0))
        a.check_waiting("room", "", lambda name: waiting.get(name, 0))

    async def test_who_is_known_to_one_is_known_to_the_other(self) -> None:
        a, b, room = await self.begin()
        way = await a.reserve_pin_attempt(room, "2.2.2.2", reactor.seconds())
        a.pin_accepted(room, "2.2.2.2", way)
        a.invited("room", "3.3.3.3")
        a.admitted(room, "ab" * 32)
        for number in range(8):
            await self.outcome(a, f"6.6.6.{number}")
        self.assertEqual(await self.outcome(b, "1.1.1.1"), "pin_tries_per_room")
        self.assertEqual(await self.outcome(b, "1.1.1.1", token="cd" * 32), "pin_tries_per_room")
        self.assertEqual(await self.outcome(b, "1.1.1.1", token="ab" * 32), "")
        self.assertEqual(await self.outcome(b, "", token="ab" * 32), "")
        self.assertEqual(await self.outcome(b, ""), "pin_tries_per_room")
        self.assertEqual([await self.outcome(b, address) for address in ("2.2.2.2", "3.3.3.3")], ["", ""])

    async def test_old_guessers_leave_half(self) -> None:
        a, b, _ = await self.begin()
        outcomes = [await self.outcome(rations, f"6.6.6.{i}", came=0.0) for i, rations in enumerate((a, b, a, b))]
        self.assertEqual(outcomes, ["", "", "pin_tries_per_room", "pin_tries_per_room"])
        self.assertEqual([await self.outcome(b, f"7.7.7.{i}") for i in range(3)], ["", "", "pin_tries_per_room"])

    async def test_rooms_of_an_address(self) -> None:
        a, b, _ = await self.begin()
        hands = []
        for rations, code in ((a, "one"), (b, "two")):
            await rations.reserve_creation(code, "6.6.6.6")
            hands.append(Hand(self.stores[0], code))
            self.assertIsNone(await hands[-1].say("first"))
        with self.assertRaises(JoinDeferredError) as raised:
            await a.reserve_creation("three", "6.6.6.6")
        self.assertEqual(raised.exception.reason, "rooms_per_address")
        await hands[0].send(hands[0].next({}, event="USER_LEFT", closes=True))
        way = await b.reserve_creation("three", "6.6.6.6")
        b.refund(way)
        await b.reserve_creation("four", "6.6.6.6")

    async def test_keys_are_small_and_expire(self) -> None:
        a, _, room = await self.begin()
        a.pin_accepted(room, "2.2.2.2", await a.reserve_pin_attempt(room, "2.2.2.2", reactor.seconds()))
        await a.reserve_pin_attempt(room, "6.6.6.6", reactor.seconds())
        a.invited("room", "3.3.3.3")
        a.admitted(room, "ab" * 32)
        await a.reserve_creation("one", "6.6.6.6")
        store = self.stores[0]
        keys = await self.ask(store, b"KEYS", b"tandem:budget:*")
        self.assertEqual(
            sorted({key.split(b":")[2].decode() for key in keys}),
            ["admitted", "founder", "invited", "known", "pin", "pinner", "rooms"],
        )
        for key in keys:
            self.assertTrue(0 < await self.ask(store, b"TTL", key) <= 86400, key)
            self.assertTrue(await self.ask(store, b"MEMORY", b"USAGE", key) < 500, key)


class Away(MemoryStore):
    """A store whose counters, or rooms, cannot be asked for a while, though it is ready and never says that it is back."""

    away = False
    closed = False
    loads = 0

    def load(self, code: str, *, archived: bool = True) -> Deferred[Any]:
        self.loads += 1
        if self.closed:
            return fail(RequestError(ErrorCode.UNAVAILABLE, "The store is away.", 2000))
        return super().load(code, archived=archived)

    def take(self, ways: Sequence[Plan]) -> Deferred[TakeResult]:
        if self.away:
            return fail(RequestError(ErrorCode.UNAVAILABLE, "The store is away.", 2000))
        return super().take(ways)


class StoreAwayTest(ServiceTestCase):
    options: dict[str, Any] = {"make_store": lambda clock, journal: Away(clock, 100, journal, bounds())}

    def test_waits_and_is_done_when_it_is_back(self) -> None:
        self.world.join("ann", pin=RIGHT).told()
        self.world.store.away = True
        bob, cid = self.world.join("bob", pin=RIGHT), self.world.join("cid", room="new")
        self.assertHas(self.refused(bob.told(), "unavailable"), retryAfterMs=2000)
        self.refused(cid.told(), "unavailable")
        self.world.store.away = False
        self.world.server.rooms.others.available()
        self.assertEqual((bob.types(), cid.types()), (["ROOM_STATE"], ["ROOM_STATE"]))

    def test_is_tried_again_although_the_store_was_ready_all_the_time(self) -> None:
        """A JOIN that one question of many was refused for was pending for good."""
        self.world.join("ann", pin=RIGHT).told()
        self.world.store.away = True
        bob, cid = self.world.join("bob", pin=RIGHT), self.world.join("cid", room="new")
        for client in (bob, cid):
            self.refused(client.told(), "unavailable")
        self.world.advance(7)
        self.assertEqual((bob.types(), cid.types()), ([], []), "being refused again is no news")
        self.world.store.away = False
        self.world.advance(2.1)
        self.assertEqual((bob.types(), cid.types()), (["ROOM_STATE"], ["ROOM_STATE"]))

    def test_so_is_a_room_that_could_not_be_opened(self) -> None:
        store = self.world.store
        store.closed = True
        waiting = [self.world.join(f"user{i}", room=f"room{i}") for i in range(30)]
        for client in waiting:
            self.refused(client.told(), "unavailable")
        before = store.loads
        self.world.advance(2.1)
        self.assertEqual(store.loads - before, 8, "a store that is in trouble is not asked for all of them at once")
        self.world.advance(20)
        self.assertEqual({tuple(client.types()) for client in waiting}, {()}, "being refused again is no news")
        store.closed = False
        waiting[0].cut()
        self.world.advance(10)
        self.assertEqual({tuple(client.types()) for client in waiting[1:]}, {("ROOM_STATE",)})
        before = store.loads
        self.world.advance(10)
        self.assertEqual(store.loads, before)
