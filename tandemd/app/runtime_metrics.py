"""Services that measure the process: the delay of its reactor and the pauses of its garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping

from twisted.application import service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..metrics import Histogram


class ReactorLag(service.Service):
    """Measures how late the reactor calls a timer: the time that each client waits, too."""

    def __init__(self, clock: IReactorTime, lag: Histogram, interval: float = 0.5):
        self._clock = clock
        self._lag = lag
        self._interval = interval
        self._call: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._schedule()

    def stopService(self) -> None:
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _schedule(self) -> None:
        due = self._clock.seconds() + self._interval
        self._call = self._clock.callLater(self._interval, self._measure, due)

    def _measure(self, due: float) -> None:
        late = max(0.0, self._clock.seconds() - due)
        self._schedule()
        self._lag.observe(late)


class GcPause(service.Service):
    """Measures how long each garbage collection stops the process. A process needs one of these."""

    def __init__(self, clock: Callable[[], float], pause: Histogram):
        """clock: seconds, monotonic."""
        self._clock = clock
        self._pause = pause
        self._began = 0.0

    def startService(self) -> None:
        super().startService()
        gc.callbacks.append(self._collected)

    def stopService(self) -> None:
        super().stopService()
        gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = self._clock()
        else:
            self._pause.observe(self._clock() - self._began, str(info["generation"]))
