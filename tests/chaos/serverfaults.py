"""Faults of Redis and PostgreSQL themselves that cost no connection, and rooms that end and begin again."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator

import psycopg2
from twisted.internet.threads import deferToThread

from .client import NewClient, histories_of
from .faults import Stage

BRIEF = "brief"
"""The code of the room that ends and begins again; its members are no part of the party."""

WITHIN_SECONDS = 60.0
"""How long anything may take that is waited for here, in fair seconds."""


async def pause_redis(stage: Stage) -> None:
    """Redis takes commands and carries them out later: all of them, or the writing ones."""
    seconds = stage.random.uniform(0.5, 5) if stage.long else 2.5
    stage.cluster.ask_redis("CLIENT", "PAUSE", str(int(seconds * 1000)), stage.random.choice(("ALL", "WRITE")))
    await stage.wait(seconds)


async def sleep_redis(stage: Stage) -> None:
    """Redis is busy with something else."""
    seconds = stage.random.uniform(0.5, 5) if stage.long else 1.5
    await deferToThread(stage.cluster.ask_redis, "DEBUG", "SLEEP", f"{seconds:.1f}")


async def flush_scripts(stage: Stage) -> None:
    """Redis forgets its scripts again and again."""
    for _ in range(40 if stage.long else 8):
        stage.cluster.ask_redis("SCRIPT", "FLUSH")
        await stage.wait(stage.random.uniform(0.05, 0.5))


async def fill_redis(stage: Stage) -> None:
    """The memory of Redis is full for a while."""
    stage.cluster.ask_redis("CONFIG", "SET", "maxmemory", "1")
    await stage.wait(stage.random.uniform(2, 10) if stage.long else 3)
    stage.cluster.ask_redis("CONFIG", "SET", "maxmemory", "0")


async def empty_redis(stage: Stage) -> None:
    """Redis loses its data, and no connection."""
    stage.cluster.ask_redis("FLUSHALL")
    await stage.wait(4)  # for so long rooms are offered


async def empty_redis_behind(stage: Stage) -> None:
    """Redis loses its data, and no connection, while the archive is behind."""
    with _locked(stage, "rooms"):
        await stage.wait(0.5)
        await empty_redis(stage)


@contextlib.contextmanager
def _locked(stage: Stage, table: str) -> Iterator[None]:
    connection = psycopg2.connect(**stage.cluster.postgres.arguments("chaos"))
    try:
        connection.cursor().execute(f'lock table "{table}" in access exclusive mode')
        yield
    finally:
        connection.close()


async def lock_postgres(stage: Stage) -> None:
    """A table is locked, as by a migration by hand."""
    with _locked(stage, stage.random.choice(("rooms", "users", "room_events"))):
        await stage.wait(stage.random.uniform(2, 20) if stage.long else 2)


async def read_only_postgres(stage: Stage) -> None:
    """PostgreSQL takes no changes."""
    execute = stage.cluster.postgres.execute
    await deferToThread(execute, "alter database chaos set default_transaction_read_only = on")
    await stage.cluster.kill_postgres_connections()
    await stage.wait(stage.random.uniform(2, 10) if stage.long else 2)
    await deferToThread(execute, "alter database chaos reset default_transaction_read_only")
    await stage.cluster.kill_postgres_connections()


async def refuse_rows(stage: Stage) -> None:
    """PostgreSQL refuses rows: its disk is full, or transactions are in each other's way."""
    code = stage.random.choice(("53100", "40P01"))
    execute = stage.cluster.postgres.execute
    await deferToThread(
        execute,
        "create function refuse() returns trigger language plpgsql as $$ begin"
        f" if random() < 0.7 then raise exception 'refused' using errcode = '{code}'; end if; return new; end $$;"
        " create trigger refuse before insert on room_events for each row execute function refuse()",
        "chaos",
    )
    await stage.wait(stage.random.uniform(2, 10) if stage.long else 2)
    await deferToThread(execute, "drop trigger refuse on room_events; drop function refuse() ", "chaos")


async def end_rooms(stage: Stage) -> None:
    """Members leave for good, their room ends, and it begins again at once; nothing of it is lost."""
    clock = stage.party.clock
    before = await _kept(stage)
    lives = 20 if stage.long else 5
    people: list[NewClient] = []
    for life in range(lives):
        earlier = people
        number = stage.party.unique()
        people = [
            NewClient(
                stage.reactor, BRIEF, f"{BRIEF}{number}.{i}", f"127.200.0.{i + 1}",
                stage.cluster.choice(stage.random), stage.random,
            )
            for i in range(2)
        ]  # fmt: skip
        try:
            for index, person in enumerate(people):
                person.connect()
                assert await clock.until(lambda person=person: person.joined, WITHIN_SECONDS), "cannot join"
                assert person.state is not None
                present = [user["userId"] for user in person.state["users"]]
                assert len(present) == index + 1, (
                    f"life {life} has {present}; in the life before: "
                    f"{[history.entries for history in histories_of(earlier)]}"
                )
            for person in people:
                id_ = person.do("UPDATE_USERNAME", username=f"name {person.user}")
                assert await clock.until(lambda p=person, id_=id_: id_ in p.acked, WITHIN_SECONDS), "no answer"
            for person in people:
                id_ = person.do("LEAVE")
                assert await clock.until(lambda p=person, id_=id_: id_ in p.acked, WITHIN_SECONDS), "cannot leave"
                # A connection that the server closes now must not make it join again.
                person.stop()
        finally:
            for person in people:
                person.stop()
    wanted = before + 2 * lives
    end = clock.now + WITHIN_SECONDS
    while (kept := await _kept(stage)) < wanted:
        assert clock.now < end, f"{kept} of {wanted} changes are in the archive"
        await stage.wait(0.2)
    assert kept == wanted, f"{kept} changes are in the archive, and {wanted} were made"


async def _kept(stage: Stage) -> int:
    rows = await deferToThread(
        stage.cluster.postgres.execute,
        'select count(*) from "room_events" e join "rooms" r on r."id" = e."room_id"'
        f" where r.\"code\" = '{BRIEF}' and e.\"event_type\" = 'USERNAME_UPDATED'",
        "chaos",
    )
    return int(rows[0][0])


Fault = Callable[[Stage], Awaitable[None]]

SERVER: tuple[Fault, ...] = (pause_redis, sleep_redis, flush_scripts, fill_redis)
"""Redis is late, or refuses; nothing is lost."""

EMPTIED: tuple[Fault, ...] = (empty_redis, empty_redis_behind)

DATABASE: tuple[Fault, ...] = (lock_postgres, read_only_postgres, refuse_rows)
"""During these the rooms are always usable."""
