"""The HTTP server below the resources: what a connection may cost before anybody has looked at it."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from .answers import Answer
from .shortcut import Shortcut
from .waiting import Waiting

TIMEOUT = 15.0
UNREAD = 15.0
"""Seconds within which a client has to take what is written to it, about 64 KiB at a time."""
BODY_LIMIT = 16 * 1024


class TandemChannel(HTTPChannel):
    """A connection whose requests have to be complete, and whose answers have to be read, in time.

    Twisted's own counts from the last byte: one byte now and then would keep a connection for days. For a client that
    reads nothing it waits without end.
    """

    abortTimeout = int(UNREAD)
    refused: Answer | None = None
    """How the WebSocket that it wants has been refused already."""
    _begun = False
    _first = True
    _unread: IDelayedCall | None = None
    site: TandemSite
    transport: Any

    def connectionMade(self) -> None:
        super().connectionMade()
        self._await_request()

    def dataReceived(self, data: bytes) -> None:
        first, self._first = self._first, False
        shortcut = self.site.shortcut
        if not (first and shortcut is not None and shortcut.take(self, data)):
            super().dataReceived(data)

    def _await_request(self) -> None:
        site = self.site
        site.waiting.begin(self, site.address_of(self.transport.getPeer()))

    def complete(self) -> None:
        """A whole request has come."""
        self.site.waiting.end(self)

    def drop(self) -> None:
        """See Waiting."""
        self.transport.abortConnection()

    def resetTimeout(self) -> None:
        """Count from the first byte of a request."""
        if not self._begun:
            self._begun = True
            super().resetTimeout()

    def requestDone(self, request: HTTPRequest) -> None:
        self._begun = False
        if (self._buffer or self._dataBuffer) and self._waitingForTransport:
            # The next request is here, but the last answers have not been read: hundreds could follow.
            self.persistent = 0
        super().requestDone(request)
        if self.persistent:
            self._await_request()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if self._unread is None:
            self._unread = self.callLater(UNREAD, self._give_up)

    def resumeProducing(self) -> None:
        self._stop_waiting()
        super().resumeProducing()

    def loseConnection(self) -> None:
        self._stop_waiting()
        if self._abortingCall is None:
            self._abortingCall = self.callLater(UNREAD, self.forceAbortClient)
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        self.site.waiting.end(self)
        super().connectionLost(reason)

    def _give_up(self) -> None:
        self._unread = None
        # None: a WebSocket has taken the connection over.
        if self.transport is not None:
            self.forceAbortClient()

    def _stop_waiting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class TandemRequest(Request):
    """A request whose body nobody needs, so it has to be short and is kept in memory only."""

    defaultContentType = None
    channel: TandemChannel
    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        self._received += len(data)
        if self._received > BODY_LIMIT:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            self.channel.complete()
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        self._refused = True
        self.channel.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.channel.loseConnection()


class TandemSite(Site):
    """Serves the root resource by HTTP/1.1.

    A request has to be complete after `timeout` seconds, and a connection may be idle as long. Nothing is logged
    for a request. waiting: of which connections a request is awaited. address_of: returns the address of a transport's peer
    as rules by address use it. shortcut: for WebSockets; None: all come through the root resource.
    """

    noisy = False
    protocol = TandemChannel  # type: ignore[assignment]  # declared as what serves HTTP/2 too

    def __init__(
        self,
        root: IResource,
        reactor: IReactorTime,
        timeout: float = TIMEOUT,
        waiting: Waiting | None = None,
        address_of: Callable[[object], str] = lambda peer: "",
        shortcut: Shortcut | None = None,
    ):
        self.shortcut = shortcut
        self.waiting = waiting or Waiting()
        self.address_of = address_of
        super().__init__(
            root, requestFactory=TandemRequest, timeout=timeout, reactor=reactor, parsePOSTFormSubmission=False
        )

    def acceptableProtocols(self) -> list[bytes]:
        """Offer no HTTP/2, whatever is installed: a WebSocket could not take such a connection over."""
        return [b"http/1.1"]

    def log(self, request: HTTPRequest) -> None:
        """Write no line for a request."""
