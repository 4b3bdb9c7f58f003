"""The cost of an event: operations are counted, and no time is measured.

An operation is a line of Python that is executed. An event may cost as much as the members that it concerns, and nothing for
JOINs that wait, for other rooms, or for members it does not concern; anything longer is done in slices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.config.schema import Limits
from tandemd.errors import RequestError
from tandemd.ratelimit.spending import RESERVED
from tandemd.rooms.joining.pending_joins import RETRIES_PER_ITERATION
from tandemd.rooms.queued_command import QueuedCommand
from tandemd.rooms.session import Session
from tandemd.rules.commands import Close, Command, Enter, Lost, NodeLost
from tandemd.rules.engine import Rules, commit_of
from tandemd.rules.state import Commit, Room
from tests.support.settings import rule_settings

from ..support.fake_node import EPOCH, TITLE, HeldStore, Server
from ..support.rules_fixture import START, make_rules

SIZES = (250, 1000, 4000)


def operations(act: Callable[[], object]) -> int:
    """Return how many lines of Python an act takes."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


class SilentWire:
    """A connection whose client is there, says nothing, and reads only the first piece of a stream.

    told: the written frames. streams: the rests of the streams.
    """

    def __init__(self) -> None:
        self.told = 0
        self.probed = 0
        self.streams: list[Iterator[bytes]] = []

    def write(self, data: bytes) -> None:
        self.told += 1

    def stream(self, pieces: Iterator[bytes]) -> None:
        self.write(next(pieces))
        self.streams.append(pieces)

    def close(self, code: int, reason: str) -> None:
        """Nothing."""

    def close_abusive(self, reason: str) -> None:
        """Nothing."""

    def probe(self, answered: Callable[[bool], None]) -> None:
        self.probed += 1

    def crowded(self) -> bool:
        return False

    def settled(self) -> None:
        """Nothing."""


class TickingClock(Clock):
    """A clock that goes on by `rate` seconds each time that it is asked."""

    rate = 0.0

    def seconds(self) -> float:
        self.rightNow += self.rate
        return super().seconds()


class Node:
    """A room service with sessions that need no sockets. decided: how many JOINs the rules have decided."""

    def __init__(self, case: SynchronousTestCase, **options: Any):
        self.clock = TickingClock()
        self.clock.advance(EPOCH)
        self.server = Server(self.clock, **options)
        self.rooms = self.server.rooms
        self.rooms.startService()
        case.addCleanup(self.rooms.stopService)
        self.decided = 0
        self.count = 0
        decide = Rules.decide

        def counted(rules: Rules, room: Room, command: Command, now: float) -> Any:
            self.decided += isinstance(command.body, Enter)
            return decide(rules, room, command, now)

        case.patch(Rules, "decide", counted)

    def join(self, user: str, room: str = "room", address: str = "", **fields: Any) -> Session:
        """Return a session that has sent JOIN, from an address of its own unless one is given."""
        self.count += 1
        session = Session(
            f"node/boot/{self.count}", address or f"address {self.count}", SilentWire(), self.server.outbox
        )
        self.rooms.join(session, m.Join(room_id=room, user_id=user, username=user, **fields))
        return session

    def settle(self) -> list[int]:
        """Let the reactor turn until all is done; return how many JOINs were decided in each turn."""
        return self.turns(lambda: self.decided)

    def turns(self, count: Callable[[], int]) -> list[int]:
        """Let the reactor turn until all is done; return by how much a count grows in each turn."""
        turns = [0]
        while due := [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]:
            before = count()
            for call in due:
                if call.active():
                    self.clock.calls.remove(call)
                    call.called = 1
                    call.func(*call.args, **call.kw)
            turns.append(count() - before)
        return turns

    def cost(self, act: Callable[[], object]) -> tuple[int, int]:
        """Return how many JOINs an act has decided, and how many operations it takes, until all is done."""
        before = self.decided
        count = operations(lambda: (act(), self.settle()))
        return self.decided - before, count


