"""Token buckets of one connection: one for each type of message, for bytes, for control frames, and for abuse.

A bucket is one number: the time at which it will be full again. A taken token moves this time on; the bucket is empty when
the time is too far away. A full bucket costs one comparison and no look at the clock: `now` is as old as the last
`refresh_clock`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .. import messages as m


class Rate(Struct, frozen=True):
    """Tokens a second for any length of time, and the most at once after a rest."""

    per_second: float
    burst: float


class MessageRates(Struct, frozen=True, kw_only=True):
    """The rates of one connection: the keys of the same names in the section `limits` of the configuration."""

    position_rate: Rate
    candidate_rate: Rate
    description_rate: Rate
    control_rate: Rate
    chat_rate: Rate
    ping_rate: Rate
    join_rate: Rate
    other_rate: Rate
    frame_rate: Rate
    byte_rate: Rate
    abuse_rate: Rate


_GROUPS: dict[type[m.ClientMessage], str] = {
    m.PositionUpdate: "position_rate",
    m.HostHeartbeat: "position_rate",
    m.IceCandidate: "candidate_rate",
    m.Offer: "description_rate",
    m.Answer: "description_rate",
    m.PlayPause: "control_rate",
    m.Seek: "control_rate",
    m.SetRate: "control_rate",
    m.Ready: "control_rate",
    m.UrlChange: "control_rate",
    m.RequestSync: "control_rate",
    m.PlaybackAck: "control_rate",
    m.SyncResponse: "control_rate",
    m.Chat: "chat_rate",
    m.Ping: "ping_rate",
    m.Join: "join_rate",
    m.Leave: "join_rate",
}
"""Which rate is that of a type; for all others it is `other_rate`. Each type has a bucket of its own."""

BUCKETS = {kind: at for at, kind in enumerate(m.CLIENT_MESSAGES)}
"""The bucket of each type. After these come the ones that are for no type:"""
FRAMES = len(BUCKETS)
BYTES = FRAMES + 1
ABUSE = FRAMES + 2

SMALL = 512
"""Bytes up to which a message takes nothing from the bucket of bytes: the number of messages is limited anyway."""


TOLERANCE = 0.01
"""The part of a token that may be missing in a bucket, because times are not exact."""


class MessageLimits:
    """Hold the rates of all connections of a node, and the time.

    abused: called with the address of a client that was disconnected for abuse.
    now: seconds since the node began, at most a second old.
    interval: seconds in which a token of each bucket refills.
    burst_window: seconds from now to the time at which a bucket is full, up to which one more token may be taken.
    full_before: `now` plus `burst_window`.
    """

    __slots__ = ("_began", "_clock", "abused", "full_before", "interval", "now", "burst_window")

    def __init__(self, clock: IReactorTime, rates: MessageRates, abused: Callable[[str], None] = lambda address: None):
        self._clock = clock
        # Numbers that are not too large stay exact.
        self._began = clock.seconds()
        self.abused = abused
        by_bucket: list[Rate] = [getattr(rates, _GROUPS.get(kind, "other_rate")) for kind in BUCKETS]
        by_bucket += [rates.frame_rate, rates.byte_rate, rates.abuse_rate]
        self.interval = [1 / rate.per_second for rate in by_bucket]
        self.burst_window = [(rate.burst - 1 + TOLERANCE) / rate.per_second for rate in by_bucket]
        self.refresh_clock()

    def refresh_clock(self) -> None:
        """Look at the clock. Call this about once a second."""
        now = self.now = self._clock.seconds() - self._began
        self.full_before = [now + slack for slack in self.burst_window]

    def later(self, seconds: float, function: Callable[..., object], *args: Any) -> IDelayedCall:
        """Call a function after some seconds."""
        return self._clock.callLater(seconds, function, *args)

    def new_buckets(self) -> list[float]:
        """Return a connection's buckets."""
        return [0.0] * len(self.interval)

    def take(self, due: list[float], at: int, count: int = 1) -> float:
        """Take tokens from a connection's bucket and return 0.0, or the seconds until the bucket has enough.

        due: the connection's buckets. at: the index of the bucket.
        """
        full_at, slack, cost = due[at], self.burst_window[at], self.interval[at] * count
        if full_at > self.now + slack:
            self.refresh_clock()
            if full_at > self.now + slack:
                return full_at - self.now - slack + TOLERANCE * self.interval[at]
        due[at] = max(full_at, self.now) + cost
        return 0.0
