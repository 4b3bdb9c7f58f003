"""Hashes PINs off the reactor's thread."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.application import service
from twisted.internet import threads
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from ..rules.state import Pin
from ..util import secrets


class PinHasher(service.Service):
    """Hashes PINs in threads, two at a time: each takes 16 MiB and some 50 ms."""

    name = "hasher"

    def __init__(self, reactor: Any, thread_pool: Callable[[int, int, str], ThreadPool] = ThreadPool):
        """thread_pool: makes the threads, from their smallest and largest number and their name."""
        self._reactor = reactor
        self._pool = thread_pool(0, 2, "pins")

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()
        self._pool.stop()

    def hash_pin(self, pin: str, salt: str) -> Deferred[Pin]:
        """See `util.secrets.hash_pin`."""
        return threads.deferToThreadPool(self._reactor, self._pool, _hash_with_low_priority, pin, salt)


def _hash_with_low_priority(pin: str, salt: str) -> Pin:
    """Hash at low priority (nice 5), so that a flood of PIN guesses cannot starve the reactor thread."""
    if sys.platform == "linux":  # where the priority is that of the thread
        # A system call filter may forbid the call. The thread then hashes at normal priority.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 5)
    return Pin(salt, secrets.hash_pin(pin, salt))
