"""Text of members, as other members see it."""

from __future__ import annotations

import re
import unicodedata

from ..messages import well_formed

MAX_MARKS = 4
"""Combining marks on one letter. Vietnamese, Hebrew and Tibetan need as many; dozens cover the lines above and below."""

JOINERS = "\u200c\u200d"
"""Characters that join their neighbours: Python calls them not printable, but some scripts and emoji need them."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters, except tab, line feed and carriage return."""


def _mark_ranges() -> str:
    """Return the combining marks of Unicode (categories Mn and Me) as ranges of a character class of `re`."""
    ranges: list[list[int]] = []
    for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)):
        if unicodedata.category(chr(code)) in ("Mn", "Me"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_MARKS = _mark_ranges()
_SIGNS = re.compile(rf"[^\w\s!-~]{{{MAX_MARKS + 1},}}")
"""More signs in a row than a letter may have marks. It finds most texts without such marks in the shortest time."""
_LONG_RUN = re.compile(f"[{JOINERS}{_MARKS}][{JOINERS}{_MARKS}]{{{MAX_MARKS},}}")
"""More marks and joiners than a letter may have. It begins with a set, so that `re` skips other text quickly."""
_JOINER_RUN = re.compile(f"([{JOINERS}])[{JOINERS}]+")
_MARK_RUN = re.compile(f"((?:[{JOINERS}]?[{_MARKS}]){{{MAX_MARKS}}})(?:[{JOINERS}]?[{_MARKS}])+")


def clean_text(text: str) -> str:
    """Return a text without control characters, but with its line breaks and tabs.

    U+FFFD replaces each lone surrogate. A letter keeps at most `MAX_MARKS` combining marks.
    """
    if not text.isprintable():
        text = _CONTROL.sub("", well_formed(text))
    return text if text.isascii() else limit_marks(text)


def limit_marks(text: str) -> str:
    """Return a text with at most `MAX_MARKS` combining marks on each letter.

    The expressions take linear time, and no step in Python for each character: members can send thousands.
    """
    if _SIGNS.search(text) and _LONG_RUN.search(text):
        return _MARK_RUN.sub(r"\1", _JOINER_RUN.sub(r"\1", text))
    return text
