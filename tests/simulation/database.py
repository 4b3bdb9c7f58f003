"""The archive's database: SQLite in memory, on which the transactions of all nodes are executed at simulated times."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from tandemd.archive.migrations import migrate
from tandemd.archive.sqlite import SQLite

from ..chaos.checker import RoomRow, Row
from .world import Machine, World

_template = b""


def prepare() -> None:
    """Make the schema, once in a process, before the first simulation."""
    global _template  # noqa: PLW0603  # it is the same for all
    if not _template:
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "archive.sqlite")
            migrate(SQLite(path))
            connection = sqlite3.connect(path)
            connection.execute("pragma journal_mode = delete")
            _template = connection.serialize()
            connection.close()


class _Cursor(sqlite3.Cursor):
    """Executes statements, unless the database has a fault."""

    connection: _Connection

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        self.connection.server.before(statement)
        return super().execute(statement, parameters)


class _Connection(sqlite3.Connection):
    """The only connection, which all nodes share: their transactions do not overlap."""

    server: Database

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def commit(self) -> None:
        self.server.before("commit")
        super().commit()
        self.server.committed()

    def close(self) -> None:
        pass


class Database:
    """The database server.

    away: it cannot be reached. locked: transactions wait, and fail after a while. full: no transaction can write.
    fails: the share of statements that fail, so that a batch is begun and not committed. lost: the share of commits that
    are reported as failed although they are not. slow: seconds that transactions of a machine take.
    """

    def __init__(self, world: World):
        prepare()
        self.world = world
        self.away = False
        self.locked = False
        self.full = False
        self.fails = 0.0
        self.lost = 0.0
        self.seconds = 0.002, 0.01
        self.slow: dict[str, float] = {}
        self.transactions = 0
        self._versions: dict[str, tuple[int, int]] = {}
        self._random = world.random("database")
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, factory=_Connection
        )
        self._connection.server = self
        self._connection.deserialize(_template)

    @property
    def has_fault(self) -> bool:
        """Whether statements may fail now."""
        return bool(self.away or self.locked or self.full or self.fails or self.lost)

    def end(self) -> None:
        sqlite3.Connection.close(self._connection)

    def connect(self) -> Any:
        if self.away:
            raise sqlite3.OperationalError("unable to open database file")
        return self._connection

    def duration(self, machine: Machine) -> float:
        return self.slow.get(machine.name, 0.0) + self._random.uniform(*self.seconds)

    def before(self, statement: str) -> None:
        """Raise the error of a fault before a statement."""
        if self.away:
            raise sqlite3.OperationalError("disk I/O error")
        if self.locked:
            raise sqlite3.OperationalError("database is locked")
        if self.full and statement.lstrip()[:6].lower() in ("insert", "update", "commit"):
            raise sqlite3.OperationalError("database or disk is full")
        if self.fails and self._random.random() < self.fails:
            raise sqlite3.OperationalError("disk I/O error")

    def committed(self) -> None:
        self.transactions += 1
        self._check_versions()
        if self.lost and self._random.random() < self.lost:
            self.world.cover("database: commit reported as failed")
            raise sqlite3.OperationalError("disk I/O error")

    def _check_versions(self) -> None:
        """No older row of a room replaces a newer one."""
        cursor = sqlite3.Connection.cursor(self._connection)
        for uuid, epoch, seq in cursor.execute('select "id", "epoch", "seq" from "rooms"'):
            version = epoch, seq
            if version < self._versions.get(uuid, version):
                self.world.problem(f"the archive has {uuid} at {version}, and had it at {self._versions[uuid]}")
            self._versions[uuid] = version

    def read(self) -> tuple[list[Row], list[RoomRow]]:
        """Return the events and rooms that the archive has."""
        cursor = sqlite3.Connection.cursor(self._connection)
        cursor.execute(
            'select r."code", e."epoch", e."seq", e."event_type", u."client_id", e."details" from "room_events" e'
            ' join "rooms" r on r."id" = e."room_id" left join "users" u on u."id" = e."user_id"'
            ' order by e."epoch", e."seq"'
        )
        rows = [
            Row(code, epoch, seq, event, user or "", json.loads(details) if details else {})
            for code, epoch, seq, event, user, details in cursor.fetchall()
        ]
        cursor.execute('select "code", "epoch", "seq", "guest_control_enabled", "current_url" from "rooms"')
        rooms = [
            RoomRow(code, (epoch, seq), bool(control), url or "")
            for code, epoch, seq, control, url in cursor.fetchall()
        ]
        return rows, rooms


class SimulatedSQLite(SQLite):
    """The dialect of the nodes."""

    def __init__(self, database: Database):
        super().__init__("archive.sqlite")
        self.where = "the archive"
        self._database = database

    def connect(self) -> Any:
        return self._database.connect()


class Threads:
    """A pool of threads of a node: each piece of work is done at some time on its machine, one after another."""

    BUSY_SECONDS = 5.0
    """Seconds for which a transaction waits for a lock."""

    def __init__(self, machine: Machine, database: Database):
        self._machine = machine
        self._database = database
        self._work: deque[tuple[Callable[[bool, Any], None] | None, Callable[[], Any], float]] = deque()
        self._is_running = False

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self._work.clear()

    def callInThread(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        self.callInThreadWithCallback(None, function, *args, **keywords)

    def callInThreadWithCallback(
        self, done: Callable[[bool, Any], None] | None, function: Callable[..., Any], *args: Any, **keywords: Any
    ) -> None:
        end = self._database.world.now + self.BUSY_SECONDS
        self._work.append((done, lambda: function(*args, **keywords), end))
        if not self._is_running:
            self._is_running = True
            self._machine.callLater(self._database.duration(self._machine), self._run)

    def _run(self) -> None:
        if not self._work:
            self._is_running = False
            return
        done, function, end = self._work[0]
        database = self._database
        if database.locked and database.world.now < end:
            self._machine.callLater(0.1, self._run)
            return
        self._work.popleft()
        try:
            result, worked = function(), True
        except Exception:
            result, worked = Failure(), False
        self._machine.callLater(database.duration(self._machine), self._answer, done, worked, result)

    def _answer(self, done: Callable[[bool, Any], None] | None, worked: bool, result: Any) -> None:
        if done is not None:
            done(worked, result)
        self._run()
