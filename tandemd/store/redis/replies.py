"""The replies to several commands of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from .connection import DisconnectedError, RedisError


async def answers(asked: Sequence[Deferred[Any]]) -> list[Any]:
    """Return the answers to several commands. Raises the first failure, after all answers."""
    failures: list[Exception] = []
    results = []
    for answer in asked:
        try:
            results.append(await answer)
        except (DisconnectedError, RedisError) as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return results
