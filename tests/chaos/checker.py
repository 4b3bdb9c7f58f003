"""The invariants of the histories that clients wrote down, and of the archive in the end. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Place = tuple[int, int]
"""(epoch, seq)"""

LOGGED = frozenset(
    ("USER_JOINED", "USER_LEFT", "LEAVE", "HOST_CHANGED", "GUEST_CONTROL", "USERNAME_UPDATED", "PLAY_PAUSE", "SEEK_PAUSE",
     "URL_CHANGE", "CHAT")
)  # fmt: skip
"""Messages that belong to a commit, if they have a seq."""


REMOVAL = 5.0
"""Seconds in which a relay that was delivered is out of its mailbox, also when Redis is silent for a moment."""


USUAL_LOG_LENGTH = 1000
"""With a log of this length, no client of a test is away for too many commits."""
EMPTY_LOG_LENGTH = 16
"""Commits that the log of a room without members keeps."""


@dataclass
class History:
    """The history of one client, in its order.

    entries: (time, kind, data): "open" node; "said" message; "heard" message; "lost" close code; "do" command id,
    "abandoned" command id: it was refused and is not tried again.
    stays: whether it is never out of the room for longer than a moment, under this user id.
    fresh: whether it has joined as a fresh page after its first time, which drops its mail.
    removal: see `REMOVAL`.
    present: whether it is in the room at the end. gone: whether it went away for good, so long ago that all must know.
    """

    user: str
    room: str
    old: bool = False
    stays: bool = True
    fresh: bool = False
    present: bool = False
    gone: bool = False
    removal: float = REMOVAL
    entries: list[tuple[float, str, Any]] = field(default_factory=list)

    def add(self, time: float, kind: str, data: Any) -> None:
        self.entries.append((time, kind, data))

    def heard(self) -> Iterable[Json]:
        return (data for _, kind, data in self.entries if kind == "heard")


@dataclass(frozen=True)
class Row:
    """A row of room_events. room: the room's code. user: the client's user id, "" for the server."""

    room: str
    epoch: int
    seq: int
    event: str
    user: str
    details: Json


@dataclass(frozen=True)
class RoomRow:
    """A row of rooms. place: its (epoch, seq)."""

    room: str
    place: Place
    guest_control: bool
    url: str


@dataclass
class Told:
    """The log as one client received it. at: where it is in the end. resets: times of a ROOM_STATE that replaced commits."""

    history: History
    commits: list[tuple[Place, int, Json]] = field(default_factory=list)
    states: list[tuple[int, int]] = field(default_factory=list)
    """For each ROOM_STATE, how many commits came before it, and its epoch."""
    at: Place = (0, 0)
    resets: list[float] = field(default_factory=list)


class Checker:
    """Runs all checks. problems: the broken invariants, in words.

    may_renew: whether epochs may change: Redis was restarted. may_lose: whether it lost its data, and the mail with it.
    log_length: commits that the log of a room keeps at least. A ROOM_STATE may replace the commits that a client has missed if
    they are as many.
    """

    def __init__(
        self,
        histories: Sequence[History],
        *,
        may_renew: bool = False,
        may_lose: bool = False,
        log_length: float = math.inf,
    ):
        self.histories = histories
        self.problems: list[str] = []
        self.gaps = 0
        """Commits replaced by a ROOM_STATE of a new epoch; see `may_renew`."""
        self._may_renew = may_renew
        self._may_lose = may_lose
        self._kept_commits = min(log_length, EMPTY_LOG_LENGTH) if log_length < USUAL_LOG_LENGTH else math.inf
        self._until: dict[tuple[str, Place], int] = {}
        """For messages before a ROOM_STATE of a new epoch: that epoch. They may be in this one, or in one between."""
        self.told = [self._follow(history) for history in histories]
        self._place()
        self._log: dict[str, dict[tuple[Place, int], Json]] = defaultdict(dict)
        self._same_content()

    def check(self, rows: Sequence[Row] | None = None, rooms: Sequence[RoomRow] = ()) -> list[str]:
        """Return the broken invariants. rows, rooms: the archive after everything got there; None without an archive."""
        self._in_step()
        self._hosts()
        self._no_member_left()
        self._no_ghosts()
        self._commands(rows)
        self._relays()
        if rows is not None:
            self._archive(rows, rooms)
        return self.problems

    def _wrong(self, history: History | None, text: str) -> None:
        self.problems.append(f"{history.user}@{history.room}: {text}" if history is not None else text)

    # -- order

    def _follow(self, history: History) -> Told:
        """Go through the messages of a client: in order, without hole, without double."""
        told = Told(history)
        part: tuple[int, int] = (1, 1)
        joined = False
        asked = 0  # JOINs as a fresh page that have not been answered
        for index, (time, kind, message) in enumerate(history.entries):
            fresh = asked > 0
            if kind == "open":
                asked = 0
            elif kind == "said" and message["type"] == "JOIN":
                asked = asked + 1 if "resume" not in message else 0
            elif kind == "heard" and message["type"] == "ROOM_STATE":
                self._state(told, time, message, first=not joined, fresh=fresh)
                told.states.append((len(told.commits), message["epoch"]))
                # It may come unasked, and the answer to JOIN later: with a new epoch, for commits that the log does not keep,
                # and before the ERROR of a stale command.
                renewed = joined and (message["epoch"] != told.at[0] or self._is_beyond_log(told.at, message))
                if fresh and not (renewed or _is_before_stale_error(history, index)):
                    asked -= 1
                told.at, part, joined = (message["epoch"], message["seq"]), (1, 1), True
            elif kind == "heard" and message["type"] in LOGGED and "seq" in message:
                if not joined:
                    self._wrong(history, f"was told {_short(message)} before ROOM_STATE")
                    continue
                part = self._message(told, part, message, fresh)
        return told

    def _state(self, told: Told, time: float, state: Json, *, first: bool, fresh: bool) -> None:
        place, before = (state["epoch"], state["seq"]), told.at
        if first:
            return
        if place < before:
            self._wrong(told.history, f"ROOM_STATE went back from {before} to {place}")
        if fresh:
            return  # it did not ask for the missed messages
        missed = state.get("prev", 0) > before[1]
        if place[0] != before[0]:
            if missed:
                self.gaps += 1
            if not self._may_renew:
                self._wrong(told.history, f"the epoch changed from {before} to {place}")
        elif missed:
            told.resets.append(time)
            if not self._is_beyond_log(before, state):
                resumed = state.get("resumed")
                self._wrong(told.history, f"hole: has seen {before}, ROOM_STATE is at {place}, {resumed=}")

    def _is_beyond_log(self, before: Place, state: Json) -> bool:
        """Whether a ROOM_STATE replaces missed commits that the log need not keep. before: what the client has seen."""
        missed = state.get("prev", 0) > before[1]
        return missed and state["seq"] - before[1] >= self._kept_commits and not state.get("resumed")

    def _message(self, told: Told, part: tuple[int, int], message: Json, fresh: bool) -> tuple[int, int]:
        """fresh: it has joined again, and the answer is still to come; it receives no message of its own change."""
        epoch, seen = told.at
        seq, now = message["seq"], tuple(message.get("part", (1, 1)))
        if seq == seen and now == (part[0] + 1, part[1]):
            pass
        elif seq <= seen:
            self._wrong(told.history, f"double or out of order: {_short(message)} after {seen}")
        else:
            if part[0] != part[1]:
                self._wrong(told.history, f"part of {seen} is missing")
            if message.get("prev", 0) > seen and not fresh:
                self._wrong(told.history, f"hole: {_short(message)} follows {message['prev']}, has seen {seen}")
            if now[0] != 1:
                self._wrong(told.history, f"begins in the middle: {_short(message)} {now}")
        told.commits.append(((epoch, seq), now[0], message))
        told.at = (epoch, max(seq, seen))
        return now[0], now[1]

    def _place(self) -> None:
        """A client that was away while the epoch changed receives the missed commits first, and then the epoch they are in."""
        epochs: dict[tuple[Any, ...], set[int]] = defaultdict(set)
        for told in self.told:
            for place, part, message in told.commits:
                epochs[_identity(told.history, part, message)].add(place[0])
        for told in self.told:
            room = told.history.room
            states = list(told.states)
            for index, (place, part, message) in enumerate(told.commits):
                while states and states[0][0] <= index:
                    states.pop(0)
                if states and states[0][1] > place[0]:
                    self._until[room, place] = states[0][1]
                known = epochs[_identity(told.history, part, message)]
                if len(known) > 1 and states:
                    epoch = max((epoch for epoch in known if epoch <= states[0][1]), default=place[0])
                    told.commits[index] = ((max(epoch, place[0]), place[1]), part, message)

    def _same_content(self) -> None:
        for told in self.told:
            log = self._log[told.history.room]
            for place, part, message in told.commits:
                content = _content(message)
                known = log.setdefault((place, part), content)
                if known != content:
                    self._wrong(told.history, f"{place} is {content}, for others {known}")

    def _in_step(self) -> None:
        ends: dict[str, Place] = {}
        for told in self.told:
            room = told.history.room
            ends[room] = max(ends.get(room, (0, 0)), max((place for place, _, _ in told.commits), default=(0, 0)))
        for told in self.told:
            if told.history.present and told.at < ends[told.history.room]:
                self._wrong(told.history, f"is at {told.at} in the end, others at {ends[told.history.room]}")

    # -- the room

    def _hosts(self) -> None:
        """The host changes only by a commit that says so."""
        for room in {history.room for history in self.histories}:
            points: dict[tuple[Place, int], tuple[str, str]] = {}
            for told in self.told:
                if told.history.room != room:
                    continue
                for message in told.history.heard():
                    if message["type"] == "ROOM_STATE":
                        key = ((message["epoch"], message["seq"]), 99)
                        host = ("state", message["hostUserId"] or "")
                        if points.setdefault(key, host) != host:
                            self._wrong(told.history, f"two hosts at {key[0]}: {host[1]} and {points[key][1]}")
                for place, part, message in told.commits:
                    if message["type"] == "HOST_CHANGED":
                        points[place, part] = ("changed", message["hostUserId"] or "")
            before = ""
            for key in sorted(points):
                how, user = points[key]
                if how == "state" and before and user != before:
                    self._wrong(None, f"{room}: the host is {user} at {key[0]}, and was {before}, without a change")
                before = user

    def _no_member_left(self) -> None:
        stay = {(history.room, history.user) for history in self.histories if history.stays}
        for history in self.histories:
            for message in history.heard():
                if message["type"] in ("USER_LEFT", "LEAVE") and (history.room, message["userId"]) in stay:
                    self._wrong(history, f"was told that {message['userId']} left")

    def _no_ghosts(self) -> None:
        gone = {(history.room, history.user) for history in self.histories if history.gone}
        for history in self.histories:
            shown: set[str] = set()
            for message in history.heard() if history.present else ():
                if message["type"] == "ROOM_STATE":
                    shown = {user["userId"] for user in message["users"]}
                elif message["type"] == "USER_JOINED":
                    shown.add(message["userId"])
                elif message["type"] == "USER_LEFT":
                    shown.discard(message["userId"])
            for user in sorted(shown):
                if (history.room, user) in gone:
                    self._wrong(history, f"still shows {user}, who is gone for long")

    # -- commands

    def _commands(self, rows: Sequence[Row] | None) -> None:
        heard: dict[str, Counter[tuple[Any, ...]]] = defaultdict(Counter)
        places: dict[tuple[Any, ...], set[Place]] = defaultdict(set)
        for room, log in self._log.items():
            for (place, _), message in log.items():
                effect = effect_of(message)
                heard[room][effect] += 1
                places[(room, *effect)].add(place)
        archived = {(row.room, row.seq, row.user) for row in rows or ()}
        for history in self.histories:
            for id_, command in commands(history).items():
                intended = wanted(history.user, command.body)
                if intended is None:
                    continue
                count = heard[history.room][intended]
                where = sorted(places[(history.room, *intended)])
                if command.acked is not None:
                    # All members may have been away: then the archive knows.
                    if count != 1 and not (count == 0 and (history.room, command.acked, history.user) in archived):
                        self._wrong(history, f"command {id_} {intended} was acknowledged and is in the log at {where}")
                    if count and command.acked not in {seq for _, seq in where}:
                        self._wrong(
                            history, f"command {id_} {intended} was acknowledged as {command.acked}, is at {where}"
                        )
                elif command.refused and count:
                    self._wrong(history, f"command {id_} {intended} was refused and took effect at {where}")
                elif count > 1:
                    self._wrong(history, f"command {id_} {intended} took effect at {where}")

    def _relays(self) -> None:
        got = {(history.room, history.user): _relayed(history) for history in self.histories}
        targets = {(history.room, history.user): history for history in self.histories}
        for history in self.histories:
            # The client repeats an OFFER without an ACK, and the server takes it for a new one.
            said = Counter(
                data.get("id") for _, kind, data in history.entries if kind == "said" and data["type"] == "OFFER"
            )
            for id_, command in commands(history).items():
                if command.body["type"] != "OFFER":
                    continue
                target = targets.get((history.room, command.body["to"]))
                if target is None or target.fresh or not target.present:
                    continue
                count = got[history.room, target.user][command.body["offer"]["sdp"]]
                lost = count == 0 and command.acked is not None and not self._may_lose
                lost = lost and not _cut_off(target, command.at)
                if count > max(said[id_], 1) or lost:
                    self._wrong(
                        history, f"the OFFER {command.body['offer']['sdp']} to {target.user} came {count} times"
                    )

    # -- the archive

    def _archive(self, rows: Sequence[Row], rooms: Sequence[RoomRow]) -> None:
        by_place: Counter[tuple[str, int, int]] = Counter((row.room, row.epoch, row.seq) for row in rows)
        for row_key, count in by_place.items():
            if count > 1:
                self._wrong(None, f"{row_key} is {count} times in room_events")
        for room, log in self._log.items():
            missing = {place for place, _ in log} - {(row.epoch, row.seq) for row in rows if row.room == room}
            for place in sorted(missing):
                if any(self._is_later(room, place, row) for row in rows):
                    continue
                self._wrong(None, f"{room}: {place} was told and is not in room_events: {_short(log_at(log, place))}")
        details: Counter[tuple[Any, ...]] = Counter(_row_effect(row) for row in rows)
        acked = {(row.room, row.seq, row.user) for row in rows}
        for history in self.histories:
            for id_, command in commands(history).items():
                effect = wanted(history.user, command.body)
                if command.acked is None or effect is None:
                    continue
                if (history.room, command.acked, history.user) not in acked:
                    self._wrong(history, f"command {id_}, acknowledged as {command.acked}, is not in room_events")
                unique = _unique(history, command.body)
                if unique is not None and details[unique] != 1:
                    self._wrong(history, f"command {id_} {unique} is {details[unique]} times in room_events")
        last: dict[str, Place] = {}
        for row in rows:
            last[row.room] = max(last.get(row.room, (0, 0)), (row.epoch, row.seq))
        for kept in rooms:
            if kept.place < last.get(kept.room, (0, 0)):
                self._wrong(None, f"{kept.room}: its row is at {kept.place}, its events at {last[kept.room]}")
        self._kept_state(rooms)

    def _is_later(self, room: str, place: Place, row: Row) -> bool:
        """Whether a row is of the commit that was told at a place whose epoch is not certain."""
        until = self._until.get((room, place), 0)
        if (row.room, row.seq) != (room, place[1]) or not place[0] < row.epoch <= until:
            return False
        return log_at(self._log[room], place).get("userId") in (row.user, "server", None)

    def _kept_state(self, rooms: Sequence[RoomRow]) -> None:
        """The last word on guest control is in the archive."""
        for kept in rooms:
            said = [(place, message["enabled"]) for (place, _), message in self._log[kept.room].items()
                    if message["type"] == "GUEST_CONTROL"]  # fmt: skip
            if said and max(said)[1] != kept.guest_control and max(said)[0] <= kept.place:
                self._wrong(
                    None,
                    f"{kept.room}: in the archive guest control is {kept.guest_control} at {kept.place}, told was {max(said)}",
                )


@dataclass
class Issued:
    """A command with an id. at: when it was first said. acked: the seq it was acknowledged with. refused: it got ERROR, and
    was not tried again."""

    at: float
    body: Json
    acked: int | None = None
    refused: bool = False


def commands(history: History) -> dict[int, Issued]:
    """Return a client's commands by id."""
    issued: dict[int, Issued] = {}
    refused: set[int] = set()
    for time, kind, data in history.entries:
        if kind == "do":
            issued[data["id"]] = Issued(time, data)
        elif kind == "abandoned":
            refused.add(data)
        elif kind == "heard" and data["type"] == "ACK" and data["id"] in issued:
            issued[data["id"]].acked = data.get("seq")
    for id_ in refused:
        issued[id_].refused = issued[id_].acked is None
    return issued


