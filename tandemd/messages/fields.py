"""Types of fields in messages."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

_INVISIBLE_CHARACTERS = (
    r"\x00-\x1f\x7f-\x9f"
    r"\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
"""Control and format characters (Unicode categories Cc and Cf), for a character class of a regular expression.

Ids must not contain them: two ids that differ only in these would look the same, and a terminal may obey them.
"""

MAX_ID_BYTES = 256
"""Length limit of an id in UTF-8."""

Id = Annotated[str, Meta(min_length=1, max_length=100, pattern=rf"\A(?:[!-~]+|[^{_INVISIBLE_CHARACTERS}]+)\Z")]
"""A user id or room id: 1 to 100 characters, none of them a control or format character. See also `check_id`."""

Nonce = Annotated[str, Meta(max_length=64, pattern=rf"\A[^{_INVISIBLE_CHARACTERS}]*\Z")]
"""A random word of a client."""


def check_id(name: str, value: str) -> None:
    """Raise ValueError if an id is longer than `MAX_ID_BYTES`. name: the name of its field on the wire."""
    if 4 * len(value) > MAX_ID_BYTES and len(value.encode()) > MAX_ID_BYTES:
        raise ValueError(f"`{name}` is longer than {MAX_ID_BYTES} bytes")


MAX_SECONDS = 2**43
"""The greatest position: up to it, a number represents each millisecond. Some live streams count from 1970."""

Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
"""A position in a title, in seconds."""

Rate = Annotated[float, Meta(ge=0.25, le=4)]
"""A playback rate: seconds of film per second."""

Milliseconds = Annotated[float, Meta(ge=-(2**50), le=2**50)]
"""A time on any clock, in ms: some 35 000 years in both directions."""

MemberState = Literal["watching", "buffering", "away"]
"""The status of a member, as its client says."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A whole number that JavaScript represents exactly."""

SERVER = "server"
"""The user id of the server as a sender. Clients cannot join under it."""
