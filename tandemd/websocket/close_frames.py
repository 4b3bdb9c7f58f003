"""Validation of close frames that clients send (RFC 6455, section 7.4). Pure functions."""

from __future__ import annotations

from msgspec import Struct

from ..errors import CloseCode

_ASSIGNED = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
"""Codes below 3000 that an endpoint may send, by IANA's registry. 1005, 1006 and 1015 only stand for missing codes."""
_REGISTERED_AND_PRIVATE = range(3000, 5000)


class CloseFrameError(Struct, frozen=True):
    """The answer to an invalid close frame."""

    code: CloseCode
    reason: str


def close_frame_error(code: int | None, reason: bytes | None) -> CloseFrameError | None:
    """Return the answer to a close frame of a client if the frame is invalid, or None.

    code: None for a frame without payload.
    reason: None for a frame without reason.
    """
    if code is not None and code not in _ASSIGNED and code not in _REGISTERED_AND_PRIVATE:
        return CloseFrameError(CloseCode.PROTOCOL_ERROR, f"invalid close code {code}")
    try:
        (reason or b"").decode()
    except UnicodeDecodeError:
        return CloseFrameError(CloseCode.INVALID_PAYLOAD, "the close reason is not valid UTF-8")
    return None
