"""What a client has not taken yet: kept in order, in frames that all slow members of a room share, and not without end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

PIECE = 64 * 1024
"""How many bytes a transport is given at once. It makes copies; we do not. Each one that is taken counts as progress."""


class SendQueueLimits(Struct, frozen=True):
    """The keys of the same names in the section `limits` of the configuration.

    output_bytes: how many bytes may wait, those included that are being added. output_stall: seconds in which the transport
    takes nothing.
    """

    output_bytes: int
    output_stall: float


class SendQueueOwner(Protocol):
    """The connection to whom somebody writes more than its client reads."""

    def fell_behind(self) -> None:
        """From now on, what is written waits; to be told once or more."""

    def caught_up(self) -> None:
        """Nothing waits any more."""

    def slow_consumer(self, reason: str) -> None:
        """Too much waits, 'output_bytes', or nothing was taken for too long, 'output_stall'. It has been thrown away."""


@implementer(IPushProducer)
class SendQueue:
    """What waits between a connection and its transport. While the transport takes everything, it only passes on.

    paused: whether the transport takes nothing at the moment.
    """

    __slots__ = ("_clock", "_limits", "_reader", "_since", "_size", "_transport", "_waiting", "paused")

    def __init__(self, transport: Any, reader: SendQueueOwner, clock: IReactorTime, limits: SendQueueLimits):
        self._transport = transport
        self._reader = reader
        self._clock = clock
        self._limits = limits
        self._waiting: deque[memoryview | Iterator[bytes]] | None = None
        self._size = 0
        self.paused = False
        self._since = 0.0
        # Until now it was the HTTP connection, which has done its work.
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        """Write whole frames: now, or after everything that waits."""
        if not self.paused and len(data) <= PIECE:
            self._transport.write(data)
            return
        # What the transport takes at once does not wait.
        rest = memoryview(data)
        while not self.paused and rest:
            self._transport.write(bytes(rest[:PIECE]))
            rest = rest[PIECE:]
        if self._size + len(rest) > self._limits.output_bytes:
            self._overflow("output_bytes")
        elif rest:
            self._wait(rest)
            self._size += len(rest)

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Write pieces of whole frames, each of which is made only when the transport has taken what comes before it."""
        self._wait(pieces)
        self._feed()

    def _wait(self, what: memoryview | Iterator[bytes]) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(what)

    @property
    def half_full(self) -> bool:
        """Whether half of what may wait does."""
        return self._size > self._limits.output_bytes // 2

    def check(self, now: float) -> None:
        """Give up if nothing has been taken for too long. To be called about once a second."""
        if self.paused and now - self._since > self._limits.output_stall:
            self._overflow("output_stall")

    def release(self) -> None:
        """Hand over everything, because a close frame comes next."""
        waiting, self._waiting = self._waiting, None
        self._size = 0
        for data in waiting or ():
            for piece in (data,) if isinstance(data, memoryview) else data:
                self._transport.write(bytes(piece))

    def _overflow(self, reason: str) -> None:
        self.stopProducing()
        self._reader.slow_consumer(reason)

    def _feed(self) -> None:
        while self._waiting and not self.paused:
            data = self._waiting.popleft()
            if not isinstance(data, memoryview):
                piece = next(data, None)
                if piece is None:
                    continue
                self._waiting.appendleft(data)
                data = memoryview(piece)
                self._size += len(data)
            if len(data) > PIECE:
                self._waiting.appendleft(data[PIECE:])
                data = data[:PIECE]
            self._size -= len(data)
            self._transport.write(bytes(data))
        if not self._waiting:
            self._waiting = None

    # IPushProducer

    def pauseProducing(self) -> None:
        """The transport has more than it can pass on; called at each write until it has not."""
        if not self.paused:
            self.paused = True
            self._since = self._clock.seconds()
            self._reader.fell_behind()

    def resumeProducing(self) -> None:
        """The transport has passed everything on."""
        self.paused = False
        self._feed()
        if not self.paused:
            self._reader.caught_up()

    def stopProducing(self) -> None:
        """Nothing can be written any more."""
        self._waiting = None
        self._size = 0
