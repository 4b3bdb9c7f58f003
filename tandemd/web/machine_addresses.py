"""Names and addresses of this machine for people in the same network, because "localhost" in a link leads to their own machines."""

from __future__ import annotations

import ipaddress
import socket

from twisted.internet.address import IPv4Address, IPv6Address

_DOCUMENTATION_HOST = ("192.0.2.1", 9)
"""An address that is assigned to no machine. A UDP socket that connects sends nothing; it only selects the local address."""


def is_loopback(host: str) -> bool:
    """Say whether a host name or address leads each machine to itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def reachable_hosts(listening: object) -> list[str]:
    """Return the hosts under which other machines may reach a listening socket, the likeliest first.

    listening: the address of the socket. The list is empty if the socket accepts no connections of other machines.
    """
    if not isinstance(listening, IPv4Address | IPv6Address):
        return []
    if listening.host in ("", "0.0.0.0", "::"):
        hosts = [_own_address(), socket.gethostname()]
    else:
        hosts = [f"[{listening.host}]" if isinstance(listening, IPv6Address) else listening.host]
    return [host for host in hosts if host and not is_loopback(host)]


def _own_address() -> str:
    """Return this machine's address in its network, or ''."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_DOCUMENTATION_HOST)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
