"""Clients that record all their messages: one that uses the whole protocol, and a model of the extension."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall

from ..support.legacy_client import OldClient as Model
from .checker import LOGGED, History
from .wire import Json, Wire

TITLE = "https://www.netflix.com/watch/"


class Client:
    """The common part of both: a connection to some node, and the client's beliefs.

    choose: returns the port of a node that takes connections, None without such a node. address: where it comes from.
    at: (epoch, seq) that it has seen. told_to: that of the last change it was told as a message. state: the last ROOM_STATE.
    """

    old = False

    def __init__(
        self, reactor: Any, room: str, user: str, address: str, choose: Callable[[], int | None], random: random.Random
    ):
        self.reactor = reactor
        self.room = room
        self.user = user
        self.address = address
        self.random = random
        self.history = History(user, room, self.old)
        self.histories = [self.history]
        self.wire: Wire | None = None
        self.state: Json | None = None
        self.at = (0, 0)
        self.told_to = (0, 0)
        self.host: str | None = None
        self.guest_control = False
        self.knows_title = False
        self.texts: dict[str, tuple[int, int]] = {}
        """The chats it has seen, and where in the log."""
        self.port = 0
        self.stopped = False
        self.reachable = True
        """Whether its network leads to a server."""
        self._choose = choose
        self._timer: IDelayedCall | None = None
        self._waiting: list[tuple[Callable[[], bool], Callable[[], None]]] = []

    @property
    def joined(self) -> bool:
        return self.wire is not None and self.wire.open and self.state is not None

    @property
    def controls(self) -> bool:
        return self.host == self.user or self.guest_control

    # -- the connection

    def connect(self) -> None:
        """Connect now, or as soon as a node takes connections."""
        self._timer = None
        port = self._choose() if self.reachable else None
        if self.stopped or self.wire is not None:
            return
        if port is None:
            self._later(0.2, self.connect)
            return
        self.port = port
        self.state = None
        wire = self.wire = Wire(
            self.reactor, self._opened, lambda message: self._heard(wire, message), lambda code: self._lost(wire, code),
            self.random,
        )  # fmt: skip
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port, timeout=5, bindAddress=(self.address, 0))
        connectProtocol(endpoint, wire).addErrback(lambda failure: self._lost(wire, None))

    def _opened(self) -> None:
        if self.stopped and self.wire is not None:
            self.wire.cut()
            return
        self.history.add(self.reactor.seconds(), "open", self.port)
        self.opened()

    def _lost(self, wire: Wire, code: int | None) -> None:
        if wire is not self.wire:
            return
        self.wire = None
        self.history.add(self.reactor.seconds(), "lost", code)
        if not self.stopped:
            self.lost(code)

    def _heard(self, wire: Wire, message: Json) -> None:
        if wire is not self.wire:
            return
        self.history.add(self.reactor.seconds(), "heard", message)
        kind = message["type"]
        if kind == "ROOM_STATE":
            self.state = message
            self.at = (message["epoch"], message["seq"])
            self.host, self.guest_control = message["hostUserId"], message["guestControlEnabled"]
            # An old client learns its title from URL_CHANGE only.
            self.knows_title = self.knows_title or (not self.old and bool(message["url"]))
        elif kind in LOGGED and "seq" in message:
            self.at = self.told_to = (self.at[0], message["seq"])
        if kind == "HOST_CHANGED":
            self.host = message["hostUserId"]
        elif kind == "GUEST_CONTROL":
            self.guest_control = message["enabled"]
        elif kind == "URL_CHANGE":
            self.knows_title = True
        elif kind == "CHAT":
            self.texts[message["text"]] = self.at
        self.told(message)

    def say(self, type: str, **fields: Any) -> None:
        message = {"type": type, "userId": self.user, "roomId": self.room, **fields}
        if self.wire is not None and self.wire.open:
            if type in ("JOIN", "LEAVE", "OFFER"):
                self.history.add(self.reactor.seconds(), "said", message)
            self.wire.say(message)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self.reactor.callLater(seconds, function)

    def stop(self) -> None:
        """Go away without a word."""
        self.stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.wire is not None:
            self.wire.cut()

    def opened(self) -> None:
        """The connection can be used."""
        raise NotImplementedError

    def lost(self, code: int | None) -> None:
        """It cannot any more."""
        raise NotImplementedError

    def told(self, message: Json) -> None:
        """Something came."""
        raise NotImplementedError


class NewClient(Client):
    """Ids, a nonce, a token, resume; every command is repeated until it is answered."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.token: str | None = None
        self.unanswered: dict[int, Json] = {}
        self.acked: dict[int, tuple[int, int]] = {}
        self.answered = 0
        """How many commands got an ACK."""
        self.tells_ready = True
        """Whether it answers the ready gate."""
        self._film = 0.0, False, 0.0
        """Position and movement of its player, and since when."""
        self._ids = 0
        self._nonce = f"{self.random.getrandbits(64):x}"
        self._repeats = False
        self._retries: set[IDelayedCall] = set()

    def opened(self) -> None:
        fields: Json = {"username": self.user, "keepsToken": True, "nonce": self._nonce}
        if self.token:
            fields |= {"token": self.token, "resume": {"epoch": self.at[0], "seq": self.at[1]}}
        self._repeats = True
        self.say("JOIN", **fields)

    def lost(self, code: int | None) -> None:
        self._later(self.random.uniform(0.05, 0.5), self.connect)

    def do(self, type: str, **fields: Any) -> int:
        """Have a command carried out; return its id."""
        self._ids += 1
        body = {"type": type, "id": self._ids, **fields}
        if type in ("PLAY_PAUSE", "SEEK", "URL_CHANGE") and self.joined:
            body["seq"] = self.at[1]
        self.unanswered[self._ids] = body
        self.history.add(self.reactor.seconds(), "do", body)
        if self.joined:
            self.say(**body)
        return self._ids

    def told(self, message: Json) -> None:
        kind = message["type"]
        if kind in ("PLAY_PAUSE", "SEEK_PAUSE"):
            self._film = message["currentTime"], message.get("control") == "play", self.reactor.seconds()
        if kind == "ROOM_STATE":
            self.token = message.get("token") or self.token
            if message.get("gate") is not None and self.tells_ready:
                self.say("READY", targetTime=message["gate"]["currentTime"])
            if self._repeats:
                self._repeats = False
                for body in list(self.unanswered.values()):
                    self.say(**body)
        elif kind == "SEEK_PAUSE" and not message.get("replayed") and self.tells_ready:
            self.say("READY", targetTime=message["currentTime"])
        elif kind == "ACK":
            if self.unanswered.pop(message["id"], None) is not None:
                self.acked[message["id"]] = self.at[0], message.get("seq", self.at[1])
                self.answered += 1
        elif kind == "ERROR":
            if message.get("id") in self.unanswered:
                self._refused(message)
            if message["code"] == "detached" and self.joined:
                # As the client library does: its former connection has joined after this one.
                self.state = None
                self.opened()

    def report_position(self) -> None:
        """Say where the player is, as a member that watches. The positions of a host would move the room."""
        if self.joined and self.host != self.user:
            position, playing, since = self._film
            position += self.reactor.seconds() - since if playing else 0.0
            self.say("POSITION_UPDATE", currentTime=position, isPlaying=playing)

    def _refused(self, error: Json) -> None:
        id_ = error["id"]
        if "retryAfterMs" in error and self.random.random() < 0.7:
            call: IDelayedCall = self.reactor.callLater(error["retryAfterMs"] / 1000, lambda: self._again(id_, call))
            self._retries.add(call)
        elif error["code"] == "forgotten":
            del self.unanswered[id_]
        else:
            # It is certain now that this is never done.
            del self.unanswered[id_]
            self.history.add(self.reactor.seconds(), "abandoned", id_)

    def _again(self, id_: int, call: IDelayedCall) -> None:
        self._retries.discard(call)
        if id_ in self.unanswered and self.joined:
            self.say(**self.unanswered[id_])

    def stop(self) -> None:
        super().stop()
        for call in self._retries:
            call.cancel()
        self._retries.clear()


