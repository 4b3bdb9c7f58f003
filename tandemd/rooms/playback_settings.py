"""The settings of playback synchronisation."""

from __future__ import annotations

from msgspec import Struct


class PlaybackSyncSettings(Struct, frozen=True):
    """Durations in seconds.

    heartbeat: between two messages to guests. drift, play_state_after, control_quiet: see `FollowSettings`.
    watching_timeout: without positions for so long, a member does not watch any more.
    steer_after: how long a guest must play or pause otherwise than the room, or be elsewhere while it is paused, before it
    is corrected. steer_drift: the distance, in seconds, that counts as elsewhere.
    """

    heartbeat: float
    drift: float
    play_state_after: float
    control_quiet: float
    watching_timeout: float
    steer_after: float = 3.0
    steer_drift: float = 0.5
