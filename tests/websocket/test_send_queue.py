"""Clients that read slowly or not at all: their cost, their privileges, and their end."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any, cast

from twisted.internet import reactor as real_reactor
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data

from tandemd.app.listener import limit_kernel_send_buffer
from tandemd.messages.framing import text_frame
from tandemd.web import TandemSite
from tandemd.web.file_range import FileRange, PartSender
from tandemd.websocket.send_queue import CHUNK_BYTES
from tests.support.settings import send_queue_limits

from ..support.fake_node import TITLE, Client, frame
from ..support.socket_connection import CLOSE, PING, PONG, TEXT, SocketTestCase, TlsSocketTestCase, frames_in, tcp_pair

reactor: Any = real_reactor


class SlowClientTest(SocketTestCase):
    """Bob is on a real socket, which is read when the test says so. Ann, the host, reads at once."""

    limits = send_queue_limits(output_bytes=256 * 1024, output_stall=10.0)

    def setUp(self) -> None:
        super().setUp()
        self.ann: Client = self.world.join("ann")
        self.say_message("JOIN", userId="bob", roomId="room", username="Bob", keepsToken=True)
        states = [message for message in self.messages(self.drained()) if message["type"] == "ROOM_STATE"]
        self.state: dict[str, Any] = states[0]
        self.ann.told()

    def messages(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages in the client's bytes."""
        return [json.loads(payload) for opcode, payload in frames_in(data) if opcode == 1]

    def chat(self, text: str = "x" * 1000) -> None:
        for _ in range(10):
            self.ann.say("CHAT", text=text)
        self.world.settle()

    def fall_behind(self, chats: int = 100) -> None:
        """Have Ann talk until Bob's connection takes no more."""
        for _ in range(chats):
            self.chat()
            self.pump()
            if self.session.lagging:
                return
        self.fail("never behind")

    def wait(self, seconds: float) -> None:
        """Let time pass, in which the reactor writes as much as it can."""
        for _ in range(int(seconds)):
            self.world.advance(1)
            self.pump()

    def test_everything_in_order_when_it_reads_again(self) -> None:
        self.fall_behind()
        self.chat()
        self.chat()
        said = [message["seq"] for message in self.ann.told("CHAT")]
        got = [message["seq"] for message in self.messages(self.drained()) if message["type"] == "CHAT"]
        self.assertEqual(got, said)
        self.assertFalse(self.session.lagging)
        self.ann.say("CHAT", text="again")
        self.world.settle()
        self.assertEqual([message.get("text") for message in self.messages(self.drained())], ["again"])
        self.assertEqual(self.server.dropped, {})

    def test_too_much(self) -> None:
        """Waiting frames are dropped, a close frame follows the bytes on their way, and soon the end."""
        self.fall_behind()
        for _ in range(100):
            self.chat()
            if self.server.dropped:
                break
        self.assertEqual(self.server.dropped, {"output_bytes": 1})
        self.assertIsNone(self.protocol.session_transport.queue)
        said = [message["seq"] for message in self.ann.told("CHAT")]
        self.assertLess(len(said) * 1000, 700_000)
        *texts, (opcode, payload) = frames_in(self.drained())
        self.assertEqual((opcode, payload[:2]), (CLOSE, struct.pack("!H", 1008)))
        got = [json.loads(text)["seq"] for _, text in texts]
        self.assertEqual(got, said[: len(got)])
        self.ended()

    def test_relays_stay_out_before_it_is_too_much(self) -> None:
        """One member alone cannot have another cut off: its messages are rejected while the queue has room for all others."""
        self.ann.told()
        for at in range(300):
            self.ann.say("OFFER", to="bob", offer={"type": "offer", "sdp": "x" * 4000}, id=at)
            self.world.settle()
        refused = self.ann.told("ERROR")
        self.assertEqual(({error["code"] for error in refused}, self.server.dropped), ({"rate_limited"}, {}))
        self.assertGreater(len(refused), 10)
        said = 300 - len(refused)
        got = self.messages(self.drained())
        self.assertEqual(sum(message["type"] == "OFFER" for message in got), said)
        self.ann.say("OFFER", to="bob", offer={"type": "offer", "sdp": "again"})
        self.world.settle()
        self.assertEqual([message["type"] for message in self.messages(self.drained())], ["OFFER"])

    def test_relays_of_one_turn_stay_out_too(self) -> None:
        """Many members who send as much as they may at once do not have another cut off."""
        self.ann.told()
        group = self.world.server.rooms.open.get("room").group
        refused = 0
        for _ in range(200):
            target = group.get("bob")
            assert target is not None
            if target.congested:
                refused += 1
            else:
                target.send_relay(text_frame(b"x" * 20_000))
        self.clock.advance(0)
        self.assertGreater(refused, 100)
        self.assertEqual(self.server.dropped, {})

    def test_discarded_relays_are_kept(self) -> None:
        """The client answers the close frame, but has not received the relays that waited behind it. They are sent again."""
        self.fall_behind()
        self.ann.say("OFFER", to="bob", offer={"type": "offer", "sdp": "x"}, id=1)
        self.world.settle()
        self.assertEqual(len(self.ann.told("ACK")), 1)
        while not self.server.dropped:
            self.chat()
        found = list(frames_in(self.drained()))
        self.assertNotIn(b'"OFFER"', b"".join(payload for _, payload in found))
        self.assertEqual(found[-1][0], CLOSE)
        self.say(frame(CLOSE, found[-1][1]))
        self.world.settle()
        self.assertTrue(self.session.gone)
        seen = max(json.loads(payload).get("seq", 0) for opcode, payload in found if opcode == TEXT)
        again = self.world.join("bob", token=self.state["token"], resume={"epoch": self.state["epoch"], "seq": seen})
        self.assertEqual(len(again.told("OFFER")), 1)

    def test_nothing_for_too_long(self) -> None:
        self.fall_behind()
        self.wait(9)
        self.assertEqual(self.server.dropped, {})
        self.wait(2)
        self.assertEqual(self.server.dropped, {"output_stall": 1})
        self.ended()

    def ended(self) -> None:
        """The client does not answer the close frame; then the connection is dropped, and the member is lost."""
        self.wait(7)
        room = self.world.room()
        assert room is not None
        self.assertEqual((self.session.gone, room.members["bob"].conn), (True, ""))
        self.assertTrue(self.transport.disconnected)

    def test_slow_but_steady(self) -> None:
        """A client that takes something every few seconds may go on, however old its frames are."""
        self.fall_behind()
        for _ in range(10):
            self.chat()
        said = [message["seq"] for message in self.ann.told("CHAT")]
        data = b""
        while self.session.lagging:
            self.wait(5)
            # As much as the transport was given: then it asks for more.
            before = len(data)
            while self.session.lagging and len(data) - before < CHUNK_BYTES * 3:
                data += self.received()
                self.pump()
        data += self.drained()
        got = [message["seq"] for message in self.messages(data) if message["type"] == "CHAT"]
        self.assertEqual(got, said)
        self.assertEqual(self.server.dropped, {})

    def test_one_long_write(self) -> None:
        """It is given to the transport piece by piece."""
        long = text_frame(b"y" * self.limits.output_bytes)
        self.session.send(long)
        self.clock.advance(0)
        self.pump()
        self.assertTrue(self.session.lagging)
        self.assertEqual(self.drained(), long)
        self.assertEqual(self.server.dropped, {})

    def test_a_write_that_is_too_long(self) -> None:
        self.session.send(text_frame(b"y" * 5 * self.limits.output_bytes))
        self.clock.advance(0)
        self.assertEqual(self.server.dropped, {"output_bytes": 1})

    def test_a_stream_may_be_longer_than_what_may_wait(self) -> None:
        made = []

        def pieces() -> Iterator[bytes]:
            for number in range(40):
                made.append(number)
                yield text_frame(b"%d" % (number % 10) * 40_000)

        self.session.stream(pieces())
        self.session.send(text_frame(b"behind it"))
        self.pump()
        self.assertLess(len(made), 20)
        expected = b"".join(text_frame(b"%d" % (number % 10) * 40_000) for number in range(40)) + text_frame(
            b"behind it"
        )
        self.assertEqual(self.drained(), expected)
        self.assertEqual((len(made), self.server.dropped), (40, {}))

    def film(self) -> None:
        """Start the film, as host and clients would."""
        self.ann.say("URL_CHANGE", url=TITLE)
        self.ann.say("PLAY_PAUSE", control="play", currentTime=100.0)
        self.world.settle()

    def watch(self, seconds: float, began: float) -> None:
        """Let time pass in which Ann's player reports each second where the film is: an unwatched film stands still."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.world.advance(min(1.0, end - self.clock.seconds()))
            self.ann.say("POSITION_UPDATE", currentTime=100.0 + self.clock.seconds() - began, isPlaying=True)

    def test_heartbeats_are_left_out(self) -> None:
        """They would be old when they are read. Then comes one message that is not."""
        self.film()
        self.fall_behind()
        began = self.clock.seconds()
        self.messages(self.drained()[:0])
        self.fall_behind()
        self.watch(9, began)
        self.ann.told()
        messages = self.messages(self.drained())
        self.assertEqual({message["type"] for message in messages[:-1]} - {"CHAT", "HOST_HEARTBEAT"}, set())
        old = [m for m in messages if m["type"] == "HOST_HEARTBEAT" and m["timestamp"] > began * 1000 + 1]
        self.assertEqual(old, [])
        now = 100.0 + self.clock.seconds() - began
        last = messages[-1]
        self.assertEqual((last["type"], last["control"], last["userId"]), ("PLAY_PAUSE", "play", "server"))
        self.assertAlmostEqual(last["currentTime"], now, places=1)
        self.assertNotIn("seq", last)
        # Heartbeats go on.
        self.watch(3.5, began)
        self.assertIn("HOST_HEARTBEAT", [message["type"] for message in self.messages(self.drained())])

    def test_answers_to_sync_are_left_out_but_the_last(self) -> None:
        self.film()
        self.fall_behind()
        for _ in range(50):
            self.say_message("REQUEST_SYNC")
        self.world.advance(4)
        self.ann.told()
        messages = self.messages(self.drained())
        answers = [message for message in messages if message["type"] == "SYNC_RESPONSE"]
        self.assertEqual(answers, messages[-1:])
        self.assertEqual(answers[0]["timestamp"], int(self.clock.seconds() * 1000))

    def test_pings_are_not_answered_meanwhile(self) -> None:
        """Or their answers would be a way round the limit."""
        self.fall_behind()
        for _ in range(100):
            self.say(frame(PING, b"p" * 100))
        found = list(frames_in(self.drained()))
        self.assertEqual([payload for opcode, payload in found if opcode == PONG], [])
        self.say(frame(PING, b"now"))
        self.assertIn((PONG, b"now"), list(frames_in(self.drained())))

    def test_closed_by_us_while_it_is_behind(self) -> None:
        """Nothing is lost: the close frame comes last."""
        self.fall_behind()
        self.chat()
        said = [message["seq"] for message in self.ann.told("CHAT")]
        self.session.close(1012, "restart")
        self.ann.say("CHAT", text="too late")
        self.world.settle()
        *texts, (opcode, _) = frames_in(self.drained())
        self.assertEqual(opcode, CLOSE)
        self.assertEqual([json.loads(text)["seq"] for _, text in texts], said)

    def test_closed_by_the_client_while_it_is_behind(self) -> None:
        self.fall_behind()
        self.chat()
        self.say(frame(CLOSE, struct.pack("!H", 1000)))
        self.ann.say("CHAT", text="too late")
        self.world.settle()
        *texts, (opcode, _) = frames_in(self.drained())
        self.assertEqual(opcode, CLOSE)
        self.assertNotIn(b"too late", b"".join(text for _, text in texts))

    def test_lost_while_it_is_behind(self) -> None:
        self.fall_behind()
        self.chat()
        self.protocol.abort()
        self.world.advance(1)
        self.assertIsNone(self.protocol.session_transport.queue)
        self.assertTrue(self.session.gone)


class PlainSlowClientTest(SlowClientTest):
    """The same without the fast path."""

    fast = False


class TlsSlowClientTest(TlsSocketTestCase, SlowClientTest):
    """The same below TLS."""


class CrowdTest(SocketTestCase):
    """A room with many members, one of whom never reads."""

    limits = send_queue_limits(output_bytes=256 * 1024)

    def test_others_get_everything(self) -> None:
        others = self.world.party(*(f"user{i}" for i in range(40)))
        self.say_message("JOIN", userId="bob", roomId="room")
        for client in others:
            client.told()
        for _ in range(60):
            for speaker in others[:10]:
                speaker.say("CHAT", text="x" * 2000)
            self.world.settle()
            self.pump()
        heard = [[message["seq"] for message in client.told("CHAT")] for client in others]
        self.assertEqual(len(heard[0]), 600)
        self.assertEqual([one for one in heard if one != heard[0]], [])
        self.assertEqual(self.server.dropped, {"output_bytes": 1})
        self.assertFalse(any(client.closed for client in others))

    def test_no_copies(self) -> None:
        """Frames that wait for one slow member share the memory of those for another."""
        self.fill()
        data = text_frame(b"shared" * 1000)
        self.pump()
        self.protocol.session_transport.write(data)
        self.assertIs(self.protocol.session_transport.queue._waiting[-1].obj, data)


class UnreadAnswerTest(TestCase):
    """Unread HTTP answers: their connections end, for any answer and any way to send it."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        root = Resource()
        root.putChild(b"long", Data(b"x" * 1_000_000, "text/plain"))
        root.putChild(b"short", Data(b"x" * 60_000, "text/plain"))
        root.putChild(b"file", Sent())
        client, far = tcp_pair()
        self.client = client
        self.addCleanup(client.close)
        self.addCleanup(far.close)
        protocol = TandemSite(root, self.clock).buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.transport: Any = tcp.Server(far, protocol, ("127.0.0.1", 1), cast(Any, None), 1, cast(Any, self.clock))
        protocol.makeConnection(self.transport)

    def ask(self, *paths: str, headers: str = "") -> None:
        for path in paths:
            self.client.sendall(f"GET /{path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode())
        self.transport.doRead()

    def write(self) -> None:
        if self.transport in self.clock.writers and not self.transport.disconnected:
            self.transport.doWrite()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.write()
            self.clock.advance(1)

    def assertEnded(self) -> None:
        self.wait(35)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long(self) -> None:
        self.ask("long")
        self.assertEnded()

    def test_short(self) -> None:
        self.ask("short")
        self.assertEnded()

    def test_many(self) -> None:
        self.ask(*["short"] * 20)
        self.assertLess(len(self.transport.dataBuffer) + self.transport._tempDataLen, 200_000)
        self.assertEnded()

    def test_last_of_its_connection(self) -> None:
        """Twisted closes the connection when everything has been written, for which it would wait for ever."""
        self.ask("short", headers="Connection: close\r\n")
        self.assertEnded()

    def test_file(self) -> None:
        self.ask("file")
        self.assertEnded()
        # Unsent frames are released.
        self.assertEqual(len(cast(Any, Sent.sender)._data), 0)

    def test_file_that_is_read_slowly(self) -> None:
        """As long as something is read now and then, it may take its time."""
        self.ask("file")
        got = 0
        while got < 1_000_000 and not self.transport.disconnected:
            self.wait(5)
            enough = got + 40_000
            while got < enough and got < 1_000_000:
                self.write()
                select.select([self.client], [self.transport.socket], [], 1.0)
                with contextlib.suppress(BlockingIOError):
                    got += len(self.client.recv(100_000))
        self.assertFalse(self.transport.disconnected)
        self.transport.connectionLost(Failure(CONNECTION_DONE))


class Sent(Resource):
    """A file of a megabyte."""

    isLeaf = True
    sender: PartSender

    def render_GET(self, request: Any) -> int:
        Sent.sender = PartSender(request, FileRange(b"x" * 1_000_000, 0, 1_000_000))
        Sent.sender.start()
        return NOT_DONE_YET


class KernelTest(TestCase):
    def test_kernel_keeps_little(self) -> None:
        """Or some megabytes could be written to a client that never reads, before anything looks wrong."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        limit_kernel_send_buffer(port)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(client.close)
        taken, _ = port.socket.accept()
        self.addCleanup(taken.close)
        taken.setblocking(False)
        written = 0
        with contextlib.suppress(BlockingIOError):
            while written < 4_000_000:
                written += taken.send(b"x" * 10_000)
        self.assertLess(written, 1_500_000)

    def test_other_ports(self) -> None:
        """Some ports have no socket, and some sockets no TCP."""
        limit_kernel_send_buffer(object())
        with socket.socket(socket.AF_UNIX) as near:
            limit_kernel_send_buffer(type("Port", (), {"socket": near})())
