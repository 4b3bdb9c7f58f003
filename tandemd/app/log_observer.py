"""The log: one line an event, as JSON for machines or as text for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

AT_LEAST: Mapping[str, str] = {
    # Autobahn logs the address of each scanner that fails its handshake, and of each dropped connection.
    "autobahn": "error",
    # Twisted does the same for HTTP connections that time out.
    "twisted.web": "error",
    "tandemd.web.site.TandemChannel": "error",
    # Each connection starts and stops one or two factories.
    "twisted.internet.protocol.Factory": "warn",
    # "Scheduling retry 4 to connect <object at 0x...>": the node logs lost connections itself.
    "twisted.application._client_service": "warn",
    # The remaining events in the old style are "TandemSite starting on 4001" and twistd's description of itself.
    "log_legacy": "warn",
    "twisted.scripts": "warn",
}
"""The lowest level of namespaces and their children, regardless of `log.level`."""

Render = Callable[[LogEvent, str], str]
"""Returns the line of an event. The second argument is the name of the node."""


class Output(Protocol):
    """A binary stream for lines."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


# Fields of events in the old style that are in the message already, or have no meaning outside the process.
_NOT_FIELDS = frozenset(("message", "time", "system", "format", "isError", "failure", "why", "factory", "eventSource"))

_encode = json.JSONEncoder(separators=(",", ":"), default=str, skipkeys=True).encode


def json_line(event: LogEvent, node: str = "") -> str:
    """Return an event as a JSON object.

    The fields: time (RFC 3339, UTC), level, event (a name that stays when the text changes), node, logger, message, error and
    traceback of a failure, and the event's own. `event` of a line of a library is the name of the library.
    """
    line: dict[str, object] = {
        "time": _moment(event),
        "level": _level(event).name,
        "event": event.get("event") or (event.get("log_namespace") or "unknown").partition(".")[0],
        "node": node,
        "logger": event.get("log_namespace"),
        "message": formatEvent(event),
    }
    failure = _failure(event)
    if failure is not None:
        line["error"] = failure.type.__name__ if failure.type is not None else "unknown"
        line["traceback"] = failure.getTraceback()
    for key, value in event.items():
        if not key.startswith("log_") and key not in _NOT_FIELDS:
            line.setdefault(key, value)
    try:
        return _encode(line)
    except (ValueError, RecursionError):  # a field that contains itself
        return _encode({key: str(value) for key, value in line.items()})


def text_line(event: LogEvent, node: str = "") -> str:
    """Return an event as time (UTC), level, message and logger, followed by the traceback of a failure."""
    # Text of a client must not look like a line of its own.
    message = "".join(c if c.isprintable() else repr(c)[1:-1] for c in formatEvent(event))
    line = f"{_moment(event)} {_level(event).name:<8} {message}  [{event.get('log_namespace', '-')}]"
    failure = _failure(event)
    if failure is None:
        return line
    return "\n    ".join([line, *failure.getTraceback().splitlines()])


FORMATS: Mapping[str, Render] = {"json": json_line, "text": text_line}


def _moment(event: LogEvent) -> str:
    """Return the time of an event by RFC 3339."""
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _level(event: LogEvent) -> Any:
    return event.get("log_level", LogLevel.info)


def _failure(event: LogEvent) -> Failure | None:
    failure = event.get("log_failure") or event.get("failure")
    return failure if isinstance(failure, Failure) else None


@implementer(ILogObserver)
class LineObserver:
    """Writes the events of at least a level, which may change at any time.

    May be called from any thread: a line is one write.
    """

    def __init__(
        self, out: Output, render: Render, level: str, at_least: Mapping[str, str] = AT_LEAST, *, node: str = ""
    ):
        """node: the name of the node, for each line. at_least: see AT_LEAST."""
        self._node = node
        self._out = out
        self._render = render
        self._at_least = {name: LogLevel.lookupByName(least) for name, least in at_least.items()}
        self.set_level(level)

    def set_level(self, level: str) -> None:
        self._level = LogLevel.lookupByName(level)

    def __call__(self, event: LogEvent) -> None:
        level = _level(event)
        if level < self._level or level < self._least(event.get("log_namespace") or ""):
            return
        self._out.write(self._render(event, self._node).encode("utf-8", "backslashreplace") + b"\n")
        self._out.flush()

    def _least(self, namespace: str) -> Any:
        for name, least in self._at_least.items():
            if namespace.startswith(name) and namespace[len(name) : len(name) + 1] in ("", "."):
                return least
        return LogLevel.debug


def destination(twistd: Mapping[str, Any]) -> Output | None:
    """Return the stream that twistd's options select, or None if twistd logs by itself (--syslog, --logger).

    The stream is standard output, taken before the log replaces `sys.stdout`; with --logfile, or as a daemon, a file.
    """
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon", True) else "twistd.log")
    if name == "-":
        return None if sys.__stdout__ is None else sys.__stdout__.buffer
    file: Output = LogFile.fromFullPath(name, rotateLength=None)
    return file


def install(application: Componentized, observer: LineObserver) -> None:
    """Make twistd use the observer. twistd looks for one right after the application has the plugin's service."""
    application.setComponent(ILogObserver, observer)
