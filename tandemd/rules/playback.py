"""Where the film is: a position that moves by itself while it plays."""

from msgspec import Struct


class Playback(Struct, frozen=True, gc=False):
    """The title of a room and its timeline.

    url: the title, or "" while none was chosen.
    position: seconds into the title at server time `at` (seconds since 1970).
    rate: seconds of film per second while playing.
    known: whether anybody has said where the film is since the title was chosen.
    control_at: server time of the last control by a person (or of the gate's opening); 0.0 if there was none.
    titled_at: server time at which the title was chosen; 0.0 while none was.
    """

    url: str = ""
    position: float = 0.0
    at: float = 0.0
    playing: bool = False
    rate: float = 1.0
    known: bool = False
    control_at: float = 0.0
    titled_at: float = 0.0

    def with_url(self, url: str) -> "Playback":
        """Return the same timeline of another title, or of none."""
        if url == self.url:
            return self
        return Playback(
            url, self.position, self.at, self.playing, self.rate, self.known, self.control_at, self.titled_at
        )

    def position_at(self, now: float) -> float:
        """Return the position in seconds at server time `now`; it never runs backwards from `position`."""
        if self.playing and now > self.at:
            return self.position + (now - self.at) * self.rate
        return self.position

    def controlled(self, position: float, playing: bool, now: float) -> "Playback":
        """Return the timeline as somebody who may control it has just set it."""
        return Playback(self.url, position, now, playing, self.rate, True, now, self.titled_at)

    def corrected(self, position: float, playing: bool, now: float) -> "Playback":
        """Return the timeline as the host's player shows it, which is not a control."""
        return Playback(self.url, position, now, playing, self.rate, True, self.control_at, self.titled_at)

    def titled(self, url: str, now: float) -> "Playback":
        """Return the timeline of a new title: at its beginning, paused, and known to nobody yet."""
        return Playback(url, 0.0, now, False, 1.0, False, now, now)


def drift(playback: Playback, position: float, now: float) -> float:
    """Return by how many seconds a player at `position` is ahead of the timeline (negative: behind)."""
    return position - playback.position_at(now)
