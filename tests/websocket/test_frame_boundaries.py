"""Slow clients receive whole frames: the server writes a ping or a close frame between two messages, never inside one.

A write to a slow client ends in the middle of a frame. The rest of that frame waits in the send queue.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import struct
from collections.abc import Iterator

from tandemd.messages.framing import text_frame
from tests.support.settings import send_queue_limits

from ..support.socket_connection import CLOSE, PING, TEXT, SocketTestCase, TlsSocketTestCase, frames_in

STEPS = 300
EMOJI = "\U0001f600"
POLICY_VIOLATION = struct.pack("!H", 1008)


def numbered(number: int, characters: int) -> bytes:
    """Return the payload of a message. Most of its bytes are in the middle of a character."""
    return f'{{"number":{number},"text":"{EMOJI * characters}"}}'.encode()


class FrameBoundaryTest(SocketTestCase):
    """A client on the fast path."""

    limits = send_queue_limits(output_bytes=1024 * 1024, output_stall=30.0)

    def setUp(self) -> None:
        super().setUp()
        self.sent: list[bytes] = []
        self.queue = self.protocol.session_transport.queue

    def send(self, characters: int) -> None:
        """Send a message at the end of this reactor iteration."""
        self.sent.append(numbered(len(self.sent), characters))
        self.session.send(text_frame(self.sent[-1]))

    def fall_behind(self) -> None:
        """Send until the rest of a frame waits in the queue."""
        while self.queue._waiting is None:
            for _ in range(20):
                self.send(2000)
            self.clock.advance(0)
            self.pump()

    def split(self, data: bytes) -> tuple[list[bytes], list[tuple[int, bytes]]]:
        """Return the messages that the client has received, and the control frames."""
        found = list(frames_in(data))
        texts = [payload for opcode, payload in found if opcode == TEXT]
        return texts, [(opcode, payload) for opcode, payload in found if opcode != TEXT]

    def check_rejected(self, reason: str) -> None:
        """Check that the client receives the oldest messages, without a gap, and the reason of the close."""
        self.assertEqual(self.server.dropped, {reason: 1})
        texts, control = self.split(self.drained())
        self.assertEqual(texts, self.sent[: len(texts)])
        self.assertEqual([(opcode, payload[:2]) for opcode, payload in control], [(CLOSE, POLICY_VIOLATION)])

    def check_ping(self, control: list[tuple[int, bytes]]) -> None:
        """Check that one ping is all that the client received beside messages. Its payload is random."""
        self.assertEqual([(opcode, len(payload)) for opcode, payload in control], [(PING, 4)])

    def test_ping(self) -> None:
        self.fall_behind()
        self.world.advance(6)
        texts, control = self.split(self.drained())
        self.assertEqual(texts, self.sent)
        self.check_ping(control)

    def test_probe(self) -> None:
        """A JOIN of the same user id makes the server ping the connection that has it."""
        self.fall_behind()
        self.session.probe(lambda alive: None)
        texts, control = self.split(self.drained())
        self.assertEqual(texts, self.sent)
        self.check_ping(control)

    def test_ping_inside_a_replay(self) -> None:
        pieces = [text_frame(numbered(number, 30_000)) for number in range(10)]
        self.session.stream(iter(pieces))
        self.pump()
        self.session.probe(lambda alive: None)
        texts, control = self.split(self.drained())
        self.assertEqual([text_frame(text) for text in texts], pieces)
        self.check_ping(control)

    def test_too_much(self) -> None:
        self.fall_behind()
        while not self.server.dropped:
            self.send(2000)
            self.clock.advance(0)
        self.check_rejected("output_bytes")

    def test_too_much_in_one_write(self) -> None:
        for _ in range(400):
            self.send(2000)
        self.clock.advance(0)
        self.check_rejected("output_bytes")

    def test_nothing_read_for_too_long(self) -> None:
        self.fall_behind()
        while not self.server.dropped:
            self.protocol.session_transport.pong_received(b"")
            self.world.advance(1)
        self.session.send(text_frame(b"after the close"))
        self.assertEqual(self.server.dropped.pop("output_stall"), 1)
        texts, control = self.split(self.drained())
        self.assertEqual(texts, self.sent[: len(texts)])
        self.assertEqual(control[-1], (CLOSE, POLICY_VIOLATION + b"client reads too slowly"))

    def test_no_message_after_a_gap(self) -> None:
        """A client that resumes behind the last message that it has would never receive the discarded ones."""
        self.fall_behind()
        for _ in range(20):
            self.send(2000)
        self.clock.advance(0)
        self.send(10)  # waits for the end of the reactor iteration, while the connection is closed
        self.clock.rightNow += 31
        self.protocol.session_transport.check()
        self.check_rejected("output_stall")

    def test_any_order(self) -> None:
        """Messages, pings, probes, replays and reads in a random order. Some clients read enough to stay connected."""
        seed = random.randrange(1 << 32)
        random_ = random.Random(seed)
        diligence = random_.choice((0.0, 0.1, 0.5, 1.0))
        data = bytearray()
        for _ in range(STEPS):
            match random_.randrange(8):
                case 0 | 1:
                    for characters in random_.choice(([0], [10] * 10, [2000] * 10, [20_000])):
                        self.send(characters)
                case 2:
                    self.clock.advance(0)
                case 3:
                    self.protocol.session_transport.send_ping(b"ping")
                case 4:
                    self.session.probe(lambda alive: None)
                case 5:
                    self.session.stream(self.replay(random_.randrange(5)))
                case 6:
                    self.pump()
                case 7 if random_.random() < diligence:
                    data += self.drained()
                case _:
                    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                        data += self.client.recv(random_.choice((1, 100, 10_000, 100_000)))
            if self.server.dropped:
                break
        self.clock.advance(0)
        data += self.drained()
        try:
            texts, control = self.split(bytes(data))
        except (AssertionError, UnicodeDecodeError) as error:
            self.fail(f"seed {seed}: {error}")
        closed = bool(self.server.dropped)
        ends = [payload[:2] for opcode, payload in control if opcode == CLOSE]
        # Messages are compared one by one, because a difference between the lists would be printed with all of them.
        expected = self.sent[: len(texts)] if closed else self.sent
        differ = [number for number, (text, sent) in enumerate(zip(texts, expected, strict=False)) if text != sent]
        self.assertEqual(
            (len(texts), differ, ends), (len(expected), [], [POLICY_VIOLATION] if closed else []), f"seed {seed}"
        )

    def replay(self, count: int) -> Iterator[bytes]:
        """Return pieces of a replay."""
        frames = []
        for _ in range(count):
            self.sent.append(numbered(len(self.sent), 10_000))
            frames.append(text_frame(self.sent[-1]))
        return iter(frames)


class PlainFrameBoundaryTest(FrameBoundaryTest):
    """The same without the fast path."""

    fast = False


class TlsFrameBoundaryTest(TlsSocketTestCase, FrameBoundaryTest):
    """The same with TLS."""
