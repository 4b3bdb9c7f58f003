"""Clients that note everything they say and are told: one that uses all of the protocol, and the one that is out there."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall

from .checker import LOGGED, History
from .wire import Json, Wire

TITLE = "https://www.netflix.com/watch/"


class Client:
    """What both have in common: a connection to some node, and what it believes.

    choose: returns the port of a node that takes connections, None if there is none. address: where it comes from.
    at: (epoch, seq) that it has seen. state: the last ROOM_STATE.
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
        self.host: str | None = None
        self.guest_control = False
        self.texts: dict[str, tuple[int, int]] = {}
        """The chats it has seen, and where in the log."""
        self.port = 0
        self.stopped = False
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
        port = self._choose()
        if self.stopped or self.wire is not None:
            return
        if port is None:
            self._later(0.2, self.connect)
            return
        self.port = port
        self.state = None
        wire = self.wire = Wire(
            self.reactor, self._opened, lambda message: self._heard(wire, message), lambda code: self._lost(wire, code)
        )  # fmt: skip
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port, timeout=5, bindAddress=(self.address, 0))
        connectProtocol(endpoint, wire).addErrback(lambda failure: self._lost(wire, None))

    def _opened(self) -> None:
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
        elif kind in LOGGED and "seq" in message:
            self.at = (self.at[0], message["seq"])
        if kind == "HOST_CHANGED":
            self.host = message["hostUserId"]
        elif kind == "GUEST_CONTROL":
            self.guest_control = message["enabled"]
        elif kind == "CHAT":
            self.texts[message["text"]] = self.at
        self.told(message)

    def say(self, type: str, **fields: Any) -> None:
        message = {"type": type, "userId": self.user, "roomId": self.room, **fields}
        if self.wire is not None and self.wire.open:
            if type in ("JOIN", "LEAVE"):
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
        self.acked: set[int] = set()
        self.answered = 0
        """How many commands got an ACK."""
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
        self.unanswered[self._ids] = body
        self.history.add(self.reactor.seconds(), "do", body)
        if self.joined:
            self.say(**body)
        return self._ids

    def told(self, message: Json) -> None:
        kind = message["type"]
        if kind == "ROOM_STATE":
            self.token = message.get("token") or self.token
            if message.get("gate") is not None:
                self.say("READY", targetTime=message["gate"]["currentTime"])
            if self._repeats:
                self._repeats = False
                for body in list(self.unanswered.values()):
                    self.say(**body)
        elif kind == "SEEK_PAUSE" and not message.get("replayed"):
            self.say("READY", targetTime=message["currentTime"])
        elif kind == "ACK":
            if self.unanswered.pop(message["id"], None) is not None:
                self.acked.add(message["id"])
                self.answered += 1
        elif kind == "ERROR" and message.get("id") in self.unanswered:
            self._refused(message)

    def _refused(self, error: Json) -> None:
        id_ = error["id"]
        if "retryAfterMs" in error and self.random.random() < 0.7:
            call = self.reactor.callLater(error["retryAfterMs"] / 1000, lambda: self._again(id_, call))
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
    """The extension: joins only when it connects, ignores ERROR, comes back 1 s after any close, repeats its controls."""

    old = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.name = self.user
        self.playing = False
        self.position = 10.0
        self._misses = 0
        self._loops: list[LoopingCall] = []
        self._once: set[IDelayedCall] = set()
        self._runs = 0

    def start_loops(self, ping: float = 15.0, positions: float = 0.5) -> None:
        """Begin to ping, and to tell the player's position."""
        for seconds, function in ((ping, self._ping), (positions, self._tell_position)):
            loop = LoopingCall(function)
            loop.clock = self.reactor
            loop.start(seconds, now=False)
            self._loops.append(loop)

    def opened(self) -> None:
        self._misses = 0
        self.history.fresh = True
        self.say("JOIN", username=self.name, pin=None, timestamp=int(self.reactor.seconds() * 1000))
        self._after(0.015, lambda: self.say("REQUEST_SYNC", respectAutoPlay=False))

    def lost(self, code: int | None) -> None:
        self._later(1.0, self.connect)

    def told(self, message: Json) -> None:
        kind = message["type"]
        if kind == "PONG":
            self._misses = 0
        elif kind == "USER_JOINED" and message["userId"] != self.user:
            offer = {"type": "offer", "sdp": f"{self.user}-{self.random.getrandbits(32)}"}
            self.say("OFFER", to=message["userId"], offer=offer, **{"from": self.user})
        elif kind == "SEEK_PAUSE":
            self.position, self.playing = message["currentTime"], False
            position = message["currentTime"]
            self._after(self.random.uniform(0.05, 0.5), lambda: self.say("READY", targetTime=position))
        elif kind == "PLAY_PAUSE" and message["userId"] != self.user:
            self.position, self.playing = message["currentTime"], message["control"] == "play"

    def press(self, playing: bool) -> None:
        """Play or pause, and once more 3 s later, because nothing tells it that it was heard."""
        self.playing = playing
        self._control(playing)
        self._after(3.0, lambda: self._control(playing) if self.playing == playing else None)

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
        self._later(0.5, self.connect)

    def _control(self, playing: bool) -> None:
        if self.controls:
            self.say("PLAY_PAUSE", control="play" if playing else "pause", currentTime=self.position, eventTimestamp=0)

    def _ping(self) -> None:
        if self.wire is not None and self.wire.open:
            self._misses += 1
            if self._misses > 3:
                self.wire.cut()
            else:
                self.say("PING", timestamp=0)

    def _tell_position(self) -> None:
        if self.playing:
            self.position += 0.5
        if self.joined:
            self.say("POSITION_UPDATE", currentTime=self.position, isPlaying=self.playing)

    def _after(self, seconds: float, function: Callable[[], object]) -> None:
        def run() -> None:
            self._once.discard(call)
            function()

        call: IDelayedCall = self.reactor.callLater(seconds, run)
        self._once.add(call)

    def stop(self) -> None:
        super().stop()
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
        for call in self._once:
            call.cancel()
        self._once.clear()


def histories_of(clients: Sequence[Client]) -> list[History]:
    """Return all histories; who is in a room now is present in the end."""
    found: list[History] = []
    for client in clients:
        client.history.present = client.joined
        found += client.histories
    return found
