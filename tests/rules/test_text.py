"""Text of members: control characters, marks, and lone surrogates."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import Announce, Close
from tandemd.rules.display_names import clean_line, clean_name, is_reserved
from tandemd.rules.text import MAX_MARKS, clean_text

from ..support.rules_fixture import World

anything = st.text(st.characters(exclude_categories=()))


def marks_in_a_row(text: str) -> int:
    longest = count = 0
    for character in text:
        count = count + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        longest = max(longest, count)
    return longest


class ChatTextTests(SynchronousTestCase):
    def test_clean_text_is_passed_on(self) -> None:
        for text in (
            "hi", "a\nb\r\n\tc", "caf\xe9", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "\U0001f3f4\U000e0067\U000e0062\U000e007f", "1\ufe0f\u20e3", "\u0928\u092e\u0938\u094d\u0924\u0947",
            "Vi\u0323\u0302t",
            "\u2764\ufe0f\u200d\U0001f525", "\ufffd", "\u202babc\u202c",
        ):  # fmt: skip
            self.assertEqual(clean_text(text), text, ascii(text))

    def test_control_characters_go(self) -> None:
        for number in (*range(0x20), *range(0x7F, 0xA0)):
            kept = chr(number) if chr(number) in "\t\n\r" else ""
            self.assertEqual(clean_text(f"a{chr(number)}b"), f"a{kept}b")

    def test_half_an_emoji_is_replaced(self) -> None:
        self.assertEqual(clean_text("hi \ud83d"), "hi \ufffd")

    def test_dozens_of_marks_are_cut(self) -> None:
        for filler in ("", "\u200d", "\u034f"):
            text = "Z" + f"\u0301{filler}" * 48 + "a" + "\u0336" * 9
            self.assertLessEqual(marks_in_a_row(clean_text(text).replace("\u200d", "")), MAX_MARKS)
            self.assertLessEqual(marks_in_a_row((clean_name(text, 50) or "").replace("\u200d", "")), MAX_MARKS)
            self.assertIn("a", clean_text(text))

    @given(anything)
    def test_any_text_can_be_sent_and_is_clean_afterwards(self, text: str) -> None:
        cleaned = clean_text(text)
        cleaned.encode()
        self.assertEqual(clean_text(cleaned), cleaned)
        self.assertFalse([c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r"])
        self.assertLessEqual(marks_in_a_row(cleaned), MAX_MARKS)

    @given(anything)
    def test_any_name_is_one_clean_line(self, name: str) -> None:
        shown = clean_name(name, 50)
        if shown is not None:
            shown.encode()
            self.assertTrue(0 < len(shown) <= 50)
            self.assertFalse([c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c == "\ufffd"])
            self.assertLessEqual(marks_in_a_row(shown), MAX_MARKS)
            self.assertFalse(is_reserved(shown))

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126)), st.integers(1, 30))
    def test_ascii_takes_a_shorter_way_to_the_same_name(self, name: str, length: int) -> None:
        """A letter beyond ASCII sends the same name the longer way."""
        longer = clean_line("\u00e9" + name, length + 1)
        assert longer is not None
        self.assertEqual(clean_line("e" + name, length + 1), "e" + longer[1:])

    def test_half_an_emoji_is_dropped_from_names(self) -> None:
        for name in ("Cy \ud83d", "Cy \ufffd", "C\udc00y"):
            self.assertEqual(clean_line(name, 50), "Cy")

    def test_scripts_that_need_marks_and_joiners_keep_them(self) -> None:
        for name in (
            "\u0e01\u0e38\u0e49\u0e07 \u0e17\u0e35\u0e48\u0e23\u0e31\u0e01",  # Thai
            "\u0936\u094d\u0930\u0940\u0915\u0943\u0937\u094d\u0923",  # Hindi
            "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f\u064c",  # Arabic
            "\u05d1\u05bc\u05b0\u05e8\u05b5\u05d0\u05e9\u05c1\u05b4\u0596\u05d9\u05ea",  # Hebrew
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
            "\u0d38\u0d41\u0d30\u0d47\u0d37\u0d28\u0d4d\u200d",  # Malayalam, with a joiner at the end
            "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala
            "Nguye\u0302\u0303n", "\u0f56\u0f66\u0f92\u0fb2\u0f74\u0f56\u0f66",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f3f3\ufe0f\u200d\U0001f308", "1\ufe0f\u20e3",
            "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f Wales",
        ):  # fmt: skip
            self.assertEqual(clean_name(name, 50), name, ascii(name))

    def test_joiners_and_tags_without_a_place_go(self) -> None:
        flag = "\U0001f3f4\U000e0067\U000e0062\U000e0077"
        for name, shown in (
            ("Bob\u200d", "Bob"), ("\u200dBob \u200c", "Bob"), ("\u0d28\u0d4d \u200d", "\u0d28\u0d4d"),
            ("Bob\U000e0062", "Bob"), (flag, flag[0]), ("Bob" + flag, "Bob" + flag[0]),
            ("\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"[:5], flag[0]),
        ):  # fmt: skip
            self.assertEqual(clean_name(name, 50), shown, ascii(name))
        whole = flag + "\U000e006c\U000e0073\U000e007f"
        self.assertEqual(clean_name("x" * 46 + whole, 50), "x" * 46 + flag[0])
        for name in ("\u0301\u0301", "\u0301", "\u0903", "\u200d", "\ufe0f"):
            self.assertIsNone(clean_name(name, 50), ascii(name))

    def test_blanks_in_names_are_spaces(self) -> None:
        """A name with a blank at its end looks like the name without it."""
        for name in ("Bob\u3164", "\u2800Bob", "Bob\uffa0\u115f "):
            self.assertEqual(clean_name(name, 50), "Bob")

    def test_rooms_pass_on_clean_text(self) -> None:
        """A NUL was relayed."""
        world = World()
        world.join("a")
        world.do("a", m.Chat(text="a\x00b\n\x1b[2Jc"))
        chat = world.log[-1].messages[0]
        assert isinstance(chat, m.ChatMessage)
        self.assertEqual(chat.text, "ab\n[2Jc")
        self.assertEqual(world.refused("a", m.Chat(text="\x00")), "bad_message")

    def test_an_administrators_text_is_clean_too(self) -> None:
        world = World()
        world.join("a")
        world.do("", Announce("me", "a\x00b \ud83d"), conn="")
        chat = world.log[-1].messages[0]
        assert isinstance(chat, m.ChatMessage)
        self.assertEqual(chat.text, "ab \ufffd")
        world.do("", Close("me", "a\x00 b\ud83d"), conn="")
        self.assertEqual((world.log[-1].details or {})["why"], "a b")


class ReservedNameTests(SynchronousTestCase):
    """Names that look like that of the server, which makes announcements."""

    def test_look_alikes(self) -> None:
        for name in (
            "server", "SERVER", "Se rv er", "S-e-r-v-e-r", "Ser\\/er", "5\u20acrv3r", "$erver", "\u00a7erve\u00ae",
            "Server\u3164", "\u115fServer", "Ser\u00adver", "Ser\u034fver",
            "S\u0336e\u0336r\u0336v\u0336e\u0336r\u0336", "\u24c8\u24d4\u24e1\u24e5\u24d4\u24e1",
            "\U0001f182\U0001f174\U0001f181\U0001f185\U0001f174\U0001f181",
            "\U0001f162\U0001f154\U0001f161\U0001f165\U0001f154\U0001f161",
            "\U0001f1f8\U0001f1ea\U0001f1f7\U0001f1fb\U0001f1ea\U0001f1f7",
            "\u1515E\u1587\u142fE\u1587", "\u4e02\u4e47\u5c3a\u2228\u4e47\u5c3a",
            "\u13da\u13ac\u13a1\u13d9\u13ac\u13a1", "\uabaa\uab7c\uab71\uaba9\uab7c\uab71",
            "\U0001d5e6\U0001d5f2\U0001d5ff\U0001d603\U0001d5f2\U0001d5ff", "\u017ferver",
            "\u02e2\u1d49\u02b3\u1d5b\u1d49\u02b3", "Ser\u2164er", "\u2605Server\u2605", "[Server]",
            "Ser\u06f7er", "\u0405\u0415R\u0474\u0415R",
        ):  # fmt: skip
            self.assertTrue(is_reserved(name), ascii(name))

    def test_other_names(self) -> None:
        for name in (
            "Servus",
            "Waiter",
            "Observer",
            "Serverin",
            "Server2",
            "\u0421\u0435\u0440\u0432\u0435\u0440",
            "Steve",
            "Trevor",
            "\u2665",
        ):
            self.assertFalse(is_reserved(name), ascii(name))
