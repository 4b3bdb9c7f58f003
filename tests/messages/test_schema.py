"""The JSON Schema of the messages, the AsyncAPI document and the types for TypeScript: up to date, and true."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from scripts import generate_message_schema, typescript_types
from scripts.generate_message_schema import ASYNCAPI, COMMAND, TYPES, name_of, outputs
from tandemd import messages as m
from tandemd.messages.codec import recover
from tandemd.messages.fields import MAX_ID_BYTES

from ..support.message_schema import SCHEMA, damaged, faults, values
from .test_codec import ODD_NUMBERS, ODD_TEXTS, REFUSED, valid_fields

ROOT = Path(__file__).parent.parent.parent
PROFILE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


class FileTests(SynchronousTestCase):
    def test_they_are_up_to_date(self) -> None:
        for path, text in outputs().items():
            self.assertEqual((ROOT / path).read_text(encoding="utf-8"), text, f"{path}: run `{COMMAND}`")

    def test_the_schema_is_one(self) -> None:
        Draft202012Validator.check_schema(SCHEMA)

    def test_every_message_is_in_each_file(self) -> None:
        document = yaml.safe_load(outputs()[ASYNCAPI])
        types = outputs()[TYPES]
        kinds: tuple[type[m.ClientMessage] | type[m.ServerMessage], ...] = (*m.CLIENT_MESSAGES, *m.SERVER_MESSAGES)
        for kind in kinds:
            name, tag = name_of(kind), kind.__struct_config__.tag
            definition = SCHEMA["$defs"][name]
            self.assertEqual(definition["properties"]["type"], {"const": tag})
            self.assertEqual("deprecated" in definition, kind.legacy)
            self.assertEqual(document["components"]["messages"][name]["name"], tag)
            self.assertIn(f'export interface {name} {{\n  type: "{tag}";\n', types)
            self.assertIn(f"\n  {tag}: {name};\n", types)

    def test_operations_are_as_the_server_sees_them(self) -> None:
        operations = yaml.safe_load(outputs()[ASYNCAPI])["operations"]
        self.assertEqual(operations["clientJoin"]["action"], "receive")
        self.assertEqual(operations["serverRoomState"]["action"], "send")
        self.assertEqual(
            operations["clientJoin"]["reply"]["messages"], [{"$ref": "#/channels/socket/messages/ServerRoomState"}]
        )
        self.assertEqual(len(operations), len(m.CLIENT_MESSAGES) + len(m.SERVER_MESSAGES))

    def test_patterns_are_for_javascript(self) -> None:
        """JavaScript's regular expressions have neither the anchors of Python's nor its long escapes."""
        patterns = set(re.findall(r'"pattern": "(.*)"', json.dumps(SCHEMA, indent=1)))
        self.assertEqual(len(patterns), 1)
        for pattern in patterns:
            self.assertNotRegex(pattern, r"\\[AZU]")

    def test_a_pattern_without_translation_is_reported(self) -> None:
        self.assertRaises(ValueError, generate_message_schema.portable, {"type": "string", "pattern": "^a|b$"})

    def test_a_schema_without_a_type_is_reported(self) -> None:
        self.assertRaises(ValueError, typescript_types.type_of, {"type": "object"})


def finite(text: str) -> tuple[Any] | None:
    """Return the value of a JSON text, None for a text that is no JSON and for infinite numbers."""

    def number(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ValueError
        return float(digits)

    try:
        return (json.loads(text, parse_constant=number, parse_float=number),)
    except ValueError:
        return None


def decoded(message: Any) -> m.ClientMessage | m.Error:
    """Return the message as the server decodes it, or its ERROR."""
    payload = json.dumps(message).encode()
    try:
        return m.decode(payload)  # type: ignore[no-any-return]
    except (ValueError, RecursionError) as error:
        return recover(payload, error)


POSITIONS = ("currentTime", "targetTime", "duration")


def is_known_exception(message: dict[str, Any]) -> bool:
    """Say whether the schema and the server may differ about a message, see `generate_message_schema.DESCRIPTION`."""
    for name, value in message.items():
        if isinstance(value, str):
            if name in ("roomId", "userId", "targetUserId") and len(value.encode()) > MAX_ID_BYTES:
                return True
        elif name in POSITIONS:
            if type(value) in (int, float) and -1 < value < 0:
                return True
        elif isinstance(value, dict) and is_known_exception(value):
            return True
    return False


class AgreementTests(SynchronousTestCase):
    """The schema and the decoder of the server agree about the messages of clients."""

    @PROFILE
    @given(st.sampled_from(m.CLIENT_MESSAGES), st.data())
    def test_the_server_decodes_what_is_valid(self, kind: type[m.ClientMessage], data: st.DataObject) -> None:
        message = data.draw(values(SCHEMA["$defs"][name_of(kind)]))
        self.assertEqual(faults("Client", message), [])
        if not is_known_exception(message):
            self.assertIsInstance(decoded(message), kind, message)

    @PROFILE
    @given(st.sampled_from(m.CLIENT_MESSAGES), st.data())
    def test_what_the_server_rejects_is_invalid(self, kind: type[m.ClientMessage], data: st.DataObject) -> None:
        message = data.draw(damaged(SCHEMA["$defs"][name_of(kind)]))
        if not is_known_exception(message):
            self.assertEqual(isinstance(decoded(message), m.Error), bool(faults("Client", message)), message)

    def test_rejected_examples_are_invalid(self) -> None:
        checked = 0
        for name, (payload, _) in REFUSED.items():
            try:
                found = finite(payload.decode())
            except (UnicodeDecodeError, RecursionError):
                found = None
            # A schema judges values only, not texts that are no JSON.
            if found is not None:
                self.assertNotEqual(faults("Client", found[0]), [], name)
                checked += 1
        self.assertGreater(checked, 25)

    def test_odd_values(self) -> None:
        """Each field of each message with odd texts and numbers. Half an emoji is absent, because the server replaces it."""
        texts = [
            json.dumps(text) for text in ODD_TEXTS if text.isascii() or text.encode(errors="replace").decode() == text
        ]
        odd_values = [*filter(None, map(finite, (*texts, *ODD_NUMBERS)))]
        compared = 0
        for kind in m.CLIENT_MESSAGES:
            fields = {name: json.loads(value) for name, value in valid_fields(kind).items()}
            for name in fields:
                for (value,) in odd_values:
                    message = {"type": kind.__struct_config__.tag, **fields, name: value}
                    if not is_known_exception(message):
                        is_rejected = isinstance(decoded(message), m.Error)
                        self.assertEqual(is_rejected, bool(faults("Client", message)), (kind, name, value))
                        compared += 1
        self.assertGreater(compared, 1000)

    def test_the_exceptions_are_as_described(self) -> None:
        join = {"type": "JOIN", "roomId": "\U0001f600" * 65, "userId": "u"}
        self.assertEqual(faults("Client", join), [])
        self.assertIsInstance(decoded(join), m.Error)
        seek = {"type": "SEEK", "currentTime": -0.5}
        self.assertNotEqual(faults("Client", seek), [])
        self.assertIsInstance(decoded(seek), m.Seek)
        for words in (f"more than {MAX_ID_BYTES} bytes", "between -1 and 0"):
            self.assertIn(words, generate_message_schema.DESCRIPTION)
