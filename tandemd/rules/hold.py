"""The hold: the room is paused while its host's player stalls, and goes on with that player or without it."""

from __future__ import annotations

from .. import messages as m
from .commands import CorrectPlayback, Decision, HoldPlayback
from .event_types import EventType
from .message_builders import number_parts, play_pause
from .state import Room

HELD = "held"
"""The key in the details of commits that begin or end a hold. They carry no message, because the host must not receive one: its
player would pause in earnest. Nodes tell the other members (`rooms.playback_sync`)."""


def hold(room: Room, body: HoldPlayback, now: float) -> Decision:
    """Pause the room where the host's player stalls."""
    playback = room.playback
    if not playback.playing:
        return Decision()
    changes = {"playback": playback.held_at(body.position, now)}
    return Decision(EventType.PLAY_PAUSE, changes, (), {"control": "pause", "position": body.position, HELD: True})


def go_on(room: Room, body: CorrectPlayback, now: float) -> Decision:
    """End the hold: the host's player moves again."""
    changes = {"playback": room.playback.corrected(body.position, True, now)}
    return Decision(EventType.PLAY_PAUSE, changes, (), {"control": "play", "position": body.position, HELD: False})


def release(room: Room, decision: Decision, now: float) -> Decision:
    """Add the end of a hold to a decision: the room waits for its host's player no more."""
    playback = room.playback
    if playback.held and "playback" not in decision.changes:
        decision.changes = {**decision.changes, "playback": playback.corrected(playback.position, True, now)}
        message = play_pause(room, m.SERVER, playback.position, True, now)
        decision.messages = number_parts(*decision.messages, message)
    return decision
