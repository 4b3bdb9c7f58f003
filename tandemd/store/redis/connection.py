"""Connections to Redis that reconnect after a loss, and drop a server that does not answer.

txredisapi implements the protocol. Its factory is not used: it retries on the global reactor, and queues commands without a
connection, which fail at once here. Its login is not used, because it hides the reason of a failure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from random import Random, SystemRandom
from typing import Any

import hiredis
import txredisapi
from twisted.application.internet import ClientService
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...util.services import Periodic
from .errors import RedisUnreachableError, WrongRoleError, describe, elsewhere
from .login import login
from .scripts import NO_ARGUMENTS, SCRIPTS, Script

RETRY_SECONDS, RETRY_FACTOR = (0.1, 0.7), 1.6
"""Shortest and longest time until a lost connection is opened again. After a failover, all rooms wait for it."""
RETRY_JITTER = 0.12
"""The largest random part of these times, so that the nodes of a cluster do not retry together."""
ANSWER_TIMEOUT_SECONDS = 3.0
"""Seconds after which a connection that does not answer is dropped."""
ASK_AGAIN_SECONDS = 2.0
"""Seconds between two questions to the sentinels, while the master that they name refuses to write."""


class DisconnectedError(Exception):
    """No connection, or a connection lost before the answer. Redis may or may not have executed the command."""


class RedisError(Exception):
    """Redis has rejected a command, with this text."""


class _LoginMixin:
    """Logs in, and checks that the server is a master, before the library uses the connection."""

    link: RedisConnection
    _end: BaseException | None = None

    def connectionMade(self) -> Any:
        Deferred.fromCoroutine(self._introduce())

    async def _introduce(self) -> None:
        try:
            for words in self.link.login:
                await self.execute_command(*words)  # type: ignore[attr-defined]
            await self._check_role()
        except Exception as error:
            self.link.refused(*describe(error if self._end is None else self._end))
            self.transport.abortConnection()  # type: ignore[attr-defined]
            return
        super().connectionMade()  # type: ignore[misc]

    async def _check_role(self) -> None:
        try:
            role = await self.execute_command(b"ROLE")  # type: ignore[attr-defined]
        except txredisapi.ResponseError as error:
            if "unknown command" in str(error):
                return  # a proxy does not know the command
            raise
        if role[0] != b"master":
            raise WrongRoleError("a sentinel" if role[0] == b"sentinel" else "a replica", self.link.failover)


class _Replies(_LoginMixin):
    """Passes on the parser's replies. The library would inspect and copy each of them."""

    _ours = False
    _reader: Any

    def dataReceived(self, data: bytes) -> None:
        if not self._ours:
            super().dataReceived(data)  # type: ignore[misc]
            return
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            self.replyReceived(reply)

    def replyReceived(self, reply: Any) -> None:
        super().replyReceived(reply)  # type: ignore[misc]


class _CommandProtocol(_Replies, txredisapi.RedisProtocol):  # type: ignore[misc]
    """A connection for commands, with answers in order."""

    def connectionMade(self) -> Any:
        self._asked: deque[tuple[float, Deferred[Any]]] = deque()
        self._ours = False
        self.whenConnected().addCallback(self._usable)
        return super().connectionMade()

    def _usable(self, protocol: Any) -> None:
        self._ours = True
        self.link.connected(self)

    def call(self, *words: bytes) -> Deferred[Any]:
        """Send a command. Fails with RedisError or DisconnectedError."""
        answer: Deferred[Any] = Deferred()
        self._asked.append((self.link.clock.seconds(), answer))
        self.transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]
        return answer

    def replyReceived(self, reply: Any) -> None:
        if not self._ours:
            super().replyReceived(reply)
            return
        _, answer = self._asked.popleft()
        if isinstance(reply, Exception):
            text = str(reply)
            if "READONLY" in text:
                self.link.drop()  # a replica now: another server is the master
            elif elsewhere(text):
                self.link.ask_again()
            answer.errback(RedisError(text))
        else:
            answer.callback(reply)

    @property
    def silent_since(self) -> float:
        """The time at which the oldest unanswered command was sent, or 0.0."""
        return self._asked[0][0] if self._asked else 0.0

    def connectionLost(self, reason: Any) -> None:
        self._ours = False
        self._end = reason.value
        super().connectionLost(reason)
        self.link.lost(self)
        asked, self._asked = self._asked, deque()
        for _, answer in asked:
            answer.errback(DisconnectedError("the connection to Redis was lost"))


