"""The fields of a room: their types, and the fields that a decision changes.

Rules decide on whole new values, also of large ones: all bans, the gate with all its answers. A commit carries only the fields
that differ, so that it is as long as its change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .gate import Gate
from .playback import Playback
from .state import ANSWER, BAN, DELEGATE, DEPARTED, MEMBER, Ban, Departed, Member, Moderation, Room, RoomSettings

FIELD_TYPES: dict[str, Any] = {
    "playback": Playback,
    "url": str,
    "host": str,
    "settings": RoomSettings,
    "gate": Gate | None,
    "locked": bool,
    "empty_since": float,
    MEMBER: Member | None,
    BAN: Ban | None,
    DELEGATE: bool | None,
    DEPARTED: Departed | None,
    ANSWER: bool | None,
    # Older versions stored bans, delegates and departed members in one field each:
    "moderation": Moderation,
    "departed": tuple[Departed, ...],
}
"""Types by field name, or by the first two characters of names such as "m:<user id>". None deletes such a field."""


def changed_fields(room: Room, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the room that a decision's changes alter, for a commit."""
    if (
        "playback" not in changes
        and "gate" not in changes
        and "departed" not in changes
        and "moderation" not in changes
    ):
        return changes
    fields: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "playback":
            fields["playback"] = value.with_url("") if value.url else value
            if value.url != room.playback.url:
                fields["url"] = value.url
        elif name == "moderation":
            before = room.moderation
            if value.locked != before.locked:
                fields["locked"] = value.locked
            _add_differences(
                fields, DELEGATE, dict.fromkeys(before.delegates, True), dict.fromkeys(value.delegates, True)
            )
            _add_differences(fields, BAN, _by_user(before.bans), _by_user(value.bans))
        elif name == "departed":
            _add_differences(fields, DEPARTED, _by_user(room.departed), _by_user(value))
        elif name == "gate":
            if value is not room.gate:
                _split_gate(fields, room.gate, value)
        else:
            fields[name] = value
    return fields


def _split_gate(fields: dict[str, Any], before: Gate | None, after: Gate | None) -> None:
    answers = _answers(before)
    if before is None or after is None or not _same_gate(before, after):
        fields["gate"] = after
        fields.update((ANSWER + user, None) for user in answers)
        answers = {}
    _add_differences(fields, ANSWER, answers, _answers(after))


def _same_gate(before: Gate, after: Gate) -> bool:
    """Say whether answers of members lead from one gate to the other."""
    return (
        (before.since, before.position, before.resume) == (after.since, after.position, after.resume)
        and {*before.ready, *before.gone} <= {*after.ready, *after.gone}
        and {*before.pending, *before.ready, *before.gone} == {*after.pending, *after.ready, *after.gone}
    )


def _answers(gate: Gate | None) -> dict[str, bool]:
    return {**dict.fromkeys(gate.ready, True), **dict.fromkeys(gate.gone, False)} if gate is not None else {}


def _by_user(values: Iterable[Any]) -> dict[str, Any]:
    return {value.user_id: value for value in values}


def _add_differences(fields: dict[str, Any], kind: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Add the fields of one kind that differ between `before` and `after`, by user id; None deletes one."""
    if before != after:
        fields.update((kind + user, None) for user in before if user not in after)
        fields.update((kind + user, value) for user, value in after.items() if before.get(user) != value)
