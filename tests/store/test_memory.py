"""The contract of every store of rooms, and the one in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyClass, verifyObject

from tandemd import messages as m
from tandemd.interfaces import CommitResult, Conflict, IClusterClock, IMailboxes, IRateLimitStore, IRoomStore, IStore
from tandemd.rules.gate import Gate
from tandemd.rules.playback import Playback
from tandemd.rules.state import Ban, Commit, Departed, Member, Moderation, Pin, Room, RoomSettings, Version
from tandemd.store.memory import MAILBOX_FRAMES, MemoryStore
from tandemd.util.server_time import SLEW, ServerTime
from tests.support.settings import bounds

from ..support.fake_node import EPOCH

LOG_LENGTH = 20


def member(user: str, **fields: Any) -> Member:
    return Member(user, user.title(), "node/boot/1", 1, EPOCH, **fields)


def commits_for(room: Room, *changes: dict[str, Any], due: float = 0.0, closes: bool = False) -> list[Commit]:
    """Return commits that follow on the room, each with one message."""
    return [
        Commit(
            epoch=room.epoch, seq=room.seq + i, at=EPOCH + i, event="TEST", user="ann", details=None, changes=change,
            messages=(
                m.ChatMessage(seq=room.seq + i, prev=room.seq + i - 1, user_id="ann", username=None, text=str(i), timestamp=0),
            ),
            skip="", due=due, closes=closes and i == len(changes),
        )
        for i, change in enumerate(changes, 1)
    ]  # fmt: skip


class StoreContract:
    """The contract of a store. A subclass with TestCase gives `make_store`, and `wait` if the store takes its time."""

    assertEqual: Any
    assertIsNone: Any
    assertIsNot: Any
    assertIn: Any
    assertTrue: Any
    successResultOf: Any

    def setUp(self) -> None:
        self.journal: list[tuple[Version, Commit]] = []
        self.store: IStore = self.make_store(self.journalled)

    def make_store(self, journal: Any) -> IStore:
        raise NotImplementedError

    def wait(self, result: Deferred[Any]) -> Any:
        """Return the result of a Deferred of the store."""
        return self.successResultOf(result)

    def journalled(self, room: Room, commit: Commit) -> None:
        self.journal.append((room.version, commit))

    def blank(self, code: str = "room", id: str = "1b4e28ba-2fa1-11d2-883f-0016d3cca427") -> Room:
        return Room(id, code, EPOCH, int(EPOCH * 1000))

    def commit(self, room: Room, commits: Sequence[Commit]) -> CommitResult:
        """Commit, and wait for the answer."""
        answer: Deferred[CommitResult] = Deferred()
        self.store.rooms.commit(room, commits, answer.callback)
        result: CommitResult = self.wait(answer)
        return result

    def create(self, code: str = "room", **fields: Any) -> Room:
        """Return a room that the store has, with ann in it."""
        room = self.blank(code)
        settings = RoomSettings(invite=f"invite{code}"[:10])
        commits = commits_for(room, {"m:ann": member("ann"), "host": "ann", "settings": settings}, **fields)
        self.assertIsNone(self.commit(room, commits))
        room.apply(commits[0])
        return room

    def load(self, code: str = "room") -> Room | None:
        room: Room | None = self.wait(self.store.rooms.load(code))
        return room

    def assertSame(self, room: Room, other: Room | None) -> None:
        assert other is not None
        for name in ("room_uuid", "room_id", "created_at", "version", "prev", "at", "due", "closed"):
            self.assertEqual(getattr(room, name), getattr(other, name), name)
        self.assertEqual(room.fields(), other.fields())

    # -- commits

    def test_no_such_room(self) -> None:
        self.assertIsNone(self.load())
        self.assertIsNone(self.wait(self.store.rooms.replay("room", (1, 0))))
        self.assertIsNone(self.wait(self.store.rooms.find_invite("x")))
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "ann"))), [])

    def test_create(self) -> None:
        room = self.create()
        self.assertSame(room, self.load())

    def test_every_field(self) -> None:
        room = self.create()
        changes = {
            "playback": Playback("https://www.netflix.com/watch/1", 1.5, EPOCH, True, 1.25, True, EPOCH, EPOCH),
            "host": "bob \u00e9\U0001f600",
            "settings": RoomSettings(True, Pin("salt", "hash"), "invite1234"),
            "gate": Gate(5.25, EPOCH, ("ann",), ("bob",), True),
            "departed": (Departed("cid", EPOCH, "10.0.0.1"),),
            "moderation": Moderation(True, ("ann",), (Ban("eve", "Eve", "10.0.0.2", EPOCH),)),
            "empty_since": EPOCH,
            "m:bob \u00e9\U0001f600": member(
                "bob", token="t", next_token="n", identity_proven=True, recent_commands=(("n", 1, 2),)
            ),
            "m:ann": None,
        }
        commits = commits_for(room, changes, due=EPOCH + 5)
        self.assertIsNone(self.commit(room, commits))
        room.apply(commits[0])
        self.assertSame(room, self.load())

    def test_the_callers_copies_are_its_own(self) -> None:
        room = self.create()
        before = room.version
        commits = commits_for(room, {"host": "bob"})
        self.assertIsNone(self.commit(room, commits))
        self.assertEqual(room.version, before)
        loaded = self.load()
        assert loaded is not None
        loaded.members.clear()
        loaded.host = "eve"
        again = self.load()
        assert again is not None
        self.assertEqual((again.host, list(again.members)), ("bob", ["ann"]))

    def test_several_at_once(self) -> None:
        room = self.create()
        commits = commits_for(room, {"host": "a"}, {"host": "b"}, {"m:bob": member("bob")})
        self.assertIsNone(self.commit(room, commits))
        for commit in commits:
            room.apply(commit)
        self.assertSame(room, self.load())

    def test_a_late_follower_is_told(self) -> None:
        room = self.create()
        self.assertIsNone(self.commit(room, commits_for(room, {"host": "bob"})))
        result = self.commit(room, commits_for(room, {"host": "eve"}, {"host": "cid"}))
        self.assertEqual(result, Conflict((room.epoch, 2)))
        loaded = self.load()
        assert loaded is not None
        self.assertEqual((loaded.host, loaded.seq), ("bob", 2))

    def test_two_create(self) -> None:
        """B36."""
        room = self.create()
        other = self.blank(id="0b4e28ba-2fa1-11d2-883f-0016d3cca427")
        result = self.commit(other, commits_for(other, {"host": "eve"}))
        self.assertEqual(result, Conflict((room.epoch, 1)))

    def test_room_that_is_gone(self) -> None:
        """B17: a late command does not bring half a room back."""
        room = self.create()
        self.assertIsNone(self.commit(room, commits_for(room, {"m:ann": None}, closes=True)))
        self.assertIsNone(self.load())
        self.assertEqual(self.commit(room, commits_for(room, {"host": "eve"})), Conflict(None))
        self.assertIsNone(self.load())

    def test_code_is_free_again(self) -> None:
        """B32: something of the old room was in the new one."""
        room = self.create()
        self.store.mailboxes.relay("room", "ann", b"old mail")
        self.assertIsNone(self.commit(room, commits_for(room, {"host": ""}, closes=True)))
        self.assertIsNone(self.wait(self.store.rooms.find_invite(room.settings.invite)))
        new = self.blank(id="0b4e28ba-2fa1-11d2-883f-0016d3cca427")
        new.epoch = room.epoch + 1
        commits = commits_for(new, {"m:ann": member("ann"), "host": "ann"})
        self.assertIsNone(self.commit(new, commits))
        new.apply(commits[0])
        self.assertSame(new, self.load())
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "ann"))), [])
        self.assertIsNone(self.wait(self.store.rooms.replay("room", (room.epoch, 1))))

    # -- the log

    def test_replay(self) -> None:
        room = self.create()
        commits = commits_for(room, {"host": "a"}, {"host": "b"}, {"m:bob": member("bob")}, {"m:ann": None})
        self.assertIsNone(self.commit(room, commits))
        for seen in range(1, 6):
            missed = self.wait(self.store.rooms.replay("room", (room.epoch, seen)))
            self.assertEqual(list(missed), commits[seen - 1 :])

    def test_replay_of_what_is_not_there(self) -> None:
        room = self.create()
        for version in ((room.epoch, 2), (room.epoch + 1, 1), (room.epoch - 1, 1), (0, 0)):
            self.assertIsNone(self.wait(self.store.rooms.replay("room", version)), version)

    def test_replay_reaches_back_only_so_far(self) -> None:
        room = self.create()
        for i in range(LOG_LENGTH * 3):
            commits = commits_for(room, {"host": str(i)})
            self.assertIsNone(self.commit(room, commits))
            room.apply(commits[0])
        self.assertEqual(
            len(self.wait(self.store.rooms.replay("room", (room.epoch, room.seq - LOG_LENGTH // 2)))), LOG_LENGTH // 2
        )
        self.assertIsNone(self.wait(self.store.rooms.replay("room", (room.epoch, 1))))

    # -- invites, mail, due times

    def test_invite(self) -> None:
        room = self.create()
        self.assertEqual(self.wait(self.store.rooms.find_invite(room.settings.invite)), "room")
        self.assertIsNone(self.wait(self.store.rooms.find_invite("other")))

    def test_mail(self) -> None:
        self.create()
        frames = [b"1", b"\x00\xff", b"3" * 70_000]
        for frame in frames:
            self.store.mailboxes.relay("room", "ann", frame)
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "bob"))), [])
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "ann"))), frames)
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "ann"))), [])

    def test_mail_is_dropped(self) -> None:
        self.create()
        self.store.mailboxes.relay("room", "ann", b"1")
        self.store.mailboxes.drop_mail("room", "ann")
        self.store.mailboxes.drop_mail("nowhere", "ann")
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "ann"))), [])

    def test_mail_is_bounded(self) -> None:
        self.create()
        for i in range(MAILBOX_FRAMES + 50):
            self.store.mailboxes.relay("room", "ann", b"%d" % i)
        mail = list(self.wait(self.store.mailboxes.take_mail("room", "ann")))
        self.assertTrue(0 < len(mail) <= MAILBOX_FRAMES)
        self.assertEqual(mail[-1], b"%d" % (MAILBOX_FRAMES + 49))

    def test_mail_for_no_member(self) -> None:
        self.create()
        self.store.mailboxes.relay("room", "eve", b"1")
        self.store.mailboxes.relay("nowhere", "ann", b"1")
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "eve"))), [])

    def test_mail_dies_with_its_member(self) -> None:
        room = self.create()
        self.store.mailboxes.relay("room", "ann", b"1")
        commits = commits_for(room, {"m:ann": None}, {"m:ann": member("ann")})
        self.assertIsNone(self.commit(room, commits))
        self.assertEqual(list(self.wait(self.store.mailboxes.take_mail("room", "ann"))), [])

    def test_due(self) -> None:
        """B24: one strange entry ended the cleaning up of all rooms for ever."""
        now = self.store.clock.now()
        room = self.create("late", due=now - 1)
        self.create("later", due=now + 3600)
        self.create("never")
        self.assertEqual(list(self.wait(self.store.rooms.due_rooms(now))), ["late"])
        self.assertIsNone(self.commit(room, commits_for(room, {"host": ""}, closes=True)))
        self.assertEqual(list(self.wait(self.store.rooms.due_rooms(now))), [])

    def test_ready(self) -> None:
        self.assertEqual(self.store.ready(), "")

    def test_time_goes_on(self) -> None:
        self.assertTrue(self.store.clock.now() <= self.store.clock.now())


class MemoryStoreTest(StoreContract, TestCase):
    def make_store(self, journal: Any) -> IStore:
        self.clock = Clock()
        self.clock.advance(EPOCH)
        store: IStore = MemoryStore(self.clock, LOG_LENGTH, journal, bounds())
        return store

    def test_interface(self) -> None:
        verifyClass(IRoomStore, MemoryStore)
        for interface in (IStore, IRoomStore, IMailboxes, IRateLimitStore, IClusterClock):
            verifyObject(interface, self.store)

    def test_journal(self) -> None:
        """It is told of each commit, with the room after it."""
        room = self.create()
        commits = commits_for(room, {"host": "a"}, {"host": "b"})
        self.assertIsNone(self.commit(room, commits))
        self.commit(room, commits)
        self.assertEqual([version for version, _ in self.journal], [(room.epoch, 1), (room.epoch, 2), (room.epoch, 3)])
        self.assertEqual([commit for _, commit in self.journal[1:]], commits)

    def test_followed_rooms_look_after_themselves(self) -> None:
        self.create(due=EPOCH + 5)
        self.store.rooms.subscribe("room")
        self.assertEqual(self.wait(self.store.rooms.due_rooms(EPOCH + 6)), [])
        self.store.rooms.unsubscribe("room")
        self.assertEqual(self.wait(self.store.rooms.due_rooms(EPOCH + 6)), ["room"])

    def test_restore(self) -> None:
        room = self.create(due=EPOCH + 5)
        self.clock.advance(2.0)
        restarted = MemoryStore(self.clock, LOG_LENGTH, self.journalled, bounds())
        again = room.copy()
        again.epoch += 1
        restarted.restore([again])
        self.store = restarted
        self.assertSame(again, self.load())
        self.assertEqual(self.wait(restarted.find_invite(room.settings.invite)), "room")
        self.assertEqual(self.wait(restarted.due_rooms(EPOCH + 6)), ["room"])
        self.assertEqual(restarted.grace_floor(), EPOCH + 2, "no grace period began before that")
        # The log is gone, and a node that knows only the old numbers cannot commit.
        self.assertIsNone(self.wait(restarted.replay("room", room.version)))
        self.assertEqual(self.commit(room, commits_for(room, {"host": "eve"})), Conflict(again.version))

    def restarted(self, room: Room) -> Room:
        """Restart the store with a room, and return the room in its new epoch."""
        again = room.copy()
        again.former_epoch, again.epoch = room.epoch, room.epoch + 5
        self.store = MemoryStore(self.clock, LOG_LENGTH, self.journalled, bounds())
        self.store.restore([again])
        return self.present()

    def present(self) -> Room:
        """Return the room of the store."""
        found = self.load()
        assert found is not None
        return found

    def test_replay_across_a_restart(self) -> None:
        """A member that had all messages before the restart receives those after it; any other does not know."""
        before = self.create()
        self.commit(before, commits_for(before, {"host": "eve"}))
        seen = self.present().version
        [silent] = commits_for(self.present(), {"host": "ann"})
        self.commit(self.present(), [msgspec.structs.replace(silent, messages=())])
        room = self.restarted(self.present())
        self.commit(room, commits := commits_for(room, {"host": "bob"}, {"host": "cyd"}))
        for after in (seen, (seen[0], room.seq)):
            self.assertEqual(self.wait(self.store.rooms.replay("room", after)), commits)
        for after in ((seen[0], seen[1] - 1), (seen[0], room.seq + 1), (seen[0] - 1, seen[1]), (seen[0] + 1, seen[1])):
            self.assertIsNone(self.wait(self.store.rooms.replay("room", after)), after)
        # After another restart, this one's log is gone as well.
        self.restarted(self.present())
        self.assertIsNone(self.wait(self.store.rooms.replay("room", seen)))

    def test_restored_rooms_of_a_later_time(self) -> None:
        """The wall clock was set back between two runs: server time continues from the stored one, and approaches it."""
        room = self.create(due=EPOCH + 5)
        later = room.copy()
        later.epoch, later.at = later.epoch + 1, EPOCH + 3600
        time = ServerTime(self.clock)
        time.look(self.clock.seconds)
        restarted = MemoryStore(self.clock, LOG_LENGTH, self.journalled, bounds(), time=time)
        restarted.restore([later])
        self.assertEqual((restarted.now(), restarted.grace_floor()), (EPOCH + 3600, EPOCH + 3600))
        self.assertEqual(self.wait(restarted.due_rooms(restarted.now())), ["room"])
        self.clock.advance(10.0)
        time.look(self.clock.seconds)
        self.assertAlmostEqual(restarted.now(), EPOCH + 3600 + 10 * (1 - SLEW), places=5)

    def test_restored_rooms_of_an_earlier_time(self) -> None:
        room = self.create()
        self.clock.advance(3600.0)
        restarted = MemoryStore(self.clock, LOG_LENGTH, self.journalled, bounds())
        restarted.restore([room.copy()])
        self.assertEqual((restarted.now(), restarted.grace_floor()), (EPOCH + 3600, EPOCH + 3600))
