"""The frames that a slow client has not read yet: in order, bounded, and shared by all slow members of a room."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from ..messages.framing import FrameParts, next_boundary

CHUNK_BYTES = 64 * 1024
"""Bytes that the transport receives at once. It copies them; the queue does not. Each chunk that it takes is progress."""


class SendQueueLimits(Struct, frozen=True):
    """The keys of the same names in the section `limits` of the configuration.

    output_bytes: the largest size of the queue.
    output_stall: the longest time in which the transport takes nothing, in seconds.
    """

    output_bytes: int
    output_stall: float


class SendQueueOwner(Protocol):
    """The connection whose client reads too slowly."""

    def fell_behind(self) -> None:
        """Note that writes wait from now on. May be called repeatedly."""

    def caught_up(self) -> None:
        """Note that the queue is empty again."""

    def slow_consumer(self, reason: str) -> None:
        """Close the connection. The queue has been discarded, and nothing but a close frame may follow.

        reason: "output_bytes" if the queue was full, "output_stall" if the transport took nothing for too long.
        """


@implementer(IPushProducer)
class SendQueue:
    """The queue between a connection and its transport. It is empty while the transport takes everything.

    The transport may have received a part of the frame at the head of the queue. `finish_frame` must precede each frame that
    is written past the queue.

    paused: whether the transport takes nothing at the moment.
    """

    __slots__ = ("_clock", "_limits", "_owner", "_since", "_size", "_transport", "_waiting", "paused")

    def __init__(self, transport: Any, owner: SendQueueOwner, clock: IReactorTime, limits: SendQueueLimits):
        self._transport = transport
        self._owner = owner
        self._clock = clock
        self._limits = limits
        self._waiting: deque[memoryview | Iterator[bytes]] | None = None
        self._size = 0
        self.paused = False
        self._since = 0.0
        # The HTTP channel was the producer before.
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    def write(self, data: bytes | memoryview) -> None:
        """Write whole frames, now or behind the queue.

        data: if the socket has taken the beginning of the frames, a view of the whole frames without that beginning.
        """
        if not self.paused and len(data) <= CHUNK_BYTES:
            self._transport.write(bytes(data))  # copies only a view
            return
        # The queue holds only the bytes that the transport does not take at once.
        rest = memoryview(data)
        while not self.paused and rest:
            self._transport.write(bytes(rest[:CHUNK_BYTES]))
            rest = rest[CHUNK_BYTES:]
        if rest:
            self._wait(rest)
            self._size += len(rest)
            if self._size > self._limits.output_bytes:
                self._overflow("output_bytes")

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Write pieces of whole frames. The iterator makes a piece once the transport has taken everything before it.

        pieces: their bytes do not count as waiting. `FrameParts` are the parts of one frame, and not cut.
        """
        self._wait(pieces)
        self._feed()

    def _wait(self, what: memoryview | Iterator[bytes]) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(what)

    @property
    def half_full(self) -> bool:
        """Whether the queue has reached half of its largest size."""
        return self._size > self._limits.output_bytes // 2

    def check(self, now: float) -> None:
        """Overflow if the transport has taken nothing for too long. To be called about once a second."""
        if self.paused and now - self._since > self._limits.output_stall:
            self._overflow("output_stall")

    def finish_frame(self) -> None:
        """Give the transport the rest of the frame that it has received a part of."""
        head = self._waiting[0] if self._waiting else None
        if self._waiting is not None and isinstance(head, FrameParts) and head.is_begun:
            self._waiting.popleft()
            self._write_all(head)
        if self._waiting is None or not isinstance(head, memoryview):
            return
        # A view belongs to a buffer of whole frames, of which the transport has received the beginning.
        frames = head.obj
        assert isinstance(frames, bytes)
        at = len(frames) - len(head)
        rest = next_boundary(frames, at) - at
        if not rest:
            return
        self._size -= rest
        if rest < len(head):
            self._waiting[0] = head[rest:]
        else:
            self._waiting.popleft()
        self._transport.write(bytes(head[:rest]))

    def release(self) -> None:
        """Give everything to the transport, because a close frame follows.

        Of streams, it takes no more than may wait (`output_bytes`) and drops everything behind: the client resumes there.
        """
        self.finish_frame()
        waiting, self._waiting = self._waiting, None
        left, self._size = self._limits.output_bytes - self._size, 0
        for data in waiting or ():
            if isinstance(data, memoryview):
                self._transport.write(bytes(data))
            elif isinstance(data, FrameParts):
                left -= data.length
                if left < 0:
                    return
                self._write_all(data)
            else:
                for piece in data:
                    left -= len(piece)
                    if left < 0:
                        return
                    self._transport.write(piece)

    def _write_all(self, parts: FrameParts) -> None:
        for part in parts:
            self._transport.write(part)

    def _overflow(self, reason: str) -> None:
        self.finish_frame()
        self.stopProducing()
        self._owner.slow_consumer(reason)

    def _feed(self) -> None:
        while self._waiting and not self.paused:
            data = self._waiting.popleft()
            if isinstance(data, FrameParts):
                part = next(data, None)
                if part is not None:
                    self._waiting.appendleft(data)
                    self._transport.write(part)
                continue
            if not isinstance(data, memoryview):
                piece = next(data, None)
                if piece is None:
                    continue
                self._waiting.appendleft(data)
                data = memoryview(piece)
                self._size += len(data)
            if len(data) > CHUNK_BYTES:
                self._waiting.appendleft(data[CHUNK_BYTES:])
                data = data[:CHUNK_BYTES]
            self._size -= len(data)
            self._transport.write(bytes(data))
        if not self._waiting:
            self._waiting = None

    # IPushProducer

    def pauseProducing(self) -> None:
        """Pause. The transport calls this at each write while its buffer is full."""
        if not self.paused:
            self.paused = True
            self._since = self._clock.seconds()
            self._owner.fell_behind()

    def resumeProducing(self) -> None:
        """Continue, because the transport's buffer is empty."""
        self.paused = False
        self._feed()
        if not self.paused:
            self._owner.caught_up()

    def stopProducing(self) -> None:
        """Discard the queue, because nothing can be written."""
        self._waiting = None
        self._size = 0