class OldClient(Client):
    """The extension, as tests/support/legacy_client.py has it, with real connections and in real time. model: that."""

    old = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.name = self.user
        self._clock = _Clock(self.reactor)
        self._socket = _Socket(self)
        self._started = False
        self._runs = 0
        world: Any = _World(self._clock, self._begin)
        self.model = Model(world, self.user, self.room, self.address, None, self.random.getrandbits(32))

    @property
    def playing(self) -> bool:
        return self.model.player.playing

    def connect(self) -> None:
        if self._started:
            super().connect()
        else:
            self._started = True
            self.model.start()

    def _begin(self, begin: Callable[[_Socket], None]) -> _Socket:
        """Connect for the model."""
        self._socket = socket = _Socket(self)
        begin(socket)
        super().connect()
        return socket

    def opened(self) -> None:
        self.history.fresh = True
        self._socket.opened()

    def lost(self, code: int | None) -> None:
        self._socket.closed = True
        self._socket.on_closed(code)

    def told(self, message: Json) -> None:
        self._socket.on_message(message)

    def press(self, playing: bool) -> None:
        """Play or pause, if it believes that it may."""
        self.model.press(playing)

    def go(self, url: str) -> None:
        """Open another title."""
        self.model.go(url)

    def restart_worker(self) -> None:
        """Come back under another user id."""
        self.history.stays = self.history.present = False
        self._runs += 1
        self.user = f"{self.name}.{self._runs}"
        self.history = History(self.user, self.room, True, fresh=True)
        self.histories.append(self.history)
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.cut()
        self.model.restart_worker(self.user)

    def stop(self) -> None:
        super().stop()
        if self._started:
            self._started = False
            self.model.stop()
        self._clock.stop()


