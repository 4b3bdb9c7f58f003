"""Names of members, as other members see them."""

from __future__ import annotations

import unicodedata


def clean_name(name: str | None, length: int) -> str | None:
    """Return a name without invisible characters, cut to `length` characters.

    Return None if no visible character remains, or if the name is reserved; see `is_reserved`.
    """
    if name is None:
        return None
    shown = " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in name[: 4 * length]).split())
    shown = shown[:length].strip(" " + _JOINERS)
    visible = any(c.isprintable() and not c.isspace() and c not in _BLANK for c in shown)
    return shown if visible and not is_reserved(shown) else None


def is_reserved(name: str) -> bool:
    """Say whether a name or user id looks like the name of the server, the sender of announcements.

    The comparison ignores case, accents, spaces and signs, and replaces letters of other alphabets by similar Latin ones.
    """
    if name.isascii() and "v" not in name and "V" not in name:
        return False  # true of nearly all names and user ids, because no other ASCII character looks like a v
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in folded.translate(_LOOKS_LIKE) if c.isalnum()) == SERVER_NAME.casefold()


SERVER_NAME = "Server"
"""The sender of announcements."""
_LOOKS_LIKE = str.maketrans(
    {
        letter: latin
        for latin, letters in {
            # Digits and signs, Greek, Cyrillic, Armenian, small capitals, Cherokee and Lisu, after `casefold`.
            "s": "5$\u0455\u057f\ua731\u13da\ua4e2\u01bd\u0282",
            "e": "3\u03b5\u0435\u0454\u0511\u1d07\u025b\u0259\u01dd\u212e\u13ac\ua4f0\u20ac",
            "r": "\u0433\u044f\u0280\u0281\u027c\u027d\u027e\u024d\u13a1\u13d2\ua4e3\u0491\u1d26",
            "v": "\u03bd\u03c5\u0475\u1d20\u028b\u2228\u221a\u13d9\ua4e6\u2c71\u05d8\u0d35",
        }.items()
        for letter in letters
    }
)
"""Letters and signs that look like a Latin letter of the server's name."""

_JOINERS = "\u200c\u200d"
"""Characters that join their neighbours: Python calls them not printable, but some scripts and emoji need them."""
_BLANK = "\u115f\u1160\u2800\u3164\uffa0\u034f\ufe0e\ufe0f"
"""Characters that are printable for Python, but invisible."""
