"""A room is bounded in bytes, and a commit is as long as its change."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tandemd import messages as m
from tandemd.errors import RequestError
from tandemd.interfaces import CommitResult, TooLarge
from tandemd.rules.commands import NodeLost
from tandemd.rules.engine import commit_of
from tandemd.rules.gate import Gate
from tandemd.rules.moderation import MAX_BANS
from tandemd.rules.playback import Playback
from tandemd.rules.state import Ban, Commit, Departed, Moderation, Room
from tandemd.store.memory import MemoryStore
from tandemd.store.redis import codec
from tandemd.store.redis.keys import log_key, mail_key, room_key
from tests.support.settings import bounds, protocol_settings

from ..support.fake_node import ServiceTestCase
from ..support.redis_nodes import Hand, RedisTestCase, member, reactor
from ..support.rules_fixture import START, World

LONG = "\U0001f600" * 60
"""240 bytes of a user id."""


class CommitLengthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("ann")

    def length(self, user: str, body: Any) -> int:
        """Carry a command out, and return how many bytes a node sends to its store for the changed fields and the log."""
        self.world.do(user, body)
        commit = self.world.log[-1]
        fields = sum(len(codec.encode_field(value)) + len(name) for name, value in commit.changes.items())
        return fields + len(codec.encode_commit(commit))

    def ban(self, count: int) -> None:
        for number in range(count):
            self.world.do("ann", m.Ban(target_user_id=f"{number}{LONG}"))

    def test_moderation_does_not_depend_on_the_number_of_bans(self) -> None:
        def lengths() -> list[int]:
            return [
                self.length("ann", m.LockRoom(locked=True)),
                self.length("ann", m.Admit(target_user_id="new", admitted=True)),
                self.length("ann", m.LockRoom(locked=False)),
                self.length("ann", m.DelegateControl(target_user_id="bob", enabled=True)),
                self.length("ann", m.DelegateControl(target_user_id="bob", enabled=False)),
                self.length("ann", m.Ban(target_user_id="eve")),
                self.length("ann", m.Unban(target_user_id="eve")),
                self.length("ann", m.Kick(target_user_id="bob")),
            ]

        self.world.join("bob")
        before = lengths()
        self.ban(MAX_BANS - 10)
        self.world.now += 600
        self.world.join("bob")
        self.length("ann", m.LockRoom(locked=True))
        self.length("ann", m.LockRoom(locked=False))
        after = lengths()
        for one, other in zip(before, after, strict=True):
            self.assertLess(abs(one - other), 40, (before, after))
        self.assertLess(max(after), 1000)

    def test_ready_does_not_depend_on_the_number_of_members(self) -> None:
        lengths = {}
        for count in (5, 200):
            while len(self.world.room.members) < count:
                user = f"u{len(self.world.room.members)}{LONG}"
                self.world.join(user)
                self.world.watch(user)
            self.world.watch("ann")
            self.world.do("ann", m.Seek(current_time=5.0))
            users = list(self.world.room.members)
            lengths[count] = self.length(users[1], m.Ready(target_time=5.0))
            self.world.do("ann", m.PlayPause(control="play", current_time=5.0))
        self.assertLess(lengths[200], 1000)
        self.assertLess(abs(lengths[200] - lengths[5]), 40, lengths)

    def test_leaving_does_not_depend_on_how_many_left(self) -> None:
        lengths = []
        for number in range(80):
            self.world.join(f"u{number:02}{LONG}")
            lengths.append(self.length(f"u{number:02}{LONG}", m.Leave()))
        self.assertLess(lengths[-1] - lengths[0], 40)

    def test_what_a_gate_waited_for_in_vain_is_told_in_few_words(self) -> None:
        for number in range(100):
            self.world.join(f"u{number}{LONG}")
            self.world.watch(f"u{number}{LONG}")
        self.world.do("ann", m.Seek(current_time=5.0))
        self.world.advance(10.0)
        opened = next(commit for commit in self.world.log if commit.event == "GATE_OPENED")
        assert opened.details is not None
        self.assertEqual((len(opened.details["late"]), opened.details["lateCount"]), (10, 100))

    def test_a_node_that_is_lost_takes_parts(self) -> None:
        for number in range(240):
            self.world.join(f"u{number}{LONG}")
        times = 0
        while self.world.do("", NodeLost("")).commits:
            times += 1
            self.assertLess(len(codec.encode_commit(self.world.log[-1])), bounds().commit_bytes)
        self.assertEqual(times, 5)
        self.assertFalse(any(member.conn for member in self.world.room.members.values()))


class SplitTests(SynchronousTestCase):
    """The commit of a decision changes every copy of the room as the decision did."""

    def test_a_gate_is_followed_from_fields(self) -> None:
        world = World()
        for user in "abcde":
            world.join(user)
            world.watch(user)
        world.do("a", m.Seek(current_time=5.0))
        world.do("b", m.Ready(target_time=5.0))
        world.lose("c")
        self.assertEqual(world.room.gate, Gate(5.0, world.now, ("a", "d", "e"), ("b",), False, ("c",)))
        self.assertEqual(stored(world.room).gate, world.room.gate)
        world.do("b", m.Leave())
        assert world.room.gate is not None
        self.assertEqual(set(world.room.gate.gone), {"b", "c"})
        self.assertEqual(set(stored(world.room).gate.gone), {"b", "c"})
        # Again at the same moment and place: it waits for all of them again.
        world.do("a", m.Seek(current_time=5.0))
        assert world.room.gate is not None
        self.assertEqual((world.room.gate.pending, world.room.gate.ready), (("a", "d", "e"), ()))
        self.assertEqual(stored(world.room).gate, world.room.gate)

    def test_a_control_does_not_depend_on_the_url(self) -> None:
        """The URL of up to 8 kB was in each PLAY_PAUSE: in hash, log, journal and publication."""
        world = World()
        for user in "ab":
            world.join(user)
        world.do("a", m.UrlChange(url=f"https://www.netflix.com/watch/1?t={'x' * 1800}"))
        title = world.room.playback.url
        self.assertIn("url", world.log[-1].changes)
        before = len(world.log)
        world.do("a", m.PlayPause(control="play", current_time=5.0))
        world.do("a", m.PlayPause(control="pause", current_time=6.0))
        world.do("a", m.Seek(current_time=7.0))
        self.assertGreaterEqual(len(world.log), before + 3)
        for commit in world.log[before:]:
            self.assertNotIn("url", commit.changes)
            self.assertLess(len(codec.encode_commit(commit)), 800)
            self.assertEqual(codec.decode_commit(codec.encode_commit(commit)), commit)
        self.assertEqual((world.room.playback.url, world.room.playback.position), (title, 7.0))
        self.assertEqual(stored(world.room).playback, world.room.playback)

    def test_a_title_of_the_old_form_is_read(self) -> None:
        room = Room("id", "r", START, 7, 3)
        room.playback = Playback("https://a.example/1", 5.0, START, True, known=True)
        fields = stored_fields(room)
        self.assertFalse(codec.is_old(fields))
        del fields["url"]
        fields["playback"] = codec.encode_field(room.playback)
        self.assertTrue(codec.is_old(fields))
        self.assertEqual(codec.decode_room("r", fields).playback, room.playback)
        # So is a commit.
        later = room.playback.titled("https://a.example/2", START + 1)
        old = Commit(
            epoch=7,
            seq=4,
            at=START + 1,
            event="URL_CHANGE",
            user="ann",
            details=None,
            changes={"playback": later},
            messages=(),
        )
        room.apply(codec.decode_commit(codec.encode_commit(old)))
        self.assertEqual(room.playback, later)

    def test_a_room_of_the_old_form_is_read(self) -> None:
        room = Room("id", "r", START, 7, 3)
        fields = old_form(room)
        found = codec.decode_room("r", fields)
        self.assertTrue(codec.is_old(fields))
        self.assertEqual(
            found.moderation, Moderation(True, ("bob",), (Ban("eve", "Eve", "e"), Ban("mal", None, "", START)))
        )
        self.assertEqual(found.departed, (Departed("cid", START),))
        again = codec.decode_room("r", stored_fields(found))
        self.assertEqual((again.moderation, again.departed), (found.moderation, found.departed))

    def test_a_commit_of_the_old_form_is_read(self) -> None:
        old = Commit(
            epoch=1,
            seq=2,
            at=START,
            event="ROOM_LOCKED",
            user="ann",
            details=None,
            changes={"moderation": Moderation(True)},
            messages=(),
        )
        self.assertEqual(codec.decode_commit(codec.encode_commit(old)), old)
        unknown = Commit(
            epoch=1, seq=2, at=START, event="X", user="ann", details=None, changes={"later": 1, "z:bob": 2}, messages=()
        )
        self.assertEqual(codec.decode_commit(codec.encode_commit(unknown)).changes, {})


def old_form(room: Room) -> dict[str, bytes]:
    """Return the hash of a room as it was stored before each bar had a field."""
    fields = stored_fields(room)
    del fields["locked"]
    fields["moderation"] = json.dumps(
        {
            "locked": True,
            "delegates": ["bob"],
            "bars": [
                {"user_id": "eve", "username": "Eve", "address": "e", "until": 0.0},
                {"user_id": "mal", "username": None, "address": "", "until": START},
            ],
        }
    ).encode()
    fields["departed"] = json.dumps([{"user_id": "cid", "at": START, "address": ""}]).encode()
    return fields


def stored_fields(room: Room) -> dict[str, bytes]:
    return {
        codec.VERSION: codec.version_text(room.room_uuid, room.version),
        codec.HEAD: codec.encode_head(room),
        **{name: codec.encode_field(value) for name, value in reversed(room.fields().items())},
    }


def stored(room: Room) -> Room:
    """Return a room as a node loads it."""
    return codec.decode_room(room.room_id, stored_fields(room))


BOUNDS = bounds(commit_bytes=8000, log_bytes=20_000, replay_bytes=10_000, mailbox_bytes=5000)


class BoundsContract:
    """Mixed into a TestCase with `make`, which returns a store with `BOUNDS`, and `log_bytes`."""

    make: Any
    log_bytes: Any
    assertEqual: Any
    assertIsNone: Any
    assertIsInstance: Any
    assertLessEqual: Any
    assertGreater: Any

    async def begin(self) -> tuple[Any, Hand]:
        store = await self.make()
        self.assertIsNone(await store.rooms.load("room"))
        hand = Hand(store, "room")
        await hand.send(hand.next(member("ann", "n/b/1")))
        return store, hand

    async def test_the_log_is_bounded_in_bytes(self) -> None:
        store, hand = await self.begin()
        for number in range(60):
            self.assertIsNone(await hand.say("x" * (3000 if number % 3 else 10)))
            self.assertLessEqual(await self.log_bytes(store), BOUNDS.log_bytes)
        self.assertGreater(await self.log_bytes(store), BOUNDS.log_bytes // 2)
        epoch, seq = hand.room.version
        self.assertEqual(await store.rooms.replay("room", (epoch, seq - 2)), hand.log[-2:])
        self.assertIsNone(await store.rooms.replay("room", (epoch, 1)))

    async def test_a_replay_is_bounded_in_bytes(self) -> None:
        store, hand = await self.begin()
        for _ in range(4):
            await hand.say("x" * 3000)
        epoch, seq = hand.room.version
        self.assertEqual(await store.rooms.replay("room", (epoch, seq - 3)), hand.log[-3:])
        self.assertIsNone(await store.rooms.replay("room", (epoch, seq - 4)))

    async def test_a_commit_that_is_too_large_changes_nothing(self) -> None:
        store, hand = await self.begin()
        small, large = hand.batch("a", "x" * 8000)
        before = await self.log_bytes(store)
        result = await hand.send(small, large)
        self.assertIsInstance(result, TooLarge)
        self.assertEqual((result.number, result.most), (1, BOUNDS.commit_bytes))
        self.assertEqual(await self.log_bytes(store), before)
        self.assertIsNone(await hand.send(*hand.batch("a", "b")))

    async def test_the_end_of_a_large_room_is_never_too_large(self) -> None:
        """Its commit names each member, and nothing else could end the room."""
        store, hand = await self.begin()
        changes = {f"m:{'x' * 50}{number}": None for number in range(500)}
        self.assertIsNone(await hand.send(hand.next(changes, closes=True)))
        self.assertIsNone(await store.rooms.load("room"))

    async def test_a_mailbox_is_bounded_in_bytes(self) -> None:
        store, hand = await self.begin()

        async def relay(frame: bytes) -> str:
            done: Deferred[RequestError | None] = Deferred()
            store.mailboxes.relay("room", "ann", frame, done.callback)
            error = await done
            return error.code if error is not None else ""

        self.assertEqual([await relay(b"x" * 1500) for _ in range(5)], ["", "", "", "mailbox_full", "mailbox_full"])
        self.assertEqual(await relay(b"y"), "")
        self.assertEqual(await store.mailboxes.take_mail("room", "ann"), [b"x" * 1500] * 3 + [b"y"])
        self.assertEqual(await relay(b"x" * 5001), "mailbox_full")
        self.assertEqual(await relay(b"x" * 3000), "")
        self.assertEqual(await store.mailboxes.take_mail("room", "ann"), [b"x" * 3000])

    async def test_an_empty_room_gives_its_log_back(self) -> None:
        store, hand = await self.begin()
        for _ in range(6):
            await hand.say("x" * 3000)
        self.assertIsNone(await hand.send(hand.next({"m:ann": None, "empty_since": 5.0})))
        self.assertLessEqual(await self.log_bytes(store), 16 * 1024)


class MemoryBoundsTest(BoundsContract, TestCase):
    async def make(self) -> Any:
        return MemoryStore(reactor, 1000, lambda room, commit: None, BOUNDS)

    async def log_bytes(self, store: Any) -> int:
        kept = store._rooms["room"]
        self.assertEqual(kept.log_bytes, sum(map(len, kept.log)))
        return int(kept.log_bytes)

    async def test_nothing_stays_of_a_log(self) -> None:
        store, hand = await self.begin()
        await hand.say("x" * 3000)
        store.mailboxes.relay("room", "ann", b"x")
        await hand.send(hand.next({"m:ann": None, "empty_since": 5.0}))
        kept = store._rooms["room"]
        self.assertEqual((len(kept.log), kept.log_bytes, kept.mail), (0, 0, {}))


class RedisBoundsTest(BoundsContract, RedisTestCase):
    async def make(self) -> Any:
        return await self.node(bounds=BOUNDS)

    async def log_bytes(self, store: Any) -> int:
        entries = await self.ask(store, b"XRANGE", log_key("room"), b"-", b"+")
        return sum(len(fields[1]) for _, fields in entries)

    async def counted(self, store: Any) -> int:
        return int(await self.ask(store, b"HGET", room_key("room"), b"l"))

    async def test_the_count_is_kept_with_the_room(self) -> None:
        store, hand = await self.begin()
        for _ in range(30):
            await hand.say("x" * 2000)
            self.assertEqual(await self.counted(store), await self.log_bytes(store))
        await self.ask(store, b"HDEL", room_key("room"), b"l")
        await hand.say("x")
        self.assertEqual(await self.counted(store), await self.log_bytes(store))
        # Something else has dropped entries: after a while it is right again.
        await self.ask(store, b"XTRIM", log_key("room"), b"MAXLEN", b"0")
        for _ in range(30):
            await hand.say("x" * 2000)
        self.assertEqual(await self.counted(store), await self.log_bytes(store))
        self.assertGreater(await self.counted(store), BOUNDS.log_bytes // 2)

    async def test_what_has_ended_keeps_little(self) -> None:
        store, hand = await self.begin()
        for _ in range(10):
            await hand.say("x" * 2000)
        await hand.send(hand.next({}, closes=True))
        self.assertLessEqual(await self.log_bytes(store), 16 * 1024)

    async def test_an_offered_log_is_bounded_too(self) -> None:
        store, hand = await self.begin()
        for _ in range(12):
            await hand.say("x" * 3000)
        await self.ask(store, b"DEL", room_key("room"), log_key("room"))
        self.assertEqual(await store._reseeder.one(hand.room, hand.log), 1)
        self.assertLessEqual(await self.log_bytes(store), BOUNDS.log_bytes)
        self.assertEqual(await self.counted(store), await self.log_bytes(store))

    async def test_a_room_of_the_old_form_is_written_in_the_new_one(self) -> None:
        store, hand = await self.begin()
        words: list[Any] = [part for item in old_form(hand.room).items() for part in item]
        await self.ask(store, b"HSET", room_key("room"), *words)
        await self.ask(store, b"HDEL", room_key("room"), b"locked")
        found = await store.rooms.load("room")
        names = set(await self.ask(store, b"HKEYS", room_key("room")))
        self.assertFalse(names & {b"moderation", b"departed"})
        self.assertTrue(names >= {b"b:eve", b"b:mal", b"d:bob", b"x:cid", b"locked"})
        again = await store.rooms.load("room")
        self.assertEqual((again.moderation, again.departed), (found.moderation, found.departed))
        # A lifted limit stays lifted.
        hand.room = again
        await hand.send(hand.next({"b:eve": None}))
        self.assertEqual([bar.user_id for bar in (await store.rooms.load("room")).moderation.bans], ["mal"])

    async def test_a_title_of_the_old_form_is_written_in_the_new_one(self) -> None:
        store, hand = await self.begin()
        playback = Playback("https://a.example/1", 5.0, START, True, known=True)
        await self.ask(store, b"HSET", room_key("room"), b"playback", codec.encode_field(playback))
        await self.ask(store, b"HDEL", room_key("room"), b"url")
        hand.room = await store.rooms.load("room")
        self.assertEqual(hand.room.playback, playback)
        await hand.send(hand.next({"playback": playback.controlled(9.0, False, START).with_url("")}))
        found = await store.rooms.load("room")
        self.assertEqual((found.playback.url, found.playback.position), ("https://a.example/1", 9.0))

    async def test_a_mailbox_holds_no_more_than_that(self) -> None:
        store, hand = await self.begin()
        for _ in range(300):
            store.mailboxes.relay("room", "ann", b"x" * 100)
        await hand.say("x")
        letters = await self.ask(store, b"LRANGE", mail_key("room", "ann"), b"0", b"-1")
        self.assertLessEqual(sum(map(len, letters)), BOUNDS.mailbox_bytes + 16 * len(letters))


class TooLargeTest(ServiceTestCase):
    """One command that would change too much is refused; those beside it are carried out."""

    options: dict[str, Any] = {
        "make_store": lambda clock, journal: Later(clock, 100, journal, bounds(commit_bytes=2000)),
        "protocol": protocol_settings(),
    }

    def test_the_others_of_a_batch_are_done(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        for number, text in enumerate(("a", "b", "x" * 1999, "c")):
            ann.say("CHAT", text=text, id=number)
        self.world.settle()
        self.world.advance(1)
        told = ann.told()
        self.assertEqual({message["id"] for message in told if message["type"] == "ACK"}, {0, 1, 3})
        error = self.refused([message for message in told if message["type"] == "ERROR"], "too_large")
        self.assertEqual(error["id"], 2)
        self.assertIn("limits.commit_bytes", error["message"])
        self.assertEqual([message["text"] for message in bob.told("CHAT")], ["a", "b", "c"])


class Later(MemoryStore):
    """Answers in the next turn, so that commands gather to batches."""

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        commit = super().commit
        cast(Any, self._clock).callLater(0, lambda: commit(room, commits, done))


class SmallChangeTests(SynchronousTestCase):
    def test_commit_of_keeps_small_changes_as_they_are(self) -> None:
        world = World()
        world.join("ann")
        decision = world.decide("ann", m.Chat(text="x"))
        self.assertIs(commit_of(world.room, "ann", decision, world.now, world.rules).changes, decision.changes)
