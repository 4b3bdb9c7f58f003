"""The promises of docs/privacy.md: the secrets of logs and files, and those of rooms towards other clients."""

from __future__ import annotations

import io
import re
import signal
import struct

import treq
from twisted.logger import eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tandemd.app.log_observer import LineObserver, json_line
from tandemd.store.redis import keys
from tandemd.web import Quota

from ..support.daemon_process import ROOT, Client, Daemon, DaemonTestCase
from ..support.fake_node import TITLE, frame
from ..support.log_events import observe_log
from ..support.rawclient import Raw, RawTestCase
from ..web.test_openapi import described
from ..web.test_router import WebTestCase, head, unread, upgrade

DOCUMENT = (ROOT / "docs/privacy.md").read_text()
PIN, WRONG_PIN = "73190588", "91827364"
CHAT = "what-was-said-in-chat"
SDP = "v=0-what-was-offered"
CANDIDATE = "candidate:what-was-a-candidate"
NAMES = ("Secret Ann", "Secret Bob")
HANDSHAKE = upgrade("/ws")
NEVER = (PIN, WRONG_PIN, CHAT, SDP, CANDIDATE)
"""Texts that no log and no file contains."""


class DocumentTest(SynchronousTestCase):
    """Nothing that is kept is forgotten in the document."""

    def test_every_table(self) -> None:
        for file in (ROOT / "tandemd/archive").rglob("*.*"):
            if file.suffix in (".sql", ".py"):
                for table in re.findall(r'create table (?:if not exists )?"(\w+)"', file.read_text()):
                    self.assertIn(f"| `{table}` |", DOCUMENT)

    def test_every_key_of_redis(self) -> None:
        prefix = keys.PREFIX.decode()
        made = {value.decode() for value in vars(keys).values() if isinstance(value, bytes)} - {prefix}
        made |= {
            key("x").decode()
            for key in (keys.room_key, keys.log_key, keys.ended_key, keys.budget_key, keys.places_key, keys.canary_key)
        }
        made |= {keys.mail_key("x", "y").decode()}
        self.assertEqual(len([name for name in vars(keys) if name.endswith("_key")]), 7)
        for key in made:
            kind = re.match(r"[a-z]+:?", key.removeprefix(prefix))
            assert kind is not None
            self.assertIn(f"`{kind[0]}`", DOCUMENT, key)


class PartyTest(DaemonTestCase):
    """A whole party, with everything in it that must not be found anywhere afterwards."""

    async def party(self, daemon: Daemon) -> tuple[Client, list[str]]:
        """Return a member, and the secrets that the server has made."""
        ann, bob, eve = [await self.connect(daemon) for _ in range(3)]
        mine = await ann.join("secret-room", "ann", username=NAMES[0], pin=PIN, keepsToken=True)
        theirs = await bob.join("secret-room", "bob", username=NAMES[1], pin=PIN, keepsToken=True)
        eve.say("JOIN", roomId="secret-room", userId="eve", pin=WRONG_PIN)
        await eve.hear("ERROR", code="bad_pin")
        await ann.do("CHAT", text=CHAT)
        await ann.do("URL_CHANGE", url=TITLE)
        await ann.do("SEEK", currentTime=5, isPlaying=True)
        ann.say("OFFER", to="bob", offer={"type": "offer", "sdp": SDP})
        bob.say("ANSWER", to="ann", answer={"type": "answer", "sdp": SDP})
        ann.say("ICE_CANDIDATE", to="bob", candidate={"candidate": CANDIDATE})
        await bob.hear("ICE_CANDIDATE")
        # And everything that is not understood, or not done.
        ann.say("CHAT", text=CHAT, id=-1)
        ann.say("OFFER", to="nobody", offer={"type": "offer", "sdp": SDP}, id=900)
        await ann.hear("ERROR", id=900)
        ann.say(CHAT)
        ann.say("JOIN", roomId="secret-room", userId=["x"], pin=PIN, token=mine["token"], id=901)
        await ann.hear("ERROR", id=901)
        ann.sendMessage(f'{{"type":"CHAT","text":"{CHAT}'.encode())
        base = f"http://127.0.0.1:{daemon.port}"
        for path in (f"/room/abcdefghij/{PIN}", f"/room/abcdefghij/{PIN}%0d", f"/api/{PIN}", f"/status?{PIN}"):
            await self.get(base + path)
        await self.status(base, mine["token"])
        await bob.do("CHAT", text=CHAT)
        return ann, [mine["token"], theirs["token"]]

    async def status(self, base: str, token: str) -> bytes:
        response = await treq.get(
            base + "/status", headers=Headers({"Authorization": [f"Bearer {token}"]}), persistent=False
        )
        body: bytes = await response.content()
        return body

    async def test_log_at_its_most_talkative(self) -> None:
        daemon = await self.running(LOG_LEVEL="debug")
        ann, tokens = await self.party(daemon)
        ann.dropConnection(abort=True)
        await ann.closed
        ended = daemon.ended()
        daemon.kill(signal.SIGTERM)
        await ended
        logged = (daemon.output + daemon.errors).decode()
        self.assertIn("connection closed after", logged, "the log is not at its most talkative")
        for secret in (*NEVER, *tokens, *NAMES, TITLE):
            self.assertNotIn(secret, logged)

    async def test_files(self) -> None:
        daemon = await self.running()
        ann, tokens = await self.party(daemon)
        seq = await ann.do("CHAT", text=CHAT)
        await ann.do("UPDATE_USERNAME", username="Ann")
        await self.archived("secret-room", seq)
        kept = b"".join(file.read_bytes() for file in self.state.rglob("*") if file.is_file())
        self.assertIn(b"secret-room", kept, "what is searched is not what is kept")
        for secret in (*NEVER, *tokens):
            self.assertNotIn(secret.encode(), kept)

    async def test_strangers(self) -> None:
        """Every path, requested without the secrets of a member."""
        daemon = await self.running(TANDEMD_WEB_SHORT_ID_WAIT="0s")
        _, tokens = await self.party(daemon)
        base = f"http://127.0.0.1:{daemon.port}"
        values = {"{code}": "abcdefghij", "{roomId}": "another-room", "{pin}": PIN[::-1], "{file}": "main.js"}
        asked = 0
        for path in described():
            real = path
            for name, value in values.items():
                real = real.replace(name, value)
            for tokens_sent in ([], ["Bearer x"], [f"Bearer {tokens[0][:-1]}"]):
                headers = Headers({"Authorization": tokens_sent})
                response = await treq.get(base + real, headers=headers, persistent=False, allow_redirects=False)
                told = repr(list(response.headers.getAllRawHeaders())).encode() + await response.content()
                asked += 1
                for secret in (*NEVER, *tokens, *NAMES, "secret-room", '"ann"', "/watch/1"):
                    self.assertNotIn(secret.encode(), told, real)
        self.assertGreater(asked, 30)
        self.assertIn(b"secret-room", await self.status(base, tokens[0]))


