"""Where clients come from, with real sockets: behind a proxy of ours, behind none, and with headers that are forged.

One address may have one connection here: so one sees who is taken for whom.
"""

from __future__ import annotations

import struct

import treq
from twisted.web.http_headers import Headers

from ..support.daemon_process import Daemon
from ..support.rawclient import RawTestCase

OPEN, TOO_MANY = 101, 429


def v1(source: str) -> bytes:
    """The PROXY protocol's header, in words."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {'::1' if ':' in source else '127.0.0.1'} 5000 4001\r\n".encode()


def v2(source: str) -> bytes:
    """The same in bytes."""
    addresses = bytes(map(int, source.split("."))) + bytes((127, 0, 0, 1)) + struct.pack("!HH", 5000, 4001)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(addresses)) + addresses


UNKNOWN = b"PROXY UNKNOWN ffff::1 ffff::1 1 1\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"
"""The message of a proxy for its own connections, to check that the server is up."""


class ProxyProtocolTests(RawTestCase):
    PORT = "haproxy:tcp:0:interface=127.0.0.1"

    async def daemon(self) -> Daemon:
        return await self.running("--port", self.PORT, TANDEMD_LIMITS_CONNECTIONS_PER_ADDRESS="1")

    async def test_the_proxy_says_who_it_is(self) -> None:
        daemon = await self.daemon()
        status, raw = await self.open(daemon, v1("203.0.113.7"))
        self.assertEqual(status, OPEN)
        await self.join(raw)
        self.assertEqual(
            await self.statuses(
                daemon,
                (v2("203.0.113.8"), ""),
                (v2("203.0.113.7"), ""),
                (v1("203.0.113.8"), ""),
                (v1("2001:db8::1"), ""),
                (v1("2001:db8::2"), ""),
            ),
            [OPEN, TOO_MANY, TOO_MANY, OPEN, TOO_MANY],
        )

    async def test_a_header_of_http_counts_for_nothing(self) -> None:
        """Neither as an address, nor as a sign of a proxy that is not configured."""
        daemon = await self.daemon()
        forged = "X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\nX-Real-IP: 198.51.100.1\r\n"
        self.assertEqual(
            await self.statuses(
                daemon,
                (v1("10.1.1.1"), forged),
                (v1("10.1.1.1"), forged.replace("100.1", "100.2")),
                (v1("10.1.1.2"), ""),
            ),
            [OPEN, TOO_MANY, OPEN],
        )

    async def test_without_its_header_there_is_no_answer(self) -> None:
        daemon = await self.daemon()
        for head in (b"", b"PROXY TCP4 203.0.113.7\r\n", b"PROXY " + b"x" * 200, b"\r\n\r\n\0\r\nQUIT\n"):
            status, _ = await self.open(daemon, head)
            self.assertEqual(status, 0, head)

    async def test_the_proxy_itself(self) -> None:
        """It checks that the server is up; that is no client's connection but its own."""
        daemon = await self.daemon()
        for head in (UNKNOWN, LOCAL):
            status, raw = await self.open(daemon, head)
            self.assertEqual(status, OPEN, head)
            raw.transport.loseConnection()
            await raw.until(b"")


class HopTests(RawTestCase):
    async def test_what_our_proxy_appended_counts(self) -> None:
        daemon = await self.running(TANDEMD_WEB_TRUSTED_PROXIES="1", TANDEMD_LIMITS_CONNECTIONS_PER_ADDRESS="1")
        status, raw = await self.open(daemon, b"", "X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n")
        self.assertEqual(status, OPEN)
        await self.join(raw)
        self.assertEqual(
            await self.statuses(
                daemon,
                (b"", "X-Forwarded-For: 203.0.113.8\r\n"),
                (b"", "X-Forwarded-For: 198.51.100.2, 203.0.113.7\r\n"),
                (b"", "X-Forwarded-For: 198.51.100.2\r\nX-Forwarded-For: 203.0.113.7\r\n"),
            ),
            [OPEN, TOO_MANY, TOO_MANY],
        )

    async def test_a_missing_entry_is_forged(self) -> None:
        """Behind two proxies, one entry was not written by them: the peer counts, which is the same for all of these."""
        daemon = await self.running(TANDEMD_WEB_TRUSTED_PROXIES="2", TANDEMD_LIMITS_CONNECTIONS_PER_ADDRESS="1")
        forged = [(b"", f"X-Forwarded-For: 198.51.100.{number}\r\n") for number in range(3)]
        self.assertEqual(await self.statuses(daemon, *forged), [OPEN, TOO_MANY, TOO_MANY])

    async def test_a_forged_header_switches_nothing_off(self) -> None:
        """From loopback, as from a VPN or a container's gateway: the peer stays one address, with any header."""
        daemon = await self.running(
            TANDEMD_LIMITS_CONNECTIONS_PER_ADDRESS="1", TANDEMD_LIMITS_CODE_LOOKUPS="2", TANDEMD_WEB_SHORT_ID_WAIT="0s"
        )
        status, raw = await self.open(daemon, source="127.0.0.2")
        self.assertEqual(status, OPEN)
        await self.join(raw)
        forged = [(b"", f"X-Forwarded-For: 198.51.100.{number}\r\n") for number in range(3)]
        self.assertEqual(await self.statuses(daemon, *forged), [OPEN, TOO_MANY, TOO_MANY])
        base = f"http://127.0.0.1:{daemon.port}"
        found = []
        for number in range(3):
            response = await treq.get(
                f"{base}/api/short-id/room", headers=Headers({"X-Forwarded-For": [f"8.8.8.{number}"]}), persistent=False
            )
            found.append((response.code, b"shortUrl" in await response.content()))
        self.assertEqual(found, [(404, False), (404, False), (429, False)])
        _, body = await self.get(f"{base}/health/ready")
        self.assertNotIn(b"warnings", body)
        self.assertEqual([line for line in daemon.log if line["level"] == "warn"], [])

    async def test_proxies_of_which_nothing_is_known(self) -> None:
        daemon = await self.running(TANDEMD_LIMITS_CONNECTIONS_PER_ADDRESS="1", TANDEMD_WEB_TRUSTED_PROXIES="unknown")
        self.assertEqual(await self.statuses(daemon, (b"", ""), (b"", "")), [OPEN, OPEN])
        status, raw = await self.open(daemon)
        await self.join(raw)
        # Without an address a member cannot be told from a stranger.
        status, _ = await self.get(f"http://127.0.0.1:{daemon.port}/api/short-id/room")
        self.assertEqual(status, 404)
