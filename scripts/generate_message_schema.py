"""Descriptions of the messages for programs, made from the declarations in `messages`.

`python -m scripts.generate_message_schema` writes the files of `outputs`: a JSON Schema, an AsyncAPI document around it, and
types for TypeScript.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.inspect import Field, StructType, type_info

from scripts.asyncapi_document import asyncapi_document
from scripts.generate_protocol_reference import OBJECTS, is_null_omitted, meanings_of, summary_of, tag_of
from scripts.typescript_types import typescript_types
from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python -m scripts.generate_message_schema"

SCHEMA, ASYNCAPI, TYPES = "docs/messages.schema.json", "docs/asyncapi.yaml", "tandemd/web/client/messages.d.ts"

DESCRIPTION = (
    "The messages of the tandemd protocol, as docs/protocol.md describes them. Made from the declarations of the server. "
    "The server sends only messages that are valid by ServerMessage, and decodes all that are valid by ClientMessage, with these "
    "exceptions. It rejects a room id or user id of more than 256 bytes in UTF-8, and a message that is longer than "
    "limits.frame_bytes. It accepts a position between -1 and 0, which counts as 0. "
    "A decoded message can still be rejected for its meaning, such as a title that is not allowed. Receivers ignore undeclared "
    "fields, and types that they do not know."
)

_PATTERN = re.compile(r"\\A(?:\(\?:\[!-~\]\+\|)?\[\^(?P<excluded>[^\]]+)\][+*]\)?\\Z")
"""The patterns of `messages.fields`: strings of any characters but the excluded ones."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of all messages. Its `$defs` have one entry for each message and object.

    Raises ValueError for an object that is not in `OBJECTS`.
    """
    kinds: tuple[type[Struct], ...] = (*m.CLIENT_MESSAGES, *m.SERVER_MESSAGES, *OBJECTS)
    _, components = msgspec.json.schema_components(kinds)
    if missing := components.keys() - {kind.__name__ for kind in kinds}:
        raise ValueError(f"add to OBJECTS of scripts/generate_protocol_reference.py: {', '.join(sorted(missing))}")
    client, server = ([name_of(kind) for kind in each] for each in (m.CLIENT_MESSAGES, m.SERVER_MESSAGES))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Messages of the tandemd protocol, version {m.PROTOCOL}",
        "description": DESCRIPTION,
        "anyOf": [_reference("ClientMessage"), _reference("ServerMessage")],
        "$defs": {
            "ClientMessage": {"description": "A message of a client.", "oneOf": list(map(_reference, client))},
            "ServerMessage": {"description": "A message of the server.", "oneOf": list(map(_reference, server))},
            **{name_of(kind): _definition(kind, components[kind.__name__]) for kind in kinds},
        },
    }


def name_of(kind: type[Struct]) -> str:
    """Return the name of a message or object in the schema: ClientPlayPause for PLAY_PAUSE from a client."""
    if not issubclass(kind, m.ClientMessage | m.ServerMessage):
        return kind.__name__
    sender = "Client" if issubclass(kind, m.ClientMessage) else "Server"
    return sender + tag_of(kind).title().replace("_", "")


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _definition(kind: type[Struct], component: dict[str, Any]) -> dict[str, Any]:
    info, meanings = type_info(kind), meanings_of(kind)
    assert isinstance(info, StructType)
    fields = {field.encode_name: field for field in info.fields}
    properties = {
        name: _property(kind, fields[name], given, meanings[name]) if name in fields else {"const": tag_of(kind)}
        for name, given in component["properties"].items()
    }
    is_message = issubclass(kind, m.ClientMessage | m.ServerMessage)
    return {
        "title": tag_of(kind) if is_message else kind.__name__,
        "description": summary_of(kind),
        **({"deprecated": True} if getattr(kind, "legacy", False) else {}),
        "type": "object",
        "properties": properties,
        "required": component.get("required", []),
    }


def _property(kind: type[Struct], field: Field, given: dict[str, Any], meaning: str) -> dict[str, Any]:
    """Return the schema of a field.

    given: that of msgspec. meaning: the text of the field.
    """
    shape = {name: value for name, value in given.items() if name != "default" or value is not None}
    if is_null_omitted(kind, field):
        (shape,) = (choice for choice in given["anyOf"] if choice != {"type": "null"})
    if (kind, field.name) == (m.Error, "code"):
        shape = {"enum": [str(code) for code in ERROR_MEANINGS]}
    return {"description": f"{meaning[0].upper()}{meaning[1:]}", **portable(shape)}


def portable(shape: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that means the same to all validators, in the drafts 7 and 2020-12, and in JavaScript and Python."""
    result: dict[str, Any] = {}
    for name, value in shape.items():
        match name, value:
            case "pattern", str():
                result["not"] = {"type": "string", "pattern": _excluded_characters(value)}
            case "anyOf", list():
                result["anyOf"] = list(map(portable, value))
            case "prefixItems", [first, *others] if all(other == first for other in others):
                result["items"] = first
            case "items", False:
                # The number of items is bounded, too.
                pass
            case _:
                result[name] = value
    return result


def _excluded_characters(pattern: str) -> str:
    """Return a pattern that finds a character which `pattern`, of `messages.fields`, excludes."""
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        raise ValueError(f"no translation for the pattern {pattern!r}")
    # JavaScript knows no \U escapes.
    excluded = re.sub(r"\\U([0-9a-f]{8})", lambda escape: chr(int(escape[1], 16)), match["excluded"])
    return f"[{excluded}]"


def outputs() -> dict[str, str]:
    """Return the generated files: their contents, by the path from the top level."""
    described = schema()
    return {
        SCHEMA: json.dumps(described, indent=2) + "\n",
        ASYNCAPI: f"# Made by `{COMMAND}`. Do not edit.\n{asyncapi_document(described)}",
        TYPES: f"// Made by `{COMMAND}`. Do not edit.\n\n{typescript_types(described)}",
    }


def main() -> None:
    """Write the generated files."""
    for path, text in outputs().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
