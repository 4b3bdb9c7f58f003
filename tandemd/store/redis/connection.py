"""Connections to Redis that stay up: they come back by themselves, and one that does not answer is dropped.

txredisapi makes the connection and speaks the protocol. Its own waiting and queueing is not used: a command that would
wait for a connection fails at once. Nor is its login, which does not tell why it failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hiredis
import txredisapi
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...util.services import Periodic
from .errors import WrongRoleError, describe, elsewhere
from .scripts import NO_ARGUMENTS, SCRIPTS, Script

PATIENCE = 3.0
"""Seconds after which a connection that does not answer is dropped."""
ASK_AGAIN_SECONDS = 2.0
"""Seconds between two questions to the sentinels where the master is, while the one that they named refuses to write."""


class DisconnectedError(Exception):
    """There is no connection, or it was lost before the answer came: the command may or may not have been carried out."""


class RedisError(Exception):
    """Redis has refused a command; its text is Redis' own."""


class RedisUnreachableError(Exception):
    """There is nothing to connect to. Its text is one line for people, which names the key and the remedy."""


class _LoginMixin:
    """Logs in, and makes sure that it is a master that answers, before the library takes the connection for usable."""

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
                return  # what stands between us and the server does not know it
            raise
        if role[0] != b"master":
            raise WrongRoleError("a sentinel" if role[0] == b"sentinel" else "a replica", self.link.failover)


class _Replies(_LoginMixin):
    """Takes replies as the parser makes them, once the connection is ours: the library would look into each and copy it."""

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
    """A connection for commands: what is asked is answered in order."""

    def connectionMade(self) -> Any:
        self._asked: deque[tuple[float, Deferred[Any]]] = deque()
        self._ours = False
        self.whenConnected().addCallback(self._usable)
        return super().connectionMade()

    def _usable(self, protocol: Any) -> None:
        self._ours = True
        self.link.connected(self)

    def call(self, *words: bytes) -> Deferred[Any]:
        """Send a command; fails with RedisError or Disconnected."""
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
                self.link.drop()  # it was made a replica: there is another master
            elif elsewhere(text):
                self.link.ask_again()
            answer.errback(RedisError(text))
        else:
            answer.callback(reply)

    @property
    def silent_since(self) -> float:
        """When the oldest command was sent that has not been answered; 0.0 if there is none."""
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
    """A connection that listens."""

    silent_since = 0.0

    def connectionMade(self) -> Any:
        self._ours = False
        self.whenConnected().addCallback(self._usable)
        return super().connectionMade()

    def _usable(self, protocol: Any) -> None:
        self._ours = True
        self.link.connected(self)

    def call(self, *words: bytes) -> None:
        """Send SUBSCRIBE or UNSUBSCRIBE; the confirmations come as messages."""
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


class _Factory(txredisapi.RedisFactory):  # type: ignore[misc]
    # After a failover rooms wait for nothing but this.
    initialDelay, factor, maxDelay = 0.1, 1.6, 0.7

    def __init__(self, link: RedisConnection, protocol: Any):
        super().__init__(
            "tandemd", None, 1, isLazy=True, charset=None, convertNumbers=False, replyTimeout=PATIENCE
        )  # fmt: skip
        self.link = link
        self.protocol = protocol
        self.deferred.addErrback(lambda failure: None)

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.link = self.link
        return protocol


@implementer(IStreamClientEndpoint)
class _ReportingEndpoint:
    """An endpoint whose failures are told."""

    def __init__(self, endpoint: IStreamClientEndpoint, failed: Callable[[Failure], Failure]):
        self._endpoint = endpoint
        self._failed = failed

    def connect(self, factory: Any) -> Deferred[Any]:
        return self._endpoint.connect(factory).addErrback(self._failed)


