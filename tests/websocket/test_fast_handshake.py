"""The opening handshake: the fast path answers as Autobahn would have answered."""

from __future__ import annotations

from typing import Any, cast

import txaio
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource

from tandemd.metrics import LabeledCounter
from tandemd.ratelimit.metrics import LimitMetrics
from tandemd.web import Addresses, ConnectionLimiter, ConnectionLimits, FastUpgrade, TandemSite
from tandemd.web.cors import Cors
from tandemd.web.router import NotFound, Root
from tandemd.websocket import autobahn_private
from tandemd.websocket.factory import TandemFactory
from tandemd.websocket.fast_handshake import parse_standard_handshake, response
from tandemd.websocket.protocol import TandemProtocol
from tests.support.settings import protocol_settings

from ..support.fake_node import frame

TEXT = 1
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = {
    "Host": "localhost:4001",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
BROWSER = {
    **HEADERS,
    "Connection": "keep-alive, Upgrade",
    "Origin": "chrome-extension://abcdefgh",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    "User-Agent": "Mozilla/5.0",
}


def request(headers: dict[str, str], line: str = "GET /ws HTTP/1.1") -> bytes:
    return "".join([f"{line}\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"]).encode()


class Heard:
    """Stands for a Connection."""

    def __init__(self) -> None:
        self.session = self
        self.address = ""
        self.count = 0
        self.texts: list[bytes] = []
        self.joining = False

    def received(self, text: bytes) -> None:
        self.texts.append(text)

    def control_frame_received(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def check_relays(self, *, alive: bool) -> bool:
        return False

    def closed(self) -> None:
        pass


class Doorstep:
    """A protocol that was sent a handshake. answer: its bytes. texts: the messages it heard."""

    def __init__(self, data: bytes, fast: bool):
        heard = Heard()
        clock = MemoryReactorClock()
        connect = cast(Any, lambda protocol: heard)
        settings = protocol_settings(fast_path=fast)
        factory = TandemFactory(
            clock, settings, connect, lambda address, code, opened: None, LabeledCounter("dropped", "", "reason")
        )
        self.protocol = cast(TandemProtocol, factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1)))
        transport = FakeTransport(self.protocol, isServer=True)
        cast(Any, self.protocol).makeConnection(transport)
        self.protocol.dataReceived(data)
        self.answer = transport.getOutBuffer() or b""
        self.texts = heard.texts
        self.open = self.protocol.state == autobahn_private.OPEN
        self.timers = len(clock.getDelayedCalls())
        transport.reportDisconnect()


class HandshakeTest(TestCase):
    def setUp(self) -> None:
        self.patch(cast(Any, txaio).config, "loop", MemoryReactorClock())

    def both(self, data: bytes) -> Doorstep:
        """Return the results of the data; they have to be the same on both paths."""
        doors = [Doorstep(data, fast) for fast in (True, False)]
        for seen in ("answer", "texts", "open", "timers"):
            self.assertEqual(getattr(doors[0], seen), getattr(doors[1], seen), (seen, data))
        return doors[0]

    def test_usual(self) -> None:
        for headers in (HEADERS, BROWSER, {**HEADERS, "Origin": "null"}, {**HEADERS, "Host": "[::1]:80"}):
            self.assertIsNotNone(parse_standard_handshake(request(headers)), headers)
            self.assertTrue(self.both(request(headers)).open)

    def test_answer_of_the_standard(self) -> None:
        """The example of RFC 6455, section 1.3."""
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", response(KEY, "tandemd"))

    def test_messages_right_behind_it(self) -> None:
        self.assertEqual(self.both(request(HEADERS) + frame(TEXT, b"a") + frame(TEXT, b"b")).texts, [b"a", b"b"])

    def test_left_to_autobahn(self) -> None:
        for name, value in (
            ("Host", "a,b"), ("Host", "localhost:port"), ("Upgrade", "h2c"), ("Connection", "close"),
            ("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Version", "13,8"), ("Sec-WebSocket-Key", "short"),
            ("Sec-WebSocket-Key", KEY[:-2] + "=a"), ("Origin", "nonsense"), ("Sec-WebSocket-Protocol", "chat"),
            ("Sec-WebSocket-Extensions", "=;,"),
        ):  # fmt: skip
            data = request({**HEADERS, name: value})
            self.assertIsNone(parse_standard_handshake(data), (name, value))
            self.both(data)
        for line in ("POST /ws HTTP/1.1", "GET /ws HTTP/1.0", "GET /ws#here HTTP/1.1", "GET  HTTP/1.1"):
            self.assertIsNone(parse_standard_handshake(request(HEADERS, line)), line)
            self.assertFalse(self.both(request(HEADERS, line)).open, line)
        for name, value in HEADERS.items():
            data = request({key: kept for key, kept in HEADERS.items() if key != name})
            self.assertIsNone(parse_standard_handshake(data), name)
            self.assertFalse(self.both(data).open, name)
            twice = request(HEADERS)[:-2] + f"{name}: {value}\r\n\r\n".encode()
            self.assertIsNone(parse_standard_handshake(twice), name)
            self.both(twice)

    def test_what_http_does_not_allow(self) -> None:
        """It took the short way, past Twisted, which answers 400; so did requests that a server in front reads differently."""
        for line in (
            "X: a\r\n b", " X: a", "X : a", "Origin : https://evil.example", "X\t: a", "X\x01: a", "X: a\0b", "X: a\rb",
            "X: a\nOrigin: b", ": a", "X", "(X): a", "Content-Length: 0", "Content-Length: x", "Transfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3", "Expect: 100-continue", "X: a\x7f", "X: " + "a" * 20_000,
            "\r\n".join(f"X-{number}: a" for number in range(600)),
        ):  # fmt: skip
            data = request(HEADERS)[:-2] + f"{line}\r\n\r\n".encode()
            self.assertIsNone(parse_standard_handshake(data), line[:60])
        self.assertIsNotNone(parse_standard_handshake(request(HEADERS)[:-2] + b"X:\ta b\t\r\nY:\r\n\r\n"))

    @given(
        st.dictionaries(
            st.sampled_from([*BROWSER, "X-Forwarded-For", "Sec-WebSocket-Protocol", "Cookie"]),
            st.one_of(
                st.none(),
                st.sampled_from([*BROWSER.values(), "a, b", "WebSocket", "upgrade , x", "http://a:b@c/", "https://ä"]),
                st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30),
            ),
            max_size=4,
        )
    )
    def test_alike(self, changes: dict[str, str | None]) -> None:
        merged = {**BROWSER, **changes}
        self.both(request({name: value for name, value in merged.items() if value is not None}))

    def test_same_state_afterwards(self) -> None:
        """All that Autobahn has noted after its handshake, and goes by later, is noted after ours."""
        fast, plain = (vars(Doorstep(request(BROWSER), fast).protocol) for fast in (True, False))
        ignored = {
            *autobahn_private.HANDSHAKE_ATTRIBUTES,
            *TandemProtocol.CONFIG_ATTRS,
            "_wskey",
            "websocket_origin",
            "peer",
        }
        ignored |= {
            "_transport_details",
            "factory",
            "transport",
            "is_open",
            "is_closed",
            "trafficStats",
            "utf8validator",
            # Those of PlainProtocol.
            "_aborted",
            "_end",
            "_waiting",
        }
        for name in sorted(set(plain) - ignored):
            if isinstance(plain[name], int | str | bytes | list | tuple | None):
                self.assertEqual(fast.get(name, getattr(TandemProtocol, name, "missing")), plain[name], name)


