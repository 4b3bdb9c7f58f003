"""The error of a player: by how much it is ahead of the timeline, or behind it."""

from __future__ import annotations

from .playback import Playback

MAX_ERROR_SECONDS = 10.0
"""The bound of an error in either direction."""
SETTLING_SECONDS = 2.0
"""How long after a control errors count as those of players that still get in step."""
MAX_SKEW_SECONDS = 10.0
"""By how much the time that a client gives for a position may differ from its arrival. Otherwise it counts as not given."""


def read_at(claimed_at: float | None, received_at: float, delay: int) -> float:
    """Return the server time at which a client read the position that it reports.

    claimed_at: that time as the client says, in ms; None if it does not. received_at: server time of the arrival.
    delay: of the connection, in ms, see `lead.one_way_delay`.
    """
    if claimed_at is not None and abs(claimed_at / 1000 - received_at) <= MAX_SKEW_SECONDS:
        return claimed_at / 1000
    return received_at - delay / 1000


def has_error(playback: Playback) -> bool:
    """Return whether players can differ from the timeline: it is known, and moves."""
    return playback.known and playback.playing and not playback.unwatched


def sync_error(playback: Playback, position: float, at: float) -> float | None:
    """Return the error of a player in seconds; None if its position was read before the last control took effect.

    playback: a timeline with `has_error`. position, at: the player's position, and the server time at which it was read.
    """
    if at < playback.control_at:
        return None
    # The room may have followed its host's player since then, so the timeline is extended backwards too.
    error = position - playback.position - (at - playback.at) * playback.rate
    return max(-MAX_ERROR_SECONDS, min(MAX_ERROR_SECONDS, error))


def is_settling(playback: Playback, at: float) -> bool:
    """Return whether a position was read shortly after a control."""
    return at - playback.control_at < SETTLING_SECONDS
