"""Connections to Redis that stay up: they come back by themselves, and one that does not answer is dropped.

txredisapi makes the connection, authenticates and speaks the protocol; its own waiting and queueing is not used: a
command that would wait for a connection fails at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import txredisapi
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .scripts import SCRIPTS, Script

PATIENCE = 3.0
"""Seconds after which a connection that does not answer is dropped."""


class Disconnected(Exception):
    """There is no connection, or it was lost before the answer came: the command may or may not have been carried out."""


class RedisError(Exception):
    """Redis has refused a command; its text is Redis' own."""


class _Answers(txredisapi.RedisProtocol):  # type: ignore[misc]
    """A connection for commands: what is asked is answered in order."""

    link: Link

    def connectionMade(self) -> Any:
        self._asked: deque[tuple[float, Deferred[Any]]] = deque()
        self._ours = False
        # Registered first: it fires after AUTH and SELECT have been answered.
        self.whenConnected().addCallback(self._usable)
        return super().connectionMade()

    def _usable(self, protocol: Any) -> None:
        self._ours = True
        self.link.connected(self)

    def call(self, *words: bytes) -> Deferred[Any]:
        """Send a command; fails with RedisError or Disconnected."""
        answer: Deferred[Any] = Deferred()
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
        self._asked.append((self.link.clock.seconds(), answer))
        self.transport.write(b"".join(parts))
        return answer

    def replyReceived(self, reply: Any) -> None:
        if not self._ours:
            super().replyReceived(reply)
            return
        _, answer = self._asked.popleft()
        if isinstance(reply, Exception):
            answer.errback(RedisError(str(reply)))
        else:
            answer.callback(reply)

    @property
    def silent_since(self) -> float:
        """When the oldest command was sent that has not been answered; 0.0 if there is none."""
        return self._asked[0][0] if self._asked else 0.0

    def connectionLost(self, reason: Any) -> None:
        self._ours = False
        super().connectionLost(reason)
        self.link.lost(self)
        asked, self._asked = self._asked, deque()
        for _, answer in asked:
            answer.errback(Disconnected("the connection to Redis was lost"))


class _Subscription(txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """A connection that listens."""

    link: Link
    silent_since = 0.0

    def connectionMade(self) -> Any:
        self._usable = False
        self.whenConnected().addCallback(self._made)
        return super().connectionMade()

    def _made(self, protocol: Any) -> None:
        self._usable = True
        self.link.connected(self)

    def call(self, *words: bytes) -> None:
        """Send SUBSCRIBE or UNSUBSCRIBE; the confirmations come as messages."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
        self.transport.write(b"".join(parts))

    def replyReceived(self, reply: Any) -> None:
        if not self._usable:
            super().replyReceived(reply)
        elif isinstance(reply, list) and len(reply) == 3:
            self.link.heard(bytes(reply[0]), bytes(reply[1]), reply[2])

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.link.lost(self)


class _Factory(txredisapi.RedisFactory):  # type: ignore[misc]
    initialDelay, maxDelay = 0.1, 2.0

    def __init__(self, link: Link, protocol: Any, options: dict[str, Any]):
        super().__init__("tandemd", options.get("dbid"), 1, isLazy=True, charset=None, convertNumbers=False,
                         replyTimeout=PATIENCE, password=options.get("password"), username=options.get("username"))  # fmt: skip
        self.link = link
        self.protocol = protocol
        self.deferred.addErrback(lambda failure: None)

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.link = self.link
        return protocol

    def stopTrying(self) -> Any:
        # The library gives up for ever when a connection is lost during AUTH or SELECT.
        return super().stopTrying() if self.disconnectCalled else defer.succeed(None)


class Link:
    """One connection that is made again whenever it is lost.

    up: called with nothing when it can be used. down: called when it cannot any more. heard: for a subscription, called
    with (kind, channel, payload) of everything that comes. patience: seconds an answer may take.
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
        self.failure = "not connected yet"
        self._endpoint = endpoint
        self._up = up
        self._down = down
        self._heard = heard
        self._patience = patience
        self._factory = _Factory(self, _Answers if heard is None else _Subscription, options)
        self._protocol: Any = None
        self._watch = LoopingCall(self._check)
        self._watch.clock = clock

    def start(self) -> None:
        self._factory.startConnecting(self._endpoint)
        self._watch.start(0.5, now=False)

    def stop(self) -> Deferred[Any]:
        if self._watch.running:
            self._watch.stop()
        done: Deferred[Any] = self._factory.disconnect()
        return done

    @property
    def usable(self) -> bool:
        return self._protocol is not None

    def call(self, *words: bytes) -> Deferred[Any]:
        """Send a command, at once or never. Fails with RedisError or Disconnected."""
        if self._protocol is None:
            return defer.fail(Disconnected("there is no connection to Redis"))
        answer: Deferred[Any] = self._protocol.call(*words)
        return answer

    def run(self, script: Script, keys: list[bytes], *arguments: bytes) -> Deferred[Any]:
        """Run a script that `load_scripts` has loaded."""
        return self.call(b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *arguments)

    def load_scripts(self) -> Deferred[Any]:
        """Load all scripts into the server."""
        return defer.gatherResults([self.call(b"SCRIPT", b"LOAD", s.text) for s in SCRIPTS], consumeErrors=True)

    def tell(self, *words: bytes) -> None:
        """Send SUBSCRIBE or UNSUBSCRIBE, if there is a connection."""
        if self._protocol is not None:
            self._protocol.call(*words)

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
        self._log.info("redis: {link}: connected", link=self.name)
        self._up()

    def lost(self, protocol: Any) -> None:
        if self._protocol is protocol:
            self._protocol = None
            self.reconnects += 1
            self._log.warn("redis: {link}: connection lost", link=self.name)
            self._down()

    def heard(self, kind: bytes, channel: bytes, payload: Any) -> None:
        try:
            assert self._heard is not None
            self._heard(kind, channel, payload)
        except Exception:
            self._log.failure("redis: {link}: handling a message", link=self.name)
