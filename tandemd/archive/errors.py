"""What the archive says when it cannot do something, in one line that names the database and a remedy."""


class ArchiveError(Exception):
    """The database cannot be used as it is configured, or not now."""


class MigrationError(ArchiveError):
    """The schema cannot be brought to what this program needs; the database is as it was before."""


class ArchiveClosingError(ArchiveError):
    """The database is being closed, or was never opened; nothing was done."""


class DatabaseOverloadedError(ArchiveError):
    """Too many transactions wait already; nothing was done."""
