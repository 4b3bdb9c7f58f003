"""The fast path: its assumptions about Autobahn and Twisted, and its equality with the plain one for clients.

Bytes to a client are tested on real sockets, which are read and written when a test says so.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, cast

import txaio
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import ssl, tcp
from twisted.internet.address import IPv4Address
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport
from twisted.trial.unittest import TestCase

from tandemd.messages.framing import text_frame
from tandemd.metrics import LabeledCounter
from tandemd.websocket import autobahn_private
from tandemd.websocket.autobahn_private import OpenedServerProtocol, ServerProtocol
from tandemd.websocket.factory import TandemFactory
from tandemd.websocket.fast_path import FastProtocol
from tandemd.websocket.protocol import PlainProtocol, TandemProtocol
from tests.support.settings import protocol_settings

from ..support.fake_node import Client, Link, ServiceTestCase, frame
from ..support.socket_connection import REQUEST, SocketTestCase, TlsSocketTestCase, certificate
from . import test_protocol

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PLAIN = protocol_settings(fast_path=False)
LIMIT = 200
"""The longest message in the tests of reading, so that some are too long."""


class PlainMessageTest(test_protocol.MessageTest):
    """The same without the fast path."""

    options = {"protocol": PLAIN}


class PlainFrameTest(test_protocol.FrameTest):
    """The same without the fast path, which alone limits the frames that are read after a close frame."""

    options = {"protocol": PLAIN}

    def test_who_is_thrown_out_is_not_read_for_long(self) -> None:
        """Autobahn reads on, and finds the close frame of the client."""
        end = frame(CLOSE, struct.pack("!H", 1003))
        self.ann.raw(frame(BINARY, b"") + frame(PING, b"p") * 500 + end)
        self.world.settle()
        self.assertEqual((self.ann.closed, self.ann.code, self.bob.told()), (True, 1003, []))


class PlainHandshakeTest(test_protocol.HandshakeTest):
    """The same without the fast path."""

    options = {"protocol": PLAIN}


# ---- reading


class Heard:
    """Stands for a Connection: notes the texts. until: closes the connection after so many messages."""

    def __init__(self, protocol: TandemProtocol, until: int):
        self.session = self
        self.address = ""
        self.count = 0
        self.texts: list[bytes] = []
        self.ended = 0
        self.quality = ""
        self.joining = False
        self._protocol = protocol
        self._until = until

    def received(self, text: bytes) -> None:
        self.texts.append(text)
        if len(self.texts) == self._until:
            self._protocol.session_transport.close(1008, "enough")

    def flush(self) -> None:
        pass

    def check_relays(self, *, alive: bool) -> bool:
        return False

    def control_frame_received(self) -> None:
        pass

    def message_too_long(self, frame_bytes: int) -> None:
        pass

    def closed(self) -> None:
        self.ended += 1


class Reader:
    """A connected protocol, and the results of its input."""

    def __init__(self, fast: bool, until: int = 0, request: bytes = REQUEST, limit: int = LIMIT):
        self.clock = MemoryReactorClock()
        self.heard: Heard | None = None

        def connect(protocol: TandemProtocol) -> Any:
            self.heard = Heard(protocol, until)
            return self.heard

        settings = protocol_settings(frame_bytes=limit, fast_path=fast)
        self.factory = TandemFactory(
            self.clock, settings, connect, lambda address, code, opened: None, LabeledCounter("dropped", "", "reason")
        )
        self.protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
        self.transport = FakeTransport(self.protocol, isServer=True)
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(request)
        self.transport.getOutBuffer()

    def feed(self, *chunks: bytes) -> tuple[list[bytes], bytes, bool, bool]:
        """Return its messages, its output, whether it is open, and whether it gave the connection up."""
        for chunk in chunks:
            if not self.transport.disconnecting:
                self.protocol.dataReceived(chunk)
            self.clock.advance(0)
        assert self.heard is not None
        written = self.transport.getOutBuffer() or b""
        return (
            self.heard.texts,
            written,
            self.protocol.state == autobahn_private.OPEN,
            bool(self.transport.disconnecting),
        )

    def end(self) -> None:
        self.transport.reportDisconnect()


class ReadingTestCase(TestCase):
    def setUp(self) -> None:
        self.patch(cast(Any, txaio).config, "loop", MemoryReactorClock())

    def both(self, chunks: list[bytes], until: int = 0) -> tuple[list[bytes], bytes, bool, bool]:
        """Return the results of chunks; they have to be the same on both paths."""
        results = []
        for fast in (True, False):
            reader = Reader(fast, until)
            results.append(reader.feed(*chunks))
            reader.end()
            assert reader.heard is not None
            self.assertEqual(reader.heard.ended, 1)
        self.assertEqual(results[0], results[1])
        return results[0]


class ReadingTest(ReadingTestCase):
    CASES = {
        "one": (frame(TEXT, b"a"), [b"a"], None),
        "none": (frame(TEXT, b""), [b""], None),
        "several": (frame(TEXT, b"a") + frame(TEXT, b"b" * 130) + frame(TEXT, b"c"), [b"a", b"b" * 130, b"c"], None),
        "as long as allowed": (frame(TEXT, b"x" * LIMIT), [b"x" * LIMIT], None),
        "fragments": (frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b"), [b"ab"], None),
        "a text after fragments": (
            frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"") + frame(TEXT, b"b"),
            [b"a", b"b"],
            None,
        ),
        "a control frame between fragments": (
            frame(TEXT, b"a", fin=False) + frame(PING, b"?") + frame(CONTINUATION, b"b") + frame(TEXT, b"c"),
            [b"ab", b"c"],
            None,
        ),
        "control frames between texts": (
            frame(TEXT, b"a") + frame(PING, b"?") + frame(PONG, b"") + frame(TEXT, b"b"),
            [b"a", b"b"],
            None,
        ),
        "a character in two fragments": (
            frame(TEXT, "é".encode()[:1], fin=False) + frame(CONTINUATION, "é".encode()[1:]),
            ["é".encode()],
            None,
        ),
        "a text within a fragmented message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), [], 1002),
        "a close between texts": (
            frame(TEXT, b"a") + frame(CLOSE, struct.pack("!H", 1000)) + frame(TEXT, b"b"),
            [b"a"],
            1000,
        ),
        "invalid UTF-8": (frame(TEXT, b"a") + frame(TEXT, b"\xff") + frame(TEXT, b"b"), [b"a"], 1007),
        "too long": (frame(TEXT, b"a") + frame(TEXT, b"x" * (LIMIT + 1)), [b"a"], 1009),
        "not masked": (frame(TEXT, b"a") + frame(TEXT, b"b", masked=False) + frame(TEXT, b"c"), [b"a"], 1002),
        "a length longer than needed": (b"\x81\xfe\x00\x05\0\0\0\0hello" + frame(TEXT, b"c"), [], 1002),
        "a much longer length": (b"\x81\xff" + bytes(7) + b"\x05\0\0\0\0hello" + frame(TEXT, b"c"), [], 1002),
        "reserved bits": (b"\xc1" + frame(TEXT, b"a")[1:] + frame(TEXT, b"c"), [], 1002),
        "a reserved type": (frame(TEXT, b"a") + frame(3, b"") + frame(TEXT, b"c"), [b"a"], 1002),
        "binary": (frame(TEXT, b"a") + frame(BINARY, b"b") + frame(TEXT, b"c"), [b"a"], 1003),
    }

    def test_in_one_piece(self) -> None:
        for name, (data, texts, code) in self.CASES.items():
            heard, written, is_open, _ = self.both([data])
            self.assertEqual((heard, is_open), (texts, code is None), name)
            if code is not None:
                self.assertEqual(written[2:4], struct.pack("!H", code), name)

    def test_cut_at_every_byte(self) -> None:
        for name, (data, texts, _) in self.CASES.items():
            for at in range(1, len(data)):
                self.assertEqual(self.both([data[:at], data[at:]])[0], texts, (name, at))

    def test_byte_by_byte(self) -> None:
        for name, (data, texts, _) in self.CASES.items():
            self.assertEqual(self.both([data[at : at + 1] for at in range(len(data))])[0], texts, name)

    def test_closed_by_a_message(self) -> None:
        """Bytes after the message that led to the close are not heard, in the same chunk or later."""
        chunk = frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c")
        heard, _, is_open, _ = self.both([chunk, frame(TEXT, b"d")], until=2)
        self.assertEqual((heard, is_open), ([b"a", b"b"], False))

    def test_text_right_behind_the_handshake(self) -> None:
        for fast in (True, False):
            reader = Reader(fast, request=REQUEST + frame(TEXT, b"early"))
            self.assertEqual(reader.feed(frame(TEXT, b"late"))[0], [b"early", b"late"])
            reader.end()


def frames() -> st.SearchStrategy[bytes]:
    """Frames of all kinds, mostly plain texts."""
    text = st.text(max_size=40).map(str.encode)
    plain = st.builds(lambda payload: frame(TEXT, payload), text)
    long = st.builds(lambda size: frame(TEXT, b"x" * size), st.integers(120, LIMIT + 5))
    fragmented = st.builds(
        lambda payload, at, between: (
            frame(TEXT, payload[:at], fin=False) + between + frame(CONTINUATION, payload[at:])
        ),
        text, st.integers(0, 40), st.sampled_from([b"", frame(PING, b"p"), frame(CONTINUATION, b"", fin=False)]),
    )  # fmt: skip
    control = st.sampled_from([frame(PING, b"p"), frame(PONG, b""), frame(CLOSE, struct.pack("!H", 1001))])
    anything = st.binary(max_size=12)
    return st.one_of(plain, plain, plain, plain, long, fragmented, control, anything)


class AnyStreamTest(ReadingTestCase):
    @given(st.lists(frames(), max_size=6), st.lists(st.integers(0, 400), max_size=5))
    def test_same_on_both_paths(self, sent: list[bytes], cuts: list[int]) -> None:
        data = b"".join(sent)
        at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        chunks = [data[begin:end] for begin, end in zip(at, at[1:], strict=False) if begin != end]
        whole = self.both([data])
        self.assertEqual(self.both(chunks)[0], whole[0])


class AssumedOfAutobahnTest(ReadingTestCase):
    """If one of these fails after an upgrade, fastpath.py has to be read again before anything else."""

    def setUp(self) -> None:
        super().setUp()
        self.reader = Reader(fast=True)
        self.addCleanup(self.reader.end)
        self.protocol = self.reader.protocol

    def test_where_it_comes_from(self) -> None:
        kinds = type(self.protocol).__mro__
        self.assertEqual(kinds[1:4], (OpenedServerProtocol, TandemProtocol, ServerProtocol))
        self.assertIs(FastProtocol.dataReceived, type(self.protocol).dataReceived)
        self.assertTrue(callable(WebSocketServerProtocol._dataReceived))
        self.assertEqual(autobahn_private.OPEN, WebSocketProtocol.STATE_OPEN)

    def test_boundary(self) -> None:
        """Nothing else than these four says that Autobahn is in the middle of something."""
        self.assertTrue(autobahn_private.at_boundary(self.protocol))
        whole = frame(PING, b"ping")
        for end in range(1, len(whole)):
            reader = Reader(fast=True)
            reader.feed(whole[:end])
            self.assertFalse(autobahn_private.at_boundary(reader.protocol), end)
            reader.feed(whole[end:])
            self.assertTrue(autobahn_private.at_boundary(reader.protocol), end)
            reader.end()
        self.reader.feed(frame(TEXT, b"a", fin=False))
        self.assertFalse(autobahn_private.at_boundary(self.protocol))
        self.reader.feed(frame(CONTINUATION, b"b"))
        self.assertTrue(autobahn_private.at_boundary(self.protocol))
        self.reader.feed(frame(CLOSE, b""))
        self.assertFalse(autobahn_private.at_boundary(self.protocol))

    def test_plain_texts_do_not_get_to_autobahn(self) -> None:
        def not_expected(data: bytes) -> None:
            raise AssertionError(data)

        self.protocol._dataReceived = not_expected
        texts = self.reader.feed(frame(TEXT, b"a") + frame(TEXT, b"b"), frame(TEXT, b"c"))[0]
        self.assertEqual(texts, [b"a", b"b", b"c"])

    def test_options_are_those_of_the_factory(self) -> None:
        """Autobahn copies them into each connection; ours has them in its class, with the same values."""
        names = WebSocketServerProtocol.CONFIG_ATTRS
        self.assertIn("maxMessagePayloadSize", names)
        for name in names:
            self.assertEqual(getattr(self.protocol, name), getattr(self.reader.factory, name), name)
            self.assertNotIn(name, vars(self.protocol))

    def test_handshake_is_forgotten(self) -> None:
        for name in autobahn_private.HANDSHAKE_ATTRIBUTES:
            self.assertFalse(vars(self.protocol).get(name), name)
        plain = Reader(fast=False)
        self.addCleanup(plain.end)
        kept = [name for name in autobahn_private.HANDSHAKE_ATTRIBUTES if vars(plain.protocol).get(name)]
        self.assertIn("http_headers", kept)
        self.assertIn("http_request_data", kept)
        # Only ever asked for its length, and appended to by functions that are never called here.
        self.assertEqual((vars(self.protocol)["send_queue"], len(vars(plain.protocol)["send_queue"])), ((), 0))


# ---- the escape hatch


class EscapeHatchTest(TestCase):
    """`fast_path: false` leaves reading and writing to Autobahn and Twisted."""

    def test_no_method_of_autobahn_is_replaced(self) -> None:
        """Of Autobahn's methods, only its callbacks and six hooks are overridden."""
        callbacks = {"onConnect", "onOpen", "onMessage", "onPing", "onPong", "onClose"}
        hooks = {"sendCloseFrame", "sendData", "onMessageFrameBegin", "onCloseFrame", "failHandshake", "connectionLost"}
        own = [kind for kind in PlainProtocol.__mro__ if kind.__module__.startswith("tandemd.")]
        self.assertEqual(own, [PlainProtocol, TandemProtocol, ServerProtocol])
        replaced = {name for kind in own for name in vars(kind) if hasattr(WebSocketServerProtocol, name)}
        self.assertEqual({name for name in replaced if not name.startswith("__")}, callbacks | hooks)

    def test_protocol_of_the_setting(self) -> None:
        for fast, kind in ((True, FastProtocol), (False, PlainProtocol)):
            factory = TandemFactory(
                MemoryReactorClock(),
                protocol_settings(fast_path=fast),
                cast(Any, None),
                lambda address, code, opened: None,
                LabeledCounter("dropped", "", "reason"),
            )
            self.assertIs(type(factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))), kind)


