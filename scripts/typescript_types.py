"""Types for TypeScript, made from the JSON Schema of the messages."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

WIDTH = 120


def typescript_types(schema: dict[str, Any]) -> str:
    """Return a module of type declarations: one interface for each object of the schema, and maps from `type` to message.

    Raises ValueError for a schema without a type for it.
    """
    lines: list[str] = []
    for name, definition in schema["$defs"].items():
        if "oneOf" in definition:
            lines += _union(name, definition, schema["$defs"])
        else:
            lines += _interface(name, definition)
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _union(name: str, definition: dict[str, Any], defs: dict[str, Any]) -> Iterator[str]:
    yield f"/** {definition['description'].removesuffix('.')}, by its `type`. */"
    yield f"export interface {name}s {{"
    for choice in definition["oneOf"]:
        target = _target(choice)
        yield f"  {defs[target]['properties']['type']['const']}: {target};"
    yield "}"
    yield ""
    yield f"/** {definition['description']} */"
    yield f"export type {name} = {name}s[keyof {name}s];"


def _interface(name: str, definition: dict[str, Any]) -> Iterator[str]:
    marks = ["@deprecated Only for the tandem.watch extension 2.0.0."] if definition.get("deprecated") else []
    yield from _comment([definition["description"], *marks], "")
    yield f"export interface {name} {{"
    for field, shape in definition["properties"].items():
        default = [f"@default {json.dumps(shape['default'])}"] if "default" in shape else []
        if "description" in shape:
            yield from _comment([shape["description"], *default], "  ")
        mark = "" if field in definition["required"] else "?"
        yield f"  {field}{mark}: {type_of(shape)};"
    yield "}"


def _comment(texts: list[str], indent: str) -> Iterator[str]:
    lines = [line for text in texts for line in textwrap.wrap(text, WIDTH - len(indent) - 3)]
    if len(lines) == 1:
        yield f"{indent}/** {lines[0]} */"
        return
    yield f"{indent}/**"
    yield from (f"{indent} * {line}" for line in lines)
    yield f"{indent} */"


def type_of(shape: dict[str, Any]) -> str:
    """Return the type for a schema. Raises ValueError for one that no message has."""
    match shape:
        case {"$ref": str()}:
            return _target(shape)
        case {"anyOf": [*choices]}:
            return " | ".join(map(type_of, choices))
        case {"const": value}:
            return json.dumps(value)
        case {"enum": [*values]}:
            return " | ".join(map(json.dumps, values))
        case {"type": "array", "items": items, "minItems": least, "maxItems": most} if least == most:
            return f"[{', '.join([type_of(items)] * least)}]"
        case {"type": "array", "items": items}:
            return f"{type_of(items)}[]"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as name}:
            return str(name)
    raise ValueError(f"no type for {shape}")


def _target(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]
