"""The parts of a node's process that a test replaces: wall clock, randomness, threads, database and files."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random, SystemRandom
from typing import IO

from msgspec import Struct, field
from twisted.python.threadpool import ThreadPool

from ..archive.dialect import Dialect
from ..archive.factory import dialect_of
from ..config import Config


class Environment(Struct, frozen=True):
    """The surroundings of a node, besides the reactor. The default is the real process.

    wall: the wall clock in seconds since 1970, which may be set at any time.
    random: the source of tokens, ids and jitter.
    thread_pool: makes a pool of threads from its smallest and largest size and its name.
    dialect: returns the database of a configuration.
    open: opens the files of the spool, see the built-in `open`.
    """

    wall: Callable[[], float] = time.time
    random: Random = field(default_factory=SystemRandom)
    thread_pool: Callable[[int, int, str], ThreadPool] = ThreadPool
    dialect: Callable[[Config], Dialect] = dialect_of
    open: Callable[..., IO[bytes]] = open
