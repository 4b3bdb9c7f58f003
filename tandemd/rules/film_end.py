"""The end of a film: believed if players that show it agree on it, since one player knows only its own file or stream."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

AGREEMENT_SECONDS = 0.5
"""By how much two players may differ about the same end."""
SETTLED_SECONDS = 10.0
"""How long a player's `duration` must stay the same to be an end: that of a live stream grows."""
PAST_END_SECONDS = 2.0
"""How far the timeline runs past an end before it stops there. A player for which the film goes on has reported it by then."""


class EndReport(Struct, frozen=True, gc=False):
    """The part of a player's last report that concerns the end of the film; all in seconds.

    position: of the player. ended: whether the player has ended there.
    duration: of its film; 0.0 if not known. settled_for: since how long it has been the same.
    may_control: whether its member may pause the film anyway.
    """

    position: float
    ended: bool = False
    duration: float = 0.0
    settled_for: float = 0.0
    may_control: bool = False

    @property
    def end(self) -> float:
        """The end of the film as this player knows it, 0.0 if it does not."""
        if self.ended:
            return self.position
        return self.duration if self.settled_for >= SETTLED_SECONDS else 0.0


def film_end(reports: Sequence[EndReport], watching: int) -> float:
    """Return the end of the film in seconds, 0.0 without one.

    An end holds if a member that may control the film, or the only one that watches, has a player that ended there, or if two
    players agree. A player that is further, or has a longer film, refutes it.

    reports: those of the players here since the last control. watching: the members of the room that watch.
    """
    furthest = max((max(report.position, report.duration) for report in reports), default=0.0)
    for claim in reports:
        end = claim.end
        if not end or furthest > end + AGREEMENT_SECONDS:
            continue
        agreeing = [other for other in reports if other.end and abs(other.end - end) <= AGREEMENT_SECONDS]
        if len(agreeing) > 1 or any(other.ended and (other.may_control or watching <= 1) for other in agreeing):
            return max(other.end for other in agreeing)
    return 0.0
