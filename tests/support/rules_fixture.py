"""A room, its rules and a clock, without I/O: commands in, messages out."""

from __future__ import annotations

from typing import Any

from tandemd import messages as m
from tandemd.errors import RequestError
from tandemd.rules.commands import Command, Decision, Due, Enter, Lost, Watching
from tandemd.rules.engine import Rules, commit_of
from tandemd.rules.state import Commit, Member, Room
from tandemd.rules.title_allowlist import TitleAllowlist
from tests.support.settings import rule_settings

START = 1_700_000_000.0
TITLE = "https://www.netflix.com/watch/1"
OTHER_TITLE = "https://www.netflix.com/watch/2"


def make_rules(**settings: Any) -> Rules:
    return Rules(rule_settings(**settings), TitleAllowlist(["https://www.netflix.com"]))


class World:
    """A room on a single node: each decision is committed and applied at once, and kept in `log`.

    conns: the connection of each user, or its last one.
    """

    def __init__(self, rules: Rules | None = None, code: str = "r"):
        self.rules = rules or make_rules()
        self.now = START
        self.code = code
        self.conns: dict[str, str] = {}
        self._conn_count = 0
        self.begin()

    def begin(self) -> None:
        """Continue with a new room under the same room id."""
        self.room = Room(f"id-{self.code}-{self.now}", self.code, self.now, int(self.now * 1000))
        self.log: list[Commit] = []

    # -- commands

    def decide(self, user: str, body: Any, *, conn: str | None = None, nonce: str = "") -> Decision:
        """Decide without a commit."""
        return self.rules.decide(
            self.room, Command(user, self.conns.get(user, "") if conn is None else conn, body, nonce), self.now
        )

    def do(self, user: str, body: Any, *, conn: str | None = None, nonce: str = "") -> Decision:
        """Decide, commit and apply."""
        decision = self.decide(user, body, conn=conn, nonce=nonce)
        if decision.commits:
            commit = commit_of(self.room, user, decision, self.now, self.rules)
            self.room.apply(commit)
            self.log.append(commit)
        return decision

    def refused(self, user: str, body: Any, *, conn: str | None = None, nonce: str = "") -> str:
        """Return the code of the RequestError; fail without one, or if the room changed."""
        before = self.room.version, self.room.fields()
        try:
            decision = self.do(user, body, conn=conn, nonce=nonce)
        except RequestError as error:
            assert before == (self.room.version, self.room.fields())
            return error.code
        raise AssertionError(f"not refused: {decision}")

    def new_conn(self, node: str = "n") -> str:
        self._conn_count += 1
        return f"{node}/boot/{self._conn_count}"

    def join(
        self, user: str, *, conn: str | None = None, again: bool = False, node: str = "n", **enter: Any
    ) -> Decision:
        """JOIN on a new connection, or `again` on the same one. enter: fields of `Enter`."""
        enter.setdefault("username", user.title())
        enter.setdefault("address", f"10.0.0.{sum(map(ord, user)) % 250}")
        if conn is None:
            conn = self.conns[user] if again else self.new_conn(node)
        decision = self.do(user, Enter(**enter), conn=conn)
        self.conns[user] = conn
        return decision

    def join_all(self, *users: str, watching: bool = False) -> None:
        for user in users:
            self.join(user)
            if watching:
                self.watch(user)

    def watch(self, user: str, watching: bool = True, *, conn: str | None = None) -> Decision:
        return self.do("", Watching(watching, ((user, conn or self.conns[user]),)))

    def lose(self, user: str) -> Decision:
        return self.do(user, Lost())

    def leave(self, user: str) -> Decision:
        return self.do(user, m.Leave())

    def play(self, user: str, position: float | None = None) -> Decision:
        return self.do(user, m.PlayPause(control="play", current_time=position))

    def pause(self, user: str, position: float | None = None) -> Decision:
        return self.do(user, m.PlayPause(control="pause", current_time=position))

    def seek(self, user: str, position: float, playing: bool = True) -> Decision:
        return self.do(user, m.Seek(current_time=position, is_playing=playing))

    def ready(self, user: str, position: float) -> Decision:
        return self.do(user, m.Ready(target_time=position))

    # -- time

    def advance(self, seconds: float) -> list[m.LoggedMessage]:
        """Let time pass, with due commands at their time; return the messages to all members."""
        until, told = self.now + seconds, len(self.log)
        while self.room.due and self.room.due <= until and not self.room.closed:
            self.now = max(self.now, self.room.due)
            self.due()
        self.now = until
        return [message for commit in self.log[told:] for message in commit.messages]

    def due(self) -> None:
        """Apply all commands that are due now."""
        for _ in range(len(self.room.members) + 5):
            if not self.room.due or self.room.due > self.now or self.room.closed:
                return
            before = self.room.seq
            self.do("", Due())
            assert self.room.seq > before, "something is due, and nothing is done about it"
        raise AssertionError("there is always something due")

    # -- state

    @property
    def host(self) -> str:
        return self.room.host

    @property
    def position(self) -> float:
        return self.room.playback.position_at(self.now)

    def member(self, user: str) -> Member:
        return self.room.members[user]


def told(decision: Decision) -> list[str]:
    """Return the types of a decision's messages."""
    return [str(message.__struct_config__.tag) for message in decision.messages]


def types(messages: list[m.ServerMessage] | list[m.LoggedMessage]) -> list[str]:
    return [str(message.__struct_config__.tag) for message in messages]
