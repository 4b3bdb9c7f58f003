"""Reading from many connections through one entry in the reactor.

For each event Twisted sets up a context for log lines, which costs more than most messages do. This one is told by the
kernel which of its connections can be read, and has them read without. Whatever is not plain reading is the reactor's.
"""

from __future__ import annotations

import contextlib
import select
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

TURN = 0.02
"""Seconds of reading after which the reactor does what else there is. What was read is answered only then, everybody's."""
AT_ONCE = 16
"""How many connections are read before the clock is asked. The kernel tells of those first that were not told of for longest."""
PORTION = 16 * 1024
"""Bytes that are read of a connection at once: room for what honest clients say in one piece."""

_READABLE = getattr(select, "EPOLLIN", 0)


@implementer(IReadDescriptor)
class Intake:
    """Reads transports that have a socket. available: whether this system can do it."""

    available = hasattr(select, "epoll")
    _log = Logger()

    def __init__(self, reactor: Any):
        self._reactor = reactor
        self._epoll: Any = None
        self._transports: dict[int, Any] = {}

    def take(self, transport: Any) -> int:
        """Read a transport from now on, instead of the reactor; return its number here."""
        if self._epoll is None:
            self._epoll = select.epoll()
        transport.pauseProducing()
        transport.bufferSize = PORTION
        number: int = transport.fileno()
        self._epoll.register(number, _READABLE)
        if not self._transports:
            self._reactor.addReader(self)
        self._transports[number] = transport
        return number

    def leave(self, number: int) -> None:
        """Have the reactor read a transport again, unless it is closed; nothing happens if it does already."""
        transport = self._transports.pop(number, None)
        if transport is None:
            return
        with contextlib.suppress(OSError):  # closed: the kernel has forgotten it
            self._epoll.unregister(number)
        transport.resumeProducing()
        if not self._transports:
            self._reactor.removeReader(self)

    def hold(self, number: int) -> None:
        """Read nothing from a transport until it is released; its end is still noticed."""
        self._epoll.modify(number, 0)

    def release(self, number: int) -> None:
        """Read a transport again that was held."""
        self._epoll.modify(number, _READABLE)

    # IReadDescriptor

    def fileno(self) -> int:
        return self._epoll.fileno() if self._epoll is not None else -1

    def doRead(self) -> None:
        """Read what can be read, each connection in its turn, for as long as nobody notices."""
        until = self._reactor.seconds() + TURN
        while self._read_some() and self._reactor.seconds() < until:
            pass

    def _read_some(self) -> bool:
        """Read a portion of some connections; return whether there may be more to read."""
        transports = self._transports
        events = self._epoll.poll(0, AT_ONCE)
        for number, event in events:
            transport = transports.get(number)
            if transport is None:
                continue
            if event == _READABLE:
                try:
                    if transport.doRead() is None:
                        continue
                except Exception:
                    self._log.failure("reading from a connection")
                    transport.abortConnection()
            # An end or an error: the reactor finds it again, and knows what to do.
            self.leave(number)
        return len(events) == AT_ONCE

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives up reading: then so do we."""

    def logPrefix(self) -> str:
        return "intake"
