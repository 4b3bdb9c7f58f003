"""The lead of a start: by how much the members learn of it before the film moves, so that all players start together."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from .state import Room

MAX_LEAD_SECONDS = 0.5
"""The longest lead, for any delays of members."""
MARGIN_SECONDS = 0.075
"""The time between the arrival of the message at the member with the longest delay and the start: browsers take 70 ms to start."""
DELAY_STEP_MS, MAX_DELAY_MS = 25, 500
"""The unit of a member's delay, and its upper bound."""
DELAY_PERCENTILE = 0.9
"""The share of the measured delays that a member's delay covers."""
CHANGED_FACTOR = 2.0
"""By which factor a measured delay must differ from the member's before the room learns it."""


def lead(room: Room, leaving: Collection[str] = ()) -> float:
    """Return the seconds between now and a start that is decided now; 0.0 unless all members that watch can schedule it.

    leaving: user ids of members that the same decision removes.
    """
    count = longest = 0
    for member in room.members.values():
        if member.watching and member.conn and member.user_id not in leaving:
            if not member.schedules:
                return 0.0
            count += 1
            longest = max(longest, member.delay)
    return min(MAX_LEAD_SECONDS, max(0, longest) / 1000 + MARGIN_SECONDS) if count > 1 else 0.0


def one_way_delay(round_trips: Sequence[float]) -> int:
    """Return the one-way delay of a connection in ms, 0 before the first round trip.

    round_trips: the last ones that its node has measured, in seconds.
    """
    if not round_trips:
        return 0
    slow = sorted(round_trips)[math.ceil(DELAY_PERCENTILE * len(round_trips)) - 1] * 1000 / 2
    return min(MAX_DELAY_MS, max(1, math.ceil(slow / DELAY_STEP_MS - 1e-6)) * DELAY_STEP_MS)


def has_changed(known: int, measured: int) -> bool:
    """Say whether a measured delay differs so much from the one that the room knows that the room should learn it."""
    return measured > 0 and (measured >= CHANGED_FACTOR * known or measured * CHANGED_FACTOR <= known)
