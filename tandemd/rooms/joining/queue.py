"""JOINs that are put off: they wait for something there is not enough of, and are done as soon as they can be."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..session import Session

STEP = 0.05
"""Seconds between two that are tried one after the other."""
RECHECK = 5.0
"""Seconds after which one is tried at the latest: what others have taken may have been given back."""

NEWEST_FIRST_BACKOFF, MOST_COURTESY = 0.1, 1.0
"""How much later one asks for each second that it has waited already, and seconds at the most. Other nodes have lines of their
own for the same thing: so the newest of all of them is the first to ask."""

Go = Callable[[], None]


class JoinQueue:
    """Who waits, by what for. For each place, one is tried when it is time to: of whoever came last, the newest."""

    _log = Logger()

    def __init__(self, clock: IReactorTime):
        self._clock = clock
        self._places: dict[str, _Line] = {}
        self._where: dict[Session, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._where)

    def enqueue(self, place: str, who: str, since: float, session: Session, seconds: float, go: Go) -> None:
        """Call `go` when the session's turn has come; a session waits for one thing at a time.

        place: the name of what it waits for. who: of whom one at a time is tried. since: when they came. seconds: after
        which there is something to be had there.
        """
        self.forget(session)
        found = self._places.get(place)
        if found is None:
            found = self._places[place] = _Line(self._clock, lambda: self._wake(place))
        found.add(who, since, session, go)
        found.expect(seconds)
        self._where[session] = place, who

    def forget(self, session: Session) -> None:
        """The session does not wait any more, if it did."""
        found = self._where.pop(session, None)
        if found is not None:
            place, who = found
            self._places[place].remove(who, session)
            self._tidy(place)

    def close(self) -> None:
        """Let nobody be tried any more."""
        for place in self._places.values():
            place.close()
        self._places.clear()
        self._where.clear()

    def _wake(self, place: str) -> None:
        found = self._places[place]
        session, go = found.pop()
        del self._where[session]
        found.step()
        try:
            go()
        except Exception:
            # Others wait behind it, for whom the timer runs already.
            self._log.failure("a JOIN that was put off failed")
        self._tidy(place)

    def _tidy(self, place: str) -> None:
        found = self._places.get(place)
        if found is not None and not found.waiting:
            found.close()
            del self._places[place]


class _Line:
    """waiting: since when somebody waits, and their sessions, by who they are."""

    def __init__(self, clock: IReactorTime, wake: Go):
        self.waiting: dict[str, tuple[float, dict[Session, Go]]] = {}
        self._line: list[tuple[float, int, str]] = []
        self._count = 0
        self._clock = clock
        self._wake = wake
        self._timer: IDelayedCall | None = None
        self._stepping = False

    def add(self, who: str, since: float, session: Session, go: Go) -> None:
        if who not in self.waiting:
            self._line_up(who, since, {})
        self.waiting[who][1][session] = go

    def remove(self, who: str, session: Session) -> None:
        sessions = self.waiting[who][1]
        del sessions[session]
        if not sessions:
            del self.waiting[who]

    def pop(self) -> tuple[Session, Go]:
        """Take out the newest session of whoever came last."""
        entry = heappop(self._line)
        while not self._holds(entry):
            entry = heappop(self._line)
        who = entry[2]
        sessions = self.waiting.pop(who)[1]
        found = sessions.popitem()
        if sessions:
            # Its others come after everybody else.
            self._line_up(who, 0.0, sessions)
        if len(self._line) > 2 * len(self.waiting) + 10:
            self._line = list({entry[2]: entry for entry in self._line if self._holds(entry)}.values())
            heapify(self._line)
        return found

    def _holds(self, entry: tuple[float, int, str]) -> bool:
        """Say whether a place in the line is somebody's; who went and came again may have two."""
        since, _, who = entry
        return who in self.waiting and self.waiting[who][0] == -since

    def _line_up(self, who: str, since: float, sessions: dict[Session, Go]) -> None:
        self.waiting[who] = since, sessions
        self._count += 1
        heappush(self._line, (-since, -self._count, who))

    def expect(self, seconds: float) -> None:
        """There will be something after so many seconds. Whoever was just tried in vain knows that best."""
        if self._timer is None or self._stepping:
            self._stepping = False
            self._schedule(min(max(seconds, STEP), RECHECK) + self._courtesy())

    def _courtesy(self) -> float:
        while self._line and not self._holds(self._line[0]):
            heappop(self._line)
        since = -self._line[0][0] if self._line else 0.0
        return min(max(0.0, NEWEST_FIRST_BACKOFF * (self._clock.seconds() - since)), MOST_COURTESY)

    def step(self) -> None:
        """Try the next one soon, unless this one learns that it would be in vain."""
        self._timer = None
        self._stepping = True
        self._schedule(STEP)

    def _schedule(self, seconds: float) -> None:
        self.close()
        self._timer = self._clock.callLater(seconds, self._wake)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
