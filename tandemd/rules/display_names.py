"""Names of members, as other members see them."""

from __future__ import annotations

import re
import unicodedata

from .text import JOINERS, limit_marks


def clean_name(name: str | None, length: int) -> str | None:
    """Return a name as `clean_line` does. Return None also if the name is reserved; see `is_reserved`."""
    shown = clean_line(name, length)
    return None if shown is None or is_reserved(shown) else shown


def clean_line(text: str | None, length: int) -> str | None:
    """Return a text on one line, without invisible and unreadable characters, cut to `length` characters.

    A letter keeps at most `text.MAX_MARKS` combining marks. Return None if no visible character remains. A joiner after a
    virama stays, also at the end: in Malayalam and other scripts it chooses the form of the letter. So do the tags of a flag.
    """
    if text is None:
        return None
    if text.isascii() and text.isprintable():
        # Each of these characters is shown, and stands for itself. Most names have no others.
        return " ".join(text[: 4 * length].split())[:length].rstrip() or None
    readable = _UNREADABLE.sub("", text[: 4 * length])
    parts = _FLAG.split(readable)  # every second part is a flag
    parts[::2] = ["".join(c if _is_shown(c) or c in JOINERS else " " for c in part) for part in parts[::2]]
    cut = limit_marks(" ".join("".join(parts).split()))[:length].lstrip(" " + JOINERS).rstrip(_TAGS)
    shown = cut.rstrip(" " + JOINERS)
    if shown and unicodedata.combining(shown[-1]) == _VIRAMA_CLASS and cut[len(shown) : len(shown) + 1].strip():
        shown = cut[: len(shown) + 1]
    visible = any(_is_shown(c) and unicodedata.category(c)[0] not in "MZ" and c not in _BLANK for c in shown)
    return shown if visible else None


def _is_shown(character: str) -> bool:
    return character.isprintable() and character not in _FILLERS


def is_reserved(name: str) -> bool:
    """Say whether a name or user id looks like the name of the server, the sender of announcements.

    The comparison ignores case, width, accents, spaces, signs and invisible characters. It replaces letters of other alphabets
    by similar Latin ones, as UTS #39 (Unicode Security Mechanisms) does for its skeletons.
    """
    if name.isascii() and not any(v in name for v in _ASCII_V):
        return False  # true of nearly all names and user ids
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold()).replace(r"\/", "v")
    return "".join(c for c in folded.translate(_LOOKS_LIKE) if c.isalnum() and c not in _BLANK) == _SKELETON


SERVER_NAME = "Server"
"""The sender of announcements."""
_SKELETON = SERVER_NAME.casefold()
_ASCII_V = ("v", "V", r"\/")
"""All ASCII text that looks like the v in the server's name."""
_LOOKS_LIKE = str.maketrans(
    {
        letter: latin
        for latin, letters in {
            # After `casefold` and NFKD: first the letters that `confusables.txt` of UTS #39 maps to this one, then digits and
            # signs that stand for it, and letters of the fancy alphabets that generators of names use.
            "s": "\u01bd\u0455\u057f\u13d5\u13da\ua4e2\ua731\U00010296\U00010448\U000118c1\U00016f3a"
            "5$\u00a7\u0282\u1515\u4e02\U0001f162\U0001f182\U0001f1f8",
            "e": "\u03b5\u0435\u04bd\u13ac\u212e\u22ff\u2d39\ua4f0\uab32\U00010286\U000118c6\U000118ce"
            "3\u20ac\u0454\u0511\u1d07\u025b\u0259\u01dd\u2208\u4e47\U0001f154\U0001f174\U0001f1ea",
            "r": "\u0280\u0433\u13a1\u13b1\u13d2\u1587\u1d26\u2c85\ua4e3\uab47\uab48\U000104dc\U00016f35\U0001d216"
            "\u00ae\u211f\u044f\u0491\u0281\u027c\u027d\u027e\u024d\u5c3a\U0001f161\U0001f181\U0001f1f7",
            "v": "\u03bd\u0475\u06f7\u13d9\u142f\u1d20\u2228\u22c1\u2d38\ua4e6\ua6df\U0001051d\U00011706\U000118c0"
            "\U00016f08\U0001d20d\u0667\u03c5\u028b\u221a\u2c71\u05d8\u0d35\U0001f165\U0001f185\U0001f1fb",
        }.items()
        for letter in letters
    }
)
"""Letters and signs that look like a Latin letter of the server's name."""

_FLAG = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)")
"""The emoji of the flag of a part of a country, such as Wales: a black flag, the code of the part in tags, and their end."""
_TAGS = "".join(map(chr, (*range(0xE0030, 0xE003A), *range(0xE0061, 0xE007B))))
_VIRAMA_CLASS = 9
"""The combining class of viramas in Unicode."""
_UNREADABLE = re.compile("[\ud800-\udfff\ufffd]")
"""Lone surrogates, and the character that stands for one."""
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Blanks that Python takes for letters or signs. In a name they are spaces."""
_BLANK = _FILLERS + "\u034f\ufe0e\ufe0f"
"""Characters that are printable for Python, but invisible."""
