"""The input and the outcome of a case."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..support.patience import PATIENCE_SECONDS
from .client import Answer, Client, Wire, get, request

MIB = 1 << 20


@dataclass
class Outcome:
    """got: the attacker's results, for people. wrong: the failures of the server."""

    got: str = ""
    wrong: list[str] = field(default_factory=list)

    def expect(self, true: bool, otherwise: str) -> None:
        if not true:
            self.wrong.append(otherwise)


class Field:
    """Where an attack takes place: a server, the attacker's addresses, and honest ones.

    number: of the attack; attacks with different numbers come from different addresses and use different rooms.
    handshake_timeout: how long the server waits for one, in seconds. proxied: whether the node is behind a proxy.
    addresses: how many the attacker has; 0: another one each time. stall: for how long a client may read nothing.
    """

    def __init__(
        self,
        server: tuple[str, int],
        number: int,
        seconds: float,
        handshake_timeout: float,
        proxied: bool = False,
        addresses: int = 0,
        stall: float = 10.0,
    ):
        self.server = server
        self.proxied = proxied
        self.stall = stall
        self.seconds = seconds
        self.handshake_timeout = handshake_timeout
        self.until = time.monotonic() + seconds
        self.room = f"room-{number}"
        attackers = _network(1, number)
        self._attackers = itertools.cycle(itertools.islice(attackers, addresses)) if addresses else attackers
        self._honest = _network(101, number)

    def fresh(self) -> str:
        """Return an address of the attacker: an unused one, as long as one is left."""
        return next(self._attackers)

    def honest(self) -> str:
        """Return an address that no other client has."""
        return next(self._honest)

    @property
    def going_on(self) -> bool:
        return time.monotonic() < self.until

    def wire(self, source: str = "", *, small: bool = False) -> Wire:
        return Wire(self.server, source or self.fresh(), small)

    def client(self, source: str = "", headers: str = "", *, small: bool = False) -> Client:
        return Client(self.server, source or self.fresh(), headers, small=small)

    def member(self, user: str, room: str = "", **fields: object) -> Client:
        """Return an honest member, from an address of its own."""
        client = self.client(self.honest())
        if client.join(room or self.room, user, username=user.title(), **fields) is None:
            raise RuntimeError(f"{user} could not join: {client.status}, {client.counts}")
        return client

    def get(self, path: str, source: str = "", headers: str = "") -> Answer:
        return get(self.server, source or self.fresh(), path, headers)

    def gets(self, paths: list[str], source: str) -> list[Answer]:
        """Return the answers to GETs that are all asked at once."""
        wires = []
        for path in paths:
            wire = self.wire(source)
            wire.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            wires.append(wire)
        for wire in wires:
            wire.ended()
            wire.close()
        return [Answer(wire.received) for wire in wires]

    def request(self, data: bytes, source: str = "", within: float = PATIENCE_SECONDS) -> Answer:
        return request(self.server, source or self.fresh(), data, within)


def _network(first: int, number: int) -> Iterator[str]:
    """Yield addresses of 127.first to 127.(first + 53), others for each attack."""
    for count in itertools.count(1):
        yield f"127.{first + number % 54}.{number // 54 * 10 + count // 250 % 10}.{1 + count % 250}"


class Case:
    """One kind of attack.

    memory: by how many MiB the server may grow meanwhile. addresses: how many the attacker has in the full suite.
    """

    name = ""
    memory = 32
    addresses = 16

    def attack(self, field: Field) -> Outcome:
        """Attack until the field's time is over, at least once. Connections that are left open are closed by the caller."""
        raise NotImplementedError
