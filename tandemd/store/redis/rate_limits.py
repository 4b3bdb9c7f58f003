"""Rate limits of all nodes together, in small keys that expire. `tandemd/ratelimit/buckets.py` defines their meaning."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import IRateLimitStore
from ...ratelimit.buckets import DAY, RECHECK, Flag, Plan, RoomQuota, TakeResult, TokenBucket
from ...util.coroutines import returns_deferred
from . import scripts
from .connection import DisconnectedError, RedisError
from .gateway import RedisGateway, unavailable
from .keys import ROOM, budget_key


@implementer(IRateLimitStore)
class RedisRateLimits:
    """See `IRateLimitStore`."""

    def __init__(self, gateway: RedisGateway):
        self._gateway = gateway

    @returns_deferred
    async def take(self, plans: Sequence[Plan]) -> TakeResult:
        """See `IRateLimitStore.take`."""
        await self._gateway.available()
        names: dict[str, int] = {}
        words: list[bytes] = []
        for plan in plans:
            words.append(b"%d" % len(plan))
            for need in plan:
                words.append(b"%d" % names.setdefault(need.name, len(names) + 1))
                if isinstance(need, TokenBucket):
                    words += (b"b", b"%.6f" % need.interval, b"%.6f" % need.room, b"%.6f" % need.refill_period)
                elif isinstance(need, Flag):
                    words += (b"m", b"", b"", b"")
                else:
                    words += (b"s", need.room_id.encode(), b"%d" % need.most, b"")
        try:
            taken, wait, lacking, nearest = await self._gateway.link.run(
                scripts.TAKE,
                [budget_key(name) for name in names],
                {
                    "room_prefix": ROOM,
                    "recheck_seconds": b"%f" % RECHECK,
                    "day_seconds": b"%d" % DAY,
                },
                *words,
            )
        except DisconnectedError:
            raise unavailable() from None
        except RedisError as error:
            self._gateway.mark_unavailable(str(error))
            raise unavailable() from None
        return TakeResult(taken) if taken >= 0 else TakeResult(-1, float(wait), list(names)[lacking - 1], nearest)

    def refund(self, plan: Plan) -> None:
        """See `IRateLimitStore.refund`."""
        keys: list[bytes] = []
        words: list[bytes] = []
        for need in plan:
            if isinstance(need, TokenBucket):
                words += (b"b", b"%.6f" % need.interval)
            elif isinstance(need, RoomQuota):
                words += (b"s", need.room_id.encode())
            else:
                continue
            keys.append(budget_key(need.name))
        self._tell(self._gateway.link.run(scripts.REFUND, keys, {}, *words))

    def mark(self, name: str, seconds: float) -> None:
        """See `IRateLimitStore.mark`."""
        self._tell(self._gateway.link.call(b"SET", budget_key(name), b"", b"PX", b"%d" % (seconds * 1000)))

    @staticmethod
    def _tell(answer: Deferred[object]) -> None:
        # If the command is lost, the bucket refills anyway, and a flag is missing once.
        answer.addErrback(lambda failure: failure.trap(DisconnectedError, RedisError) and None)
