"""Words of people, as they are shown to others."""

from __future__ import annotations

import unicodedata


def clean_name(name: str | None, length: int) -> str | None:
    """Return a name as it is shown: without invisible characters, cut to `length`.

    None if nothing is left of it, or if it reads like the server's: see `reserved`.
    """
    if name is None:
        return None
    shown = " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in name[: 4 * length]).split())
    shown = shown[:length].strip(" " + _JOINERS)
    visible = any(c.isprintable() and not c.isspace() and c not in _BLANK for c in shown)
    return shown if visible and not is_reserved(shown) else None


def is_reserved(name: str) -> bool:
    """Say whether people may take a name, or a user id, for that of the server, which makes the operator's announcements.

    Case, accents, spaces and signs are ignored, and letters of other alphabets count as what they look like.
    """
    if name.isascii() and "v" not in name and "V" not in name:
        return False  # nearly every name and user id: no other ASCII character looks like this one
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in folded.translate(_LOOKS_LIKE) if c.isalnum()) == SERVER_NAME.casefold()


SERVER_NAME = "Server"
"""The name under which the server speaks."""
_LOOKS_LIKE = str.maketrans(
    {
        letter: latin
        for latin, letters in {
            # Digits and signs, Greek, Cyrillic, Armenian, small capitals, Cherokee and Lisu: as `casefold` leaves them.
            "s": "5$\u0455\u057f\ua731\u13da\ua4e2\u01bd\u0282",
            "e": "3\u03b5\u0435\u0454\u0511\u1d07\u025b\u0259\u01dd\u212e\u13ac\ua4f0\u20ac",
            "r": "\u0433\u044f\u0280\u0281\u027c\u027d\u027e\u024d\u13a1\u13d2\ua4e3\u0491\u1d26",
            "v": "\u03bd\u03c5\u0475\u1d20\u028b\u2228\u221a\u13d9\ua4e6\u2c71\u05d8\u0d35",
        }.items()
        for letter in letters
    }
)


_JOINERS = "\u200c\u200d"
"""Not printable, but between others they make letters of some scripts, and emoji, what they are."""
_BLANK = "\u115f\u1160\u2800\u3164\uffa0\u034f\ufe0e\ufe0f"
"""Printable, but there is nothing to see."""
