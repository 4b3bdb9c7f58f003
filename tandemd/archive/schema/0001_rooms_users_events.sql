-- compatible: 1
--
-- Rooms, the people in them, and what happened. The same tables for SQLite and PostgreSQL; types written with a dollar
-- sign are text in SQLite where it has no such type.
--   times   UTC; in SQLite text like 2026-01-31T18:05:00.250Z, which sorts as time does
--   uuids   users.id is the version-5 UUID of client_id in the namespace rooms.id; so are host_user_id and user_id
--   epoch, seq   the version of the room that a row was written at; rows only ever move to a greater one
-- Column names are always quoted: current_time is a function in both databases.

create table "rooms" (
    "id" $uuid not null primary key,
    "code" text not null,                          -- the room id that clients use
    "host_user_id" $uuid,
    "current_url" text not null,
    "current_time" $real not null,                 -- seconds into the title at updated_at
    "is_playing" $boolean not null,
    "guest_control_enabled" $boolean not null,
    "epoch" bigint not null,
    "seq" bigint not null,
    "state" $json,                                 -- all that the rules need to go on; null once archived
    "archived_at" $time,                           -- when the room ended
    "created_at" $time not null,
    "updated_at" $time not null
);
create unique index "tandemd_rooms_code" on "rooms" ("code") where "archived_at" is null;
create index "tandemd_rooms_archived_at" on "rooms" ("archived_at");

create table "users" (
    "id" $uuid not null primary key,
    "room_id" $uuid not null references "rooms" ("id") on delete cascade,
    "client_id" text not null,                     -- the user id that clients use
    "username" text,
    "current_time" $real,                          -- seconds into the title at last_heartbeat
    "is_playing" $boolean,
    "connection_quality" text not null default 'unknown',
    "last_heartbeat" $time,
    "epoch" bigint not null,
    "seq" bigint not null,
    "created_at" $time not null,                   -- when the user joined
    "left_at" $time                                -- null while a member
);
create unique index "tandemd_users_client_id" on "users" ("room_id", "client_id");

create table "room_events" (
    "id" $serial,
    "room_id" $uuid not null references "rooms" ("id") on delete cascade,
    "epoch" bigint not null,
    "seq" bigint not null,
    "event_type" text not null,
    "user_id" $uuid,                               -- who did it; null for the server
    "details" $json,
    "created_at" $time not null
);
create unique index "tandemd_room_events_version" on "room_events" ("room_id", "epoch", "seq");
create index "tandemd_room_events_created_at" on "room_events" ("created_at");

-- What a table would not take, with the reason: for a person to look at.
create table "dead_letters" (
    "id" $serial,
    "table_name" text not null,
    "content" text not null,
    "error" text not null,
    "created_at" $time not null
);
