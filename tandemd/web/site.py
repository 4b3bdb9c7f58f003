"""The HTTP server below the resources, with time limits and bounds for connections."""

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
from .connection_quota import CloseQueue, Quota
from .fast_upgrade import FastUpgrade
from .requests import origin_form, wants_websocket
from .responses import Response

REQUEST_SECONDS = 15.0
"""Time within which a request must be complete."""
READ_SECONDS = 15.0
"""Time within which a client must read the next part of a response, about 64 KiB."""
MAX_BODY_BYTES = 16 * 1024


class TandemChannel(HTTPChannel):
    """An HTTP connection with time limits for requests and for reading responses.

    Twisted's own limit counts from the last byte, so that one byte from time to time would keep a connection for days. It
    has no limit for a client that reads nothing.
    """

    abortTimeout = int(READ_SECONDS)
    refused: Response | None = None
    """The response that has rejected the WebSocket handshake of this connection."""
    _begun = False
    _first = True
    _over = False
    _moved = False
    unread_seconds = READ_SECONDS
    """Time within which the client must read the next part of the present response."""
    _unread: IDelayedCall | None = None
    _abort_call: IDelayedCall | None = None
    site: TandemSite
    transport: Any

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.connections.add(self, self._early())
        self._await_request()

    def dataReceived(self, data: bytes) -> None:
        first, self._first = self._first, False
        shortcut = self.site.shortcut
        if not (first and shortcut is not None and shortcut.try_upgrade(self, data)):
            super().dataReceived(data)

    def _early(self) -> str:
        """Return the address that is known before a request."""
        return self.site.address_of(self.transport.getPeer())

    def _await_request(self) -> None:
        self.site.waiting.add(self, self._early())

    def complete(self) -> None:
        """Note that a request is complete."""
        self.site.waiting.remove(self)

    def asked_by(self, address: str) -> None:
        """Count the connection for the address of its request until the response."""
        if address and address != self._early():
            self._moved = True
            self.site.connections.add(self, address)

    def taken_over(self) -> None:
        """Note that the connection is a WebSocket now."""
        self.site.waiting.remove(self)
        self.site.connections.remove(self)

    def drop(self) -> None:
        """See `connection_quota.Channel`."""
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
            # Close the connection, because hundreds of requests could follow without a read.
            self.persistent = 0
        super().requestDone(request)
        if self.persistent:
            if self._moved:
                self._moved = False
                self.site.connections.add(self, self._early())
            self._await_request()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if self._unread is None:
            self._unread = self.callLater(self.unread_seconds, self._give_up)

    def resumeProducing(self) -> None:
        self._stop_waiting()
        super().resumeProducing()

    def timeoutConnection(self) -> None:
        """Close an idle connection. Twisted's log line would contain the client's address."""
        self.site.ending.add(self.loseConnection)

    def forceAbortClient(self) -> None:
        """Abort a connection that does not close, without Twisted's log line."""
        self._abort_call = None
        self.site.ending.add(self.drop)

    def loseConnection(self) -> None:
        if self._over or self.transport is None:
            return
        self._stop_waiting()
        if self._abort_call is None:
            self._abort_call = self.callLater(READ_SECONDS, self.forceAbortClient)
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
        # The transport is None after an upgrade to a WebSocket.
        if self.transport is not None:
            self.forceAbortClient()

    def _stop_waiting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class TandemRequest(Request):
    """A request with a short body, which is kept in memory."""

    defaultContentType = None
    channel: TandemChannel
    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        if length is not None and length > MAX_BODY_BYTES:
            self._refuse(413, b"Content Too Large")

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        self._received += len(data)
        if self._received > MAX_BODY_BYTES:
            self._refuse(413, b"Content Too Large")
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        if not self._refused and (len(hosts) > 1 or (not hosts and version == b"HTTP/1.1")):
            # RFC 9112, section 3.2.
            self._refuse(400, b"Bad Request", b"HTTP/1.1 needs one Host header.\n")
        if not self._refused:
            self.channel.complete()
            target = origin_form(path)
            if target is not None:
                path, host = target
                self.requestHeaders.setRawHeaders(b"Host", [host])
            super().requestReceived(command, path, version)

    def finish(self) -> None:
        self.channel.site.responded(self.code, wants_websocket(self))
        super().finish()

    def _refuse(self, status: int, phrase: bytes, text: bytes = b"") -> None:
        self._refused = True
        self.channel.site.responded(status, False)
        self.channel.write(
            b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
            % (status, phrase, len(text), text)
        )
        self.channel.loseConnection()


class TandemSite(Site):
    """Serves the root resource by HTTP/1.1.

    It logs no requests.

    timeout: seconds within which a request must be complete, and for which a connection may be idle.
    waiting: connections without a complete request.
    connections: all connections that are no WebSockets.
    address_of: returns the address of a transport's peer, for rules by address.
    shortcut: opens WebSockets without an HTTP request; None: all handshakes are requests of the root resource.
    responded: is called with the status of each response that opens no WebSocket, and whether the request was a handshake.
    """

    noisy = False
    protocol = TandemChannel  # type: ignore[assignment]  # declared as what serves HTTP/2 too

    def __init__(
        self,
        root: IResource,
        reactor: IReactorTime,
        timeout: float = REQUEST_SECONDS,
        waiting: Quota | None = None,
        connections: Quota | None = None,
        address_of: Callable[[object], str] = lambda peer: "",
        shortcut: FastUpgrade | None = None,
        responded: Callable[[int, bool], object] = lambda status, is_handshake: None,
    ):
        self.shortcut = shortcut
        self.responded = responded
        # An empty Quota is false.
        self.waiting = Quota() if waiting is None else waiting
        self.connections = Quota() if connections is None else connections
        self.ending = CloseQueue(reactor)
        self.address_of = address_of
        super().__init__(
            root, requestFactory=TandemRequest, timeout=timeout, reactor=reactor, parsePOSTFormSubmission=False
        )

    def acceptableProtocols(self) -> list[bytes]:
        """Offer no HTTP/2, because a WebSocket cannot take over such a connection."""
        return [b"http/1.1"]

    def log(self, request: HTTPRequest) -> None:
        """Log nothing."""
