"""Words of people, as they are shown to others."""

from __future__ import annotations


def clean_name(name: str | None, length: int) -> str | None:
    """Return a name as it is shown: without invisible characters, cut to `length`; None if nothing is left of it."""
    if name is None:
        return None
    shown = " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in name[: 4 * length]).split())
    shown = shown[:length].strip(" " + _JOINERS)
    return shown if any(c.isprintable() and not c.isspace() and c not in _BLANK for c in shown) else None


_JOINERS = "\u200c\u200d"
"""Not printable, but between others they make letters of some scripts, and emoji, what they are."""
_BLANK = "\u115f\u1160\u2800\u3164\uffa0\u034f\ufe0e\ufe0f"
"""Printable, but there is nothing to see."""