class _Subscription(_Replies, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """A connection for a subscription."""

    silent_since = 0.0

    def connectionMade(self) -> Any:
        self._ours = False
        self.whenConnected().addCallback(self._usable)
        return super().connectionMade()

    def _usable(self, protocol: Any) -> None:
        self._ours = True
        self.link.connected(self)

    def call(self, *words: bytes) -> None:
        """Send SUBSCRIBE or UNSUBSCRIBE. Confirmations arrive as messages."""
        self.transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]

    def replyReceived(self, reply: Any) -> None:
        if not self._ours:
            super().replyReceived(reply)
        elif isinstance(reply, list) and len(reply) == 3:
            self.link.on_message(bytes(reply[0]), bytes(reply[1]), reply[2])
        elif isinstance(reply, Exception):
            self.link.refused(*describe(reply))

    def connectionLost(self, reason: Any) -> None:
        self._end = reason.value
        super().connectionLost(reason)
        self.link.lost(self)


class _Factory(Factory):
    """Makes the protocol objects of one connection. They use its clock."""

    noisy = False

    def __init__(self, link: RedisConnection, protocol: Any):
        self.link = link
        self.protocol = protocol

    def buildProtocol(self, addr: Any) -> Any:
        protocol: Any = self.protocol(charset=None, replyTimeout=ANSWER_TIMEOUT_SECONDS, convertNumbers=False)  # type: ignore[misc]
        protocol.factory = self
        protocol.link = self.link
        protocol.callLater = self.link.clock.callLater
        self.link.attempts += 1
        return protocol


@implementer(IStreamClientEndpoint)
class _ReportingEndpoint:
    """An endpoint that reports its failures."""

    def __init__(self, endpoint: IStreamClientEndpoint, failed: Callable[[Failure], Failure]):
        self._endpoint = endpoint
        self._failed = failed

    def connect(self, factory: Any) -> Deferred[Any]:
        return self._endpoint.connect(factory).addErrback(self._failed)


