"""Some clients with random messages, two rooms, and a check of each message that they receive."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import msgspec
import txaio
from twisted.internet.testing import MemoryReactorClock

from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS
from tests.support.settings import rule_settings

from ..support.fake_node import EPOCH, NETFLIX, Client, World, frame
from .watch import Fault, no_errors

TEXT = 1
ACTORS = 4
ROOMS = ("alpha", "beta")
USERS = ("ann", "bob", "cid")
HERE = b"@HERE"
"""In messages of a client, this becomes the name of its room; clients elsewhere must never read it."""
MEMBERS = 3
RULES = rule_settings(members_per_room=MEMBERS, room_ttl=60.0)

_KINDS: dict[str, list[type[m.ServerMessage]]] = defaultdict(list)
for _kind in m.SERVER_MESSAGES:
    _KINDS[str(_kind.__struct_config__.tag)].append(_kind)


class Actor:
    """One client and its knowledge. room: the room it was told it is in."""

    def __init__(self, number: int):
        self.number = number
        self.client: Client | None = None
        self.forget()

    def forget(self) -> None:
        self.room = ""
        self.version = (0, 0)
        """The seq, and the part of it, of the last message of the room."""

    def told(self, message: dict[str, Any]) -> None:
        """Check a message by the rules that hold for every message."""
        kind = message["type"]
        self._check_form(kind, message)
        if kind == "ERROR":
            # It returns to a client the text of this very client.
            if message["code"] not in ERROR_MEANINGS or message["code"] == "internal":
                raise Fault(f"an ERROR that must not be: {message}")
            return
        text = json.dumps(message)
        for room in ROOMS:
            if f"in:{room}" in text and room != self.room and kind != "ROOM_STATE":
                raise Fault(f"something from {room} was told in {self.room!r}: {message}")
        if message.get("url") and not message["url"].startswith(NETFLIX + "/"):
            raise Fault(f"a foreign URL: {message}")
        if kind == "ROOM_STATE":
            self.room = message["roomId"]
            self.version = (message["seq"], 10**6)
        elif "seq" in message and any(issubclass(one, _LOGGED) for one in _KINDS[kind]) and not message.get("replayed"):
            version = (message["seq"], message.get("part", [1])[0])
            if version <= self.version:
                raise Fault(f"{message} came behind {self.version}")
            if version[1] == 1 and message.get("prev", 0) > self.version[0]:
                raise Fault(f"before {message}, something is missing behind {self.version}")
            self.version = version

    def _check_form(self, kind: str, message: dict[str, Any]) -> None:
        for declared in _KINDS[kind]:
            try:
                msgspec.convert(message, declared)
            except msgspec.ValidationError:
                continue
            if set(message) - {"type"} <= {field.encode_name for field in msgspec.structs.fields(declared)}:
                return
        raise Fault(f"nothing like this is declared: {message}")


_LOGGED: tuple[type, ...] = tuple(m.LoggedMessage.__args__)


class Party:
    """The whole of a server in memory, in fake time, and `ACTORS` clients.

    Everything raises Fault, or AssertionError, if something is as it must not be.
    """

    def __init__(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.reactor.advance(EPOCH)
        self._loop = cast(Any, txaio).config.loop
        cast(Any, txaio).config.loop = self.reactor
        self.world = World(self.reactor, rules=RULES)
        self.actors = [Actor(number) for number in range(ACTORS)]
        for actor in self.actors:
            self._connect(actor)

    def _connect(self, actor: Actor) -> Client:
        actor.forget()
        actor.client = self.world.connect(f"10.2.0.{actor.number + 1}")
        return actor.client

    def say(self, number: int, payload: bytes) -> None:
        """Have a client send a text message; first it connects, if it has to."""
        actor = self.actors[number % ACTORS]
        client = actor.client
        if client is None or client.closed:
            client = self._connect(actor)
        client.raw(frame(TEXT, payload.replace(HERE, f"in:{actor.room}".encode())))
        self.check()

    def cut(self, number: int) -> None:
        """Have a client lose its connection."""
        actor = self.actors[number % ACTORS]
        if actor.client is not None and not actor.client.closed:
            actor.client.cut()
        self.check()

    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.check()

    def check(self) -> None:
        """Check all received messages, and the state of the rooms."""
        for actor in self.actors:
            if actor.client is None:
                continue
            for message in actor.client.told():
                actor.told(message)
        for code in self.world.store.codes():
            room = self.world.room(code)
            if room is None:
                continue
            conns = [member.conn for member in room.members.values() if member.conn]
            if len(conns) != len(set(conns)):
                raise Fault(f"two members of {code} have one connection")
            if conns and room.host not in room.members:
                raise Fault(f"{code} has members and no host")
            if len(room.members) > MEMBERS:
                raise Fault(f"{code} has more members than it may have")

    def end(self) -> None:
        """Have all clients leave, and check that nothing is left."""
        for number in range(ACTORS):
            self.cut(number)
        self.wait(RULES.grace + RULES.room_ttl + 10)
        left = list(self.world.store.codes())
        if left:
            raise Fault(f"the party has no member, but {left}")

    def close(self) -> None:
        self.world.close()
        cast(Any, txaio).config.loop = self._loop


@contextmanager
def party() -> Iterator[Party]:
    """A party which, at its end, has left nothing behind and logged no error."""
    with no_errors():
        one = Party()
        try:
            yield one
            one.end()
        finally:
            one.close()
