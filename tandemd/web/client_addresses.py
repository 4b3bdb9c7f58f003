"""The addresses of clients, for HTTP and WebSocket alike."""

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

log = Logger()

Address: TypeAlias = IPv4Address | IPv6Address


def _parse(text: str) -> Address | None:
    """Parse an address as proxies write it, with or without brackets, port and zone. Return None if it is malformed."""
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
"""A cache for addresses from the kernel. Values of headers may be long and arbitrary, so they are not cached."""


def _peer(peer: object) -> Address | None:
    return _parse_peer(peer.host) if isinstance(peer, TCP4Address | TCP6Address) else None


def _find(peer: object, forwarded: Iterable[str], trusted_hops: int) -> Address | None:
    entries = _entries(forwarded) if trusted_hops > 0 else []
    # Only the entries of trusted proxies are true. A header with fewer entries than proxies is forged.
    if len(entries) >= trusted_hops > 0:
        address = _parse(entries[-trusted_hops])
        if address is not None:
            return address
    return _peer(peer)


def client_address(peer: object, forwarded: Iterable[str], trusted_hops: int) -> str:
    """Return the IP address of a client, for display; '' without an address, as on a UNIX socket.

    peer: the transport's getPeer().
    forwarded: the values of X-Forwarded-For, in order.
    trusted_hops: the number of trusted proxies that append to the header; with 0 it is ignored.
    """
    address = _find(peer, forwarded, trusted_hops)
    return "" if address is None else str(address)


@functools.lru_cache(maxsize=4096)
def network_of(address: Address) -> str:
    """Return the address for rules by address: an IPv4 address, or the /64 network of an IPv6 client.

    An IPv6 address that a translator made of an IPv4 address (6to4, NAT64) counts as that IPv4 address. See
    `ratelimit.scopes` for the wider network.
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
"""The value of `trusted_hops` for unknown proxies. Clients have no addresses then."""
PROXY_CLIENTS = 10
"""Clients for which a peer must forward requests until it is suspected to be a proxy."""
PROXY_CLIENT_SECONDS = 60.0
"""Time between two clients that count, because one client can invent many at once."""
PROXY_WARNING_SECONDS = 3600.0
"""Time for which the warning stays after the last client."""
MAX_PEERS = 100
"""Peers that are watched at a time."""


class _Peer(Struct):
    """A private peer that sends X-Forwarded-For.

    entries: the values that counted.
    at: when the last one counted, in seconds on the reactor's clock.
    """

    entries: set[str]
    at: float


class Addresses:
    """The addresses of clients, for rules by address. HTTP and WebSocket share one object.

    trusted_hops: see `client_address`; UNKNOWN: no client has an address.
    told_peer: whether getPeer() returns the address that a trusted proxy has sent with the PROXY protocol.
    clock: the reactor's; without one, no peer is suspected to be a proxy.
    """

    def __init__(self, trusted_hops: int = 0, told_peer: bool = False, clock: IReactorTime | None = None):
        self._trusted_hops = max(trusted_hops, 0)
        self._unknown = trusted_hops == UNKNOWN
        self._told_peer = told_peer
        self._clock = clock
        self._peers: OrderedDict[Address, _Peer] = OrderedDict()
        self._suspected_until = 0.0

    def client(self, peer: object, forwarded: Iterable[str]) -> str:
        """Return the client's address for display, see `client_address`."""
        return "" if self._unknown else client_address(peer, forwarded, self._trusted_hops)

    def rule(self, peer: object, forwarded: Iterable[str]) -> str:
        """Return the address for rules by address; '' for a client without one, to which no such rule applies.

        No header of a client changes the rules for this client or others.
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
        """Return the same before the first request of a connection; '' if a proxy may have opened it for any client."""
        address = _peer(peer)
        if address is None or self._trusted_hops or self._unknown or self._told_peer:
            return ""
        return network_of(address)

    def warnings(self) -> list[str]:
        """Return probable faults of the configuration, as text. They change no rule."""
        suspected = self._clock is not None and self._clock.seconds() < self._suspected_until
        return [PROXY_WARNING] if suspected else []

    def _watch(self, peer: Address, forwarded: Iterable[str], now: float) -> None:
        """Count the clients for which a peer seems to forward requests."""
        values = list(forwarded)
        if not values:
            return
        seen = self._peers.get(peer)
        if seen is None:
            seen = self._peers[peer] = _Peer(set(), now - PROXY_CLIENT_SECONDS)
            if len(self._peers) > MAX_PEERS:
                self._peers.popitem(last=False)
        if now - seen.at < PROXY_CLIENT_SECONDS:
            return
        entry = _parse(values[-1].rpartition(",")[2][:64])
        if entry is None or str(entry) in seen.entries:
            return
        seen.at = now
        if len(seen.entries) < PROXY_CLIENTS:
            seen.entries.add(str(entry))
        if len(seen.entries) >= PROXY_CLIENTS:
            if now >= self._suspected_until:
                log.warn("{text}", event="proxy_suspected", text=PROXY_WARNING)
            self._suspected_until = now + PROXY_WARNING_SECONDS

    def secure(self, forwarded_proto: str) -> bool:
        """Say whether the client used TLS, according to the X-Forwarded-Proto of a trusted proxy."""
        if self._trusted_hops == 0:
            return False
        entries = forwarded_proto.split(",")
        # Proxies replace this header more often than they append to it.
        return entries[-min(self._trusted_hops, len(entries))].strip().lower() in ("https", "wss")


PROXY_WARNING = (
    "Many clients seem to use one proxy, but web.trusted_proxies is 0, so that rules by address treat them as one client. "
    "Set web.trusted_proxies to the number of proxies in front of this server, or to unknown."
)
