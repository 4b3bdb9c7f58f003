"""Heartbeats of nodes, and the members of a node without heartbeat."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import ensureDeferred, fail, gatherResults

from tandemd.errors import ErrorCode, RequestError
from tandemd.store.redis.cluster_membership import DEAD_SECONDS
from tandemd.store.redis.gateway import AWAY_SECONDS
from tandemd.store.redis.keys import NODES, STORE, places_key, room_key

from ...support.redis_nodes import RedisTestCase, member, reactor, until


class MembersTest(RedisTestCase):
    async def age(self, store: Any, seconds: float, *names: str) -> None:
        """Make it so long ago that nodes gave a sign of life."""
        for name in names:
            await self.ask(store, b"ZINCRBY", NODES, b"%f" % -seconds, name.encode())

    async def test_alive(self) -> None:
        a = await self.node("a/1/")
        await self.node("b/1/")
        await a._heartbeat()
        self.assertEqual(a.members.alive, 2)
        self.assertEqual(a.follower.lost, [])

    async def test_where_a_node_has_members(self) -> None:
        a = await self.node("a/1/")
        hand = await self.open(a)
        other = await self.open(a, "other")
        self.assertEqual(set(await self.ask(a, b"SMEMBERS", places_key("a/1/"))), {b"room", b"other"})
        a.rooms.unsubscribe("room")  # the last member here has gone
        self.assertEqual(await self.ask(a, b"SMEMBERS", places_key("a/1/")), [b"other"])
        await other.send(other.next({}, closes=True, due=0.0))
        self.assertEqual(await self.ask(a, b"SMEMBERS", places_key("a/1/")), [])
        a.rooms.subscribe("room")
        await hand.say("a member came")
        self.assertEqual(await self.ask(a, b"SMEMBERS", places_key("a/1/")), [b"room"])

    async def test_a_room_that_could_not_be_opened_is_still_checked(self) -> None:
        """Another node restores it with a member of this node, whose connection has ended meanwhile."""
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(b)
        a.rooms.subscribe("room")
        await hand.send(hand.next(member("ann", "a/1/1")))
        await self.ask(b, b"DEL", room_key("room"))
        await b._reseeder.one(hand.room, ())
        a.rooms.unsubscribe("room", is_known=False)
        self.assertEqual(await self.ask(a, b"SMEMBERS", places_key("a/1/")), [b"room"])
        a.members.data_changed()
        await a._heartbeat()
        self.assertEqual(a.follower.checked, ["room"])
        await self.ask(a, b"DEL", room_key("room"))
        a.rooms.subscribe("room")
        a.rooms.unsubscribe("room", is_known=False)
        self.assertEqual(await self.ask(a, b"SMEMBERS", places_key("a/1/")), [])

    async def test_a_dead_node_is_taken_over(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(b)
        await hand.send(hand.next(member("bob", "b/1/1")))
        await b.stopService()
        await self.age(a, DEAD_SECONDS + 1, "b/1/")
        await a._heartbeat()
        self.assertEqual(a.follower.lost, [("room", "b/1/")])
        self.assertEqual(a.metrics.takeovers.value, 1)
        await a._heartbeat()
        await a._heartbeat()
        self.assertEqual(a.follower.lost, [("room", "b/1/")])
        self.assertEqual(await self.ask(a, b"ZRANGE", NODES, b"0", b"-1"), [b"a/1/"])
        self.assertEqual(a.members.alive, 1)
        self.assertEqual(a.metrics.takeovers.value, 1)

    async def test_a_new_boot_takes_over_the_old(self) -> None:
        b = await self.node("b/1/")
        await self.open(b)
        await b.stopService()
        again = await self.node("b/2/")
        await self.age(again, DEAD_SECONDS + 1, "b/1/")
        await again._heartbeat()
        self.assertEqual(again.follower.lost, [("room", "b/1/")])

    async def test_what_could_not_be_done_is_done_later(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        await self.open(b)
        await self.open(b, "other")
        await b.stopService()
        await self.age(a, DEAD_SECONDS + 1, "b/1/")
        worked = a.follower.node_lost

        def fails(code: str, prefix: str) -> Any:
            return worked(code, prefix) if code == "other" else fail(RequestError(ErrorCode.UNAVAILABLE, "not now"))

        a.follower.node_lost = fails
        await a._heartbeat()
        self.assertEqual(a.follower.lost, [("other", "b/1/")])
        a.follower.node_lost = worked
        await a._heartbeat()
        self.assertEqual(a.follower.lost, [("other", "b/1/"), ("room", "b/1/")])

    async def test_not_twice_at_the_same_time(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        await self.open(b)
        await b.stopService()
        await self.age(a, DEAD_SECONDS + 1, "b/1/")
        taking = [ensureDeferred(a.members.take_over(["b/1/"])) for _ in range(2)]
        await gatherResults(taking)
        self.assertEqual(a.follower.lost, [("room", "b/1/")])

    async def test_after_an_outage_no_node_is_dead_and_grace_restarts(self) -> None:
        a = await self.node("a/1/")
        await self.node("b/1/")
        before = a.clock.grace_floor()
        await self.age(a, DEAD_SECONDS + 1, "b/1/")
        await self.age(a, AWAY_SECONDS + 1, "a/1/")
        await a._heartbeat()
        self.assertEqual(a.follower.lost, [])
        self.assertEqual(a.members.alive, 2)
        self.assertGreater(a.clock.grace_floor(), before)
        self.assertLess(abs(a.clock.grace_floor() - a.clock.now()), 1.0)

    async def test_redis_is_set_back(self) -> None:
        """A node that gave its last sign of life before is dead after as long a time as ever."""
        a, b = await self.node("a/1/"), await self.node("b/1/")
        await self.open(b)
        await b.stopService()
        await self.age(a, -600, "a/1/", "b/1/")
        before = a.clock.grace_floor()
        await a._heartbeat()
        self.assertEqual((a.members.alive, a.follower.lost, a.clock.grace_floor()), (2, [], before))
        await self.age(a, DEAD_SECONDS + 1, "b/1/")
        await a._heartbeat()
        self.assertEqual(a.follower.lost, [("room", "b/1/")])

    async def test_the_floor_is_told_in_server_time(self) -> None:
        a = await self.node("a/1/")
        await self.ask(a, b"HSET", STORE, b"floor", b"%f" % (reactor.seconds() - 10))
        a._gateway.time.begin(reactor.seconds() + 1000)
        await a._heartbeat()
        self.assertLess(abs(a.clock.grace_floor() - (a.clock.now() - 10)), 100.0)

    async def test_while_others_live_the_floor_stays(self) -> None:
        a = await self.node("a/1/")
        await self.node("b/1/")
        await a._heartbeat()
        before = a.clock.grace_floor()
        await self.age(a, DEAD_SECONDS + 1, "a/1/")  # it was frozen, b was not
        await a._heartbeat()
        self.assertEqual(a.clock.grace_floor(), before)

    async def test_the_floor_is_that_of_the_incarnation(self) -> None:
        a = await self.node("a/1/")
        await until(a.clock.grace_floor)
        self.assertLess(abs(float(await self.ask(a, b"HGET", STORE, b"floor")) - a.clock.grace_floor()), 60.0)
