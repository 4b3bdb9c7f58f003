"""The endpoint of a master that may change. Each connection asks the sentinels for the address."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...util.text import one_line
from .errors import RedisUnreachableError, describe

SENTINEL_TIMEOUT_SECONDS = 1.0
"""Seconds that a sentinel has for its answer; all sentinels are asked at the same time."""


@implementer(IStreamClientEndpoint)
class SentinelEndpoint:
    """Connects to the master that the sentinels name.

    Sentinels learn of a failover one after another, and an isolated sentinel does not. So the answer with the newest
    configuration counts. It may still be wrong. `RedisConnection` checks that the server is a master, and reconnects otherwise.
    """

    def __init__(
        self,
        clock: IReactorTime,
        sentinels: Sequence[tuple[str, IStreamClientEndpoint]],
        login: Sequence[Sequence[bytes]],
        master: str,
        server: Callable[[str, int], IStreamClientEndpoint],
    ):
        """sentinels: the names, for operators, and endpoints of the sentinels.
        login: the first commands for each of them.
        master: the name of the master in the sentinels' configuration.
        server: returns the endpoint of host and port.
        """
        self._clock = clock
        self._sentinels = sentinels
        self._questions = [
            *login,
            (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.encode()),
            (b"SENTINEL", b"MASTER", master.encode()),
        ]
        self._master = master
        self._server = server

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect to the master. Fails with UnreachableError if the sentinels name none, or with the endpoint's error."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        host, port = await self._find()
        try:
            return await self._server(host, port).connect(factory)
        except CancelledError:
            raise
        except Exception as error:
            raise RedisUnreachableError(
                f"the Redis master {self._master!r} at {host}:{port} {_unreachable(error)} "
                "(the sentinels of redis.sentinels name this address)"
            ) from error

    async def _find(self) -> tuple[str, int]:
        asked = [Deferred.fromCoroutine(self._opinion(*named)) for named in self._sentinels]
        try:
            answers = await gatherResults(asked, consumeErrors=True)
        except FirstError as error:
            raise CancelledError from error  # the only attempt
        found = [answer for answer in answers if not isinstance(answer, str)]
        if not found:
            raise RedisUnreachableError(
                f"no sentinel in redis.sentinels tells where the Redis master {self._master!r} is: {'; '.join(map(str, answers))}"
            )
        _, host, port = max(found)
        return host, port

    async def _opinion(self, name: str, endpoint: IStreamClientEndpoint) -> tuple[int, str, int] | str:
        """Return the number of the configuration, host and port, or the reason for a missing answer."""
        try:
            answer = await self._ask(endpoint)
        except CancelledError:
            raise
        except Exception as error:
            return f"{name} {_why(error)}"
        return answer or f"{name} knows no master of that name, check redis.sentinel_master"

    async def _ask(self, endpoint: IStreamClientEndpoint) -> tuple[int, str, int] | None:
        protocol = _Questions(self._questions)
        factory: Any = Factory()
        factory.protocol = lambda: protocol
        factory.noisy = False
        asking: Deferred[Any] = endpoint.connect(factory)
        asking.addCallback(lambda connected: protocol.answers)
        asking.addTimeout(SENTINEL_TIMEOUT_SECONDS, self._clock)
        try:
            answers = await asking
        finally:
            protocol.close()
        *login, address, details = answers
        for answer in (*login, address):
            if isinstance(answer, Exception):
                raise answer
        if address is None:
            return None
        return _epoch(details), address[0].decode(), int(address[1])


class _Questions(Protocol):
    """Sends several commands and returns all answers. Errors are answers of the type hiredis.ReplyError."""

    def __init__(self, questions: Sequence[Sequence[bytes]]):
        self._questions = questions
        self._reader = hiredis.Reader()
        self._got: deque[Any] = deque()
        self.answers: Deferred[list[Any]] = Deferred(lambda cancelled: self.close())

    def connectionMade(self) -> None:
        assert self.transport is not None
        for words in self._questions:
            self.transport.write(b"".join((b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))))

    def dataReceived(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not False:
                self._got.append(answer)
        except hiredis.ProtocolError as error:
            self._end(error)
        if len(self._got) == len(self._questions) and not self.answers.called:
            self.answers.callback(list(self._got))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.value is not None
        self._end(reason.value)

    def _end(self, error: BaseException) -> None:
        if not self.answers.called:
            self.answers.errback(error)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]


def _epoch(details: Any) -> int:
    if not isinstance(details, list):
        return 0  # the user may ask for the address only: then all answers count the same
    fields = dict(zip(details[::2], details[1::2], strict=False))
    return int(fields.get(b"config-epoch", 0))


def _why(error: BaseException) -> str:
    if isinstance(error, hiredis.ReplyError):
        text = one_line(error)
        what = "it is no sentinel" if "unknown command" in text else "check redis.sentinel_password"
        return f"says {text}, {what}"
    return _unreachable(error)


def _unreachable(error: BaseException) -> str:
    text = describe(error)[0].split(";")[0]
    return f"{text}, check redis.tls and redis.tls_ca" if "TLS" in text else text
