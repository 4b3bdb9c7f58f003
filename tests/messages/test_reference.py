"""Agreement of docs/protocol.md with the program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from scripts import generate_protocol_reference
from tandemd import messages as m
from tandemd.app.settings import client_config_of
from tandemd.config import Config
from tandemd.errors import ERROR_MEANINGS
from tandemd.rules import ready_gate
from tandemd.rules.state import MAX_RECENT_COMMANDS
from tests.support.settings import rule_settings

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "protocol.md"


class ProtocolDocTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = DOCUMENT.read_text(encoding="utf-8")

    def test_it_is_up_to_date(self) -> None:
        self.assertEqual(
            self.text,
            generate_protocol_reference.updated(self.text),
            "run `python -m scripts.generate_protocol_reference docs/protocol.md`",
        )

    def test_every_field_has_a_meaning(self) -> None:
        self.assertEqual(generate_protocol_reference.undocumented(), [])

    def test_every_type_and_code_is_in_it(self) -> None:
        for kind in (*m.CLIENT_MESSAGES, *m.SERVER_MESSAGES):
            self.assertIn(f"\n### {kind.__struct_config__.tag}", self.text)
        for code in ERROR_MEANINGS:
            self.assertIn(f"| `{code}` |", self.text)

    def test_links_lead_somewhere(self) -> None:
        headings = {heading.lower() for heading in re.findall(r"^##+ (\w+)", self.text, re.MULTILINE)}
        self.assertLessEqual(set(re.findall(r"\(#(\w+)\)", self.text)), headings)

    def test_the_example_is_made_of_messages_that_exist(self) -> None:
        examples = re.findall(r"^```text\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        answers = {kind.__struct_config__.tag for kind in m.SERVER_MESSAGES}
        messages = [
            found for example in examples for found in re.findall(r"^(\w+) ([<>]) (\{.*\})$", example, re.MULTILINE)
        ]
        self.assertGreater(len(messages), 20)
        for client, direction, message in messages:
            if "..." in message:
                continue
            if direction == ">":
                m.decode(message.encode())
            else:
                self.assertIn(json.loads(message)["type"], answers, client)

    def test_the_rules_of_the_ready_gate_are_those_of_the_program(self) -> None:
        self.assertIn(f"differs by more than {ready_gate.READY_TOLERANCE_SECONDS} s is ignored", self.text)
        self.assertEqual(ready_gate.MAX_MISSED_GATES, 2)
        self.assertIn("missed two gates in a row", self.text)
        self.assertEqual(MAX_RECENT_COMMANDS, 8)
        self.assertIn("remembers the last eight commands", self.text)

    def test_the_numbers_in_the_prose_are_the_defaults(self) -> None:
        rules = rule_settings()
        for words in (
            f"*grace period* of {rules.grace:.0f} s",
            f"gone for more than {rules.host_gone:.0f} s",
            f"kept for {rules.room_ttl / 3600:.0f} hours",
            f"for {rules.kick / 60:.0f} minutes",
            f"under this user id after {rules.kick / 60:.0f} minutes",
            f"after {rules.gate_deadline:.0f} s at the latest",
            f"when {rules.gate_quorum_after:.0f} s have passed and {rules.gate_quorum:.0%}".replace("%", " %"),
            f"A name is cut to {rules.username_length} characters",
        ):
            self.assertIn(words, self.text)

    def test_the_configuration_for_clients_is_that_of_a_node(self) -> None:
        (block,) = re.findall(r"^```json\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        shown, answered = json.loads(block), msgspec.to_builtins(client_config_of(Config()))
        self.assertLess(set(shown.pop("titles")), set(answered.pop("titles")))
        self.assertEqual(shown, json.loads(json.dumps(answered)))

    def test_texts_are_not_cut_at_the_end_of_a_line(self) -> None:
        self.assertIn("KICKED, 50 at a time: send it again for more.", self.text)

    def test_a_document_without_the_mark_is_left_alone(self) -> None:
        self.assertRaises(ValueError, generate_protocol_reference.updated, "# Something else\n")
