"""RFC 6455, case by case: a server's duties with any bytes, on the fast path and on the plain one alike.

The cases follow the chapters of the Autobahn|Testsuite: framing, pings, reserved bits, opcodes, fragmentation, UTF-8,
close, limits; the handshake has its own table. Each case is sent in one piece, byte by byte, and cut at random.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from operator import xor
from typing import Any, ClassVar, cast

import txaio
from autobahn.twisted.resource import WebSocketResource
from twisted.internet import reactor as real_reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tandemd.metrics import LabeledCounter
from tandemd.websocket.factory import TandemFactory
from tandemd.websocket.protocol import TandemProtocol
from tests.support.settings import protocol_settings

from ..support.fake_node import Server
from ..support.patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS
from ..web.test_router import Client, Reply, WebTestCase
from .test_fast_path import Reader, ReadingTestCase

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LIMIT = 64 * 1024
SEED = 6455
MASK = b"\x37\xfa\x21\x3d"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK, size: str = ""
) -> bytes:
    """Return a frame as a client would send it, or should not.

    size: "H" or "Q" to write the length in 2 or 8 bytes, though fewer would do.
    """
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    flag = 0 if mask is None else 0x80
    length = len(payload)
    size = size or ("" if length < 126 else "H" if length < 65536 else "Q")
    if size:
        head += bytes((flag | (126 if size == "H" else 127),)) + struct.pack("!" + size, length)
    else:
        head += bytes((flag | length,))
    if mask is None:
        return head + payload
    return head + mask + bytes(map(xor, payload, cycle(mask)))


def text(payload: str | bytes, **options: Any) -> bytes:
    return frame(TEXT, payload.encode() if isinstance(payload, str) else payload, **options)


def more(payload: bytes = b"", **options: Any) -> bytes:
    return frame(CONTINUATION, payload, **options)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def fragments(payload: bytes, size: int, between: bytes = b"") -> bytes:
    """Return a text message in fragments of so many bytes, with other frames between them."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    last = len(parts) - 1
    return between.join(frame(TEXT if at == 0 else CONTINUATION, p, fin=at == last) for at, p in enumerate(parts))


@dataclass
class Case:
    """Some bytes, and their results.

    texts: the messages that are heard. pongs: the payloads that are sent back. code: of the close frame that is sent, None
    if the connection stays open.
    """

    data: bytes
    texts: Sequence[bytes] = ()
    pongs: Sequence[bytes] = ()
    code: int | None = None


@dataclass
class Answer:
    """A server's output, taken apart; every frame of it has to be one that a server may send."""

    pongs: list[bytes] = field(default_factory=list)
    closes: list[bytes] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, data: bytes) -> Answer:
        answer = cls()
        while data:
            opcode, length, at = data[0] - 0x80, data[1], 2
            assert opcode in (TEXT, CLOSE, PONG) and length < 128, data[:10]
            if length >= 126:
                at = 4 if length == 126 else 10
                length = int.from_bytes(data[2:at], "big")
            payload, data = data[at : at + length], data[at + length :]
            assert len(payload) == length
            assert not answer.closes, "something was sent behind the close frame"
            {TEXT: answer.texts, CLOSE: answer.closes, PONG: answer.pongs}[opcode].append(payload)
        return answer

    @property
    def code(self) -> int | None:
        if not self.closes:
            return None
        return int.from_bytes(self.closes[0][:2], "big")


NEXT = text("next")
"""Behind a violation, to show that nothing after it is heard."""

GREEK = "κόσμε".encode()
EMOJI = "\U0001f600".encode()


