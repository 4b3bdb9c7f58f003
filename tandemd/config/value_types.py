"""The kinds of values that keys have, and how operators write them.

The same `Kind` reads a value from YAML, where it has a type, and from the environment or the command line, where it is
text. It raises ValueError for other values; the message to the operator uses its `says`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from ..ratelimit.message_rates import Rate

T = TypeVar("T")


class WrongItemError(ValueError):
    """An item of a list is invalid. The text names the item, and the remedy if it is known."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of value.

    says: the allowed values, with range and example; follows "is not" and "must be".
    parse: makes the value from the written one; raises ValueError.
    secret: the value is never shown, and may be in a file instead.
    """

    says: str
    parse: Callable[[object], T]
    secret: bool = False


_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)([KMG]?)", re.ASCII)
_BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    return float(value)


def _within(value: float, least: float, most: float) -> float:
    if not (math.isfinite(value) and least <= value <= most):
        raise ValueError
    return value


def number(least: float, most: float) -> Kind[float]:
    return Kind(f"a number from {least:g} to {most:g}", lambda value: _within(_number(value), least, most))


def integer(least: int, most: int) -> Kind[int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError
        return int(_within(int(value), least, most))

    return Kind(f"a whole number from {least} to {most}", parse)


def proxies(most: int) -> Kind[int]:
    """A number of proxies; -1 is for "unknown"."""
    counted = integer(0, most)
    return Kind(
        f"{counted.says} or unknown",
        lambda value: -1 if isinstance(value, str) and value.lower() == "unknown" else counted.parse(value),
    )


def duration(least: str, most: str) -> Kind[float]:
    """A length of time; its value is in seconds."""

    def seconds(value: object) -> float:
        if isinstance(value, str) and _DURATION.fullmatch(value):
            return sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(value))
        return _number(value)

    shortest, longest = seconds(least), seconds(most)
    return Kind(
        f"a duration from {least} to {most}, in seconds or with a unit such as 250ms, 45s, 2m, 4h or 1h30m",
        lambda value: _within(seconds(value), shortest, longest),
    )


def size(least: str, most: str) -> Kind[int]:
    """A number of bytes."""

    def count(value: object) -> int:
        if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            return int(match[1]) * _BYTES[match[2]]
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        return value

    smallest, largest = count(least), count(most)
    return Kind(
        f"a size from {least} to {most}, in bytes or with a unit such as 64K or 1M",
        lambda value: int(_within(count(value), smallest, largest)),
    )


_RATE = re.compile(r"(\d+(?:\.\d+)?)([KM]?)/s, *burst (\d+)([KM]?)", re.ASCII)


def rate(least: float = 0.01) -> Kind[Rate]:
    """A sustained rate per second, and a burst after a pause."""

    def parse(value: object) -> Rate:
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError
        per_second, burst = float(match[1]) * _BYTES[match[2]], float(match[3]) * _BYTES[match[4]]
        return Rate(_within(per_second, least, 1e9), _within(burst, 1, 1e9))

    return Kind("a rate such as 20/s, burst 100", parse)


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _WORDS:
        raise ValueError
    return _WORDS[value.lower()]


SWITCH: Kind[bool] = Kind("true or false", _switch)


def choice(*words: str, also: dict[str, str] | None = None) -> Kind[str]:
    """One of some words, in any case; `also` maps accepted other spellings."""

    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError
        word = (also or {}).get(value.lower(), value.lower())
        if word not in words:
            raise ValueError
        return word

    return Kind(f"one of {', '.join(words)}", parse)


def text(says: str, pattern: str = ".*", *, secret: bool = False) -> Kind[str]:
    """Printable text that a pattern matches as a whole.

    A number in YAML is not text: `password: 0123` would silently become 83.
    """

    def parse(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable() or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return Kind(f"{says} (text; in YAML, put what looks like a number in quotes)", parse, secret)


def url(*schemes: str, secret: bool = False, query: bool = True) -> Kind[str]:
    """An absolute URL of one of some schemes, or nothing; `query`: whether it may have a query or fragment."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable() or " " in value:
            raise ValueError
        if value:
            parts = urlsplit(value)
            _ = parts.port  # raises ValueError for one that is no number
            if parts.scheme not in schemes or not (parts.hostname or (parts.scheme == "unix" and parts.path)):
                raise ValueError
            if not query and (parts.query or parts.fragment):
                raise ValueError
        return value

    example = " or ".join(f"{scheme}://" for scheme in schemes)
    return Kind(f"an absolute URL that begins with {example}", parse, secret)


def texts(says: str, check: Callable[[str], object] = str, least: int = 0) -> Kind[tuple[str, ...]]:
    """A list in YAML, separated by commas elsewhere.

    check: raises ValueError for an item that is not allowed. least: the smallest number of items.
    """

    def parse(value: object) -> tuple[str, ...]:
        items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or len(items) < least:
            raise ValueError
        for item in items:
            if not isinstance(item, str) or not item or not item.isprintable():
                raise WrongItemError(f"{item!r} is not text")
            check(item)
        return tuple(items)

    return Kind(f"a list of {'one or more ' if least else ''}{says}", parse)


OPTIONAL_HOST = r"[^\s,;@]*"
"""The pattern of a host name, an address or a path, or of nothing."""

_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:\*|[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?)/?", re.ASCII
)


def origin(written: str) -> str:
    """Return a web origin, "null", "self", "titles" or "*". Raises ValueError."""
    if written not in ("*", "null", "self", "titles") and not _ORIGIN.fullmatch(written):
        raise without_scheme(written)
    return written


def without_scheme(written: str) -> WrongItemError:
    """Return the error for an item that is no URL or origin."""
    if re.fullmatch(r"[A-Za-z0-9._-]+(?::[0-9]+)?(?:/.*)?", written):
        return WrongItemError(f"{written!r} has no scheme: write https://{written}")
    return WrongItemError(f"{written!r} is not one of them")


_SENTINEL = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", re.ASCII)


def sentinel(written: str) -> tuple[str, int]:
    """Return host and port of HOST, HOST:PORT or [IPv6]:PORT. Raises ValueError."""
    match = _SENTINEL.fullmatch(written)
    if match is None:
        raise ValueError
    return match[1] or match[2], int(_within(int(match[3] or 26379), 1, 65535))


_PORT_OF_ENDPOINT = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl):([^:=]+)(?::.*)?|.*?:port=([^:]*)(?::.*)?")


def _endpoint(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError
    written = str(value)
    if re.fullmatch(r"\d+", written, re.ASCII):
        return str(int(_within(int(written), 0, 65535)))
    if not re.fullmatch(r"[a-z][a-z0-9]*:.+", written) or not written.isprintable():
        raise ValueError
    if (port := _PORT_OF_ENDPOINT.fullmatch(written)) is not None:
        number = port[1] or port[2]
        if not re.fullmatch(r"\d+", number, re.ASCII):
            raise ValueError
        _within(int(number), 0, 65535)
    return written


ENDPOINT: Kind[str] = Kind(
    "a port number from 0 to 65535 or a Twisted server endpoint such as tcp:4001:interface=127.0.0.1", _endpoint
)
