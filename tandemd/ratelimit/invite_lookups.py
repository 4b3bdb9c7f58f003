"""Limits for look-ups of rooms and invite codes."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ..metrics import Counter
from . import scopes
from .buckets import MINUTE, Plan, TokenBucket, TokenBuckets


class InviteLookupLimiter:
    """Count the look-ups of each address, and the failed look-ups of all, in this node.

    per_address: look-ups a minute, failed or not; 0: no limit.
    in_vain: failed look-ups a minute of all addresses; 0: no limit. Half of them are reserved for addresses with few
        look-ups lately, so that many guessing addresses do not use up all of them.
    """

    def __init__(self, clock: IReactorTime, per_address: int, in_vain: int, refused: Counter):
        """refused: counts the refusals."""
        self._clock = clock
        self._per_address = per_address
        self._in_vain = in_vain
        self._refused = refused
        self._budgets = TokenBuckets()

    def take_for_member(self, address: str) -> float:
        """Count a look-up by a member of the room. See `take`."""
        return self._take([self._of(address)])

    def take(self, address: str) -> float:
        """Count a look-up as failed. Return 0.0, or the seconds until the next one of the address.

        address: as `scopes` takes it; only the limit of all addresses applies to ''.
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
            # A refused look-up counts too, so that a persistent address does not pass for a new one.
            self._budgets.take([own], self._clock.seconds())
        return wait

    def refund_last(self) -> None:
        """Refund the last look-up to the limit of failed ones: it has found a room."""
        if self._in_vain:
            self._budgets.refund(self._all(), self._clock.seconds())

    def _take(self, ways: list[Plan]) -> float:
        taken = self._budgets.take(ways, self._clock.seconds())
        if taken.way < 0:
            self._refused.value += 1
        return taken.wait

    def _of(self, address: str, keep: int = 0) -> Plan:
        """keep: tokens of the address that stay in the bucket; the wider network keeps as many times more."""
        if not self._per_address:
            return ()
        return tuple(
            TokenBucket(f"by:{scope.name}", self._per_address * scope.times, MINUTE, keep * scope.times)
            for scope in scopes(address)
        )

    def _all(self, keep: int = 0) -> Plan:
        return (TokenBucket("in vain:", self._in_vain, MINUTE, keep),)