def framing() -> Iterator[tuple[str, Case]]:
    for length in (0, 1, 124, 125, 126, 127, 128, 65535, 65536):
        yield f"a text of {length} bytes", Case(text(b"x" * length) + NEXT, [b"x" * length, b"next"])
    yield "a text too long by one", Case(text(b"x" * 65537) + NEXT, code=1009)
    for length in (65537, 2**31, 2**32, 2**62, 2**63 - 1):
        yield f"{length} bytes announced", Case(b"\x81\xff" + struct.pack("!Q", length) + MASK, code=1009)
    yield "a length with the highest bit", Case(b"\x81\xff" + struct.pack("!Q", 2**63) + MASK + b"x", code=1002)
    for length in (0, 1, 125):
        yield f"{length} in two bytes", Case(text(b"x" * length, size="H") + NEXT, code=1002)
    for length in (0, 125, 126, 65535):
        yield f"{length} in eight bytes", Case(text(b"x" * length, size="Q") + NEXT, code=1002)
    for opcode in (TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG):
        yield f"opcode {opcode} without a mask", Case(NEXT + frame(opcode, b"", mask=None) + NEXT, [b"next"], code=1002)
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1"):
        yield f"the mask {mask.hex()}", Case(text(GREEK, mask=mask) + NEXT, [GREEK, b"next"])
    for payload in (b"", b"x", b"\xff", b"x" * 70_000):
        code = 1009 if len(payload) > LIMIT else 1003
        yield f"{len(payload)} binary bytes", Case(NEXT + frame(BINARY, payload) + NEXT, [b"next"], code=code)
    yield (
        "a binary message in fragments",
        Case(frame(BINARY, b"a", fin=False) + frame(PING, b"p") + more(b"b") + NEXT, pongs=[b"p"], code=1003),
    )


def pings() -> Iterator[tuple[str, Case]]:
    for payload in (b"", b"hello", b"\0\xff\xfe\xfd\xfc\xfb\0\xff", b"x" * 125):
        yield f"a ping of {len(payload)} bytes", Case(frame(PING, payload) + NEXT, [b"next"], [payload])
    for opcode in (CLOSE, PING, PONG):
        for size in (126, 65536):
            yield f"opcode {opcode} of {size} bytes", Case(frame(opcode, b"x" * size) + NEXT, code=1002)
        yield f"a part of opcode {opcode}", Case(frame(opcode, b"", fin=False) + more() + NEXT, code=1002)
    yield "ten pings", Case(b"".join(frame(PING, b"%d" % n) for n in range(10)), pongs=[b"%d" % n for n in range(10)])
    yield "an unsolicited pong", Case(frame(PONG) + frame(PONG, b"x" * 125) + NEXT, [b"next"])
    yield "a ping, and the same as a pong", Case(frame(PONG, b"p") + frame(PING, b"p") + NEXT, [b"next"], [b"p"])


def reserved() -> Iterator[tuple[str, Case]]:
    for rsv in range(1, 8):
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
            data = NEXT + frame(opcode, b"", rsv=rsv) + NEXT
            yield f"reserved bits {rsv} with opcode {opcode}", Case(data, [b"next"], code=1002)
        data = text(b"a", fin=False) + more(b"b", rsv=rsv) + NEXT
        yield f"reserved bits {rsv} in a continuation", Case(data, code=1002)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"reserved opcode {opcode}", Case(NEXT + frame(opcode) + NEXT, [b"next"], code=1002)
        yield f"reserved opcode {opcode} with a payload", Case(frame(opcode, b"?") + NEXT, code=1002)
        data = text(b"a", fin=False) + frame(opcode, b"") + more(b"b")
        yield f"reserved opcode {opcode} between fragments", Case(data, code=1002)


