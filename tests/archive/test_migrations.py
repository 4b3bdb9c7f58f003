"""How a database comes to its schema, and which databases are refused."""

from __future__ import annotations

import os
import pathlib
import sqlite3
import stat
from contextlib import closing
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tandemd.archive.errors import ArchiveError, MigrationError
from tandemd.archive.migrations import SCHEMA, migrate, migrations, statements
from tandemd.archive.postgresql import PostgreSQL
from tandemd.archive.sqlite import SQLite

from ..support import private_servers
from ..support.case_methods import CaseMethods

FIRST = '-- compatible: 1\ncreate table "a" ("id" $uuid);  -- with; a comment\n'
SECOND = '-- compatible: 1\nalter table "a" add column "b" $time;\ninsert into "a" ("b") values (null);\n'
BREAKING = '-- compatible: 3\ndrop table "a";\n'


def schema(directory: str, **files: str) -> pathlib.Path:
    path = pathlib.Path(directory)
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / (name.replace("__", ".") + ".sql")).write_text(text)
    return path


class FileTests(SynchronousTestCase):
    def test_ours(self) -> None:
        for dialect in ("sqlite", "postgresql"):
            numbers = [migration.number for migration in migrations(dialect)]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            for migration in migrations(dialect):
                self.assertLessEqual(migration.compatible, migration.number)

    def test_no_column_is_unquoted(self) -> None:
        for path in SCHEMA.glob("*.sql"):
            for statement in statements(path.read_text()):
                self.assertNotRegex(statement, r'(?<!")\bcurrent_time\b(?!")')

    def test_order_and_dialects(self) -> None:
        path = schema(self.mktemp(), **{"0002_b__postgresql": SECOND, "0002_b__sqlite": SECOND, "0001_a": FIRST})
        self.assertEqual([m.name for m in migrations("sqlite", path)], ["0001_a.sql", "0002_b.sqlite.sql"])

    def test_bad_names_and_headers(self) -> None:
        for name, text in (("1_a", FIRST), ("0001_a", "create table;"), ("0001_a__mysql", FIRST)):
            error = self.assertRaises(MigrationError, migrations, "sqlite", schema(self.mktemp(), **{name: text}))
            self.assertIn(name.replace("__", "."), str(error))

    def test_same_number(self) -> None:
        path = schema(self.mktemp(), **{"0001_a": FIRST, "0001_b": FIRST})
        self.assertIn("0001_a.sql", str(self.assertRaises(MigrationError, migrations, "sqlite", path)))

    def test_statements(self) -> None:
        self.assertEqual(statements("-- a; b\nselect 1;\n\nselect\n 2; -- c\n"), ["select 1", "select\n 2"])


class Contract(CaseMethods):
    """The same for both databases."""

    def dialect(self) -> Any:
        raise NotImplementedError

    def execute(self, statement: str) -> list[Any]:
        raise NotImplementedError

    def test_each_once(self) -> None:
        path = schema(self.mktemp(), **{"0001_a": FIRST})
        self.assertEqual(migrate(self.dialect(), path), ["0001_a.sql"])
        self.assertEqual(migrate(self.dialect(), path), [])
        schema(str(path), **{"0002_b": SECOND})
        self.assertEqual(migrate(self.dialect(), path), ["0002_b.sql"])
        self.assertEqual(migrate(self.dialect(), path), [])
        self.assertEqual(len(self.execute('select "b" from "a"')), 1)

    def test_a_failure_changes_nothing(self) -> None:
        path = schema(self.mktemp(), **{"0001_a": FIRST})
        migrate(self.dialect(), path)
        schema(str(path), **{"0002_b": SECOND, "0003_c": "-- compatible: 3\ncreate tabel x;\n"})
        error = self.assertRaises(MigrationError, migrate, self.dialect(), path)
        for part in ("0003_c.sql", "tabel", "as it was before"):
            self.assertIn(part, str(error))
        self.assertNotIn("\n", str(error))
        (path / "0003_c.sql").unlink()
        self.assertEqual(migrate(self.dialect(), path), ["0002_b.sql"])

    def test_an_older_program_can_work_with_a_compatible_schema(self) -> None:
        newer = schema(self.mktemp(), **{"0001_a": FIRST, "0002_b": SECOND})
        migrate(self.dialect(), newer)
        older = schema(self.mktemp(), **{"0001_a": FIRST})
        self.assertEqual(migrate(self.dialect(), older), [])

    def test_an_older_program_refuses_a_schema_that_is_too_new(self) -> None:
        newer = schema(self.mktemp(), **{"0001_a": FIRST, "0002_b": SECOND, "0003_c": BREAKING})
        migrate(self.dialect(), newer)
        (newer / "0003_c.sql").unlink()
        error = self.assertRaises(MigrationError, migrate, self.dialect(), newer)
        for part in (self.dialect().where, "schema 3", "knows 2", "backup"):
            self.assertIn(part, str(error))
        self.assertNotIn("\n", str(error))

    def test_foreign_database(self) -> None:
        self.execute('create table "rooms" ("number" integer)')
        error = self.assertRaises(MigrationError, migrate, self.dialect())
        self.assertIn('"rooms"', str(error))
        self.assertIn("empty database", str(error))
        self.assertEqual(self.execute('select * from "rooms"'), [])

    def test_several_at_once(self) -> Any:
        done: Deferred[Any] = gatherResults([deferToThread(migrate, self.dialect()) for _ in range(5)])
        return done.addCallback(lambda lists: self.assertEqual(sorted(map(len, lists)), [0, 0, 0, 0, 1]))


