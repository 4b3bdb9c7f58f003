"""Excessive clients, with real sockets: their answers, and the effect on their neighbours."""

from __future__ import annotations

import os
import pathlib

from ..support.daemon_process import Client
from ..support.fake_node import frame
from ..support.rawclient import Raw, RawTestCase

CHAT = frame(1, b'{"type":"CHAT","text":"%s"}' % (b"x" * 1000))
ATTACKER = "127.0.0.66"


class FloodTests(RawTestCase):
    environ: dict[str, str] = {}

    async def asked(self, client: Client) -> None:
        """See that a neighbour is served."""
        await client.do("CHAT", text="still here")
        self.assertFalse(client.closed.called)

    async def flood(self, raw: Raw, data: bytes) -> None:
        """Write until the connection ends."""
        assert raw.transport is not None
        raw.transport.write(data)
        await raw.until(b"")
        # The close frame came through, although the client had not been listened to for long.
        self.assertIn(b"\x03\xf0", raw.data)

    async def test_floods(self) -> None:
        daemon = await self.running(**self.environ)
        neighbour = await self.connect(daemon)
        await neighbour.join("room", "ann")
        for number, data in enumerate((CHAT * 5000, frame(1, b"x") * 5000, frame(9, b"") * 5000)):
            source = f"127.0.1.{number}"
            status, raw = await self.open(daemon, source=source)
            self.assertEqual(status, 101)
            await self.join(raw, f"eve{number}")
            await self.flood(raw, data)
            status, refused = await self.open(daemon, source=source)
            self.assertEqual(status, 429)
            await refused.until(b'"retryAfterMs"')
            self.assertRegex(refused.data, rb"Retry-After: (10|9)\r\n")
            await refused.until(b"")
            await self.asked(neighbour)
        self.assertEqual((await self.open(daemon))[0], 101)
        _, metrics = await self.get(f"http://127.0.0.1:{daemon.port}/metrics")
        self.assertIn(b'tandemd_rate_limited_total{reason="abuse"} 3.0', metrics)
        self.assertIn(b'tandemd_rate_limited_total{reason="penalized"} 3.0', metrics)

    async def test_a_foreign_page_keeps_no_client_out(self) -> None:
        """The operator may admit any site: its abuse in a member's browser must not cost the member's address."""
        daemon = await self.running(**self.environ, TANDEMD_WEB_ALLOWED_ORIGINS="*")
        member = await self.connect(daemon, "127.0.0.1")
        await member.join("room", "ann")
        for origin, status in (("https://evil.example", 101), ("chrome-extension://abc", 429)):
            _, page = await self.open(daemon, headers=f"Origin: {origin}\r\n")
            await self.flood(page, frame(1, b"x") * 5000)
            self.assertEqual((await self.open(daemon))[0], status, origin)
        await self.asked(member)

    async def test_foreign_pages_are_refused(self) -> None:
        daemon = await self.running(**self.environ)
        for origin in ("https://evil.example", "null"):
            self.assertEqual((await self.open(daemon, headers=f"Origin: {origin}\r\n"))[0], 403)
        for origin in ("chrome-extension://abc", "https://www.netflix.com", "http://localhost"):
            self.assertEqual((await self.open(daemon, headers=f"Origin: {origin}\r\n"))[0], 101, origin)


class PlainFloodTests(FloodTests):
    """The same where Autobahn does it all."""

    environ = {"TANDEMD_FAST_PATH": "false"}


class OtherTests(RawTestCase):
    async def test_half_open(self) -> None:
        """Hundreds send half of a request: the server stays open to others, and keeps no more than so many."""
        daemon = await self.running(TANDEMD_LIMITS_HANDSHAKES="60", TANDEMD_LIMITS_HANDSHAKES_PER_ADDRESS="50")
        raws = []
        for _ in range(200):
            raw = await self.reach(daemon, ATTACKER)
            assert raw.transport is not None
            raw.transport.write(b"GET /ws HTTP/1.1\r\nHost: loc")
            raws.append(raw)
        status, honest = await self.open(daemon)
        self.assertEqual(status, 101)
        await self.join(honest)
        for raw in raws[:150]:
            await raw.until(b"")
        self.assertEqual([raw.ended for raw in raws[150:]], [False] * 50)

    async def test_slow_downloads(self) -> None:
        """Clients that ask for the clip and read nothing of it: only so many are kept, without a file for each."""
        daemon = await self.running(
            TANDEMD_LIMITS_HTTP_CONNECTIONS="60", TANDEMD_LIMITS_HTTP_CONNECTIONS_PER_ADDRESS="20"
        )
        slow = []
        for _ in range(50):
            raw = await self.reach(daemon, ATTACKER)
            assert raw.transport is not None
            raw.transport.pauseProducing()  # type: ignore[attr-defined]
            raw.transport.write(b"GET /page/clip.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            slow.append(raw)
        status, _ = await self.get(f"http://127.0.0.1:{daemon.port}/")
        self.assertEqual(status, 200)
        for raw in slow[:30]:
            raw.transport.resumeProducing()
            await raw.until(b"")
        assert daemon.transport is not None
        opened = [
            os.readlink(link) for link in pathlib.Path(f"/proc/{daemon.transport.pid}/fd").iterdir() if link.exists()
        ]
        self.assertEqual([name for name in opened if name.endswith("clip.mp4")], [])
        _, metrics = await self.get(f"http://127.0.0.1:{daemon.port}/metrics")
        self.assertIn(b'tandemd_rate_limited_total{reason="http_connections"} 30.0', metrics)

    async def test_off(self) -> None:
        daemon = await self.running(TANDEMD_LIMITS_ENABLED="false")
        client = await self.connect(daemon)
        await client.join("room", "ann")
        for _ in range(500):
            client.say("CHAT", text="x")
            client.sendMessage(b"nonsense")
        await client.do("CHAT", text="still here")
