"""Redis' memory is short, or full: that ends, with its limit raised or without."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.internet.task import deferLater

from tandemd.interfaces import Unavailable
from tandemd.rules.state import MEMBER, Member
from tandemd.store.redis.keys import log_key
from tandemd.store.redis.memory_pressure import EASED_SHARE, HIGH_SHARE, SHORT_LOG_COMMITS

from ...support import private_servers
from ...support.daemon_process import Daemon, DaemonTestCase
from ...support.log_events import observe_log
from ...support.patience import PATIENCE_SECONDS
from ...support.redis_nodes import Hand, RedisTestCase, member, reactor, until

LINE = "x" * 8000


class FullTestCase(RedisTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[dict[str, Any]] = []
        observe_log(self, self.lines.append)

    def used(self) -> int:
        text = self.server.execute("INFO", "memory").decode()
        return int(next(line for line in text.splitlines() if line.startswith("used_memory:")).partition(":")[2])

    def limit(self, most: int) -> None:
        """Set maxmemory, in bytes; 0 for none."""
        self.server.execute("CONFIG", "SET", "maxmemory", str(most))

    def said(self, level: str) -> list[str]:
        return [
            line["log_format"]
            for line in self.lines
            if line["log_level"].name == level and "redis" in str(line.get("log_format"))
        ]

    async def with_members(self, store: Any, code: str = "room") -> Hand:
        hand = await self.open(store, code)
        assert await hand.send(hand.next({**member("ann", "a/1/1"), **member("bob", "a/1/2")})) is None
        return hand


class FullTests(FullTestCase):
    async def full(self, hand: Hand) -> None:
        """Have Redis be full, and refuse."""
        self.limit(1)
        self.assertIsInstance(await hand.say("refused"), Unavailable)

    async def test_commands_go_on_when_the_limit_is_raised(self) -> None:
        a = await self.node()
        hand = await self.with_members(a)
        await self.full(hand)
        for _ in range(20):
            self.assertIsInstance(await hand.say("refused"), Unavailable)
        # All nodes have the same Redis: to go elsewhere is of no use.
        self.assertEqual(a.ready(), "")
        self.assertIn("full", a.warnings()[0])
        self.assertEqual(a.metrics.redis_memory_refusals.value, 21)
        self.assertEqual(len(self.said("error")), 1, self.said("error"))
        self.limit(0)
        self.assertIsNone(await hand.say("x"))
        await until(lambda: not a.warnings())

    async def test_what_was_refused_is_told_when_it_may_be_tried_again(self) -> None:
        a = await self.node()
        hand = await self.with_members(a)
        await self.full(hand)
        before = a.follower.times_available
        self.limit(self.used() * 8 // 7)  # short, not full
        await until(lambda: a.follower.times_available > before)

    async def test_members_get_out_and_rooms_end(self) -> None:
        a = await self.node()
        hand, other = await self.with_members(a), await self.with_members(a, "other")
        await self.full(hand)
        away = Member("ann", "Ann", "", 1, a.clock.now())
        self.assertIsNone(await hand.send(hand.next({MEMBER + "ann": away}, event="CONNECTION_LOST")))
        self.assertIsNone(await hand.send(hand.next({MEMBER + "ann": None}, event="USER_LEFT")))
        self.assertIsInstance(await hand.say("refused"), Unavailable)
        for one in (hand, other):
            self.assertIsNone(await one.send(one.next({}, event="ROOM_CLOSED", closes=True, due=0.0)))
        self.assertIsNone(await a.rooms.load("room"))
        self.assertEqual(await self.ask(a, b"EXISTS", b"tandem:room:room", b"tandem:room:other"), 0)

    async def test_a_node_stays_alive_and_can_come_back(self) -> None:
        a = await self.node()
        hand = await self.with_members(a)
        await self.full(hand)
        before = a.members.heard_at
        await until(lambda: a.members.heard_at > before)
        a._gateway.link.drop()
        await until(lambda: a._gateway.incarnation is None)
        await until(lambda: not a.ready())
        # As after a restart with the same data: a new incarnation, and the rooms that are open here are offered.
        a.follower.rooms["room"] = (hand.room, hand.log)
        self.limit(0)
        self.server.execute("HSET", "tandem:store", "run_id", "another")
        self.limit(1)
        a._gateway.link.drop()
        await until(lambda: "room" in a.follower.renewals)
        again = Hand(a, "room", await a.rooms.load("room"))
        self.assertIsInstance(await again.say("refused"), Unavailable)
        self.assertIsNone(await again.send(again.next({}, event="ROOM_CLOSED", closes=True, due=0.0)))


class ShortTests(FullTestCase):
    async def short(self, a: Any) -> None:
        """Have Redis' memory be short, and not full."""
        self.server.execute("SETRANGE", "filler", "20000000", "x")  # beside it, all other data is nothing
        self.limit(int(self.used() / (HIGH_SHARE + 0.05)))
        await until(a.warnings)
        self.assertIn("short", a.warnings()[0])

    async def test_new_rooms_wait(self) -> None:
        a = await self.node()
        hand = await self.with_members(a)
        await self.short(a)
        self.assertIsNone(await hand.say("x"))
        self.assertIsNone(await a.rooms.load("new"))
        self.assertIsInstance(await Hand(a, "new").say("x"), Unavailable)
        before = a.follower.times_available
        self.limit(int(self.used() / (EASED_SHARE - 0.2)))
        await until(lambda: a.follower.times_available > before)
        self.assertIsNone(await Hand(a, "new").say("x"))
        self.assertEqual(a.warnings(), [])

    async def test_logs_are_short(self) -> None:
        a = await self.node()
        hand, idle = await self.with_members(a), await self.with_members(a, "idle")
        for _ in range(100):
            await hand.say(LINE)
            await idle.say(LINE)
        await self.short(a)
        for _ in range(5):
            await hand.say(LINE)
        for code in ("room", "idle"):

            async def short(code: str = code) -> bool:
                return int(await self.ask(a, b"XLEN", log_key(code))) <= SHORT_LOG_COMMITS + 5

            while not await short():
                pass
        # A resume from within the log is whole; one from before it learns that it is not.
        epoch, seq = hand.room.version
        self.assertEqual(len(await a.rooms.replay("room", (epoch, seq - 5))), 5)
        self.assertIsNone(await a.rooms.replay("room", (epoch, seq - 90)))

    async def test_what_rooms_hold_makes_way(self) -> None:
        """Full of logs: nothing has to be raised, no member has to leave."""
        a = await self.node()
        rooms = [await self.with_members(a, f"room{i}") for i in range(15)]
        for _ in range(40):
            for hand in rooms:
                await hand.say(LINE)
        self.limit(self.used() - 1000)

        async def again() -> bool:
            return await rooms[0].say("x") is None

        end = time.monotonic() + PATIENCE_SECONDS
        while not await again():
            self.assertLess(time.monotonic(), end)
        await until(lambda: not a.warnings())
        self.assertIsNone(await Hand(a, "new").say("x"))


