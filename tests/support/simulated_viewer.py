"""A viewer: a player, and a connection with a delay that reconnects after each loss."""

from __future__ import annotations

import random
from typing import Any

from .fake_node import Client, World


class Player:
    """A player on a page. position: seconds, as it was at `at`."""

    def __init__(self, clock: Any):
        self._clock = clock
        self._position = 0.0
        self._at: float = clock.seconds()
        self.playing = False

    @property
    def position(self) -> float:
        if not self.playing:
            return self._position
        return self._position + float(self._clock.seconds()) - self._at

    def put(self, position: float | None = None, playing: bool | None = None) -> None:
        """Seek, and play or pause; None leaves it as it is."""
        now = self.position if position is None else position
        self._position, self._at = max(0.0, now), self._clock.seconds()
        if playing is not None:
            self.playing = playing


class Viewer:
    """The common part of old and new clients.

    delay: seconds that a message takes each way. socket: the connection it speaks on. sockets: those it listens to.
    """

    def __init__(self, world: World, user: str, room: str, address: str, pin: str | None, seed: int):
        self.world = world
        self.clock = world.reactor
        self.user = user
        self.name: str | None = user.title()
        self.room = room
        self.address = address
        self.pin = pin
        self.random = random.Random(seed)
        self.delay = self.random.uniform(0.01, 0.08)
        self.player = Player(self.clock)
        self.url = ""
        self.host: str | None = None
        self.guest_control = False
        self.chats: list[str] = []
        self.socket: Client | None = None
        self.sockets: set[Client] = set()
        self._attempt = 0

    # -- the connection

    def connect(self) -> None:
        if self.world.down:
            self._attempt += 1
            assert self._attempt <= 10, "it would have given up"
            self.clock.callLater(min(2 ** (self._attempt - 1), 30), self.connect)
            return

        def begin(client: Client) -> None:
            client.on_message = lambda message: self._arrived(client, message)
            client.on_closed = lambda code: self._lost(client)
            self.socket = client
            self.sockets.add(client)

        self._attempt = 0
        self.opened(self.world.connect(self.address, begin))

    def _arrived(self, client: Client, message: dict[str, Any]) -> None:
        self.clock.callLater(self.delay, self._handle, client, message)

    def _handle(self, client: Client, message: dict[str, Any]) -> None:
        if client in self.sockets:
            self.told(message)

    def _lost(self, client: Client) -> None:
        if client in self.sockets:
            self.sockets.remove(client)
            if client is self.socket:
                self.socket = None
            self.closed()

    def say(self, kind: str, **fields: Any) -> None:
        """Send a message; it is lost if the connection is lost meanwhile."""
        client = self.socket
        if client is not None:
            message = {"userId": self.user, "roomId": self.room, **fields}
            self.clock.callLater(self.delay, lambda: None if client.closed else client.say(kind, **message))

    def end(self) -> None:
        """Drop every connection, without thinking of another."""
        clients, self.sockets, self.socket = self.sockets, set(), None
        for client in clients:
            client.cut()

    def end_silently(self) -> None:
        """The same, and the server does not notice."""
        clients, self.sockets, self.socket = self.sockets, set(), None
        for client in clients:
            client.link.frozen = True

    def opened(self, client: Client) -> None:
        raise NotImplementedError

    def closed(self) -> None:
        """The connection was lost, for any reason."""
        raise NotImplementedError

    def told(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    @property
    def controls(self) -> bool:
        """Whether it believes that it may control the film."""
        return self.host is not None and (self.host == self.user or self.guest_control)
