"""Budgets of all nodes together, in Redis: small keys that expire. What they mean is told in `tandemd/ratelimit/buckets.py`."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from ...ratelimit.buckets import DAY, RECHECK, Flag, Plan, RoomQuota, TakeResult, TokenBucket
from . import scripts
from .connection import DisconnectedError, RedisError
from .gateway import RedisGateway, unavailable
from .keys import ROOM, budget_key


class RedisRateLimits:
    """See IRoomStore."""

    def __init__(self, access: RedisGateway):
        self._access = access

    async def take(self, ways: Sequence[Plan]) -> TakeResult:
        """As IRoomStore says."""
        await self._access.available()
        names: dict[str, int] = {}
        words = [ROOM, b"%f" % RECHECK, b"%d" % DAY]
        for way in ways:
            words.append(b"%d" % len(way))
            for need in way:
                words.append(b"%d" % names.setdefault(need.name, len(names) + 1))
                if isinstance(need, TokenBucket):
                    words += (b"b", b"%.6f" % need.interval, b"%.6f" % need.room, b"%.6f" % need.refill_period)
                elif isinstance(need, Flag):
                    words += (b"m", b"", b"", b"")
                else:
                    words += (b"s", need.room_id.encode(), b"%d" % need.most, b"")
        try:
            taken, wait, lacking, nearest = await self._access.link.run(
                scripts.TAKE, [budget_key(name) for name in names], *words
            )
        except DisconnectedError:
            raise unavailable() from None
        except RedisError as error:
            self._access.mark_unavailable(str(error))
            raise unavailable() from None
        return TakeResult(taken) if taken >= 0 else TakeResult(-1, float(wait), list(names)[lacking - 1], nearest)

    def refund(self, way: Plan) -> None:
        """As IRoomStore says."""
        keys: list[bytes] = []
        words: list[bytes] = []
        for need in way:
            if isinstance(need, TokenBucket):
                words += (b"b", b"%.6f" % need.interval)
            elif isinstance(need, RoomQuota):
                words += (b"s", need.room_id.encode())
            else:
                continue
            keys.append(budget_key(need.name))
        self._tell(self._access.link.run(scripts.GIVE_BACK, keys, *words))

    def mark(self, name: str, seconds: float) -> None:
        """As IRoomStore says."""
        self._tell(self._access.link.call(b"SET", budget_key(name), b"", b"PX", b"%d" % (seconds * 1000)))

    @staticmethod
    def _tell(answer: Deferred[object]) -> None:
        # Should it be lost, it grows back by itself, and a mark is missed for once.
        answer.addErrback(lambda failure: failure.trap(DisconnectedError, RedisError) and None)
