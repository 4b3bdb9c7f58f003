"""Transactions in real threads: results, failures, limits, and how it ends."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tandemd.archive.database import Database
from tandemd.archive.dialect import Cursor, DatabaseConnection, Dialect
from tandemd.archive.errors import ArchiveClosingError, DatabaseOverloadedError
from tandemd.archive.migrations import migrate
from tandemd.archive.postgresql import PostgreSQL
from tandemd.archive.sqlite import SQLite

from ..support import private_servers
from ..support.case_methods import CaseMethods
from ..support.inline_database import InlineDatabase
from ..support.patience import PATIENCE_SECONDS


def add(cursor: Any, a: int, b: int) -> int:
    cursor.execute(f"select {a} + {b}")
    (result,) = cursor.fetchone()
    return int(result)


class Contract(CaseMethods):
    ENDLESS: str

    def dialect(self) -> Dialect:
        raise NotImplementedError

    def setUp(self) -> None:
        self.observed: list[tuple[str, float, float]] = []
        self.database = self.make()
        self.threads = threading.active_count()

    def make(self, **options: Any) -> Database:
        database = Database(self.dialect(), reactor, lambda *seen: self.observed.append(seen), **options)
        database.startService()
        self.addCleanup(database.stopService)
        return database

    async def test_results_and_failures(self) -> None:
        self.assertEqual(await self.database.run("add", add, 2, b=3), 5)
        with self.assertRaises(TypeError):
            await self.database.run("add", add, 2)  # type: ignore[call-arg]
        with self.assertRaises(self.database.dialect.error):
            await self.database.run("bad", lambda cursor: cursor.execute("select from nowhere at all"))
        self.assertEqual([name for name, _, _ in self.observed], ["add", "add", "bad"])
        for _, waited, ran in self.observed:
            self.assertTrue(waited >= 0 and ran >= 0)

    async def test_what_it_waited_and_what_it_ran(self) -> None:
        holding = threading.Semaphore(0)
        released = threading.Event()

        def hold(cursor: object) -> None:
            holding.release()
            released.wait(PATIENCE_SECONDS)

        connections = self.database.dialect.connections
        many = [self.database.run("hold", hold) for _ in range(connections)]
        for _ in range(connections):
            self.assertTrue(await deferToThread(holding.acquire, timeout=PATIENCE_SECONDS))
        last = self.database.run("last", add, 1, 1)
        await deferLater(reactor, 0.1)
        released.set()
        await gatherResults(many)
        await last
        waited = {name: waited for name, waited, _ in self.observed}
        ran = {name: ran for name, _, ran in self.observed}
        self.assertTrue(waited["last"] >= 0.09 and ran["hold"] >= 0.09, self.observed)

    async def test_nothing_in_a_thread_of_the_reactor(self) -> None:
        ident = await self.database.run("thread", lambda cursor: threading.get_ident())
        self.assertNotEqual(ident, threading.get_ident())

    async def test_too_many(self) -> None:
        database = self.make(at_most=3)
        released = threading.Event()
        waiting = [database.run("hold", lambda cursor: released.wait(PATIENCE_SECONDS)) for _ in range(3)]
        with self.assertRaises(DatabaseOverloadedError) as caught:
            await database.run("add", add, 1, 1)
        self.assertIn("3 transactions", str(caught.exception))
        released.set()
        await gatherResults(waiting)
        self.assertEqual(await database.run("add", add, 1, 1), 2)

    async def test_closed(self) -> None:
        await self.database.stopService()
        with self.assertRaises(ArchiveClosingError):
            await self.database.run("add", add, 1, 1)
        await self.database.stopService()

    async def test_stopping_waits(self) -> None:
        released = threading.Event()
        held = self.database.run("hold", lambda cursor: released.wait(PATIENCE_SECONDS))
        queued = [self.database.run("add", add, 1, n) for n in range(20)]
        stopping = self.database.stopService()
        with self.assertRaises(ArchiveClosingError):
            await self.database.run("add", add, 1, 1)
        self.assertFalse(stopping.called)
        released.set()
        self.assertEqual((await held, await gatherResults(queued)), (True, [1 + n for n in range(20)]))
        await stopping

    async def test_stopping_has_a_limit(self) -> None:
        database = self.make(stop_within=0.05)
        endless = database.run("endless", lambda cursor: cursor.execute(self.ENDLESS))
        stopping = database.stopService()
        with self.assertRaises(database.dialect.error):
            await endless
        await stopping

    async def test_a_statement_that_begins_after_the_limit(self) -> None:
        database = self.make(stop_within=0.0)
        interrupted = threading.Event()
        interrupt = database.dialect.interrupt

        def noted(connection: DatabaseConnection) -> None:
            interrupt(connection)
            interrupted.set()

        self.patch(database.dialect, "interrupt", noted)
        connected = threading.Event()

        def late(cursor: Cursor) -> None:
            connected.set()
            interrupted.wait(PATIENCE_SECONDS)
            cursor.execute(self.ENDLESS)

        endless = database.run("late", late)
        await deferToThread(connected.wait, PATIENCE_SECONDS)
        stopping = database.stopService()
        with self.assertRaises(database.dialect.error):
            await endless
        await stopping

    async def test_no_thread_is_left(self) -> None:
        await gatherResults([self.database.run("add", add, 1, n) for n in range(20)])
        await self.database.stopService()
        self.assertEqual(threading.active_count(), self.threads)


class SQLiteTests(Contract, TestCase):
    ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"

    def dialect(self) -> Dialect:
        if not hasattr(self, "path"):
            self.path = os.path.abspath(self.mktemp())
            migrate(SQLite(self.path))
        return SQLite(self.path)


class PostgreSQLTests(Contract, TestCase):
    ENDLESS = "select pg_sleep(900)"

    def dialect(self) -> Dialect:
        return PostgreSQL(3, **private_servers.postgresql().arguments("postgres"))

    async def test_all_connections_lost(self) -> None:
        """Every thread's connection is replaced, unnoticed; nothing is logged that would fail this test."""
        for _ in range(3):
            results = await gatherResults([self.database.run("add", add, n, n) for n in range(10)])
            self.assertEqual(results, [2 * n for n in range(10)])
            private_servers.postgresql().execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tandemd'"
            )