class RedisConnection:
    """One connection that is made again whenever it is lost.

    up: called with nothing when it can be used. down: called when it cannot any more. on_message: for a subscription, called
    with (kind, channel, payload) of everything that comes. patience: seconds an answer may take.
    options: "username", "password" and "dbid" (the number of the database), where they are needed; "where": what to
    call the server when people are told of it; "failover": whether the endpoint leads to another server when it must.
    failure: why it cannot be used, in one line for people that names the remedy; "" if it can.
    left: whether a connection was given up to look for another master, while the server kept it; to be reset by the user.
    permanent_failure: whether trying again will not mend that: the server has refused what is configured.
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
        patience: float = PATIENCE,
    ):
        self.name = name
        self.clock = clock
        self.reconnects = 0
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
        self._factory = _Factory(self, _CommandProtocol if heard is None else _Subscription)
        self._protocol: Any = None
        self._connected_at = 0.0
        self.left = False
        self._watch = Periodic(clock, 0.5, self._check, f"watching the connection for {name}")

    def start(self) -> None:
        self._factory.startConnecting(self._endpoint)
        self._watch.start()

    def stop(self) -> Deferred[Any]:
        self._watch.stop()
        # Not now: whoever stops may have been told so by the loss of this very connection.
        return deferLater(self.clock, 0, self._factory.disconnect)

    @property
    def usable(self) -> bool:
        return self._protocol is not None

    @property
    def silent(self) -> float:
        """Seconds for which an answer has been waited for; 0.0 if none is."""
        since = self._protocol.silent_since if self._protocol is not None else 0.0
        return self.clock.seconds() - since if since else 0.0

    def call(self, *words: bytes) -> Deferred[Any]:
        """Send a command, at once or never. Fails with RedisError or Disconnected."""
        if self._protocol is None:
            return defer.fail(DisconnectedError("there is no connection to Redis"))
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
        """Send SUBSCRIBE or UNSUBSCRIBE, if there is a connection."""
        if self._protocol is not None:
            self._protocol.call(*words)

    def ask_again(self) -> None:
        """Drop the connection if another server may be the master by now: the endpoint asks where it is."""
        if self.failover and self.clock.seconds() - self._connected_at > ASK_AGAIN_SECONDS:
            self._log.info("redis: {link}: it refuses to write; the sentinels are asked again", link=self.name)
            self.left = True
            self.drop()

    def drop(self) -> None:
        """Drop the connection: it is dead. Another will be made."""
        if self._protocol is not None:
            self._protocol.transport.abortConnection()

    def _check(self) -> None:
        protocol = self._protocol
        if (
            protocol is not None
            and protocol.silent_since
            and self.clock.seconds() - protocol.silent_since > self._patience
        ):
            self._log.warn("redis: {link}: no answer for {seconds} s", link=self.name, seconds=self._patience)
            protocol.transport.abortConnection()

    # from the protocols

    def connected(self, protocol: Any) -> None:
        self._protocol = protocol
        self._connected_at = self.clock.seconds()
        self.failure, self.permanent_failure = "", False
        self._said.clear()
        self._log.info("redis: {link}: connected", link=self.name)
        self._up()

    def lost(self, protocol: Any) -> None:
        if self._protocol is protocol:
            self._protocol = None
            self.reconnects += 1
            self.failure = f"the connection to {self.where} is lost"
            if self._watch.running:
                self._log.warn("redis: {link}: connection lost", link=self.name)
            self._down()

    def refused(self, why: str, hopeless: bool) -> None:
        """The server does not let us do what we came for. why: goes on after the server's name."""
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
        if text not in self._said:  # it is tried again many times
            self._said.add(text)
            self._log.warn("redis: {link}: {failure}", link=self.name, failure=text)

    def on_message(self, kind: bytes, channel: bytes, payload: Any) -> None:
        try:
            assert self._heard is not None
            self._heard(kind, channel, payload)
        except Exception:
            self._log.failure("redis: {link}: handling a message", link=self.name)


async def answers(asked: Sequence[Deferred[Any]]) -> list[Any]:
    """Return the answers to commands that were sent together. Raises the first failure, when all have been answered."""
    failures: list[Exception] = []
    results = []
    for answer in asked:
        try:
            results.append(await answer)
        except (DisconnectedError, RedisError) as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return results


def _first(failure: Failure) -> Failure:
    failure.trap(defer.FirstError)
    first: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return first


def login(options: dict[str, Any]) -> list[tuple[bytes, ...]]:
    """Return the commands to begin a connection with. options: as for Link."""
    commands: list[tuple[bytes, ...]] = []
    if options.get("password"):
        words = [options["username"], options["password"]] if options.get("username") else [options["password"]]
        commands.append((b"AUTH", *(word.encode() for word in words)))
    if options.get("dbid"):
        commands.append((b"SELECT", b"%d" % options["dbid"]))
    return commands
