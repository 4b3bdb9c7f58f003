"""Where requests come from: the same answer for HTTP and WebSocket."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from twisted.internet.address import IPv4Address as TCP4Address
from twisted.internet.address import IPv6Address as TCP6Address
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


def addresses_mean_nothing(peer: object, forwarded: Iterable[str], trusted_hops: int) -> bool:
    """Say whether the request came through a proxy that nobody has told us of: then all clients seem to be one."""
    if trusted_hops > 0 or not _entries(forwarded):
        return False
    address = _peer(peer)
    return address is None or not address.is_global


@functools.lru_cache(maxsize=4096)
def network_of(address: Address) -> str:
    """Return what rules by address go by: an IPv6 client has a whole /64 to itself."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


class Addresses:
    """The addresses of clients, for rules by address; one object for a node, asked by HTTP and WebSocket alike.

    trusted_hops: see client_address. told_peer: whether getPeer() is what a proxy of ours says (PROXY protocol), not before
    it has said so, and is to be believed.
    suspended: whether a request has come for which addresses meant nothing; it is logged once.
    """

    _log = Logger()

    def __init__(self, trusted_hops: int = 0, told_peer: bool = False):
        self._trusted_hops = trusted_hops
        self._told_peer = told_peer
        self.suspended = False

    def client(self, peer: object, forwarded: Iterable[str]) -> str:
        """Return the client's address for people; see client_address."""
        return client_address(peer, forwarded, self._trusted_hops)

    def rule(self, peer: object, forwarded: Iterable[str]) -> str:
        """Return the address as rules by address use it, '' where addresses mean nothing and no such rule applies."""
        forwarded = list(forwarded)
        if not self._told_peer and addresses_mean_nothing(peer, forwarded, self._trusted_hops):
            if not self.suspended:
                self.suspended = True
                self._log.warn("{text}", text=SUSPENDED)
            return ""
        address = _find(peer, forwarded, self._trusted_hops)
        return "" if address is None else network_of(address)

    def early(self, peer: object) -> str:
        """Return the same of a connection that has said nothing yet: '' where a proxy may have made it for anybody."""
        address = _peer(peer)
        if address is None or self._trusted_hops or self._told_peer or (self.suspended and not address.is_global):
            return ""
        return network_of(address)

    def secure(self, forwarded_proto: str) -> bool:
        """Say whether X-Forwarded-Proto, if a proxy of ours wrote it, says that the client came by TLS."""
        if self._trusted_hops == 0:
            return False
        entries = forwarded_proto.split(",")
        # Proxies replace this header more often than they append to it.
        return entries[-min(self._trusted_hops, len(entries))].strip().lower() in ("https", "wss")


SUSPENDED = (
    "Requests come through a proxy, but web.trusted_proxies is 0: rules by address are suspended. "
    "Set web.trusted_proxies to the number of proxies in front of this server."
)