class WaitingTest(SynchronousTestCase):
    """JOINs that wait at a locked room, or at a full one."""

    def locked(self, waiting: int, most: int = 20) -> tuple[Node, Session, list[Session]]:
        """Return a locked room with its host and six guests, at which so many wait."""
        node = Node(self, rules=rule_settings(members_per_room=most, members_per_address=0))
        host = node.join("host")
        guests = [node.join(f"guest {i}") for i in range(6)]
        node.rooms.receive(host, m.LockRoom(locked=True))
        for i in range(waiting):
            node.join(f"user {i}")
        node.settle()
        return node, host, guests

    def events(self, node: Node, host: Session, guests: list[Session]) -> dict[str, Callable[[], object]]:
        """Return the operations in the room that accepts no waiting JOIN."""
        return {
            "chat": lambda: node.rooms.receive(host, m.Chat(text="x")),
            "kick": lambda: node.rooms.receive(host, m.Kick(target_user_id="guest 0")),
            "ban": lambda: node.rooms.receive(host, m.Ban(target_user_id="guest 1")),
            "ban of one outside": lambda: node.rooms.receive(host, m.Ban(target_user_id="stranger")),
            "leave": lambda: node.rooms.receive(guests[2], m.Leave()),
            "lost": lambda: node.rooms.closed(guests[3]),
            "delegate": lambda: node.rooms.receive(host, m.DelegateControl(target_user_id="guest 4", enabled=True)),
            "seek": lambda: node.rooms.receive(host, m.Seek(current_time=5.0, is_playing=True)),
        }

    def test_events_that_let_none_in(self) -> None:
        costs: dict[str, list[int]] = {}
        for waiting in SIZES:
            node, host, guests = self.locked(waiting)
            for name, act in self.events(node, host, guests).items():
                decided, count = node.cost(act)
                self.assertEqual(decided, 0, f"{name} with {waiting} waiting")
                costs.setdefault(name, []).append(count)
        for name, counts in costs.items():
            self.assertLess(max(counts), 1.2 * min(counts) + 100, f"{name}: {counts}")

    def test_waiting_and_going(self) -> None:
        counts = []
        for waiting in SIZES:
            node, *_ = self.locked(waiting)
            more: list[Session] = []
            counts.append(
                node.cost(lambda node=node, more=more: more.append(node.join("more")))[1]
                + node.cost(lambda node=node, more=more: node.rooms.closed(more[0]))[1]
            )
        self.assertLess(max(counts), 1.2 * min(counts) + 100, counts)

    def test_the_wanted_id(self) -> None:
        """A user id that becomes free asks for the newest JOIN under it."""
        for waiting in SIZES:
            node, _, guests = self.locked(waiting)
            node.join("guest 0")
            node.settle()
            decided, _ = node.cost(lambda node=node, guests=guests: node.rooms.receive(guests[0], m.Leave()))
            self.assertEqual(decided, 1)

    def test_unlocking_asks_for_as_many_as_there_are_places_in_slices(self) -> None:
        for waiting in SIZES:
            node, host, _ = self.locked(waiting, most=107)
            before = node.decided
            node.rooms.receive(host, m.LockRoom(locked=False))
            self.assertEqual(node.decided, before, "none in the turn of the event itself")
            turns = node.settle()
            self.assertLessEqual(max(turns), RETRIES_PER_ITERATION)
            self.assertEqual(sum(turns), 100)
            live = node.rooms.open.get("room")
            assert live is not None
            self.assertEqual((len(live.room.members), len(live.waiting)), (107, waiting - 100))
            self.assertEqual(list(live.room.members)[7:], [f"user {i}" for i in range(100)])

    def test_one_who_leaves_a_full_room_makes_one_place(self) -> None:
        for waiting in SIZES:
            node = Node(self, rules=rule_settings(members_per_room=7))
            guests = [node.join(f"guest {i}") for i in range(7)]
            for i in range(waiting):
                node.join(f"user {i}")
            node.settle()
            for number, act in enumerate(
                (
                    lambda node=node, guests=guests: node.rooms.receive(guests[1], m.Leave()),
                    lambda node=node, guests=guests: node.rooms.receive(guests[0], m.Kick(target_user_id="guest 2")),
                    lambda node=node, guests=guests: node.rooms.receive(guests[0], m.Ban(target_user_id="guest 3")),
                )
            ):
                self.assertEqual(node.cost(act)[0], 1)
                live = node.rooms.open.get("room")
                assert live is not None
                self.assertIn(f"user {number}", live.room.members)

    def test_a_place_that_the_first_may_not_have_is_the_next_ones(self) -> None:
        node = Node(self, rules=rule_settings(members_per_room=3))
        host, guest = node.join("host"), node.join("guest")
        node.join("other")
        for i in range(20):
            node.join(f"user {i}")
        for i in range(10):
            node.rooms.receive(host, m.Ban(target_user_id=f"user {i}"))
        node.settle()
        self.assertEqual(node.cost(lambda: node.rooms.receive(guest, m.Leave()))[0], 11)
        live = node.rooms.open.get("room")
        assert live is not None
        self.assertEqual(list(live.room.members), ["host", "other", "user 10"])

    def test_one_that_goes_while_it_is_asked_for_leaves_the_place_to_the_next(self) -> None:
        node = Node(self, rules=rule_settings(members_per_room=2))
        pins = node.server.pins
        node.join("host", pin="1")
        guest = node.join("guest", pin="1")
        first, _second = node.join("user 0", pin="1"), node.join("user 1", pin="1")
        node.settle()
        pins.holding = True
        node.rooms.receive(guest, m.Leave())
        node.settle()
        node.rooms.closed(first)
        pins.release()
        node.settle()
        pins.release()
        node.settle()
        live = node.rooms.open.get("room")
        assert live is not None
        self.assertEqual(list(live.room.members), ["host", "user 1"])

    def test_a_room_that_ends_accepts_those_who_wait(self) -> None:
        node, host, guests = self.locked(1000, most=100)
        for session in (*guests, host):
            node.rooms.receive(session, m.Leave())
        turns = node.settle()
        self.assertLessEqual(max(turns), RETRIES_PER_ITERATION)
        live = node.rooms.open.get("room")
        assert live is not None
        self.assertEqual((len(live.room.members), live.room.host), (100, "user 0"))

    def test_few_of_one_address_wait_at_a_room(self) -> None:
        node, host, _ = self.locked(0, most=250)
        for i in range(200):
            node.join(f"user {i}", address="one")
        other = node.join("other", address="two")
        node.settle()
        live = node.rooms.open.get("room")
        assert live is not None
        self.assertEqual(len(live.waiting), 51)
        node.rooms.receive(host, m.LockRoom(locked=False))
        node.settle()
        self.assertIsNotNone(other.group)
        # The others are not forgotten: an old client joins only when it connects.
        for _ in range(200):
            node.clock.advance(1.0)
        self.assertEqual(len(live.room.members), 7 + 201)


