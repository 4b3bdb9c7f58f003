"""The JSON Schema of the messages: validation, and values that are valid by it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from scripts.generate_message_schema import schema

SCHEMA = schema()


@cache
def _validators(sender: str) -> dict[str, Draft202012Validator]:
    """Return a validator for each `type` of message. sender: "Client" or "Server"."""
    choices = SCHEMA["$defs"][f"{sender}Message"]["oneOf"]
    return {
        definition_of(choice)["title"]: Draft202012Validator({**choice, "$defs": SCHEMA["$defs"]}) for choice in choices
    }


def definition_of(reference: dict[str, str]) -> dict[str, Any]:
    """Return the definition that a reference leads to."""
    definition: dict[str, Any] = SCHEMA["$defs"][reference["$ref"].removeprefix("#/$defs/")]
    return definition


def faults(sender: str, message: Any) -> list[str]:
    """Return the reasons why a message is invalid. sender: "Client" or "Server"."""
    if not isinstance(message, dict):
        return ["no object"]
    kind = message.get("type")
    validator = _validators(sender).get(kind) if isinstance(kind, str) else None
    if validator is None:
        return [f"no message of the type {kind!r}"]
    return [f"{kind} {error.json_path}: {error.message}" for error in validator.iter_errors(message)]


def values(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for JSON values that are valid by a schema, as far as the schemas of messages need it."""
    match shape:
        case {"$ref": str()}:
            return values(definition_of(shape))
        case {"anyOf": [*choices]}:
            return st.one_of(*map(values, choices))
        case {"const": value}:
            return st.just(value)
        case {"enum": [*choices]}:
            return st.sampled_from(choices)
        case {"type": "object", "properties": properties, "required": required}:
            return st.fixed_dictionaries(
                {name: values(properties[name]) for name in required},
                optional={name: values(inner) for name, inner in properties.items() if name not in required},
            )
        case {"type": "array", "items": items}:
            return st.lists(values(items), min_size=shape.get("minItems", 0), max_size=shape.get("maxItems", 3))
        case {"type": "string"}:
            return _texts(shape)
        case {"type": "integer"}:
            return st.integers(shape.get("minimum"), shape.get("maximum"))
        case {"type": "number"}:
            return st.floats(shape.get("minimum"), shape.get("maximum"), allow_nan=False, allow_infinity=False)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "null"}:
            return st.none()
    raise AssertionError(f"no values for {shape}")


def _texts(shape: dict[str, Any]) -> st.SearchStrategy[str]:
    excluded = re.compile(shape["not"]["pattern"] if "not" in shape else r"[^\s\S]")
    characters = st.characters(exclude_categories=["Cs"]).filter(lambda character: not excluded.search(character))
    return st.text(characters, min_size=shape.get("minLength", 0), max_size=shape.get("maxLength"))


def broken(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for JSON values at the limits of a schema, just beyond them, and of other types."""
    others: list[st.SearchStrategy[Any]] = [
        st.sampled_from([None, True, 0, -1, 1.5, 1e300, 2**53 + 1, "", "\u200b", "x\n", "x" * 8193, [], {}])
    ]
    match shape:
        case {"$ref": str()}:
            others.append(_broken_object(definition_of(shape)))
        case {"anyOf": [*choices]}:
            others += map(broken, choices)
        case {"type": "string", "maxLength": int(most)}:
            others.append(st.sampled_from(["x" * most, "x" * (most + 1)]))
        case {"type": "integer" | "number", "minimum": least, "maximum": most}:
            others.append(st.sampled_from([least, least - 1, most, most + 1]))
        case {"enum": [*choices]}:
            others.append(st.sampled_from([*choices, f"{choices[0]}s"]))
    return st.one_of(*others)


def _broken_object(definition: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: broken(inner) for name, inner in definition["properties"].items()})


def damaged(definition: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for messages with one field that is absent, or may be invalid."""

    def damage(message: dict[str, Any], name: str, value: Any, is_absent: bool) -> dict[str, Any]:
        rest = {key: kept for key, kept in message.items() if key != name}
        return rest if is_absent else {**rest, name: value}

    names = [name for name in definition["properties"] if name != "type"]
    return st.sampled_from(names).flatmap(
        lambda name: st.builds(
            damage, values(definition), st.just(name), broken(definition["properties"][name]), st.booleans()
        )
    )