class Longer(Resource):
    """Stands for Autobahn's resource: other handshakes come here."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"the long way"


class ShortcutTest(TestCase):
    """Some handshakes become WebSockets without an HTTP request, and none evades the connection limits by it."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.patch(cast(Any, txaio).config, "loop", self.clock)
        self.heard = Heard()
        connect = cast(Any, lambda protocol: self.heard)
        self.counted: list[bool] = []
        factory = TandemFactory(
            self.clock,
            protocol_settings(),
            connect,
            lambda address, code, opened: self.counted.append(opened),
            LabeledCounter("dropped", "", "reason"),
        )
        self.limited = LimitMetrics().rate_limited
        door = ConnectionLimiter(self.clock, ConnectionLimits(connections_per_minute=2), self.limited)
        cors = Cors(["https://www.netflix.com"])
        root = Root(Longer(), {}, NotFound(), cors, lambda: True, Addresses(), door)
        self.site = TandemSite(root, self.clock, shortcut=FastUpgrade(factory, root.refusal))

    def answer(self, *chunks: bytes) -> bytes:
        channel: Any = self.site.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
        transport = FakeTransport(channel, isServer=True, peerAddress=IPv4Address("TCP", "10.0.0.1", 1))
        channel.makeConnection(transport)
        for chunk in chunks:
            transport.bufferReceived(chunk)
        self.addCleanup(transport.reportDisconnect)
        return transport.getOutBuffer() or b""

    def test_taken(self) -> None:
        for line in ("GET /ws HTTP/1.1", "GET /?a=b HTTP/1.1"):
            answered = self.answer(request(HEADERS, line) + frame(TEXT, b"a"), frame(TEXT, b"b"))
            self.assertTrue(answered.startswith(b"HTTP/1.1 101"), line)
        self.assertEqual((self.heard.texts, self.counted), ([b"a", b"b"] * 2, [True] * 2))
        # Nothing of HTTP is left that would end the connections some time.
        self.clock.advance(3600)
        self.assertEqual(self.counted, [True] * 2)

    def test_not_taken(self) -> None:
        whole = request(HEADERS)
        for chunks in (
            [request(HEADERS, "GET /wsx HTTP/1.1")],
            [request(HEADERS, "GET /ws/ HTTP/1.1")],
            [request(HEADERS, f"GET /ws?{'a' * 5000} HTTP/1.1")],
        ):
            self.assertTrue(self.answer(*chunks).startswith(b"HTTP/1.1 4"), chunks)
        self.assertIn(b"the long way", self.answer(whole[:50], whole[50:]))
        self.assertIn(b"the long way", self.answer(request({**HEADERS, "Upgrade": "websocket, h2c"})))

    def test_door(self) -> None:
        """It is asked once for each handshake, and its answer is that of the long way."""
        for _ in range(2):
            self.assertTrue(self.answer(request(HEADERS)).startswith(b"HTTP/1.1 101"))
        refused = self.answer(request(HEADERS))
        self.assertTrue(refused.startswith(b"HTTP/1.1 429"), refused)
        self.assertIn(b"Retry-After", refused)
        self.assertEqual(self.limited["connection_rate"], 1)

    def test_origin(self) -> None:
        self.assertTrue(self.answer(request({**HEADERS, "Origin": "https://evil.example"})).startswith(b"HTTP/1.1 403"))
        welcome = request({**HEADERS, "Origin": "https://www.netflix.com"})
        self.assertTrue(self.answer(welcome).startswith(b"HTTP/1.1 101"))
