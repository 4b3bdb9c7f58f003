"""The differences between SQLite and PostgreSQL. The rest of the archive is the same for both.

Statements use `?` for parameters, and `$uuid`, `$time`, `$json`, `$real`, `$boolean` and `$serial` for
types; they contain neither `%` nor a quoted `?`. Both drivers exchange text: UUIDs, JSON and times (UTC, ISO 8601) are
strings in parameters and, cast to text, in results.
"""

from __future__ import annotations

import abc
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

ROWS_PER_STATEMENT = 500
"""Enough to make the cost of a statement small; 500 rows of 20 columns respect SQLite's limit of 32 766 parameters."""


class Cursor(Protocol):
    """The part of a DB-API cursor that the archive uses."""

    @property
    def rowcount(self) -> int: ...

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Any: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> Any: ...


class DatabaseConnection(Protocol):
    """The part of a DB-API connection that the archive uses."""

    def cursor(self) -> Any: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class Dialect(abc.ABC):
    """A kind of database, and the address of one. Methods run in any thread."""

    name: ClassVar[str]
    """'sqlite' or 'postgresql'; part of the names of migrations that are for one of them only."""
    module: ClassVar[str]
    """The driver's module, as adbapi wants it."""
    placeholder: ClassVar[str]
    types: ClassVar[Mapping[str, str]]
    error: ClassVar[type[Exception]]
    """The base class of the driver's exceptions."""
    where: str
    """The database, for operators, without a password."""
    connections: int
    """Connections in the pool at most."""
    sizes: ClassVar[Sequence[int]] = (ROWS_PER_STATEMENT,)
    """Numbers of rows in one statement, largest first; a smaller rest gets its own statement."""

    @abc.abstractmethod
    def prepare(self, apply: Callable[[DatabaseConnection], None]) -> None:
        """Call `apply` with a separate connection, and close it. Blocks.

        A new SQLite file appears only after success. Raises ArchiveError if tandemd cannot open or use the database.
        """

    @abc.abstractmethod
    def connect(self) -> DatabaseConnection:
        """Return a new connection for a pool. Blocks; raises the driver's errors."""

    @abc.abstractmethod
    def begin(self, cursor: Cursor) -> None:
        """Begin a transaction that writes, unless the driver does so itself."""

    @abc.abstractmethod
    def lock(self, cursor: Cursor) -> None:
        """Begin a transaction, and wait until no other process migrates this database."""

    @abc.abstractmethod
    def columns(self, cursor: Cursor, table: str) -> dict[str, str]:
        """Return the declared types of a table's columns by name; empty for a missing table."""

    @abc.abstractmethod
    def usable(self, connection: DatabaseConnection) -> bool:
        """Return False if the connection is known to be lost."""

    @abc.abstractmethod
    def retryable(self, error: BaseException | None) -> bool:
        """Return whether a retry of the transaction, possibly on a new connection, may succeed."""

    @abc.abstractmethod
    def interrupt(self, connection: DatabaseConnection) -> None:
        """Make a statement of another thread on this connection fail soon."""

    @abc.abstractmethod
    def refused_by_database(self, error: BaseException | None) -> bool:
        """Return whether the database rejects these data for good."""

    def refused(self, error: BaseException | None) -> bool:
        """Return whether an error of the driver is due to the data, not to the moment or the statement."""
        return self.refused_by_database(error) or isinstance(
            error, ValueError | TypeError | OverflowError | RecursionError
        )

    def sql(self, text: str) -> str:
        """Return a statement in the syntax of this database."""
        return string.Template(text).substitute(self.types).replace("?", self.placeholder)


def pieces(rows: Sequence[Any], sizes: Sequence[int]) -> Iterator[Sequence[Any]]:
    """Yield the rows in as few pieces of these sizes as possible, and the rest."""
    start = 0
    for size in sizes:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
    if start < len(rows):
        yield rows[start:]


class BulkStatement:
    """A statement with many rows, in place of `{values}`.

    It replaces `executemany`. Each execution releases the interpreter lock, and then waits for the reactor's thread. Under
    load, this takes hundreds of times as long as the row itself.
    """

    __slots__ = ("_head", "_row", "_sizes", "_tail", "_texts")

    def __init__(self, dialect: Dialect, width: int, text: str):
        self._head, self._tail = dialect.sql(text).split("{values}")
        self._row = "(" + ", ".join([dialect.placeholder] * width) + ")"
        self._sizes = dialect.sizes
        self._texts = {size: self._text(size) for size in dialect.sizes}

    def _text(self, count: int) -> str:
        return self._head + ", ".join([self._row] * count) + self._tail

    def _execute(self, cursor: Cursor, part: Sequence[Sequence[Any]]) -> None:
        parameters: list[Any] = []
        for row in part:
            parameters += row
        count = len(part)
        cursor.execute(self._texts.get(count) or self._text(count), parameters)

    def execute(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> None:
        """Execute the statement for all rows, in as few executions as possible."""
        for part in pieces(rows, self._sizes):
            self._execute(cursor, part)

    def fetch(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Execute the statement for all rows, and return the rows that it finds."""
        found: list[Any] = []
        for part in pieces(rows, self._sizes):
            self._execute(cursor, part)
            found += cursor.fetchall()
        return found
