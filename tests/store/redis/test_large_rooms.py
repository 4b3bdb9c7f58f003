"""The cost of a commit in Redis: the same in a room of thousands. Bytes and commands are counted, and no time is measured."""

from __future__ import annotations

from typing import Any

from tandemd.rules.settings import MAX_MEMBERS_PER_COMMIT
from tandemd.rules.state import Commit

from ...support.redis_nodes import Hand, RedisTestCase, member, until

COMMANDS = ("hset", "hget", "hmget", "hgetall", "hdel", "xadd", "xrange", "publish", "del")
"""The commands of commits. Others are called from time to time, or by the test."""


class LargeRoomTest(RedisTestCase):
    """A room with members on two nodes."""

    sent = 0

    def count_bytes(self, store: Any) -> None:
        """Count the bytes that a node gives to scripts."""
        run = store._gateway.link.run

        def counted(script: Any, keys: Any, arguments: dict[str, Any], *more: bytes) -> Any:
            if "publication" in arguments:
                self.sent += sum(len(value) for value in (*arguments.values(), *more) if isinstance(value, bytes))
            return run(script, keys, arguments, *more)

        self.patch(store._gateway.link, "run", counted)

    async def calls(self, store: Any) -> int:
        """Return how many commands of commits Redis has run, within scripts and outside."""
        lines = (await self.ask(store, b"INFO", b"commandstats")).decode().splitlines()
        stats = dict(line.split(":") for line in lines if ":" in line)
        return sum(
            int(stats[f"cmdstat_{name}"].split(",")[0].removeprefix("calls="))
            for name in COMMANDS
            if f"cmdstat_{name}" in stats
        )

    async def fill(self, hand: Hand, size: int) -> None:
        users = [f"user{number:05}" for number in range(len(hand.room.members), size)]
        for first in range(0, len(users), MAX_MEMBERS_PER_COMMIT):
            changes: dict[str, Any] = {}
            for user in users[first : first + MAX_MEMBERS_PER_COMMIT]:
                changes |= member(user, "a/1/1")
            self.assertIsNone(await hand.send(hand.next(changes)))

    async def test_a_commit_costs_the_same_in_any_room(self) -> None:
        a, b = await self.node(), await self.node("b/1/")
        hand = await self.open(a)
        b.rooms.subscribe("room")
        self.count_bytes(a)
        acts: dict[str, dict[str, Any]] = {
            "join": member("new", "a/1/1"),
            "loss": member("user00007", ""),
            "leave": {"m:user00008": None},
            "chat": {},
        }
        costs: dict[str, list[tuple[int, int]]] = {}
        for size in (250, 4000):
            await self.fill(hand, size)
            for name, changes in acts.items():
                calls, self.sent = await self.calls(a), 0
                self.assertIsNone(await hand.send(hand.next(changes, text="x" if name == "chat" else "")))
                costs.setdefault(name, []).append((await self.calls(a) - calls, self.sent))
        for name, (small, large) in costs.items():
            self.assertLessEqual(large[0], small[0] + 3, f"{name}: {costs[name]}")
            self.assertLess(large[1], 1.2 * small[1] + 100, f"{name}: {costs[name]}")
        seq = hand.room.seq
        await until(lambda: b.follower.seqs("room")[-1:] == [seq])
        followed: list[Commit] = b.follower.commits["room"]
        self.assertLessEqual(max(len(commit.changes) for commit in followed), MAX_MEMBERS_PER_COMMIT)
