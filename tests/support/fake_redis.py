"""A server that speaks the protocol of Redis and gives the answers of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hiredis
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol


def encoded(answer: Any) -> bytes:
    """Return an answer as Redis would send it. An Exception is an error."""
    if answer is None:
        return b"*-1\r\n"
    if isinstance(answer, Exception):
        return b"-%b\r\n" % str(answer).encode()
    if isinstance(answer, list):
        return b"*%d\r\n" % len(answer) + b"".join(map(encoded, answer))
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    return b"$%d\r\n%b\r\n" % (len(answer), answer.encode())


class Scripted(Protocol):
    """A server that answers as `factory.answer` says, to the words of a command; with ... it keeps silent."""

    factory: ScriptedFactory

    def connectionMade(self) -> None:
        self.reader = hiredis.Reader()
        self.factory.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.reader.feed(data)
        while (words := self.reader.gets()) is not False:
            self.factory.asked.append([word.decode() for word in words])
            answer = self.factory.answer(self.factory.asked[-1])
            if answer is not ...:
                assert self.transport is not None
                self.transport.write(encoded(answer))

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.connections.remove(self)
        self.factory.lost()


class ScriptedFactory(Factory):
    protocol = Scripted  # type: ignore[assignment]  # Twisted wants a protocol that knows its factory
    noisy = False

    def __init__(self, answer: Callable[[list[str]], Any]):
        self.answer = answer
        self.asked: list[list[str]] = []
        self.connections: list[Scripted] = []
        self._empty: list[Deferred[None]] = []

    def lost(self) -> None:
        if not self.connections:
            empty, self._empty = self._empty, []
            for waiting in empty:
                waiting.callback(None)

    def empty(self) -> Deferred[None]:
        """Fire when all connections are gone."""
        waiting: Deferred[None] = Deferred()
        self._empty.append(waiting)
        if not self.connections:
            self.lost()
        return waiting


def naming(host: str, port: int, epoch: int) -> Callable[[list[str]], Any]:
    """Return the answer of a sentinel that knows a master."""

    def answer(words: list[str]) -> Any:
        if words[:2] == ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"]:
            return [host, str(port)] if words[2] == "mymaster" else None
        if words[:2] == ["SENTINEL", "MASTER"]:
            return ["name", "mymaster", "config-epoch", str(epoch)]
        return "OK"

    return answer
