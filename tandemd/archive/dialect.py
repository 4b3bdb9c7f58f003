"""What SQLite and PostgreSQL do differently. Everything else of the archive is written once.

Statements are written with `?` for parameters and with `$uuid`, `$time`, `$json`, `$real`, `$boolean` and `$serial` for
types; they contain neither `%` nor a quoted `?`. Text is what both drivers give and take: UUIDs, JSON and times (UTC,
ISO 8601) are strings in every parameter and, cast to text, in every result.
"""

from __future__ import annotations

import abc
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

ROWS_A_STATEMENT = 500
"""Enough to make the cost of a statement small; 500 rows of 20 columns are within SQLite's 32 766 parameters."""


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
    """One kind of database, and where it is. Its methods may be called in any thread."""

    name: ClassVar[str]
    """'sqlite' or 'postgresql'; part of the names of migrations that are for one of them only."""
    module: ClassVar[str]
    """The driver's module, as adbapi wants it."""
    placeholder: ClassVar[str]
    types: ClassVar[Mapping[str, str]]
    error: ClassVar[type[Exception]]
    """What every exception of the driver is derived from."""
    where: str
    """The database, for people: never a password."""
    connections: int
    """How many connections the pool may have."""
    sizes: ClassVar[Sequence[int]] = (ROWS_A_STATEMENT,)
    """How many rows a statement takes, largest first; fewer than the smallest go as they are."""

    @abc.abstractmethod
    def prepare(self, apply: Callable[[DatabaseConnection], None]) -> None:
        """Call `apply` with a connection of its own, which is closed again.

        A new SQLite file is seen only if it succeeds. Blocks.
        Raises ArchiveError if the database cannot be opened, or is one that tandemd cannot work with.
        """

    @abc.abstractmethod
    def connect(self) -> DatabaseConnection:
        """Return a new connection for a pool. Blocks; raises the driver's errors."""

    @abc.abstractmethod
    def begin(self, cursor: Cursor) -> None:
        """Begin a transaction that will write, if the driver does not by itself."""

    @abc.abstractmethod
    def lock(self, cursor: Cursor) -> None:
        """Begin a transaction and wait until no other process migrates this database."""

    @abc.abstractmethod
    def columns(self, cursor: Cursor, table: str) -> dict[str, str]:
        """Return the declared types of a table's columns by name; empty if there is no such table."""

    @abc.abstractmethod
    def usable(self, connection: DatabaseConnection) -> bool:
        """Say whether a connection is not known to be lost."""

    @abc.abstractmethod
    def retryable(self, error: BaseException | None) -> bool:
        """Say whether the same transaction may well succeed at once, on a new connection perhaps."""

    @abc.abstractmethod
    def interrupt(self, connection: DatabaseConnection) -> None:
        """Make a statement that another thread is running on this connection fail soon."""

    @abc.abstractmethod
    def refused_by_database(self, error: BaseException | None) -> bool:
        """Say whether the database will never take these data, however often it is asked."""

    def refused(self, error: BaseException | None) -> bool:
        """Say whether it is the data that are wrong, and not the moment or the program's statements."""
        return self.refused_by_database(error) or isinstance(
            error, ValueError | TypeError | OverflowError | RecursionError
        )

    def sql(self, text: str) -> str:
        """Return a statement as this database takes it."""
        return string.Template(text).substitute(self.types).replace("?", self.placeholder)


def pieces(rows: Sequence[Any], sizes: Sequence[int]) -> Iterator[Sequence[Any]]:
    """Yield the rows in as few pieces of these sizes as possible, and what is left after the smallest."""
    start = 0
    for size in sizes:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
    if start < len(rows):
        yield rows[start:]


class BulkStatement:
    """A statement that takes many rows at once: `{values}` in its text stands for them.

    One statement for hundreds of rows instead of `executemany`: each execution gives the interpreter lock away and has
    to win it back from the reactor's thread, which under load takes hundreds of times as long as the row itself.
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
        """Execute the statement for all rows, and return what it finds."""
        found: list[Any] = []
        for part in pieces(rows, self._sizes):
            self._execute(cursor, part)
            found += cursor.fetchall()
        return found
