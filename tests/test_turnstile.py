"""Connections are taken, read, written and ended a few at a time, by sockets that are real and a reactor that is not."""

from __future__ import annotations

import os
import select
import socket
import struct
from typing import Any, cast

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tandemd import turnstile
from tandemd.turnstile import ACCEPTED, AT_ONCE, Turnstile


class Guest(Protocol):
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.heard = b""
        self.end: type[BaseException] | None = None
        self.transport: Any

    def dataReceived(self, data: bytes) -> None:
        if data == b"fail":
            raise ZeroDivisionError
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.end = reason.type


class House(Factory):
    def __init__(self) -> None:
        self.guests: list[Guest] = []

    def buildProtocol(self, addr: object) -> Guest:
        self.guests.append(Guest())
        return self.guests[-1]


class TurnstileTest(TestCase):
    if not Turnstile.available:
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.turnstile = Turnstile(self.clock)
        # The clock stands still: a turn is over after one look at it.
        self.patch(turnstile, "TURN", 0.0)
        self.house = House()
        self.port = self.turnstile.listenTCP(0, self.house, backlog=100, interface="127.0.0.1")
        self.clients: list[socket.socket] = []

    def tearDown(self) -> None:
        for client in self.clients:
            client.close()
        self.run_until(lambda: all(guest.end for guest in self.house.guests))
        self.port.stopListening()
        self.assertEqual(self.clock.readers, set())

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.clients.append(socket.create_connection(("127.0.0.1", self.port.getHost().port)))

    def turn(self) -> None:
        """Have one turn of the reactor, as soon as there is something to do."""
        self.assertIn(self.turnstile, self.clock.readers)
        select.select([self.turnstile.fileno()], [], [], 1.0)
        self.turnstile.doRead()
        self.clock.advance(0)

    def run_until(self, condition: Any) -> int:
        """Return how many turns it took."""
        for count in range(1000):
            if condition():
                return count
            self.turn()
        raise AssertionError("it is never so")

    def enter(self, count: int) -> list[Guest]:
        self.connect(count)
        self.run_until(lambda: len(self.house.guests) == count)
        return self.house.guests

    def test_taken_a_few_at_a_time(self) -> None:
        self.connect(3 * ACCEPTED)
        seen = 0
        while seen < 3 * ACCEPTED:
            self.turn()
            self.assertLessEqual(len(self.house.guests) - seen, ACCEPTED)
            seen = len(self.house.guests)

    def test_read_a_few_at_a_time_and_nobody_is_forgotten(self) -> None:
        guests = self.enter(10 * AT_ONCE)
        for _ in range(3):
            for client in self.clients:
                client.sendall(b"x")
            before = sum(len(guest.heard) for guest in guests)
            for turns in range(1, 11):
                self.turn()
                self.assertLessEqual(sum(len(guest.heard) for guest in guests), before + turns * AT_ONCE)
        self.assertEqual([guest.heard for guest in guests], [b"xxx"] * len(guests))

    def test_ended_a_few_at_a_time(self) -> None:
        guests = self.enter(5 * AT_ONCE)
        for client in self.clients:
            client.close()
        self.turn()
        self.assertLessEqual(sum(guest.end is not None for guest in guests), AT_ONCE)
        self.run_until(lambda: all(guest.end is ConnectionDone for guest in guests))

    def test_reset(self) -> None:
        (guest,) = self.enter(1)
        self.clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.clients[0].close()
        self.run_until(lambda: guest.end)
        self.assertIs(guest.end, ConnectionLost)

    def test_reset_while_only_writing(self) -> None:
        (guest,) = self.enter(1)
        guest.transport.pauseProducing()
        guest.transport.write(b"x" * 10_000_000)
        self.turn()
        self.clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.clients[0].close()
        self.run_until(lambda: guest.end)
        self.assertIs(guest.end, ConnectionLost)

    def test_fault(self) -> None:
        """A fault ends its connection and no other."""
        first, second = self.enter(2)
        self.clients[0].sendall(b"fail")
        self.clients[1].sendall(b"fine")
        self.run_until(lambda: first.end and second.heard)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(second.end)

    def test_writing(self) -> None:
        """What does not fit goes on when there is room, whether or not something is read meanwhile."""
        (guest,) = self.enter(1)
        data = os.urandom(5_000_000)
        guest.transport.write(data)
        got = b""
        self.clients[0].setblocking(False)
        while len(got) < len(data):
            self.turn()
            while select.select([self.clients[0]], [], [], 0)[0]:
                got += self.clients[0].recv(1 << 20)
        self.assertEqual(got, data)
        self.clients[0].sendall(b"thanks")
        self.run_until(lambda: guest.heard)
        self.assertEqual(guest.heard, b"thanks")

    def test_paused(self) -> None:
        (guest,) = self.enter(1)
        guest.transport.pauseProducing()
        self.clients[0].sendall(b"x")
        self.assertEqual(select.select([self.turnstile.fileno()], [], [], 0)[0], [])
        guest.transport.resumeProducing()
        self.run_until(lambda: guest.heard)

    def test_closed_by_us(self) -> None:
        (guest,) = self.enter(1)
        guest.transport.write(b"bye")
        guest.transport.loseConnection()
        self.run_until(lambda: guest.end)
        self.assertEqual(self.clients[0].recv(100), b"bye")
        self.assertEqual(self.clients[0].recv(100), b"")

    def test_port_of_another_process(self) -> None:
        """As from systemd."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            adopted = self.turnstile.adoptStreamPort(listening.fileno(), socket.AF_INET, self.house)
            self.clients.append(socket.create_connection(listening.getsockname()))
            self.run_until(lambda: self.house.guests)
            adopted.stopListening()

    def test_all_else_is_the_reactors(self) -> None:
        called: list[int] = []
        self.turnstile.callLater(1, called.append, 1)
        self.clock.advance(1)
        self.assertEqual(called, [1])
        self.assertEqual(cast(float, self.turnstile.seconds()), self.clock.seconds())
