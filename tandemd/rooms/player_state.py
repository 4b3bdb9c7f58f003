"""The state that `PlaybackSync` keeps of players and rooms. Only it changes this state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rules.playback import Playback
from ..rules.playback_authority import HostEvidence

if TYPE_CHECKING:
    from .session import Session


PLAYED_ON_SECONDS = 1.0
"""By how much a player may differ from where it is if it has played on without reports."""


class PlayerState:
    """The player of a session. Times are server times in seconds, positions are in seconds.

    position, playing, reported_at: its last report; 0.0 if it has sent none.
    claimed_at: when the client read this position, in ms as it says; None if it does not.
    ended, duration, duration_since: whether it has ended, its duration (None: not known), and since when that is the same.
    watching: whether the room knows that the member watches.
    away_position, away_at: the last report before the member ceased to watch.
    in_step_with: the timeline with which the player of a trusted host was in step at its last report; None: see
    `SyncState.host_evidence`.
    out_of_sync_since: since when its play state or position differs from the room, 0.0 if it does not.
    corrections_sent, corrected_at: the corrections without effect, and the time of the last one.
    compared_position, compared_at: the last report out of step; 0.0 if it has sent none.
    delay_differs_since: since when the measured delay differs from the one that the room knows; 0.0 if it does not.
    """

    __slots__ = (
        "position", "playing", "reported_at", "claimed_at", "ended", "duration", "duration_since", "watching", "away_position",
        "away_at", "in_step_with", "out_of_sync_since", "corrections_sent", "corrected_at", "compared_position", "compared_at",
        "delay_differs_since",
    )  # fmt: skip

    def __init__(self) -> None:
        self.position = 0.0
        self.playing = False
        self.reported_at = 0.0
        self.claimed_at: float | None = None
        self.ended = False
        self.duration: float | None = None
        self.duration_since = 0.0
        self.watching = False
        self.away_position = 0.0
        self.away_at = 0.0
        self.in_step_with: Playback | None = None
        self.out_of_sync_since = 0.0
        self.corrections_sent = 0
        self.corrected_at = 0.0
        self.compared_position = 0.0
        self.compared_at = 0.0
        self.delay_differs_since = 0.0

    def joined(self, watching: bool, now: float) -> None:
        """Note that the session speaks for a member now. watching: whether the room knows that it watches.

        A page that was loaded again on the same connection has a new player.
        """
        self.watching = watching
        self.reported_at = now
        self.ended, self.duration = False, None
        self.in_step()

    def end_reported(self, ended: bool, duration: float | None, now: float) -> None:
        """Store the fields of a report that concern the end of the film."""
        self.ended = ended
        if duration != self.duration:
            self.duration, self.duration_since = duration, now

    def went_away(self) -> None:
        """Note that the member does not watch any more: no report has come for a while."""
        self.watching = False
        self.away_position, self.away_at = self.position, self.reported_at

    def position_if_played_on(self, playback: Playback) -> float:
        """Return the position, if the player has played on while no report came, else 0.0."""
        expected = self.away_position + (self.reported_at - self.away_at) * playback.rate
        unbroken = self.playing and self.away_at > playback.control_at
        return self.position if unbroken and abs(self.position - expected) <= PLAYED_ON_SECONDS else 0.0

    def in_step(self) -> None:
        """Note that nothing is left to correct."""
        self.out_of_sync_since = 0.0
        self.corrections_sent = 0


class SyncState:
    """The synchronisation of a room on this node. Times are server times in seconds.

    next_heartbeat_at: when the next heartbeat is due.
    host, host_evidence: the session of the host whose player is weighed, and the evidence of its reports.
    titled_at: when the present title was sent to the members here.
    watched_at: when a member was last known to watch.
    new_watchers: sessions whose reports have begun, which the room does not know yet.
    measured_at: when the delays and errors of members were looked at last.
    """

    __slots__ = (
        "host", "host_evidence", "new_watchers", "measured_at", "next_heartbeat_at", "titled_at", "watched_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.next_heartbeat_at = 0.0
        self.measured_at = 0.0
        self.host: Session | None = None
        self.host_evidence = HostEvidence()
        self.titled_at = 0.0
        self.watched_at = 0.0
        self.new_watchers: list[Session] = []

    def weigh(self, host: Session | None, evidence: HostEvidence) -> None:
        """Weigh the reports of another host, or weigh them from the beginning."""
        if self.host is not None:
            self.host.player.in_step_with = None
        self.host, self.host_evidence = host, evidence

    @property
    def leader(self) -> Session | None:
        """The session of the host whose player the room follows, if it is here."""
        return self.host if self.host_evidence.trusted else None
