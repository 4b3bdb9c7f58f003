"""A connection to Redis: at once or never, in order, and made again whenever it is lost."""

from __future__ import annotations

import gc
import signal
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint

from tandemd.store.redis.connection import DisconnectedError, RedisConnection, RedisError
from tandemd.store.redis.replies import answers

from ...support.redis_nodes import RedisTestCase, reactor, until


class LinkTest(RedisTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[str] = []
        self.messages: list[tuple[bytes, bytes, Any]] = []

    async def link(self, *, listens: bool = False, patience: float = 3.0) -> RedisConnection:
        link = RedisConnection(
            "test",
            reactor,
            UNIXClientEndpoint(reactor, self.server.path),
            {},
            lambda: self.events.append("up"),
            lambda: self.events.append("down"),
            self.heard if listens else None,
            patience,
        )
        self.addCleanup(link.stop)
        link.start()
        await until(lambda: link.usable)
        return link

    def heard(self, kind: bytes, channel: bytes, payload: Any) -> None:
        self.messages.append((kind, channel, payload))
        if payload == b"bad":
            raise ValueError("a message that cannot be handled")

    async def test_answers_in_order(self) -> None:
        link = await self.link()
        asked = [link.call(b"ECHO", b"%d" % i) for i in range(200)]
        self.assertEqual(await answers(asked), [b"%d" % i for i in range(200)])

    async def test_cancelled_answers_leave_no_error(self) -> None:
        link = await self.link()
        asked = Deferred.fromCoroutine(answers([link.call(b"BLPOP", b"none", b"0"), link.call(b"PING")]))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        await link.stop()
        gc.collect()  # the collector reports an unhandled error
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_bytes_stay_what_they_are(self) -> None:
        link = await self.link()
        for value in (b"", b"007", b"1.5", b"\xff\x00\r\n$5", b"QUEUED", b"x" * 1_000_000):
            await link.call(b"SET", b"k", value)
            self.assertEqual(await link.call(b"GET", b"k"), value)
        self.assertEqual(await link.call(b"EVAL", b"return {1, {'2', {}}, false}", b"0"), [1, [b"2", []], None])

    async def test_an_error_is_the_answer_to_its_command_alone(self) -> None:
        link = await self.link()
        before, wrong, after = link.call(b"PING"), link.call(b"NOTHING"), link.call(b"PING")
        error = await self.assertFailure(wrong, RedisError)
        self.assertIn("unknown command", str(error))
        self.assertEqual([await before, await after], [b"PONG", b"PONG"])

    async def test_without_a_connection_at_once(self) -> None:
        link = await self.link()
        self.server.stop()
        await until(lambda: not link.usable)
        self.failureResultOf(link.call(b"PING"), DisconnectedError)
        self.assertNotEqual(link.failure, "")
        self.server.start()
        await until(lambda: link.usable)
        self.assertEqual(await link.call(b"PING"), b"PONG")
        self.assertEqual((self.events, link.reconnects, link.failure), (["up", "down", "up"], 1, ""))

    async def test_what_was_under_way_is_told(self) -> None:
        link = await self.link()
        asked = [link.call(b"BLPOP", b"nothing", b"0") for _ in range(3)]
        link.drop()
        for each in asked:
            await self.assertFailure(each, DisconnectedError)

    async def test_a_server_that_does_not_answer_is_dropped(self) -> None:
        link = await self.link(patience=1.0)
        cast(Any, self.server.process).send_signal(signal.SIGSTOP)
        began = reactor.seconds()
        await self.assertFailure(link.call(b"PING"), DisconnectedError)
        self.assertGreater(reactor.seconds() - began, 0.9)

    async def test_silence(self) -> None:
        link, other = await self.link(), await self.link()
        self.assertEqual(link.silent, 0.0)
        asked = link.call(b"BLPOP", b"something", b"0")
        await until(lambda: link.silent > 0.1)
        await other.call(b"RPUSH", b"something", b"x")
        await asked
        self.assertEqual(link.silent, 0.0)

    async def test_a_message_that_cannot_be_handled_ends_nothing(self) -> None:
        commands, link = await self.link(), await self.link(listens=True)
        link.send_subscribe(b"SUBSCRIBE", b"here")
        await until(lambda: self.messages)
        await commands.call(b"PUBLISH", b"here", b"bad")
        await commands.call(b"PUBLISH", b"here", b"good")
        await until(lambda: self.messages[-1] == (b"message", b"here", b"good"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(link.reconnects, 0)
