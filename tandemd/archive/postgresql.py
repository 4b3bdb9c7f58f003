"""The archive in PostgreSQL, shared by all nodes. Only this module uses the psycopg2 driver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2

from ..util.text import one_line
from .dialect import Cursor, DatabaseConnection, Dialect
from .errors import ArchiveError

OLDEST = 130000
"""PostgreSQL 13, in the server's notation."""

_CONNECTING = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "tandemd",
}
# Twisted cannot interrupt a thread that waits for a dead server; these limits do.

SERIALIZATION, DEADLOCK, CANCELLED = "40001", "40P01", "57014"
REFUSED = ("22", "23", "54")
"""Classes of error codes that mean bad values: data exception, constraint violation, limit exceeded."""


class PostgreSQL(Dialect):
    """A database on a server, through psycopg2."""

    name = "postgresql"
    module = "psycopg2"
    placeholder = "%s"
    types = {
        "uuid": "uuid",
        "time": "timestamptz",
        "json": "jsonb",
        "real": "double precision",
        "boolean": "boolean",
        "serial": "bigserial primary key",
    }
    error = psycopg2.Error

    def __init__(self, connections: int = 10, statement_timeout: float = 10.0, **arguments: Any):
        """connections: the limit of connections of this node.
        statement_timeout: seconds.
        arguments: of psycopg2.connect, either keywords of libpq (host, port, dbname, user, password, sslmode ...), or `dsn`, a URL.
        """
        self.connections = connections
        self._timeout = round(statement_timeout * 1000)
        self._arguments = arguments
        try:
            known = psycopg2.extensions.parse_dsn(psycopg2.extensions.make_dsn(**arguments))
        except psycopg2.Error as error:
            raise ArchiveError(f"the address of PostgreSQL cannot be read: {one_line(error)}") from error
        self.where = (
            f"the PostgreSQL database {known.get('dbname', '')!r} at {known.get('host', 'the local socket')}"
            f":{known.get('port', '5432')} as user {known.get('user', '')!r}"
        )

    def prepare(self, apply: Callable[[DatabaseConnection], None]) -> None:
        try:
            connection = self._open(0)  # a migration has no time limit
        except psycopg2.Error as error:
            raise ArchiveError(
                f"cannot connect to {self.where}: {one_line(error)}; check that it runs, and the host, port, user, "
                "password and database that are configured"
            ) from error
        with closing(connection):
            if connection.server_version < OLDEST:
                raise ArchiveError(
                    f"{self.where} is version {connection.server_version}; the archive needs PostgreSQL 13 or newer"
                )
            try:
                apply(connection)
            except psycopg2.Error as error:
                reason = error.diag.message_primary or one_line(error)
                raise ArchiveError(
                    f"cannot use {self.where}: {reason}; check the user's rights, and what else is in it"
                ) from error

    def connect(self) -> DatabaseConnection:
        connection: DatabaseConnection = self._open(self._timeout)
        return connection

    def _open(self, statement_timeout: int) -> Any:
        options = f"-c statement_timeout={statement_timeout} -c timezone=UTC"
        return psycopg2.connect(**{**_CONNECTING, "options": options, **self._arguments})

    def begin(self, cursor: Cursor) -> None:
        pass  # psycopg2 begins by itself

    def lock(self, cursor: Cursor) -> None:
        cursor.execute("select pg_advisory_xact_lock(hashtext('tandemd'))")

    def columns(self, cursor: Cursor, table: str) -> dict[str, str]:
        cursor.execute(
            "select column_name, data_type from information_schema.columns"
            " where table_schema = current_schema() and table_name = %s",
            (table,),
        )
        return dict(cursor.fetchall())

    def usable(self, connection: Any) -> bool:
        return not connection.closed

    def retryable(self, error: BaseException | None) -> bool:
        if not isinstance(error, psycopg2.Error):
            return False
        code = error.pgcode
        if code is None:  # not from the server: the connection is lost, or failed
            return (
                isinstance(error, psycopg2.InterfaceError | psycopg2.OperationalError)
                or type(error) is psycopg2.DatabaseError
            )
        return code in (SERIALIZATION, DEADLOCK) or (
            isinstance(error, psycopg2.OperationalError) and code != CANCELLED and not code.startswith(REFUSED)
        )

    def interrupt(self, connection: Any) -> None:
        connection.cancel()

    def refused_by_database(self, error: BaseException | None) -> bool:
        if not isinstance(error, psycopg2.Error):
            return False
        if error.pgcode is None:  # the driver itself cannot express the value
            return isinstance(error, psycopg2.DataError | psycopg2.IntegrityError)
        return error.pgcode.startswith(REFUSED)
