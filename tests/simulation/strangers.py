"""Clients that are no part of the party: they say everything at any time, and vanish in the middle of it."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from ..chaos.wire import Wire
from .cluster import Cluster
from .world import Call, Machine, World


class Stranger:
    """One such client. rooms: the rooms that it visits."""

    def __init__(self, world: World, machine: Machine, cluster: Cluster, rooms: list[str], number: int):
        self.random: Random = world.random(f"stranger {number}")
        self._world = world
        self._machine = machine
        self._choose = cluster.choice(self.random)
        self._rooms = rooms
        self._users = [f"stranger{number}", f"stranger{number}b", "strange"]
        self._address = f"127.99.0.{number + 1}"
        self._wire: Wire | None = None
        self._call: Call | None = None
        self._ids = 0
        self._stopped = False
        self._tokens: dict[str, str] = {}
        self._later()

    def _later(self) -> None:
        pause = self.random.choice((0.0, 0.001, 0.01, 0.05, 0.3, 1.0))
        self._call = self._machine.callLater(pause, self._act)

    def stop(self) -> None:
        self._stopped = True
        if self._call is not None and self._call.active():
            self._call.cancel()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.cut()

    def _act(self) -> None:
        self._later()
        if self._wire is None:
            self._connect()
        elif self._wire.open:
            for _ in range(self.random.choice((1, 1, 2, 3))):
                if self._wire is not None:
                    self._do(self._wire)

    def _connect(self) -> None:
        port = self._choose()
        if port is None:
            return
        wire = self._wire = Wire(
            self._machine, lambda: self._join(wire), self._heard, lambda code: self._lost(wire), self.random
        )  # fmt: skip
        reactor: Any = self._machine
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5, bindAddress=(self._address, 0))
        connectProtocol(endpoint, wire).addErrback(lambda failure: self._lost(wire))

    def _lost(self, wire: Wire) -> None:
        if self._wire is wire:
            self._wire = None

    def _heard(self, message: dict[str, Any]) -> None:
        if message["type"] == "ROOM_STATE" and message.get("token"):
            self._tokens[message["roomId"]] = message["token"]

    def _say(self, wire: Wire, kind: str, **fields: Any) -> None:
        self._world.note("said", f"{self._address} {kind} {sorted(fields.items())}")
        wire.say({"type": kind, **fields})

    def _join(self, wire: Wire) -> None:
        if self._stopped:
            wire.cut()
            return
        room, user = self.random.choice(self._rooms), self.random.choice(self._users)
        fields: dict[str, Any] = {"userId": user, "roomId": room, "username": user}
        if self.random.random() < 0.5:
            fields |= {"keepsToken": True, "nonce": f"nonce of {user}"}
            if room in self._tokens:
                fields["token"] = self._tokens[room]
        self._say(wire, "JOIN", **fields)

    def _do(self, wire: Wire) -> None:
        self._ids += 1
        match self.random.randrange(12):
            case 0 | 1 | 2:
                self._join(wire)
            case 3:
                self._say(wire, "LEAVE", userId=self._users[0], roomId=self._rooms[0])
            case 4 | 5:
                wire.cut()
                self._wire = None
            case 6:
                self._say(wire, "CHAT", id=self._ids, text=f"{self._address} {self._ids}")
            case 7:
                self._say(wire, "POSITION_UPDATE", currentTime=float(self._ids), isPlaying=True)
            case 8:
                self._say(wire, "PLAY_PAUSE", id=self._ids, control="pause", currentTime=1e6 + self._ids)
            case 9:
                self._say(wire, "PING", timestamp=0)
            case 10:
                self._say(wire, "UPDATE_USERNAME", id=self._ids, username=f"stranger {self._ids}")
            case _:
                self._say(wire, "REQUEST_SYNC", respectAutoPlay=False)
