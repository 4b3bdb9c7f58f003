"""Migrations of the database schema, before the reactor runs.

Files `schema/NNNN_name.sql` apply once, in the order of their numbers. One transaction applies all missing ones. A file
`NNNN_name.sqlite.sql` or `NNNN_name.postgresql.sql` is for that database only. Migrations only go forward. The first line
of a file, `-- compatible: N`, declares the oldest compatible program by the highest number that this program knows. An
older program rejects the database; a compatible one uses it without a change.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..util.text import one_line
from . import nodejs_import
from .dialect import Cursor, DatabaseConnection, Dialect
from .errors import MigrationError
from .rows import timestamp

SCHEMA = pathlib.Path(__file__).with_name("schema")

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+(?:\.(sqlite|postgresql))?\.sql")
_COMPATIBLE = re.compile(r"-- compatible: (\d+)\n")

CREATE_APPLIED = """
    create table if not exists "schema_migrations" (
        "number" bigint not null primary key,
        "name" text not null,
        "compatible" bigint not null,
        "applied_at" $time not null
    )"""
SELECT_APPLIED = 'select "number", "name", "compatible" from "schema_migrations"'
INSERT_APPLIED = 'insert into "schema_migrations" ("number", "name", "compatible", "applied_at") values (?, ?, ?, ?)'

STATEMENTS = (CREATE_APPLIED, SELECT_APPLIED, INSERT_APPLIED)


class Migration(NamedTuple):
    """One file. compatible: the highest number that the oldest compatible program knows."""

    number: int
    name: str
    compatible: int
    text: str


def migrations(dialect_name: str, directory: pathlib.Path = SCHEMA) -> list[Migration]:
    """Return the migrations for a dialect in order. Raises MigrationError for an invalid file."""
    found: dict[int, Migration] = {}
    for path in sorted(directory.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        text = path.read_text(encoding="utf-8")
        header = _COMPATIBLE.match(text)
        if match is None or header is None:
            raise MigrationError(
                f"{path}: a migration is named NNNN_name.sql and begins with a line '-- compatible: N'"
            )
        if match[2] not in (None, dialect_name):
            continue
        number = int(match[1])
        if number in found:
            raise MigrationError(f"{path}: {found[number].name} has the same number")
        found[number] = Migration(number, path.name, int(header[1]), text)
    return list(found.values())


def statements(text: str) -> list[str]:
    """Return the statements of a file. A semicolon at the end of a line ends a statement; `--` begins a comment."""
    bare = re.sub(r"--[^\n]*", "", text)
    return [part.strip() for part in re.split(r";[ \t]*(?:\n|$)", bare) if part.strip()]


class _RolledBackError(Exception):
    """The end of a dry run."""


def migrate(dialect: Dialect, directory: pathlib.Path = SCHEMA, *, dry_run: bool = False) -> list[str]:
    """Apply missing migrations, and return the names of their files. Blocks.

    dry_run: roll back in the end, so that errors show and nothing changes.

    Raises ArchiveError if the database cannot be used, MigrationError if a migration fails.
    """
    wanted = migrations(dialect.name, directory)
    applied: list[str] = []

    def apply(connection: DatabaseConnection) -> None:
        cursor = connection.cursor()
        try:
            applied[:] = _apply(dialect, cursor, wanted)
            if dry_run:
                raise _RolledBackError
            connection.commit()
        except BaseException:
            connection.rollback()
            raise

    with contextlib.suppress(_RolledBackError):
        dialect.prepare(apply)
    return applied


def _apply(dialect: Dialect, cursor: Cursor, wanted: Sequence[Migration]) -> list[str]:
    dialect.lock(cursor)
    carry = _inspect(dialect, cursor)
    if carry:
        nodejs_import.rename_legacy_tables(cursor)
    cursor.execute(dialect.sql(CREATE_APPLIED))
    cursor.execute(SELECT_APPLIED)
    present = {number: (name, compatible) for number, name, compatible in cursor.fetchall()}
    known = max(migration.number for migration in wanted)
    needed = max((compatible for _, compatible in present.values()), default=0)
    if needed > known:
        raise MigrationError(
            f"{dialect.where} has schema {max(present)}, which needs a tandemd that knows schema {needed}; this one "
            f"knows {known}; install the newer tandemd again, or restore a backup from before the upgrade"
        )
    missing = [migration for migration in wanted if migration.number not in present]
    for migration in missing:
        _run(dialect, cursor, migration)
    if carry:
        nodejs_import.import_legacy_rows(dialect, cursor)
    return [migration.name for migration in missing]


def _inspect(dialect: Dialect, cursor: Cursor) -> bool:
    """Return whether the database belongs to the Node.js server. Raise MigrationError for other foreign tables."""
    if dialect.columns(cursor, "schema_migrations"):
        return False
    rooms = dialect.columns(cursor, "rooms")
    if dialect.name == "postgresql" and nodejs_import.is_nodejs_schema(
        rooms, dialect.columns(cursor, "users"), dialect.columns(cursor, "room_events")
    ):
        return True
    for table in ("rooms", "users", "room_events", "dead_letters"):
        if dialect.columns(cursor, table):
            raise MigrationError(
                f'{dialect.where} has a table "{table}" that is not tandemd\'s; give tandemd an empty database'
            )
    return False


def _run(dialect: Dialect, cursor: Cursor, migration: Migration) -> None:
    for statement in statements(migration.text):
        try:
            cursor.execute(dialect.sql(statement))
        except dialect.error as error:
            raise MigrationError(
                f"{migration.name} cannot be applied to {dialect.where}: {one_line(error)} (the database is as it was "
                "before); check the user's rights, and what else is in it"
            ) from error
    row = migration.number, migration.name, migration.compatible, timestamp(time.time())
    cursor.execute(dialect.sql(INSERT_APPLIED), row)