def _cut_off(target: History, at: float) -> bool:
    """Whether a client lost its connection just after a time: bytes written to it may have been lost with that."""
    return any(kind == "lost" and at <= time < at + 1.0 for time, kind, _ in target.entries)


def _relayed(target: History) -> Counter[str]:
    """Return how often each OFFER came.

    A client that lost its connection soon after one may get it again over the next: its node may have been lost too, before it
    could take it out of the mailbox.
    """
    count: Counter[str] = Counter()
    this: dict[str, float] = {}
    excused: set[str] = set()
    for time, kind, data in target.entries:
        if kind == "lost":
            excused |= {sdp for sdp, heard in this.items() if time < heard + target.removal}
            this = {}
        elif kind == "heard" and data["type"] == "OFFER":
            sdp = data["offer"]["sdp"]
            if sdp in excused:
                excused.remove(sdp)
            else:
                count[sdp] += 1
            this[sdp] = time
    return count


def effect_of(message: Json) -> tuple[Any, ...]:
    """Return the identity of the command that led to a logged message."""
    match message["type"]:
        case "CHAT":
            return "CHAT", message["userId"], message["text"]
        case "PLAY_PAUSE":
            return "PLAY_PAUSE", message["userId"], message["currentTime"]
        case "SEEK_PAUSE":
            return "SEEK", message.get("by", ""), message["currentTime"]
        case "USERNAME_UPDATED":
            return "UPDATE_USERNAME", message["userId"], message["username"]
        case "URL_CHANGE":
            return "URL_CHANGE", message["userId"], message["url"]
        case other:
            return (other,)


