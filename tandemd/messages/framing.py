"""WebSocket frames that the server sends (RFC 6455, section 5.2). Pure functions."""

from __future__ import annotations

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
    length = len(payload)
    if length < 126:
        return _SHORT[length] + payload
    if length < 65536:
        return _medium(FINAL_TEXT, 126, length) + payload
    return _long(FINAL_TEXT, 127, length) + payload


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
