"""WebSocket frames that the server sends (RFC 6455, section 5.2). Pure functions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from struct import Struct

from ..errors import RequestError
from .codec import encode
from .server import Error

_SHORT = [bytes((0x81, length)) for length in range(126)]
_medium = Struct("!BBH").pack
_long = Struct("!BBQ").pack

FINAL_TEXT = 0x81
"""The first byte of a frame that is a whole text message, without extensions."""


def text_frame(payload: bytes) -> bytes:
    """Return a complete, unmasked text frame, as a server sends it."""
    # `text_header`, inlined: the call would be a part of each message's cost.
    length = len(payload)
    if length < 126:
        return _SHORT[length] + payload
    if length < 65536:
        return _medium(FINAL_TEXT, 126, length) + payload
    return _long(FINAL_TEXT, 127, length) + payload


def text_header(length: int) -> bytes:
    """Return the header of a text frame. length: that of its payload."""
    if length < 126:
        return _SHORT[length]
    if length < 65536:
        return _medium(FINAL_TEXT, 126, length)
    return _long(FINAL_TEXT, 127, length)


class FrameParts(Iterator[bytes]):
    """The parts of one frame, in order: for a long frame, parts of which many connections share.

    is_begun: whether a part was taken, so that no other frame may come before the rest.
    """

    __slots__ = ("_parts", "is_begun", "length")

    def __init__(self, parts: Sequence[bytes]):
        self._parts = deque(parts)
        self.length = sum(map(len, parts))
        self.is_begun = False

    def __next__(self) -> bytes:
        if not self._parts:
            raise StopIteration
        self.is_begun = True
        return self._parts.popleft()


def next_boundary(frames: bytes, at: int) -> int:
    """Return the first position at or after `at` where no frame is cut. frames: whole frames of the server."""
    end = 0
    while end < at:
        length = frames[end + 1]
        if length < 126:
            end += 2 + length
        elif length == 126:
            end += 4 + int.from_bytes(frames[end + 2 : end + 4], "big")
        else:
            end += 10 + int.from_bytes(frames[end + 2 : end + 10], "big")
    return end


def error_frame(error: RequestError, id_: int | None) -> bytes:
    """Return the frame of the ERROR that rejects a command. id_: the command's `id`, None if it has none."""
    message = Error(code=error.code, message=error.text, id=id_, retry_after_ms=error.retry_after, limit=error.limit)
    return text_frame(encode(message))
