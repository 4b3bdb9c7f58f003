"""The archive's SQL for both databases, in the notation of `dialect`. `{values}` stands for the rows of a `BulkStatement`."""

from __future__ import annotations

from collections.abc import Sequence

from . import rows


def _columns(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _updates(names: Sequence[str], *fixed: str) -> str:
    return ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in fixed)


def _newer(table: str) -> str:
    return f'(excluded."epoch", excluded."seq") > ("{table}"."epoch", "{table}"."seq")'


UPSERT_ROOMS = (
    f'insert into "rooms" as "r" ({_columns(rows.ROOM_COLUMNS)}) values {{values}}'
    f' on conflict ("id") do update set {_updates(rows.ROOM_COLUMNS, "id", "code", "created_at")}'
    f" where {_newer('r')}"
)
UPSERT_USERS = (
    f'insert into "users" as "u" ({_columns(rows.USER_COLUMNS)}) values {{values}}'
    f' on conflict ("id") do update set'
    f" {_updates(rows.USER_COLUMNS, 'id', 'room_id', 'client_id', 'username', 'last_heartbeat', 'created_at')},"
    f' "username" = coalesce(excluded."username", "u"."username"),'
    # A user that left and returned has joined now; others keep their time.
    f' "created_at" = case when "u"."left_at" is null then "u"."created_at" else excluded."created_at" end'
    f" where {_newer('u')}"
)
INSERT_EVENTS = (
    f'insert into "room_events" ({_columns(rows.EVENT_COLUMNS)}) values {{values}}'
    f' on conflict ("room_id", "epoch", "seq") do nothing'
)
INSERT_LETTERS = 'insert into "dead_letters" ("table_name", "content", "error", "created_at") values {values}'
UPDATE_PRESENCE = (
    'update "users" set "current_time" = cast("v"."column2" as $real), "is_playing" = cast("v"."column3" as $boolean),'
    ' "connection_quality" = "v"."column4", "last_heartbeat" = cast("v"."column5" as $time)'
    ' from (values {values}) as "v"'
    ' where "users"."id" = cast("v"."column1" as $uuid) and "users"."left_at" is null'
    ' and ("users"."last_heartbeat" is null or "users"."last_heartbeat" < cast("v"."column5" as $time))'
)
SELECT_OPEN_WITH_CODE = (
    'select cast("id" as text), "code", cast("created_at" as text) from "rooms"'
    ' where "archived_at" is null and "code" in (values {values})'
)
SUPERSEDE = 'update "rooms" set "archived_at" = ?, "state" = null where "id" = ? and "archived_at" is null'
SELECT_OPEN = (
    'select cast("id" as text), "code", cast("created_at" as text), "epoch", "seq", cast("state" as text) from "rooms"'
    ' where "archived_at" is null and "state" is not null order by "id"'
)
SELECT_OPEN_BY_CODE = (
    'select cast("id" as text), "code", cast("created_at" as text), "epoch", "seq", cast("state" as text) from "rooms"'
    ' where "archived_at" is null and "state" is not null and "code" = ?'
)
RENEW = 'update "rooms" set "epoch" = ? where "id" = ? and "epoch" < ?'
PURGE = (
    'delete from "room_events" where "id" in (select "id" from "room_events" where "created_at" < ? limit ?)',
    'delete from "users" where "id" in (select "id" from "users" where "left_at" < ? limit ?)',
    'delete from "dead_letters" where "id" in (select "id" from "dead_letters" where "created_at" < ? limit ?)',
    # Rooms last: their events, which are not younger than their end, are deleted by then.
    'delete from "rooms" where "id" in (select "id" from "rooms" where "archived_at" < ? limit ?)',
)

MEASURE = 'select min("id"), max("id") from "room_events"'
SAMPLE = (
    'select avg(coalesce(length("text"), 0)) from'
    ' (select cast("details" as text) as "text" from "room_events" where "id" >= ? order by "id" limit 200) as "some"'
)
SHRINK = 'delete from "room_events" where "id" in (select "id" from "room_events" where "id" < ? order by "id" limit ?)'

STATEMENTS = (
    UPSERT_ROOMS, UPSERT_USERS, INSERT_EVENTS, INSERT_LETTERS, UPDATE_PRESENCE, SELECT_OPEN_WITH_CODE, SUPERSEDE,
    SELECT_OPEN, SELECT_OPEN_BY_CODE, RENEW, *PURGE, MEASURE, SAMPLE, SHRINK,
)  # fmt: skip
