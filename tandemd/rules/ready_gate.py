"""The ready gate: after a seek everybody pauses and goes on together.

It waits for those who were watching when it closed. It opens when all of them are ready or gone; when a quorum of
those still there is ready and a short time has passed; and at its deadline whatever happens.
"""

from __future__ import annotations

import math

from .state import Gate, Room

TOLERANCE = 0.001
"""Seconds by which the position of a READY may differ from the gate's."""


MISSES = 2
"""Gates in a row that a member may miss; the next ones do not wait for it until it sends READY again."""


def awaited(room: Room) -> tuple[str, ...]:
    """Return whom a gate that closes now would wait for."""
    return tuple(
        user for user, member in room.members.items() if member.watching and member.conn and member.missed < MISSES
    )


def mark_ready(gate: Gate, user: str) -> Gate:
    """Return the gate after an awaited member has become ready."""
    return gate.answered((user,), True)


def remove_member(gate: Gate, *users: str) -> Gate:
    """Return the gate after members have gone; the same object if it concerns none of them."""
    taking_part = {*gate.pending, *gate.ready}
    concerned = [user for user in users if user in taking_part]
    return gate.answered(concerned, False) if concerned else gate


def opens_at(gate: Gate, deadline: float, quorum: float, quorum_after: float) -> float:
    """Return the server time at which the gate opens if nothing more happens; its `since` if it may open at once.

    deadline, quorum_after: seconds after it closed. quorum: share of those waited for, 0 to 1.
    """
    if not gate.pending:
        return gate.since
    expected = len(gate.pending) + len(gate.ready)
    if len(gate.ready) >= math.ceil(quorum * expected - 1e-9):
        return gate.since + min(quorum_after, deadline)
    return gate.since + deadline
