"""Queries of operators to the archive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..interfaces import IArchiveQueries
from .database import Database
from .dialect import Cursor

SELECT_ROOMS = (
    'select "code", cast("id" as text), "current_url", "is_playing", cast("created_at" as text),'
    ' cast("updated_at" as text),'
    ' (select count(*) from "users" where "users"."room_id" = "rooms"."id" and "left_at" is null)'
    ' from "rooms" where "archived_at" is null and "code" > ? order by "code" limit ?'
)
SELECT_ROOM = (
    'select cast("id" as text) from "rooms" where "code" = ?'
    ' order by case when "archived_at" is null then 0 else 1 end, "created_at" desc limit 1'
)
SELECT_EVENTS = (
    'select "e"."epoch", "e"."seq", "event_type", "client_id", cast("details" as text), cast("e"."created_at" as text)'
    ' from "room_events" as "e" left join "users" as "u" on "u"."id" = "e"."user_id"'
    ' where "e"."room_id" = ? order by "e"."epoch" desc, "e"."seq" desc limit ?'
)

STATEMENTS = (SELECT_ROOMS, SELECT_ROOM, SELECT_EVENTS)


@implementer(IArchiveQueries)
class AdminQueries:
    """Reads the archive. Deferreds fail with the driver's errors."""

    def __init__(self, database: Database):
        self._database = database
        dialect = database.dialect
        self._select_rooms, self._select_room, self._select_events = map(dialect.sql, STATEMENTS)

    def rooms(self, after: str, limit: int) -> Deferred[list[dict[str, object]]]:
        """See `IArchiveQueries.rooms`. members: includes members in their grace period."""
        return self._database.run("list_rooms", self._rooms, after, limit)

    def events(self, room_id: str, limit: int) -> Deferred[list[dict[str, object]] | None]:
        """See `IArchiveQueries.events`."""
        return self._database.run("list_events", self._events, room_id, limit)

    # ---- in a thread of the pool

    def _rooms(self, cursor: Cursor, after: str, limit: int) -> list[dict[str, object]]:
        cursor.execute(self._select_rooms, (after, limit))
        names = ("roomId", "uuid", "currentUrl", "isPlaying", "createdAt", "updatedAt", "members")
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for room in found:
            room["isPlaying"] = bool(room["isPlaying"])
        return found

    def _events(self, cursor: Cursor, room_id: str, limit: int) -> list[dict[str, object]] | None:
        cursor.execute(self._select_room, (room_id,))
        room = cursor.fetchone()
        if room is None:
            return None
        cursor.execute(self._select_events, (room[0], limit))
        rows: Sequence[Any] = cursor.fetchall()
        return [
            {
                "epoch": epoch,
                "seq": seq,
                "event": event,
                "userId": user,
                "details": None if details is None else json.loads(details),
                "at": at,
            }
            for epoch, seq, event, user, details, at in reversed(rows)
        ]