def fragmentation() -> Iterator[tuple[str, Case]]:
    whole = b"fragment1fragment2"
    yield "two fragments", Case(fragments(whole, 9) + NEXT, [whole, b"next"])
    yield "one byte each", Case(fragments(whole, 1) + NEXT, [whole, b"next"])
    data = text(b"", fin=False) + more(b"", fin=False) + more(b"")
    yield "empty fragments", Case(data + NEXT, [b"", b"next"])
    yield "text in the middle only", Case(text(b"", fin=False) + more(b"x", fin=False) + more(), [b"x"])
    yield "a ping between", Case(fragments(whole, 9, frame(PING, b"p")) + NEXT, [whole, b"next"], [b"p"])
    pinged = fragments(whole, 1, frame(PING, b"p") + frame(PONG, b"q"))
    yield "many pings between", Case(pinged + NEXT, [whole, b"next"], [b"p"] * (len(whole) - 1))
    yield "a continuation of nothing", Case(more(b"x") + NEXT, code=1002)
    yield "a continuation of nothing, not final", Case(more(b"x", fin=False) + NEXT, code=1002)
    yield "a continuation after the end", Case(fragments(whole, 9) + more(b"x") + NEXT, [whole], code=1002)
    yield "a continuation after a text", Case(NEXT + more(b"x", fin=False) + NEXT, [b"next"], code=1002)
    for opcode in (TEXT, BINARY):
        for fin in (True, False):
            data = text(b"a", fin=False) + frame(opcode, b"b", fin=fin) + more(b"c")
            yield f"opcode {opcode}, {fin=}, within a message", Case(data + NEXT, code=1002)
    yield "as long as allowed", Case(fragments(b"x" * LIMIT, 1000) + NEXT, [b"x" * LIMIT, b"next"])
    yield "too long by one", Case(fragments(b"x" * LIMIT, 1024)[:-1032] + more(b"x" * 1025), code=1009)
    yield "too long, never final", Case(text(b"x" * LIMIT, fin=False) + more(b"x", fin=False), code=1009)
    yield "a close between fragments", Case(text(b"a", fin=False) + close(1000) + more(b"b"), code=1000)


VALID_UTF8 = (
    GREEK, EMOJI, b"\0", b"\x7f", b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xed\x9f\xbf", b"\xee\x80\x80",
    b"\xef\xbf\xbd", b"\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xef\xbb\xbfx",
    b"".join(chr(plane * 0x10000 + 0xFFFE).encode() for plane in range(17)),
)  # fmt: skip

INVALID_UTF8 = {
    "a continuation byte alone": b"\x80",
    "another": b"\xbf",
    "many": bytes(range(0x80, 0xC0)),
    "a first byte before a space": b"\xc3 ",
    "two bytes for a slash": b"\xc0\xaf",
    "two bytes for the last of one": b"\xc1\xbf",
    "three bytes for a slash": b"\xe0\x80\xaf",
    "three bytes for the last of two": b"\xe0\x9f\xbf",
    "four bytes for a slash": b"\xf0\x80\x80\xaf",
    "four bytes for the last of three": b"\xf0\x8f\xbf\xbf",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "behind the last plane": b"\xf4\x90\x80\x80",
    "far behind it": b"\xf7\xbf\xbf\xbf",
    "fe": b"\xfe",
    "ff": b"\xff",
    "a first byte of three before a text": b"\xe2\x82x",
    "a first byte of four twice": b"\xf0\x9f\xf0\x9f",
}

TRUNCATED_UTF8 = (b"\xc2", b"\xe0", b"\xe0\xa0", b"\xed\x9f", b"\xf0", b"\xf0\x90", b"\xf4\x8f\xbf", EMOJI[:3])


def utf8() -> Iterator[tuple[str, Case]]:
    for payload in VALID_UTF8:
        name = payload.hex()[:20]
        yield f"valid {name}", Case(text(payload) + NEXT, [payload, b"next"])
        yield f"valid {name} in fragments", Case(fragments(payload, 1) + NEXT, [payload, b"next"])
        between = frame(PING, b"p")
        data = fragments(payload, 1, between) + NEXT
        yield f"valid {name}, pings in it", Case(data, [payload, b"next"], [b"p"] * (len(payload) - 1))
        surrounded = b"a" * 200 + payload + b"z" * 200
        yield f"valid {name} in a longer text", Case(text(surrounded) + NEXT, [surrounded, b"next"])
    for name, payload in INVALID_UTF8.items():
        yield f"invalid: {name}", Case(NEXT + text(b"ab" + payload) + NEXT, [b"next"], code=1007)
        yield f"invalid in a longer text: {name}", Case(text(b"a" * 300 + payload + b"z" * 300) + NEXT, code=1007)
        yield f"invalid in fragments: {name}", Case(fragments(b"ab" + payload + b"c", 1) + NEXT, code=1007)
    for payload in TRUNCATED_UTF8:
        yield f"ends within {payload.hex()}", Case(text(b"ab" + payload) + NEXT, code=1007)
        yield f"ends within {payload.hex()}, in fragments", Case(fragments(b"ab" + payload, 1) + NEXT, code=1007)