class AddressTest(RawTestCase):
    """No line of the log has the address or the port of a client, for any of its actions."""

    environ: dict[str, str] = {}

    async def test_log_at_its_most_talkative(self) -> None:
        daemon = await self.running(
            LOG_LEVEL="debug",
            TANDEMD_LIMITS_HANDSHAKE_TIMEOUT="1s",
            TANDEMD_LIMITS_JOIN_TIMEOUT="1s",
            TANDEMD_LIMITS_HANDSHAKES_PER_ADDRESS="5",
            TANDEMD_ADMIN_TOKEN="t" * 32,
            **self.environ,
        )
        raws = []

        async def say(last: int, *written: bytes) -> Raw:
            raw = await self.reach(daemon, f"127.0.77.{last}")
            assert raw.transport is not None
            self.ports.append(raw.transport.getHost().port)  # type: ignore[attr-defined]
            for data in written:
                raw.transport.write(data)
            raws.append(raw)
            return raw

        # Idle after an answer, half a request, a TLS handshake without TLS, nonsense, a wrong version and a wrong key.
        await say(1, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await say(2, b"GET /ws HTTP/1.1\r\nHost: x\r\n")
        await say(3, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n")
        await say(4, b"nonsense\r\n\r\n")
        await say(5, HANDSHAKE.replace(b"Version: 13", b"Version: 8"))
        await say(6, HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"x"))
        await say(7, b"GET /admin/v1/node HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n")
        # WebSockets that want nothing, are malformed, too large, or too many.
        for number, data in enumerate((b"", b"\xff" * 40, frame(2, b"x"), frame(1, b"\xff"), frame(1, b"x") * 5000)):
            raw = await say(10 + number, HANDSHAKE)
            await raw.until(b"\r\n\r\n")
            raw.transport.write(data)
        await say(20, HANDSHAKE + struct.pack("!BBQ", 0x81, 0xFF, 2**40) + b"mask" + bytes(100))
        for _ in range(8):
            await say(30)
        status, refused = await self.open(daemon, source="127.0.77.14")
        raws.append(refused)
        gone = await self.reach(daemon, "127.0.77.40")
        gone.transport.write(HANDSHAKE)
        await gone.until(b"\r\n\r\n")
        gone.transport.abortConnection()
        for raw in raws:
            if not raw.ended:
                await raw.until(b"")
        ended = daemon.ended()
        daemon.kill(signal.SIGTERM)
        await ended
        logged = (daemon.output + daemon.errors).decode()
        self.assertIn("connection closed after", logged, "the log is not at its most talkative")
        self.assertNotIn("127.0.77.", logged)
        for port in self.ports:
            self.assertNotRegex(logged, rf"\b{port}\b")

    def setUp(self) -> None:
        super().setUp()
        self.ports: list[int] = []


class PlainAddressTest(AddressTest):
    """The same where Autobahn does it all."""

    environ = {"TANDEMD_FAST_PATH": "false"}


class UnreadTest(WebTestCase):
    """Clients that do not read their answers, or leave a connection idle, are no line of the log."""

    def test_no_addresses(self) -> None:
        out = io.BytesIO()
        observer = LineObserver(out, json_line, "debug")
        observe_log(self, observer)
        self.site.connections = Quota()
        unread(self.site, 3)
        unread(self.site, 3, "198.51.100.{}", head("/health"))
        for _ in range(40):
            self.reactor.advance(1)
        globalLogPublisher.removeObserver(observer)
        self.assertNotIn(b"203.0.113.", out.getvalue())
        self.assertNotIn(b"198.51.100.", out.getvalue())


class FaultTest(WebTestCase):
    def test_a_fault_does_not_log_the_path(self) -> None:
        """An invite link has a PIN in it."""
        self.rooms.failure = RuntimeError("a fault")
        lines: list[str] = []
        observe_log(self, lambda event: lines.append(eventAsText(event)))
        self.request(f"/room/abcde12345/{PIN}")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        (line,) = [line for line in lines if "a fault" in line]
        self.assertIn("RoomLink", line)
        self.assertNotIn(PIN, line)
        self.assertNotIn("abcde12345", line)
