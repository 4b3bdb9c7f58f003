"""Sockets are handled a few at a time, each kind within its budget. The sockets are real, and so is the reactor."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase

from ..support.patience import PATIENCE_SECONDS

try:
    from tandemd.app import fair_reactor as module
    from tandemd.app.fair_reactor import ACCEPTS_PER_EVENT, FairReactor
except ImportError:
    FairReactor = None  # type: ignore[assignment]

LIMIT = PATIENCE_SECONDS


class Server(Protocol):
    """Records the events of its connection."""

    def __init__(self) -> None:
        self.heard = b""
        self.end: type[BaseException] | None = None
        self.transport: Any = None

    def dataReceived(self, data: bytes) -> None:
        if data == b"fail":
            raise ZeroDivisionError
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.end = reason.type


class ServerFactory(Factory):
    def __init__(self) -> None:
        self.servers: list[Server] = []

    def buildProtocol(self, addr: object) -> Server:
        self.servers.append(Server())
        return self.servers[-1]


class ReactorTestCase(TestCase):
    """The clock of the reactor stands still and no budget is left: of each kind, one socket is handled an iteration."""

    if FairReactor is None:
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.patch(module, "OTHER_SECONDS", 0.0)
        self.patch(module, "WEBSOCKET_SECONDS", 0.0)
        self.reactor = FairReactor()
        self.now = 1000.0
        self.reactor.seconds = lambda: self.now
        self.factory = ServerFactory()
        self.port = self.reactor.listenTCP(0, self.factory, backlog=100, interface="127.0.0.1")
        self.clients: list[socket.socket] = []

    def tearDown(self) -> None:
        for client in self.clients:
            client.close()
        self.run_until(lambda: all(server.end for server in self.factory.servers))
        self.port.stopListening()
        self.reactor._poller.close()

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.clients.append(socket.create_connection(("127.0.0.1", self.port.getHost().port)))

    def iterate(self) -> None:
        """Run one iteration of the reactor, as soon as it has work."""
        select.select([self.reactor._poller.fileno()], [], [], 1.0)
        self.reactor.iterate(0)

    def run_until(self, condition: Any) -> int:
        """Iterate until something is so; return how many iterations it took."""
        until = time.monotonic() + LIMIT
        count = 0
        while not condition():
            self.assertLess(time.monotonic(), until, f"not so after {count} iterations")
            self.iterate()
            count += 1
        return count

    def enter(self, count: int) -> list[Server]:
        self.connect(count)
        self.run_until(lambda: len(self.factory.servers) == count)
        return self.factory.servers


class OtherTest(ReactorTestCase):
    """Sockets of which no WebSocket was made."""

    def test_accepted_a_few_at_a_time(self) -> None:
        self.connect(3 * ACCEPTS_PER_EVENT)
        seen = 0
        while seen < 3 * ACCEPTS_PER_EVENT:
            self.iterate()
            self.assertLessEqual(len(self.factory.servers) - seen, ACCEPTS_PER_EVENT)
            seen = len(self.factory.servers)

    def test_read_one_at_a_time_and_none_starves(self) -> None:
        servers = self.enter(10)
        for _ in range(3):
            for client in self.clients:
                client.sendall(b"x")
            before = sum(len(server.heard) for server in servers)
            for count in range(1, 11):
                self.iterate()
                self.assertLessEqual(sum(len(server.heard) for server in servers), before + count)
            self.run_until(lambda: sum(len(server.heard) for server in servers) == before + 10)  # noqa: B023
        self.assertEqual([server.heard for server in servers], [b"xxx"] * len(servers))

    def test_round_robin(self) -> None:
        """Clients that go on sending do not keep others waiting."""
        servers = self.enter(5)
        for server in servers:
            server.transport.bufferSize = 1
        for client in self.clients:
            client.sendall(b"x" * 100)
        self.run_until(lambda: sum(len(server.heard) for server in servers) == 50)
        self.assertEqual([len(server.heard) for server in servers], [10] * 5)

    def test_within_the_budget(self) -> None:
        servers = self.enter(10)
        self.patch(module, "OTHER_SECONDS", LIMIT)
        for client in self.clients:
            client.sendall(b"x")
        self.assertEqual(self.run_until(lambda: all(server.heard for server in servers)), 1)

    def test_ended_one_at_a_time(self) -> None:
        servers = self.enter(5)
        for client in self.clients:
            client.close()
        self.iterate()
        self.assertLessEqual(sum(server.end is not None for server in servers), 1)
        self.run_until(lambda: all(server.end is ConnectionDone for server in servers))

    def test_reset(self) -> None:
        (server,) = self.enter(1)
        self.clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.clients[0].close()
        self.run_until(lambda: server.end)
        self.assertIs(server.end, ConnectionLost)

    def test_reset_while_only_writing(self) -> None:
        (server,) = self.enter(1)
        server.transport.pauseProducing()
        server.transport.write(b"x" * 10_000_000)
        self.iterate()
        self.clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.clients[0].close()
        self.run_until(lambda: server.end)
        self.assertIs(server.end, ConnectionLost)

    def test_fault(self) -> None:
        """A fault ends its connection and no other."""
        first, second = self.enter(2)
        self.clients[0].sendall(b"fail")
        self.clients[1].sendall(b"fine")
        self.run_until(lambda: first.end and second.heard)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(second.end)

    def test_writing(self) -> None:
        """Output beyond the buffer follows when the buffer has room, with or without input meanwhile."""
        (server,) = self.enter(1)
        data = os.urandom(5_000_000)
        server.transport.write(data)
        got = b""
        self.clients[0].setblocking(False)
        while len(got) < len(data):
            self.iterate()
            while select.select([self.clients[0]], [], [], 0)[0]:
                got += self.clients[0].recv(1 << 20)
        self.assertEqual(got, data)
        self.clients[0].sendall(b"thanks")
        self.run_until(lambda: server.heard)
        self.assertEqual(server.heard, b"thanks")

    def test_closed_by_us(self) -> None:
        (server,) = self.enter(1)
        server.transport.write(b"bye")
        server.transport.loseConnection()
        self.run_until(lambda: server.end)
        self.assertEqual(self.clients[0].recv(100), b"bye")
        self.assertEqual(self.clients[0].recv(100), b"")

    def test_port_of_another_process(self) -> None:
        """As from systemd."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            adopted = self.reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, self.factory)
            self.clients.append(socket.create_connection(listening.getsockname()))
            self.run_until(lambda: self.factory.servers)
            adopted.stopListening()


