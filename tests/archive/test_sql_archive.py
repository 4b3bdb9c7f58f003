"""The contract of IArchive, for SQLite and PostgreSQL: the same tests for both."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg2
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tandemd.archive import rows, statements
from tandemd.archive.admin_queries import STATEMENTS as REPORT_STATEMENTS
from tandemd.archive.admin_queries import AdminQueries
from tandemd.archive.database import Database
from tandemd.archive.dialect import Dialect
from tandemd.archive.migrations import STATEMENTS as MIGRATION_STATEMENTS
from tandemd.archive.migrations import migrate
from tandemd.archive.postgresql import PostgreSQL
from tandemd.archive.sql_archive import EVENT_BYTES, PURGE_BATCH_ROWS, SQLArchive
from tandemd.archive.sqlite import SQLite
from tandemd.interfaces import IArchive, PlayerStatus, Snapshot
from tandemd.rules.playback import Playback
from tandemd.rules.state import Ban, Commit, Member, Moderation, Pin, Room, RoomSettings

from ..support import private_servers
from ..support.inline_database import InlineDatabase
from ..support.patience import PATIENCE_SECONDS

NOW = 1_800_000_000.25
DAY = 86400.0


def make_room(code: str = "party", created_at: float = NOW, epoch: int = 1) -> Room:
    return Room(str(uuid.uuid4()), code, created_at, epoch)


def member(user: str, name: str | None = None, order: int = 1, at: float = NOW) -> Member:
    return Member(user, name, "node/boot/1", order, at, token="0" * 64)


def step(room: Room, event: str = "PLAY_PAUSE", user: str = "ann", **fields: Any) -> Commit:
    """Commit something to the room and return it."""
    details = fields.pop("details", {"control": "play"})
    closes = fields.pop("closes", False)
    at = fields.pop("at", room.at + 1.0)
    changes = {name.replace("m_", "m:", 1): value for name, value in fields.items()}
    commit = Commit(
        epoch=room.epoch,
        seq=room.seq + 1,
        at=at,
        event=event,
        user=user,
        details=details,
        changes=changes,
        messages=(),
        closes=closes,
    )
    room.apply(commit)
    return commit


def snapshot(room: Room, *users: str) -> Snapshot:
    return Snapshot(room.copy(), frozenset(users or room.members))


class Contract:
    """The tests; a subclass says which database."""

    dialect: Dialect
    database: Database
    archive: SQLArchive
    successResultOf: Callable[..., Any]
    failureResultOf: Callable[..., Any]
    assertEqual: Callable[..., None]
    assertTrue: Callable[..., None]
    assertIn: Callable[..., None]
    assertIsNone: Callable[..., None]
    flushLoggedErrors: Callable[..., Any]

    def open(self) -> None:
        self.observed: list[str] = []
        self.database = InlineDatabase(self.dialect, Clock(), lambda name, waited, ran: self.observed.append(name))
        self.database.startService()
        self.archive = SQLArchive(self.database)

    def close(self) -> None:
        self.successResultOf(self.database.stopService())

    def reopen(self) -> None:
        self.close()
        self.open()

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        def run(cursor: Any) -> list[tuple[Any, ...]]:
            cursor.execute(self.dialect.sql(statement), parameters)
            return [tuple(row) for row in cursor.fetchall()]

        result: list[tuple[Any, ...]] = self.successResultOf(self.database.run("test", run))
        return result

    def execute(self, statement: str, *parameters: Any) -> None:
        def run(cursor: Any) -> None:
            cursor.execute(self.dialect.sql(statement), parameters)

        self.successResultOf(self.database.run("test", run))

    def write(self, room: Room, *commits: Commit, users: Sequence[str] = ()) -> None:
        done = self.archive.write([(room.room_uuid, commit) for commit in commits], [snapshot(room, *users)])
        self.assertIsNone(self.successResultOf(done))

    def count(self, table: str) -> int:
        return int(self.query(f'select count(*) from "{table}"')[0][0])

    # ---- the interface

    def test_interface(self) -> None:
        self.assertTrue(verifyObject(IArchive, self.archive))

    def test_empty(self) -> None:
        self.assertEqual(self.successResultOf(self.archive.restore(NOW)), [])
        self.assertIsNone(self.successResultOf(self.archive.write([], [])))
        self.assertIsNone(self.successResultOf(self.archive.presence([])))
        self.assertEqual(self.successResultOf(self.archive.purge(NOW)), 0)
        self.assertEqual(self.archive.ready(), "")

    # ---- queries of administrators

    def test_reports(self) -> None:
        reports = AdminQueries(self.database)
        old, new, other = make_room("party", NOW - DAY), make_room("party"), make_room("other")
        self.write(
            old, step(old, "USER_JOINED", m_ann=member("ann")), step(old, "ROOM_CLOSED", "", closes=True, m_ann=None)
        )
        new.members = {"ann": member("ann", "Ann"), "bob": member("bob")}
        new.playback = Playback("https://example.org/", 1.0, NOW, True)
        self.write(new, step(new), step(new, "CHAT", details={"length": 3}), users=["ann", "bob"])
        self.write(new, step(new, "USER_LEFT", "bob", details=None, m_bob=None), users=["bob"])
        self.write(other, step(other, "ANNOUNCEMENT", "", details={"text": "50% off?"}))
        rooms = self.successResultOf(reports.rooms("", 10))
        self.assertEqual([(room["roomId"], room["members"]) for room in rooms], [("other", 0), ("party", 1)])
        self.assertEqual((rooms[1]["uuid"], rooms[1]["currentUrl"]), (new.room_uuid, "https://example.org/"))
        self.assertEqual([room["isPlaying"] for room in rooms], [False, True])
        self.assertEqual([room["roomId"] for room in self.successResultOf(reports.rooms("other", 10))], ["party"])
        self.assertEqual(len(self.successResultOf(reports.rooms("", 1))), 1)
        events = self.successResultOf(reports.events("party", 2))
        found = [(event["seq"], event["event"], event["userId"], event["details"]) for event in events]
        self.assertEqual(found, [(2, "CHAT", "ann", {"length": 3}), (3, "USER_LEFT", "bob", None)])
        (event,) = self.successResultOf(reports.events("other", 10))
        self.assertEqual((event["userId"], event["details"]), (None, {"text": "50% off?"}))
        # A room that has ended is found as long as no newer one has its name.
        self.write(new, step(new, "ROOM_CLOSED", "", closes=True))
        self.assertEqual(self.successResultOf(reports.events("party", 10))[-1]["event"], "ROOM_CLOSED")
        self.assertIsNone(self.successResultOf(reports.events("nowhere", 10)))

    # ---- rooms

    def test_everything_comes_back(self) -> None:
        room = make_room()
        room.members = {"ann": member("ann", "Ann ☃"), "bob": member("bob", None, 2)}
        room.host = "ann"
        room.settings = RoomSettings(True, Pin("aa", "bb"), "abcdefghij")
        room.playback = Playback("https://example.org/?a=1&b=%20?", 12.5, NOW, True, known=True)
        room.moderation = Moderation(True, ("ann",), (Ban("eve", "Eve ☃", "10.0.0.2", NOW), Ban("mal", None)))
        room.due = NOW + 45
        self.write(room, step(room))
        self.reopen()
        (back,) = self.successResultOf(self.archive.restore(NOW + 100))
        for name in Room.__slots__:
            if name not in ("epoch", "former_epoch"):
                self.assertEqual(getattr(back, name), getattr(room, name), name)
        self.assertEqual((back.former_epoch, back.epoch), (room.epoch, int((NOW + 100) * 1000)))
        self.assertEqual(list(back.members), ["ann", "bob"])

    def test_columns_for_people(self) -> None:
        room = make_room()
        room.members = {"ann": member("ann", "Ann")}
        room.host = "ann"
        room.playback = Playback("https://example.org/", 10.0, NOW, True)
        self.write(room, step(room, at=NOW + 2))
        ann = str(uuid.uuid5(uuid.UUID(room.room_uuid), "ann"))
        (row,) = self.query(
            'select cast("id" as text), "code", cast("host_user_id" as text), "current_url", "current_time", "is_playing",'
            ' "guest_control_enabled", "epoch", "seq", "archived_at" from "rooms"'
        )
        self.assertEqual(row, (room.room_uuid, "party", ann, "https://example.org/", 12.0, True, False, 1, 1, None))
        (row,) = self.query('select cast("id" as text), cast("room_id" as text), "client_id", "username" from "users"')
        self.assertEqual(row, (ann, room.room_uuid, "ann", "Ann"))
        (row,) = self.query(
            'select cast("room_id" as text), "epoch", "seq", "event_type", cast("user_id" as text) from "room_events"'
        )
        self.assertEqual(row, (room.room_uuid, 1, 1, "PLAY_PAUSE", ann))

    def test_a_new_epoch_is_stored_before_it_is_returned(self) -> None:
        room = make_room()
        self.write(room, step(room))
        self.successResultOf(self.archive.restore(NOW))
        self.assertEqual(self.query('select "epoch", "seq" from "rooms"'), [(int(NOW * 1000), 1)])
        # The clock may go back: the epoch never does.
        (again,) = self.successResultOf(self.archive.restore(NOW - 1000))
        self.assertEqual((again.epoch, again.seq), (int(NOW * 1000) + 1, 1))

    def test_the_new_epoch_supersedes(self) -> None:
        room = make_room()
        self.write(room, step(room))
        (back,) = self.successResultOf(self.archive.restore(NOW))
        late = room.copy()
        late.playback = Playback("https://late.example/")
        self.write(late, step(late))
        self.assertEqual(self.query('select "current_url" from "rooms"'), [("",)])
        self.write(back, step(back))
        self.assertEqual(self.query('select "epoch", "seq" from "rooms"'), [(back.epoch, 2)])

    def test_a_row_moves_only_forward(self) -> None:
        room = make_room()
        step(room, m_ann=member("ann", "old"), host="ann")
        old = snapshot(room)
        step(room, m_ann=member("ann", "new"), host="")
        new = snapshot(room)
        for batch in ([new], [old], [new]):
            self.successResultOf(self.archive.write([], batch))
        self.assertEqual(self.query('select "seq", "host_user_id" from "rooms"'), [(2, None)])
        self.assertEqual(self.query('select "seq", "username" from "users"'), [(2, "new")])

    def test_one_seq_later_in_an_older_epoch_is_older(self) -> None:
        room = make_room(epoch=2)
        self.write(room, step(room))
        older = Room(room.room_uuid, room.room_id, NOW, 1, 50)
        older.host = "eve"
        self.successResultOf(self.archive.write([], [Snapshot(older, frozenset())]))
        self.assertEqual(self.query('select "epoch", "seq", "host_user_id" from "rooms"'), [(2, 1, None)])

    def test_a_closed_room_is_archived(self) -> None:
        room = make_room()
        self.write(room, step(room, m_ann=member("ann", "Ann")))
        self.write(room, step(room, "USER_LEFT", m_ann=None, closes=True, at=NOW + 60), users=["ann"])
        self.assertEqual(self.successResultOf(self.archive.restore(NOW)), [])
        (row,) = self.query('select "state", cast("archived_at" as text) from "rooms"')
        self.assertIsNone(row[0])
        self.assertEqual(row[1][11:19], "08:01:00")
        self.assertEqual(self.query('select "username" from "users" where "left_at" is not null'), [("Ann",)])

    def test_a_code_used_again_is_another_room(self) -> None:
        first, second = make_room(), make_room(created_at=NOW + 10)
        self.write(first, step(first, closes=True))
        self.write(second, step(second))
        self.assertEqual(
            [room.room_uuid for room in self.successResultOf(self.archive.restore(NOW))], [second.room_uuid]
        )
        self.assertEqual(self.count("rooms"), 2)

    def test_a_code_used_again_in_the_same_batch(self) -> None:
        first, second = make_room(), make_room(created_at=NOW + 10)
        commits = [(first.room_uuid, step(first, closes=True)), (second.room_uuid, step(second))]
        self.successResultOf(self.archive.write(commits, [snapshot(second), snapshot(first)]))
        self.assertEqual(
            [room.room_uuid for room in self.successResultOf(self.archive.restore(NOW))], [second.room_uuid]
        )
        self.assertEqual(self.count("dead_letters"), 0)

    def test_a_close_that_is_late_or_lost_does_not_block_the_code(self) -> None:
        first, second = make_room(), make_room(created_at=NOW + 10)
        opened = step(first)
        self.write(first, opened)
        self.write(second, step(second))  # without the end of the first
        self.assertEqual(
            [room.room_uuid for room in self.successResultOf(self.archive.restore(NOW))], [second.room_uuid]
        )
        self.write(first, step(first, "SEEK"))  # late news of the first leave the second alone
        self.assertEqual(
            [room.room_uuid for room in self.successResultOf(self.archive.restore(NOW))], [second.room_uuid]
        )
        self.write(first, step(first, closes=True))
        self.assertEqual(
            [room.room_uuid for room in self.successResultOf(self.archive.restore(NOW))], [second.room_uuid]
        )
        self.assertEqual((self.count("rooms"), self.count("room_events"), self.count("dead_letters")), (2, 4, 0))

    def test_two_open_rooms_with_one_code_in_a_batch(self) -> None:
        first, second = make_room(), make_room(created_at=NOW + 10)
        step(first), step(second)
        self.successResultOf(self.archive.write([], [snapshot(second), snapshot(first)]))
        self.assertEqual(
            [room.room_uuid for room in self.successResultOf(self.archive.restore(NOW))], [second.room_uuid]
        )

    def test_a_state_that_cannot_be_read_is_left_alone(self) -> None:
        good, bad = make_room("good"), make_room("bad")
        self.write(good, step(good))
        self.write(bad, step(bad))
        self.execute('update "rooms" set "state" = ? where "code" = ?', '{"prev": "x"}', "bad")
        self.assertEqual([room.room_id for room in self.successResultOf(self.archive.restore(NOW))], ["good"])
        self.assertEqual(self.query('select "epoch", "archived_at" from "rooms" where "code" = ?', "bad"), [(1, None)])

    def test_find(self) -> None:
        room, other = make_room(), make_room("other")
        self.write(room, step(room, m_ann=member("ann", "Ann")))
        self.write(other, step(other))
        found = self.successResultOf(self.archive.find("party"))
        self.assertEqual((found.room_uuid, found.version, list(found.members)), (room.room_uuid, (1, 1), ["ann"]))
        self.assertIsNone(self.successResultOf(self.archive.find("Party")))
        self.write(room, step(room, closes=True))
        self.assertIsNone(self.successResultOf(self.archive.find("party")))

    # ---- users

    def test_a_member_leaves_and_comes_back(self) -> None:
        room = make_room()
        self.write(room, step(room, m_ann=member("ann", "Ann")))
        self.write(room, step(room, m_ann=None), users=["ann"])
        self.assertEqual(self.query('select "username" from "users" where "left_at" is not null'), [("Ann",)])
        self.write(room, step(room, m_ann=member("ann", None, 3, NOW + 50)), users=["ann"])
        self.assertEqual(self.query('select "username", "left_at" from "users"'), [("Ann", None)])

    def test_a_member_that_was_never_written_has_left(self) -> None:
        room = make_room()
        step(room, m_ann=member("ann", "Ann"))
        self.write(room, step(room, m_ann=None), users=["ann"])
        self.assertEqual(self.query('select "client_id" from "users" where "left_at" is not null'), [("ann",)])

    def test_presence(self) -> None:
        room = make_room()
        self.write(room, step(room, m_ann=member("ann"), m_bob=member("bob")))
        done = self.archive.presence(
            [
                PlayerStatus(room.room_uuid, "ann", 12.5, True, "good", NOW + 15),
                PlayerStatus(room.room_uuid, "ann", 11.5, False, "poor", NOW + 14),
                PlayerStatus(room.room_uuid, "stranger", 1.0, True, "good", NOW + 15),
                PlayerStatus(str(uuid.uuid4()), "ann", 1.0, True, "good", NOW + 15),
            ]
        )
        self.assertIsNone(self.successResultOf(done))
        seen = (
            'select "client_id", "current_time", "is_playing", "connection_quality" from "users" order by "client_id"'
        )
        self.assertEqual(self.query(seen), [("ann", 12.5, True, "good"), ("bob", None, None, "unknown")])
        self.successResultOf(self.archive.presence([PlayerStatus(room.room_uuid, "ann", 3.0, False, "poor", NOW + 14)]))
        self.assertEqual(self.query(seen)[0], ("ann", 12.5, True, "good"))
        self.write(room, step(room, m_ann=member("ann", "new name")))
        self.assertEqual(self.query(seen)[0], ("ann", 12.5, True, "good"))

    # ---- events

    def test_only_commits_with_an_event_have_a_row(self) -> None:
        room = make_room()
        commits = [step(room, ""), step(room, "SEEK", "", details=None), step(room, "CHAT", details={"length": 3})]
        self.write(room, *commits)
        self.assertEqual(
            self.query('select "seq", "event_type", "user_id" from "room_events" where "details" is null'),
            [(2, "SEEK", None)],
        )
        self.assertEqual(self.query('select "seq", "event_type" from "room_events" order by "id"')[1], (3, "CHAT"))

    def test_twice_is_once(self) -> None:
        room = make_room()
        commits = [step(room) for _ in range(10)]
        for _ in range(2):
            self.write(room, *commits)
        self.write(room, *commits[5:], step(room))
        self.assertEqual(self.query('select "seq" from "room_events" order by "seq"'), [(n,) for n in range(1, 12)])

    def test_many(self) -> None:
        rooms = [make_room(f"room {n}") for n in range(40)]
        for room in rooms:
            room.members = {f"u{n}": member(f"u{n}", f"name {n}") for n in range(40)}
        commits = [(room.room_uuid, step(room)) for _ in range(40) for room in rooms]
        self.successResultOf(self.archive.write(commits, [snapshot(room) for room in rooms]))
        self.assertEqual((self.count("rooms"), self.count("users"), self.count("room_events")), (40, 1600, 1600))

    def test_details_are_kept_as_they_are(self) -> None:
        room = make_room()
        details = {"url": "https://e.org/?a=%s&b=%25", "q": "it's ? \\u0000 \" ☃ 😀", "n": 1.5, "l": [1, None, True]}
        self.write(room, step(room, details=details))
        ((text,),) = self.query('select cast("details" as text) from "room_events"')
        self.assertEqual(msgspec.json.decode(text), details)

    def test_nul_characters_are_left_out(self) -> None:
        room = make_room()
        room.playback = Playback("https://e.org/\0x")
        self.write(room, step(room, m_ann=member("ann", "A\0nn"), details={"na\0me": ["A\0nn"]}))
        self.assertEqual(self.query('select "username" from "users"'), [("Ann",)])
        self.assertEqual(self.query('select "current_url" from "rooms"'), [("https://e.org/x",)])
        (back,) = self.successResultOf(self.archive.restore(NOW))
        self.assertEqual(back.members["ann"].username, "Ann")
        self.assertEqual(self.count("dead_letters"), 0)

    # ---- rejected rows

    def test_a_bad_row_does_not_hold_up_the_others(self) -> None:
        room, stranger = make_room(), make_room()
        good = [(room.room_uuid, step(room)) for _ in range(20)]
        bad = (stranger.room_uuid, step(stranger))  # its room is nowhere
        self.assertIsNone(self.successResultOf(self.archive.write([*good[:7], bad, *good[7:]], [snapshot(room)])))
        self.assertEqual((self.count("room_events"), self.count("rooms")), (20, 1))
        ((table, content, error),) = self.query('select "table_name", "content", "error" from "dead_letters"')
        self.assertEqual(table, "room_events")
        self.assertIn(stranger.room_uuid, content)
        self.assertIn("foreign key", error.lower())
        self.assertEqual(self.archive.ready(), "")
        self.assertEqual(self.observed[:2], ["write", "write_carefully"])

    def test_what_cannot_even_become_a_row(self) -> None:
        room = make_room()
        bad = [step(room, details={"name": "\ud800"}), step(room, details={"x": object()}), step(room, user="a\ud800")]
        self.write(room, step(room), *bad)
        self.assertEqual((self.count("room_events"), self.count("dead_letters")), (1, 3))

    def test_a_room_that_is_refused_takes_only_its_own_with_it(self) -> None:
        good, bad = make_room("good"), make_room("bad")
        bad.room_uuid = "not a uuid"
        good.members = bad.members = {"ann": member("ann")}
        commits = [(bad.room_uuid, step(bad)), (good.room_uuid, step(good))]
        self.assertIsNone(self.successResultOf(self.archive.write(commits, [snapshot(bad), snapshot(good)])))
        counts = self.count("rooms"), self.count("users"), self.count("room_events"), self.count("dead_letters")
        self.assertEqual(counts, (1, 1, 1, 3))

    # ---- purge

    def test_purge(self) -> None:
        ended, ending, living = make_room("ended"), make_room("ending"), make_room("living")
        self.write(ended, step(ended, m_ann=member("ann")))
        self.write(ended, step(ended, closes=True, at=NOW + DAY), users=["ann"])
        self.write(ending, step(ending))
        self.write(ending, step(ending, closes=True, at=NOW + 3 * DAY))
        self.write(living, step(living, m_ann=member("ann"), m_bob=member("bob")))
        self.write(living, step(living, m_bob=None), step(living, at=NOW + 3 * DAY), users=["bob"])
        gone = self.successResultOf(self.archive.purge(NOW + 2 * DAY))
        self.assertEqual(self.query('select "code" from "rooms" order by "code"'), [("ending",), ("living",)])
        self.assertEqual(self.count("room_events"), 2)
        self.assertEqual(self.query('select "client_id" from "users"'), [("ann",), ("bob",)])
        self.assertEqual(gone, 1 + 1 + 5)
        self.assertEqual(self.successResultOf(self.archive.purge(NOW + 2 * DAY)), 0)
        self.successResultOf(self.archive.purge(NOW + 4 * DAY))
        self.assertEqual(self.query('select "client_id" from "users"'), [("ann",)])
        self.assertEqual(len(self.successResultOf(self.archive.restore(NOW))), 1)

    def test_purge_of_more_than_one_transaction(self) -> None:
        room = make_room()
        count = PURGE_BATCH_ROWS + 10
        self.write(room, *[step(room, at=NOW) for _ in range(count)])
        self.observed.clear()
        self.assertEqual(self.successResultOf(self.archive.purge(NOW + 1)), count)
        self.assertTrue(self.observed.count("purge") > 4)

    def test_the_oldest_events_go_when_they_are_too_many(self) -> None:
        room = make_room()
        commits = [step(room, details={"url": "x" * 1000}) for _ in range(1000)]
        self.write(room, *commits)
        row = EVENT_BYTES + 1010
        self.assertEqual(self.successResultOf(self.archive.shrink(1001 * row)), 0)
        gone = self.successResultOf(self.archive.shrink(400 * row))
        self.assertTrue(590 <= gone <= 610, gone)
        left = [seq for (seq,) in self.query('select "seq" from "room_events" order by "seq"')]
        self.assertEqual(left, [commit.seq for commit in commits[gone:]])
        self.assertEqual(self.successResultOf(self.archive.shrink(400 * row)), 0)
        self.successResultOf(self.archive.shrink(1))
        self.assertEqual(self.count("room_events"), 0)
        self.assertEqual(self.successResultOf(self.archive.shrink(1)), 0)

    # ---- the database as such

    def test_a_failed_transaction_leaves_nothing(self) -> None:
        room = make_room()
        self.write(room, step(room))

        def half(cursor: Any) -> None:
            cursor.execute('delete from "room_events"')
            raise KeyError("half way")

        self.failureResultOf(self.database.run("half", half), KeyError)
        self.assertEqual(self.count("room_events"), 1)


class SQLiteTests(Contract, SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.join(os.path.abspath(self.mktemp()), "")
        os.makedirs(self.path)
        self.path += "archive.sqlite"
        self.dialect = SQLite(self.path, busy_timeout=0.01)
        migrate(self.dialect)
        self.open()
        self.addCleanup(self.close)

    def test_readable_in_the_shell(self) -> None:
        room = make_room()
        self.write(room, step(room, at=NOW))
        self.assertEqual(self.query('select "created_at" from "room_events"'), [("2027-01-15T08:00:00.250Z",)])
        self.assertEqual(self.query('select typeof("details"), typeof("room_id") from "room_events"'), [("text",) * 2])

    def test_another_process_holds_it(self) -> None:
        room = make_room()
        commit = step(room)
        other: Any = SQLite(self.path).connect()
        other.execute("begin immediate")
        failed = self.archive.write([(room.room_uuid, commit)], [snapshot(room)])
        self.failureResultOf(failed, self.dialect.error)
        self.assertIn("locked", self.archive.ready())
        self.assertIn(self.path, self.archive.ready())
        other.rollback()
        other.close()
        self.write(room, commit)
        self.assertEqual((self.archive.ready(), self.count("room_events"), self.count("dead_letters")), ("", 1, 0))

    def test_disk_full(self) -> None:
        room = make_room()
        ((pages,),) = self.query("pragma page_count")
        self.query(f"pragma max_page_count = {pages + 4}")
        commits = [step(room, details={"text": "x" * 1000}) for _ in range(100)]
        failed = self.archive.write([(room.room_uuid, commit) for commit in commits], [snapshot(room)])
        self.failureResultOf(failed, self.dialect.error)
        self.assertIn("full", self.archive.ready())
        self.assertEqual((self.count("room_events"), self.count("rooms")), (0, 0))
        self.query("pragma max_page_count = 100000")
        self.write(room, *commits)
        self.assertEqual((self.archive.ready(), self.count("room_events"), self.count("dead_letters")), ("", 100, 0))

    def test_killed_in_the_middle_of_a_batch(self) -> None:
        self.close()
        script = os.path.join(os.path.dirname(os.path.dirname(__file__)), "support/crashing_writer.py")
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        environment = {**os.environ, "PYTHONPATH": root}
        command = [sys.executable, script, self.path]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=PATIENCE_SECONDS)
        self.assertEqual(ended.returncode, -9, ended.stderr)
        self.open()
        self.assertEqual(self.query('select max("seq"), count(*) from "room_events"'), [(10, 10)])
        (room,) = self.successResultOf(self.archive.restore(NOW))
        self.assertEqual((room.seq, list(room.members)), (10, ["ann"]))
        self.assertEqual(self.query("pragma integrity_check"), [("ok",)])


class PostgreSQLTests(Contract, SynchronousTestCase):
    NAME = "archive_contract"

    @staticmethod
    @functools.cache
    def migrated() -> PostgreSQL:
        dialect = PostgreSQL(**private_servers.postgresql().create(PostgreSQLTests.NAME))
        migrate(dialect)
        return dialect

    def setUp(self) -> None:
        self.server = private_servers.postgresql()
        self.dialect = self.migrated()
        self.server.execute('truncate "rooms", "users", "room_events", "dead_letters" restart identity', self.NAME)
        self.open()
        self.addCleanup(self.close)

    def test_a_lost_connection_is_replaced(self) -> None:
        room = make_room()
        self.write(room, step(room))
        self.kill_connections()
        self.observed.clear()
        self.write(room, step(room))  # without the caller noticing
        self.assertEqual(self.observed, ["write", "write"])
        self.assertEqual(self.count("room_events"), 2)

    def test_a_connection_lost_in_the_middle(self) -> None:
        room = make_room()
        self.write(room, step(room))
        attempts: list[int] = []

        def delete(cursor: Any) -> int:
            cursor.execute('delete from "room_events"')
            attempts.append(cursor.rowcount)
            if len(attempts) == 1:
                self.kill_connections()
            cursor.execute("select 1")
            return attempts[-1]

        self.assertEqual(self.successResultOf(self.database.run("delete", delete)), 1)
        self.assertEqual(attempts, [1, 1])

    def test_the_server_is_away_and_comes_back(self) -> None:
        room = make_room()
        self.write(room, step(room))
        self.server.stop()
        commit = step(room)
        self.addCleanup(lambda: self.server.process.poll() is None or self.server.start())
        self.failureResultOf(
            self.archive.write([(room.room_uuid, commit)], [snapshot(room)]), psycopg2.OperationalError
        )
        self.failureResultOf(self.archive.presence([]), psycopg2.OperationalError)
        self.assertIn("archive_contract", self.archive.ready())
        self.server.start()
        self.write(room, commit)
        self.assertEqual((self.archive.ready(), self.count("room_events")), ("", 2))

    def test_the_server_crashes(self) -> None:
        room = make_room()
        self.write(room, step(room))
        self.server.stop(signal.SIGQUIT)
        self.server.start()
        self.write(room, step(room))
        self.assertTrue(self.count("room_events") >= 1)

    def test_a_statement_that_takes_too_long(self) -> None:
        impatient = InlineDatabase(
            PostgreSQL(statement_timeout=1.0, **self.server.arguments(self.NAME)), Clock(), self.observe
        )
        impatient.startService()
        self.addCleanup(impatient.stopService)

        def sleep(cursor: Any) -> None:
            cursor.execute("select pg_sleep(900)")

        failure = self.failureResultOf(impatient.run("sleep", sleep), psycopg2.OperationalError)
        self.assertIn("statement timeout", str(failure.value))
        self.assertEqual(self.observed, ["sleep"])  # it would take too long again

    def observe(self, name: str, waited: float, ran: float) -> None:
        self.observed.append(name)

    def kill_connections(self) -> None:
        self.server.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{self.NAME}'")


class StatementTests(SynchronousTestCase):
    def test_nothing_that_a_placeholder_could_be_mistaken_for(self) -> None:
        for statement in (*statements.STATEMENTS, *MIGRATION_STATEMENTS, *REPORT_STATEMENTS):
            self.assertNotIn("%", statement)
            for part in statement.split("'")[1::2]:
                self.assertNotIn("?", part)

    def test_ids_follow_from_the_room(self) -> None:
        room = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        self.assertEqual(rows.user_key(room, "ann"), str(uuid.uuid5(uuid.UUID(room), "ann")))

    def test_timestamps(self) -> None:
        for at, text in ((0.0, "1970-01-01T00:00:00.000Z"), (1.9996, "1970-01-01T00:00:02.000Z")):
            self.assertEqual(rows.timestamp(at), text)