class RoomsTest(SynchronousTestCase):
    def test_an_event_costs_nothing_for_other_rooms(self) -> None:
        costs: dict[str, list[int]] = {}
        for rooms in SIZES:
            node = Node(self, limits=None)
            for i in range(rooms):
                node.join("host", f"room {i}", address=f"address of {i}")
            host, guest = node.join("host"), node.join("guest")
            node.settle()
            for name, act in {
                "chat": lambda node=node, host=host: node.rooms.receive(host, m.Chat(text="x")),
                "join": lambda node=node: node.join("new"),
                "ban": lambda node=node, host=host: node.rooms.receive(host, m.Ban(target_user_id="new")),
                "lost": lambda node=node, guest=guest: node.rooms.closed(guest),
                "found": lambda node=node: node.join("host", "another room"),
            }.items():
                costs.setdefault(name, []).append(node.cost(act)[1])
        for name, counts in costs.items():
            self.assertLess(max(counts), 1.2 * min(counts) + 100, f"{name}: {counts}")


class LargeRoomTest(SynchronousTestCase):
    """A JOIN, a line of chat, a kick and the loss of a connection visit no other members. Longer work is done in slices."""

    def full(self, members: int) -> tuple[Node, list[Session]]:
        """Return a room with so many members, and their sessions. The first is host."""
        node = Node(self, rules=rule_settings(members_per_room=10_001))
        sessions = [node.join(f"user {i}") for i in range(members)]
        node.clock.advance(1.0)
        node.settle()
        return node, sessions

    def streams(self, session: Session) -> list[Iterator[bytes]]:
        return cast(SilentWire, session._transport).streams

    def test_an_event_costs_nothing_for_other_members(self) -> None:
        costs: dict[str, list[int]] = {}
        for members in (*SIZES, 10_000):
            node, sessions = self.full(members)
            for name, act in {
                "kick": lambda node=node, sessions=sessions: node.rooms.receive(
                    sessions[0], m.Kick(target_user_id="user 4")
                ),
                "chat": lambda node=node, sessions=sessions: node.rooms.receive(sessions[1], m.Chat(text="x")),
                "join": lambda node=node: node.join("new"),
                "lost": lambda node=node, sessions=sessions: node.rooms.closed(sessions[2]),
                "leave": lambda node=node, sessions=sessions: node.rooms.receive(sessions[3], m.Leave()),
            }.items():
                costs.setdefault(name, []).append(node.cost(act)[1])
            for name, commits in self.commits_of_another_node(node).items():
                costs.setdefault(name, []).append(
                    node.cost(lambda node=node, commits=commits: node.rooms.others.committed("room", commits))[1]
                )
        for name, counts in costs.items():
            # The first block of the departures has all members of a room of 250, but it is no longer in a room of 10 000.
            self.assertLess(max(counts), 1.2 * counts[0] + 100, f"{name}: {counts}")

    def commits_of_another_node(self, node: Node) -> dict[str, list[Commit]]:
        """Return commits that follow on the state of the room, as pub/sub brings them. They come in the order of the names."""
        live = node.rooms.open.get("room")
        assert live is not None
        room, rules, now = live.room.copy(), make_rules(members_per_room=20_000), node.clock.rightNow
        commits: dict[str, list[Commit]] = {}
        for name, body in {
            "join on another node": Enter("Far", "address of far"),
            "chat from another node": m.Chat(text="x"),
            "loss on another node": Lost(),
        }.items():
            command = Command("far", "other/boot/1", body)
            commit = commit_of(room, "far", rules.decide(room, command, now), now, rules)
            room.apply(commit)
            commits[name] = [commit]
        return commits

    def test_a_kick_tells_the_departure_of_each_member(self) -> None:
        node, sessions = self.full(1000)
        before = len(self.streams(sessions[4]))
        node.rooms.receive(sessions[0], m.Kick(target_user_id="user 4"))
        node.settle()
        (rest,) = self.streams(sessions[4])[before:]
        self.assertEqual(b"".join(rest).count(b"USER_LEFT"), 1000 - 1 - 256)

    def test_the_end_of_a_room_is_told_in_slices(self) -> None:
        costs = []
        for members in (1000, 4000):
            node, sessions = self.full(members)
            live = node.rooms.open.get("room")
            assert live is not None
            before = sum(map(len, map(self.streams, sessions)))
            close = QueuedCommand(Command("", "", Close("admin", None)))
            costs.append(operations(lambda live=live, close=close: live.submit(close)))
            again = node.join("user 1")
            node.rooms.join(sessions[-1], m.Join(room_id="room", user_id="last", username="last"))
            node.clock.rate = 0.001
            told = node.turns(lambda sessions=sessions: sum(map(len, map(self.streams, sessions))))
            self.assertLessEqual(max(told), 16)
            # The one that has joined again has a new room on its screen.
            after = sum(map(len, map(self.streams, sessions)))
            self.assertEqual(after - before, members - 1)
            self.assertIsNotNone(again.group)
        self.assertLess(costs[1], 5 * costs[0])

    def test_members_that_begin_to_watch_together_do_so_in_slices(self) -> None:
        node, sessions = self.full(4000)
        live = node.rooms.open.get("room")
        assert live is not None
        node.rooms.receive(sessions[0], m.UrlChange(url=TITLE))
        for session in sessions:
            node.rooms.positions.position_received(session, live, m.PositionUpdate(current_time=1.0, is_playing=False))
        node.settle()
        node.clock.rate = 0.001
        node.clock.advance(1.0)
        commits = node.turns(lambda: live.room.seq)
        self.assertLessEqual(max(commits), 16)
        self.assertTrue(all(member.watching for member in live.room.members.values()))

    def test_the_joins_of_a_moment_share_a_write(self) -> None:
        node = Node(self, rules=rule_settings(members_per_room=10_000))
        first = [node.join(f"user {i}") for i in range(1000)]
        node.clock.advance(1.0)
        node.settle()
        written = [cast(Any, session._transport).told for session in first]
        for i in range(100):
            node.join(f"new {i}")
            node.settle()
        self.assertEqual([cast(Any, session._transport).told for session in first], written)
        node.clock.advance(1.0)
        node.settle()
        self.assertEqual([cast(Any, session._transport).told for session in first], [count + 1 for count in written])

    def test_a_room_of_thousands_may_play_after_its_joins(self) -> None:
        """The joins do not use up the budget of the room."""
        node = Node(self, limits=Limits(members_per_room=10_000), rules=rule_settings(members_per_room=10_000))
        host = node.join("host")
        for i in range(4000):
            session = node.join(f"user {i}", address=f"10.0.{i >> 8}.{i & 255}")
            self.assertIsNotNone(session.group)
        node.clock.advance(1.0)
        node.settle()
        live = node.rooms.open.get("room")
        assert live is not None and live.meter is not None
        node.rooms.receive(host, m.UrlChange(url=TITLE))
        self.assertEqual(live.meter.wait(RESERVED), 0.0)


