"""What is asked of the Python interpreter, once, when the node has started."""

from __future__ import annotations

import gc
import sys

from twisted.application import service

SWITCH = 0.0005
"""Seconds after which a thread has to let others run. With Python's 5 ms, the archive's thread stops the reactor for that
long each time it gets its turn, which is at every write to a socket."""

THRESHOLDS = 5_000, 5, 1_600
"""Allocations, and collections of the younger generation, after which one is collected. Connections and members make no
cycles, so looking for some is mostly in vain. What stops everybody is one long look: a wave of joins makes hundreds of
thousands of objects that all live, so the first two generations are small, and a look at everything is rare."""


class RuntimeTuning(service.Service):
    """Sets the interpreter up for many objects that live long. The last one to start."""

    name = "interpreter"

    def startService(self) -> None:
        super().startService()
        sys.setswitchinterval(SWITCH)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def stopService(self) -> None:
        super().stopService()
        gc.unfreeze()
