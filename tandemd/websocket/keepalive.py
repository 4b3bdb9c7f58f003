"""WebSocket pings to every connection, and the end of connections that do not answer."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

INTERVAL_SECONDS = (25.0, 35.0)
"""Range of the time between two pings of a connection. It is random, so that connections made at once drift apart."""
TIMEOUT_SECONDS = 20.0
"""Time within which the pong must arrive."""
PROBE_SECONDS = 5.0
"""The same for a probe."""
FIRST_PING_SECONDS = 1.0
"""The shortest time between the handshake and the first ping. Simple clients expect their answer first."""
FIRST_PINGS = 3
"""Pings of a new connection that follow at once on the pong of the one before, because they measure the round trip."""
KEPT_ROUND_TRIPS = 10
"""Measured round trips that a connection keeps."""


class Peer(Protocol):
    """A connection that can be pinged."""

    def send_ping(self, payload: bytes) -> None: ...

    def ping_timed_out(self) -> None:
        """Drop the connection at once, because it has not answered."""


class Keepalive:
    """The pings of one connection, and the pending probes.

    Any pong is a sign of life. Only the pong of a ping with a random payload measures the round trip, so that no client can claim
    a shorter one.

    random: of the payloads and of the times, so that the pings of connections made at once drift apart.
    quality: see `interfaces.PlayerStatus`.
    round_trips: the last round trips in seconds, oldest first; empty before the first pong.
    """

    __slots__ = (
        "_clock", "_due", "_first_pings", "_payload", "_peer", "_pending_probes", "_random", "_sent", "_timer", "quality",
        "round_trips",
    )  # fmt: skip

    def __init__(self, clock: IReactorTime, peer: Peer, random: Random):
        self._clock = clock
        self._random = random
        self._peer = peer
        self._sent = 0.0
        self._payload = b""
        self._first_pings = FIRST_PINGS
        self._pending_probes: list[Callable[[bool], None]] = []
        self._timer: IDelayedCall | None = None
        self.quality = "unknown"
        self.round_trips: tuple[float, ...] = ()
        self._due = clock.seconds() + FIRST_PING_SECONDS

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
        if not self._sent:
            self._sent = now
            self._payload = self._random.getrandbits(32).to_bytes(4)
        self._peer.send_ping(self._payload)

    def answered(self, payload: bytes) -> None:
        """Note a pong."""
        now = self._clock.seconds()
        measures = bool(self._sent) and payload == self._payload
        if measures:
            self.round_trips = (*self.round_trips, now - self._sent)[-KEPT_ROUND_TRIPS:]
            self.quality = _quality(self.round_trips[-1])
            self._first_pings -= 1
        if self._sent:
            self._sent = 0.0
            self._due = now + self._random.uniform(*INTERVAL_SECONDS)
        self._resolve_probes(True)
        if measures and self._first_pings > 0:
            self._ping(now)

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
