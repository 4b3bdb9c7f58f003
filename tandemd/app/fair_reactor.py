"""The reactor of a node: Twisted's, on epoll, with a monotonic clock and a time budget for each kind of socket.

Twisted handles all ready sockets in one iteration, and all output leaves at its end. If nine hundred connections open, reset
or send one byte at the same time, the iteration takes 50 ms, and all rooms wait for it.

This module relies on these private names of Twisted: `EPollReactor._poller`, `._selectables`, `._doReadOrWrite` and
`._disconnectSelectable`.
tests/app/test_fair_reactor.py holds their behaviour.
"""

from __future__ import annotations

import errno
import time
from bisect import bisect_right
from typing import Any

from twisted.internet.epollreactor import EPOLLIN, EPollReactor
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger

log = Logger()

WEBSOCKET_SECONDS = 0.02
"""Time for open WebSockets in one iteration. Answers leave at its end."""
OTHER_SECONDS = 0.0005
"""Time for everything else that clients open, in one iteration: accepts, TLS and WebSocket handshakes, HTTP."""
ACCEPTS_PER_EVENT = 8
"""Connections that a port accepts before the clock is read again. Twisted would accept as many as are waiting."""

_Event = tuple[int, int, Any]


class FairReactor(EPollReactor):
    """An `EPollReactor` in which no kind of socket can use up an iteration.

    Sockets that the node itself opened (Redis, wake-ups of threads) come first and without a limit. Open WebSockets come
    next, then everything else that clients opened, each kind within its budget, round robin. Of each kind at least one
    socket is handled. A socket that is left over stays ready, so the kernel reports it again in the next iteration.

    `seconds` is monotonic: timers keep their distance when the wall clock is set.

    Errors are logged without the context that Twisted sets up for each event, which costs more than most messages do.
    """

    seconds = staticmethod(time.monotonic)

    def __init__(self) -> None:
        super().__init__()
        self.websockets: set[Any] = set()
        """The transports of open WebSockets. Their protocols add and remove them."""
        self._websocket_turn = _Turn()
        self._other_turn = _Turn()

    def doPoll(self, timeout: float | None) -> None:
        """Wait for sockets that are ready, at most `timeout` seconds, and handle them. Called by Twisted's main loop."""
        try:
            ready = self._poller.poll(-1 if timeout is None else timeout, max(1, len(self._selectables)))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        websockets: list[_Event] = []
        others: list[_Event] = []
        for number, event in ready:
            selectable = self._selectables.get(number)
            if selectable in self.websockets:
                websockets.append((number, event, selectable))
            elif isinstance(selectable, Server | Port):
                others.append((number, event, selectable))
            elif selectable is not None:
                self._doReadOrWrite(selectable, number, event)
        if websockets:
            self._handle(websockets, self._websocket_turn, WEBSOCKET_SECONDS)
        if others:
            self._handle(others, self._other_turn, OTHER_SECONDS)

    doIteration = doPoll

    def _handle(self, events: list[_Event], turn: _Turn, budget: float) -> None:
        """Handle events of one kind for `budget` seconds, and note in `turn` where to begin the next time."""
        if turn.over:
            # The last iteration left some over: continue after the last handled one.
            events.sort(key=_number)
            start = bisect_right(events, turn.last, key=_number)
            events = events[start:] + events[:start]
        seconds, selectables = self.seconds, self._selectables
        until = seconds() + budget
        number = -1
        for number, event, selectable in events:
            # An event before this one may have closed the socket, and the kernel given its number to another.
            if selectables.get(number) is selectable:
                if event == EPOLLIN:
                    self._read(selectable)
                else:
                    self._doReadOrWrite(selectable, number, event)
                if seconds() >= until:
                    break
        turn.last, turn.over = number, number != events[-1][0]

    def _read(self, selectable: Any) -> None:
        """Read from a socket that is only readable, as `_doReadOrWrite` does."""
        if isinstance(selectable, Port):
            selectable.numberAccepts = ACCEPTS_PER_EVENT
        try:
            why = selectable.doRead()
        except BaseException as error:
            log.failure("failed to read from a connection", event="connection_read_failed")
            why = error
        if why is not None:
            self._disconnectSelectable(selectable, why, True)


class _Turn:
    """The position at which the handling of one kind of sockets stopped. over: whether sockets were left over."""

    __slots__ = ("last", "over")

    def __init__(self) -> None:
        self.last = -1
        self.over = False


def _number(event: _Event) -> int:
    return event[0]
