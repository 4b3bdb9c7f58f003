"""The reactor as ports and their connections know it: it lets a few of them through in each turn.

Twisted does everything that can be done in one turn. Nine hundred who come at once, or say a byte each, or go, make it one of
50 ms, and nobody is answered before its end. Open WebSockets are read by `Intake`; their ends, and what they have not taken
at once, come through here.
"""

from __future__ import annotations

import contextlib
import select
from socket import AF_INET, AF_INET6
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

TURN = 0.0005
"""Seconds of this after which the reactor does what else there is."""
AT_ONCE = 1
"""How many are let through before the clock is asked. The kernel tells of those first that were not told of for longest."""
ACCEPTED = 8
"""How many connections a port takes when it is let through. Left alone it takes as many as come."""

_READ = getattr(select, "EPOLLIN", 0)
_WRITE = getattr(select, "EPOLLOUT", 0)


@implementer(IReadDescriptor)
class Turnstile:
    """One descriptor for the reactor, instead of all those that are added here. All else is the reactor's.

    available: whether this system can do it.
    """

    available = hasattr(select, "epoll")
    _log = Logger()

    def __init__(self, reactor: Any):
        self._reactor = reactor
        self._epoll = select.epoll()
        self._wants: dict[Any, int] = {}
        self._numbers: dict[Any, int] = {}
        self._waiting: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # what makes ports: with this as their reactor

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        made = Port(port, factory, backlog, interface, self)
        made.startListening()
        return made

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        if addressFamily not in (AF_INET, AF_INET6):
            return self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory)
        made = Port._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        made.startListening()
        return made

    # IReactorFDSet

    def addReader(self, reader: Any) -> None:
        self._want(reader, self._wants.get(reader, 0) | _READ)

    def addWriter(self, writer: Any) -> None:
        self._want(writer, self._wants.get(writer, 0) | _WRITE)

    def removeReader(self, reader: Any) -> None:
        self._want(reader, self._wants.get(reader, 0) & ~_READ)

    def removeWriter(self, writer: Any) -> None:
        self._want(writer, self._wants.get(writer, 0) & ~_WRITE)

    def _want(self, selectable: Any, wants: int) -> None:
        had = self._wants.get(selectable, 0)
        if wants == had:
            return
        if not had:
            number = self._numbers[selectable] = selectable.fileno()
            self._epoll.register(number, wants)
            if not self._waiting:
                self._reactor.addReader(self)
            self._waiting[number] = selectable
            self._wants[selectable] = wants
        elif wants:
            self._epoll.modify(self._numbers[selectable], wants)
            self._wants[selectable] = wants
        else:
            number = self._numbers.pop(selectable)
            del self._waiting[number], self._wants[selectable]
            with contextlib.suppress(OSError):  # closed: the kernel has forgotten it
                self._epoll.unregister(number)
            if not self._waiting:
                self._reactor.removeReader(self)

    # IReadDescriptor

    def fileno(self) -> int:
        return self._epoll.fileno()

    def doRead(self) -> None:
        """Let some through, for as long as nobody notices."""
        until = self._reactor.seconds() + TURN
        while self._let_through() and self._reactor.seconds() < until:
            pass

    def _let_through(self) -> bool:
        """Read and write where it can be done; return whether there may be more to do."""
        events = self._epoll.poll(0, AT_ONCE)
        for number, event in events:
            selectable = self._waiting.get(number)
            if selectable is None:
                continue
            if isinstance(selectable, Port):
                selectable.numberAccepts = ACCEPTED
            try:
                why = self._do(selectable, event)
            except Exception as error:
                self._log.failure("reading from a connection, or writing to it")
                why = error
            if why is not None:
                PosixReactorBase._disconnectSelectable(self, selectable, why, bool(event & _READ))  # type: ignore[arg-type]
        return len(events) == AT_ONCE

    def _do(self, selectable: Any, event: int) -> Any:
        """Return why it is over, or None. Of an end or an error, reading or writing tells."""
        wants = self._wants[selectable]
        why = None
        if wants & _READ and event != _WRITE:
            why = selectable.doRead()
        # Reading may have led to anything.
        if why is None and self._wants.get(selectable, 0) & _WRITE and event != _READ:
            why = selectable.doWrite()
        return why

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives up reading: then so do we."""

    def logPrefix(self) -> str:
        return "turnstile"
