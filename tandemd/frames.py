"""WebSocket frames as bytes (RFC 6455, section 5.2)."""

from struct import Struct

_SHORT = [bytes((0x81, length)) for length in range(126)]
_medium = Struct("!BBH").pack
_long = Struct("!BBQ").pack


def text_frame(payload: bytes) -> bytes:
    """Return a complete, unmasked text frame, as a server sends it."""
    length = len(payload)
    if length < 126:
        return _SHORT[length] + payload
    if length < 65536:
        return _medium(0x81, 126, length) + payload
    return _long(0x81, 127, length) + payload
