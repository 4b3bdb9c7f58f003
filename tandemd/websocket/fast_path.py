"""What the message path takes from the insides of Autobahn and Twisted, and nothing else does.

Reading: a chunk that begins with complete text messages is taken apart by us, when Autobahn is not in the middle of
something. Writing: the first bytes go straight to the socket, when nothing waits before them; Twisted would ask the
reactor to tell when the socket can be written, twice a message.
tests/websocket/test_fast_path.py pins what is assumed here.
"""

from __future__ import annotations

from typing import Any

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.tcp import Server

from .fast_handshake import FastHandshake
from .frame_parser import take_texts

OPEN: int = WebSocketProtocol.STATE_OPEN
FRAMES_PER_ITERATION = 4
"""How many frames of a connection are read before others have their turn. An honest client sends a few at once, a flood is
hundreds in each piece that is read."""


def at_boundary(protocol: Any) -> bool:
    """Whether Autobahn is open, has nothing buffered, and is inside neither a frame nor a fragmented message."""
    return (
        protocol.state == OPEN and not protocol.data and protocol.current_frame is None and not protocol.inside_message
    )


def _send(transport: Any, data: bytes) -> int:
    """Write to the socket what it takes, if nothing waits and nothing is between; return how many bytes."""
    if type(transport) is Server and transport.connected and not transport.dataBuffer and not transport._tempDataBuffer:
        try:
            return int(transport.socket.send(data))
        except OSError:
            # Full, or broken: Twisted's own writing finds out which.
            pass
    return 0


class FastPath:
    """Reads and writes for a protocol, before Autobahn's and Twisted's own ways, which are taken whenever this one is not.

    connection: what is given the messages, None before and after the connection is open.
    """

    connection: Any
    transport: Any
    state: int
    factory: Any
    data: bytes

    def begin(self, *pieces: Any) -> None:
        super().begin(*pieces)  # type: ignore[misc]
        forget_handshake(self)

    def dataReceived(self, data: bytes) -> None:
        connection = self.connection
        if connection is not None and not connection.joining and at_boundary(self):
            texts, rest = take_texts(data, self.factory.frame_bytes, FRAMES_PER_ITERATION)
            for count, text in enumerate(texts, 1):
                connection.received(text)
                if self.state != OPEN:
                    return
                if connection.joining:
                    if count < len(texts):
                        rest = take_texts(data, self.factory.frame_bytes, count)[1]
                    break
            else:
                if len(texts) == FRAMES_PER_ITERATION and rest:
                    self.data = rest
                    self.resume_next_iteration()  # type: ignore[attr-defined]  # the protocol's
                    return
            if not rest:
                return
            data = rest
        self._dataReceived(data)  # type: ignore[attr-defined]  # Autobahn's, behind its log line

    def write(self, data: bytes) -> None:
        """Write whole frames, at once as far as the socket takes them. On plain TCP only: anything else does it its way.

        Once the socket has taken everything, the session may write to it directly, until something waits again.
        """
        if self.state == OPEN:
            sent = _send(self.transport, data)
            if sent == len(data):
                self.connection.session.raw_send = self.transport.socket.send
                return
            data = data[sent:] if sent else data
        super().write(data)  # type: ignore[misc]  # the protocol's

    def say_first(self, data: bytes) -> None:
        sent = _send(self.transport, data)
        if sent < len(data):
            self.sendData(data[sent:])

    def _indirect(self) -> None:
        if self.connection is not None:
            self.connection.session.raw_send = None

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """What Autobahn sends waits in the transport: nothing may overtake it, and nothing comes after a close frame."""
        self._indirect()
        super().sendData(data, sync, chopsize)  # type: ignore[misc]

    def dropConnection(self, abort: bool = False) -> None:
        self._indirect()
        super().dropConnection(abort)  # type: ignore[misc]

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._indirect()
        super().onClose(wasClean, code, reason)  # type: ignore[misc]


HANDSHAKE = (
    "http_request_data", "http_headers", "http_response_data", "http_status_line", "http_request_uri",
    "http_request_params", "http_request_path", "http_request_host", "websocket_extensions", "websocket_protocols",
)  # fmt: skip
"""What Autobahn keeps of the handshake for as long as a connection lives, and nobody reads after it."""


def forget_handshake(protocol: Any) -> None:
    """Let go of what is not needed after the handshake."""
    for name in HANDSHAKE:
        if name in protocol.__dict__:
            setattr(protocol, name, None)
    protocol._transport_details = None
    # Of what is sent in pieces or one by one, which is never done here. An empty deque has 760 bytes.
    protocol.send_queue = ()


def fast(protocol: type, factory: Any) -> type:
    """Return a protocol class that has the fast path, and the factory's options itself.

    Autobahn copies some thirty of them into every connection, and formats them all for a log line that nobody reads.
    """
    options = {name: getattr(factory, name) for name in protocol.CONFIG_ATTRS}  # type: ignore[attr-defined]
    options = {name: staticmethod(value) if callable(value) else value for name, value in options.items()}
    return type(protocol.__name__, (FastPath, FastHandshake, protocol), {**options, "CONFIG_ATTRS": ()})
