"""Transactions in threads: a layer over adbapi that survives lost connections and stops within a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from twisted.application.service import Service
from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from .dialect import Cursor, DatabaseConnection, Dialect
from .errors import ArchiveClosingError, DatabaseOverloadedError

P = ParamSpec("P")
T = TypeVar("T")

REPEAT_INTERRUPT_SECONDS = 1.0
"""The time between two interruptions of transactions that are still running when the database stops."""

Observe = Callable[[str, float, float], None]
"""Called after each transaction with its name, the seconds of its wait for a thread, and of its run."""


class _PooledConnection(adbapi.Connection):
    """Replaces adbapi's rollback, which logs two tracebacks for a lost connection."""

    def rollback(self) -> None:
        connection: Any = self._connection
        try:
            connection.rollback()
            # The driver may not have noticed the loss yet; a query finds out.
            cursor = connection.cursor()
            cursor.execute("select 1")
            cursor.close()
            connection.rollback()
        except Exception:
            self._pool.disconnect(connection)  # the next transaction of this thread opens another one


class ConnectionPool(adbapi.ConnectionPool):
    """One connection per thread, opened by the dialect and replaced after a loss."""

    connectionFactory = _PooledConnection

    def __init__(self, dialect: Dialect, reactor: Any, thread_pool: Callable[[int, int, str], ThreadPool] = ThreadPool):
        self._dialect = dialect
        self._thread_pool = thread_pool
        self._has_own_threads = False
        super().__init__(dialect.module, cp_reactor=reactor, cp_min=1, cp_max=dialect.connections, cp_name="archive")
        self._take_threads()

    def start(self) -> None:
        self._take_threads()  # if the reactor runs, adbapi's constructor calls this
        super().start()

    def _take_threads(self) -> None:
        """Replace adbapi's threads, which have not started."""
        if not self._has_own_threads:
            self._has_own_threads = True
            self.threadpool = self._thread_pool(self.min, self.max, "archive")

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
        thread_pool: Callable[[int, int, str], ThreadPool] = ThreadPool,
    ):
        """dialect: the database, after `migrate`.
        observe: called after each transaction, on the reactor's thread.
        at_most: the limit of waiting and running transactions.
        stop_within: seconds that stopping waits for transactions.
        thread_pool: makes the threads, from their smallest and largest number and their name.
        """
        self.dialect = dialect
        self._reactor = reactor
        self._observe = observe
        self._at_most = at_most
        self._stop_within = stop_within
        self._thread_pool = thread_pool
        self._pool: ConnectionPool | None = None
        self._running = 0
        self._idle: Deferred[None] | None = None
        self._limit: IDelayedCall

    def startService(self) -> None:
        """Open the pool, which opens connections on demand."""
        super().startService()
        self._pool = self._open_pool()

    def _open_pool(self) -> ConnectionPool:
        return ConnectionPool(self.dialect, self._reactor, self._thread_pool)

    def run(
        self, name: str, function: Callable[Concatenate[Cursor, P], T], *args: P.args, **keywords: P.kwargs
    ) -> Deferred[T]:
        """Run function(cursor, ...) in a transaction in a thread, and return its result.

        After the loss of a connection, possibly after the commit, the function runs a second time, so it must be idempotent.
        Its result must not refer to the cursor. Fails with errors of the function or the driver, with ArchiveClosingError or
        DatabaseOverloadedError.
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
        submitted = self._reactor.seconds()
        began = 0.0

        def interaction(cursor: Cursor) -> Any:
            nonlocal began
            began = self._reactor.seconds()
            self.dialect.begin(cursor)
            return call(cursor)

        def observe(result: Any) -> Any:
            ended = self._reactor.seconds()
            self._observe(name, (began or ended) - submitted, ended - (began or ended))
            return result

        # A transaction without a connection has only waited.
        attempt: Deferred[Any] = pool.runInteraction(interaction)
        return attempt.addBoth(observe)

    def _done(self, result: Any) -> Any:
        self._running -= 1
        if not self._running and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)
        return result

    def stopService(self) -> Deferred[None]:
        """Reject new transactions, let running ones end within the limit, then close the connections."""
        super().stopService()
        pool, self._pool = self._pool, None
        if pool is None:
            return succeed(None)
        if not self._running:
            pool.close()
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle = idle
        self._limit = self._reactor.callLater(self._stop_within, self._interrupt, pool)

        def close(result: None) -> None:
            if self._limit.active():
                self._limit.cancel()
            pool.close()

        return idle.addCallback(close)

    def _interrupt(self, pool: ConnectionPool) -> None:
        """Make running statements fail, because closing the pool would block the reactor until they end."""
        # Again, because a statement that has not begun yet is not interrupted.
        self._limit = self._reactor.callLater(REPEAT_INTERRUPT_SECONDS, self._interrupt, pool)
        self.log.warn(
            "cancelling {count} running transactions on {where}",
            event="transactions_cancelled",
            count=self._running,
            where=self.dialect.where,
        )
        for connection in list(pool.connections.values()):
            try:
                self.dialect.interrupt(connection)
            except self.dialect.error as error:
                self.log.warn(
                    "failed to cancel a statement: {error}", event="statement_cancel_failed", error=str(error)
                )
