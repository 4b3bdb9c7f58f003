"""How many files this process may have open: each connection is one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from dataclasses import replace

from ..config import Config

RESERVE = 150
"""For databases, Redis, the log, and what the runtime needs."""


def raise_fd_limit() -> int:
    """Raise the limit to what the system allows this process, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass  # more than this kernel takes: what there is has to do
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def preallocate_fd_table(config: Config) -> None:
    """Have the kernel make the table of open files as large as the connections need it, before there are threads.

    It makes it larger by and by, and with threads the process stands still for 10 to 20 ms each time (Linux waits until no
    other processor reads the old one), in the middle of a crowd that comes in. A slot takes 8 bytes.
    """
    last = config.limits.connections + config.limits.http_connections + RESERVE - 1
    try:
        os.fstat(last)
    except OSError:
        with contextlib.suppress(OSError):  # no more than so many are allowed: then it stays as it is
            os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, last))


def fit_to_fd_limit(config: Config, files: int) -> Config:
    """Return the configuration with no more connections than there may be open files.

    Without that, whoever opens enough of them would keep the database from being opened, and everybody else from being
    told to come later.
    """
    limits = config.limits
    http = min(limits.http_connections, max(10, files // 5))
    connections = min(limits.connections, max(10, files - http - RESERVE))
    return replace(
        config,
        limits=replace(limits, http_connections=http, handshakes=min(limits.handshakes, http), connections=connections),
    )
