"""States that schedules should reach."""

from __future__ import annotations

from .schedule import ON_CLIENTS, ON_DATABASE, ON_DISKS, ON_LINKS, ON_NODES, ON_PROCESSES, ON_REDIS

INTERESTING = (
    *(
        f"fault: {name}"
        for name in (*ON_NODES, *ON_REDIS, "fail_over", *ON_LINKS, *ON_DATABASE, *ON_CLIENTS, *ON_DISKS, *ON_PROCESSES)
    ),
    "commit lost its race",
    "commit waited or lost its answer",
    "room caught up",
    "subscription lost",
    "node taken over",
    "archive failed",
    "memory refused",
    "gate opened",
    "database: commit reported as failed",
    "node: No space left on device",
    "node: Read-only file system",
    "node: Input/output error",
    "node: Too many open files",
    "gate waited for its deadline",
    "grace period ended",
    "client away for half of its grace period",
    "an offered room was not newer",
    "all clients left",
    "log: archive_unavailable",
    "log: journal_full",
    "log: redis_data_replaced",
    "log: redis_server_changed",
    "log: redis_silent",
    "log: redis_unusable",
    "log: subscription_silent",
)
