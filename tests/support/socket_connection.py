"""One connection on a real socket, below a whole server in fake time, over TCP or TLS: for tests of the written bytes."""

from __future__ import annotations

import json
import select
import socket
import ssl as stdlib_ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, cast

import txaio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import ssl, tcp
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tandemd.messages.framing import text_frame
from tests.support.settings import protocol_settings, send_queue_limits

from .fake_node import EPOCH, World, frame

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def certificate() -> ssl.PrivateCertificate:
    """Return a self-signed certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime(2020, 1, 1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate: ssl.PrivateCertificate = ssl.PrivateCertificate.loadPEM(pem)
    return certificate


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a connection on this machine that keep little and do not block."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    # Sent bytes can be read at once.
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of the frames that a server wrote. Raise AssertionError if they violate RFC 6455.

    The last frame must be complete.
    """
    while data:
        if len(data) < 2:
            raise AssertionError("half a frame")
        opcode, length, at = data[0] & 15, data[1], 2
        if data[0] & 0xF0 != 0x80 or opcode not in (TEXT, CLOSE, PING, PONG) or length > 127:
            raise AssertionError(f"no frame of the server begins with {data[:16]!r}")
        if opcode != TEXT and length > 125:
            raise AssertionError("a control frame is too long")
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        if at != (2 if length < 126 else 4 if length < 65536 else 10):
            raise AssertionError("a length is not in its shortest form")
        if len(data) < at + length:
            raise AssertionError("half a frame")
        payload = data[at : at + length]
        if opcode == TEXT:
            payload.decode()
        yield opcode, payload
        data = data[at + length :]


class SocketTestCase(TestCase):
    """The reactor is a fake: the tests are the kernel's voice. fast: which of the two ways of writing is used."""

    fast = True
    limits = send_queue_limits()

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.clock.advance(EPOCH)
        self.patch(cast(Any, txaio).config, "loop", self.clock)
        self.world = World(self.clock, protocol=protocol_settings(fast_path=self.fast, send_queue=self.limits))
        self.addCleanup(self.world.close)
        self.server = self.world.server
        self.client, far = tcp_pair()
        peer = far.getpeername()
        protocol = self.below(self.server.site).buildProtocol(IPv4Address("TCP", *peer))
        assert protocol is not None
        self.transport: Any = tcp.Server(far, protocol, peer, cast(Any, None), 1, cast(Any, self.clock))
        self.addCleanup(far.close)
        protocol.makeConnection(self.transport)
        self.begin()
        self.addCleanup(self.client.close)
        self.say(REQUEST)
        self.pump()
        self.assertTrue(self.received().startswith(b"HTTP/1.1 101"))
        self.protocol = self.find()
        self.session = self.protocol.connection.session
        self.lost = False

    def tearDown(self) -> None:
        if not self.lost and not self.transport.disconnected:
            self.transport.connectionLost(Failure(CONNECTION_DONE))

    def below(self, site: IProtocolFactory) -> IProtocolFactory:
        """Return the factory that speaks with the client."""
        return site

    def begin(self) -> None:
        """Prepare the connection before the request."""

    def find(self) -> Any:
        """Return the server's end of the WebSocket."""
        return self.transport.protocol

    def say(self, data: bytes) -> None:
        """Have the server read bytes of the client."""
        self.client.sendall(data)
        self.assertIsNone(self.read())
        self.clock.advance(0)

    def read(self) -> Any:
        """Have the server read all arrived bytes, if it wants to; return the reason if the connection is over."""
        return self.transport.doRead() if self.transport in self.clock.readers else None

    def say_message(self, kind: str, **fields: Any) -> None:
        """Have the server read a message of the client."""
        self.say(frame(TEXT, json.dumps({"type": kind, **fields}).encode()))

    def pump(self) -> Any:
        """Write the waiting bytes, as far as the socket takes them now, and return Twisted's result."""
        while self.transport in self.clock.writers:
            result = self.transport.doWrite()
            if result is not None or self.transport.dataBuffer:
                return result
            self.clock.advance(0)
        return None

    def received(self) -> bytes:
        """Return all bytes that the client has received up to now."""
        data = b""
        while True:
            try:
                more = self.client.recv(1 << 20)
            except (BlockingIOError, stdlib_ssl.SSLWantReadError):
                return data
            if not more:
                return data
            data += more

    def drained(self) -> bytes:
        """Return everything that was written until now, waiting bytes included."""
        data = self.received()
        for _ in range(10_000):
            if self.transport not in self.clock.writers:
                return data + self.received()
            # The kernel may take its time with bytes on their way.
            select.select([self.client], [self.transport.socket], [], 1.0)
            self.pump()
            data += self.received()
        raise AssertionError("there is no end to it")

    def fill(self) -> list[bytes]:
        """Write until the socket is full and something waits; return all frames."""
        frames = []
        while not self.transport.dataBuffer and not self.transport._tempDataBuffer and len(frames) < 1000:
            frames.append(text_frame(b"%06d" % len(frames) * 50_000))
            self.session.send(frames[-1])
            self.clock.advance(0)
            if not self.fast:
                self.pump()
        self.assertLess(len(frames), 1000)
        return frames


class TlsSocketTestCase(SocketTestCase):
    """The same with TLS between the socket and the server."""

    def below(self, site: IProtocolFactory) -> IProtocolFactory:
        return TLSMemoryBIOFactory(certificate().options(), False, site, cast(Any, self.clock))

    def begin(self) -> None:
        context = stdlib_ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = stdlib_ssl.CERT_NONE
        self.client = secure = context.wrap_socket(self.client, do_handshake_on_connect=False)
        for _ in range(10):
            try:
                secure.do_handshake()
                break
            except stdlib_ssl.SSLWantReadError:
                self.transport.doRead()
                self.pump()
        else:
            raise AssertionError("no handshake")
        self.transport.doRead()
        self.pump()

    def find(self) -> Any:
        return self.transport.protocol.wrappedProtocol
