"""Which budgets a rule by address draws on: one for a client's own network, one for the wider network around it."""

from __future__ import annotations

import functools
from ipaddress import IPv6Network, ip_network

from msgspec import Struct

WIDE = 8
"""How many times the number of a /64 a /48 has. Providers assign a /48 or /56 to one customer, which has 256 or more /64s."""


class Scope(Struct, frozen=True):
    """name: the key of a budget. times: the factor for the rule's number."""

    name: str
    times: int


@functools.lru_cache(maxsize=4096)
def scopes(address: str) -> tuple[Scope, ...]:
    """Return the scopes in which a rule by address counts a client, the narrowest first.

    address: as rules by address use it: an IPv4 address, an IPv6 /64, or '' for none, which has no scope.
    """
    if not address:
        return ()
    own = Scope(address, 1)
    if not address.endswith("/64"):
        return (own,)
    network = ip_network(address)
    assert isinstance(network, IPv6Network)
    return own, Scope(str(network.supernet(new_prefix=48)), WIDE)
