"""The import of a PostgreSQL database of the Node.js server, as part of the first migration.

The old tables stay as `nodejs_rooms`, `nodejs_users` and `nodejs_room_events`. Rooms, users and events become rows of
tandemd, the events with epoch 0, numbered in their order. A room that was not archived returns with its title, position
and guest control, but empty and without PIN, because members and PIN were in Redis only. Times without a zone are UTC.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from random import SystemRandom

from ..messages import MAX_SECONDS
from ..rules.playback import Playback
from ..rules.state import Room, RoomSettings
from ..util.secrets import new_invite
from . import rows as records
from .dialect import BulkStatement, Cursor, Dialect
from .statements import UPSERT_ROOMS

FIRST_DUE_SECONDS = 4 * 3600.0
"""Seconds until an imported empty room is due: the default of `room_ttl`."""

TABLES = ("rooms", "users", "room_events")

_SELECT_ROOMS = """
    select r."id", coalesce(r."current_url", ''), coalesce(r."current_time", 0.0),
        coalesce(r."guest_control_enabled", false), r."host_user_id", count(e."id"),
        cast(r."created_at" as timestamptz), cast(r."updated_at" as timestamptz), cast(r."archived_at" as timestamptz)
    from "nodejs_rooms" r left join "nodejs_room_events" e on e."room_id" = r."id" group by r."id"
"""
_SELECT_USERS = """
    select distinct "room_id", "user_id" from "nodejs_room_events" where "user_id" is not null
    union select "room_id", "id" from "nodejs_users"
"""
_CREATE_KEYS = """
    create temporary table "carried_rooms" ("old" text primary key, "id" uuid not null) on commit drop
""", """
    create temporary table "carried_users" (
        "room" text not null, "client" text not null, "id" uuid not null, primary key ("room", "client")
    ) on commit drop
"""  # fmt: skip
_INSERT_ROOM_KEYS = 'insert into "carried_rooms" ("old", "id") values {values}'
_INSERT_USER_KEYS = 'insert into "carried_users" ("room", "client", "id") values {values}'
_INSERT_USERS = """
    insert into "users" (
        "id", "room_id", "client_id", "username", "current_time", "is_playing", "connection_quality", "last_heartbeat",
        "epoch", "seq", "created_at", "left_at"
    )
    select k."id", r."id", u."id", u."username", u."current_time", u."is_playing",
        coalesce(u."connection_quality", 'unknown'), cast(u."last_heartbeat" as timestamptz), 0, 0,
        coalesce(cast(u."last_heartbeat" as timestamptz), r."created_at"),
        coalesce(cast(u."last_heartbeat" as timestamptz), r."updated_at")
    from "nodejs_users" u
    join "carried_rooms" c on c."old" = u."room_id"
    join "rooms" r on r."id" = c."id"
    join "carried_users" k on k."room" = u."room_id" and k."client" = u."id"
"""
_INSERT_EVENTS = """
    insert into "room_events" ("room_id", "epoch", "seq", "event_type", "user_id", "details", "created_at")
    select r."id", 0, row_number() over (partition by e."room_id" order by e."id"), e."event_type", k."id", e."data",
        coalesce(cast(e."created_at" as timestamptz), r."created_at")
    from "nodejs_room_events" e
    join "carried_rooms" c on c."old" = e."room_id"
    join "rooms" r on r."id" = c."id"
    left join "carried_users" k on k."room" = e."room_id" and k."client" = e."user_id"
    order by e."id"
"""

STATEMENTS = (
    _SELECT_ROOMS, _SELECT_USERS, *_CREATE_KEYS, _INSERT_ROOM_KEYS, _INSERT_USER_KEYS, _INSERT_USERS, _INSERT_EVENTS,
)  # fmt: skip


def is_nodejs_schema(rooms: Mapping[str, str], users: Mapping[str, str], events: Mapping[str, str]) -> bool:
    """Return whether tables with these columns (name: type) are those of the Node.js server."""
    return (
        rooms.get("id") == users.get("id") == events.get("room_id") == "character varying"
        and "data" in events
        and {"host_user_id", "current_url", "guest_control_enabled", "archived_at"} <= rooms.keys()
        and {"room_id", "username", "connection_quality", "last_heartbeat"} <= users.keys()
    )


def rename_legacy_tables(cursor: Cursor) -> None:
    """Rename the old tables."""
    for table in TABLES:
        cursor.execute(f'alter table "{table}" rename to "nodejs_{table}"')


def import_legacy_rows(dialect: Dialect, cursor: Cursor) -> None:
    """Copy from the renamed tables to the new ones."""
    now, random = time.time(), SystemRandom()
    for statement in _CREATE_KEYS:
        cursor.execute(statement)
    cursor.execute(_SELECT_ROOMS)
    rooms: dict[str, Room] = {}
    rows = []
    for room_id, url, position, guest_control, host, count, created, updated, archived in cursor.fetchall():
        last = archived or updated or created
        room = rooms[room_id] = Room(str(uuid.uuid4()), room_id, created.timestamp() if created else now, 0, count)
        room.at = last.timestamp() if last else now
        # Some positions are NaN, which the comparison rejects too.
        known_position = position if 0 <= position <= MAX_SECONDS else 0.0
        room.playback = Playback(url, known_position, room.at, known=bool(url))
        room.settings = RoomSettings(guest_control, invite=new_invite(random))
        if archived is not None:
            room.closed = True
            room.host = host or ""
        else:
            room.empty_since = now
            room.due = now + FIRST_DUE_SECONDS
        rows.append(records.room_row(room))
    BulkStatement(dialect, len(records.ROOM_COLUMNS), UPSERT_ROOMS).execute(cursor, rows)
    BulkStatement(dialect, 2, _INSERT_ROOM_KEYS).execute(
        cursor, [(room_id, room.room_uuid) for room_id, room in rooms.items()]
    )
    cursor.execute(_SELECT_USERS)
    users = [
        (room, user, records.user_key(rooms[room].room_uuid, user)) for room, user in cursor.fetchall() if room in rooms
    ]
    BulkStatement(dialect, 3, _INSERT_USER_KEYS).execute(cursor, users)
    cursor.execute(_INSERT_USERS)
    cursor.execute(_INSERT_EVENTS)
