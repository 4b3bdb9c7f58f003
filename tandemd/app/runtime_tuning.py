"""Settings of the Python interpreter, made once the node has started."""

from __future__ import annotations

import gc
import sys

from twisted.application import service

SWITCH_INTERVAL_SECONDS = 0.0005
"""Time after which a thread yields to others. With Python's 5 ms, the archive's thread stops the reactor for 5 ms at each write
to a socket."""

GC_THRESHOLDS = 5_000, 5, 1_600
"""Allocations, and collections of the younger generation, that start a collection. Connections and members form no cycles, so
most collections find nothing. A full collection stops the process for long after many JOINs, because they make hundreds of
thousands of living objects. So the first two generations are small, and full collections are rare."""


class RuntimeTuning(service.Service):
    """Tunes the interpreter for many objects with a long life. Starts last."""

    name = "interpreter"

    def startService(self) -> None:
        super().startService()
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    def stopService(self) -> None:
        super().stopService()
        gc.unfreeze()