def closing() -> Iterator[tuple[str, Case]]:
    yield "a close without a code", Case(frame(CLOSE) + NEXT, code=1000)
    yield "a close with half a code", Case(frame(CLOSE, b"\x03") + NEXT, code=1002)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        yield f"a close with {code}", Case(NEXT + close(code) + NEXT, [b"next"], code=1000)
        yield f"a close with {code} and a reason", Case(close(code, GREEK) + frame(PING) + NEXT, code=1000)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"a close with {code}, a reserved code", Case(close(code, b"x") + NEXT, code=1002)
    yield "the longest reason", Case(close(1000, b"x" * 123), code=1000)
    yield "a reason that is too long", Case(close(1000, b"x" * 124) + NEXT, code=1002)
    for name, payload in INVALID_UTF8.items():
        yield f"a reason that is invalid: {name}", Case(close(1000, payload) + NEXT, code=1007)
    yield "a reason that ends within a character", Case(close(1000, EMOJI[:3]), code=1007)
    yield "two closes", Case(close(1000) + close(1001), code=1000)
    yield "a ping before", Case(frame(PING, b"p") + close(1000), pongs=[b"p"], code=1000)
    yield "a violation after it", Case(close(1000) + frame(3) + b"\xff\xff", code=1000)


CHAPTERS = {
    "framing": framing,
    "pings": pings,
    "reserved": reserved,
    "fragmentation": fragmentation,
    "utf8": utf8,
    "closing": closing,
}


class FrameTest(ReadingTestCase):
    """One test a chapter."""

    def played(self, fast: bool, chunks: list[bytes]) -> tuple[Any, ...]:
        """Return everything that can be seen of a server that was sent these chunks."""
        reader = Reader(fast, limit=LIMIT)
        texts, written, is_open, dropped = reader.feed(*chunks)
        answer = Answer.of(written)
        reader.end()
        assert reader.heard is not None
        return list(texts), answer.pongs, answer.code, is_open, dropped, reader.heard.ended

    def check(self, name: str, case: Case, rng: random.Random) -> None:
        data = case.data
        cuttings = [[data], [data[at : at + 1] for at in range(len(data))] if len(data) < 3000 else _cut(data, 7)]
        for _ in range(3):
            at = [0, *sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6))), len(data)]
            cuttings.append([data[begin:end] for begin, end in zip(at, at[1:], strict=False) if begin < end])
        for chunks in cuttings:
            fast, plain = (self.played(fast, chunks) for fast in (True, False))
            # When the connection is dropped after a close frame depends on the ends of the chunks. Only the fast path stops
            # reading after FRAMES_AFTER_CLOSE.
            texts, pongs, code, is_open, _, ended = fast
            seen = texts, pongs, code, is_open, ended
            self.assertEqual(seen, (*plain[:4], plain[5]), f"{name}: not the same on both paths, seed {SEED}")
            wanted = list(case.texts), list(case.pongs), case.code, case.code is None, 1
            self.assertEqual(seen, wanted, f"{name}, in {len(chunks)} chunks, seed {SEED}")

    def chapter(self, name: str) -> None:
        rng = random.Random(f"{SEED} {name}")
        count = 0
        for count, (title, case) in enumerate(CHAPTERS[name](), 1):  # noqa: B007
            self.check(title, case, rng)
        self.assertGreater(count, 10)

    def test_framing(self) -> None:
        self.chapter("framing")

    def test_pings(self) -> None:
        self.chapter("pings")

    def test_reserved(self) -> None:
        self.chapter("reserved")

    def test_fragmentation(self) -> None:
        self.chapter("fragmentation")

    def test_utf8(self) -> None:
        self.chapter("utf8")

    def test_closing(self) -> None:
        self.chapter("closing")

    def test_a_wrong_text_ends_before_it_is_complete(self) -> None:
        """The rest of it may never come: the first wrong byte is enough, within a frame or in a fragment."""
        for name, payload in INVALID_UTF8.items():
            whole = text(b"ab" + payload + b"z" * 1000)
            parts = text(b"ab" + payload[:1], fin=False) + more(payload[1:] + b"z", fin=False)
            for data in (whole[: 8 + 2 + len(payload) + 1], parts):
                for fast in (True, False):
                    for chunks in ([data], _cut(data, 1)):
                        self.assertEqual(self.played(fast, chunks)[2], 1007, (name, fast, len(chunks)))


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# ---- the handshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

