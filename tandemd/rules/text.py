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
_MARKS = re.compile(rf"[^\w\s!-~]{{{MAX_MARKS + 1},}}")
"""Combining marks among other signs, because `re` knows no category of marks."""


def clean_text(text: str) -> str:
    """Return a text without control characters, but with its line breaks and tabs.

    U+FFFD replaces each lone surrogate. A letter keeps at most `MAX_MARKS` combining marks.
    """
    if not text.isprintable():
        text = _CONTROL.sub("", well_formed(text))
    return text if text.isascii() else limit_marks(text)


def limit_marks(text: str) -> str:
    """Return a text with at most `MAX_MARKS` combining marks on each letter."""
    return _MARKS.sub(_limit, text)


def _limit(run: re.Match[str]) -> str:
    kept = []
    count = 0
    for character in run[0]:
        if unicodedata.category(character) in ("Mn", "Me"):
            count += 1
        elif character not in JOINERS:
            count = 0
        if count <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)
