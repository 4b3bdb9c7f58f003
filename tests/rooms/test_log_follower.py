"""An open room stays at the store's version: holes are filled, another epoch is gone over to, and nothing is told twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd.app.metrics import NodeMetrics
from tandemd.errors import ErrorCode, RequestError
from tandemd.interfaces import Conflict
from tandemd.rooms.command_queue import OUTAGE_PATIENCE_SECONDS
from tandemd.rooms.log_follower import RETRY_SECONDS, LogFollower
from tandemd.rooms.replica import RoomReplica
from tandemd.rules.commands import Command, Lost, NodeLost
from tandemd.rules.engine import Rules, commit_of
from tandemd.rules.state import MEMBER, Commit, Room
from tandemd.rules.title_allowlist import TitleAllowlist
from tandemd.store.memory import MemoryStore
from tests.support.settings import bounds, rule_settings

from ..support.fake_node import NETFLIX, HeldStore, ServiceTestCase


class Live:
    """The replica that a log follower moves."""

    def __init__(self, room: Room):
        self.room = room
        self.closed = False
        self.told: list[tuple[int, int]] = []

    def apply(self, commit: Commit) -> None:
        self.room.apply(commit)
        self.told.append((commit.epoch, commit.seq))


class Store:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Any]]] = []

    def replay(self, code: str, after: tuple[int, int]) -> Deferred[Any]:
        self.asked.append((f"replay {after[0]} {after[1]}", Deferred()))
        return self.asked[-1][1]

    def load(self, code: str) -> Deferred[Any]:
        self.asked.append(("load", Deferred()))
        return self.asked[-1][1]


class FollowingTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Store()
        self.live = Live(self.room_at(1, 5))
        self.caught_up: list[tuple[int, int]] = []
        self.reloads: list[Room | None] = []
        self.following = LogFollower(
            cast(RoomReplica, self.live),
            cast(Any, self.store),
            self.clock,
            NodeMetrics("test", "n").rooms,
            lambda: self.caught_up.append(self.live.room.version),
            self.reloaded,
        )

    def room_at(self, epoch: int, seq: int, id: str = "id") -> Room:
        return Room(id, "room", 0.0, epoch, seq)

    def reloaded(self, room: Room | None) -> None:
        self.reloads.append(room)
        self.live.room = room or self.room_at(99, 0, "blank")

    def commits(self, epoch: int, *seqs: int) -> Sequence[Commit]:
        return [
            Commit(epoch=epoch, seq=seq, at=0.0, event="CHAT", user="ann", details=None, changes={}, messages=())
            for seq in seqs
        ]

    def answer(self, question: str, result: Any) -> None:
        """Answer the only open question, which must be this one."""
        [(asked, answer)] = self.store.asked
        self.assertEqual(asked, question)
        self.store.asked.clear()
        if isinstance(result, Exception):
            answer.errback(result)
        else:
            answer.callback(result)

    def test_in_order(self) -> None:
        self.following.receive(self.commits(1, 6, 7))
        self.following.receive(self.commits(1, 7, 8))
        self.assertEqual(self.live.told, [(1, 6), (1, 7), (1, 8)])
        self.assertEqual(self.store.asked, [])

    def test_a_hole_is_filled(self) -> None:
        self.following.receive(self.commits(1, 8))
        self.assertTrue(self.following.catching_up)
        self.following.receive(self.commits(1, 6))
        self.answer("replay 1 5", self.commits(1, 6, 7, 8))
        self.assertEqual(self.live.told, [(1, 6), (1, 7), (1, 8)])
        self.assertEqual(self.caught_up, [(1, 8)])

    def test_what_is_heard_meanwhile_follows_on_the_answer(self) -> None:
        """A1: in a busy room each answer was older than the received commits, and nothing was decided any more."""
        self.following.receive(self.commits(1, 8))
        for seq in range(9, 50):
            self.following.receive(self.commits(1, seq))
        self.answer("replay 1 5", self.commits(1, 6, 7, 8))
        self.assertEqual(self.caught_up, [(1, 49)])
        self.assertEqual(self.live.told, [(1, seq) for seq in range(6, 50)])
        self.assertEqual(self.store.asked, [])

    def test_a_hole_in_what_is_heard_meanwhile_is_asked_for(self) -> None:
        self.following.receive(self.commits(1, 8))
        self.following.receive(self.commits(1, 10, 11))
        self.answer("replay 1 5", self.commits(1, 6, 7, 8))
        self.assertEqual(self.caught_up, [])
        self.following.receive(self.commits(1, 12))
        self.answer("replay 1 8", self.commits(1, 9, 10, 11))
        self.assertEqual(self.caught_up, [(1, 12)])

    def test_what_is_heard_of_another_epoch_is_no_end_of_questions(self) -> None:
        self.following.receive(self.commits(1, 8))
        self.following.receive(self.commits(9, 9))
        self.answer("replay 1 5", self.commits(1, 6, 7, 8))
        self.answer("replay 1 8", [])
        self.assertEqual(self.caught_up, [(1, 8)])

    def test_a_newer_head_is_a_hole(self) -> None:
        self.following.head_version("id", (1, 5))
        self.following.head_version("id", (1, 4))  # it was read before we moved on
        self.assertEqual(self.store.asked, [])
        self.following.head_version("id", (1, 6))
        self.answer("replay 1 5", self.commits(1, 6))
        self.assertEqual(self.live.told, [(1, 6)])

    def test_before_a_new_epoch_what_was_missed_is_told(self) -> None:
        self.following.reload()
        self.answer("load", self.room_at(2, 8))
        self.answer("replay 1 5", [*self.commits(1, 6, 7), *self.commits(2, 8, 9)])
        self.assertEqual(self.live.told, [(1, 6), (1, 7), (2, 8)])
        self.assertEqual([room.version for room in self.reloads if room], [(2, 8)])
        self.assertEqual(self.caught_up, [(2, 8)])

    def test_a_new_epoch_without_a_way_there(self) -> None:
        self.following.head_version("id", (2, 8))
        self.answer("load", self.room_at(2, 8))
        self.answer("replay 1 5", None)
        self.assertEqual(self.live.told, [])
        self.assertEqual(self.live.room.version, (2, 8))

    def test_a_commit_of_a_new_epoch(self) -> None:
        self.following.receive(self.commits(2, 6))
        self.answer("replay 1 5", self.commits(2, 6))
        self.answer("load", self.room_at(2, 6))
        self.answer("replay 1 5", self.commits(2, 6))
        self.assertEqual(self.live.told, [(2, 6)])
        self.assertEqual(len(self.reloads), 1)

    def test_never_back(self) -> None:
        """The room was read, and before the answer came, a commit was heard of."""
        self.following.reload()
        self.following.receive(self.commits(1, 6))
        self.answer("load", self.room_at(1, 5))
        self.assertEqual(self.live.room.version, (1, 6))
        self.assertEqual(self.reloads, [])
        self.following.receive(self.commits(1, 7))
        self.assertEqual(self.live.told, [(1, 6), (1, 7)])

    def test_the_same_epoch_is_followed_on(self) -> None:
        """A node asks for more reloads than new epochs exist; members need no ROOM_STATE for commits that they receive."""
        self.following.reload()
        self.answer("load", self.room_at(1, 7))
        self.answer("replay 1 5", self.commits(1, 6, 7, 8))
        self.assertEqual(self.live.told, [(1, 6), (1, 7)])
        self.assertEqual(self.reloads, [])
        self.assertEqual(self.caught_up, [(1, 7)])

    def test_the_same_epoch_without_a_way_there(self) -> None:
        self.following.reload()
        self.answer("load", self.room_at(1, 7))
        self.answer("replay 1 5", None)
        self.assertEqual([room.version for room in self.reloads if room], [(1, 7)])

    def test_another_room(self) -> None:
        self.following.head_version("other", (7, 1))
        self.answer("load", self.room_at(7, 1, "other"))
        self.assertEqual(self.live.room.room_uuid, "other")
        self.assertEqual(self.store.asked, [])

    def test_ended(self) -> None:
        self.following.head_version("", (0, 0))
        self.answer("load", None)
        self.answer("replay 1 5", None)
        self.assertEqual(self.reloads, [None])

    def test_a_blank_room_is_not_there_either(self) -> None:
        self.live.room = self.room_at(1, 0)
        self.following.head_version("", (0, 0))
        self.assertEqual(self.store.asked, [])

    def test_tried_again(self) -> None:
        self.following.reload()
        self.answer("load", RequestError(ErrorCode.UNAVAILABLE, "not now"))
        self.assertFalse(self.following.catching_up)
        self.clock.advance(RETRY_SECONDS)
        self.answer("load", self.room_at(2, 5))
        self.answer("replay 1 5", RequestError(ErrorCode.UNAVAILABLE, "not now"))
        self.clock.advance(RETRY_SECONDS)
        self.answer("load", self.room_at(2, 5))
        self.answer("replay 1 5", [])
        self.assertEqual(self.live.room.version, (2, 5))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_hole_stays_one_while_the_store_is_away(self) -> None:
        """Read as a whole, the room would be right, and its members would have missed something."""
        self.following.receive(self.commits(1, 7))
        self.answer("replay 1 5", RequestError(ErrorCode.UNAVAILABLE, "not now"))
        self.clock.advance(RETRY_SECONDS)
        self.answer("replay 1 5", self.commits(1, 6, 7))
        self.assertEqual(self.live.told, [(1, 6), (1, 7)])

    def test_closing_leaves_no_timer(self) -> None:
        self.following.reload()
        self.answer("load", RequestError(ErrorCode.UNAVAILABLE, "not now"))
        self.following.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AwayStore(HeldStore):
    away = False

    def ready(self) -> str:
        return "it is away" if self.away else ""


class AwayTest(ServiceTestCase):
    options = {"make_store": AwayStore}

    def test_what_waits_behind_an_uncertain_commit_is_refused(self) -> None:
        """The sent commit may have been committed, so its result is unknown. The other commands need not wait for it."""
        ann, bob = self.world.party("ann", "bob")
        self.world.store.holding = self.world.store.away = True
        ann.say("CHAT", text="sent", id=1)
        bob.say("CHAT", text="waits", id=1)
        self.world.advance(OUTAGE_PATIENCE_SECONDS - 0.5)
        self.assertEqual(bob.told("ERROR"), [])
        self.world.advance(1.0)
        self.refused(bob.told("ERROR"), "unavailable")
        self.assertEqual(ann.told(), [])
        self.world.store.away = False
        self.world.store.release()
        self.assertEqual([said["text"] for said in bob.told("CHAT")], ["sent"])
        self.the(ann.told("ACK"), "ACK")
        self.assertEqual([said["text"] for said in ann.send("CHAT", text="again") if said["type"] == "CHAT"], ["again"])


class UncertainStore(MemoryStore):
    """Keeps the next commit, once it is told to. kept: the commit, and the Deferred of its answer."""

    keeping = False
    kept: tuple[Any, ...] = ()

    def __init__(self, clock: Any, journal: Any):
        super().__init__(clock, 100, journal, bounds())

    def commit(self, room: Room, commits: Sequence[Commit], done: Any) -> None:
        if self.keeping:
            self.keeping = False
            self.kept = (room, commits, done)
        else:
            super().commit(room, commits, done)


class ThawedTest(ServiceTestCase):
    """A node that was frozen goes on: others have taken it for dead, and Redis has been replaced meanwhile."""

    options = {"make_store": UncertainStore}

    def thaw(self) -> None:
        """The kept commit was carried out, then the node was taken for dead, and nothing tells the node of either."""
        store = self.world.store
        room, commits, done = store.kept
        MemoryStore.commit(store, room, commits, lambda result: None)
        self.elsewhere(Command("", "", NodeLost(f"node/{self.world.server.boot}/")))
        done(Conflict(None))
        self.world.settle()

    def test_the_news_comes_before_the_answer(self) -> None:
        """The command is decided again after the member has its connection back."""
        ann, bob = self.world.party("ann", "bob")
        self.world.store.keeping = True
        ann.say("CHAT", text="too late", id=1)
        self.world.settle()
        _, _, done = self.world.store.kept
        before = self.world.room()
        assert before is not None
        self.elsewhere(Command("", "", NodeLost(f"node/{self.world.server.boot}/")))
        commits = self.successResultOf(self.world.store.replay("room", before.version))
        self.world.server.rooms.others.committed("room", commits)
        done(Conflict(None))
        self.world.settle()
        self.assertEqual([(m["type"], m.get("code")) for m in ann.told() if m.get("id") == 1], [("ACK", None)])
        self.assertEqual([m["text"] for m in bob.told("CHAT")], ["too late"])

    def elsewhere(self, command: Command) -> None:
        """Carry out a command on another node, which the node is not told of."""
        store, room = self.world.store, self.world.room()
        assert room is not None
        rules = Rules(rule_settings(), TitleAllowlist([NETFLIX]))
        decision = rules.decide(room, command, store.now())
        commit = commit_of(room, command.user, decision, store.now(), rules)
        MemoryStore.commit(store, room, [commit], lambda result: None)

    def take_over(self) -> None:
        """Let another node's connection speak for ann."""
        store, room = self.world.store, self.world.room()
        assert room is not None
        taken = Commit(
            epoch=room.epoch,
            seq=room.seq + 1,
            at=store.now(),
            event="USER_REJOINED",
            user="ann",
            details={},
            changes={MEMBER + "ann": msgspec.structs.replace(room.members["ann"], conn="other/1/1")},
            messages=(),
        )
        MemoryStore.commit(store, room, [taken], lambda result: None)

    def test_what_was_carried_out_is_acknowledged_and_what_waited_is_carried_out(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        self.world.store.keeping = True
        ann.say("CHAT", text="carried out", id=1)
        self.world.settle()
        ann.say("CHAT", text="waited", id=2)
        self.world.settle()
        self.thaw()
        told = ann.told()
        self.assertEqual([m["code"] for m in told if m["type"] == "ERROR"], [])
        self.assertEqual([m["id"] for m in told if m["type"] == "ACK"], [1, 2])
        self.assertEqual([m["text"] for m in bob.told("CHAT")], ["carried out", "waited"])

    def test_another_connection_has_taken_over_meanwhile(self) -> None:
        """The old connection cannot speak any more, and still learns the result."""
        (ann,) = self.world.party("ann")
        self.world.store.keeping = True
        ann.say("CHAT", text="carried out", id=1)
        self.world.settle()
        ann.say("CHAT", text="waited", id=2)
        self.world.settle()
        room, commits, done = self.world.store.kept
        MemoryStore.commit(self.world.store, room, commits, lambda result: None)
        self.take_over()
        done(Conflict(None))
        told = ann.told()
        self.assertEqual([m["id"] for m in told if m["type"] == "ACK"], [1])
        self.assertEqual([(m["id"], m["code"]) for m in told if m["type"] == "ERROR"], [(2, "detached")])

    def test_the_connection_that_has_taken_over_is_lost_meanwhile(self) -> None:
        """The member stays lost: the node does not give it back to a connection that speaks for it no longer."""
        (ann,) = self.world.party("ann")
        self.world.store.keeping = True
        ann.say("CHAT", text="carried out", id=1)
        self.world.settle()
        room, commits, done = self.world.store.kept
        MemoryStore.commit(self.world.store, room, commits, lambda result: None)
        self.elsewhere(Command("", "", NodeLost(f"node/{self.world.server.boot}/")))
        self.take_over()
        self.elsewhere(Command("ann", "other/1/1", Lost()))
        done(Conflict(None))
        self.world.settle()
        after = self.world.room()
        assert after is not None
        self.assertEqual(after.members["ann"].conn, "")
        self.assertIn("detached", [said["code"] for said in ann.send("CHAT", text="again") if said["type"] == "ERROR"])
