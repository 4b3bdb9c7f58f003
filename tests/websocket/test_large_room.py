"""A room of 150 members on real sockets: each client receives all messages, in order, although the node gathers them."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, cast

import txaio
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from tests.support.settings import protocol_settings, rule_settings, send_queue_limits

from ..support.fake_node import TITLE, Server, frame
from ..support.patience import PATIENCE_SECONDS
from ..support.socket_connection import CLOSE, REQUEST, TEXT, frames_in

try:
    from tandemd.app.fair_reactor import FairReactor
except ImportError:
    FairReactor = None  # type: ignore[assignment]

MEMBERS = 150
KERNEL_BYTES = 8192
"""The bytes that the kernel keeps for a client that reads nothing."""


class Viewer:
    """A client. reads: whether it reads. upgraded: whether its handshake is done."""

    def __init__(self, user: str, port: int):
        self.user = user
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.reads = True
        self.messages: list[dict[str, Any]] = []
        self.close_code = 0
        self._rest = b""
        self.upgraded = False
        self.socket.sendall(REQUEST)

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.sendall(frame(TEXT, json.dumps({"type": kind, **fields}).encode()))

    def read(self) -> None:
        """Take the received frames."""
        while self.reads:
            try:
                data = self.socket.recv(1 << 20)
            except (BlockingIOError, ConnectionResetError):
                break
            if not data:
                break
            self._rest += data
        if not self.upgraded and b"\r\n\r\n" in self._rest:
            self.upgraded = True
            self._rest = self._rest.partition(b"\r\n\r\n")[2]
        if self.upgraded:
            self._take_frames()

    def _take_frames(self) -> None:
        end = 0
        while len(self._rest) - end >= 10 or (len(self._rest) - end >= 2 and self._rest[end + 1] < 126):
            length, header = self._rest[end + 1], 2
            if length >= 126:
                header = 4 if length == 126 else 10
                length = int.from_bytes(self._rest[end + 2 : end + header], "big")
            if len(self._rest) - end < header + length:
                break
            end += header + length
        for opcode, payload in frames_in(self._rest[:end]):
            if opcode == CLOSE:
                self.close_code = struct.unpack("!H", payload[:2])[0]
            elif opcode == TEXT:
                self.messages.append(json.loads(payload))
        self._rest = self._rest[end:]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] in kinds]

    @property
    def seq(self) -> int:
        """The last seq that the client has seen."""
        return cast(int, max((message.get("seq", 0) for message in self.messages), default=0))


class LargeRoomTest(TestCase):
    fast = True

    if FairReactor is None:
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.reactor = FairReactor()
        self.patch(cast(Any, txaio).config, "loop", self.reactor)
        self.server = Server(
            self.reactor,
            rules=rule_settings(members_per_room=MEMBERS + 1, members_per_address=0),
            protocol=protocol_settings(
                fast_path=self.fast, send_queue=send_queue_limits(output_bytes=64 << 20, output_stall=600.0)
            ),
        )
        self.server.factory.websockets = self.reactor.websockets
        self.server.start()
        self.port = self.reactor.listenTCP(0, cast(Factory, self.server.site), backlog=MEMBERS, interface="127.0.0.1")
        self.port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        self.viewers: list[Viewer] = []
        self.count = 0

    def tearDown(self) -> None:
        self.port.stopListening()
        for protocol in list(self.server.factory._protocols):
            protocol.abort()
        self.run_until(lambda: not len(self.server.factory))
        for viewer in self.viewers:
            viewer.socket.close()
        self.server.stop()
        for call in self.reactor.getDelayedCalls():
            call.cancel()
        self.reactor._poller.close()

    def run_until(self, condition: Callable[[], Any]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), until, "it never came")
            self.reactor.iterate(0.01)
            for viewer in self.viewers:
                viewer.read()

    def join(self, count: int) -> list[Viewer]:
        """Return clients that have joined at the same time, the first one as host."""
        new = [Viewer(f"user {self.count + i}", self.port.getHost().port) for i in range(count)]
        self.count += count
        self.viewers += new
        self.run_until(lambda: all(viewer.upgraded for viewer in new))
        for viewer in new:
            viewer.say("JOIN", roomId="room", userId=viewer.user, username=viewer.user.title(), keepsToken=True, id=1)
        self.run_until(lambda: all(viewer.of("ACK") for viewer in new))
        return new

    def fill_room(self) -> None:
        self.join(1)
        self.join(MEMBERS - 1)

    def catch_up(self, *without: Viewer) -> None:
        """Run until all have seen the room's last message."""
        live = self.server.rooms.open.get("room")
        assert live is not None
        viewers = [viewer for viewer in self.viewers if viewer not in without]
        self.run_until(lambda: all(viewer.seq >= live.room.prev for viewer in viewers))

    def check_history(self, viewer: Viewer) -> None:
        """Check that a client has received each message once, in order, and its state before the later ones."""
        states = viewer.of("ROOM_STATE")
        self.assertEqual(len(states), 1)
        state = states[0]
        before = viewer.messages[: viewer.messages.index(state)]
        self.assertEqual([message for message in before if "seq" in message], [])
        self.assertIn(viewer.user, [user["userId"] for user in state["users"]])
        members = {user["userId"] for user in state["users"]}
        seq, part = state["prev"], None
        for message in viewer.messages:
            if "prev" not in message or message["type"] == "ROOM_STATE":
                continue
            if message["seq"] == seq:
                assert part is not None
                self.assertEqual(message["part"][0], part + 1)
            else:
                self.assertEqual(message["prev"], seq, f"{viewer.user} lacks a message before {message}")
                self.assertGreater(message["seq"], state["seq"])
            seq, part = message["seq"], message.get("part", [None])[0]
            if message["type"] == "USER_JOINED":
                self.assertNotIn(message["userId"], members)
                members.add(message["userId"])
            elif message["type"] == "USER_LEFT":
                members.discard(message["userId"])
        live = self.server.rooms.open.get("room")
        assert live is not None
        if seq == live.room.prev:
            self.assertEqual(members, set(live.room.members))

    def test_everything_in_order(self) -> None:
        self.fill_room()
        host = self.viewers[0]
        host.say("URL_CHANGE", url=TITLE, id=2)
        for number, viewer in enumerate(self.viewers[1:20]):
            viewer.say("CHAT", text=f"line {number}", id=7)
            if number == 10:
                host.say("PLAY_PAUSE", control="play", currentTime=5.0, id=3)
        self.viewers[30].say("LEAVE", id=2)
        self.viewers[31].say("UPDATE_USERNAME", username="New", id=2)
        self.run_until(lambda: all(len(viewer.of("ACK")) == 2 for viewer in self.viewers[1:20]))
        left = self.viewers[30]
        self.catch_up(left)
        for viewer in self.viewers:
            if viewer is not left:
                self.check_history(viewer)
                self.assertEqual(len(viewer.of("CHAT")), 19)
                self.assertEqual([message["currentTime"] for message in viewer.of("PLAY_PAUSE")], [5.0])
        for viewer in self.viewers[1:20]:
            # The member's own line comes before the ACK.
            own = [
                message["type"]
                for message in viewer.messages
                if message.get("userId") == viewer.user or message.get("id") == 7
            ]
            self.assertEqual(own[-2:], ["CHAT", "ACK"])

    def test_a_client_that_does_not_read(self) -> None:
        self.fill_room()
        slow = self.viewers[40]
        slow.reads = False
        session = next(
            protocol.connection.session
            for protocol in self.server.factory._protocols
            if protocol.connection is not None and protocol.connection.session.user == slow.user
        )
        said = 0
        while not session.lagging:
            for _ in range(20):
                self.viewers[50].say("CHAT", text="x" * 1500)
            said += 20
            self.run_until(lambda count=said: len(self.viewers[0].of("CHAT")) == count)
        for number in range(5):
            self.viewers[60].say("CHAT", text=str(number))
        self.run_until(lambda: len(self.viewers[0].of("CHAT")) == said + 5)
        self.catch_up(slow)
        slow.reads = True
        self.catch_up()
        for viewer in self.viewers:
            self.check_history(viewer)
            self.assertEqual(len(viewer.of("CHAT")), said + 5)

    def test_a_connection_that_is_lost_meanwhile(self) -> None:
        self.fill_room()
        lost = self.viewers[20]
        for viewer in self.viewers[1:10]:
            viewer.say("CHAT", text="before")
        lost.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lost.socket.close()
        self.viewers.remove(lost)
        for viewer in self.viewers[1:10]:
            viewer.say("CHAT", text="after")
        self.run_until(lambda: all(len(viewer.of("CHAT")) == 18 for viewer in self.viewers))
        self.run_until(lambda: len(self.server.factory) == MEMBERS - 1)
        self.join(1)
        self.catch_up()
        for viewer in self.viewers:
            self.check_history(viewer)

    def test_a_stop_writes_what_is_gathered(self) -> None:
        self.fill_room()
        count = len(self.server.journal)
        for viewer in self.viewers[1:10]:
            viewer.say("CHAT", text="last words")
        self.run_until(lambda: len(self.server.journal) == count + 9)
        self.server.factory.drain(0.0, PATIENCE_SECONDS)
        self.run_until(lambda: all(viewer.close_code for viewer in self.viewers))
        for viewer in self.viewers:
            self.check_history(viewer)
            self.assertEqual(len(viewer.of("CHAT")), 9)
            self.assertEqual((viewer.messages[-1]["type"], viewer.close_code), ("SERVER_RESTART", 1012))


class PlainLargeRoomTest(LargeRoomTest):
    """The same without the fast path."""

    fast = False
