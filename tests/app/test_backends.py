"""The backends of a node: rooms are restored at the start, or the node says why not."""

from __future__ import annotations

import sqlite3
from typing import Any, cast

from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.backends import Restore
from tandemd.store.memory import MemoryStore
from tandemd.util.services import StartupError
from tests.support.settings import bounds


class BrokenArchive:
    def restore(self, now: float) -> Any:
        return fail(sqlite3.OperationalError("disk I/O error"))


class RestoreTests(SynchronousTestCase):
    def test_an_archive_that_cannot_be_read(self) -> None:
        store = MemoryStore(Clock(), 100, lambda *commits: None, bounds())
        restore = Restore(cast(Any, BrokenArchive()), store, cast(Any, None))
        error = self.failureResultOf(restore.startService(), StartupError).value
        self.assertEqual(
            str(error),
            "the rooms cannot be read from the archive: disk I/O error; check the database and its disk",
        )
