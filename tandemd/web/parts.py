"""Files as the bodies of answers, sent as fast as the client takes them."""

from __future__ import annotations

from typing import IO

from msgspec import Struct
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

CHUNK = 64 * 1024


class Part(Struct, frozen=True):
    """A part of an open file: it is closed when it has been sent, or need not be. Offset and size are in bytes."""

    file: IO[bytes]
    offset: int
    size: int


@implementer(IPushProducer)
class PartSender:
    """Writes a part of a file and finishes the request.

    Twisted's own producers for files have to be pulled, which is done from the global reactor.
    """

    def __init__(self, request: Request, part: Part):
        self._request = request
        self._file = part.file
        self._left = part.size
        self._file.seek(part.offset)
        self._paused = False
        self._sending = False

    def start(self) -> None:
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._sending:
            return
        self._sending = True
        while self._left and not self._paused and not self._file.closed:
            data = self._file.read(min(CHUNK, self._left))
            if not data:
                # The file has become shorter: only a broken connection tells the client that something is missing.
                self._file.close()
                self._request.unregisterProducer()
                self._request.loseConnection()
                return
            self._left -= len(data)
            self._request.write(data)
        self._sending = False
        if not self._left and not self._file.closed:
            self._file.close()
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """The client has gone away."""
        self._file.close()
