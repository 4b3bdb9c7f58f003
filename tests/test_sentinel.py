"""Finding the master by its sentinels, and going on with another when it dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from tandemd.roomstore.link import Unreachable, login
from tandemd.roomstore.sentinel import PATIENCE, SentinelEndpoint

from . import servers
from .scriptedredis import ScriptedFactory

Json = dict[str, Any]


def naming(host: str, port: int, epoch: int) -> Callable[[list[str]], Any]:
    """Return what a sentinel answers who knows a master."""

    def answer(words: list[str]) -> Any:
        if words[:2] == ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"]:
            return [host, str(port)] if words[2] == "mymaster" else None
        if words[:2] == ["SENTINEL", "MASTER"]:
            return ["name", "mymaster", "config-epoch", str(epoch)]
        return "OK"

    return answer


class Named(Exception):
    """The address that was connected to."""


class NamesAddress:
    """An endpoint that only says its address."""

    def __init__(self, host: str, port: int):
        self.address = host, port

    def connect(self, factory: Any) -> Deferred[Any]:
        raise Named(*self.address)


class EndpointTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factories: list[ScriptedFactory] = []
        self.sentinels: list[tuple[str, TCP4ClientEndpoint]] = []

    async def sentinel(self, answer: Callable[[list[str]], Any]) -> ScriptedFactory:
        factory = ScriptedFactory(answer)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.factories.append(factory)
        self.named(f"s{len(self.sentinels) + 1}", port.getHost().port)
        return factory

    def named(self, name: str, port: int) -> None:
        self.sentinels.append((name, TCP4ClientEndpoint(reactor, "127.0.0.1", port)))

    def connect(self, master: str = "mymaster", **options: str) -> Deferred[Any]:
        endpoint = SentinelEndpoint(self.clock, self.sentinels, login(options), master, NamesAddress)  # type: ignore[arg-type]
        return endpoint.connect(None)

    async def found(self, connecting: Deferred[Any]) -> str:
        """Return "HOST:PORT" of what is connected to; no connection to a sentinel is left."""
        error = await self.refused(connecting)
        self.assertIsInstance(error.__cause__, Named)
        host, port = error.__cause__.args  # type: ignore[union-attr]
        return f"{host}:{port}"

    async def refused(self, connecting: Deferred[Any]) -> Unreachable:
        try:
            await connecting
        except Unreachable as error:
            for factory in self.factories:
                await factory.empty()
            self.assertNotIn("\n", str(error))
            return error
        raise AssertionError("it was connected")

    async def test_the_newest_configuration_counts(self) -> None:
        for port, epoch in ((1, 7), (2, 11), (1, 7)):
            await self.sentinel(naming("192.0.2.1", port, epoch))
        self.assertEqual(await self.found(self.connect()), "192.0.2.1:2")

    async def test_those_who_do_not_answer_are_not_waited_for(self) -> None:
        silent = await self.sentinel(lambda words: ...)
        self.named("nobody", servers.free_port())
        await self.sentinel(naming("192.0.2.1", 1, 1))
        connecting = self.connect()
        while not (silent.asked and self.factories[1].asked):
            await deferLater(reactor, 0.001)
        self.assertFalse(connecting.called)
        self.clock.advance(PATIENCE)
        self.assertEqual(await self.found(connecting), "192.0.2.1:1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_one_that_may_not_be_asked_for_its_configuration(self) -> None:
        answer = naming("192.0.2.1", 1, 0)
        await self.sentinel(lambda words: Exception("NOPERM") if words[1] == "MASTER" else answer(words))
        self.assertEqual(await self.found(self.connect()), "192.0.2.1:1")

    async def test_login(self) -> None:
        sentinel = await self.sentinel(naming("192.0.2.1", 1, 1))
        await self.found(self.connect(username="ann", password="geheim"))
        self.assertEqual(sentinel.asked[0], ["AUTH", "ann", "geheim"])
        await self.found(self.connect(password="geheim"))
        self.assertEqual(sentinel.asked[3], ["AUTH", "geheim"])

    async def test_each_tells_why_not(self) -> None:
        await self.sentinel(naming("192.0.2.1", 1, 1))
        await self.sentinel(lambda words: Exception("NOAUTH Authentication required."))
        self.named("nobody", servers.free_port())
        text = str(await self.refused(self.connect("other")))
        self.assertIn("redis.sentinels", text)
        self.assertIn("s1 knows no master of that name, check redis.sentinel_master", text)
        self.assertIn("s2 says NOAUTH Authentication required, check redis.sentinel_password", text)
        self.assertIn("nobody cannot be reached: Connection was refused", text)

    async def test_what_is_no_sentinel(self) -> None:
        await self.sentinel(lambda words: Exception("ERR unknown command `SENTINEL`"))
        self.assertIn("it is no sentinel", str(await self.refused(self.connect())))

    async def test_given_up(self) -> None:
        silent = await self.sentinel(lambda words: ...)
        connecting = self.connect()
        while not silent.asked:
            await deferLater(reactor, 0.001)
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError)
        await silent.empty()
        self.assertEqual(self.clock.getDelayedCalls(), [])
