"""Repair of frames that a strict decoder rejects for one odd character or number. Pure functions.

A client that cuts a string in the middle of an emoji sends a lone surrogate (`"\\ud83d"`), which is valid JSON but no Unicode.
Browsers replace lone surrogates by U+FFFD when they encode text. The server does the same, wherever JSON comes in.
"""

from __future__ import annotations

import itertools
import re

REPLACEMENT = "\ufffd"
"""The character that stands for one that cannot be read."""

MAX_ID = 2**53
"""The greatest `id` of a command: JavaScript represents whole numbers exactly up to here."""

_MAX_TOKENS = 1000
"""Tokens of a malformed frame within which `find_id` looks for the id."""

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# A string without its end matches too. Otherwise each escaped quote in it would be tried as the beginning of another one.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_ID = re.compile(rb"\s*:\s*([0-9]{1,16})(?=\s*(?:[,}]|\Z))")


def replace_lone_surrogates(payload: bytes) -> bytes:
    """Return JSON in which U+FFFD replaces each escaped surrogate without its other half."""
    if not _SURROGATE_ESCAPE.search(payload):
        return payload
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], payload)


def well_formed(text: str) -> str:
    """Return a text in which U+FFFD replaces each surrogate."""
    return text if text.isascii() else _SURROGATE.sub(REPLACEMENT, text)


def find_id(payload: bytes) -> int | None:
    """Return the `id` of a frame that is no valid JSON, None if it has none that can be read."""
    if not payload.lstrip().startswith(b"{"):
        return None
    depth = 0
    for token in itertools.islice(_TOKEN.finditer(payload), _MAX_TOKENS):
        match token[0]:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
            case b'"id"' if depth == 1 and (value := _ID.match(payload, token.end())):
                return int(value[1]) if int(value[1]) <= MAX_ID else None
    return None
