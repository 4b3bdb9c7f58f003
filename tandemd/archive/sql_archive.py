"""`IArchive` in SQL, with the same statements for SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..interfaces import IArchive, PlayerStatus, Snapshot
from ..rules.snapshot import load
from ..rules.state import Commit, Room
from ..util.text import one_line
from . import rows as records
from .batch import Batch, BisectingBatch
from .database import Database
from .dialect import BulkStatement, Cursor
from .rows import Row, timestamp
from .statements import (
    INSERT_EVENTS,
    MEASURE,
    PURGE,
    RENEW,
    SAMPLE,
    SELECT_OPEN,
    SELECT_OPEN_BY_CODE,
    SELECT_OPEN_WITH_CODE,
    SHRINK,
    SUPERSEDE,
    UPDATE_PRESENCE,
    UPSERT_ROOMS,
    UPSERT_USERS,
)

T = TypeVar("T")

PURGE_BATCH_ROWS = 5000
"""Rows deleted in one transaction, so that the writer gets its turn."""

SIZE_SAMPLES = 8
"""Samples of the table of events for the estimate of its size."""
EVENT_BYTES = 250
"""Approximate bytes of an event in the database without its details, with indexes."""


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@implementer(IArchive)
class SQLArchive:
    """The archive in a database with the current schema."""

    log = Logger()

    def __init__(self, database: Database, wall: Callable[[], float] = time.time):
        """wall: the wall clock in seconds since 1970, for rejected rows."""
        self._database = database
        self._wall = wall
        self._dialect = dialect = database.dialect
        self._rooms = BulkStatement(dialect, len(records.ROOM_COLUMNS), UPSERT_ROOMS)
        self._users = BulkStatement(dialect, len(records.USER_COLUMNS), UPSERT_USERS)
        self._events = BulkStatement(dialect, len(records.EVENT_COLUMNS), INSERT_EVENTS)
        self._presences = BulkStatement(dialect, len(records.PRESENCE_COLUMNS), UPDATE_PRESENCE)
        self._open_with_code = BulkStatement(dialect, 1, SELECT_OPEN_WITH_CODE)
        self._supersede = dialect.sql(SUPERSEDE)
        self._open_by_code = dialect.sql(SELECT_OPEN_BY_CODE)
        self._renew = dialect.sql(RENEW)
        self._purge = [dialect.sql(statement) for statement in PURGE]
        self._sample = dialect.sql(SAMPLE)
        self._shrink = dialect.sql(SHRINK)
        self._reason = ""

    # ---- IArchive

    def restore(self, now: float) -> Deferred[Sequence[Room]]:
        """See `IArchive.restore`. An unreadable room stays unchanged, and is logged."""
        return self._watch(self._database.run("restore", self._restore, now))

    def living(self) -> Deferred[Sequence[Room]]:
        """See `IArchive.living`. Unreadable rooms are missing."""
        return self._watch(self._database.run("living", self._living))

    def find(self, room_id: str) -> Deferred[Room | None]:
        """See `IArchive.find`. Returns None for an unreadable room, and logs it."""
        return self._watch(self._database.run("find", self._find, room_id))

    def write(self, commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot]) -> Deferred[None]:
        """See `IArchive.write`. Rows that the database rejects for good go to `dead_letters`.

        Among these are events of a room that is neither in the archive nor in `snapshots`.
        """
        attempt = self._database.run("write", self._write, commits, snapshots, False)

        def one_by_one(failure: Failure) -> Any:
            if not self._dialect.refused(failure.value):
                return failure
            return self._database.run("write_carefully", self._write, commits, snapshots, True)

        attempt.addErrback(one_by_one)
        return self._watch(attempt)

    def presence(self, records: Sequence[PlayerStatus]) -> Deferred[None]:
        """See `IArchive.presence`. A heartbeat older than the stored one changes nothing."""
        return self._watch(self._database.run("presence", self._write_presence, records))

    async def _purge_all(self, before: float) -> int:
        total = 0
        for statement in self._purge:
            while True:
                gone = await self._watch(self._database.run("purge", self._purge_some, statement, timestamp(before)))
                total += gone
                if gone < PURGE_BATCH_ROWS:
                    break
        return total

    def purge(self, before: float) -> Deferred[int]:
        """See `IArchive.purge`. Also deletes users that left, and dead letters, before that time."""
        return Deferred.fromCoroutine(self._purge_all(before))

    async def _shrink_all(self, most: int) -> int:
        total = 0
        while gone := await self._watch(self._database.run("shrink", self._shrink_some, most)):
            total += gone
        return total

    def shrink(self, most: int) -> Deferred[int]:
        """See `IArchive.shrink`. Estimates the bytes: rows times their average length in samples of all ages."""
        return Deferred.fromCoroutine(self._shrink_all(most))

    def ready(self) -> str:
        """See `IArchive.ready`. The last transaction decides."""
        return self._reason

    def _watch(self, attempt: Deferred[T]) -> Deferred[T]:
        def worked(result: T) -> T:
            if self._reason:
                self.log.info("archive: available again: {where}", event="archive_available", where=self._dialect.where)
                self._reason = ""
            return result

        def failed(failure: Failure) -> Failure:
            if self._dialect.refused(failure.value):
                return failure  # the database itself works
            if not self._reason:
                self.log.error(
                    "the archive cannot be used: {where}: {error}",
                    event="archive_unavailable",
                    where=self._dialect.where,
                    error=one_line(failure.value),
                )
            self._reason = f"the archive cannot be used: {self._dialect.where}: {one_line(failure.value)}"
            return failure

        attempt.addCallbacks(worked, failed)
        return attempt

    # ---- in a thread of the pool, within a transaction

    def _write(
        self, cursor: Cursor, commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot], carefully: bool
    ) -> None:
        batch = BisectingBatch(self._dialect, cursor, self._wall()) if carefully else Batch(self._dialect, cursor)
        if snapshots:
            ordered = sorted(snapshots, key=_room_id)  # so that nodes lock the same rooms in the same order
            superseded = self._resolve_duplicate_ids(cursor, ordered)
            batch.put(
                "rooms", self._rooms, lambda it: records.room_row(it.room, it.room.room_uuid in superseded), ordered
            )
            users = [(item.room, user) for item in ordered for user in sorted(item.users)]
            batch.put("users", self._users, lambda item: records.user_row(*item), users)
        events = [item for item in commits if item[1].has_row]
        batch.put("room_events", self._events, lambda item: records.event_row(*item), events)
        batch.close()

    def _resolve_duplicate_ids(self, cursor: Cursor, snapshots: Sequence[Snapshot]) -> set[str]:
        """Of several open rooms with one room id, keep the youngest: archive older rows, return the UUIDs of older snapshots.

        This happens if the commit that ended the older room is lost, or comes later from another node.
        """
        youngest: dict[str, Room] = {}
        superseded: set[str] = set()
        for room in (item.room for item in snapshots if not item.room.closed):
            other = youngest.get(room.room_id)
            if other is None or other.room_uuid == room.room_uuid:
                youngest[room.room_id] = room
            elif (room.created_at, room.room_uuid) > (other.created_at, other.room_uuid):
                youngest[room.room_id] = room
                superseded.add(other.room_uuid)
            else:
                superseded.add(room.room_uuid)
        for room_uuid, room_id, created_at in self._open_with_code.fetch(cursor, [(room_id,) for room_id in youngest]):
            room = youngest[room_id]
            if room_uuid == room.room_uuid:
                continue
            if (_seconds(created_at), room_uuid) > (round(room.created_at, 3), room.room_uuid):
                superseded.add(room.room_uuid)
            else:
                cursor.execute(self._supersede, (timestamp(room.created_at), room_uuid))
        return superseded

    def _write_presence(self, cursor: Cursor, presences: Sequence[PlayerStatus]) -> None:
        newest: dict[str, Row] = {}
        for presence in sorted(presences, key=_heartbeat):
            try:
                row = records.presence_row(presence)
            except ValueError:
                continue  # the archive cannot have this user
            newest[row[0]] = row
        self._presences.execute(cursor, [newest[key] for key in sorted(newest)])

    def _purge_some(self, cursor: Cursor, statement: str, before: str) -> int:
        cursor.execute(statement, (before, PURGE_BATCH_ROWS))
        return cursor.rowcount

    def _shrink_some(self, cursor: Cursor, most: int) -> int:
        cursor.execute(MEASURE)
        first, last = cursor.fetchone()
        if first is None:
            return 0
        rows = last - first + 1
        lengths = []
        for part in range(SIZE_SAMPLES):
            cursor.execute(self._sample, (first + rows * part // SIZE_SAMPLES,))
            lengths.append(float(cursor.fetchone()[0] or 0.0))
        beyond = rows - int(most / (EVENT_BYTES + sum(lengths) / SIZE_SAMPLES))
        if beyond <= 0:
            return 0
        cursor.execute(self._shrink, (first + beyond, PURGE_BATCH_ROWS))
        return cursor.rowcount

    def _restore(self, cursor: Cursor, now: float) -> list[Room]:
        cursor.execute(SELECT_OPEN)
        rooms = self._load(cursor.fetchall())
        for room in rooms:
            room.former_epoch, room.epoch = room.epoch, max(room.epoch + 1, int(now * 1000))
            cursor.execute(self._renew, (room.epoch, room.room_uuid, room.epoch))
        return rooms

    def _living(self, cursor: Cursor) -> list[Room]:
        cursor.execute(SELECT_OPEN)
        return self._load(cursor.fetchall())

    def _find(self, cursor: Cursor, room_id: str) -> Room | None:
        cursor.execute(self._open_by_code, (room_id,))
        rooms = self._load(cursor.fetchall())
        return rooms[0] if rooms else None

    def _load(self, rows: Sequence[Any]) -> list[Room]:
        rooms: list[Room] = []
        for room_uuid, room_id, created_at, epoch, seq, state in rows:
            try:
                rooms.append(load(room_uuid, room_id, _seconds(created_at), epoch, seq, state))
            except ValueError as error:
                self.log.error(
                    "archive: cannot read room {room} ({code}), which stays there: {error}", event="archived_room_unreadable",
                    room=room_uuid, code=room_id, error=one_line(error),
                )  # fmt: skip
        return rooms


def _room_id(snapshot: Snapshot) -> str:
    return snapshot.room.room_uuid


def _heartbeat(presence: PlayerStatus) -> float:
    return presence.heartbeat
