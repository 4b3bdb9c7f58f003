"""Texts for logs and errors."""

from __future__ import annotations


def one_line(error: BaseException | None) -> str:
    """Return an error's text on one line, or its type's name if it has none."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
