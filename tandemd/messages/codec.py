"""Decoding and encoding of messages, and the ERROR for frames that are no messages."""

from __future__ import annotations

import functools
import operator
import re
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import ErrorCode
from .base import ClientMessage
from .client import CLIENT_MESSAGES
from .fields import Seconds
from .repair import MAX_ID, find_id, replace_lone_surrogates
from .server import Error

encode = msgspec.json.Encoder().encode
"""Return a message as JSON: encode(message) -> bytes."""

_MESSAGE: Any = functools.reduce(operator.or_, CLIENT_MESSAGES)

decode: Any = msgspec.json.Decoder(_MESSAGE).decode
"""Return the message of a client: decode(bytes) -> ClientMessage.

Raises ValueError, which includes the errors of msgspec, or RecursionError; see `recover`.
"""


class _Envelope(Struct):
    type: Any = None
    id: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_TYPES = frozenset(message.__struct_config__.tag for message in CLIENT_MESSAGES)

_MAX_QUOTED_LENGTH = 40
"""Characters of a client's own text that an ERROR repeats."""


_POSITION_FIELDS = frozenset(
    field.encode_name
    for message in CLIENT_MESSAGES
    for field in msgspec.structs.fields(message)
    if field.type in (Seconds, Seconds | None)
)
_MIN_SECONDS = -1.0
"""A position that is greater than this counts as 0 if it is negative: players round, and some begin before 0."""


def recover(payload: bytes, error: Exception) -> ClientMessage | Error:
    """Return the message in a frame that `decode` rejected with `error`, or the ERROR for the frame.

    The repair replaces lone surrogates, positions a little before 0, and whole numbers that are written with a fraction (7.0).
    `decode` itself stays as fast as it is.
    """
    repaired = replace_lone_surrogates(payload)
    try:
        if repaired is not payload:
            try:
                return decode(repaired)  # type: ignore[no-any-return]
            except (ValueError, RecursionError) as other:
                error = other
        if isinstance(error, msgspec.ValidationError) and _ODD_NUMBER.match(str(error)):
            return _decode_with_usual_numbers(repaired)
    except (ValueError, RecursionError) as other:
        error = other
    return explain(repaired, error)


_ODD_NUMBER = re.compile(r"Expected `float` >= 0|Expected `int(?: \| null)?`, got `float`")
"""msgspec's error texts for numbers that can be repaired."""


def _decode_with_usual_numbers(payload: bytes) -> ClientMessage:
    values = msgspec.json.decode(payload)
    for name, value in values.items():
        if name in _POSITION_FIELDS and type(value) in (int, float) and _MIN_SECONDS < value < 0:
            values[name] = 0.0
        else:
            values[name] = _whole(value)
    return msgspec.convert(values, _MESSAGE)  # type: ignore[no-any-return]


def _whole(value: Any) -> Any:
    """Return a number without fraction, such as 7.0, as an int, also in the objects of a message; other values as they are."""
    if type(value) is dict:
        return {name: _whole(inner) for name, inner in value.items()}
    return int(value) if type(value) is float and value.is_integer() and abs(value) <= MAX_ID else value


def explain(payload: bytes, error: Exception) -> Error:
    """Return the ERROR for a frame that `decode` rejected with `error`. It carries the frame's `id`, if that can be read."""
    try:
        envelope = _decode_envelope(payload)
    except (ValueError, RecursionError) as outer:
        return Error(
            code=ErrorCode.BAD_MESSAGE,
            message=f"A message is one JSON object, but {_fault(outer)}.",
            id=find_id(payload),
        )
    id_ = _whole(envelope.id)
    if type(id_) is not int or not 0 <= id_ <= MAX_ID:
        id_ = None
    if not isinstance(envelope.type, str):
        return Error(code=ErrorCode.BAD_MESSAGE, message="A message needs a `type`, which is a string.", id=id_)
    if envelope.type not in _TYPES:
        return Error(
            code=ErrorCode.UNKNOWN_TYPE,
            message=f"The server knows no message type {envelope.type[:_MAX_QUOTED_LENGTH]!r}.",
            id=id_,
        )
    return Error(code=ErrorCode.BAD_MESSAGE, message=f"{envelope.type}: {_fault(error)}.", id=id_)


def _fault(error: Exception) -> str:
    """Return the fault of a message as a clause that names the field."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "a string in it is not valid UTF-8"
    text, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    field = f"`{path}`" if path else "it"
    for pattern, clause in _ERROR_TEXTS:
        match = re.fullmatch(pattern, text, re.DOTALL)
        if match:
            values = {
                name: _TYPE_NAMES.get(value, value if name == "fault" else value[:_MAX_QUOTED_LENGTH])
                for name, value in match.groupdict().items()
            }
            return clause.format(field=field, inside=f"{path}." if path else "", **values)
    return f"{field}: {text[: 4 * _MAX_QUOTED_LENGTH]}"


_TYPE_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "int | null": "a whole number or null",
    "float | null": "a number or null",
    "str | null": "a string or null",
    "object | null": "an object or null",
}
"""Names of types in msgspec's error texts, and words for clients."""

_ERROR_TEXTS = (
    (r"Object missing required field `(?P<name>[^`]*)`", "`{inside}{name}` is missing"),
    (r"Expected `str` matching regex .*", "{field} contains a control character or an invisible one, or is empty"),
    (r"`(?P<name>\w+)` is longer than (?P<most>\d+) bytes", "`{name}` is longer than {most} bytes"),
    (r"Expected `str` of length >= 1", "{field} is empty"),
    (r"Expected `str` of length <= (?P<most>\d+)", "{field} is longer than {most} characters"),
    (r"Expected `(?:float|int)` >= (?P<least>-?[\d.]+?)(?:\.0)?", "{field} is less than {least}"),
    (r"Expected `(?:float|int)` <= (?P<most>[\d.]+?)(?:\.0)?", "{field} is greater than {most}"),
    (r"Expected `(?P<kind>[^`]*)`, got `(?P<got>[^`]*)`", "{field} is {got}, not {kind}"),
    (r"Expected `(?P<kind>[^`]*)`", "{field} is not {kind}"),
    (r"Invalid enum value '(?P<value>.*)'", "{field} cannot be '{value}'"),
    (r"Number out of range", "{field} is a number out of range"),
    (r"JSON is malformed: (?P<fault>.*)", "the JSON is malformed: {fault}"),
    (r"Input data was truncated", "the JSON ends too early, or a string in it ends in the middle of a character"),
    (r"Invalid (?:unicode|UTF).*", "a string in it is not valid Unicode"),
)
"""Patterns of msgspec's error texts, and clauses for clients. `_fault` passes on texts without a pattern."""
