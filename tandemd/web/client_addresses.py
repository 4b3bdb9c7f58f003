"""Where requests come from: the same answer for HTTP and WebSocket."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from msgspec import Struct
from twisted.internet.address import IPv4Address as TCP4Address
from twisted.internet.address import IPv6Address as TCP6Address
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

Address: TypeAlias = IPv4Address | IPv6Address


def _parse(text: str) -> Address | None:
    """Read an address as proxies write it: perhaps in brackets, with a port or with a zone; None if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d.
    return getattr(address, "ipv4_mapped", None) or address


def _entries(forwarded: Iterable[str]) -> list[str]:
    return [entry for value in forwarded for entry in value.split(",")]


_parse_peer = functools.lru_cache(maxsize=4096)(_parse)
"""For what the kernel says, which is short. A header may be long, and anything."""


def _peer(peer: object) -> Address | None:
    return _parse_peer(peer.host) if isinstance(peer, TCP4Address | TCP6Address) else None


def _find(peer: object, forwarded: Iterable[str], trusted_hops: int) -> Address | None:
    entries = _entries(forwarded) if trusted_hops > 0 else []
    # Only what our own proxies appended is true; with fewer entries than proxies the header is forged.
    if len(entries) >= trusted_hops > 0:
        address = _parse(entries[-trusted_hops])
        if address is not None:
            return address
    return _peer(peer)


def client_address(peer: object, forwarded: Iterable[str], trusted_hops: int) -> str:
    """Return the IP address of a client, for people and logs.

    peer: the transport's getPeer(). forwarded: the values of X-Forwarded-For, in order.
    trusted_hops: how many proxies of ours append to it; 0: none, the header is ignored.
    '' if there is no address, as on a UNIX socket.
    """
    address = _find(peer, forwarded, trusted_hops)
    return "" if address is None else str(address)


@functools.lru_cache(maxsize=4096)
def network_of(address: Address) -> str:
    """Return what rules by address go by: an IPv6 client has a whole /64 to itself.

    An IPv6 address that a translator made of an IPv4 address (6to4, NAT64) counts as that IPv4 address. See `ratelimit.scopes`
    for the wider network.
    """
    if isinstance(address, IPv6Address):
        if address.sixtofour is not None:
            return str(address.sixtofour)
        if address in _NAT64:
            return str(IPv4Address(int(address) & 0xFFFFFFFF))
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


_NAT64 = IPv6Network("64:ff9b::/96")

UNKNOWN = -1
"""`trusted_hops` where clients come through proxies of which nothing is known: they have no addresses."""
SEEN = 10
"""How many clients a peer has to speak for until it looks like a proxy."""
SEEN_EVERY = 60.0
"""Seconds between two of them that count: one client can invent many at once."""
SUSPECTED = 3600.0
"""Seconds after the last of them for which the warning stays."""
PEERS = 100
"""How many peers are watched at a time."""


class _Peer(Struct):
    """A private peer that sends X-Forwarded-For. entries: its last entries that counted. at: when the last one did."""

    entries: set[str]
    at: float


class Addresses:
    """The addresses of clients, for rules by address; one object for a node, asked by HTTP and WebSocket alike.

    trusted_hops: see client_address; UNKNOWN: no client has an address. told_peer: whether getPeer() is what a proxy of ours
    says (PROXY protocol), not before it has said so, and is to be believed. clock: without one, no proxy is suspected.
    """

    _log = Logger()

    def __init__(self, trusted_hops: int = 0, told_peer: bool = False, clock: IReactorTime | None = None):
        self._trusted_hops = max(trusted_hops, 0)
        self._unknown = trusted_hops == UNKNOWN
        self._told_peer = told_peer
        self._clock = clock
        self._peers: OrderedDict[Address, _Peer] = OrderedDict()
        self._suspected_until = 0.0

    def client(self, peer: object, forwarded: Iterable[str]) -> str:
        """Return the client's address for people; see client_address."""
        return "" if self._unknown else client_address(peer, forwarded, self._trusted_hops)

    def rule(self, peer: object, forwarded: Iterable[str]) -> str:
        """Return the address as rules by address use it, '' where the client has none and no such rule applies.

        Nothing that the client says changes which rules apply to it, or to others.
        """
        if self._unknown:
            return ""
        if self._trusted_hops == 0:
            address = _peer(peer)
            if self._clock is not None and not self._told_peer and address is not None and not address.is_global:
                self._watch(address, forwarded, self._clock.seconds())
        else:
            address = _find(peer, forwarded, self._trusted_hops)
        return "" if address is None else network_of(address)

    def early(self, peer: object) -> str:
        """Return the same of a connection that has said nothing yet: '' where a proxy may have made it for any client."""
        address = _peer(peer)
        if address is None or self._trusted_hops or self._unknown or self._told_peer:
            return ""
        return network_of(address)

    def warnings(self) -> list[str]:
        """Return what looks wrong with the configuration, for people. It changes no rule."""
        suspected = self._clock is not None and self._clock.seconds() < self._suspected_until
        return [HIDDEN] if suspected else []

    def _watch(self, peer: Address, forwarded: Iterable[str], now: float) -> None:
        """Note for how many clients a peer seems to speak."""
        values = list(forwarded)
        if not values:
            return
        seen = self._peers.get(peer)
        if seen is None:
            seen = self._peers[peer] = _Peer(set(), now - SEEN_EVERY)
            if len(self._peers) > PEERS:
                self._peers.popitem(last=False)
        if now - seen.at < SEEN_EVERY:
            return
        entry = _parse(values[-1].rpartition(",")[2][:64])
        if entry is None or str(entry) in seen.entries:
            return
        seen.at = now
        if len(seen.entries) < SEEN:
            seen.entries.add(str(entry))
        if len(seen.entries) >= SEEN:
            if now >= self._suspected_until:
                self._log.warn("{text}", text=HIDDEN)
            self._suspected_until = now + SUSPECTED

    def secure(self, forwarded_proto: str) -> bool:
        """Say whether X-Forwarded-Proto, if a proxy of ours wrote it, says that the client came by TLS."""
        if self._trusted_hops == 0:
            return False
        entries = forwarded_proto.split(",")
        # Proxies replace this header more often than they append to it.
        return entries[-min(self._trusted_hops, len(entries))].strip().lower() in ("https", "wss")


HIDDEN = (
    "Many clients seem to come through one proxy, but web.trusted_proxies is 0: rules by address take them for one client. "
    "Set web.trusted_proxies to the number of proxies in front of this server, or to unknown."
)