class SQLiteTests(Contract, TestCase):
    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "a # b?.sqlite")

    def dialect(self) -> SQLite:
        return SQLite(self.path)

    def execute(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement).fetchall()

    def test_a_new_file(self) -> None:
        migrate(self.dialect())
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), [os.path.basename(self.path)])
        self.dialect().connect().close()
        self.assertEqual(self.execute("pragma journal_mode"), [("wal",)])

    def test_a_new_file_that_fails_is_never_seen(self) -> None:
        path = schema(self.mktemp(), **{"0001_a": FIRST, "0002_b": "-- compatible: 1\nnonsense;\n"})
        self.assertRaises(MigrationError, migrate, self.dialect(), path)
        self.assertEqual(os.listdir(self.directory), [])

    def test_no_links(self) -> None:
        def link(source: str, target: str) -> None:  # as on some file systems
            raise PermissionError

        self.patch(os, "link", link)
        migrate(self.dialect())
        self.assertEqual(os.listdir(self.directory), [os.path.basename(self.path)])

    def test_a_file_that_vanished_is_not_replaced(self) -> None:
        migrate(self.dialect())
        os.unlink(self.path)
        self.assertRaises(sqlite3.OperationalError, self.dialect().connect)
        self.assertEqual(os.listdir(self.directory), [])

    def refused(self, *parts: str) -> None:
        error = self.assertRaises(ArchiveError, migrate, SQLite(self.path, busy_timeout=0.01))
        for part in (self.path, *parts):
            self.assertIn(part, str(error))
        self.assertNotIn("\n", str(error))

    def test_not_a_database(self) -> None:
        with open(self.path, "w") as file:
            file.write("Dear diary, " * 100)
        self.refused("not a database", "move it away")

    def test_no_directory(self) -> None:
        self.path = os.path.join(self.directory, "missing", "file")
        self.refused("No such file or directory", "check its directory")

    def test_a_directory(self) -> None:
        os.mkdir(self.path)
        self.refused("unable to open", "check that")

    def test_locked(self) -> None:
        migrate(self.dialect())
        with closing(sqlite3.connect(self.path)) as other:
            other.execute("begin immediate")
            self.refused("locked", "another process")


class PostgreSQLTests(Contract, TestCase):
    NAME = "archive_migrate"

    def setUp(self) -> None:
        self.server = private_servers.postgresql()
        self.server.create(self.NAME)
        self.addCleanup(self.server.drop, self.NAME)

    def dialect(self) -> PostgreSQL:
        return PostgreSQL(**self.server.arguments(self.NAME))

    def execute(self, statement: str) -> list[Any]:
        return self.server.execute(statement, self.NAME)

    def test_no_connection_is_left(self) -> None:
        migrate(self.dialect())
        used = f"select count(*) from pg_stat_activity where datname = '{self.NAME}' and application_name = 'tandemd'"
        # The server takes a moment to notice the end of a connection.
        for _ in range(1000):
            if self.server.execute(used) == [(0,)]:
                break
        else:
            self.fail("a connection is left")

    def refused(self, *parts: str, **arguments: Any) -> None:
        dialect = PostgreSQL(**{**self.server.arguments(self.NAME), "password": "s3cret", **arguments})
        error = self.assertRaises(ArchiveError, migrate, dialect)
        for part in parts:
            self.assertIn(part, str(error))
        self.assertNotIn("\n", str(error))
        self.assertNotIn("s3cret", str(error))

    def test_no_server(self) -> None:
        self.refused("/nowhere", "check that it runs", host="/nowhere")

    def test_no_such_database(self) -> None:
        self.refused("'attic'", "does not exist", dbname="attic")

    def test_no_such_user(self) -> None:
        self.refused("'nobody'", "does not exist", user="nobody")

    def test_no_rights(self) -> None:
        self.server.execute("drop role if exists guest; create role guest login")
        self.refused("permission denied", user="guest")

    def test_a_bad_url(self) -> None:
        error = self.assertRaises(ArchiveError, PostgreSQL, dsn="postgresql://a:s3cret@b:port/x y?z=1")
        self.assertNotIn("s3cret", str(error))
        self.assertNotIn("\n", str(error))

    def test_where_says_no_password(self) -> None:
        where = PostgreSQL(dsn="postgresql://ann:s3cret@db.example:6543/party").where
        self.assertEqual(where, "the PostgreSQL database 'party' at db.example:6543 as user 'ann'")
