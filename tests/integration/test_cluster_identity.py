"""Proofs of identity with two nodes: the member's connection is on another node than the JOIN."""

from __future__ import annotations

from typing import Any

from .test_cluster_moderation import Person, TwoNodesTestCase

HERE, ELSEWHERE = "127.0.0.2", "127.0.0.9"


def freeze(person: Person) -> None:
    """Have a client read nothing more, so that it answers no ping. Its connection stays."""
    transport: Any = person.wire.transport
    transport.pauseProducing()


class TwoNodesTest(TwoNodesTestCase):
    async def test_repeated_join_after_a_lost_answer(self) -> None:
        here, there = await self.nodes()
        await (await self.join(here, "host", "127.0.0.8")).hears("ROOM_STATE")
        fields = {"keepsToken": True, "nonce": "k9", "id": 1}
        bob = await self.join(here, "bob", HERE, **fields)
        bob.wire.say({"type": "CHAT", "text": "x", "id": 2})
        seq = (await bob.hears("ACK", id=2))["seq"]
        freeze(bob)
        again = await self.join(there, "bob", HERE, **fields)
        await again.hears("ERROR", code="identity_conflict")
        self.assertTrue((await again.hears("ROOM_STATE"))["token"])
        again.wire.say({"type": "CHAT", "text": "x", "id": 2})
        self.assertEqual((await again.hears("ACK", id=2))["seq"], seq)

    async def test_changed_address(self) -> None:
        """Only the node of the dead connection can find out that it is dead."""
        here, there = await self.nodes()
        ann = await self.join(here, "ann", HERE)
        await ann.hears("ROOM_STATE")
        bob = await self.join(here, "bob", "127.0.0.8")
        await bob.hears("ROOM_STATE")
        freeze(ann)
        again = await self.join(there, "ann", ELSEWHERE)
        await again.hears("ERROR", code="identity_conflict")
        state = await again.hears("ROOM_STATE")
        self.assertEqual(state["hostUserId"], "ann")
        self.assertEqual((await bob.hears("USER_JOINED"))["userId"], "ann")
        self.assertNotIn("USER_LEFT", [message["type"] for message in bob.messages])

    async def test_the_host_under_another_id(self) -> None:
        here, there = await self.nodes()
        ann = await self.join(here, "ann", HERE, username="Ann")
        await ann.hears("ROOM_STATE")
        bob = await self.join(there, "bob", "127.0.0.8")
        await bob.hears("ROOM_STATE")
        other = await self.join(there, "other", HERE, username="Ann")
        self.assertEqual((await other.hears("ROOM_STATE"))["hostUserId"], "ann")
        freeze(ann)
        again = await self.join(there, "ann2", HERE, username="Ann")
        self.assertEqual((await again.hears("ROOM_STATE"))["hostUserId"], "ann")
        self.assertEqual((await bob.hears("HOST_CHANGED"))["hostUserId"], "ann2")
