"""Files as bodies of responses, sent as fast as the client reads them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

CHUNK_BYTES = 16 * 1024
"""Bytes that a transport receives at once and buffers before it pauses. All clients share the rest of the file."""


class FileRange(Struct, frozen=True):
    """A part of a file.

    data: the whole file, which all responses share.
    offset, size: in bytes.
    """

    data: bytes
    offset: int
    size: int

    def send(self, request: Request) -> None:
        """See `responses.Body`."""
        PartSender(request, self).start()

    def close(self) -> None:
        """See `responses.Body`."""


@implementer(IPushProducer)
class PartSender:
    """Writes a part of a file and finishes the request.

    Twisted's own producers for files are pull producers, which use the global reactor.
    """

    def __init__(self, request: Request, part: FileRange):
        self._request = request
        self._data = memoryview(part.data)[part.offset : part.offset + part.size]
        self._paused = False
        self._sending = False
        self._done = False
        self._transport: Any = request.channel.transport

    def start(self) -> None:
        # The default is 64 KiB for each client that reads nothing.
        self._transport.bufferSize = CHUNK_BYTES
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
            piece, self._data = self._data[:CHUNK_BYTES], self._data[CHUNK_BYTES:]
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
