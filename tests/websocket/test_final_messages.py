"""Messages that a client sent before its connection ended are carried out, in order, however the connection ends.

Real sockets and the real reactor, with the rest of the server as in the other tests.
"""

from __future__ import annotations

import json
import socket
import ssl as stdlib_ssl
import struct
import time
from collections.abc import Callable
from typing import Any, cast

import txaio
from twisted.internet import reactor as installed_reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from tests.support.settings import protocol_settings

from ..support.daemon_process import DaemonTestCase
from ..support.fake_node import HeldStore, Server, frame
from ..support.socket_connection import REQUEST, certificate

try:
    from tandemd.app.fair_reactor import FairReactor
except ImportError:
    FairReactor = None  # type: ignore[assignment]

TEXT, CLOSE = 1, 8
LIMIT = 60.0
"""Seconds after which a test gives up waiting."""
CHATS = 25
"""More than one iteration reads of a connection."""


def say(kind: str, **fields: Any) -> bytes:
    return frame(TEXT, json.dumps({"type": kind, **fields}).encode())


class FinalMessagesTest(TestCase):
    """Over TCP, on the fast path."""

    fast = True
    secure = False

    if FairReactor is None:
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.reactor = FairReactor()
        self.patch(cast(Any, txaio).config, "loop", self.reactor)
        self.server = Server(
            self.reactor,
            make_store=HeldStore,
            protocol=protocol_settings(fast_path=self.fast),
        )
        self.server.factory.websockets = self.reactor.websockets
        self.server.start()
        site: Any = self.server.site
        if self.secure:
            site = TLSMemoryBIOFactory(certificate().options(), False, site, cast(Any, self.reactor))
        self.port = self.reactor.listenTCP(0, cast(Factory, site), backlog=100, interface="127.0.0.1")

    def tearDown(self) -> None:
        self.port.stopListening()
        for protocol in list(self.server.factory._protocols):
            protocol.abort()
        self.run_until(lambda: not len(self.server.factory))
        self.server.stop()
        for call in self.reactor.getDelayedCalls():
            call.cancel()
        self.reactor._poller.close()

    def run_until(self, condition: Callable[[], Any]) -> None:
        until = time.monotonic() + LIMIT
        while not condition():
            self.assertLess(time.monotonic(), until, f"it never came; journal: {self.events()}")
            self.reactor.iterate(0.01)

    def connect(self) -> socket.socket:
        """Return a socket on which the handshake of WebSocket has succeeded."""
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        client.setblocking(False)
        if self.secure:
            context = stdlib_ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = stdlib_ssl.CERT_NONE
            client = context.wrap_socket(client, do_handshake_on_connect=False)
            self.run_until(lambda: self.attempt(cast(Any, client).do_handshake))
        client.sendall(REQUEST)
        got = bytearray()

        def answered() -> bool:
            self.attempt(lambda: got.extend(client.recv(4096)))
            return got.endswith(b"\r\n\r\n")

        self.run_until(answered)
        self.addCleanup(client.close)
        return client

    def attempt(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except (BlockingIOError, stdlib_ssl.SSLWantReadError):
            return False
        return True

    def events(self) -> list[str]:
        return [f"{commit.event} {commit.details}" for _, commit in self.server.journal]

    def count(self, event: str) -> int:
        return sum(commit.event == event for _, commit in self.server.journal)

    def numbers(self) -> list[str]:
        """Return the texts of all CHATs that were carried out, in order."""
        return [commit.messages[0].text for _, commit in self.server.journal if commit.event == "CHAT"]

    def words(self, *, leave: bool = True) -> bytes:
        """Return JOIN, `CHATS` CHATs and LEAVE."""
        texts = [say("CHAT", text=str(number)) for number in range(CHATS)]
        return b"".join(
            [say("JOIN", userId="ann", roomId="room", username="Ann"), *texts, *([say("LEAVE")] if leave else [])]
        )

    def finish(self, client: socket.socket) -> None:
        client.close()

    def reset(self, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    def close(self, client: socket.socket) -> None:
        client.sendall(frame(CLOSE, b"\x03\xe8"))
        client.close()

    def assertCarriedOut(self) -> None:
        self.run_until(lambda: not len(self.server.factory))
        self.assertEqual(self.numbers(), [str(number) for number in range(CHATS)])
        self.assertEqual(self.count("USER_LEFT"), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def check_end(self, end: Callable[[socket.socket], None]) -> None:
        client = self.connect()
        client.sendall(self.words())
        end(client)
        self.assertCarriedOut()

    def check_undecided(self, end: Callable[[socket.socket], None]) -> None:
        """The connection ends while the store has not answered the JOIN yet."""
        store = cast(HeldStore, self.server.store)
        store.holding = True
        client = self.connect()
        client.sendall(self.words())
        self.run_until(lambda: store._held)
        end(client)
        for _ in range(20):
            self.reactor.iterate(0.001)
        self.assertEqual(self.numbers(), [])
        self.assertEqual(len(self.server.factory), 1)
        store.release()
        self.assertCarriedOut()

    def test_end(self) -> None:
        self.check_end(self.finish)

    def test_reset(self) -> None:
        """Bytes read before a reset are carried out as well; the server has to have read them, so they are few."""
        client = self.connect()
        client.sendall(self.words())
        self.run_until(lambda: self.count("USER_JOINED"))
        self.reset(client)
        self.assertCarriedOut()

    def test_close_frame(self) -> None:
        self.check_end(self.close)

    def test_end_while_undecided(self) -> None:
        self.check_undecided(self.finish)

    def test_reset_while_undecided(self) -> None:
        self.check_undecided(self.reset)

    def test_close_frame_while_undecided(self) -> None:
        self.check_undecided(self.close)

    def test_reset_while_something_is_written(self) -> None:
        """The kernel reports the reset to the writer, although nothing is read at the moment."""
        store = cast(HeldStore, self.server.store)
        store.holding = True
        client = self.connect()
        client.sendall(self.words())
        self.run_until(lambda: store._held)
        (protocol,) = self.server.factory._protocols
        protocol.transport.write(b"\x89\x00" * 1_000_000)
        self.reset(client)
        self.run_until(lambda: protocol.is_lost)
        store.release()
        self.assertCarriedOut()

    def test_a_member_that_does_not_leave_is_lost_after_its_last_message(self) -> None:
        client = self.connect()
        client.sendall(self.words(leave=False))
        client.close()
        self.run_until(lambda: not len(self.server.factory))
        self.assertEqual(len(self.numbers()), CHATS)
        self.assertEqual(self.events()[-1], "CONNECTION_LOST {'users': ['ann']}")

    def test_dropped_while_undecided(self) -> None:
        """A connection that the server drops ends at once; messages behind the JOIN are not carried out."""
        store = cast(HeldStore, self.server.store)
        store.holding = True
        client = self.connect()
        client.sendall(self.words())
        self.run_until(lambda: store._held)
        client.close()
        (protocol,) = self.server.factory._protocols
        protocol.abort()
        self.run_until(lambda: not len(self.server.factory))
        store.release()
        self.assertEqual(self.numbers(), [])


class PlainFinalMessagesTest(FinalMessagesTest):
    """The same without the fast path."""

    fast = False


class TlsFinalMessagesTest(FinalMessagesTest):
    """The same with TLS."""

    secure = True


class PlainTlsFinalMessagesTest(FinalMessagesTest):
    """The same with TLS and without the fast path."""

    fast = False
    secure = True


class DaemonTests(DaemonTestCase):
    """The daemon itself, and clients that send all they have to say in one piece and end at once."""

    timeout = 150

    async def check(self, count: int, chats: int, *, reset: bool = False, **environ: str) -> None:
        """Have clients end, and wait until all that they sent is in the archive."""
        daemon = await self.running(**environ)
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", daemon.port))
            client.sendall(REQUEST)
            answer = b""
            while b"\r\n\r\n" not in answer:
                # A ping of the server may follow at once.
                answer += client.recv(4096)
            words = [say("JOIN", userId="ann", roomId=f"room{number}")]
            words += [say("CHAT", text=str(chat)) for chat in range(chats)]
            client.sendall(b"".join([*words, say("LEAVE")]))
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        until = time.monotonic() + LIMIT
        expected = {"CHAT": count * chats, "USER_LEFT": count}
        while (found := dict(self.query(COUNTS))) != expected:
            self.assertLess(time.monotonic(), until, f"the archive has {found}")
            await deferLater(installed_reactor, 0.05)
        self.assertEqual([line for line in daemon.log if line["level"] in ("error", "critical")], [])

    async def test_end(self) -> None:
        await self.check(20, 10)

    async def test_end_after_more(self) -> None:
        await self.check(10, 25)

    async def test_reset(self) -> None:
        await self.check(20, 10, reset=True)

    async def test_end_without_the_fast_path(self) -> None:
        await self.check(20, 10, TANDEMD_FAST_PATH="false")

    async def test_reset_without_the_fast_path(self) -> None:
        await self.check(20, 10, reset=True, TANDEMD_FAST_PATH="false")


COUNTS = """
    select "event_type", count(*) from "room_events" where "event_type" in ('CHAT', 'USER_LEFT') group by "event_type"
"""