class PlainTransportTest(SocketTestCase):
    fast = False

    def test_every_byte_goes_through_the_transport(self) -> None:
        """The session has no way around Twisted's transport, before and after it was written to."""
        for text in (b"a", b"b"):
            self.session.send(text_frame(text))
            self.clock.advance(0)
            self.assertIsNone(self.session.raw_send)
            self.assertIn(self.transport, self.clock.writers)
            self.pump()
        self.assertEqual(self.received(), text_frame(b"a") + text_frame(b"b"))

    def test_messages_behind_a_join_wait(self) -> None:
        """They are processed in their order after it, and reading goes on."""
        heard: list[bytes] = []
        connection = self.protocol.connection
        self.patch(type(connection), "received", lambda connection, text: heard.append(text))
        connection.joining = True
        self.client.sendall(b"".join(frame(TEXT, b"%d" % number) for number in range(20)))
        self.read()
        self.assertEqual((heard, self.transport in self.clock.readers), ([], False))
        self.session.settled()
        self.clock.advance(0)
        self.assertEqual(
            (heard, self.transport in self.clock.readers), ([b"%d" % number for number in range(20)], True)
        )


# ---- writing


class DelayTest(SocketTestCase):
    """The kernel holds nothing back (Nagle's algorithm): on a phone's network it would be a round trip."""

    def test_no_delay(self) -> None:
        self.assertTrue(self.transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


class PlainDelayTest(DelayTest):
    """The same without the fast path."""

    fast = False


class TlsDelayTest(TlsSocketTestCase, DelayTest):
    """The same with TLS between, with the parts of the handshake that the fast path takes."""


class HandshakeAnswerTest(SocketTestCase):
    """The answer to the handshake does not wait for an iteration of the reactor."""

    waits: bool | None = None

    def pump(self) -> Any:
        if self.waits is None:
            self.waits = self.transport in self.clock.writers
        return super().pump()

    def test_written_at_once(self) -> None:
        self.assertIs(self.waits, False)


class WritingTest(SocketTestCase):
    def test_order_when_the_socket_is_full(self) -> None:
        """The rest waits, and everything later waits behind it."""
        frames = self.fill()
        for i in range(20):
            frames.append(text_frame(b"later %d" % i))
            self.session.send(frames[-1])
            self.clock.advance(0)
        self.assertIn(self.transport, self.clock.writers)
        self.pump()
        # As soon as the socket has room, a direct write would overtake waiting bytes.
        got = self.received()
        frames.append(text_frame(b"last"))
        self.session.send(frames[-1])
        self.clock.advance(0)
        self.assertEqual(got + self.drained(), b"".join(frames))

    def test_straight_again_after_the_queue_is_empty(self) -> None:
        self.fill()
        self.drained()
        self.session.send(text_frame(b"again"))
        self.clock.advance(0)
        if not self.fast:
            self.pump()
        self.assertNotIn(self.transport, self.clock.writers)
        self.assertEqual(self.received(), text_frame(b"again"))

    def test_reading_goes_on_while_the_socket_is_full(self) -> None:
        frames = self.fill()
        self.say(frame(TEXT, b'{"type":"PING"}'))
        answer = self.drained()[len(b"".join(frames)) :]
        self.assertIn(b'"PONG"', answer)

    def test_closing_while_something_waits(self) -> None:
        """The close frame comes after everything that was sent before it, nothing after it, and then the end."""
        frames = self.fill()
        self.session.send(text_frame(b"goodbye"))
        self.session.close(1012, "restart")
        self.session.send(text_frame(b"too late"))
        self.clock.advance(0)
        close = b"\x88\x09" + struct.pack("!H", 1012) + b"restart"
        self.assertEqual(self.drained(), b"".join(frames) + text_frame(b"goodbye") + close)
        self.say(frame(CLOSE, struct.pack("!H", 1012)))
        self.lost = bool(self.transport.disconnected)
        self.assertTrue(self.lost and self.session.gone)

    def test_nothing_is_written_after_the_end(self) -> None:
        self.lost = True
        protocol = self.protocol
        self.transport.connectionLost(Failure(CONNECTION_DONE))
        protocol.session_transport.write(text_frame(b"x"))
        self.session.send(text_frame(b"y"))
        self.clock.advance(0)
        self.assertEqual(self.received(), b"")
        self.assertNotIn(self.transport, self.clock.writers)

    def test_broken_connection(self) -> None:
        """Twisted finds out, as it does without us, and ends the connection once."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()
        for text in (b"first", b"second"):
            self.session.send(text_frame(text))
            self.clock.advance(0)
        self.assertIn(self.transport, self.clock.writers)
        reason = self.transport.doWrite()
        self.assertIsInstance(reason, Exception)
        self.lost = True
        self.transport.connectionLost(Failure(reason))
        self.assertTrue(self.session.gone)

    def test_after_the_transport_was_told_to_close(self) -> None:
        self.fill()
        self.transport.loseConnection()
        self.protocol.session_transport.write(text_frame(b"x"))
        # Twisted still takes it, behind the rest.
        self.assertTrue(self.drained().endswith(text_frame(b"x")))


class PlainWritingTest(WritingTest):
    """The same without the fast path."""

    fast = False


class AssumedOfTwistedTest(SocketTestCase):
    """Beside the tests of writing: the attributes of a transport that the fast path reads exist and mean the same."""

    def test_written_at_once(self) -> None:
        """In the same turn, without asking the reactor."""
        self.session.send(text_frame(b"x"))
        self.clock.advance(0)
        self.assertNotIn(self.transport, self.clock.writers)
        self.assertEqual(self.received(), text_frame(b"x"))

    def test_state_of_an_idle_connection(self) -> None:
        self.assertIs(type(self.transport), tcp.Server)
        self.assertEqual((self.transport.dataBuffer, self.transport._tempDataBuffer), (b"", []))
        self.assertTrue(self.transport.connected)
        self.assertIs(self.transport.producer, self.protocol.session_transport.queue)

    def test_what_waits_is_in_one_of_two_buffers(self) -> None:
        self.transport.write(b"abc")
        self.assertEqual((self.transport.dataBuffer, self.transport._tempDataBuffer), (b"", [b"abc"]))
        self.drained()
        self.fill()
        self.pump()
        self.assertTrue(self.transport.dataBuffer)
        self.drained()
        self.assertEqual((self.transport.dataBuffer, self.transport._tempDataBuffer), (b"", []))

    def test_half_closed(self) -> None:
        """After our half was closed, nothing goes to the socket."""
        self.transport.loseWriteConnection()
        self.pump()
        self.protocol.session_transport.write(text_frame(b"x"))
        self.assertEqual(self.received(), b"")


class TlsTest(ServiceTestCase):
    """A connection below TLS has another transport: everything is written through it, never past it."""

    def test_party(self) -> None:
        address = IPv4Address("TCP", "10.0.0.9", 1)
        server = TLSMemoryBIOFactory(certificate().options(), False, self.world.server.site, self.reactor)
        wrapped: list[TLSMemoryBIOProtocol] = []

        class Linked(Link):
            """Puts TLS between the client and its end of the connection."""

            def __init__(self, protocol: Any, client: Client, address: IPv4Address):
                context = ssl.CertificateOptions(verify=False)
                factory = TLSMemoryBIOFactory(context, True, client.factory, self_reactor)
                secure = TLSMemoryBIOProtocol(factory, client)
                wrapped.append(secure)
                super().__init__(protocol, cast(Any, secure), address)

        self_reactor = self.reactor
        [bob] = self.world.party("bob")

        def begin(client: Client) -> None:
            client.link = Linked(server.buildProtocol(address), client, address)

        client = self.secure(begin)
        self.world.links.append(client.link)
        self.world.settle()
        client.say("JOIN", userId="ann", roomId="room")
        self.assertIn("ROOM_STATE", client.types())
        [protocol] = [p for p in self.world.server.factory._protocols if isinstance(p.transport, TLSMemoryBIOProtocol)]
        self.assertIsNot(type(protocol.transport), tcp.Server)
        for i in range(1, 20):
            bob.say("CHAT", text="x" * 100 * i)
        self.assertEqual([m["text"] for m in client.told("CHAT")], ["x" * 100 * i for i in range(1, 20)])
        client.leave()
        self.assertEqual(client.code, 1000)

    def secure(self, begin: Any) -> Client:
        """Return a client that is connected by `begin`."""
        factory = WebSocketClientFactory("wss://localhost/ws", reactor=self.reactor)
        factory.protocol = Client
        client = cast(Client, factory.buildProtocol(cast(Any, None)))
        client.settle = self.world.settle
        begin(client)
        return client
