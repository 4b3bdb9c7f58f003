"""The archive's database, as the configuration names it."""

from __future__ import annotations

import os

from ..config import Config
from ..util.services import StartupError
from .dialect import Dialect
from .errors import ArchiveError
from .migrations import migrate


def dialect_of(config: Config) -> Dialect:
    """Return the database that the configuration names; its schema is brought up to date by `prepare`."""
    if config.uses_postgres:
        from .postgresql import PostgreSQL  # noqa: PLC0415  # psycopg2 only where it is wanted

        postgres = config.postgres
        if postgres.url:
            return PostgreSQL(postgres.pool_size, dsn=postgres.url)
        return PostgreSQL(
            postgres.pool_size,
            host=postgres.host,
            port=postgres.port,
            dbname=postgres.db,
            user=postgres.user,
            password=postgres.password,
        )
    from .sqlite import SQLite  # noqa: PLC0415

    return SQLite(config.sqlite_path)


def prepare(config: Config) -> None:
    """Do what must be done before the reactor runs: the state directory, and the schema of the archive.

    Raises OSError or StartupError, whose text says what to do. Blocks.
    """
    os.makedirs(config.state_dir, mode=0o700, exist_ok=True)
    try:
        migrate(dialect_of(config))
    except ArchiveError as error:
        key = "archive.sqlite_file"
        if config.uses_postgres:
            key = "postgres.url (DATABASE_URL)" if config.postgres.url else "postgres.host (POSTGRES_HOST)"
        raise StartupError(f"{key}: {error}") from error
