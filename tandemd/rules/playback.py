"""The timeline of a room: the position of its title as a function of server time."""

from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

LEFTOVER_SECONDS = 15.0
"""How long after a new title reports may still come from the player of the old one."""


class KnownEnd(NamedTuple):
    """The knowledge of a member's player about the end of the title, for the nodes of other members.

    kind: "ended": it has ended there. "duration": the title is so long. "further": it is there, or its title is so long, which
    refutes an end before. end: in seconds of film. at: server time of the commit.
    """

    user: str
    kind: Literal["ended", "duration", "further"]
    end: float
    at: float


class Playback(Struct, frozen=True, gc=False):
    """The title of a room and its timeline.

    url: the title, or "" before the first one.
    position: seconds into the title at server time `at` (seconds since 1970), which may be up to `lead.MAX_LEAD_SECONDS` ahead.
    rate: seconds of film per second while playing.
    known: whether a control or the host's player has set the position since the title was chosen.
    control_at: server time at which the last control by a member (or the gate's opening) takes effect; 0.0 before the first one.
    titled_at: server time of the choice of the title; 0.0 before the first one.
    titled_seq, titled_by: seq of the commit that set the title, and the user id of the member that chose it.
    left_position, left_at: the position of the last title that a player showed, in seconds, when the members left it, and the
    server time of that. It is not always the previous title: members may choose several before the first one has loaded.
    held: whether the room is paused because the host's player stalls; it goes on with this player.
    unwatched: whether the timeline stands still, although it plays, because no member watches.
    waits: user id and server time of each ready gate that closed since the last control because this member buffered; see
    `buffering.MAX_WAITS`.
    ends: the knowledge of players on several nodes about the end of the title, since the last control; see `film_end`.
    """

    url: str = ""
    position: float = 0.0
    at: float = 0.0
    playing: bool = False
    rate: float = 1.0
    known: bool = False
    control_at: float = 0.0
    titled_at: float = 0.0
    titled_seq: int = 0
    titled_by: str = ""
    left_position: float = 0.0
    left_at: float = 0.0
    held: bool = False
    unwatched: bool = False
    waits: tuple[tuple[str, float], ...] = ()
    ends: tuple[KnownEnd, ...] = ()

    def with_url(self, url: str) -> "Playback":
        """Return the same timeline of another title, or of none."""
        return self if url == self.url else replace(self, url=url)

    @property
    def unusual_rate(self) -> float | None:
        """The rate as messages carry it: None for 1."""
        return None if self.rate == 1.0 else self.rate

    def position_at(self, now: float) -> float:
        """Return the position in seconds at server time `now`; it never runs backwards from `position`."""
        if self.playing and now > self.at and not self.unwatched:
            return self.position + (now - self.at) * self.rate
        return self.position

    def moment(self, now: float) -> float:
        """Return the server time of `position_at(now)` for messages: `now`, or the start of a timeline that begins later."""
        return self.at if self.at > now and self.playing else now

    def controlled(
        self, position: float, playing: bool, at: float, waits: tuple[tuple[str, float], ...] = ()
    ) -> "Playback":
        """Return the timeline after a control by a member that may control it, or after the ready gate closes or opens.

        at: server time at which it takes effect. waits: the new value; a control ends all of them.
        """
        # Not `replace`, which takes twice the time for so many fields.
        return Playback(
            self.url, position, at, playing, self.rate, True, at, self.titled_at, self.titled_seq, self.titled_by,
            self.left_position, self.left_at, False, False, waits,
        )  # fmt: skip

    def rated(self, rate: float, now: float) -> "Playback":
        """Return the timeline at another rate from now on, or from its start. The position is continuous."""
        at = self.moment(now)
        return replace(self, rate=rate, position=self.position_at(now), at=at, control_at=at, waits=())

    def corrected(self, position: float, playing: bool, now: float) -> "Playback":
        """Return the timeline as the host's player shows it, which is not a control."""
        return replace(self, position=position, at=now, playing=playing, known=True, held=False, unwatched=False)

    def held_at(self, position: float, now: float) -> "Playback":
        """Return the timeline paused at the position where the host's player stalls."""
        return replace(self, position=position, at=now, playing=False, held=True, unwatched=False)

    def stopped_unwatched(self, now: float) -> "Playback":
        """Return the timeline standing still at its present position, until a member watches."""
        return replace(self, position=self.position_at(now), at=now, unwatched=True)

    def watched_again(self, now: float, position: float | None = None) -> "Playback":
        """Return the timeline going on from where it stood unwatched.

        position: of a player that has played on; the timeline moves there, no further than it would have been.
        """
        furthest = self.position + max(0.0, now - self.at) * self.rate
        position = self.position if position is None else min(max(self.position, position), furthest)
        return replace(self, position=position, at=now, unwatched=False)

    def titled(self, url: str, now: float, *, seq: int = 0, by: str = "", known: bool = False) -> "Playback":
        """Return the timeline of a new title: at its beginning and paused.

        known: whether that is where the member that chose it is.
        """
        left_position, left_at = self.position_at(now), now
        if self.titled_at and not self.known and now - self.titled_at <= LEFTOVER_SECONDS:
            # The players may still show the title before this one.
            left_position, left_at = self.left_position, self.left_at
        return Playback(
            url, 0.0, now, False, 1.0, known, now, now,
            titled_seq=seq, titled_by=by, left_position=left_position, left_at=left_at,
        )  # fmt: skip


def drift(playback: Playback, position: float, now: float) -> float:
    """Return by how many seconds a player at `position` is ahead of the timeline (negative: behind)."""
    return position - playback.position_at(now)
