"""The hosts for links to this machine."""

from __future__ import annotations

import ipaddress
import socket

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import TestCase

from tandemd.web.machine_addresses import is_loopback, reachable_hosts

from .test_router import WebTestCase

HERE = IPv4Address("TCP", "127.0.0.1", 1)


class ReachableHostsTests(TestCase):
    """The hosts by the address of the listening socket."""

    def test_loopback_leads_nowhere(self) -> None:
        for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"):
            self.assertTrue(is_loopback(host), host)
        for host in ("", "192.0.2.7", "film-box", "localhost.example", "::2"):
            self.assertFalse(is_loopback(host), host)

    def test_a_socket_for_this_machine_only(self) -> None:
        for address in (HERE, IPv6Address("TCP", "::1", 1), UNIXAddress("/run/socket"), None):
            self.assertEqual(reachable_hosts(address), [])

    def test_a_socket_of_one_address(self) -> None:
        self.assertEqual(reachable_hosts(IPv4Address("TCP", "192.0.2.7", 1)), ["192.0.2.7"])
        self.assertEqual(reachable_hosts(IPv6Address("TCP", "2001:db8::7", 1)), ["[2001:db8::7]"])

    def test_a_socket_of_all_addresses(self) -> None:
        for everywhere in (IPv4Address("TCP", "0.0.0.0", 1), IPv6Address("TCP", "::", 1)):
            hosts = reachable_hosts(everywhere)
            self.assertFalse([host for host in hosts if is_loopback(host)])
            for host in hosts:
                if host != socket.gethostname():
                    ipaddress.ip_address(host)


class EndpointTests(WebTestCase):
    """GET /api/addresses."""

    def test_for_this_machine(self) -> None:
        for peer in (HERE, IPv6Address("TCP", "::1", 1)):
            self.assertEqual(self.request("/api/addresses", peer=peer).json, {"addresses": ["192.0.2.7", "film-box"]})

    def test_not_for_other_machines(self) -> None:
        self.assertEqual(self.request("/api/addresses").json, {"addresses": []})
        proxied = self.request("/api/addresses", peer=HERE, X_Forwarded_For="203.0.113.9")
        self.assertEqual(proxied.json, {"addresses": []})
