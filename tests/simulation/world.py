"""Simulated time, and the machines on which everything runs.

All events are in one queue. Of events at the same time, those of one machine keep their order, and those of different
machines are in a random order that follows from the seed.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IHostnameResolver, IReactorPluggableNameResolver, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from .network import Network

EPOCH = 1_700_000_000.0
"""The wall clock at the beginning, in seconds since 1970."""


class StuckError(Exception):
    """Nothing is left to happen, or too much time or too many events have passed."""


class ProblemError(Exception):
    """An invariant is broken, or an unexpected error has happened."""


@implementer(IDelayedCall)
class Call:
    """An event in the queue."""

    __slots__ = ("_state", "args", "function", "keywords", "machine", "time")

    def __init__(self, machine: Machine, time: float, function: Callable[..., object], args: Any, keywords: Any):
        self.machine = machine
        self.time = time
        self.function: Callable[..., object] | None = function
        self.args = args
        self.keywords = keywords
        self._state = ""

    def getTime(self) -> float:
        return self.machine.time_at(self.time)

    def active(self) -> bool:
        return not self._state

    def _check(self) -> None:
        if self._state:
            raise AlreadyCancelled if self._state == "cancelled" else AlreadyCalled

    def cancel(self) -> None:
        self._check()
        self._state = "cancelled"
        self.function = None

    def reset(self, seconds: float) -> None:
        self._check()
        self.machine.world.push(self, self.machine.world.now + seconds / self.machine.rate)

    def delay(self, seconds: float) -> None:
        self._check()
        self.machine.world.push(self, self.time + seconds / self.machine.rate)


class World:
    """The queue of events, the randomness of the run, and its trace.

    now: seconds since the beginning.
    current: the machine whose event runs.
    trace: the lines of the trace, if it is kept; `digest` covers it in any case.
    problems: broken invariants and unexpected errors, in words.
    """

    network: Network

    def __init__(self, seed: object, *, keeps_trace: bool = False):
        self.seed = seed
        self.now = 0.0
        self.events = 0
        self.problems: list[str] = []
        self.coverage: dict[str, int] = {}
        self.trace: list[str] | None = [] if keeps_trace else None
        self.on_log: Callable[[dict[str, Any]], None] = lambda event: None
        self._digest = hashlib.sha256()
        self._queue: list[tuple[float, int, int, Call]] = []
        self._count = 0
        self._numbers = 0
        self.outside = Machine(self, "world")
        self.current = self.outside

    def random(self, purpose: str) -> Random:
        """Return a source of randomness that depends on the seed and its purpose only."""
        return Random(f"{self.seed} {purpose}")

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    # -- trace

    def note(self, kind: str, text: str) -> None:
        """Add a line to the trace."""
        line = f"{self.now:11.6f} {self.current.name:<9} {kind:<8} {text}"
        self._digest.update(line.encode("utf-8", "backslashreplace"))
        if self.trace is not None:
            self.trace.append(line)

    def digest(self) -> str:
        """Return a hash of the trace so far."""
        return self._digest.hexdigest()

    def cover(self, state: str) -> None:
        """Count an interesting state."""
        self.coverage[state] = self.coverage.get(state, 0) + 1

    def problem(self, text: str) -> None:
        """Report a broken invariant or an unexpected error."""
        self.note("PROBLEM", text)
        self.problems.append(text)

    # -- events

    def push(self, call: Call, time: float) -> None:
        """Put an event into the queue, or move it."""
        call.time = time
        self._count += 1
        # The place among machines with an event at this time: random, and always the same.
        heapq.heappush(self._queue, (time, hash((call.machine.salt, time)), self._count, call))

    def step(self, limit: float = math.inf) -> bool:
        """Let the next event happen. Return False if none is due until `limit`."""
        queue = self._queue
        while queue and queue[0][0] <= limit:
            time, _, _, call = heapq.heappop(queue)
            machine = call.machine
            if call.function is None or call.time != time or machine.dead:
                continue
            if machine.frozen:
                machine.backlog.append(call)
                continue
            if time > self.now:
                self.now = time
            self.events += 1
            self.current = machine
            function, call.function, call._state = call.function, None, "called"
            try:
                function(*call.args, **call.keywords)
            except Exception:
                failure = Failure()
                self.problem(f"{machine.name}: {failure.getTraceback()}")
            finally:
                self.current = self.outside
            return True
        return False

    def run(self, work: Coroutine[Any, Any, Any], limit: float, most_events: int = 5_000_000) -> Any:
        """Let time pass until the work is done, and return its result. limit: seconds of simulated time."""
        done: Deferred[Any] = ensureDeferred(work)
        results: list[Any] = []
        done.addBoth(results.append)
        end = self.now + limit
        while not results:
            if self.now > end:
                raise StuckError(f"not done after {limit} s")
            if self.events > most_events:
                raise StuckError(f"not done after {most_events} events")
            if not self.step():
                raise StuckError("nothing is left to happen")
            if self.problems:
                raise ProblemError(self.problems[0])
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.step(end):
            pass
        self.now = max(self.now, end)


@implementer(IHostnameResolver)
class _Addresses:
    """Resolves addresses to themselves."""

    def resolveHostName(
        self,
        receiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        receiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        pass


@implementer(IReactorTime, IReactorPluggableNameResolver)
class Machine:
    """A process on a machine, as its reactor: it has a clock and events of its own, and can be frozen and killed.

    rate: seconds on its clocks for each second of simulated time.
    wall_offset: seconds by which its wall clock was wrong in the beginning.
    out_of_files: whether the process has reached its limit of open files.
    salt: decides about the order of events of different machines at the same time.
    on_stop: called when the process ends itself, which is a problem by default.
    """

    running = True

    def __init__(self, world: World, name: str, rate: float = 1.0):
        self.world = world
        self.name = name
        self.rate = rate
        self.out_of_files = False
        self.nameResolver = _Addresses()
        self.dead = False
        self.frozen = False
        self.backlog: list[Call] = []
        self.wall_offset = 0.0
        self._uptime = world.random(f"uptime {name}").uniform(100.0, 1e6) if name != "world" else 0.0
        self.salt = world.random(f"order {name}").getrandbits(60)
        self.sides: dict[Any, None] = {}
        self.ports: dict[Any, None] = {}
        self.on_stop: Callable[[], None] = lambda: world.problem(f"{name}: the node stops by itself")

    # IReactorTime

    def seconds(self) -> float:
        return self.world.now * self.rate + self._uptime

    def time_at(self, time: float) -> float:
        """Return the machine's time at a simulated time."""
        return time * self.rate + self._uptime

    def callLater(  # type: ignore[override]  # Twisted's parameter is called `callable`
        self, delay: float, function: Callable[..., object], *args: Any, **keywords: Any
    ) -> Call:
        world = self.world
        time = world.now + delay / self.rate if delay > 0 else world.now
        call = Call(self, time, function, args, keywords)
        world.push(call, time)
        return call

    def getDelayedCalls(self) -> list[Call]:
        return []

    # IReactorFromThreads, IReactorCore

    def callFromThread(self, function: Callable[..., object], *args: Any, **keywords: Any) -> None:
        self.callLater(0, function, *args, **keywords)

    def callWhenRunning(self, function: Callable[..., object], *args: Any, **keywords: Any) -> None:
        function(*args, **keywords)

    def addSystemEventTrigger(self, phase: str, event: str, function: Any, *args: Any, **keywords: Any) -> object:
        return object()

    def removeSystemEventTrigger(self, trigger: object) -> None:
        pass

    def stop(self) -> None:
        self.on_stop()

    def installNameResolver(self, resolver: Any) -> Any:
        before, self.nameResolver = self.nameResolver, resolver
        return before

    # IReactorTCP, IReactorUNIX

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        return self.world.network.listen(self, port, factory)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        return self.world.network.connect(self, port, factory, timeout, bindAddress[0] if bindAddress else "10.9.9.9")

    def connectUNIX(self, path: str, factory: Any, timeout: float = 30, checkPID: int = 0) -> Any:
        return self.world.network.connect(self, path, factory, timeout, "")

    # the simulation

    def wall(self) -> float:
        """Return the time of the machine's wall clock, in seconds since 1970."""
        return EPOCH + self.world.now * self.rate + self.wall_offset

    def kill(self) -> None:
        """End the process at once. Its sockets are closed by the kernel, or stay silent until the peers notice."""
        self.dead = True
        self.backlog.clear()

    def freeze(self) -> None:
        """Stop the process, and keep its sockets."""
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        backlog, self.backlog = self.backlog, []
        for call in backlog:
            if call.function is not None:
                self.world.push(call, self.world.now)
