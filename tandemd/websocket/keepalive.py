"""WebSocket pings to every connection, and the end of connections that do not answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

INTERVAL_SECONDS = (25.0, 35.0)
"""Range of the time between two pings of a connection. It is random, so that connections made at once drift apart."""
TIMEOUT_SECONDS = 20.0
"""Time within which the pong must arrive."""
PROBE_SECONDS = 5.0
"""The same for a probe."""


class Peer(Protocol):
    """A connection that can be pinged."""

    def send_ping(self) -> None: ...

    def ping_timed_out(self) -> None:
        """Drop the connection at once, because it has not answered."""


class Keepalive:
    """The pings of one connection, and the pending probes.

    quality: see `interfaces.PlayerStatus`.
    round_trip: the last round trip in seconds; 0.0 before the first pong.
    """

    __slots__ = ("_pending_probes", "_clock", "_due", "_peer", "_sent", "_timer", "quality", "round_trip")

    def __init__(self, clock: IReactorTime, peer: Peer):
        self._clock = clock
        self._peer = peer
        self._sent = 0.0
        self._pending_probes: list[Callable[[bool], None]] = []
        self._timer: IDelayedCall | None = None
        self.quality = "unknown"
        self.round_trip = 0.0
        # The first ping is early, because it measures the round trip.
        self._due = clock.seconds() + random.uniform(1.0, 5.0)

    def check(self, now: float) -> None:
        """Ping if a ping is due, or drop the connection if a pong is overdue. To be called about once a second."""
        if self._sent:
            if now - self._sent > TIMEOUT_SECONDS:
                self._peer.ping_timed_out()
        elif now >= self._due:
            self._ping(now)

    def hurry(self, now: float) -> None:
        """Send the next ping at the next check, because another part waits for a sign of life."""
        self._due = min(self._due, now)

    def _ping(self, now: float) -> None:
        # A pong may belong to an earlier ping, and a later ping extends no time limit.
        self._sent = self._sent or now
        self._peer.send_ping()

    def answered(self) -> None:
        """Note a pong."""
        now = self._clock.seconds()
        if self._sent:
            self.round_trip = now - self._sent
            self.quality = _quality(self.round_trip)
        self._sent = 0.0
        self._due = now + random.uniform(*INTERVAL_SECONDS)
        self._resolve_probes(True)

    def stop(self) -> None:
        """Fail all pending probes, because the connection has ended."""
        self._resolve_probes(False)

    def probe(self, answered: Callable[[bool], None]) -> None:
        """Ping now, and call `answered` with whether a pong arrives within `PROBE_SECONDS`."""
        self._pending_probes.append(answered)
        if self._timer is None:
            self._ping(self._clock.seconds())
            self._timer = self._clock.callLater(PROBE_SECONDS, self._resolve_probes, False)

    def _resolve_probes(self, alive: bool) -> None:
        # A timer that is not cancelled would answer the next probe too early.
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        probes, self._pending_probes = self._pending_probes, []
        for answered in probes:
            answered(alive)


def _quality(round_trip: float) -> str:
    for limit, name in ((0.1, "excellent"), (0.25, "good"), (0.5, "fair")):
        if round_trip <= limit:
            return name
    return "poor"
