"""Deferred JOINs: they wait for a limit, and are retried as soon as it may allow them."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger()

RETRY_INTERVAL_SECONDS = 0.05
"""The time between two retries for the same resource."""
MAX_RETRY_SECONDS = 5.0
"""The longest time until a retry: other clients may have returned parts of the resource."""

Retry = Callable[[], None]


class JoinQueue:
    """Deferred JOINs, grouped by the resource they wait for.

    Each group retries one JOIN at a time: the newest JOIN of the client that arrived last.
    """

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        self._location: dict[object, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._location)

    def enqueue(
        self, resource: str, client_key: str, arrived_at: float, entry: object, seconds: float, retry: Retry
    ) -> None:
        """Call `retry` when it is the entry's turn. An entry waits for one resource at a time.

        resource: the name of the limit.
        client_key: the address or connection of the client; one entry of each is retried at a time.
        arrived_at: when the client arrived, in seconds of the clock.
        seconds: after which the limit may allow something.
        """
        self.forget(entry)
        line = self._lines.get(resource)
        if line is None:
            line = self._lines[resource] = _Line(self._clock, lambda: self._retry_next(resource))
        line.add(client_key, arrived_at, entry, retry)
        line.expect(seconds)
        self._location[entry] = resource, client_key

    def forget(self, entry: object) -> None:
        """Remove an entry, if it waits."""
        location = self._location.pop(entry, None)
        if location is not None:
            resource, client_key = location
            self._lines[resource].remove(client_key, entry)
            self._tidy(resource)

    def close(self) -> None:
        """Stop all retries."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        self._location.clear()

    def _retry_next(self, resource: str) -> None:
        line = self._lines[resource]
        entry, retry = line.pop()
        del self._location[entry]
        line.step()
        try:
            retry()
        except Exception:
            # The timer of the entries behind it runs already.
            log.failure("failed to retry a deferred JOIN", event="join_retry_failed")
        self._tidy(resource)

    def _tidy(self, resource: str) -> None:
        line = self._lines.get(resource)
        if line is not None and not line.waiting:
            line.close()
            del self._lines[resource]


class _Line:
    """The JOINs that wait for one resource.

    waiting: for each client the time of its arrival and its entries, oldest first.
    """

    def __init__(self, clock: IReactorTime, retry_next: Retry):
        self.waiting: dict[str, tuple[float, dict[object, Retry]]] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._count = 0
        self._clock = clock
        self._retry_next = retry_next
        self._timer: IDelayedCall | None = None
        self._is_retrying = False

    def add(self, client_key: str, arrived_at: float, entry: object, retry: Retry) -> None:
        if client_key not in self.waiting:
            self._line_up(client_key, arrived_at, {})
        self.waiting[client_key][1][entry] = retry

    def remove(self, client_key: str, entry: object) -> None:
        entries = self.waiting[client_key][1]
        del entries[entry]
        if not entries:
            del self.waiting[client_key]

    def pop(self) -> tuple[object, Retry]:
        """Remove and return the newest entry of the client that arrived last."""
        place = heappop(self._heap)
        while not self._is_valid(place):
            place = heappop(self._heap)
        client_key = place[2]
        entries = self.waiting.pop(client_key)[1]
        newest = entries.popitem()
        if entries:
            # The other entries of this client wait behind all other clients.
            self._line_up(client_key, 0.0, entries)
        if len(self._heap) > 2 * len(self.waiting) + 10:
            self._heap = list({place[2]: place for place in self._heap if self._is_valid(place)}.values())
            heapify(self._heap)
        return newest

    def _is_valid(self, place: tuple[float, int, str]) -> bool:
        """Return whether a place in the heap belongs to a client. A client that left and returned may have two."""
        negative_arrival, _, client_key = place
        return client_key in self.waiting and self.waiting[client_key][0] == -negative_arrival

    def _line_up(self, client_key: str, arrived_at: float, entries: dict[object, Retry]) -> None:
        self.waiting[client_key] = arrived_at, entries
        self._count += 1
        heappush(self._heap, (-arrived_at, -self._count, client_key))

    def expect(self, seconds: float) -> None:
        """Schedule the next retry. Only an entry that was just retried, or the first one, may set its time."""
        if self._timer is None or self._is_retrying:
            self._is_retrying = False
            self._schedule(min(max(seconds, RETRY_INTERVAL_SECONDS), MAX_RETRY_SECONDS))

    def step(self) -> None:
        """Schedule the next retry soon, unless the current one calls `expect` because the limit is still exhausted."""
        self._timer = None
        self._is_retrying = True
        self._schedule(RETRY_INTERVAL_SECONDS)

    def _schedule(self, seconds: float) -> None:
        self.close()
        self._timer = self._clock.callLater(seconds, self._retry_next)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
