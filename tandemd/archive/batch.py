"""Batches of rows, written in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..util.text import one_line
from . import rows as records
from .dialect import BulkStatement, Cursor, Dialect
from .rows import Row
from .statements import INSERT_LETTERS


class Batch:
    """Writes rows; the first rejected row ends the transaction."""

    def __init__(self, dialect: Dialect, cursor: Cursor):
        self._dialect = dialect
        self._cursor = cursor

    def put(self, table: str, statement: BulkStatement, row_of: Callable[[Any], Row], items: Sequence[Any]) -> None:
        """Execute the table's statement with the row of each item."""
        statement.execute(self._cursor, [row_of(item) for item in items])

    def close(self) -> None:
        """Finish the batch. Called once, after the last `put`."""


class BisectingBatch(Batch):
    """Finds rejected rows by bisection, and writes them to `dead_letters`."""

    def __init__(self, dialect: Dialect, cursor: Cursor, at: float):
        """at: the time of the batch, in seconds since 1970."""
        super().__init__(dialect, cursor)
        self._at = at
        self._letters: list[Row] = []

    def put(self, table: str, statement: BulkStatement, row_of: Callable[[Any], Row], items: Sequence[Any]) -> None:
        rows: list[Row] = []
        for item in items:
            try:
                rows.append(row_of(item))
            except Exception as error:
                if not self._dialect.refused(error):
                    raise
                self._refused(table, item, error)
        self._put(table, statement, rows)

    def _put(self, table: str, statement: BulkStatement, rows: Sequence[Row]) -> None:
        if not rows:
            return
        self._cursor.execute("savepoint tandemd_part")
        try:
            statement.execute(self._cursor, rows)
        except Exception as error:
            if not self._dialect.refused(error):
                raise
            self._cursor.execute("rollback to savepoint tandemd_part")
            if len(rows) == 1:
                self._refused(table, rows[0], error)
            else:
                middle = len(rows) // 2
                self._put(table, statement, rows[:middle])
                self._put(table, statement, rows[middle:])
        self._cursor.execute("release savepoint tandemd_part")

    def _refused(self, table: str, content: Any, error: Exception) -> None:
        at = records.timestamp(self._at)
        self._letters.append((table, records.dead_letter_text(content), records.plain(one_line(error)), at))

    def close(self) -> None:
        BulkStatement(self._dialect, 4, INSERT_LETTERS).execute(self._cursor, self._letters)
