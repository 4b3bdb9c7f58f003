"""Sentinels that know the address of the Redis master; some learn of a failover late."""

from __future__ import annotations

from typing import Any

import hiredis
from twisted.internet.protocol import Factory, Protocol

from .redis import encoded
from .world import Machine, World

HOST = "10.0.0.1"


class _Connection(Protocol):
    transport: Any
    factory: Sentinel

    def connectionMade(self) -> None:
        self._reader = hiredis.Reader()

    def dataReceived(self, data: bytes) -> None:
        self._reader.feed(data)
        while (words := self._reader.gets()) is not False:
            self.transport.write(encoded(self.factory.answer(words)))


class Sentinel(Factory):
    """One sentinel. epoch: the number of its configuration."""

    noisy = False
    protocol = _Connection  # type: ignore[assignment]

    def __init__(self, world: World, port: int, master: int):
        self._port = port
        self._master = master
        self._epoch = 1
        self._machine = Machine(world, f"sentinel {port}")
        self._machine.listenTCP(port, self)

    @property
    def written(self) -> str:
        """Its address, as in the configuration of a node."""
        return f"{HOST}:{self._port}"

    def learn(self, epoch: int, master: int) -> None:
        """Take a configuration, unless it has a newer one."""
        if epoch > self._epoch:
            self._epoch, self._master = epoch, master

    def answer(self, words: list[bytes]) -> Any:
        if words[1].upper() == b"MASTER":
            return [b"name", b"mymaster", b"config-epoch", b"%d" % self._epoch]
        return [HOST.encode(), b"%d" % self._master]
