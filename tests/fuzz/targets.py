"""The fuzz targets: functions that take any bytes, and raise if a rule is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import txaio
from autobahn.twisted.resource import WebSocketResource
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport

from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS
from tandemd.metrics import Counter, LabeledCounter
from tandemd.web import Addresses, ConnectionLimiter, ConnectionLimits, Cors, TandemSite, WebServices, root_resource
from tandemd.websocket.factory import TandemFactory
from tandemd.websocket.protocol import TandemProtocol
from tests.support.settings import protocol_settings, web_settings

from ..web.test_router import FakeRooms, FakeStatus
from ..websocket.test_fast_path import Heard, Reader
from .party import ACTORS, party
from .watch import Fault, no_errors

CORPUS = Path(__file__).parent / "corpus"
PAGE = Path(__file__).parent.parent.parent / "tandemd/web/page"


def frames(data: bytes) -> None:
    """WebSocket frames behind a handshake, cut anywhere, on both paths: the same messages and the same answer.

    The first four bytes say where they are cut.
    """
    cuts, data = data[:4], data[4:]
    at = [0, *sorted(int(cut * len(data) / 256) for cut in cuts), len(data)]
    chunks = [data[begin:end] for begin, end in zip(at, at[1:], strict=False) if begin < end]
    loop, cast(Any, txaio).config.loop = cast(Any, txaio).config.loop, MemoryReactorClock()
    try:
        with no_errors():
            seen = []
            for fast in (True, False):
                reader = Reader(fast)
                texts, written, is_open, _ = reader.feed(*chunks)
                reader.end()
                for text in texts:
                    text.decode()
                seen.append((list(texts), written, is_open))
        if seen[0] != seen[1]:
            raise Fault(f"fast: {seen[0]}, plain: {seen[1]}")
    finally:
        cast(Any, txaio).config.loop = loop


def decoder(data: bytes) -> None:
    """One message of a client: it is understood, and the same when written and read again; or an ERROR answers it."""
    try:
        message = m.decode(data)
    except (ValueError, RecursionError) as error:
        refusal = m.recover(data, error)
        if not isinstance(refusal, m.Error):
            return
        text = m.encode(refusal)
        if refusal.code not in ERROR_MEANINGS or len(text) > 4096 or json.loads(text)["type"] != "ERROR":
            raise Fault(f"not an ERROR to be sent: {text!r}")
        return
    if m.decode(m.encode(message)) != message:
        raise Fault(f"not the same when read again: {message}")


def http(data: bytes) -> None:
    """Any bytes written to the port: they get answers, none of which is a fault of ours, or the end of the connection."""
    reactor: Any = MemoryReactorClock()
    reactor.advance(1_700_000_000)
    loop, cast(Any, txaio).config.loop = cast(Any, txaio).config.loop, reactor
    try:
        with no_errors():
            transport = _site(reactor)
            for at in range(0, len(data), 4096):
                if not transport.disconnecting:
                    transport.bufferReceived(data[at : at + 4096])
            reactor.pump([1] * 40)
            answer = transport.getOutBuffer() or b""
            if not transport.disconnected:
                transport.reportDisconnect()
        if answer and not answer.startswith(b"HTTP/1."):
            raise Fault(f"not an answer: {answer[:100]!r}")
        if b"HTTP/1.1 500" in answer:
            raise Fault(f"a fault of the server: {answer[:300]!r}")
    finally:
        cast(Any, txaio).config.loop = loop


def _site(reactor: Any) -> FakeTransport:
    """Return a connection to a site with everything in it."""
    factory = TandemFactory(
        reactor,
        protocol_settings(),
        _heard,
        lambda address, code, opened: None,
        LabeledCounter("dropped", "", "reason"),
    )
    rooms = FakeRooms()
    rooms.invite = lambda code, address, wait: succeed(rooms.invites.get(code))
    services = WebServices(
        websocket=WebSocketResource(factory),
        rooms=rooms,
        metrics_text=lambda: b"tandemd_up 1\n",
        addresses=Addresses(1),
        limiter=ConnectionLimiter(reactor, ConnectionLimits(), LabeledCounter("limited", "", "reason")),
        lookups_refused=Counter("refused", ""),
        cors=Cors(["https://www.netflix.com", "null"]),
        administration=None,
        hosts=list,
    )
    settings = web_settings(page_directory=str(PAGE), client_directory=str(PAGE.parent / "client"), titles=("*",))
    root = root_resource(settings, FakeStatus([], []), services, reactor, reactor.seconds)
    address = IPv4Address("TCP", "203.0.113.9", 1)
    protocol = TandemSite(root, reactor).buildProtocol(address)
    transport = FakeTransport(protocol, isServer=True, peerAddress=address)
    cast(Any, protocol).makeConnection(transport)
    return transport


def _heard(protocol: TandemProtocol) -> Any:
    return Heard(protocol, 0)


def members(data: bytes) -> None:
    """A line is a message, an action or a pause of one of the clients: its first byte names client and kind."""
    with party() as one:
        for line in data.split(b"\n")[:40]:
            if not line:
                continue
            what, who = divmod(line[0], 16)
            if what == 0:
                one.cut(who)
            elif what == 1:
                one.wait(who * who / 2)
            else:
                one.say(who % ACTORS, line[1:])


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "decoder": decoder,
    "http": http,
    "members": members,
}
