"""A large room over two nodes with a real Redis: joins, chat and play reach each member, in order."""

from __future__ import annotations

import json
from typing import Any

from tandemd import messages as m
from tandemd.messages.framing import next_boundary
from tandemd.rooms.outbox import LARGE_GROUP_SESSIONS
from tandemd.rooms.session import Session

from ..chaos.small import SmallNode
from ..support.redis_nodes import until
from ..support.socketless_transport import SocketlessTransport
from .test_cluster_moderation import TwoNodesTestCase

MEMBERS = LARGE_GROUP_SESSIONS + 20
"""On each node, so that each gathers messages and encodes the users once."""
TITLE = "https://www.netflix.com/watch/1"


class KeptWire(SocketlessTransport):
    """A connection without a socket, whose client reads everything and says nothing."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def messages(self) -> list[dict[str, Any]]:
        data, found = bytes(self.data), []
        while data:
            end = next_boundary(data, 1)
            found.append(json.loads(data[data.index(b"{") : end]))
            data = data[end:]
        return found


class LargeRoomTest(TwoNodesTestCase):
    def enter(self, node: SmallNode, number: int) -> tuple[Session, KeptWire]:
        wire = KeptWire()
        user = f"{node.prefix[0]}{number}"
        session = Session(f"{node.prefix}{1000 + number}", f"10.{ord(user[0])}.0.{number}", wire, node.outbox)
        node.rooms.join(session, m.Join(room_id="room", user_id=user, username=user))
        return session, wire

    async def test_all_hear_all_in_order(self) -> None:
        nodes = await self.nodes()
        here, there = nodes
        host, first = self.enter(here, 0)
        await until(lambda: host.group is not None)
        crowd = [self.enter(node, number) for number in range(1, MEMBERS) for node in nodes]
        wires = [first, *(wire for _, wire in crowd)]
        await until(lambda: all(session.group is not None for session, _ in crowd))
        for node in nodes:
            await until(lambda node=node: len(next(iter(node.rooms.open)).room.members) == 2 * MEMBERS - 1)
            self.assertTrue(next(iter(node.rooms.open)).group.is_large)
        newcomer, told = self.enter(there, MEMBERS)
        await until(lambda: newcomer.group is not None)
        here.rooms.receive(host, m.UrlChange(url=TITLE))
        for number, (session, _) in enumerate(crowd[:20]):
            nodes[number % 2].rooms.receive(session, m.Chat(text=f"line {number}"))
        here.rooms.receive(host, m.PlayPause(control="play", current_time=100.0))
        await until(lambda: all(b'"PLAY_PAUSE"' in wire.data and wire.data.count(b'"CHAT"') == 20 for wire in wires))
        for wire in (first, crowd[0][1], crowd[1][1], crowd[-1][1], told):
            messages = wire.messages()
            at = next(i for i, message in enumerate(messages) if message["type"] == "ROOM_STATE")
            numbers = [x["seq"] for x in messages[at:] if "seq" in x and x["type"] != "HOST_HEARTBEAT"]
            self.assertEqual(numbers, sorted(numbers))
            logged = [x for x in messages[at + 1 :] if "prev" in x]
            self.assertEqual([x["prev"] for x in logged[1:]], [x["seq"] for x in logged[:-1]], "none is missing")
        state = next(x for x in told.messages() if x["type"] == "ROOM_STATE")
        self.assertEqual(len(state["users"]), 2 * MEMBERS)
