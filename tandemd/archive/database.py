"""Transactions in threads: a small layer over adbapi that survives lost connections and ends when it is told to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from twisted.application.service import Service
from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .dialect import Cursor, DatabaseConnection, Dialect
from .errors import ArchiveClosingError, DatabaseOverloadedError

P = ParamSpec("P")
T = TypeVar("T")

Observe = Callable[[str, float, float], None]
"""Told of every transaction: its name, the seconds it waited for a thread, the seconds it ran."""


class _PooledConnection(adbapi.Connection):
    """adbapi's own logs two tracebacks for each connection that is lost."""

    def rollback(self) -> None:
        connection: Any = self._connection
        try:
            connection.rollback()
            # The driver may have read the server's last words without noticing the end behind them: ask for an answer.
            cursor = connection.cursor()
            cursor.execute("select 1")
            cursor.close()
            connection.rollback()
        except Exception:
            self._pool.disconnect(connection)  # lost: the next transaction of this thread opens another one


class ConnectionPool(adbapi.ConnectionPool):
    """One connection a thread, opened by the dialect and replaced when it is lost."""

    connectionFactory = _PooledConnection

    def __init__(self, dialect: Dialect, reactor: Any):
        super().__init__(dialect.module, cp_reactor=reactor, cp_min=1, cp_max=dialect.connections, cp_name="archive")
        self._dialect = dialect

    def connect(self) -> DatabaseConnection:
        thread = self.threadID()
        connection: DatabaseConnection | None = self.connections.get(thread)
        if connection is not None and not self._dialect.usable(connection):
            self.disconnect(connection)
            connection = None
        if connection is None:
            connection = self.connections[thread] = self._dialect.connect()
        return connection


class Database(Service):
    """The connections to one database. Its methods are called on the reactor's thread."""

    name = "database"
    log = Logger()

    def __init__(
        self,
        dialect: Dialect,
        reactor: IReactorTime,
        observe: Observe = lambda name, waited, ran: None,
        *,
        at_most: int = 1000,
        stop_within: float = 10.0,
    ):
        """dialect: the database; its schema must be there already (`migrate`).

        observe: called after each transaction, on the reactor's thread. at_most: how many may wait or run at once.
        stop_within: seconds that stopping waits for them.
        """
        self.dialect = dialect
        self._reactor = reactor
        self._observe = observe
        self._at_most = at_most
        self._stop_within = stop_within
        self._pool: ConnectionPool | None = None
        self._running = 0
        self._idle: Deferred[None] | None = None

    def startService(self) -> None:
        """Open the pool; connections are opened when they are needed."""
        super().startService()
        self._pool = self._open_pool()

    def _open_pool(self) -> ConnectionPool:
        return ConnectionPool(self.dialect, self._reactor)

    def run(
        self, name: str, function: Callable[Concatenate[Cursor, P], T], *args: P.args, **keywords: P.kwargs
    ) -> Deferred[T]:
        """Run function(cursor, ...) in a transaction in a thread and return its result.

        The function may be run a second time if the first was lost with its connection, perhaps after the commit: its
        effect must be the same. Its result must not hold on to the cursor. Fails with what the function raised, with
        the driver's error, with Closing, or with Overloaded.
        """
        if self._pool is None:
            return fail(ArchiveClosingError(f"{self.dialect.where} is not open"))
        if self._running >= self._at_most:
            return fail(
                DatabaseOverloadedError(
                    f"{self._running} transactions wait for {self.dialect.where}; {name} was not begun"
                )
            )
        self._running += 1

        def call(cursor: Cursor) -> T:
            return function(cursor, *args, **keywords)

        def again(failure: Failure) -> Any:
            pool = self._pool
            if pool is None or not self.dialect.retryable(failure.value):
                return failure
            return self._submit(pool, name, call)

        attempt = self._submit(self._pool, name, call)
        attempt.addErrback(again)
        attempt.addBoth(self._done)
        return cast("Deferred[T]", attempt)

    def _submit(self, pool: ConnectionPool, name: str, call: Callable[[Cursor], Any]) -> Deferred[Any]:
        submitted = time.perf_counter()
        began = 0.0

        def interaction(cursor: Cursor) -> Any:
            nonlocal began
            began = time.perf_counter()
            self.dialect.begin(cursor)
            return call(cursor)

        def observe(result: Any) -> Any:
            ended = time.perf_counter()
            self._observe(name, (began or ended) - submitted, ended - (began or ended))
            return result

        # A transaction that never got a connection has waited all the time and run for none.
        attempt: Deferred[Any] = pool.runInteraction(interaction)
        return attempt.addBoth(observe)

    def _done(self, result: Any) -> Any:
        self._running -= 1
        if not self._running and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)
        return result

    def stopService(self) -> Deferred[None]:
        """Refuse new transactions, let those that run end within the limit, then close the connections."""
        super().stopService()
        pool, self._pool = self._pool, None
        if pool is None:
            return succeed(None)
        if not self._running:
            pool.close()
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle = idle
        limit = self._reactor.callLater(self._stop_within, self._give_up, pool)

        def close(result: None) -> None:
            if limit.active():
                limit.cancel()
            pool.close()

        return idle.addCallback(close)

    def _give_up(self, pool: ConnectionPool) -> None:
        """Closing the pool would block the reactor until a statement that runs has ended: make it fail."""
        self.log.warn("{count} transactions of {where} are broken off", count=self._running, where=self.dialect.where)
        for connection in list(pool.connections.values()):
            try:
                self.dialect.interrupt(connection)
            except self.dialect.error as error:
                self.log.warn("a statement could not be broken off: {error}", error=str(error))