class NodeTests(DaemonTestCase):
    """The effects on members and operators."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = private_servers.Redis()
        self.addCleanup(self.redis.stop)
        self.redis.execute("SETRANGE", "filler", "20000000", "x")
        self.postgres = private_servers.postgresql()
        self.postgres.create("full")
        self.addCleanup(self.postgres.drop, "full")

    async def warned(self, node: Daemon, of: str) -> None:
        """Wait until readiness is given with a warning, or with '' without any."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            # On a busy machine the node is not ready for a moment: it has waited for Redis too long.
            status, body = await self.get(f"http://127.0.0.1:{node.port}/health/ready")
            warnings = json.loads(body).get("warnings", [])
            if status == 200 and (any(of in warning for warning in warnings) if of else not warnings):
                return
            self.assertLess(time.monotonic(), end, body)
            await deferLater(reactor, 0.05)

    async def test_short_full_and_well_again(self) -> None:
        node = await self.running(
            REDIS_HOST=self.redis.path,
            POSTGRES_HOST=self.postgres.directory,
            POSTGRES_USER="postgres",
            POSTGRES_DB="full",
        )
        ann, bob = await self.connect(node), await self.connect(node)
        await ann.join("party", "ann")
        self.redis.execute("CONFIG", "SET", "maxmemory", "24000000")
        await self.warned(node, "short")
        bob.say("JOIN", roomId="new", userId="bob")
        self.assertEqual((await bob.hear("ERROR"))["code"], "unavailable")
        await ann.do("CHAT", text="the rooms that there are go on")
        self.redis.execute("CONFIG", "SET", "maxmemory", "1")
        ann.say("CHAT", id=99, text="refused")
        self.assertEqual((await ann.hear("ERROR", id=99))["code"], "unavailable")
        await self.warned(node, "full")
        await ann.do("LEAVE")
        text = (await self.get(f"http://127.0.0.1:{node.port}/metrics"))[1].decode()
        self.assertRegex(text, r"(?m)^tandemd_redis_memory_refusals_total(\{.*\})? [1-9]")
        self.redis.execute("CONFIG", "SET", "maxmemory", "1000000000")
        # It has waited, and is let in without a word.
        self.assertEqual((await bob.hear("ROOM_STATE"))["hostUserId"], "bob")
        await self.warned(node, "")
