"""A few parties over real sockets and real time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.trial.unittest import TestCase

from ..support.fake_node import TITLE, Client, Server, frame
from ..support.patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS

reactor: Any = real_reactor


class Waiting:
    """A client, and a way to wait until it has been told something or was closed."""

    def __init__(self, client: Client):
        self.client = client
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        client.on_message = self._told
        client.on_closed = lambda code: self._check()

    def _told(self, message: dict[str, Any]) -> None:
        self.client.messages.append(message)
        self._check()

    def _check(self) -> None:
        for entry in list(self._waiting):
            if entry[0]():
                self._waiting.remove(entry)
                entry[1].callback(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        if not condition():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((condition, waiting))
            await waiting.addTimeout(PATIENCE_SECONDS, reactor)

    async def told(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the messages up to the first of each of these types, in this order."""
        told: list[dict[str, Any]] = []
        for kind in kinds:
            await self.until(lambda kind=kind: any(m["type"] == kind for m in self.client.messages))
            while True:
                told.append(self.client.messages.pop(0))
                if told[-1]["type"] == kind:
                    break
        return told

    async def closed(self) -> int | None:
        await self.until(lambda: self.client.closed)
        return self.client.code


class SocketTest(TestCase):
    timeout = TEST_LIMIT_SECONDS

    async def setUp(self) -> None:  # type: ignore[override]
        self.server = Server(reactor)
        self.server.start()
        self.port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.server.site)
        self.clients: list[Waiting] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.port.stopListening()
        await self.server.drain()
        for waiting in self.clients:
            await waiting.closed()

    async def connect(self) -> Waiting:
        factory = WebSocketClientFactory(f"ws://127.0.0.1:{self.port.getHost().port}/ws", reactor=reactor)
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=PATIENCE_SECONDS)
        client = cast(Client, await TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port).connect(factory))
        waiting = Waiting(client)
        opened: Deferred[None] = Deferred()
        client.on_open = lambda _: opened.callback(None)
        if client.state != client.STATE_OPEN:
            await opened.addTimeout(PATIENCE_SECONDS, reactor)
        self.clients.append(waiting)
        return waiting

    async def join(self, user: str) -> Waiting:
        waiting = await self.connect()
        waiting.client.say("JOIN", userId=user, roomId="room", username=user.title())
        waiting.client.say("REQUEST_SYNC")
        await waiting.told("ROOM_STATE")
        return waiting

    async def test_party(self) -> None:
        ann, bob = await self.join("ann"), await self.join("bob")
        ann.client.say("URL_CHANGE", url=TITLE)
        ann.client.say("PLAY_PAUSE", control="play", currentTime=10)
        ann.client.say("PLAY_PAUSE", control="pause", currentTime=11)
        told = await bob.told("URL_CHANGE", "PLAY_PAUSE", "PLAY_PAUSE")
        self.assertEqual([m.get("control") for m in told], [None, "play", "pause"])
        bob.client.say("CHAT", text="x" * 2000)
        self.assertEqual((await ann.told("CHAT"))[-1]["userId"], "bob")
        bob.client.sendClose(1000)
        self.assertEqual(await bob.closed(), 1000)

    async def test_burst(self) -> None:
        """Much more than fits into the buffers of a socket arrives complete and in order."""
        ann, bob = await self.join("ann"), await self.join("bob")
        count = 2000
        for i in range(count):
            ann.client.say("CHAT", text=f"{i} " + "x" * 1900)
        await bob.until(lambda: sum(m["type"] == "CHAT" for m in bob.client.messages) == count)
        chats = [m for m in bob.client.messages if m["type"] == "CHAT"]
        self.assertEqual([int(m["text"].split()[0]) for m in chats], list(range(count)))
        self.assertEqual([m["seq"] - chats[0]["seq"] for m in chats], list(range(count)))

    async def test_wrong_frames(self) -> None:
        ann, bob = await self.join("ann"), await self.join("bob")
        cast(Any, ann.client.transport).write(frame(2, b"x"))
        self.assertEqual(await ann.closed(), 1003)
        again = await self.join("ann")
        again.client.say("PLAY_PAUSE", control="play", currentTime=1)
        await bob.told("PLAY_PAUSE")

    async def test_reset(self) -> None:
        """A connection that is torn down is a member that may come back."""
        ann, bob = await self.join("ann"), await self.join("bob")
        cast(Any, ann.client.transport).abortConnection()
        await ann.closed()
        again = await self.join("ann")
        again.client.say("PLAY_PAUSE", control="play", currentTime=1)
        kinds = [m["type"] for m in await bob.told("PLAY_PAUSE")]
        self.assertEqual(kinds, ["USER_JOINED", "HOST_CHANGED", "PLAY_PAUSE"])

    async def test_drain(self) -> None:
        ann, bob = await self.join("ann"), await self.join("bob")
        ann.client.say("CHAT", text="before")
        await bob.told("CHAT")
        await self.server.drain()
        for waiting in (ann, bob):
            await waiting.told("SERVER_RESTART")
            self.assertEqual(await waiting.closed(), 1012)
        self.assertEqual(len(self.server.factory), 0)
