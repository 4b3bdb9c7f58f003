"""A database of the Node.js server becomes ours."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.archive import nodejs_import
from tandemd.archive.errors import ArchiveError, MigrationError
from tandemd.archive.migrations import migrate
from tandemd.archive.postgresql import PostgreSQL
from tandemd.archive.rows import user_key
from tandemd.archive.sql_archive import SQLArchive
from tandemd.interfaces import Snapshot
from tandemd.rules.state import Commit

from ..support import private_servers
from ..support.daemon_process import ROOT
from ..support.inline_database import InlineDatabase

OLD = """
create table rooms (
    id varchar(50) primary key, host_user_id varchar(100), current_url text, "current_time" float default 0,
    is_playing boolean default false, guest_control_enabled boolean default false,
    created_at timestamp default current_timestamp, updated_at timestamp default current_timestamp, archived_at timestamp
);
create table users (
    id varchar(100) primary key, room_id varchar(50) references rooms(id) on delete cascade, username varchar(50),
    "current_time" float default 0, is_playing boolean default false, connection_quality varchar(20),
    last_heartbeat timestamp, created_at timestamp default current_timestamp
);
create table room_events (
    id serial primary key, room_id varchar(50) references rooms(id) on delete cascade, event_type varchar(50) not null,
    user_id varchar(100), data jsonb, created_at timestamp default current_timestamp
);
create index idx_room_events_room_id on room_events (room_id);
insert into rooms (id, host_user_id, current_url, "current_time", is_playing, guest_control_enabled, created_at, updated_at,
    archived_at) values
    ('default_room_1', 'user_a', 'https://www.netflix.com/watch/1?a=%20', 63.5, true, true, '2025-01-01 10:00',
     '2025-01-01 11:00', null),
    ('blank', null, null, null, null, null, null, null, null),
    ('old', 'user_b', 'https://www.netflix.com/watch/2', 1, false, false, '2024-01-01', '2024-01-01', '2024-01-02');
insert into users (id, room_id, username, "current_time", is_playing, connection_quality, last_heartbeat) values
    ('user_a', 'default_room_1', 'Ann', 63, true, 'good', '2025-01-01 11:00'),
    ('user_c', 'default_room_1', null, null, null, null, null);
insert into room_events (room_id, event_type, user_id, data, created_at) values
    ('default_room_1', 'USER_JOINED', 'user_a', '{"username": "Ann"}', '2025-01-01 10:00'),
    ('old', 'SEEK', 'user_b', '{"currentTime": 1.5}', '2024-01-01'),
    ('default_room_1', 'PLAY_PAUSE', 'user_gone', null, '2025-01-01 10:30:00.25');
