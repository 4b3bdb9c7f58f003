"""The figures of togetherness: how far players are from their timeline and from each other. Measured once a second."""

from __future__ import annotations

from collections.abc import Iterator

from ..rules.sync_error import has_error, is_settling, read_at, sync_error
from .metrics import SETTLING, STEADY, RoomMetrics
from .replica import RoomReplica
from .session import Session

STEP_SESSIONS = 64
"""Sessions that one step measures."""

RECENT_SECONDS = 5.0
"""The age up to which a report says where a player is."""


class SyncFigures:
    """Measures the players of rooms."""

    def __init__(self, metrics: RoomMetrics):
        self._metrics = metrics

    def measure(self, live: RoomReplica, now: float) -> Iterator[None]:
        """Count the errors of the members here that have reported since the last call, and the spread of their room, in steps.

        A control between two steps ends it.
        """
        since, live.sync.measured_at = live.sync.measured_at, now
        playback = live.room.playback
        if live.room.gate is not None or not has_error(playback):
            return
        least, greatest, count = 0.0, 0.0, 0
        for number, session in enumerate(list(live.group), 1):
            if number % STEP_SESSIONS == 0:
                yield
                if live.room.playback is not playback:
                    return
            player = session.player
            if not player.watching or player.reported_at <= since or player.ended:
                continue
            at = read_at(player.claimed_at, player.reported_at, session.delay)
            error = sync_error(playback, player.position, at)
            if error is None:
                continue
            self._metrics.sync_error.observe(abs(error), SETTLING if is_settling(playback, at) else STEADY)
            least, greatest = (min(least, error), max(greatest, error)) if count else (error, error)
            count += 1
        if count > 1:
            self._metrics.room_spread.observe(greatest - least)


def member_errors(live: RoomReplica, now: float) -> dict[str, float]:
    """Return the errors of the members that are connected here, in seconds, by user id."""
    errors: dict[str, float] = {}
    if live.room.gate is None and has_error(live.room.playback):
        for session in live.group:
            error = _last_error(live, session, now)
            if error is not None:
                errors[session.user] = error
    return errors


def _last_error(live: RoomReplica, session: Session, now: float) -> float | None:
    player = session.player
    if not player.watching or player.ended or player.reported_at < now - RECENT_SECONDS:
        return None
    at = read_at(player.claimed_at, player.reported_at, session.delay)
    return sync_error(live.room.playback, player.position, at)
