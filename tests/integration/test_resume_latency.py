"""A member comes back to a busy room while Redis' answers come later than its news, or the other way round: a real Redis."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater

from .test_cluster_moderation import TwoNodesTestCase

CHATS = 150
"""More than a node remembers of an open room."""


class LatencyTest(TwoNodesTestCase):
    """A1. A message that is held on the way never comes earlier, however fast the machine is."""

    async def resume(self, way: str, late: float, *, subscriptions: bool = False) -> None:
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2")
        await ann.hears("ROOM_STATE")
        bob = await self.join(here, "bob", "127.0.0.3", keepsToken=True)
        state = await bob.hears("ROOM_STATE")
        cid = await self.join(there, "cid", "127.0.0.4")  # so that the room is open there
        await cid.hears("ROOM_STATE")
        bob.wire.cut()
        said = 0

        def chat() -> None:
            nonlocal said
            said += 1
            ann.wire.say({"type": "CHAT", "text": str(said)})

        for _ in range(CHATS):
            chat()
            await deferLater(reactor, 0.002)
        await cid.hears("CHAT", text=str(said))
        there.proxy.slow(way, late, subscriptions=subscriptions)
        chatting = LoopingCall(chat)
        chatting.start(0.05)
        self.addCleanup(lambda: chatting.stop() if chatting.running else None)
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        again = await self.join(there, "bob", "127.0.0.3", token=state["token"], resume=resume)
        for text in range(1, CHATS + 1):
            await again.hears("CHAT", text=str(text), replayed=True)
        await again.hears("ROOM_STATE", resumed=True)
        self.assertTrue(chatting.running, "all go on talking")
        chatting.stop()

    async def test_replies_60_ms_late(self) -> None:
        await self.resume("replies", 0.06)

    async def test_replies_150_ms_late(self) -> None:
        await self.resume("replies", 0.15)

    async def test_requests_150_ms_late(self) -> None:
        await self.resume("requests", 0.15)

    async def test_news_150_ms_late(self) -> None:
        await self.resume("replies", 0.15, subscriptions=True)


class DeadConnectionTest(TwoNodesTestCase):
    """A8: an OFFER to a member whose network is gone without a word, over one node and over two."""

    async def relayed(self, *, elsewhere: bool, comes_back_elsewhere: bool) -> None:
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2")
        await ann.hears("ROOM_STATE")
        first, second = (there if elsewhere else here), (there if comes_back_elsewhere else here)
        bob = await self.join(first, "bob", "127.0.0.3", keepsToken=True)
        state = await bob.hears("ROOM_STATE")
        await ann.hears("USER_JOINED")
        bob.wire.transport.pauseProducing()
        ann.wire.say({"type": "OFFER", "to": "bob", "id": 1, "offer": {"type": "offer", "sdp": "x"}})
        await ann.hears("ACK", id=1)
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        again = await self.join(second, "bob", "127.0.0.3", token=state["token"], resume=resume)
        await again.hears("ROOM_STATE", resumed=True)
        await again.hears("OFFER", userId="ann")
        ann.wire.say({"type": "CHAT", "text": "last"})
        await again.hears("CHAT", text="last")
        self.assertEqual([message for message in again.messages if message["type"] == "OFFER"], [])

    async def test_one_node(self) -> None:
        await self.relayed(elsewhere=False, comes_back_elsewhere=False)

    async def test_on_another_node(self) -> None:
        await self.relayed(elsewhere=True, comes_back_elsewhere=True)

    async def test_comes_back_on_another_node(self) -> None:
        await self.relayed(elsewhere=False, comes_back_elsewhere=True)

    async def test_comes_back_on_the_senders_node(self) -> None:
        await self.relayed(elsewhere=True, comes_back_elsewhere=False)
