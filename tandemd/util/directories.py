"""Checks of directories that the operator names."""

from __future__ import annotations

import fcntl
import os

LOCK_FILE = "lock"
"""The file in a state directory that its process locks."""


def unreadable_directory(path: str) -> str:
    """Return why this process cannot list a directory, or ""."""
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def is_claimed(state_dir: str) -> bool:
    """Return whether a process uses a state directory. True also if this user may not see it."""
    try:
        lock = os.open(os.path.join(state_dir, LOCK_FILE), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
