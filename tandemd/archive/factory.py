"""The archive's database from the configuration."""

from __future__ import annotations

import os

from ..config import Config
from ..util.services import StartupError
from .dialect import Dialect
from .errors import ArchiveError
from .migrations import migrate


def dialect_of(config: Config) -> Dialect:
    """Return the configured database. `prepare` migrates its schema."""
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
    """Make the state directory, and migrate the archive, before the reactor runs. Blocks.

    Raises OSError or StartupError, with a remedy.
    """
    os.makedirs(config.state_dir, mode=0o700, exist_ok=True)
    try:
        migrate(dialect_of(config))
    except ArchiveError as error:
        key = "archive.sqlite_file"
        if config.uses_postgres:
            key = "postgres.url (DATABASE_URL)" if config.postgres.url else "postgres.host (POSTGRES_HOST)"
        raise StartupError(f"{key}: {error}") from error
