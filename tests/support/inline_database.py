"""A database that runs each transaction at once, in the calling thread, so that tests need no running reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from tandemd.archive.database import ConnectionPool, Database


class InlineDatabase(Database):
    """A `Database` without threads."""

    def _open_pool(self) -> ConnectionPool:
        calls = _DirectCalls()
        pool = ConnectionPool(self.dialect, calls)
        pool.threadpool = cast(ThreadPool, calls)
        return pool


class _DirectCalls:
    """The parts of a reactor and of a thread pool that adbapi uses."""

    def callWhenRunning(self, start: Callable[[], None]) -> None:
        pass  # adbapi would start threads

    def callFromThread(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        function(*args, **keywords)

    def addSystemEventTrigger(self, *args: Any) -> None:
        return None

    def removeSystemEventTrigger(self, trigger: Any) -> None:
        pass

    def stop(self) -> None:
        pass

    def callInThreadWithCallback(
        self, done: Callable[[bool, Any], None], function: Callable[..., Any], *args: Any, **keywords: Any
    ) -> None:
        try:
            result = function(*args, **keywords)
        except Exception:
            done(False, Failure())
        else:
            done(True, result)
