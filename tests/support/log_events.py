"""The log events of a test."""

from collections.abc import Callable
from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


def observe_log(case: SynchronousTestCase, observer: Callable[[LogEvent], Any]) -> None:
    """Call a function with each log event, until the test ends."""
    found = cast(ILogObserver, observer)
    globalLogPublisher.addObserver(found)
    case.addCleanup(globalLogPublisher.removeObserver, found)
