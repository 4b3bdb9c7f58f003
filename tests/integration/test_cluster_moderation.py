"""Decisions of a host hold on every node: two of them, and a real Redis."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from random import Random
from typing import Any, cast

import txaio
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from ..chaos.small import DictArchive, SmallNode
from ..chaos.wire import Json, Wire
from ..support.patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS
from ..support.private_servers import Redis
from ..support.redis_nodes import until


class Person:
    """A client on one node, from an address of its own."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self.open: Deferred[None] = Deferred()
        self.closed = False
        self._waiting: tuple[Callable[[Json], bool], Deferred[Json]] | None = None
        self.wire = Wire(reactor, lambda: self.open.callback(None), self._heard, self._lost, Random(1))

    def _heard(self, message: Json) -> None:
        self.messages.append(message)
        if self._waiting is not None and self._waiting[0](message):
            (_, waiting), self._waiting = self._waiting, None
            waiting.callback(message)

    def _lost(self, code: int | None) -> None:
        self.closed = True

    async def hears(self, kind: str, **fields: Any) -> Json:
        """Return the next message of a type with these fields."""

        def wanted(message: Json) -> bool:
            return message["type"] == kind and fields.items() <= message.items()

        found = next(filter(wanted, self.messages), None)
        if found is None:
            waiting: Deferred[Json] = Deferred()
            waiting.addTimeout(PATIENCE_SECONDS, cast(Any, reactor))
            self._waiting = (wanted, waiting)
            found = await waiting
        del self.messages[: self.messages.index(found) + 1]
        return found


class TwoNodesTestCase(TestCase):
    """Has two nodes on one Redis."""

    timeout = TEST_LIMIT_SECONDS

    async def nodes(self) -> tuple[SmallNode, SmallNode]:
        # Autobahn's own timers are of no use here, and would outlast a test.
        self.patch(cast(Any, txaio).config, "loop", MemoryReactorClock())
        directory = tempfile.mkdtemp(prefix="tandemd-test-")
        self.addCleanup(shutil.rmtree, directory)
        redis = Redis()
        self.addCleanup(redis.stop)
        self.archive = DictArchive()
        nodes = [SmallNode(reactor, directory, redis.path, prefix, self.archive) for prefix in ("a/1/", "b/1/")]
        for node in nodes:
            self.addCleanup(node.stop)
            await node.start()
        return nodes[0], nodes[1]

    async def join(self, node: SmallNode, user: str, address: str, **fields: Any) -> Person:
        person = Person()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", node.port, bindAddress=(address, 0))
        await connectProtocol(endpoint, person.wire)
        self.addCleanup(person.wire.cut)
        await person.open
        person.wire.say({"type": "JOIN", "roomId": "room", "userId": user, **fields})
        return person


class TwoNodesTest(TwoNodesTestCase):
    async def test_everything(self) -> None:
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2")
        await ann.hears("ROOM_STATE")
        bob = await self.join(there, "bob", "127.0.0.3")
        await bob.hears("ROOM_STATE")

        ann.wire.say({"type": "DELEGATE_CONTROL", "targetUserId": "bob", "enabled": True})
        await bob.hears("GUEST_CONTROL", enabled=True)
        bob.wire.say({"type": "PLAY_PAUSE", "control": "play", "currentTime": 5})
        await ann.hears("PLAY_PAUSE", userId="bob")

        ann.wire.say({"type": "LOCK_ROOM", "locked": True})
        await bob.hears("ROOM_LOCKED", locked=True)
        cid = await self.join(there, "cid", "127.0.0.4")
        await cid.hears("ERROR", code="locked")
        ann.wire.say({"type": "LOCK_ROOM", "locked": False})
        state = await cid.hears("ROOM_STATE")
        self.assertEqual(state["controllers"], ["bob"])

        ann.wire.say({"type": "BAN", "targetUserId": "bob", "reason": "rude"})
        await bob.hears("KICKED", banned=True, reason="rude", by="ann")
        await bob.hears("LEAVE", userId="ann")
        await cid.hears("USER_LEFT", userId="bob", reason="banned")
        bob.wire.say({"type": "JOIN", "roomId": "room", "userId": "bob"})
        await bob.hears("ERROR", code="banned")
        self.assertFalse(bob.closed)
        for node in (here, there):
            other = await self.join(node, "rob", "127.0.0.3")
            await other.hears("ERROR", code="banned")
        ann.wire.say({"type": "UNBAN", "targetUserId": "bob"})
        await ann.hears("BANS", bans=[])
        other.wire.say({"type": "JOIN", "roomId": "room", "userId": "rob"})
        await other.hears("ROOM_STATE")

    async def test_a_newcomer_knocks_from_the_other_node(self) -> None:
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2")
        await ann.hears("ROOM_STATE")
        ann.wire.say({"type": "LOCK_ROOM", "locked": True})
        await ann.hears("ROOM_LOCKED", locked=True)
        for node, user, admitted in ((there, "bob", True), (there, "cid", False), (here, "dan", True)):
            newcomer = await self.join(node, user, "127.0.0.3")
            await newcomer.hears("ERROR", code="locked")
            await ann.hears("KNOCK", userId=user)
            ann.wire.say({"type": "ADMIT", "targetUserId": user, "admitted": admitted})
            if admitted:
                await newcomer.hears("ROOM_STATE", locked=True)
                await ann.hears("USER_JOINED", userId=user)
            else:
                await newcomer.hears("ERROR", code="forbidden")

    async def test_a_newcomer_is_not_replayed_what_was_said_before_it_came(self) -> None:
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2")
        await ann.hears("ROOM_STATE")
        ann.wire.say({"type": "CHAT", "text": "private"})
        await ann.hears("CHAT", text="private")
        eve = await self.join(there, "eve", "127.0.0.3", keepsToken=True)
        state = await eve.hears("ROOM_STATE")
        ann.wire.say({"type": "CHAT", "text": "public"})
        await eve.hears("CHAT", text="public")
        for node in (here, there):
            for seq, resumed, heard in ((0, False, []), (state["seq"], True, ["public"])):
                resume = {"epoch": state["epoch"], "seq": seq}
                again = await self.join(node, "eve", "127.0.0.4", token=state["token"], resume=resume)
                await until(lambda again=again: any(m["type"] == "ROOM_STATE" for m in again.messages))
                replayed = [m.get("text") for m in again.messages if m.get("replayed")]
                self.assertEqual(replayed, heard)
                await again.hears("ROOM_STATE", resumed=resumed)