def wanted(user: str, body: Json) -> tuple[Any, ...] | None:
    """Return the effect that a command must have; None if it has none that could be told apart."""
    match body["type"]:
        case "CHAT":
            return "CHAT", user, body["text"]
        case "PLAY_PAUSE":
            return "PLAY_PAUSE", user, body["currentTime"]
        case "SEEK":
            return "SEEK", user, body["currentTime"]
        case "UPDATE_USERNAME":
            return "UPDATE_USERNAME", user, body["username"]
        case "URL_CHANGE":
            return "URL_CHANGE", user, body["url"]
        case _:
            return None


def _unique(history: History, body: Json) -> tuple[Any, ...] | None:
    room, user = history.room, history.user
    match body["type"]:
        case "PLAY_PAUSE" | "SEEK":
            return room, user, body["type"], body["currentTime"]
        case "UPDATE_USERNAME":
            return room, user, "USERNAME_UPDATED", body["username"]
        case "URL_CHANGE":
            return room, user, "URL_CHANGE", body["url"]
        case _:
            return None


def _row_effect(row: Row) -> tuple[Any, ...]:
    details = row.details
    return row.room, row.user, row.event, details.get("position", details.get("username", details.get("url")))


def _content(message: Json) -> Json:
    return {name: value for name, value in message.items() if name != "replayed"}


def _is_before_stale_error(history: History, index: int) -> bool:
    """Return whether the ROOM_STATE at `index` comes with the ERROR of a command that was about an earlier title."""
    for _, kind, message in history.entries[index + 1 :]:
        if kind in ("open", "lost") or (kind == "heard" and message["type"] == "ROOM_STATE"):
            return False
        if kind == "heard" and message["type"] == "ERROR":
            return bool(message["code"] == "stale")
    return False


def _identity(history: History, part: int, message: Json) -> tuple[Any, ...]:
    return history.room, part, *sorted((name, repr(value)) for name, value in _content(message).items())


def log_at(log: dict[tuple[Place, int], Json], place: Place) -> Json:
    """Return the first message of a commit."""
    return next(message for (at, _), message in log.items() if at == place)


def _short(message: Json) -> str:
    seq, replayed = message.get("seq"), message.get("replayed", False)
    return f"{message['type']} seq {seq}{' (replayed)' if replayed else ''}"
