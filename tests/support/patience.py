"""The time limit of the tests, and the ways to wait within it.

A test waits for an event, never for a duration. PATIENCE_SECONDS is no measure of how fast anything is: it only says when
an event is given up that does not come any more, and it is generous because the machine may be busy.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.task import deferLater

PATIENCE_SECONDS = 60.0
"""After this long, an event that a test waits for is taken for one that does not come."""
TEST_LIMIT_SECONDS = 600.0
"""After this long, the runner (`python -m tests`) ends a test; a class with longer tests has `timeout`."""
INTERVAL_SECONDS = 0.01

T = TypeVar("T")
Told = Callable[[], object]


def _given_up(what: str, told: Told | None) -> AssertionError:
    seen = f"; seen so far: {told()}" if told is not None else ""
    return AssertionError(f"not within {PATIENCE_SECONDS:g} s: {what}{seen}")


def until(what: str, condition: Callable[[], T], told: Told | None = None) -> T:
    """Block until a condition is true, and return its value.

    `what`: names the event, for the error. told: returns the state so far, for the error.
    Raises AssertionError after PATIENCE_SECONDS.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise _given_up(what, told)
        time.sleep(INTERVAL_SECONDS)


async def eventually(reactor: Any, what: str, condition: Callable[[], T], told: Told | None = None) -> T:
    """Wait until a condition is true while a reactor runs, and return its value. Arguments and errors as in `until`."""
    end = reactor.seconds() + PATIENCE_SECONDS
    while True:
        value = condition()
        if value:
            return value
        if reactor.seconds() > end:
            raise _given_up(what, told)
        await deferLater(reactor, INTERVAL_SECONDS)


def wait_for_end(process: subprocess.Popen[Any]) -> int:
    """Block until a process has ended, and return its exit status. Kills it after PATIENCE_SECONDS and raises AssertionError."""
    try:
        return process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE_SECONDS)
        raise AssertionError(f"process {process.args!r} did not end within {PATIENCE_SECONDS:g} s; it was killed")
