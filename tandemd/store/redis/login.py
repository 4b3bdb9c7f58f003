"""The first commands of a connection to Redis or to a sentinel."""

from __future__ import annotations

from typing import Any


def login(options: dict[str, Any]) -> list[tuple[bytes, ...]]:
    """Return the first commands of a connection. options: see `RedisConnection`."""
    commands: list[tuple[bytes, ...]] = []
    if options.get("password"):
        words = [options["username"], options["password"]] if options.get("username") else [options["password"]]
        commands.append((b"AUTH", *(word.encode() for word in words)))
    if options.get("dbid"):
        commands.append((b"SELECT", b"%d" % options["dbid"]))
    return commands
