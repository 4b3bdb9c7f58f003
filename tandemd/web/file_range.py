"""Files as the bodies of answers, sent as fast as the client takes them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

CHUNK = 16 * 1024
"""How many bytes a transport is given at once, and keeps at most before it asks for a pause. All clients share the rest."""


class FileRange(Struct, frozen=True):
    """A part of a file. data: the whole file, which all answers share. Offset and size are in bytes."""

    data: bytes
    offset: int
    size: int


@implementer(IPushProducer)
class PartSender:
    """Writes a part of a file and finishes the request.

    Twisted's own producers for files have to be pulled, which is done from the global reactor.
    """

    def __init__(self, request: Request, part: FileRange):
        self._request = request
        self._data = memoryview(part.data)[part.offset : part.offset + part.size]
        self._paused = False
        self._sending = False
        self._done = False
        self._transport: Any = request.channel.transport

    def start(self) -> None:
        # Left alone, a transport keeps 64 KiB and more for a client that reads nothing.
        self._transport.bufferSize = CHUNK
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._sending:
            return
        self._sending = True
        while self._data and not self._paused:
            piece, self._data = self._data[:CHUNK], self._data[CHUNK:]
            self._request.write(bytes(piece))
        self._sending = False
        if not self._data and not self._done:
            self._done = True
            del self._transport.bufferSize
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """Send nothing more: the client has gone away."""
        self._data = memoryview(b"")
        self._done = True
