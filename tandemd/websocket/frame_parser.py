"""Parsing of text frames that clients send (RFC 6455, section 5.2). Pure functions."""

from __future__ import annotations

from ..messages.framing import FINAL_TEXT


def take_texts(data: bytes, limit: int, most: int) -> tuple[list[bytes], bytes]:
    """Return the text messages at the beginning of `data`, and the rest.

    limit: the length of the longest message, in bytes. Messages above 65535 bytes are never taken.
    most: the largest number of messages to take.

    A frame is taken if it is complete, masked, final, without extensions, and valid UTF-8. The rest begins with the first
    frame that is not taken.
    """
    texts: list[bytes] = []
    at, end = 0, len(data)
    while end - at >= 6 and data[at] == FINAL_TEXT:
        length = data[at + 1] - 0x80
        start = at + 6
        if length == 126:
            length = data[at + 2] << 8 | data[at + 3]
            if length < 126:
                break  # not the shortest form: Autobahn closes the connection for this violation
            start = at + 8
        elif not 0 <= length < 126:
            break
        after = start + length
        if after > end or length > limit:
            break
        text = unmask(data[start:after], data[start - 4 : start])
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                break
        texts.append(text)
        at = after
        if len(texts) == most:
            break
    return texts, data[at:] if at else data


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Return a payload that was masked with 4 bytes. The function computes one exclusive-or of two long integers."""
    length = len(payload)
    if mask == b"\0\0\0\0":
        return payload
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
