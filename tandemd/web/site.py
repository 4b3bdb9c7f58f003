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

from ..util.twisted_private import has_request_behind_unread_responses
from .connection_quota import Ending, Quota
from .fast_upgrade import FastUpgrade
from .responses import Response

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
    refused: Response | None = None
    """How the WebSocket that it wants has been refused already."""
    _begun = False
    _first = True
    _over = False
    _moved = False
    _unread: IDelayedCall | None = None
    _abort_call: IDelayedCall | None = None
    site: TandemSite
    transport: Any

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.connections.begin(self, self._early())
        self._await_request()

    def dataReceived(self, data: bytes) -> None:
        first, self._first = self._first, False
        shortcut = self.site.shortcut
        if not (first and shortcut is not None and shortcut.try_upgrade(self, data)):
            super().dataReceived(data)

    def _early(self) -> str:
        """Return the address as far as it is known before a request."""
        return self.site.address_of(self.transport.getPeer())

    def _await_request(self) -> None:
        self.site.waiting.begin(self, self._early())

    def complete(self) -> None:
        """A whole request has come."""
        self.site.waiting.end(self)

    def asked_by(self, address: str) -> None:
        """The request has come from this address, which the connection counts for until it is answered."""
        if address and address != self._early():
            self._moved = True
            self.site.connections.begin(self, address)

    def taken_over(self) -> None:
        """It is a WebSocket from now on."""
        self.site.waiting.end(self)
        self.site.connections.end(self)

    def drop(self) -> None:
        """See Quota."""
        if self.transport is not None:
            self.transport.abortConnection()

    def resetTimeout(self) -> None:
        """Count from the first byte of a request."""
        if not self._begun:
            self._begun = True
            super().resetTimeout()

    def requestDone(self, request: HTTPRequest) -> None:
        self._begun = False
        if has_request_behind_unread_responses(self):
            # The next request is here, but the last answers have not been read: hundreds could follow.
            self.persistent = 0
        super().requestDone(request)
        if self.persistent:
            if self._moved:
                self._moved = False
                self.site.connections.begin(self, self._early())
            self._await_request()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if self._unread is None:
            self._unread = self.callLater(UNREAD, self._give_up)

    def resumeProducing(self) -> None:
        self._stop_waiting()
        super().resumeProducing()

    def timeoutConnection(self) -> None:
        """Close an idle connection, without Twisted's log line, which has the client's address."""
        self.site.ending.add(self.loseConnection)

    def forceAbortClient(self) -> None:
        """Abort a connection that does not end, without such a line."""
        self._abort_call = None
        self.site.ending.add(self.drop)

    def loseConnection(self) -> None:
        if self._over or self.transport is None:
            return
        self._stop_waiting()
        if self._abort_call is None:
            self._abort_call = self.callLater(UNREAD, self.forceAbortClient)
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._stop_waiting()
        if self._abort_call is not None:
            self._abort_call.cancel()
            self._abort_call = None
        self.taken_over()
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
    for a request. waiting: of which connections a request is awaited. connections: all that are no WebSockets. address_of:
    returns the address of a transport's peer as rules by address use it.
    shortcut: for WebSockets; None: all come through the root resource.
    """

    noisy = False
    protocol = TandemChannel  # type: ignore[assignment]  # declared as what serves HTTP/2 too

    def __init__(
        self,
        root: IResource,
        reactor: IReactorTime,
        timeout: float = TIMEOUT,
        waiting: Quota | None = None,
        connections: Quota | None = None,
        address_of: Callable[[object], str] = lambda peer: "",
        shortcut: FastUpgrade | None = None,
    ):
        self.shortcut = shortcut
        # Empty ones are false.
        self.waiting = Quota() if waiting is None else waiting
        self.connections = Quota() if connections is None else connections
        self.ending = Ending(reactor)
        self.address_of = address_of
        super().__init__(
            root, requestFactory=TandemRequest, timeout=timeout, reactor=reactor, parsePOSTFormSubmission=False
        )

    def acceptableProtocols(self) -> list[bytes]:
        """Offer no HTTP/2, whatever is installed: a WebSocket could not take such a connection over."""
        return [b"http/1.1"]

    def log(self, request: HTTPRequest) -> None:
        """Write no line for a request."""