GOOD = {
    "Host": "party.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}

ACCEPTED: dict[str, dict[str, str]] = {
    "as it should be": {},
    "in capitals": {"Upgrade": "WEBSOCKET", "Connection": "UPGRADE"},
    "among others": {"Upgrade": "h2c, websocket", "Connection": "keep-alive, Upgrade"},
    "with spaces": {"Sec-WebSocket-Key": f"  {KEY}  ", "Sec-WebSocket-Version": " 13 "},
    "with a port": {"Host": "party.example:4001"},
    "of an IPv6 host": {"Host": "[::1]:4001"},
    "with extensions": {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-unknown; a=1"},
    "with an origin": {"Origin": "https://www.netflix.com"},
    "with a null origin": {"Origin": "null"},
    "with subprotocols": {"Sec-WebSocket-Protocol": "chat, superchat"},
    "with other headers": {"Cookie": "a=b", "X-Anything": "\u00e9"},
    # The RFC wants this refused (section 9.1). Autobahn reads over it; as no extension is ever agreed to, nothing follows.
    "with extensions that are none": {"Sec-WebSocket-Extensions": ";;=,=;"},
}

REFUSED: dict[str, dict[str, str | None]] = {
    "no key": {"Sec-WebSocket-Key": None},
    "an empty key": {"Sec-WebSocket-Key": ""},
    "a key of 15 bytes": {"Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1"},
    "a key of 17 bytes": {"Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Njc="},
    "a key that is not base64": {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j*Q=="},
    "two keys": {"Sec-WebSocket-Key": f"{KEY}, {KEY}"},
    "no version": {"Sec-WebSocket-Version": None},
    "version 0": {"Sec-WebSocket-Version": "0"},
    "version 8": {"Sec-WebSocket-Version": "8"},
    "version 14": {"Sec-WebSocket-Version": "14"},
    "version 255": {"Sec-WebSocket-Version": "255"},
    "version thirteen": {"Sec-WebSocket-Version": "thirteen"},
    "a very long version": {"Sec-WebSocket-Version": "1" * 5000},
    "two versions": {"Sec-WebSocket-Version": "13, 13"},
    "no connection": {"Connection": None},
    "another connection": {"Connection": "keep-alive"},
    "no upgrade": {"Upgrade": None},
    "another upgrade": {"Upgrade": "h2c"},
    "almost websocket": {"Upgrade": "websockets"},
    "no host": {"Host": None},
    "a port that is none": {"Host": "party.example:x"},
    "an origin that is none": {"Origin": "http://[oops"},
    "a subprotocol twice": {"Sec-WebSocket-Protocol": "chat, chat"},
}


class HandshakeTest(WebTestCase):
    """From the first byte on, through HTTP: no input may raise, and only correct input opens a WebSocket."""

    fast = True

    def setUp(self) -> None:
        super().setUp()
        self.opened = 0

        def connect(protocol: TandemProtocol) -> Any:
            raise AssertionError("not before the answer was seen")

        def counted(address: str, code: int | None, opened: bool) -> None:
            self.opened += opened

        factory = TandemFactory(
            self.reactor,
            protocol_settings(fast_path=self.fast),
            connect,
            counted,
            LabeledCounter("dropped", "", "reason"),
        )
        # The time after a handshake is the business of the other tests.
        factory.opened = lambda protocol: None
        self.serve(websocket=WebSocketResource(factory))

    def ask(self, line: str = "GET /ws HTTP/1.1", **headers: Any) -> bytes:
        """Return the answer to a handshake: the good one but for these headers; None leaves one out."""
        fields = {**GOOD, **headers}
        lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), "", ""]
        client, pump = self.connect()
        self.send(client, "\r\n".join(lines).encode("latin-1"))
        pump.flush()
        self.assertEqual(self.flushLoggedErrors(), [], fields)
        return client.data

    def send(self, client: Client, data: bytes) -> None:
        assert client.transport is not None
        client.transport.write(data)

    def test_accepted(self) -> None:
        for name, headers in ACCEPTED.items():
            reply = Reply(self.ask(**cast(Any, headers)))
            self.assertEqual(reply.status, 101, name)
            self.assertEqual(reply.headers["Upgrade"].lower(), "websocket")
            self.assertEqual(reply.headers["Connection"].lower(), "upgrade")
            self.assertEqual(reply.headers["Sec-WebSocket-Accept"], ACCEPT)
            # Neither was offered by us, so a client would have to give up if it were told one.
            self.assertIsNone(reply.headers["Sec-WebSocket-Protocol"], name)
            self.assertIsNone(reply.headers["Sec-WebSocket-Extensions"], name)

    def test_refused(self) -> None:
        for name, headers in REFUSED.items():
            reply = Reply(self.ask(**cast(Any, headers)))
            self.assertIn(reply.status, (400, 403, 426), f"{name}: {reply.body!r}")

    def test_other_versions_are_told_which_one_there_is(self) -> None:
        for version in ("0", "8", "14", "255"):
            self.assertEqual(
                Reply(self.ask(**{"Sec-WebSocket-Version": version})).headers["Sec-WebSocket-Version"], "13"
            )

    def test_request_lines(self) -> None:
        for line, status in {
            "POST /ws HTTP/1.1": 405,
            "PUT /ws HTTP/1.1": 405,
            "GET /other HTTP/1.1": 404,
            "GET /ws/ HTTP/1.1": 404,
            "GET /ws%00 HTTP/1.1": 400,
            "GET /ws#fragment HTTP/1.1": 404,
            "GET //[oops HTTP/1.1": 404,
            "GET http://party.example/ws HTTP/1.1": 101,
            "GET WS://party.example:4001/ws?x HTTP/1.1": 101,
            "GET https://party.example HTTP/1.1": 101,
            "GET http://party.example/other HTTP/1.1": 404,
            "GET http://ann@party.example/ws HTTP/1.1": 400,
            "GET ftp://party.example/ws HTTP/1.1": 400,
        }.items():
            self.assertEqual(Reply(self.ask(line)).status, status, line)
        for version in ("1.0", "0.9", "2.0"):
            self.assertNotIn(b" 101 ", self.ask(f"GET /ws HTTP/{version}"), version)

    def test_in_any_portions(self) -> None:
        request = "\r\n".join(
            ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in GOOD.items()), "", ""]
        ).encode()
        client, pump = self.connect()
        for at in range(len(request)):
            self.send(client, request[at : at + 1])
            pump.flush()
        self.assertEqual(Reply(client.data).status, 101)

    def test_anything_in_a_header(self) -> None:
        """Any bytes in any of the headers are an answer, and no exception."""
        rng = random.Random(SEED)
        pieces = [
            "\x00",
            "\xff",
            "%",
            "\t",
            ",",
            ";",
            "=",
            '"',
            "[",
            "]",
            ":",
            "//",
            "x",
            "13",
            "websocket",
            "null",
            " ",
        ]
        for _ in range(1000):
            name = rng.choice([*GOOD, "Origin", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Cookie"])
            value = "".join(rng.choices(pieces, k=rng.randrange(12)))
            data = self.ask(**{name: value})
            self.assertTrue(data.startswith(b"HTTP/1.1 "), f"{name}: {value!r} was answered by {data!r}, seed {SEED}")


class PlainHandshakeTest(HandshakeTest):
    """The same without the fast path."""

    fast = False


# ---- real sockets


class SocketTest(TestCase):
    """A few of the cases through the kernel, which cuts the bytes as it likes."""

    timeout = TEST_LIMIT_SECONDS
    fast = True
    CASES = {
        "a text of 126 bytes": text(b'{"type":"PING"}' + b" " * 111),
        "fragments with a ping": fragments(b'{"type":"PING"}', 4, frame(PING, b"p")),
        "without a mask": text('{"type":"PING"}', mask=None),
        "reserved bits": text('{"type":"PING"}', rsv=4),
        "wrong UTF-8": text(b"\xff"),
        "too long": text(b"x" * (LIMIT + 1)),
        "binary": frame(BINARY, b""),
        "a close": close(4000),
        "an assigned close": close(1014),
    }
    INVALID_CLOSES: ClassVar[dict[int, list[bytes]]] = {
        1002: [
            frame(CLOSE, b"\x03"),
            *(close(code) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)),
            close(999, b"\xff"),
            close(1000, b"x" * 124),
            frame(CLOSE, b"", fin=False),
            frame(CLOSE, b"", rsv=4),
            frame(CLOSE, b"", mask=None),
            text(b"{", fin=False) + close(1005),
        ],
        1007: [close(1000, b"\xff\xfe"), close(4000, EMOJI[:3]), close(1000, b"\xed\xa0\x80")],
    }
    """Invalid close frames, by the code of the answer."""

    async def setUp(self) -> None:  # type: ignore[override]
        reactor: Any = real_reactor
        # Autobahn's timers would outlive the test.
        self.patch(cast(Any, txaio).config, "loop", MemoryReactorClock())
        self.server = Server(reactor, protocol=protocol_settings(fast_path=self.fast))
        self.server.start()
        self.port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.server.site)

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.port.stopListening()
        await self.server.drain()

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """Open a WebSocket, whose server says nothing by itself."""
        host = self.port.getHost()
        with socket.create_connection((host.host, host.port), timeout=PATIENCE_SECONDS) as client:
            request = "".join(f"{name}: {value}\r\n" for name, value in GOOD.items())
            client.sendall(f"GET /ws HTTP/1.1\r\n{request}\r\n".encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += client.recv(4096)
            yield client

    def talk(self, data: bytes) -> bytes:
        """Return the server's answer to these bytes; to be called in a thread. After a text or a close we close too."""
        with self.connected() as client:
            client.sendall(data)
            answer = b""
            said = False
            while True:
                heard = Answer.of(answer)
                if not said and (heard.texts or heard.closes):
                    said = True
                    client.sendall(close(1000))
                try:
                    got = client.recv(4096)
                except ConnectionResetError:
                    return answer
                if not got:
                    return answer
                answer += got

    async def test_over_the_wire(self) -> None:
        wanted = {
            "a text of 126 bytes": (1, 0, 1000),
            "fragments with a ping": (1, 3, 1000),
            "without a mask": (0, 0, 1002),
            "reserved bits": (0, 0, 1002),
            "wrong UTF-8": (0, 0, 1007),
            "too long": (1, 0, 1009),  # an ERROR
            "binary": (0, 0, 1003),
            "a close": (0, 0, 1000),
            "an assigned close": (0, 0, 1000),
        }
        for name, data in self.CASES.items():
            answer = Answer.of(await deferToThread(self.talk, data))
            self.assertEqual((len(answer.texts), len(answer.pongs), answer.code), wanted[name], name)

    def end_of(self, data: bytes) -> tuple[int | None, str]:
        """Return the code of the answer, and how the TCP connection ends. The client sends nothing further. In a thread."""
        with self.connected() as client:
            client.sendall(data)
            answer = b""
            try:
                while got := client.recv(4096):
                    answer += got
            except ConnectionResetError:
                return Answer.of(answer).code, "reset"
            return Answer.of(answer).code, "closed"

    async def test_an_invalid_close_frame_is_answered(self) -> None:
        """A reset may overtake the answer, so the server closes the connection instead."""
        for code, frames in self.INVALID_CLOSES.items():
            for data in frames:
                self.assertEqual(await deferToThread(self.end_of, data), (code, "closed"), data)


class PlainSocketTest(SocketTest):
    """The same without the fast path."""

    fast = False
