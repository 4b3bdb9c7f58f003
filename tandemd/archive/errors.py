"""Errors of the archive. Their texts are one line with the database and a remedy."""


class ArchiveError(Exception):
    """The database cannot be used, with this configuration or at the moment."""


class MigrationError(ArchiveError):
    """The migration has failed; the database has not changed."""


class ArchiveClosingError(ArchiveError):
    """The database is closed; the transaction was not begun."""


class DatabaseOverloadedError(ArchiveError):
    """Too many transactions wait; this one was not begun."""
