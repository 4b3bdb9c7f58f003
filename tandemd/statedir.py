"""The directory for what a node keeps: one process at a time has it."""

from __future__ import annotations

import fcntl
import os

from .services import CannotStart

_REMEDY = "choose another directory with state_dir (TANDEMD_STATE_DIR, --state-dir)"


def claim(path: str) -> int:
    """Create the directory if there is none, and hold it until the process ends, however it ends.

    Returns the file descriptor that holds it; closing it lets it go. Raises CannotStart, also if another process holds it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        # A lock of the file, not the file itself: nothing is left over by a process that was killed.
        lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"state_dir: {path} cannot be used: {error.strerror}; mend that, or {_REMEDY}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise CannotStart(f"state_dir: {path} is in use by another tandemd; stop that one, or {_REMEDY}") from None
    return lock
