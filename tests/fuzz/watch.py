"""A watch on the log of a test: an error is a fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer


class Fault(Exception):
    """The program broke a rule."""


@contextmanager
def no_errors() -> Iterator[None]:
    """Raise Fault at the end if an error was logged meanwhile."""
    seen: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical) or event.get("isError"):
            failure = event.get("log_failure")
            seen.append(failure.getTraceback() if failure is not None else str(event.get("log_format")))

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    if seen:
        raise Fault("\n".join(seen))
