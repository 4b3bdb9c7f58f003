"""The archive in one SQLite file. Only this module uses the sqlite3 driver."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from typing import Any

from ..util.text import one_line
from .dialect import ROWS_PER_STATEMENT, Cursor, DatabaseConnection, Dialect
from .errors import ArchiveError

OLDEST = (3, 35, 0)
"""The oldest library with the syntax of the statements."""


class SQLite(Dialect):
    """A file. UUIDs, JSON and times are text, so that the sqlite3 shell shows them."""

    name = "sqlite"
    module = "sqlite3"
    placeholder = "?"
    types = {
        "uuid": "text",
        "time": "text",
        "json": "text",
        "real": "real",
        "boolean": "integer",
        "serial": "integer primary key",
    }
    error = sqlite3.Error
    connections = 1  # SQLite allows one writer at a time
    # Parsing a statement with hundreds of rows takes as long as its execution, and the driver caches parsed statements.
    sizes = (ROWS_PER_STATEMENT, 100, 20, 5, 1)

    def __init__(self, path: str, busy_timeout: float = 5.0):
        """path: the file; its directory must exist. busy_timeout: seconds to wait for another process's lock."""
        self.path = os.path.abspath(path)
        self.where = f"the SQLite file {self.path}"
        self._busy_timeout = busy_timeout

    def prepare(self, apply: Callable[[DatabaseConnection], None]) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise ArchiveError(
                f"this Python has SQLite {sqlite3.sqlite_version}; the archive needs {'.'.join(map(str, OLDEST))} or "
                "newer: use another Python, or PostgreSQL"
            )
        try:
            if not os.path.exists(self.path) and self._create(apply):
                return
            with closing(self.connect()) as connection:
                apply(connection)
        except OSError as error:
            raise ArchiveError(f"cannot create {self.where}: {error.strerror}; check its directory") from error
        except sqlite3.Error as error:
            raise ArchiveError(f"cannot use {self.where}: {one_line(error)}; {_remedy(error)}") from error

    def _create(self, apply: Callable[[DatabaseConnection], None]) -> bool:
        """Create the file under another name first, so that other processes see it only when it is complete.

        Return False if another process has created the file in the meantime.
        """
        number, path = tempfile.mkstemp(
            prefix=os.path.basename(self.path) + ".", suffix=".new", dir=os.path.dirname(self.path)
        )
        os.close(number)  # mkstemp sets mode 0600, which SQLite copies to its side files
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                apply(connection)
            try:
                os.link(path, self.path)
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                os.rename(path, self.path)
            return True
        finally:
            for leftover in (path, path + "-journal"):
                if os.path.exists(leftover):
                    os.unlink(leftover)

    def connect(self) -> DatabaseConnection:
        # check_same_thread: adbapi closes connections in the reactor's thread. isolation_level: `begin` sends BEGIN.
        # mode=rw does not create a file, because a vanished file must be an error.
        uri = "file:" + self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
                connection.execute("pragma " + pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, cursor: Cursor) -> None:
        cursor.execute("begin immediate")

    lock = begin

    def columns(self, cursor: Cursor, table: str) -> dict[str, str]:
        cursor.execute('select "name", "type" from pragma_table_info(?)', (table,))
        return dict(cursor.fetchall())

    def usable(self, connection: DatabaseConnection) -> bool:
        return True

    def retryable(self, error: BaseException | None) -> bool:
        return False  # busy_timeout has already waited for locks

    def interrupt(self, connection: Any) -> None:
        connection.interrupt()

    def refused_by_database(self, error: BaseException | None) -> bool:
        return isinstance(error, sqlite3.IntegrityError | sqlite3.DataError)


def _remedy(error: sqlite3.Error) -> str:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another process holds it: stop that, or use another file"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return "move it away, or restore a backup of it"
    if code == sqlite3.SQLITE_FULL:
        return "make room on its disk"
    return "check that it and its directory can be written by this user"
