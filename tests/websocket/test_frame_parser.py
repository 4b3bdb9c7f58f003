"""WebSocket frames as bytes, held against Autobahn's reading of the standard and against a plain one of our own."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tandemd.messages.framing import text_frame
from tandemd.websocket.frame_parser import take_texts, unmask

LIMIT = 65_536

texts = st.text().map(str.encode)
masks = st.binary(min_size=4, max_size=4)


def masked(payload: bytes, mask: bytes = b"\x01\x02\x03\x04", head: int = 0x81) -> bytes:
    """Return a client's frame, made byte by byte."""
    length = len(payload)
    if length < 126:
        size = bytes((0x80 | length,))
    elif length < 65536:
        size = bytes((0x80 | 126,)) + length.to_bytes(2, "big")
    else:
        size = bytes((0x80 | 127,)) + length.to_bytes(8, "big")
    return bytes((head,)) + size + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class TextFrameTest(TestCase):
    def test_lengths(self) -> None:
        """The length is written in the shortest form, as the standard demands."""
        for length, head in (
            (0, b"\x81\x00"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65535, b"\x81\x7e\xff\xff"),
            (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ):
            self.assertEqual(text_frame(b"x" * length), head + b"x" * length)


class UnmaskTest(TestCase):
    @given(st.binary(max_size=300), masks)
    @example(b"", b"\x01\x02\x03\x04")
    @example(b"\x00\x00\x00", b"\x00\x00\x00\x00")
    @example(b"\xff\x00\x00", b"\xff\x00\x00\xff")
    def test_byte_by_byte(self, payload: bytes, mask: bytes) -> None:
        self.assertEqual(unmask(payload, mask), bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))


class TakeTextsTest(TestCase):
    @given(st.lists(st.tuples(texts, masks), max_size=5), st.binary(max_size=3))
    def test_several(self, sent: list[tuple[bytes, bytes]], rest: bytes) -> None:
        data = b"".join(masked(text, mask) for text, mask in sent)
        self.assertEqual(take_texts(data + rest, LIMIT, 99), ([text for text, _ in sent], rest))

    def test_of_all_lengths(self) -> None:
        for length in (0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 255, 256, 65534, 65535):
            payload = bytes(65 + i % 26 for i in range(length))
            self.assertEqual(take_texts(masked(payload) + b"\x81", LIMIT, 99), ([payload], b"\x81"))

    def test_incomplete(self) -> None:
        """Wherever it is cut, the rest is the whole frame: the next parser must see its beginning."""
        for payload in (b"", b"hello", b"x" * 126, b"y" * 300):
            whole = masked(payload)
            for end in range(len(whole)):
                self.assertEqual(take_texts(whole[:end], LIMIT, 99), ([], whole[:end]))
                self.assertEqual(take_texts(whole + whole[:end], LIMIT, 99), ([payload], whole[:end]))

    def test_no_more_than_asked_for(self) -> None:
        one = masked(b"x")
        self.assertEqual(take_texts(one * 5, LIMIT, 3), ([b"x"] * 3, one * 2))
        self.assertEqual(take_texts(one * 3, LIMIT, 3), ([b"x"] * 3, b""))

    def test_not_ours(self) -> None:
        """Everything but a plain text frame is left in place, with all bytes behind it."""
        frame = masked(b"hello")
        for name, other in {
            "continuation": masked(b"x", head=0x80),
            "not final": masked(b"x", head=0x01),
            "binary": masked(b"x", head=0x82),
            "close": masked(b"\x03\xe8", head=0x88),
            "ping": masked(b"x", head=0x89),
            "pong": masked(b"x", head=0x8A),
            "reserved bit": masked(b"x", head=0xC1),
            "unmasked": text_frame(b"xxxxxxxxxx"),
            "unmasked and long": text_frame(b"x" * 200),
            "longer than 65535 bytes": masked(b"x" * 65536),
            "a length that is not in its shortest form": b"\x81\xfe\x00\x05\x00\x00\x00\x00hello",
            "invalid UTF-8": masked(b"\xff\xfe"),
            "a surrogate in UTF-8": masked(b"\xed\xa0\x80"),
            "UTF-8 that ends too early": masked("é".encode()[:1]),
        }.items():
            for before in (b"", frame):
                found = take_texts(before + other + frame, LIMIT, 99)
                self.assertEqual(found, ([b"hello"] if before else [], other + frame), name)

    def test_limit(self) -> None:
        for length in (0, 100, 125, 126, 1000, 65535):
            frame = masked(b"x" * length)
            self.assertEqual(take_texts(frame, length, 99), ([b"x" * length], b""))
            if length:
                self.assertEqual(take_texts(frame, length - 1, 99), ([], frame))

    def test_the_rest_is_not_copied_for_nothing(self) -> None:
        data = masked(b"x", head=0x89)
        self.assertIs(take_texts(data, LIMIT, 99)[1], data)