class _Socket:
    """A connection, as the model knows one: messages from before it is open are sent then."""

    def __init__(self, client: OldClient):
        self.closed = False
        self.on_message: Callable[[Json], None] = lambda message: None
        self.on_closed: Callable[[int | None], None] = lambda code: None
        self._client = client
        self._early: list[Json] | None = []

    @property
    def link(self) -> _Socket:
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "frozen":
            self.cut()

    def say(self, kind: str, **fields: Any) -> None:
        if self._early is not None:
            self._early.append({"type": kind, **fields})
        elif not self.closed:
            self._client.say(kind, **fields)

    def opened(self) -> None:
        early, self._early = self._early or [], None
        for message in early:
            self._client.say(**message)

    def cut(self) -> None:
        if self._client.wire is not None and not self.closed:
            self._client.wire.cut()


class _World:
    """The model's surroundings. reactor: its clock."""

    down = False

    def __init__(self, clock: _Clock, connect: Callable[[Callable[[_Socket], None]], _Socket]):
        self.reactor = clock
        self._connect = connect

    def connect(self, address: str, begin: Callable[[_Socket], None]) -> _Socket:
        return self._connect(begin)


class _Clock:
    """The reactor's clock; after the end it makes no more calls."""

    def __init__(self, reactor: Any):
        self.seconds = reactor.seconds
        self._reactor = reactor
        self._calls: set[IDelayedCall] = set()

    def callLater(self, delay: float, function: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:
        def run() -> None:
            self._calls.discard(call)
            function(*args, **kwargs)

        call: IDelayedCall = self._reactor.callLater(delay, run)
        self._calls.add(call)
        return call

    def stop(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()


def histories_of(clients: Sequence[Client]) -> list[History]:
    """Return all histories; clients that are in a room now are present in the end."""
    found: list[History] = []
    for client in clients:
        client.history.present = client.joined
        found += client.histories
    return found
