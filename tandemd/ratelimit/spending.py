"""Budgets of rooms and addresses, beside the limits of connections: stored bytes, and deliveries to members.

A message of 60 bytes to a room of 240 is 240 deliveries, and 240 members who each send one a second are 57 600. So each room
and each address has a bucket for both, filled like those of a connection (`message_rates`). The cost of a command is known after
its commit. The node charges it then, and refuses further commands until the bucket is in credit again.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from .message_rates import Rate
from .scopes import scopes

KEPT = 50_000
"""Addresses that a node remembers; it forgets the one first that was used longest ago."""

LONGEST_WAIT = 60.0
"""Seconds for which a meter is out of credit at most, beside the cost of its last command."""

RESERVED = 0.5
"""The part of a room's burst that is reserved for controls and moderation, so that chat cannot use it up."""


STEP = 1 / 64
"""The part of the burst that a meter may count as spent later than it was."""


class SpendingRates(Struct, frozen=True, kw_only=True):
    """The keys of the same names in the section `limits` of the configuration."""

    room_bytes_rate: Rate
    room_deliveries_rate: Rate
    address_bytes_rate: Rate
    address_deliveries_rate: Rate
    room_events_rate: Rate


class Meter:
    """Count the spending of one room or address.

    wider: the meter of the /48 around an IPv6 address; None for rooms and IPv4 addresses.
    near_limit: False while `wait` returns 0.0 for `RESERVED` and all of the burst, so that messages need not call it. A
    meter with a wider one is always near its limit: other addresses charge the wider one.

    A meter reads the clock only when the charges since the last reading exceed `STEP` of the burst, or may bring it near its
    limit. It adds them as if all were made at that moment, so it never counts too little.
    """

    __slots__ = (
        "_bytes", "_bytes_left", "_bytes_step", "_costs", "_deliveries", "_deliveries_left", "_deliveries_step", "_near",
        "_seconds", "_slack", "near_limit", "wider",
    )  # fmt: skip

    def __init__(self, clock: IReactorTime, size: Rate, deliveries: Rate, times: int = 1, wider: Meter | None = None):
        self._seconds = clock.seconds
        self._costs = 1 / (size.per_second * times), 1 / (deliveries.per_second * times)
        self._slack = of_bytes, of_deliveries = size.burst / size.per_second, deliveries.burst / deliveries.per_second
        self._near = RESERVED * of_bytes, RESERVED * of_deliveries
        self._bytes = 0.0
        self._deliveries = 0.0
        # What may be charged before the next reading of the clock, at the last reading and now.
        self._bytes_step = self._bytes_left = 0.0
        self._deliveries_step = self._deliveries_left = 0.0
        self.wider = wider
        self.near_limit = wider is not None

    def charge(self, size: int, deliveries: int) -> None:
        """Charge the cost of a command. size: stored bytes."""
        self._bytes_left -= size
        self._deliveries_left -= deliveries
        if self._bytes_left < 0.0 or self._deliveries_left < 0.0:
            self._settle()
        if self.wider is not None:
            self.wider.charge(size, deliveries)

    def _settle(self) -> None:
        """Add the charges since the last reading of the clock, and set the charges until the next one."""
        now = self._seconds()
        by_bytes, by_deliveries = self._costs
        near_bytes, near_deliveries = self._near
        of_bytes, of_deliveries = self._slack
        self._bytes = max(self._bytes, now) + (self._bytes_step - self._bytes_left) * by_bytes
        self._deliveries = max(self._deliveries, now) + (self._deliveries_step - self._deliveries_left) * by_deliveries
        bytes_seconds = min(STEP * of_bytes, now + near_bytes - self._bytes)
        deliveries_seconds = min(STEP * of_deliveries, now + near_deliveries - self._deliveries)
        is_near = bytes_seconds < 0.0 or deliveries_seconds < 0.0
        self._bytes_step = self._bytes_left = 0.0 if is_near else bytes_seconds / by_bytes
        self._deliveries_step = self._deliveries_left = 0.0 if is_near else deliveries_seconds / by_deliveries
        self.near_limit = is_near or self.wider is not None

    def wait(self, part: float = 1.0) -> float:
        """Return 0.0 while the meter has credit, else the seconds until then. part: the usable part of the burst, 0 to 1."""
        if self._bytes_left < self._bytes_step or self._deliveries_left < self._deliveries_step:
            self._settle()
        now = self._seconds()
        if self._bytes > now or self._deliveries > now:
            of_bytes, of_deliveries = self._slack
            wait = max(self._bytes - now - part * of_bytes, self._deliveries - now - part * of_deliveries)
            if wait > 0.0:
                return self._limited(wait, now)
        return self.wider.wait(part) if self.wider is not None else 0.0

    def take(self) -> bool:
        """Charge one byte and return True, or return False without credit."""
        if self._bytes_left < 1.0:
            self._settle()
            if self._bytes_left < 1.0:
                now = self._seconds()
                if self._bytes - now > self._slack[0]:
                    self._limited(0.0, now)
                    return False
                self._bytes += self._costs[0]
                return True
        self._bytes_left -= 1.0
        return True

    def _limited(self, wait: float, now: float) -> float:
        """Return the time to wait, after limiting the debt, which is large if the clock was set back."""
        of_bytes, of_deliveries = self._slack
        self._bytes = min(self._bytes, now + of_bytes + LONGEST_WAIT)
        self._deliveries = min(self._deliveries, now + of_deliveries + LONGEST_WAIT)
        return wait


class Spending:
    """Create the meters of a node, and keep those of addresses."""

    def __init__(self, clock: IReactorTime, rates: SpendingRates, kept: int = KEPT):
        self._clock = clock
        self._rates = rates
        self._kept = kept
        self._addresses: OrderedDict[str, Meter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._addresses)

    def room(self) -> Meter:
        """Return the meter of a room that the node opens."""
        return Meter(self._clock, self._rates.room_bytes_rate, self._rates.room_deliveries_rate)

    def rows(self) -> Meter:
        """Return the meter of a room's rows in the archive: each is charged as one byte."""
        return Meter(self._clock, self._rates.room_events_rate, self._rates.room_deliveries_rate)

    def address(self, address: str) -> Meter | None:
        """Return the meter of an address as `scopes` takes it; None for '', which has no scope."""
        found: Meter | None = None
        for scope in reversed(scopes(address)):
            found = self._find(scope.name, scope.times, found)
        return found

    def _find(self, name: str, times: int, around: Meter | None) -> Meter:
        found = self._addresses.get(name)
        if found is None:
            rates = self._rates
            found = Meter(self._clock, rates.address_bytes_rate, rates.address_deliveries_rate, times, around)
            self._addresses[name] = found
            if len(self._addresses) > self._kept:
                self._addresses.popitem(last=False)
        self._addresses.move_to_end(name)
        return found
