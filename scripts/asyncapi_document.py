"""The AsyncAPI document of the WebSocket, made from the JSON Schema of the messages."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from scripts.generate_protocol_reference import PERMISSION_TEXTS, tag_of
from tandemd import messages as m
from tandemd.rules.permissions import PERMISSIONS

DESCRIPTION = """\
Watch parties over one WebSocket. This document lists the messages; protocol.md explains them, and openapi.yaml describes the
HTTP interface.

Each message is one text frame with one JSON object. The server answers a client's message that has an `id` with ACK or ERROR.
Without an `id` it sends only ERROR. Receivers ignore fields and types that they do not know.
"""

REPLIES = {"JOIN": "ROOM_STATE", "PING": "PONG", "REQUEST_SYNC": "SYNC_RESPONSE"}
"""The message that answers a client's message if the server accepts it, beside ACK."""

TAGS = {
    "logged": "A message of a change of the room. All members receive these in one order.",
    "legacy": "A message that only the tandem.watch extension 2.0.0 uses.",
}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and repeats objects instead of referring to them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def asyncapi_document(schema: dict[str, Any]) -> str:
    """Return the AsyncAPI 3.0 document, in YAML. schema: the JSON Schema of all messages."""
    definitions = _with_references(copy.deepcopy(schema["$defs"]))
    unions = {name: definitions.pop(name) for name in ("ClientMessage", "ServerMessage")}
    sent, received = (
        [choice["$ref"].rpartition("/")[2] for choice in unions[name]["oneOf"]]
        for name in ("ServerMessage", "ClientMessage")
    )
    kinds = dict(zip([*received, *sent], [*m.CLIENT_MESSAGES, *m.SERVER_MESSAGES], strict=True))
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tandemd",
            "version": str(m.PROTOCOL),
            "description": DESCRIPTION,
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        },
        "defaultContentType": "application/json",
        "servers": {
            "plain": {"host": "localhost:4001", "protocol": "ws", "description": "A node without TLS."},
            "tls": {"host": "party.example.org", "protocol": "wss", "description": "A node with TLS."},
        },
        "channels": {
            "socket": {
                "address": "/ws",
                "description": "The one WebSocket of a client, without subprotocol.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in kinds},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {f"{name[0].lower()}{name[1:]}": _operation(name, kind, kinds) for name, kind in kinds.items()},
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "In the field `auth` of JOIN, not in a header. Needed if `features` names `auth`.",
                }
            },
            "messages": {name: _message(name, kind, definitions[name]) for name, kind in kinds.items()},
            "schemas": definitions,
        },
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _with_references(value: Any) -> Any:
    """Return a schema whose references lead to the components of the document."""
    if isinstance(value, dict):
        return {
            name: inner.replace("#/$defs/", "#/components/schemas/") if name == "$ref" else _with_references(inner)
            for name, inner in value.items()
        }
    return list(map(_with_references, value)) if isinstance(value, list) else value


def _tags(kind: type[Any]) -> dict[str, Any]:
    names = [*(["logged"] if issubclass(kind, m.SequencedMessage) else []), *(["legacy"] if kind.legacy else [])]
    return {"tags": [{"name": name} for name in names]} if names else {}


def _message(name: str, kind: type[Any], definition: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": tag_of(kind),
        "title": definition["title"],
        "summary": definition["description"],
        **_tags(kind),
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _operation(name: str, kind: type[Any], kinds: dict[str, type[Any]]) -> dict[str, Any]:
    """Return the operation for a message. AsyncAPI names it as the server sees it: it receives the messages of clients."""
    is_received = issubclass(kind, m.ClientMessage)
    operation: dict[str, Any] = {
        "action": "receive" if is_received else "send",
        "channel": {"$ref": "#/channels/socket"},
        "title": tag_of(kind),
    }
    if is_received:
        operation["description"] = PERMISSION_TEXTS[PERMISSIONS[kind]]
    if kind is m.Join:
        operation["security"] = [{"$ref": "#/components/securitySchemes/token"}]
    operation |= _tags(kind)
    operation["messages"] = [_in_channel(name)]
    if is_received and (answer := REPLIES.get(tag_of(kind))) is not None:
        (reply,) = (
            other for other, each in kinds.items() if tag_of(each) == answer and not issubclass(each, m.ClientMessage)
        )
        operation["reply"] = {"channel": {"$ref": "#/channels/socket"}, "messages": [_in_channel(reply)]}
    return operation


def _in_channel(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/socket/messages/{name}"}