class RedisConnection:
    """One connection that reconnects after a loss.

    up, down: called when the connection becomes usable, and when it is lost.
    on_message: for a subscription, called with (kind, channel, payload) of each message.
    patience: seconds that an answer may take.
    options: "username", "password" and "dbid" (the number of the database), if needed; "where", the name of the server for
    operators; "failover", whether the endpoint can lead to another server; "random", the source of randomness instead of the
    system's.
    failure: the reason and the remedy while the connection is unusable, on one line for operators; else "".
    left: whether this side has dropped a connection that the server kept, to look for another master. The user resets it.
    permanent_failure: whether a retry is useless, because the server rejects the configuration.
    attempts: connections since the last usable one.
    retry_seconds: see `RETRY_SECONDS`.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        options: dict[str, Any],
        up: Callable[[], None],
        down: Callable[[], None],
        heard: Callable[[bytes, bytes, Any], None] | None = None,
        patience: float = ANSWER_TIMEOUT_SECONDS,
    ):
        self.name = name
        self.clock = clock
        self.random: Random = options.get("random") or SystemRandom()
        self.reconnects = 0
        self.attempts = 0
        self.retry_seconds = RETRY_SECONDS
        self.where = options.get("where") or "Redis"
        self.failure = f"{self.where} has not answered yet"
        self.permanent_failure = False
        self.failover = bool(options.get("failover"))
        self.login = login(options)
        self._said: set[str] = set()
        self._endpoint = _ReportingEndpoint(endpoint, self._unreachable)
        self._up = up
        self._down = down
        self._heard = heard
        self._patience = patience
        factory = _Factory(self, _CommandProtocol if heard is None else _Subscription)
        self._service = ClientService(self._endpoint, factory, self._retry_seconds, clock)
        self._protocol: Any = None
        self._connected_at = 0.0
        self.left = False
        self._watch = Periodic(clock, 0.5, self._check, f"watching the connection for {name}")

    def start(self) -> None:
        self._service.startService()
        self._watch.start()

    def stop(self) -> Deferred[Any]:
        self._watch.stop()
        # In the next iteration, because the loss of this connection may be the reason for the stop.
        return deferLater(self.clock, 0, self._service.stopService)

    def _retry_seconds(self, failures: int) -> float:
        """Return the time until the next attempt. A connection that was never usable does not reset it."""
        number = min(max(failures, self.attempts), 20)
        first, longest = self.retry_seconds
        delay = min(first * RETRY_FACTOR ** (number - 1), longest)
        return delay * self.random.uniform(1.0 - RETRY_JITTER, 1.0 + RETRY_JITTER)

    @property
    def usable(self) -> bool:
        return self._protocol is not None

    @property
    def silent(self) -> float:
        """Seconds since the oldest unanswered command, or 0.0."""
        since = self._protocol.silent_since if self._protocol is not None else 0.0
        return self.clock.seconds() - since if since else 0.0

    def call(self, *words: bytes) -> Deferred[Any]:
        """Send a command, at once or never. Fails with RedisError or DisconnectedError."""
        if self._protocol is None:
            return defer.fail(DisconnectedError("no connection to Redis"))
        answer: Deferred[Any] = self._protocol.call(*words)
        return answer

    def run(
        self, script: Script, keys: list[bytes], arguments: Mapping[str, bytes] = NO_ARGUMENTS, *further: bytes
    ) -> Deferred[Any]:
        """Run a script that `load_scripts` has loaded.

        keys: in the order of `Script.keys`, then further ones.
        arguments: by the names in `Script.arguments`.
        further: arguments after those.
        """
        return self.call(b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *script.ordered(arguments), *further)

    def load_scripts(self) -> Deferred[Any]:
        """Load all scripts into the server. Fails as `call` does."""
        loaded = defer.gatherResults([self.call(b"SCRIPT", b"LOAD", s.text) for s in SCRIPTS], consumeErrors=True)
        return loaded.addErrback(_first)

    def send_subscribe(self, *words: bytes) -> None:
        """Send SUBSCRIBE or UNSUBSCRIBE, if the connection is usable."""
        if self._protocol is not None:
            self._protocol.call(*words)

    def ask_again(self) -> None:
        """Drop the connection if another server may be the master, so that the endpoint asks the sentinels again."""
        if self.failover and self.clock.seconds() - self._connected_at > ASK_AGAIN_SECONDS:
            self._log.info(
                "redis: {link}: the server refuses writes; asking the sentinels again",
                event="redis_read_only",
                link=self.name,
            )
            self.left = True
            self.drop()

    def drop(self) -> None:
        """Drop a dead connection, and reconnect."""
        if self._protocol is not None:
            self._protocol.transport.abortConnection()

    def _check(self) -> None:
        protocol = self._protocol
        if (
            protocol is not None
            and protocol.silent_since
            and self.clock.seconds() - protocol.silent_since > self._patience
        ):
            self._log.warn(
                "redis: {link}: no answer for {seconds} s", event="redis_silent", link=self.name, seconds=self._patience
            )
            protocol.transport.abortConnection()

    # from the protocols

    def connected(self, protocol: Any) -> None:
        self._protocol = protocol
        self.attempts = 0
        self._connected_at = self.clock.seconds()
        self.failure, self.permanent_failure = "", False
        self._said.clear()
        self._log.info("redis: {link}: connected", event="redis_connected", link=self.name)
        self._up()

    def lost(self, protocol: Any) -> None:
        if self._protocol is protocol:
            self._protocol = None
            self.reconnects += 1
            self.failure = f"the connection to {self.where} is lost"
            if self._watch.running:
                self._log.warn("redis: {link}: connection lost", event="redis_connection_lost", link=self.name)
            self._down()

    def refused(self, why: str, hopeless: bool) -> None:
        """Report that the server rejects this connection. why: follows the server's name in the text."""
        self._failed(f"{self.where} {why}", hopeless)

    def _unreachable(self, failure: Failure) -> Failure:
        if failure.check(RedisUnreachableError):
            self._failed(str(failure.value), False)
        elif not failure.check(CancelledError):
            assert failure.value is not None
            why, _ = describe(failure.value)
            self._failed(f"{self.where} {why}", False)
        return failure

    def _failed(self, text: str, hopeless: bool) -> None:
        self.failure, self.permanent_failure = text, hopeless
        if text not in self._said:  # retries would repeat it
            self._said.add(text)
            self._log.warn("redis: {link}: {failure}", event="redis_connection_failed", link=self.name, failure=text)

    def on_message(self, kind: bytes, channel: bytes, payload: Any) -> None:
        try:
            assert self._heard is not None
            self._heard(kind, channel, payload)
        except Exception:
            self._log.failure("redis: {link}: failed to handle a message", event="redis_message_failed", link=self.name)


def _first(failure: Failure) -> Failure:
    failure.trap(defer.FirstError)
    first: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return first