class KindsTest(ReactorTestCase):
    """WebSockets and everything else have budgets of their own."""

    def test_websockets_do_not_wait_for_others(self) -> None:
        servers = self.enter(6)
        self.reactor.websockets.add(servers[0].transport)
        for server in servers:
            server.transport.bufferSize = 1
        for client in self.clients:
            client.sendall(b"x" * 50)
        self.run_until(lambda: len(servers[0].heard) == 50)
        self.assertEqual([len(server.heard) for server in servers[1:]], [10] * 5)

    def test_own_sockets_do_not_wait(self) -> None:
        """Sockets that the node opened, such as that to Redis, are handled in each iteration."""
        servers = self.enter(4)
        peer = Server()
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            factory: Any = ClientFactory(peer)
            self.reactor.connectTCP("127.0.0.1", listening.getsockname()[1], factory)
            self.run_until(lambda: peer.transport is not None)
            far, _ = listening.accept()
        self.clients.append(far)
        peer.transport.bufferSize = 1
        for server in servers:
            server.transport.bufferSize = 1
        for client in self.clients:
            client.sendall(b"x" * 20)
        self.run_until(lambda: len(peer.heard) == 20)
        self.assertLessEqual(sum(len(server.heard) for server in servers), 20)
        far.close()
        self.run_until(lambda: peer.end)

    def test_a_number_that_was_given_to_another(self) -> None:
        """An event is not for the socket that has the number by now."""
        first, second = sorted(self.enter(2), key=lambda server: server.transport.fileno())
        for client in self.clients:
            client.sendall(b"x")
        self.patch(module, "OTHER_SECONDS", LIMIT)
        taken: list[int] = []

        def replace(data: bytes) -> None:
            # As if the handler had closed the other connection, and the kernel given its number to a new one.
            number = second.transport.fileno()
            self.reactor.removeReader(second.transport)
            taken.append(number)
            self.reactor._selectables[number] = first.transport

        first.dataReceived = replace
        self.iterate()
        self.assertEqual(len(taken), 1)
        self.assertEqual(second.heard, b"")
        del self.reactor._selectables[taken[0]]
        self.reactor.addReader(second.transport)
        self.run_until(lambda: second.heard)


class ClientFactory(Factory):
    """Makes one protocol for a connection of ours."""

    noisy = False

    def __init__(self, protocol: Server):
        self._made = protocol

    def buildProtocol(self, addr: object) -> Server:
        return self._made

    def startedConnecting(self, connector: object) -> None:
        """Nothing is to be done."""

    def clientConnectionLost(self, connector: object, reason: Failure) -> None:
        """The protocol knows."""


class ClockTest(TestCase):
    if FairReactor is None:
        skip = "this system has no epoll"

    def test_monotonic(self) -> None:
        reactor = FairReactor()
        self.addCleanup(reactor._poller.close)
        before = time.monotonic()
        call = reactor.callLater(10, lambda: None)
        self.assertTrue(before <= reactor.seconds() <= time.monotonic())
        self.assertTrue(before + 10 <= call.getTime() <= time.monotonic() + 10)


class InstallTest(TestCase):
    """A process of its own, because a reactor is installed once."""

    def run_it(self, before: str) -> str:
        script = f"""
import sys, time
{before}
from tandemd import tap
tap._install_reactor()
from twisted.internet import reactor
print(type(reactor).__mro__[1].__name__, abs(reactor.seconds() - time.monotonic()) < 60)
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        )
        return done.stdout

    def test_with_epoll(self) -> None:
        if FairReactor is None:
            raise SkipTest("this system has no epoll")
        self.assertEqual(self.run_it(""), "EPollReactor True\n")

    def test_without_epoll(self) -> None:
        self.assertEqual(self.run_it("sys.modules['twisted.internet.epollreactor'] = None"), "SelectReactor True\n")
