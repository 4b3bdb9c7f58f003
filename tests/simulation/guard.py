"""Keeps the real clock, the real network, real randomness and threads out of a simulation.

This module alone replaces names of the standard library and of other libraries, while a simulation runs:

- Every source of reality raises `RealityError`.
- Constants of tandemd have the values of the schedule, for example small batches.
- Libraries that take the time or the event loop from a global get those of the world: fakeredis, Twisted's logger and HTTP,
  Autobahn.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import fakeredis  # noqa: F401  # its modules must be loaded before their clock is replaced
import twisted.logger._logger
import twisted.web.http
import txaio
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from .world import EPOCH, World

SOURCES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")),
    (os, ("urandom", "getrandom")),
    (
        random,
        ("random", "uniform", "randrange", "randint", "choice", "choices", "sample", "shuffle", "getrandbits", "randbytes",
         "normalvariate", "gauss"),
    ),
    (secrets, ("token_bytes", "token_hex", "token_urlsafe", "randbelow", "choice", "randbits")),
    (uuid, ("uuid1", "uuid4")),
    (threading.Thread, ("start",)),
    (socket.socket, ("__init__",)),
)  # fmt: skip
"""The sources of reality."""


class RealityError(BaseException):
    """A part of the simulation has asked the real world. It is no Exception, so that no part handles it."""


class _Time:
    """Replaces the module `time` in fakeredis: the clock of the machine that has Redis."""

    def __init__(self, seconds: Callable[[], float]):
        self.time = self.monotonic = seconds


@implementer(IReactorTime)
class _Loop:
    """The event loop of the machine whose event runs, for Autobahn."""

    def __init__(self, world: World):
        self._world = world

    def seconds(self) -> float:
        return self._world.current.seconds()

    def callLater(  # type: ignore[override]  # Twisted's parameter is called `callable`
        self, delay: float, function: Callable[..., object], *args: Any, **keywords: Any
    ) -> Any:
        return self._world.current.callLater(delay, function, *args, **keywords)

    def getDelayedCalls(self) -> list[Any]:
        return []


def _forbidden(name: str) -> Callable[..., Any]:
    def ask(*args: Any, **keywords: Any) -> Any:
        raise RealityError(f"a simulation has called {name}")

    return ask


@contextmanager
def simulated(
    world: World, redis_time: Callable[[], float], constants: Sequence[tuple[str, str, float]] = ()
) -> Iterator[None]:
    """Run the code within without access to the real world. redis_time: the clock of Redis, in seconds since 1970.

    constants: modules, and the names and values of their constants in this run.
    """
    replaced: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, value: Any) -> None:
        replaced.append((owner, name, owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)))
        setattr(owner, name, value)

    @implementer(ILogObserver)
    def log(event: dict[str, Any]) -> None:
        world.on_log(event)

    clock = _Time(redis_time)
    for name, module in sorted(sys.modules.items()):
        if name.startswith("fakeredis") and getattr(module, "time", None) is time:
            replace(module, "time", clock)
    replace(twisted.logger._logger, "time", lambda: EPOCH + world.now)
    # For `Date` in answers.
    replace(
        twisted.web.http, "gmtime", lambda seconds=None: time.gmtime(EPOCH + world.now if seconds is None else seconds)
    )
    replace(cast(Any, txaio).config, "loop", _Loop(world))
    replace(
        random, "seed", lambda *args: None
    )  # Autobahn seeds the module's generator, and does not use it in a server
    replace(logging, "raiseExceptions", False)
    for owner, names in SOURCES:
        for name in names:
            if hasattr(owner, name):
                replace(owner, name, _forbidden(f"{getattr(owner, '__name__', owner)}.{name}"))
    for module_name, name, value in constants:
        replace(importlib.import_module(module_name), name, value)
    globalLogPublisher.addObserver(log)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(log)
        for owner, name, value in reversed(replaced):
            setattr(owner, name, value)
