"""A process of test_archive: writes one batch, and is killed in the middle of the next. Argument: the SQLite file."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.internet.task import Clock

from tandemd.archive.sql_archive import SQLArchive
from tandemd.archive.sqlite import SQLite
from tandemd.interfaces import Snapshot
from tandemd.rules.state import Commit, Member, Room
from tests.support.inline_database import InlineDatabase


class Dying(SQLite):
    """Its connections have a function that kills the process."""

    def connect(self) -> Any:
        connection: Any = super().connect()
        connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
        return connection


def main() -> None:
    database = InlineDatabase(Dying(sys.argv[1]), Clock())
    database.startService()
    archive = SQLArchive(database)
    room = Room("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "party", 1e9, 1)
    room.members["ann"] = Member("ann", "Ann", "node/boot/1", 1, 1e9)
    failures: list[Any] = []

    def write(count: int) -> None:
        commits = [
            Commit(epoch=1, seq=room.seq + n + 1, at=1e9, event="SEEK", user="ann", details={}, changes={}, messages=())
            for n in range(count)
        ]
        for commit in commits:
            room.apply(commit)
        batch = [(room.room_uuid, commit) for commit in commits]
        archive.write(batch, [Snapshot(room.copy(), frozenset({"ann"}))]).addErrback(failures.append)

    def arm(cursor: Any) -> None:
        cursor.execute(
            'create temp trigger "dying" after insert on main."room_events" when new."seq" = 700'
            " begin select die(); end"
        )

    write(10)
    database.run("arm", arm).addErrback(failures.append)
    write(1000)
    print("still alive", failures)


if __name__ == "__main__":
    main()
