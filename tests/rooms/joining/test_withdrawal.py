"""The end of a waiting JOIN by a later message: for each reason to wait, and for each message.

F23: a member of one room sent a JOIN for another, which was locked. Hours later the other was unlocked, and the member was taken
out of the room in which it had gone on to act.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.config.schema import Limits
from tandemd.errors import ErrorCode, RequestError
from tandemd.interfaces import Unavailable
from tandemd.rooms.joining.pending_join import WITHDRAWING, JoinState
from tandemd.rules.permissions import PERMISSIONS, Permission
from tests.support.settings import rule_settings

from ...support.fake_node import TITLE, Client, ServiceTestCase, World
from .test_pending_join import SlowStore

Json = dict[str, Any]

ACTS: list[Json] = [
    {"type": "PLAY_PAUSE", "control": "play"},
    {"type": "SEEK", "currentTime": 5},
    {"type": "SET_RATE", "rate": 2},
    {"type": "URL_CHANGE", "url": TITLE},
    {"type": "CHAT", "text": "x"},
    {"type": "UPDATE_USERNAME", "username": "Me"},
    {"type": "CALL", "joined": True},
    {"type": "TOGGLE_GUEST_CONTROL", "enabled": True},
    {"type": "WAIT_FOR_BUFFERING", "enabled": True},
    {"type": "TRANSFER_HOST", "targetUserId": "bob"},
    {"type": "DELEGATE_CONTROL", "targetUserId": "bob", "enabled": True},
    {"type": "LOCK_ROOM", "locked": True},
    {"type": "KICK", "targetUserId": "bob"},
    {"type": "BAN", "targetUserId": "bob"},
    {"type": "UNBAN", "targetUserId": "bob"},
    {"type": "ADMIT", "targetUserId": "bob", "admitted": True},
]
REPORTS: list[Json] = [
    {"type": "POSITION_UPDATE", "currentTime": 5, "isPlaying": True},
    {"type": "HOST_HEARTBEAT", "currentTime": 5, "isPlaying": True},
    {"type": "READY", "targetTime": 5},
    {"type": "REQUEST_SYNC"},
    {"type": "STATUS", "status": "away"},
    {"type": "PING"},
    {"type": "OFFER", "to": "bob", "offer": {"type": "offer"}},
    {"type": "ANSWER", "to": "bob", "answer": {"type": "answer"}},
    {"type": "ICE_CANDIDATE", "to": "bob", "candidate": None},
    {"type": "PLAYBACK_ACK", "to": "bob"},
    {"type": "SYNC_RESPONSE", "to": "bob", "currentTime": 5, "isPlaying": True},
    {"type": "REQUEST_ICE_SERVERS"},
]
LEAVE: Json = {"type": "LEAVE"}
OTHER_JOIN: Json = {"type": "JOIN", "roomId": "C", "userId": "me"}
JOIN_AGAIN: Json = {"type": "JOIN", "roomId": "B", "userId": "me"}
ME = "10.0.0.9"
WITHOUT_LIMITS = Limits(joins=10_000, room_creations=10_000)


class MessagesTests(SynchronousTestCase):
    def test_each_type_is_tested(self) -> None:
        tested = [message["type"] for message in (*ACTS, *REPORTS, LEAVE, OTHER_JOIN)]
        self.assertEqual(sorted(tested), sorted(str(kind.__struct_config__.tag) for kind in m.CLIENT_MESSAGES))

    def test_controls_are_acts(self) -> None:
        controls = {kind for kind, who in PERMISSIONS.items() if who in (Permission.CONTROLLER, Permission.HOST)}
        self.assertLessEqual(controls, WITHDRAWING)
        names = {str(kind.__struct_config__.tag) for kind in WITHDRAWING}
        self.assertEqual(names, {message["type"] for message in ACTS})


class HoldingStore(SlowStore):
    """holds_joins: whether the commit of the next JOIN, and all later ones, wait for `release`."""

    holds_joins = False

    def commit(self, room: Any, commits: Any, done: Any) -> None:
        if self.holds_joins and any(commit.event == "USER_JOINED" for commit in commits):
            self.holds_joins, self.holding = False, True
        super().commit(room, commits, done)


class WithdrawalTest(ServiceTestCase):
    """The client `me` is host of room B, with bob, and has a JOIN for room A that waits; hal is host of A.

    Each `wait_...` brings about one reason to wait, and returns a function that ends it.
    """

    def begin(self, limits: Limits = WITHOUT_LIMITS) -> None:
        self.world.close()
        self.world = World(
            self.reactor, make_store=HoldingStore, limits=limits, rules=rule_settings(members_per_room=3)
        )

    def in_b(self) -> None:
        self.me = self.world.join("me", "B", peer=ME)
        self.world.join("bob", "B")

    def waits(self, state: JoinState, **fields: Any) -> None:
        """Send the JOIN for A, which waits in a state."""
        self.me.told()
        self.me.say("JOIN", roomId="A", userId="me", **fields)
        self.assertTrue(self.me.told("ERROR"))
        self.is_in(state)

    def is_in(self, state: JoinState) -> None:
        rooms = self.world.server.rooms
        live = rooms.open.get("B")
        assert live is not None
        session = live.group.get("me")
        assert session is not None and session.pending_join is not None
        self.assertIs(session.pending_join.state, state)

    def locked(self, **pin: Any) -> Client:
        self.begin()
        hal = self.world.join("hal", "A", **pin)
        hal.send("LOCK_ROOM", locked=True)
        self.in_b()
        self.waits(JoinState.WAITING_FOR_CHANGE, **pin)
        return hal

    def wait_locked(self) -> Callable[[], object]:
        hal = self.locked()
        return lambda: hal.send("LOCK_ROOM", locked=False)

    def wait_full(self) -> Callable[[], object]:
        self.begin()
        last = [self.world.join(user, "A") for user in ("hal", "ida", "jon")][-1]
        self.in_b()
        self.waits(JoinState.WAITING_FOR_CHANGE)
        return lambda: last.send("LEAVE")

    def wait_identity_conflict(self) -> Callable[[], object]:
        self.begin()
        self.world.join("hal", "A")
        other = self.world.join("me", "A", peer="10.0.0.8")
        self.in_b()
        self.waits(JoinState.WAITING_FOR_CHANGE)
        return lambda: other.send("LEAVE")

    def wait_rate_limited(self) -> Callable[[], object]:
        self.begin(Limits(joins=2))
        self.world.join("hal", "A", peer="10.0.0.8")
        self.in_b()
        self.world.join("more", "B", peer=ME)
        self.waits(JoinState.RATE_LIMITED)
        return lambda: self.world.advance(40)

    def wait_deferred(self) -> Callable[[], object]:
        self.begin(Limits(room_creations=1))
        self.in_b()
        self.waits(JoinState.DEFERRED)
        return lambda: self.world.advance(70)

    def wait_room_opening(self) -> Callable[[], object]:
        """The store could not open the room."""
        self.begin()
        self.in_b()
        load = self.world.store.load
        unavailable = RequestError(ErrorCode.UNAVAILABLE, "not now", 1000)
        self.world.store.load = lambda room_id, archived=True: fail(unavailable)
        self.waits(JoinState.OPENING_ROOM)

        def end() -> None:
            self.world.store.load = load
            self.world.advance(5)

        return end

    def wait_room_opening_slowly(self) -> Callable[[], object]:
        """The store opens the room at last, but has not answered yet."""
        self.wait_room_opening()
        del self.world.store.load
        self.world.store.is_slow = True
        self.world.advance(2.5)
        self.is_in(JoinState.OPENING_ROOM)
        answer: Callable[[], object] = self.world.store.answer
        return answer

    def wait_hashing(self) -> Callable[[], object]:
        """The room is unlocked, and the PIN is being hashed."""
        hal = self.locked(pin="1")
        pins = self.world.server.pins
        pins.holding = True
        hal.send("LOCK_ROOM", locked=False)
        self.is_in(JoinState.HASHING)
        return pins.release

    def wait_creating(self) -> Callable[[], object]:
        """The room has ended, and the budget for a new one is being asked for."""
        hal = self.locked()
        self.world.store.is_slow = True
        hal.send("LEAVE")
        self.is_in(JoinState.CREATING)
        answer: Callable[[], object] = self.world.store.answer
        return answer

    def wait_submitted(self) -> Callable[[], object]:
        """The room is unlocked, and the commit is under way."""
        hal = self.locked()
        self.world.store.holds_joins = True
        hal.send("LOCK_ROOM", locked=False)
        self.is_in(JoinState.SUBMITTED)
        release: Callable[[], object] = self.world.store.release
        return release

    def wait_replaying(self) -> Callable[[], object]:
        """A member that was lost comes back after its turn, and the store reads the missed commits."""
        self.begin(Limits(joins=2))
        self.world.join("hal", "A", peer="10.0.0.8")
        earlier = self.world.join("me", "A", peer=ME, keepsToken=True)
        token = self.the(earlier.told(), "ROOM_STATE")["token"]
        earlier.cut()
        self.in_b()
        self.waits(JoinState.RATE_LIMITED, token=token, resume={"epoch": 12345, "seq": 2})
        self.world.store.is_slow = True
        self.world.advance(40)
        self.is_in(JoinState.REPLAYING)

        def end() -> None:
            self.world.store.answer()
            # Then the address has another JOIN left.
            self.world.advance(40)

        return end

    # -- checks

    def connected_in(self, room_id: str) -> bool:
        """Return whether the member `me` of a room is connected by this client."""
        live = self.world.server.rooms.open.get(room_id)
        session = live.group.get("me") if live is not None else None
        return session is not None and session.address == ME and session._transport is not None

    def after(self, wait: Callable[[], Callable[[], object]], message: Json) -> str:
        """Return the rooms in which the client is, after a message and the end of the reason to wait."""
        end = wait()
        self.me.say(**{"kind": message["type"], **{key: value for key, value in message.items() if key != "type"}})
        self.world.settle()
        end()
        self.world.server.pins.release()
        self.world.store.answer()
        self.world.store.release()
        self.world.advance(1)
        for room_id in "ABC":
            room = self.world.room(room_id)
            member = room.members.get("me") if room is not None else None
            self.assertEqual(
                member is not None and bool(member.conn) and member.address == ME, self.connected_in(room_id)
            )
        return "".join(filter(self.connected_in, "ABC"))

    def check(self, wait: Callable[[], Callable[[], object]]) -> None:
        for messages, where in ((ACTS, "B"), (REPORTS, "A"), ([LEAVE], ""), ([OTHER_JOIN], "C"), ([JOIN_AGAIN], "B")):
            for message in messages:
                with self.subTest(message["type"]):
                    self.assertEqual(self.after(wait, message), where, message)

    def test_locked(self) -> None:
        self.check(self.wait_locked)

    def test_full(self) -> None:
        self.check(self.wait_full)

    def test_identity_conflict(self) -> None:
        self.check(self.wait_identity_conflict)

    def test_rate_limited(self) -> None:
        self.check(self.wait_rate_limited)

    def test_deferred(self) -> None:
        self.check(self.wait_deferred)

    def test_room_opening(self) -> None:
        self.check(self.wait_room_opening)

    def test_room_opening_slowly(self) -> None:
        self.check(self.wait_room_opening_slowly)

    def test_hashing(self) -> None:
        self.check(self.wait_hashing)

    def test_creating(self) -> None:
        self.check(self.wait_creating)

    def test_submitted(self) -> None:
        self.check(self.wait_submitted)

    def test_replaying(self) -> None:
        self.check(self.wait_replaying)


class OutsideTest(ServiceTestCase):
    """The client of a waiting JOIN is in no room."""

    def test_leave(self) -> None:
        """The LEAVE ends the JOIN, so it is no error."""
        [hal] = self.world.party("hal")
        hal.send("LOCK_ROOM", locked=True)
        eve = self.world.join("eve")
        eve.told()
        self.assertEqual(eve.send("LEAVE", id=7), [{"type": "ACK", "id": 7}])
        self.refused(eve.send("LEAVE"), "not_joined")
        hal.send("LOCK_ROOM", locked=False)
        self.world.advance(5)
        self.assertEqual((hal.told("USER_JOINED"), eve.told()), ([], []))

    def test_other_messages(self) -> None:
        """They act in no room, and are refused as before."""
        [hal] = self.world.party("hal")
        hal.send("LOCK_ROOM", locked=True)
        eve = self.world.join("eve")
        eve.told()
        self.refused(eve.send("CHAT", text="x"), "not_joined")
        hal.send("LOCK_ROOM", locked=False)
        self.the(eve.told(), "ROOM_STATE")

    def test_same_member_in_the_same_room(self) -> None:
        """A JOIN that the store refused takes the client out of nothing: a control does not end it."""
        [hal] = self.world.party("hal")
        rooms = self.world.store
        commit = rooms.commit
        rooms.commit = lambda room, commits, done: done(Unavailable(1.0))
        self.refused(hal.send("JOIN", roomId="room", userId="hal"), "unavailable")
        self.refused(hal.send("CHAT", text="x"), "unavailable")
        rooms.commit = commit
        self.world.advance(5)
        self.the(hal.told(), "ROOM_STATE")