"""


class NodeJSTests(SynchronousTestCase):
    NAME = "archive_nodejs"

    def setUp(self) -> None:
        self.server = private_servers.postgresql()
        self.server.create(self.NAME)
        self.addCleanup(self.server.drop, self.NAME)
        self.dialect = PostgreSQL(**self.server.arguments(self.NAME))

    def query(self, statement: str) -> list[Any]:
        return self.server.execute(statement, self.NAME)

    def archive(self) -> SQLArchive:
        database = InlineDatabase(self.dialect, Clock())
        database.startService()
        self.addCleanup(database.stopService)
        return SQLArchive(database)

    def test_way_back(self) -> None:
        """The steps of docs/migration.md leave the Node.js server its data."""
        self.query(OLD)
        tables = {name: f'select * from "{name}" order by "id"' for name in nodejs_import.TABLES}
        before = {name: self.query(statement) for name, statement in tables.items()}
        migrate(self.dialect)
        text = (ROOT / "docs/migration.md").read_text()
        self.query(text[text.index("    begin;") : text.index("    commit;")] + "commit;")
        self.assertEqual({name: self.query(statement) for name, statement in tables.items()}, before)
        self.assertEqual(self.query("select count(*) from pg_tables where schemaname = 'public'"), [(3,)])
        # And once more there.
        self.assertEqual(len(migrate(self.dialect)), 1)

    def test_carried_over(self) -> None:
        self.query(OLD)
        self.assertEqual(len(migrate(self.dialect)), 1)
        self.assertEqual(migrate(self.dialect), [])
        archive = self.archive()
        rooms = {room.room_id: room for room in self.successResultOf(archive.restore(1e9))}
        self.assertEqual(sorted(rooms), ["blank", "default_room_1"])
        room = rooms["default_room_1"]
        self.assertEqual(room.playback.url, "https://www.netflix.com/watch/1?a=%20")
        self.assertEqual(
            (room.playback.position, room.playback.playing, room.settings.guest_control), (63.5, False, True)
        )
        self.assertEqual((room.members, room.host, room.seq, len(room.settings.invite)), ({}, "", 2, 10))
        self.assertEqual(room.created_at, 1735725600.0)
        self.assertTrue(room.empty_since and room.due > room.empty_since)
        events = self.query(
            'select e."seq", "event_type", "user_id", "details", cast(e."created_at" at time zone \'utc\' as text)'
            ' from "room_events" e join "rooms" r on r."id" = "room_id" where "code" = \'default_room_1\' order by e."id"'
        )
        self.assertEqual(
            events,
            [
                (1, "USER_JOINED", user_key(room.room_uuid, "user_a"), {"username": "Ann"}, "2025-01-01 10:00:00"),
                (2, "PLAY_PAUSE", user_key(room.room_uuid, "user_gone"), None, "2025-01-01 10:30:00.25"),
            ],
        )
        users = 'select "client_id", "username", "connection_quality", "id" from "users" order by "client_id"'
        self.assertEqual(
            self.query(users),
            [
                ("user_a", "Ann", "good", user_key(room.room_uuid, "user_a")),
                ("user_c", None, "unknown", user_key(room.room_uuid, "user_c")),
            ],
        )
        old = 'select "state", cast("archived_at" at time zone \'utc\' as text) from "rooms" where "code" = \'old\''
        self.assertEqual(self.query(old), [(None, "2024-01-02 00:00:00")])

    def test_a_position_that_is_none(self) -> None:
        """The old server could store NaN, which JSON cannot carry. A room with it could not be read again."""
        self.query(OLD)
        for position in ("NaN", "Infinity", "-3", "1e300"):
            self.query(
                'insert into rooms (id, current_url, "current_time", created_at)'
                f" values ('odd{position}', 'https://www.netflix.com/watch/3', '{position}', '2025-01-01')"
            )
        migrate(self.dialect)
        rooms = {room.room_id: room for room in self.successResultOf(self.archive().restore(1e9))}
        odd = {name: room.playback.position for name, room in rooms.items() if name.startswith("odd")}
        self.assertEqual(odd, {"oddNaN": 0, "oddInfinity": 0, "odd-3": 0, "odd1e300": 0})

    def test_the_room_goes_on(self) -> None:
        self.query(OLD)
        migrate(self.dialect)
        archive = self.archive()
        (room,) = (room for room in self.successResultOf(archive.restore(1e9)) if room.room_id == "default_room_1")
        commit = Commit(
            epoch=room.epoch, seq=room.seq + 1, at=1e9, event="SEEK", user="user_a", details={}, changes={}, messages=()
        )
        room.apply(commit)
        self.successResultOf(archive.write([(room.room_uuid, commit)], [Snapshot(room, frozenset(["user_a"]))]))
        self.assertEqual(self.query('select count(*) from "room_events"'), [(4,)])

    def test_the_old_tables_are_kept(self) -> None:
        self.query(OLD)
        migrate(self.dialect)
        counts = [self.query(f"select count(*) from nodejs_{table}")[0][0] for table in nodejs_import.TABLES]
        self.assertEqual(counts, [3, 2, 3])

    def test_what_fails_changes_nothing(self) -> None:
        self.query(OLD)
        self.query("create table nodejs_users (id integer)")
        error = self.assertRaises(ArchiveError, migrate, self.dialect)
        self.assertIn("nodejs_users", str(error))
        self.assertEqual(self.query("select count(*) from rooms"), [(3,)])
        self.query("drop table nodejs_users")
        migrate(self.dialect)

    def test_tables_that_only_look_alike(self) -> None:
        self.query("create table rooms (id varchar(50), data text)")
        self.assertRaises(MigrationError, migrate, self.dialect)

    def test_statements_have_no_parameters(self) -> None:
        for statement in nodejs_import.STATEMENTS:
            self.assertNotIn("%", statement)
            self.assertNotIn("?", statement)
