"""The replies to several commands of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList


async def answers(asked: Sequence[Deferred[Any]]) -> list[Any]:
    """Return the answers to several commands. Raises the first failure, after all answers."""
    # A coroutine that is cancelled leaves none of the failures unhandled.
    found = await DeferredList(asked, consumeErrors=True)
    for worked, result in found:
        if not worked:
            result.raiseException()
    return [result for _, result in found]
