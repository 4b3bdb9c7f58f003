"""The check that no member is reported as left within its grace period. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..chaos.checker import History, Place

LATE_SECONDS = 4.0
"""Seconds that a ROOM_STATE takes at most from the decision to its client, which may be deaf for a while."""


@dataclass
class Departures:
    """The members that were reported as left. ended: how many; problems: those within their grace periods, in words."""

    ended: int = 0
    problems: list[str] = field(default_factory=list)


def judge(histories: Sequence[History], grace: float, replaced: Mapping[str, float]) -> Departures:
    """Return the departures. replaced: user ids that gave their place to another one of their client, and since when."""
    found = Departures()
    left = _reports(histories)
    for history in histories:
        time, place = left.get((history.room, history.user), (0.0, (0, 0)))
        if not time or replaced.get(history.user, time + 1.0) <= time:
            continue
        if any(kind == "said" and data["type"] == "LEAVE" for _, kind, data in history.entries):
            continue
        found.ended += 1
        for joined, kind, message in history.entries:
            if kind != "heard" or message["type"] != "ROOM_STATE" or joined >= time:
                continue
            # It was in the room, over a connection, less than the grace period before.
            if (message["epoch"], message["seq"]) < place and time - joined < grace - LATE_SECONDS:
                found.problems.append(
                    f"{history.user}@{history.room} was reported as left {time - joined:.1f} s after it was in the room"
                )
    return found


def _reports(histories: Sequence[History]) -> dict[tuple[str, str], tuple[float, Place]]:
    """Return when and at which commit the first client learned of each departure, by room and user id."""
    left: dict[tuple[str, str], tuple[float, Place]] = {}
    for history in histories:
        epoch = 0
        for time, kind, message in history.entries:
            if kind == "heard" and message["type"] == "ROOM_STATE":
                epoch = message["epoch"]
            elif kind == "heard" and message["type"] == "USER_LEFT" and "seq" in message:
                key = history.room, message["userId"]
                found = time, (epoch, message["seq"])
                left[key] = min(left.get(key, found), found)
    return left