class InlineTests(SynchronousTestCase):
    def test_no_thread(self) -> None:
        path = os.path.abspath(self.mktemp())
        migrate(SQLite(path))
        before = threading.active_count()
        database = InlineDatabase(SQLite(path), Clock())
        database.startService()
        self.assertEqual(self.successResultOf(database.run("add", add, 1, 1)), 2)
        self.assertEqual(threading.active_count(), before)
        self.successResultOf(database.stopService())
        self.failureResultOf(database.run("add", add, 1, 1), ArchiveClosingError)


class DialectTests(SynchronousTestCase):
    def test_what_is_tried_again(self) -> None:
        postgresql, sqlite = PostgreSQL(host="nowhere"), SQLite("nowhere")
        for error in (
            psycopg2.InterfaceError("closed"),
            psycopg2.OperationalError("gone"),
            psycopg2.DatabaseError("eof"),
        ):
            self.assertTrue(postgresql.retryable(error))
            self.assertFalse(postgresql.refused(error))
        others: tuple[Exception, ...] = (
            psycopg2.DataError("bad"),
            psycopg2.IntegrityError("twice"),
            ValueError("NUL"),
            KeyError("ours"),
        )
        for other in others:
            self.assertFalse(postgresql.retryable(other))
        self.assertTrue(postgresql.refused(psycopg2.DataError("bad")))
        self.assertFalse(postgresql.refused(psycopg2.ProgrammingError("no such column")))
        self.assertFalse(postgresql.refused(KeyError("ours")))
        self.assertFalse(sqlite.retryable(sqlite3.OperationalError("locked")))
        self.assertFalse(sqlite.refused(sqlite3.OperationalError("disk full")))
        self.assertTrue(sqlite.refused(sqlite3.IntegrityError("foreign key")))

    def test_a_driver_is_imported_by_its_dialect_only(self) -> None:
        import tandemd.archive as package  # noqa: PLC0415

        directory = os.path.dirname(package.__file__)
        for name in os.listdir(directory):
            if name.endswith(".py"):
                with open(os.path.join(directory, name)) as file:
                    text = file.read()
                self.assertEqual("import psycopg2" in text, name == "postgresql.py", name)
                self.assertEqual("import sqlite3" in text, name == "sqlite.py", name)
