"""How often rooms may be looked up."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from . import scopes
from .buckets import MINUTE, Plan, TokenBucket, TokenBuckets


class InviteLookupLimiter:
    """Counts look-ups, of each address, and those in vain of all together. In memory of this node; 0: no limit.

    per_address: a minute, whether in vain or not. in_vain: a minute, of all. Half of these are kept for addresses that have
    asked little lately: many that guess together leave that to others.
    """

    def __init__(self, clock: IReactorTime, per_address: int, in_vain: int, refused: Callable[[], None]):
        """refused: is told of each refusal."""
        self._clock = clock
        self._per_address = per_address
        self._in_vain = in_vain
        self._refused = refused
        self._budgets = TokenBuckets()

    def take_for_member(self, address: str) -> float:
        """Count a question about a room that the asker is in. See `take`."""
        return self._take([self._of(address)])

    def take(self, address: str) -> float:
        """Count a look-up as if it were in vain. Return 0.0, or the seconds after which the address may do the next.

        address: as rules by address use it; '' is limited together with all others only.
        """
        own = self._of(address)
        if not self._in_vain:
            return self._take([own])
        if not own:
            return self._take([self._all()])
        ways: list[Plan] = [
            (*self._of(address, self._per_address // 2), *self._all()),
            (*own, *self._all(self._in_vain // 2)),
        ]
        wait = self._take(ways)
        if wait:
            # It counts all the same: who goes on asking is no newcomer.
            self._budgets.take([own], self._clock.seconds())
        return wait

    def refund_last(self) -> None:
        """The last look-up was not in vain."""
        if self._in_vain:
            self._budgets.refund(self._all(), self._clock.seconds())

    def _take(self, ways: list[Plan]) -> float:
        taken = self._budgets.take(ways, self._clock.seconds())
        if taken.way < 0:
            self._refused()
        return taken.wait

    def _of(self, address: str, keep: int = 0) -> Plan:
        """keep: of the address's own number; the network around it keeps as many times more as it has."""
        if not self._per_address:
            return ()
        return tuple(
            TokenBucket(f"by:{scope.name}", self._per_address * scope.times, MINUTE, keep * scope.times)
            for scope in scopes(address)
        )

    def _all(self, keep: int = 0) -> Plan:
        return (TokenBucket("in vain:", self._in_vain, MINUTE, keep),)
