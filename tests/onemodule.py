"""One module of tests in a process of its own, under trial: `python -m tests` starts it.

It reports events as lines of JSON on a pipe. Each test has a limit that holds for code that blocks too: SIGALRM raises
an error in the main thread; where even that is not noticed, in C code for example, the process prints all stacks and ends.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import time
import unittest
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from twisted.python.failure import Failure
from twisted.trial.reporter import Reporter
from twisted.trial.runner import TestLoader, TrialRunner


class TestLimitError(Exception):
    """A test took longer than its limit."""


def _too_long(number: int, frame: FrameType | None) -> NoReturn:
    raise TestLimitError("the test was stopped here: it has reached its limit")


def _cause(error: Any) -> str:
    """Return type and message of an error, with its notes: the failing example of a randomised test. In one line."""
    if not isinstance(error, Failure):
        error = Failure(error[1], error[0], error[2])
    notes = "\n".join(getattr(error.value, "__notes__", ()))
    lines = f"{error.getErrorMessage()[:600]}\n{notes[:1400]}".splitlines()
    return f"{error.type.__name__}: {' | '.join(line.strip() for line in lines if line.strip())}"


class EventReporter(Reporter):
    """Writes an event for each test; a test that reports several errors fails once, with all of them as its causes."""

    events: Any
    """Where the events go."""
    limit_seconds = 0.0
    """Of a test that has no `timeout`, or a shorter one: trial stops a test at that, if it can."""
    spare_seconds = 0.0
    """Between a test's own `timeout`, SIGALRM, and the end of the process."""
    _current: Any = None
    """The test that runs."""

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._current = test
        self._outcome, self._why = "passed", list[str]()
        self._began = time.monotonic()
        self._event(began=test.id())
        limit = max(self.limit_seconds, float(getattr(test, "timeout", None) or 0) + self.spare_seconds)
        faulthandler.dump_traceback_later(limit + self.spare_seconds, exit=True)
        signal.setitimer(signal.ITIMER_REAL, limit)

    def stopTest(self, test: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        self._current = None
        took = time.monotonic() - self._began
        self._event(test=test.id(), outcome=self._outcome, why=self._why, seconds=round(took, 3))

    def _failed(self, error: Any) -> None:
        self._outcome = "failed"
        self._why.append(_cause(error))

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        if self._current is None:  # an error that is logged after the last test has no test
            self._event(test=test.id(), outcome="failed", why=[_cause(error)], seconds=0.0)
        else:
            self._failed(error)

    def addFailure(self, test: Any, error: Any) -> None:
        super().addFailure(test, error)
        self._failed(error)

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        super().addUnexpectedSuccess(test, todo)
        self._outcome = "failed"
        self._why.append(f"passed, though marked as todo: {todo}")

    def addSkip(self, test: Any, reason: Any) -> None:
        super().addSkip(test, reason)
        if self._outcome == "passed":
            self._outcome = "skipped"
        self._why.append(str(reason))

    def _event(self, **fields: object) -> None:
        self.events.write(json.dumps(fields) + "\n")
        self.events.flush()


def cases(suite: Any) -> Iterator[Any]:
    """Yield the tests of a suite."""
    if isinstance(suite, unittest.TestSuite):
        for inner in suite:
            yield from cases(inner)
    else:
        yield suite


def main(arguments: Sequence[str]) -> None:
    """Run tests.

    arguments: file descriptor for the events, directory for files, limit of a test and its extension (seconds), seed
    ("" for none), name of a module; then the ids of tests to leave out.
    """
    events, directory, limit, spare, seed, name, *done = arguments
    os.set_inheritable(int(events), False)
    signal.signal(signal.SIGALRM, _too_long)
    loader = TestLoader()
    if seed:
        order = random.Random(f"{seed} {name}")
        loader.sorter = lambda test: order.random()
    suite = loader.suiteFactory(
        [test for test in cases(loader.loadByName(name, recurse=True)) if test.id() not in done]
    )
    with os.fdopen(int(events), "w") as stream:

        def reporter(*options: Any, **named: Any) -> EventReporter:
            made = EventReporter(*options, **named)
            made.events, made.limit_seconds = stream, float(limit)
            made.spare_seconds = float(spare)
            made._event(plan=[test.id() for test in cases(suite)])
            return made

        result = TrialRunner(reporter, stream=sys.stdout, workingDirectory=directory).run(suite)
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
