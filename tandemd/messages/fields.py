"""What fields of messages may hold."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

_INVISIBLE_CHARACTERS = (
    r"\x00-\x1f\x7f-\x9f"
    r"\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
"""Control characters and format characters (Unicode's categories Cc and Cf), for a class of a regular expression: two ids
that differ in these only would look the same, and a terminal may obey them."""

MAX_ID_BYTES = 256
"""How many bytes of UTF-8 an id may have."""

Id = Annotated[str, Meta(min_length=1, max_length=100, pattern=rf"\A(?:[!-~]+|[^{_INVISIBLE_CHARACTERS}]+)\Z")]
"""A user id or room id: 1 to 100 characters and at most `MAX_ID_BYTES`, none of them a control or format character."""

Nonce = Annotated[str, Meta(max_length=64, pattern=rf"\A[^{_INVISIBLE_CHARACTERS}]*\Z")]
"""A word that a client has invented."""


def check_id(name: str, value: str) -> None:
    """Raise ValueError if an id has too many bytes. name: of its field, in the message."""
    if 4 * len(value) > MAX_ID_BYTES and len(value.encode()) > MAX_ID_BYTES:
        raise ValueError(f"`{name}` is longer than {MAX_ID_BYTES} bytes")


Seconds = Annotated[float, Meta(ge=0, le=10_000_000)]
"""A position in a title."""

Count = Annotated[int, Meta(ge=0, le=2**53)]

SERVER = "server"
"""The sender of what the server does by itself. Nobody may join under this name."""
