"""The ready gate: the pause after a seek, until the watching members are ready.

A gate is a barrier. It waits for the members that were watching when it closed. It opens when all of them are ready or gone;
when a quorum of the remaining members is ready and a short time has passed; and at its deadline in any case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from .. import messages as m
from .commands import Decision
from .event_types import EventType
from .gate import Gate
from .lead import lead
from .message_builders import play_pause
from .settings import MAX_MEMBERS_PER_COMMIT
from .state import MEMBER, Room

READY_TOLERANCE_SECONDS = 0.001
"""The largest difference between the position of a READY and the gate's."""

MAX_MISSED_GATES = 2
"""Gates that open in a row without a member's READY; later gates do not wait for it until it sends READY again."""

MAX_AWAITED_MEMBERS = 250
"""Members for which a gate waits at most: a quorum of them says as much as one of thousands, and the gate is one field."""

MAX_LATE_NAMES = 10
"""User ids of late members in the archive's record of a gate."""


def awaited_members(room: Room) -> tuple[str, ...]:
    """Return the user ids for which a gate that closes now would wait: in a large room, those with the longest presence."""
    watching = (
        user
        for user, member in room.members.items()
        if member.watching and member.conn and member.missed < MAX_MISSED_GATES
    )
    return tuple(islice(watching, MAX_AWAITED_MEMBERS))


def mark_ready(gate: Gate, user: str) -> Gate:
    """Return the gate after a pending member has become ready."""
    return gate.answered((user,), True)


def remove_members(gate: Gate, *users: str) -> Gate:
    """Return the gate after members have gone; the same object if it waits for none of them."""
    participants = {*gate.pending, *gate.ready}
    leavers = [user for user in users if user in participants]
    return gate.answered(leavers, False) if leavers else gate


def opens_at(gate: Gate, deadline: float, quorum: float, quorum_after: float) -> float:
    """Return the server time at which the gate opens without further answers; its `since` if it can open at once.

    deadline, quorum_after: seconds after the gate closed.
    quorum: share of the remaining members that must be ready, 0 to 1.
    """
    if not gate.pending:
        return gate.since
    remaining = len(gate.pending) + len(gate.ready)
    if len(gate.ready) >= math.ceil(quorum * remaining - 1e-9):
        return gate.since + min(quorum_after, deadline)
    return gate.since + deadline


def open_gate(room: Room, gate: Gate, now: float, leaving: Sequence[str] = ()) -> Decision:
    """Open a gate of the room; the film continues at the gate's position if it was playing.

    Pending members have missed the gate; at most `MAX_MEMBERS_PER_COMMIT` of them are counted.
    leaving: user ids of members that the same decision removes.
    """
    decision = Decision(EventType.GATE_OPENED, {"gate": None}, (), _details(gate), reschedule=True)
    for user in gate.pending[:MAX_MEMBERS_PER_COMMIT]:
        late = room.members.get(user)
        if late is not None and late.missed < MAX_MISSED_GATES:
            decision.changes[MEMBER + user] = msgspec.structs.replace(late, missed=late.missed + 1)
    if gate.resume:
        ahead = lead(room, leaving)
        decision.changes["playback"] = room.playback.controlled(gate.position, True, now + ahead, room.playback.waits)
        decision.messages = (play_pause(room, m.SERVER, gate.position, True, now + ahead, ahead > 0),)
    return decision


def without_members(room: Room, users: Sequence[str], decision: Decision, now: float) -> Decision:
    """Return a decision that removes members, extended by its effect on the room's gate.

    The gate opens if it waits for no other member. A decision that sets the gate itself stays as it is.
    """
    if room.gate is None or "gate" in decision.changes:
        return decision
    gate = remove_members(room.gate, *users)
    if gate is room.gate:
        return decision
    if gate.pending:
        decision.changes["gate"] = gate
        return decision
    opening = open_gate(room, gate, now, users)
    decision.changes.update(opening.changes)
    decision.messages += opening.messages
    return decision


def _details(gate: Gate) -> dict[str, Any]:
    late = list(gate.pending[:MAX_LATE_NAMES])
    return {"position": gate.position, "resume": gate.resume, "late": late, "lateCount": len(gate.pending)}