class MembersTest(SynchronousTestCase):
    """In a room of four times as many members an event costs four times as much, not sixteen times."""

    def room(self, members: int) -> Room:
        room = Room("id", "room", START, 1)
        self.rules = make_rules(members_per_room=10_000, members_per_address=0)
        for i in range(members // 2):
            self.do(room, f"u{i}", Enter(f"U{i}", f"a{i}"))
            self.do(room, f"many {i}", Enter("Many", "one"))
            self.do(room, "u0", m.DelegateControl(target_user_id=f"many {i}", enabled=True))
        self.do(room, "u0", m.UrlChange(url=TITLE))
        return room

    def do(self, room: Room, user: str, body: Any) -> None:
        member = room.members.get(user)
        conn = (member.conn if member is not None else "") or f"n/b/{user}"
        decision = self.rules.decide(room, Command(user, conn if user else "", body), START + room.seq)
        if decision.commits:
            room.apply(commit_of(room, user, decision, START + room.seq, self.rules))

    def test_events(self) -> None:
        costs: dict[str, list[int]] = {}
        for members in SIZES:
            room = self.room(members)
            for user, member in list(room.members.items()):
                room.assign({f"m:{user}": type(member)(**{**_fields(member), "watching": True})})
            acts: dict[str, tuple[str, Any]] = {
                "seek": ("u0", m.Seek(current_time=5.0, is_playing=True)),
                "ready": ("u1", m.Ready(target_time=5.0)),
                "lost": ("u2", Lost()),
                "leave": ("u3", m.Leave()),
                "ban": ("u0", m.Ban(target_user_id="u4")),
                "kick": ("u0", m.Kick(target_user_id="u5")),
                "ban with members": ("u0", m.Ban(target_user_id="many 0", with_members="all")),
                "join": ("new", Enter("New", "new")),
                "leave of the host": ("u0", m.Leave()),
                "loss of the node": ("", NodeLost("n/")),
            }
            for name, (user, body) in acts.items():
                costs.setdefault(name, []).append(operations(lambda a=(room, user, body): self.do(*a)))
            self.assertRaises(RequestError, self.do, room, "stranger", m.Chat(text="x"))
        for name, (small, middle, large) in costs.items():
            self.assertLess(middle, 5 * small + 500, f"{name}: {costs[name]}")
            self.assertLess(large, 5 * middle + 500, f"{name}: {costs[name]}")


def _fields(member: Any) -> dict[str, Any]:
    return {name: getattr(member, name) for name in member.__struct_fields__}


class SlowLoad(HeldStore):
    """Loads rooms when it is told to."""

    slow: Deferred[None] | None = None

    def load(self, room_id: str, *, archived: bool = True) -> Deferred[Room | None]:
        found = super().load(room_id, archived=archived)
        return found if self.slow is None else self.slow.addCallback(lambda _: found)


class CrowdTest(SynchronousTestCase):
    """A thousand JOINs that come in while one thing takes its time are not one turn afterwards."""

    def test_while_the_room_is_loaded(self) -> None:
        node = Node(self, make_store=SlowLoad, rules=rule_settings(members_per_room=2000))
        node.server.store.slow = slow = Deferred()
        for i in range(1000):
            node.join(f"user {i}")
        node.server.store.slow = None
        slow.callback(None)
        self.assertLessEqual(node.decided, 16)
        node.clock.rate = 0.001
        turns = node.settle()
        live = node.rooms.open.get("room")
        assert live is not None
        self.assertEqual(list(live.room.members), [f"user {i}" for i in range(1000)])
        self.assertLessEqual(max(turns), 16)

    def test_while_the_pin_of_a_new_room_is_hashed(self) -> None:
        node = Node(self, rules=rule_settings(members_per_room=2000))
        node.server.pins.holding = True
        node.join("host", pin="1")
        for i in range(1000):
            node.join(f"user {i}")
        node.clock.rate = 0.001
        node.server.pins.release()
        self.assertLessEqual(node.decided, 16)
        self.assertLessEqual(max(node.settle()), 16)
        self.assertEqual(node.decided, 1001)
