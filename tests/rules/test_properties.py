"""Properties of rooms under random histories."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS, RequestError
from tandemd.rules import buffering
from tandemd.rules.commands import (
    Command,
    CorrectPlayback,
    Decision,
    Due,
    Enter,
    HoldPlayback,
    Lost,
    MeasuredDelay,
    NodeLost,
    Reattach,
    ReportEnd,
    StalePinError,
    StopAtEnd,
    StopUnwatched,
    Watching,
)
from tandemd.rules.engine import commit_of
from tandemd.rules.event_types import EventType
from tandemd.rules.lead import MAX_LEAD_SECONDS
from tandemd.rules.membership import MAX_DEPARTED_MEMBERS
from tandemd.rules.permissions import PERMISSIONS, Permission
from tandemd.rules.snapshot import dump, load
from tandemd.rules.state import GUEST, HOST, MAX_RECENT_COMMANDS, Commit, Pin, Room

from ..support.rules_fixture import OTHER_TITLE, START, TITLE, make_rules

# A failure prints a blob that reproduces it (`@reproduce_failure`), and stays in .hypothesis, so that the next run tries it first.
PROFILE = settings(
    max_examples=250,
    stateful_step_count=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

USERS = ("ann", "bob", "cid", "dee")
users = st.sampled_from(USERS)
positions = st.sampled_from([0.0, 10.0, 10.0005, 50.0, 10_000_000.0])
addresses = st.sampled_from(["1", "1", "1", "2", ""])
names = st.sampled_from(["Ann", "Ann", "Bob", None, "", "\x00"])
RIGHT = Pin("s", "right")
pins = st.sampled_from([RIGHT, RIGHT, RIGHT, RIGHT, None, Pin("s", "wrong"), Pin("t", "right")])
ids = st.sampled_from([None, None, 0, 1, 2, 3])
nonces = st.sampled_from(["", "n", "o"])

bodies = st.one_of(
    st.builds(m.PlayPause, id=ids, control=st.sampled_from(["play", "pause"]), current_time=st.none() | positions),
    st.builds(m.Seek, id=ids, current_time=positions, is_playing=st.booleans()),
    st.builds(m.SetRate, id=ids, rate=st.sampled_from([0.25, 1.0, 1.0, 1.5, 4.0])),
    st.builds(m.UrlChange, id=ids, url=st.sampled_from([TITLE, OTHER_TITLE, TITLE + "?trackId=1", "javascript:0"])),
    st.builds(m.UpdateUsername, id=ids, username=st.sampled_from(["New", "\x00", "x" * 100])),
    st.builds(m.Chat, id=ids, text=st.sampled_from(["hi", "x" * 2001])),
    st.builds(m.Call, id=ids, joined=st.booleans()),
    st.builds(m.ToggleGuestControl, id=ids, enabled=st.booleans()),
    st.builds(m.WaitForBuffering, id=ids, enabled=st.sampled_from([True, True, False])),
    st.builds(m.Status, id=ids, status=st.sampled_from(["watching", "buffering", "buffering", "away"])),
    st.builds(m.TransferHost, id=ids, target_user_id=users),
    st.builds(m.DelegateControl, id=ids, target_user_id=users, enabled=st.sampled_from([True, True, False])),
)
moderations = st.one_of(
    st.builds(m.DelegateControl, id=ids, target_user_id=users, enabled=st.booleans()),
    st.builds(m.LockRoom, id=ids, locked=st.booleans()),
    st.builds(m.Kick, id=ids, target_user_id=users, reason=st.sampled_from([None, "lost", "x" * 300])),
    st.builds(m.Ban, id=ids, target_user_id=users, by_address=st.booleans()),
    st.builds(m.Unban, id=ids, target_user_id=users),
    st.builds(m.Admit, id=ids, target_user_id=users, admitted=st.booleans()),
    st.builds(m.Unban, id=ids, target_user_id=users),
)

LIMIT = 3
NEW_CLIENTS = ("cid", "dee")
"""Users whose clients follow the room, know rates and can schedule a start."""


class RoomMachine(RuleBasedStateMachine):
    """Rooms with one id, one after another, under random commands and faults.

    roles: roles of auth tokens by user; "" without tokens.
    """

    roles: dict[str, str] = {}

    def __init__(self) -> None:
        super().__init__()
        self.room_rules = make_rules(members_per_room=LIMIT)
        self.now = START
        self.count = 0
        # Connections whose clients still believe that they speak for a member.
        self.conns: dict[str, list[str]] = {user: [] for user in USERS}
        self.gate_since = 0.0
        self.begin()

    def begin(self) -> None:
        self.room = Room(f"id{self.now}", "r", self.now, int(self.now * 1000))
        self.log: list[Commit] = []
        self.replayed = self.room.copy()
        self.last_messages = 0
        self.gate_since = 0.0

    # -- helpers

    def command(self, user: str, conn: str, body: Any, nonce: str = "") -> Decision | None:
        """Decide twice, apply, and check the properties of a command."""
        command = Command(user, conn, body, nonce)
        before = self.room.version, copy.deepcopy(self.room.fields()), self.room.due, self.room.prev
        outcomes: list[Any] = []
        for room in (self.room, self.room.copy()):
            try:
                outcomes.append(self.room_rules.decide(room, command, self.now))
            except RequestError as error:
                assert error.code in ERROR_MEANINGS
                outcomes.append((error.code, error.text))
            except StalePinError:
                outcomes.append("stale")
        assert outcomes[0] == outcomes[1], "the same decision twice is not the same"
        after = self.room.version, self.room.fields(), self.room.due, self.room.prev
        assert before == after, "deciding has changed the room"
        decision = outcomes[0]
        if not isinstance(decision, Decision):
            return None
        self.check_permission(command, decision)
        if decision.commits:
            commit = commit_of(self.room, user, decision, self.now, self.room_rules)
            self.commit(commit)
        return decision

    def check_permission(self, command: Command, decision: Decision) -> None:
        who = PERMISSIONS.get(type(command.body))
        if who is None or not decision.commits:
            return
        member = self.room.members.get(command.user)
        assert member is not None and member.conn == command.conn, "a connection without a member made a change"
        if who is Permission.HOST:
            assert command.user == self.room.host
        elif (
            who is Permission.CONTROLLER
            and command.user != self.room.host
            and not self.room.settings.guest_control
            and command.user not in self.room.moderation.delegates
        ):
            host = self.room.members.get(self.room.host)
            if host is None:
                assert member.role != GUEST
                return
            assert not host.conn and self.now - host.lost_at >= 10

    def commit(self, commit: Commit) -> None:
        assert commit.seq == self.room.seq + 1
        self.check_timeline(commit)
        count = len(commit.messages)
        for part, message in enumerate(commit.messages, 1):
            assert (message.seq, message.prev) == (commit.seq, self.last_messages)
            assert message.part == ((part, count) if count > 1 else None)
            m.encode(message)
        if commit.messages:
            self.last_messages = commit.seq
        gate = self.room.gate
        self.room.apply(commit)
        self.log.append(commit)
        assert self.room.due == (0.0 if commit.closes else self.room_rules.due(self.room)), (
            "the due time is not the true one"
        )
        if self.room.gate is not None and (gate is None or self.room.gate.since != gate.since):
            self.gate_since = self.now
        if self.room.closed:
            note("the room ends")
            assert not [x for x in self.room.members.values() if x.conn]
            self.replay()
            self.begin()

    def check_timeline(self, commit: Commit) -> None:
        """A start is never in the past, nor far ahead; a rate moves nothing; messages agree with the timeline."""
        before, after = self.room.playback, commit.changes.get("playback")
        if after is None or replace(after, ends=before.ends) == before:
            return
        assert self.now <= after.at <= self.now + MAX_LEAD_SECONDS
        if after.at > self.now:
            assert after.playing and after.position_at(self.now) == after.position
            assert all(member.schedules for member in self.room.members.values() if member.watching)
        if commit.event == EventType.RATE_CHANGED:
            assert abs(after.position_at(self.now) - before.position_at(self.now)) < 1e-6
            assert after.rate != before.rate and (after.playing == before.playing or before.held)
        for message in commit.messages:
            if isinstance(message, m.PlayPauseEvent):
                assert (message.current_time, message.control) == (after.position, "play" if after.playing else "pause")
                assert message.timestamp == int(after.at * 1000)
                assert message.at == (round(after.at * 1000, 3) if after.at > self.now else None)

    def replay(self) -> None:
        """The log alone leads to the same room, also through a dump in the middle."""
        for number, commit in enumerate(self.log):
            if number == len(self.log) // 2:
                r = self.replayed
                self.replayed = load(r.room_uuid, r.room_id, r.created_at, r.epoch, r.seq, dump(r))
            self.replayed.apply(commit)
        self.log.clear()
        assert (self.replayed.fields(), self.replayed.version) == (self.room.fields(), self.room.version)
        assert (self.replayed.due, self.replayed.prev, self.replayed.at) == (
            self.room.due,
            self.room.prev,
            self.room.at,
        )

    # -- commands and faults

    @initialize(pin=st.sampled_from([None, RIGHT]), guest_control=st.booleans(), watching=st.booleans())
    def party(self, pin: Pin | None, guest_control: bool, watching: bool) -> None:
        for user in USERS[:3]:
            self.join(user, 0, "Ann", "1", pin, "", False, True)
        if guest_control:
            self.control("ann", 0, m.ToggleGuestControl(enabled=True), "")
        if watching:
            for user in USERS[:3]:
                self.watch(user, True)

    @rule(
        user=users,
        reuse=st.integers(0, 1),
        name=names,
        address=addresses,
        pin=pins,
        token=st.sampled_from(["", "", "own", "T1"]),
        resume=st.booleans(),
        keeps=st.booleans(),
    )
    def join(
        self,
        user: str,
        reuse: int,
        name: str | None,
        address: str,
        pin: Pin | None,
        token: str,
        resume: bool,
        keeps: bool,
    ) -> None:
        if reuse and self.conns[user]:
            conn = self.conns[user][-1]
        else:
            self.count += 1
            conn = f"{'nm'[self.count % 2]}/boot/{self.count}"
        member = self.room.members.get(user)
        if token == "own":
            token = (member.next_token or member.token) if member is not None else ""
        new_token = f"T{self.count}-{len(self.log)}" if keeps else ""
        size, known = len(self.room.members), user in self.room.members
        before, host = self.room.moderation, self.room.host
        role = self.roles.get(user, "")
        new = user in NEW_CLIENTS
        enter = Enter(
            name, address, pin, token, new_token, resume, "inv", role=role, follows=new, schedules=new, calls=new
        )
        decision = self.command(user, conn, enter)
        if decision is None:
            return
        if not known:
            assert not before.locked or self.room.host == user != host, "a newcomer came into a locked room"
            for bar in before.bans:
                if not bar.until or self.now < bar.until:
                    assert bar.user_id != user, "a banned user joined"
                    assert not address or bar.address != address, "a banned address joined"
        self.conns[user].append(conn)
        joined = self.room.members[user]
        assert joined.conn == conn and not joined.lost_at
        assert known or len(self.room.members) <= max(LIMIT, size)
        if new_token and member is None:
            assert joined.token == new_token
        if member is not None and token and token in (member.token, member.next_token):
            assert token in (joined.token, joined.next_token), "a token that was just used is worthless"
        if member is not None and member.token:
            used = token and token == member.next_token
            assert used or member.token in (joined.token, joined.next_token), "a token died before the next was used"
        for secret in {joined.token, joined.next_token} - {""}:
            # The token is enough at any address, without PIN and name. The rules would raise otherwise.
            self.room_rules.decide(self.room, Command(user, "x/y/0", Enter(None, "", token=secret)), self.now)

    def conn_of(self, user: str, back: int) -> str:
        conns = self.conns[user]
        return conns[-1 - back] if len(conns) > back else "n/boot/0"

    @rule(user=users, back=st.sampled_from([0, 0, 0, 1]), body=bodies, nonce=nonces)
    def control(self, user: str, back: int, body: Any, nonce: str) -> None:
        conn = self.conn_of(user, back)
        decision = self.command(user, conn, body, nonce)
        if decision is not None and decision.commits and body.id is not None:
            seq = self.room.seq
            again = self.command(user, conn, body, nonce)
            assert again is not None and again.seq == seq and not again.commits

    @rule(user=users, back=st.sampled_from([0, 0, 1]))
    def leave(self, user: str, back: int) -> None:
        self.command(user, self.conn_of(user, back), m.Leave())

    @rule(user=users, back=st.sampled_from([0, 0, 1]))
    def lose(self, user: str, back: int) -> None:
        member = self.room.members.get(user)
        conn = self.conn_of(user, back)
        decision = self.command(user, conn, Lost())
        assert decision is not None and decision.commits == (member is not None and member.conn == conn)

    @rule(prefix=st.sampled_from(["n/boot/", "m/boot/", ""]))
    def lose_node(self, prefix: str) -> None:
        self.command("", "", NodeLost(prefix))
        assert not [x for x in self.room.members.values() if x.conn and x.conn.startswith(prefix)]

    @rule(user=users)
    def reattach(self, user: str) -> None:
        """A node that was taken for dead finds its member's connection alive."""
        member, conn = self.room.members.get(user), self.conn_of(user, 0)
        decision = self.command(user, conn, Reattach())
        assert decision is not None and decision.commits == (member is not None and not member.conn)
        if decision.commits:
            assert self.room.members[user].conn == conn

    @rule(user=users, watching=st.booleans(), delay=st.sampled_from([0, 25, 150, 500]))
    def watch(self, user: str, watching: bool, delay: int = 0) -> None:
        self.command("", "", Watching(watching, ((user, self.conn_of(user, 0)),), delays=(delay,)))

    @rule(user=users, kind=st.sampled_from(["ended", "duration", "further"]), end=st.sampled_from([50.0, 100.0]))
    def know_the_end(self, user: str, kind: Any, end: float) -> None:
        self.command(user, self.conn_of(user, 0), ReportEnd(kind, end))

    @rule(delay=st.sampled_from([25, 150, 500]))
    def new_clients_alone(self, delay: int) -> None:
        """Only members that can schedule watch, and one of them presses."""
        for user in USERS:
            self.watch(user, user in NEW_CLIENTS, delay)
        self.command("", "", Watching(True, tuple((user, self.conn_of(user, 0)) for user in NEW_CLIENTS)))
        if self.room.host:
            self.command(self.room.host, self.conn_of(self.room.host, 0), m.PlayPause(control="play"))
            for user in NEW_CLIENTS:
                self.command(user, self.conn_of(user, 0), MeasuredDelay(delay))

    @rule(status=st.sampled_from(["watching", "buffering", "buffering"]), ready=st.booleans())
    def wait_for_some(self, status: Any, ready: bool) -> None:
        """The room plays and waits for members that buffer. Without a control, that comes to an end."""
        host = self.room.host
        if not host:
            return
        self.command(host, self.conn_of(host, 0), m.WaitForBuffering(enabled=True))
        for user in USERS:
            self.watch(user, True)
        self.command(host, self.conn_of(host, 0), m.PlayPause(control="play"))
        for user in NEW_CLIENTS:
            self.command(user, self.conn_of(user, 0), m.Status(status=status))
        closed = 0
        for _ in range(100):
            if self.room.gate is None and not buffering.closes_at(self.room):
                break
            self.now = max(self.now, self.room.due)
            gate = self.room.gate
            self.do_due()
            if gate is None and self.room.gate is not None:
                closed += 1
                # The gate opens before the last of them if it does not wait for all.
                position = self.room.gate.position
                for user in [*self.room.members] if ready else []:
                    self.command(user, self.conn_of(user, 0), m.Ready(target_time=position))
        else:
            raise AssertionError("the room never plays on")
        assert closed <= buffering.MAX_WAITS * len(NEW_CLIENTS)

    @invariant()
    def a_paused_room_never_moves(self) -> None:
        playback = self.room.playback
        if not playback.playing:
            assert playback.position_at(self.now) == playback.position_at(self.now + 1000.0) == playback.position

    @rule(user=users, position=positions, playing=st.booleans())
    def follow(self, user: str, position: float, playing: bool) -> None:
        before = self.room.playback
        self.command(user, self.conn_of(user, 0), CorrectPlayback(position, playing))
        assert self.room.playback == before or user == self.room.host

    @rule(user=users, position=positions)
    def hold(self, user: str, position: float) -> None:
        before, host = self.room.playback, self.room.host
        decision = self.command(user, self.conn_of(user, 0), HoldPlayback(position))
        assert decision is not None and not decision.messages, "the host's client would pause"
        if self.room.playback != before:
            assert user == host and before.playing and self.room.playback.held

    @rule(position=positions)
    def host_stalls(self, position: float) -> None:
        """Also for hosts: the rule above chooses one in four times at best."""
        if self.room.host:
            self.hold(self.room.host, position)

    @rule()
    def stop_unwatched(self) -> None:
        before = self.room.playback.position_at(self.now)
        decision = self.command("", "", StopUnwatched())
        assert decision is not None and not decision.messages
        assert self.room.playback.position_at(self.now) == before, "the timeline stands where it was"

    @rule(position=positions)
    def stop_at_end(self, position: float) -> None:
        before = self.room.playback
        decision = self.command("", "", StopAtEnd(position))
        assert decision is not None
        if decision.commits:
            assert before.playing and before.position_at(self.now) >= position
            assert (self.room.playback.position_at(self.now), self.room.playback.playing) == (position, False)

    @rule(user=users, seconds=st.sampled_from([1.0, 8.0]), position=positions)
    def alone(self, user: str, seconds: float, position: float) -> None:
        """No member watches, and then one member does, whose player may have played on."""
        for other in USERS:
            self.watch(other, False)
        self.stop_unwatched()
        before, stood = self.room.playback, self.room.playback.position_at(self.now)
        self.pass_time(seconds, 0)
        if self.room.playback != before:
            return
        self.command("", "", Watching(True, ((user, self.conn_of(user, 0)),), position))
        after = self.room.playback.position_at(self.now)
        assert stood <= after <= stood + (self.now - before.at) * before.rate

    @rule(user=users, position=st.none() | positions)
    def ready(self, user: str, position: float | None) -> None:
        if position is None:
            position = self.room.gate.position if self.room.gate else 1.0
        self.command(user, self.conn_of(user, 0), m.Ready(target_time=position))

    @rule(body=bodies | st.builds(m.Seek, current_time=positions, is_playing=st.booleans()))
    def host_control(self, body: Any) -> None:
        """Commands of the host, because the rules reject most commands of others."""
        if self.room.host:
            self.command(self.room.host, self.conn_of(self.room.host, 0), body)

    @rule(body=moderations)
    def moderate(self, body: Any) -> None:
        """Decisions of the host, more often than in a real party."""
        room, host = self.room, self.room.host
        if not host:
            return
        before = set(room.members)
        decision = self.command(host, self.conn_of(host, 0), body)
        if decision is None or not decision.commits:
            return
        assert room.host == host
        gone = before - set(room.members)
        assert gone == ({body.target_user_id} & before if isinstance(body, m.Kick | m.Ban) else set())
        if isinstance(body, m.Kick | m.Ban):
            bar = next(bar for bar in room.moderation.bans if bar.user_id == body.target_user_id)
            assert bool(bar.until) == isinstance(body, m.Kick)
            assert not bar.address or bar.address != room.members[host].address

    @rule(seconds=st.sampled_from([0.0, 20.0, 46.0]), user=users)
    def all_lost_and_one_comes(self, seconds: float, user: str) -> None:
        self.lose_node("")
        self.pass_time(seconds, 0)
        self.join(user, 0, "Ann", "1", RIGHT, "own", False, False)

    @rule()
    def connected_leave(self) -> None:
        """All connected members leave; members in their grace period may come back."""
        connected = sorted((member for member in self.room.members.values() if member.conn), key=lambda x: x.order)
        for user in [member.user_id for member in connected]:
            self.leave(user, 0)

    @rule()
    def due_too_early(self) -> None:
        if not self.room.due or self.room.due > self.now:
            decision = self.command("", "", Due())
            assert decision is not None and not decision.commits

    @rule(
        seconds=st.sampled_from([0.01, 0.5, 1.99, 2.0, 5.0, 7.0, 10.0, 45.0, 700.0, 14400.0]),
        late=st.sampled_from([0, 0, 3]),
    )
    def pass_time(self, seconds: float, late: float) -> None:
        """Timers fire on time, or some seconds late."""
        until = self.now + seconds
        for _ in range(100):
            if not self.room.due or self.room.due > until:
                break
            self.now = max(self.now, self.room.due + late)
            seq = self.room.seq
            self.do_due()
            assert self.room.seq != seq
        else:
            raise AssertionError("the timer never comes to rest")
        self.now = max(self.now, until)

    @rule()
    def the_store_was_away(self) -> None:
        """Members in their grace period get the whole period again."""
        self.now += 50.0
        before = set(self.room.members)
        for _ in range(3):
            self.command("", "", Due(floor=self.now))
            assert set(self.room.members) == before
        self.do_due()

    def do_due(self) -> None:
        for _ in range(len(self.room.members) + 3):
            if not self.room.due or self.room.due > self.now:
                return
            decision = self.command("", "", Due())
            assert decision is not None and decision.commits, "something is due, and nothing is done about it"
        raise AssertionError("there is always something due")

    # -- invariants

    @invariant()
    def one_host_while_a_member_is_connected(self) -> None:
        room = self.room
        assert room.host == "" or room.host in room.members
        if any(member.conn and member.role != GUEST for member in room.members.values()):
            assert room.host in room.members

    @invariant()
    def the_gate_closes_by_its_deadline(self) -> None:
        gate = self.room.gate
        if gate is None:
            return
        assert self.now <= self.gate_since + 7.0 + 3.0
        assert self.room.due and self.room.due <= gate.since + 7.0
        assert not self.room.playback.playing, "the film runs while a seek waits"
        assert gate.pending, "it waits for no member"
        assert not set(gate.pending) & set(gate.ready)
        for user in (*gate.pending, *gate.ready):
            assert self.room.members[user].conn, "it waits for a member without connection"

    @invariant()
    def a_hold_waits_for_a_player(self) -> None:
        room = self.room
        if room.playback.held:
            assert not room.playback.playing and room.gate is None
            assert room.members[room.host].conn, "it waits for a host that is gone"

    @invariant()
    def an_unwatched_timeline_has_no_watchers(self) -> None:
        room = self.room
        if room.playback.unwatched:
            assert room.playback.playing and room.gate is None
            assert not any(member.watching for member in room.members.values())

    @invariant()
    def members_are_whole(self) -> None:
        room = self.room
        assert bool(room.empty_since) == (room.seq > 0 and not room.members)
        orders = [member.order for member in room.members.values()]
        assert len(orders) == len(set(orders))
        conns = [member.conn for member in room.members.values() if member.conn]
        assert len(conns) == len(set(conns))
        for user, member in room.members.items():
            assert member.user_id == user
            assert bool(member.conn) != bool(member.lost_at)
            assert member.conn or not member.watching
            assert len(member.recent_commands) <= MAX_RECENT_COMMANDS
            assert member.username is None or 0 < len(member.username) <= 50
        assert set(room.moderation.delegates) <= set(room.members)
        assert len(room.moderation.delegates) == len(set(room.moderation.delegates))
        assert len({bar.user_id for bar in room.moderation.bans}) == len(room.moderation.bans)
        assert room.members or not room.moderation.locked
        assert len(room.departed) <= MAX_DEPARTED_MEMBERS
        assert len({gone.user_id for gone in room.departed}) == len(room.departed)

    @invariant()
    def what_is_overdue_can_be_done(self) -> None:
        """A departure after the two seconds may complete a quorum, so that the gate is due in the past."""
        self.do_due()
        assert not self.room.due or self.room.due > self.now

    @invariant()
    def the_log_leads_here(self) -> None:
        if len(self.log) >= 12:
            self.replay()

    def teardown(self) -> None:
        self.replay()
        # Without commands, each room ends.
        self.pass_time(46.0, 0)
        self.command("", "", NodeLost(""))
        self.pass_time(60.0, 0)
        assert not self.room.members
        self.pass_time(4 * 3600.0, 0)
        assert self.room.seq == 0


class TokenMachine(RoomMachine):
    """The same, with an auth token for each member."""

    roles = {"ann": GUEST, "bob": HOST, "cid": GUEST, "dee": HOST}

    @invariant()
    def a_member_with_a_token_is_known_by_it(self) -> None:
        assert {user: member.role for user, member in self.room.members.items()}.items() <= self.roles.items()


class PropertyTests(SynchronousTestCase):
    def test_rooms(self) -> None:
        run_state_machine_as_test(RoomMachine, settings=PROFILE)

    def test_rooms_with_roles(self) -> None:
        run_state_machine_as_test(TokenMachine, settings=settings(PROFILE, max_examples=100))
