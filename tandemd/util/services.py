"""Services that start and stop in order, and work that goes on in the background."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


class StartupError(Exception):
    """The program cannot start because of its environment. The text is one line with the remedy."""


class OrderedMultiService(service.MultiService):
    """Starts its children one after another, awaits each, and stops them in the reverse order.

    If a child fails to start, it stops the others and the reactor, and ends the process with status 1.
    """

    def __init__(self, reactor: Any, exit: Callable[[int], object] = os._exit):
        """Make a service without children.

        reactor: IReactorCore and IReactorTime.
        exit: ends the process.
        """
        super().__init__()
        self._core: IReactorCore = reactor
        self._clock: IReactorTime = reactor
        self._exit = exit
        self._begun: list[service.IService] = []
        self._starting: Deferred[None] = succeed(None)
        self.started = False
        """Whether every child has started and none is stopping."""

    def privilegedStartService(self) -> None:
        """Do nothing, because a child must not listen before the children that it needs have started."""

    def startService(self) -> None:
        service.Service.startService(self)
        self._begun = []
        self._starting = ensureDeferred(self._start())
        self._starting.addErrback(self._failed)

    async def _start(self) -> None:
        for child in list(self):
            self._begun.append(child)
            await maybeDeferred(child.startService)
        self.started = True

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(StartupError):
            log.critical("cannot start: {reason}", event="start_failed", reason=str(failure.value))
        else:
            log.failure("cannot start", event="start_failed", failure=failure)
        # twistd has no other way to end with a status. All children have stopped by then.
        self._core.addSystemEventTrigger("after", "shutdown", self._exit, 1)
        # The reactor may not run yet, and cannot be stopped before it runs.
        self._clock.callLater(0, self._core.stop)

    def stopService(self) -> Deferred[None]:
        service.Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        self.started = False
        self._starting.cancel()
        while self._begun:
            child = self._begun.pop()
            try:
                await maybeDeferred(child.stopService)
            except Exception:
                log.failure(
                    "{service} did not stop cleanly", event="stop_failed", service=child.name or type(child).__name__
                )


class Periodic:
    """Calls a function every `interval` seconds. After a failure, which is logged, the calls continue.

    Use this instead of `LoopingCall`, which ends when its function fails once.
    """

    def __init__(self, clock: IReactorTime, interval: float, function: Callable[[], object], name: str):
        """function: returns nothing, or a Deferred or coroutine that the next call waits for. name: a constant, for the log."""
        self.name = name
        self.interval = interval
        self._function = function
        self._failure = ""
        self._loop = LoopingCall(self._call)
        self._loop.clock = clock

    @property
    def running(self) -> bool:
        return self._loop.running

    def start(self, *, now: bool = False) -> None:
        """Start. The first call is now or after `interval` seconds."""
        self._loop.start(self.interval, now)

    def stop(self) -> None:
        """Make no more calls. A running call continues. May be called repeatedly."""
        if self._loop.running:
            self._loop.stop()

    def _call(self) -> Deferred[None]:
        return maybeDeferred(self._function).addCallbacks(self._worked, self._failed)

    def _worked(self, result: object) -> None:
        self._failure = ""

    def _failed(self, failure: Failure) -> None:
        # A repeated failure is logged once.
        text = repr(failure.value)
        if text != self._failure and not failure.check(CancelledError):
            log.failure(
                "{task} failed; retrying in {seconds} s",
                failure,
                event="task_failed",
                task=self.name,
                seconds=self.interval,
            )
        self._failure = text


class PeriodicService(service.Service):
    """Calls a function at once, and then every `interval` seconds, while it runs. See `Periodic`."""

    def __init__(self, clock: IReactorTime, interval: float, function: Callable[[], object], name: str):
        self._periodic = Periodic(clock, interval, function, name)

    def startService(self) -> None:
        super().startService()
        self._periodic.start(now=True)

    def stopService(self) -> None:
        super().stopService()
        self._periodic.stop()


class Tasks:
    """Background coroutines: their failures are logged, and the program waits for them when it stops."""

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._running: dict[Deferred[None], str] = {}

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine.

        name: a constant for the log, such as "presence round".
        """
        d = ensureDeferred(self._guard(name, work))
        if d.called:
            return
        self._running[d] = name
        d.addBoth(lambda _: self._running.pop(d, None))

    async def _guard(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except CancelledError:
            pass
        except Exception:
            log.failure("{task} failed", event="task_failed", task=name)

    async def finish(self, limit: float) -> None:
        """Wait until all tasks have ended, and the tasks that they spawn. After `limit` seconds, cancel the rest."""
        end = self._clock.seconds() + limit
        while self._running:
            left = end - self._clock.seconds()
            if left <= 0:
                log.warn(
                    "cancelled after {limit} s: {tasks}",
                    event="tasks_cancelled",
                    limit=limit,
                    tasks=sorted(self._running.values()),
                )
                for d in list(self._running):
                    d.cancel()
                return
            await self._one_ends(left)

    def _one_ends(self, limit: float) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        timer = self._clock.callLater(limit, done.callback, None)

        def end(result: None) -> None:
            if not done.called:
                timer.cancel()
                done.callback(None)

        for d in self._running:
            d.addCallback(end)
        return done
