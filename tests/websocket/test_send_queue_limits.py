"""The send queue of a connection: bounded with the added frames, which are made only when needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.messages.framing import FrameParts, text_frame, text_header
from tandemd.rooms.replay import Replay
from tandemd.rules.state import Commit
from tandemd.websocket.send_queue import CHUNK_BYTES, SendQueue, SendQueueLimits

SIZE = 4 * CHUNK_BYTES


class Transport:
    """Takes `room` bytes, then pauses its producer until `take`."""

    def __init__(self) -> None:
        self.room = 2 * CHUNK_BYTES
        self.taken = b""
        self.producer: Any = None

    def unregisterProducer(self) -> None:
        pass

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def write(self, data: bytes) -> None:
        self.taken += data
        self.room -= len(data)
        if self.room <= 0:
            self.producer.pauseProducing()

    def take(self) -> None:
        self.room = 2 * CHUNK_BYTES
        self.producer.resumeProducing()


class BacklogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reasons: list[str] = []
        self.transport = Transport()
        self.backlog = SendQueue(self.transport, self, Clock(), SendQueueLimits(SIZE, 10.0))
        self.made = 0

    def fell_behind(self) -> None:
        pass

    def caught_up(self) -> None:
        pass

    def slow_consumer(self, reason: str) -> None:
        self.reasons.append(reason)

    def pieces(self, count: int, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        for number in range(count):
            self.made += 1
            yield bytes([number]) * size

    def test_one_piece_may_not_be_more_than_all_that_may_wait(self) -> None:
        frames = [text_frame(b"x" * 10_000)] * ((2 * CHUNK_BYTES + SIZE) // 10_000 + 1)
        self.backlog.write(b"".join(frames))
        self.assertEqual(self.reasons, ["output_bytes"])
        # The transport receives the rest of the frame that it has received a part of.
        whole = -(-2 * CHUNK_BYTES // len(frames[0]))
        self.assertEqual(self.transport.taken, b"".join(frames[:whole]))

    def test_what_the_transport_takes_at_once_does_not_wait(self) -> None:
        self.backlog.write(b"x" * (2 * CHUNK_BYTES + SIZE))
        self.assertEqual(self.reasons, [])
        self.transport.take()
        self.transport.take()
        self.assertEqual(len(self.transport.taken), 2 * CHUNK_BYTES + SIZE)

    def test_a_piece_is_counted_before_it_is_added(self) -> None:
        self.backlog.write(b"x" * 2 * CHUNK_BYTES)
        for _ in range(4):
            self.backlog.write(b"x" * CHUNK_BYTES)
        self.assertEqual(self.reasons, [])
        self.backlog.write(b"x")
        self.assertEqual(self.reasons, ["output_bytes"])

    def test_pieces_are_made_as_they_are_taken(self) -> None:
        self.backlog.stream(self.pieces(10))
        self.assertEqual(self.made, 2)
        self.backlog.write(b"after")
        for made in (4, 6, 8, 10):
            self.transport.take()
            self.assertEqual(self.made, made)
        self.assertFalse(self.transport.taken.endswith(b"after"))
        self.transport.take()
        expected = b"".join(bytes([number]) * CHUNK_BYTES for number in range(10)) + b"after"
        self.assertEqual(self.transport.taken, expected)
        self.assertEqual((self.backlog._size, self.backlog._waiting), (0, None))

    def test_long_pieces_are_cut(self) -> None:
        self.backlog.stream(self.pieces(2, 3 * CHUNK_BYTES))
        self.assertEqual(self.made, 1)
        self.transport.take()
        self.assertEqual((self.made, len(self.transport.taken)), (2, 4 * CHUNK_BYTES))
        self.transport.take()
        self.assertEqual(len(self.transport.taken), 6 * CHUNK_BYTES)

    def test_everything_comes_before_a_close_frame(self) -> None:
        self.backlog.write(b"x" * 2 * CHUNK_BYTES)
        self.backlog.stream(self.pieces(3, 10))
        self.backlog.write(b"end")
        self.backlog.release()
        self.assertEqual(len(self.transport.taken), 2 * CHUNK_BYTES + 33)
        self.assertTrue(self.transport.taken.endswith(b"end"))

    def test_a_close_writes_no_more_of_streams_than_may_wait(self) -> None:
        """Later frames would leave a gap."""
        self.backlog.write(b"x" * 2 * CHUNK_BYTES)
        self.backlog.write(b"y" * CHUNK_BYTES)
        self.backlog.stream(self.pieces(20))
        self.backlog.write(b"end")
        self.backlog.release()
        self.assertEqual(self.made, 3)
        self.assertEqual(len(self.transport.taken), 5 * CHUNK_BYTES)
        self.assertEqual((self.backlog._size, self.backlog._waiting), (0, None))

    def long_frame(self) -> FrameParts:
        parts = [bytes([number]) * CHUNK_BYTES for number in range(8)]
        parts[0] = text_header(sum(map(len, parts))) + parts[0]
        return FrameParts(parts)

    def test_a_long_frame_is_taken_in_parts(self) -> None:
        self.backlog.stream(self.long_frame())
        self.backlog.write(b"end")
        self.assertLess(len(self.transport.taken), 3 * CHUNK_BYTES)
        self.backlog.write(b"x" * (SIZE - 3))
        self.assertEqual(self.reasons, [], "its bytes do not count")
        for _ in range(8):
            self.transport.take()
        self.assertEqual(self.transport.taken, b"".join(self.long_frame()) + b"end" + b"x" * (SIZE - 3))

    def test_no_frame_comes_between_the_parts(self) -> None:
        self.backlog.stream(self.long_frame())
        self.backlog.write(b"end")
        self.backlog.finish_frame()
        self.assertEqual(self.transport.taken, b"".join(self.long_frame()))

    def test_a_long_frame_that_has_not_begun_can_wait(self) -> None:
        self.backlog.write(b"x" * 2 * CHUNK_BYTES)
        self.backlog.stream(self.long_frame())
        self.backlog.finish_frame()
        self.assertEqual(len(self.transport.taken), 2 * CHUNK_BYTES)
        self.backlog.write(b"end")
        self.backlog.release()
        self.assertEqual(
            len(self.transport.taken), 2 * CHUNK_BYTES, "a close drops a frame that is too long, and the rest"
        )

    def test_a_close_completes_a_long_frame(self) -> None:
        self.backlog.stream(self.long_frame())
        self.backlog.write(b"end")
        self.backlog.release()
        self.assertEqual(self.transport.taken, b"".join(self.long_frame()) + b"end")


class ReplayTests(SynchronousTestCase):
    def commit(self, seq: int, text: str = "x" * 1000, skip: str = "") -> Commit:
        said = m.ChatMessage(seq=seq, prev=seq - 1, user_id="ann", username="Ann", text=text, timestamp=0)
        return Commit(
            epoch=1, seq=seq, at=0.0, event="CHAT", user="ann", details=None, changes={}, messages=(said,), skip=skip
        )

    def test_all_who_miss_the_same_share_it(self) -> None:
        replay = Replay(lambda url: True)
        commits = [self.commit(seq) for seq in range(1, 201)]
        waiting = [replay.pieces(commits[number:], "bob")[1] for number in range(40)]
        self.assertEqual(len(replay), 200)
        first = list(waiting[0])
        self.assertGreater(len(first), 2)
        self.assertLess(max(map(len, first)), CHUNK_BYTES + 2000)
        self.assertEqual(b"".join(first).count(b'"replayed":true'), 200)
        del waiting
        self.assertEqual(len(replay), 0)

    def test_its_bytes(self) -> None:
        replay = Replay(lambda url: True)
        size, pieces = replay.pieces([self.commit(seq) for seq in range(1, 201)], "bob")
        self.assertEqual(size, len(b"".join(pieces)))

    def test_who_is_skipped(self) -> None:
        replay = Replay(lambda url: True)
        commits = [self.commit(1, "a"), self.commit(2, "b", skip="bob")]
        self.assertIn(b'"b"', b"".join(replay.pieces(commits, "ann")[1]))
        self.assertNotIn(b'"b"', b"".join(replay.pieces(commits, "bob")[1]))
