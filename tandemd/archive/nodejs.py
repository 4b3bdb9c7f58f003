"""Take over a PostgreSQL database of the Node.js server that tandemd replaces."""

from __future__ import annotations

from collections.abc import Mapping

from .dialect import Cursor


def recognise(rooms: Mapping[str, str], users: Mapping[str, str], events: Mapping[str, str]) -> bool:
    """Say whether tables with these columns (name: type) are the Node.js server's."""
    return False


def set_aside(cursor: Cursor) -> None:
    """Rename the old tables."""


def carry_over(cursor: Cursor) -> None:
    """Copy from the renamed tables into ours."""
