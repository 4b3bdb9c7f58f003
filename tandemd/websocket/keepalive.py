"""Signs of life: WebSocket pings to every connection, and an end to those that do not answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

INTERVAL = (25.0, 35.0)
"""Seconds between two pings to one connection; drawn anew each time, so that connections made at once do not stay so."""
TIMEOUT = 20.0
"""Seconds within which a pong must come."""
PROBE = 5.0
"""The same for a probe."""


class Peer(Protocol):
    """A connection that can be pinged."""

    def send_ping(self) -> None: ...

    def ping_timed_out(self) -> None:
        """It has not answered: drop the connection at once."""


class Keepalive:
    """When one connection was pinged, and who wants to know whether it answers. quality: see interfaces.PlayerStatus."""

    __slots__ = ("_asked", "_clock", "_due", "_peer", "_sent", "_timer", "quality")

    def __init__(self, clock: IReactorTime, peer: Peer):
        self._clock = clock
        self._peer = peer
        self._sent = 0.0
        self._asked: list[Callable[[bool], None]] = []
        self._timer: IDelayedCall | None = None
        self.quality = "unknown"
        # The first one soon: it tells the round trip.
        self._due = clock.seconds() + random.uniform(1.0, 5.0)

    def check(self, now: float) -> None:
        """Ping if it is time; drop the connection if it has not answered. To be called about once a second."""
        if self._sent:
            if now - self._sent > TIMEOUT:
                self._peer.ping_timed_out()
        elif now >= self._due:
            self._ping(now)

    def hurry(self, now: float) -> None:
        """Have the next ping sent at the next check: something depends on whether the client lives."""
        self._due = min(self._due, now)

    def _ping(self, now: float) -> None:
        self._sent = now
        self._peer.send_ping()

    def answered(self) -> None:
        """A pong came."""
        now = self._clock.seconds()
        if self._sent:
            self.quality = _quality(now - self._sent)
        self._sent = 0.0
        self._due = now + random.uniform(*INTERVAL)
        self._resolve_probes(True)

    def stop(self) -> None:
        """The connection is gone: whoever asks for a sign of life has the answer."""
        self._resolve_probes(False)

    def probe(self, answered: Callable[[bool], None]) -> None:
        """Ping now, and say whether a pong came within `PROBE` seconds."""
        self._asked.append(answered)
        if self._timer is None:
            self._ping(self._clock.seconds())
            self._timer = self._clock.callLater(PROBE, self._resolve_probes, False)

    def _resolve_probes(self, alive: bool) -> None:
        # Left running, the timer would answer the next probe too early.
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        asked, self._asked = self._asked, []
        for answered in asked:
            answered(alive)


def _quality(round_trip: float) -> str:
    for limit, name in ((0.1, "excellent"), (0.25, "good"), (0.5, "fair")):
        if round_trip <= limit:
            return name
    return "poor"
