"""Checks of directories that the operator names."""

from __future__ import annotations

import os


def unreadable_directory(path: str) -> str:
    """Return why this process cannot list a directory, or ""."""
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        return error.strerror or str(error)
    return ""
