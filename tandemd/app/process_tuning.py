"""The limit of open files: each connection needs one descriptor, and each film that it loads another one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from dataclasses import replace

from ..config import Config

RESERVED_DESCRIPTORS = 150
"""Descriptors for databases, Redis, the log and the runtime."""


def raise_fd_limit() -> int:
    """Raise the limit to the system's maximum for this process, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass  # the kernel rejects the value: keep the present limit
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def preallocate_fd_table(config: Config) -> None:
    """Make the kernel allocate the table of open files in its full size, before the process has threads.

    Otherwise the table grows in steps. With threads each step stops the process for 10 to 20 ms, because Linux waits until no
    other processor reads the old table; this happens while many clients join. A slot takes 8 bytes.
    """
    last = (
        config.limits.connections + _http_descriptors(config, config.limits.http_connections) + RESERVED_DESCRIPTORS - 1
    )
    try:
        os.fstat(last)
    except OSError:
        with contextlib.suppress(OSError):  # above the limit: the table grows in steps
            os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, last))


def fit_to_fd_limit(config: Config, files: int) -> Config:
    """Return the configuration with its limits of connections reduced to the limit of open files.

    Otherwise a client that opens enough connections uses up all descriptors: the node could neither open its database nor
    tell other clients to retry later.
    """
    limits = config.limits
    http = min(limits.http_connections, max(10, files // 5))
    connections = min(limits.connections, max(10, files - _http_descriptors(config, http) - RESERVED_DESCRIPTORS))
    return replace(
        config,
        limits=replace(limits, http_connections=http, handshakes=min(limits.handshakes, http), connections=connections),
    )


def _http_descriptors(config: Config, connections: int) -> int:
    """Return the descriptors that HTTP connections may need. With `web.videos_dir` each may load a film."""
    return 2 * connections if config.web.videos_dir else connections
