"""The reference half of docs/protocol.md, made from the declarations in `messages`, `permissions` and `errors`.

`python -m scripts.generate_protocol_reference docs/protocol.md` writes it below the line `MARK`; the text above is
written by hand.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.inspect import (
    BoolType,
    CustomType,
    Field,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    NoneType,
    StrType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS
from tandemd.rules.permissions import PERMISSIONS, Permission

MARK = "<!-- From here on made by `python -m scripts.generate_protocol_reference docs/protocol.md`. Do not edit. -->"

USUAL = {
    "currentTime": "the film's position, in seconds.",
    "isPlaying": "whether the film plays.",
    "url": 'the title, an absolute URL; `""` if none was chosen.',
    "userId": "the member.",
    "username": "the name to show, or null.",
    "timestamp": "the server's clock.",
    "roomId": "the room.",
    "guestControlEnabled": "whether guests may control the film.",
    "enabled": "true to allow, false to forbid.",
    "users": "the members, also those in their grace period.",
    "hostUserId": "the host.",
    "to": "the receiver.",
    "offer": "the description.",
    "answer": "the description.",
    "candidate": "the candidate; null ends the list.",
    "control": "the new state.",
    "text": "the text.",
    "targetUserId": "the member.",
    "locked": "whether the room keeps newcomers out.",
    "fromUserId": "the sender; `server` for the room's position.",
}
"""Meanings of fields for which a docstring has no other text."""

LEGACY_TEXT = (
    "Only the tandem.watch extension 2.0.0 uses these. Do not send them, and ignore them if you receive them. Ignore also two "
    "forms of other messages: a SYNC_RESPONSE whose `fromUserId` is not `server`, and a GUEST_CONTROL without `seq`."
)

SERVER_OBJECTS: tuple[type[Struct], ...] = (m.User, m.IceServer, m.GateState, m.DriftPolicy, m.BanEntry)
"""Objects that only messages of the server have."""

OBJECTS: tuple[type[Struct], ...] = (m.Resume, m.SessionDescription, m.IceCandidateInit, *SERVER_OBJECTS)
"""The objects in messages. `generate_message_schema` reports one that is missing here."""

PERMISSION_TEXTS = {
    Permission.ANY_CLIENT: "Every client may send it, also before JOIN.",
    Permission.MEMBER: "Members may send it.",
    Permission.CONTROLLER: (
        "The host and delegates may send it; guests while guest control is on, or the host has been gone for 10 s."
    ),
    Permission.HOST: "The host may send it.",
}


def reference() -> str:
    """Return the generated half, in Markdown."""
    lines = ["## Messages of a client", ""]
    lines += [summary_of(m.ClientMessage), ""]
    lines += _table(m.ClientMessage, set())
    for kind in m.CLIENT_MESSAGES:
        if not kind.legacy:
            lines += _client_section(kind)
    lines += ["", "## Messages of the server", ""]
    lines += [summary_of(m.SequencedMessage), "", "In the messages that are marked *logged*:", ""]
    lines += _table(m.SequencedMessage, set())
    for message in m.SERVER_MESSAGES:
        if not message.legacy:
            lines += _server_section(message)
    lines += ["", "## Objects in messages", ""]
    for part in OBJECTS:
        lines += [f"### {part.__name__}", "", summary_of(part), *_table(part, set(), gap=True), ""]
    lines += ["## Features", "", "The names in `features` of ROOM_STATE and `/api/config`.", ""]
    lines += ["| feature | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in m.FEATURES.items()]
    lines += ["", "## Codes of ERROR", "", "| code | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in ERROR_MEANINGS.items()]
    lines += ["", "## Messages for the old extension", "", LEGACY_TEXT]
    for kind in m.CLIENT_MESSAGES:
        if kind.legacy:
            lines += _client_section(kind, " (from a client)")
    for message in m.SERVER_MESSAGES:
        if message.legacy:
            lines += _server_section(message, " (from the server)")
    return "\n".join(lines) + "\n"


def _client_section(kind: type[m.ClientMessage], mark: str = "") -> list[str]:
    lines = ["", f"### {tag_of(kind)}{mark}", "", summary_of(kind), "", PERMISSION_TEXTS[PERMISSIONS[kind]]]
    return [*lines, *_table(kind, _names(m.ClientMessage), gap=True)]


def _server_section(kind: type[m.ServerMessage], mark: str = "") -> list[str]:
    logged = issubclass(kind, m.SequencedMessage)
    mark += " (logged)" if logged else ""
    known = _names(m.SequencedMessage) if logged else set()
    return ["", f"### {tag_of(kind)}{mark}", "", summary_of(kind), *_table(kind, known, gap=True)]


def updated(document: str) -> str:
    """Return the document with the generated half as it should be. Raises ValueError if `MARK` is missing."""
    head, mark, _ = document.partition(MARK)
    if not mark:
        raise ValueError(f"there is no line {MARK!r}")
    return f"{head}{MARK}\n\n{reference()}"


def undocumented() -> list[str]:
    """Return the fields ("Class.field") that have neither a text of their own nor a usual meaning."""
    missing = []
    for kind in (*m.CLIENT_MESSAGES, *m.SERVER_MESSAGES, *OBJECTS):
        texts = meanings_of(kind)
        missing += [f"{kind.__name__}.{x.encode_name}" for x in _fields(kind) if x.encode_name not in texts]
    return missing


def tag_of(kind: type[Struct]) -> str:
    """Return the `type` of a message."""
    return str(kind.__struct_config__.tag)


def _fields(kind: type[Struct]) -> tuple[Field, ...]:
    info = type_info(kind)
    assert isinstance(info, StructType)
    return info.fields


def _names(kind: type[Struct]) -> set[str]:
    return {x.encode_name for x in _fields(kind)}


_FIELD = re.compile(r"^((?:\w+, )*\w+): (.*)$")


def _lines(kind: type[Struct]) -> list[str]:
    return inspect.cleandoc(kind.__doc__ or "").splitlines()


def summary_of(kind: type[Struct]) -> str:
    """Return the purpose of a message or object, without its fields."""
    told = []
    for line in _lines(kind):
        if _FIELD.match(line):
            break
        told.append(line)
    return " ".join(filter(None, told))


def meanings_of(kind: type[Struct]) -> dict[str, str]:
    """Return the meaning of each field, by its name on the wire."""
    texts = dict(USUAL)
    for base in reversed(kind.__mro__):
        if not (issubclass(base, Struct) and base.__module__.startswith(m.__name__)):
            continue
        names: list[str] = []
        for line in _lines(base):
            match = _FIELD.match(line)
            if match:
                names = match[1].split(", ")
                texts.update(dict.fromkeys(names, match[2]))
            elif line:
                # A text goes on in the next line.
                texts.update({name: f"{texts[name]} {line}" for name in names})
            else:
                names = []
    return texts


def _table(kind: type[Struct], known: set[str], *, gap: bool = False) -> Iterator[str]:
    texts = meanings_of(kind)
    rows = [x for x in _fields(kind) if x.encode_name not in known]
    if rows and gap:
        yield ""
    if rows:
        yield "| field | type | meaning |"
        yield "|---|---|---|"
    for x in rows:
        type_ = x.type
        if is_null_omitted(kind, x) and isinstance(type_, UnionType):
            type_ = UnionType(tuple(other for other in type_.types if not isinstance(other, NoneType)))
        yield f"| `{x.encode_name}` | {_type(type_)}{_optional(x)} | {_escape(texts.get(x.encode_name, ''))} |"


def is_null_omitted(kind: type[Struct], field: Field) -> bool:
    """Say whether a field is absent where its value would be null, because only the server sends the message or object."""
    is_sent = issubclass(kind, m.ServerMessage) or kind in SERVER_OBJECTS
    return is_sent and kind.__struct_config__.omit_defaults and not field.required and field.default is None


def _optional(x: Field) -> str:
    if x.required:
        return ""
    return ", may be absent" if x.default in (None, msgspec.NODEFAULT) else f", absent means `{_json(x.default)}`"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _type(kind: Type) -> str:
    match kind:
        case UnionType():
            return " or ".join(_type(x) for x in kind.types)
        case NoneType():
            return "null"
        case BoolType():
            return "true or false"
        case StrType():
            return f"string{_length(kind)}"
        case IntType() | FloatType():
            return f"{'whole number' if isinstance(kind, IntType) else 'number'}{_range(kind)}"
        case LiteralType():
            return " or ".join(f"`{_json(value)}`" for value in kind.values)
        case ListType():
            return f"array of {_type(kind.item_type)}"
        case VarTupleType():
            return f"array of {_type(kind.item_type)}"
        case TupleType():
            return f"[{', '.join(_type(x) for x in kind.item_types)}]"
        case StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
        case CustomType():
            return "anything"
    raise TypeError(f"no words for {kind}")


def _length(kind: StrType) -> str:
    if kind.max_length is None:
        return ", not empty" if kind.min_length else ""
    unseen = ", no control or format characters" if kind.pattern else ""
    return f" of {kind.min_length or 0} to {kind.max_length} characters{unseen}"


def _range(kind: IntType | FloatType) -> str:
    if kind.ge is None or kind.le is None:
        return ""
    return f", {_bound(kind.ge)} to {_bound(kind.le)}"


def _bound(value: float) -> str:
    for power in (50, 53):
        if abs(value) == 2**power:
            return f"{'-' * (value < 0)}2^{power}"
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def main(path: str) -> None:
    """Rewrite the generated half of the document at `path`."""
    with open(path, encoding="utf-8") as file:
        document = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(updated(document))


if __name__ == "__main__":
    main(sys.argv[1])
