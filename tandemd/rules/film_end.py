"""The end of a film: believed if players that show it agree on it, since one player knows only its own file or stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from .playback import KnownEnd

AGREEMENT_SECONDS = 0.5
"""By how much two players may differ about the same end."""
SETTLED_SECONDS = 10.0
"""How long a player's `duration` must stay the same to be an end: that of a live stream grows."""
PAST_END_SECONDS = 2.0
"""How far the timeline runs past an end before it stops there. A player for which the film goes on has reported it by then."""
SHARED_BEFORE_SECONDS = 10.0
"""How long before the end the nodes of a room tell each other of a duration, so that they agree in time."""
REFUTED_WITHIN_SECONDS = 4.5
"""The time after which an end that a node has told the others counts. They look at their players every 3 s."""
MAX_KNOWN_ENDS = 8
_ENOUGH, _ENOUGH_OF_CONTROLLERS = 2, 4
"""The players with the same end that the nodes tell each other of. Two agree; that of a controller counts alone."""


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


def end_to_share(report: EndReport, known: Sequence[KnownEnd], user: str, position: float) -> KnownEnd | None:
    """Return the knowledge of a player here that the other nodes need; None if they know enough.

    known: the knowledge of all nodes. user: of the player. position: of the timeline. `at` of the result is not set.
    """
    said = [other for other in known if other.kind != "further"]
    if report.end and (report.ended or position >= report.end - SHARED_BEFORE_SECONDS):
        alike = [other for other in said if abs(other.end - report.end) <= AGREEMENT_SECONDS]
        kind: Literal["ended", "duration"] = "ended" if report.ended else "duration"
        enough = _ENOUGH_OF_CONTROLLERS if report.ended and report.may_control else _ENOUGH
        if len(alike) < enough and not any((other.user, other.kind) == (user, kind) for other in alike):
            return KnownEnd(user, kind, report.end, 0.0)
    reach = max(report.position, report.duration)
    refuted = any(reach > other.end + AGREEMENT_SECONDS for other in said)
    if refuted and not any(other.end >= reach - AGREEMENT_SECONDS for other in known):
        return KnownEnd(user, "further", reach, 0.0)
    return None


def reports_of_all_nodes(
    here: Mapping[str, EndReport], known: Iterable[KnownEnd], controllers: Callable[[str], bool], now: float
) -> list[EndReport]:
    """Return the reports of the players here and elsewhere, in a room whose members watch on several nodes.

    here: by user id. An end counts only if the other nodes have had time to refute it. controllers: says whether a member may
    control the film.
    """
    counted, elsewhere = set(), []
    for user, kind, end, at in known:
        if user not in here:
            elsewhere.append(
                EndReport(
                    position=0.0 if kind == "duration" else end,
                    ended=kind == "ended",
                    duration=end if kind == "duration" else 0.0,
                    settled_for=SETTLED_SECONDS,
                    may_control=controllers(user),
                )
            )
        elif (
            kind != "further" and now - at >= REFUTED_WITHIN_SECONDS and abs(here[user].end - end) <= AGREEMENT_SECONDS
        ):
            counted.add(user)
    near = [
        report if user in counted else replace(report, ended=False, settled_for=0.0) for user, report in here.items()
    ]
    return near + elsewhere
