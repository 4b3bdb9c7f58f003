"""The state directory of a node, which one process holds at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable

from ..util.directories import LOCK_FILE
from ..util.services import StartupError

_REMEDY = "choose another directory with state_dir (TANDEMD_STATE_DIR, --state-dir)"


def exposed(state_dir: str, keys: Iterable[str], turn_secret: str = "") -> list[str]:
    """Return secret files that other users of the machine can read or replace, as texts with the remedy.

    keys: paths of files, or of directories with `*.secret` files. turn_secret: the path of a file, "" for none.
    """
    texts = []
    if _mode(state_dir) & 0o077:
        texts.append(f"state_dir: other users may look into {state_dir}; run chmod 700 {state_dir}")
    secrets: list[str] = []
    for path in keys:
        if os.path.isdir(path):
            with contextlib.suppress(OSError):
                secrets += [os.path.join(path, name) for name in sorted(os.listdir(path))]
        else:
            secrets.append(path)
    for path in secrets:
        if path.endswith(".secret") and _mode(path) & 0o006:
            texts.append(f"auth.keys: every user may read or write {path}, and so sign tokens; run chmod o-rwx {path}")
    if _mode(turn_secret) & 0o006:
        texts.append(
            f"calls.turn_secret_file: every user may read or write {turn_secret}, and so use the TURN server; "
            f"run chmod o-rwx {turn_secret}"
        )
    return texts


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def claim(path: str) -> int:
    """Create the directory if it does not exist, and lock it until the process ends.

    Return the file descriptor of the lock; closing it releases the lock. Raises StartupError, also if another process holds it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        # The kernel releases the lock of a killed process, so it leaves nothing behind.
        lock = os.open(os.path.join(path, LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(f"state_dir: {path} cannot be used: {error.strerror}; correct that, or {_REMEDY}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StartupError(f"state_dir: {path} is in use by another tandemd; stop that one, or {_REMEDY}") from None
    return lock
