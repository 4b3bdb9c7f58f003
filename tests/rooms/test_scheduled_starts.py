"""Starts that lie ahead, on the real service: the messages to members, and reports of players before the start."""

from __future__ import annotations

from typing import Any

from tandemd.messages import DriftPolicy
from tandemd.rooms.session import Session
from tandemd.rules.lead import MARGIN_SECONDS
from tests.support.settings import playback_sync_settings, rule_settings

from ..support.fake_node import EPOCH, OTHER_TITLE, TITLE, Client, ServiceTestCase

LEAD = 0.025 + MARGIN_SECONDS
"""Seconds: links in memory have no delay, which counts as the shortest one, and a margin comes on top."""


class StartTestCase(ServiceTestCase):
    """ann and bob have new clients and watch. follows: whether their clients follow the room."""

    follows = True

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = (self.join(user) for user in ("ann", "bob"))
        self.ann.send("URL_CHANGE", url=TITLE)
        self.world.advance(1.0)
        self.report(100.0, False)
        self.world.advance(2.5)
        self.quiet()

    def join(self, user: str, **fields: Any) -> Client:
        return self.world.join(user, **{"follows": self.follows, "schedules": True, **fields})

    def report(self, position: float, playing: bool) -> None:
        for client in (self.ann, self.bob):
            client.say("POSITION_UPDATE", currentTime=position, isPlaying=playing)
        self.world.settle()

    def quiet(self) -> None:
        for client in (self.ann, self.bob):
            client.told()

    def play(self) -> dict[str, Any]:
        return self.the(self.ann.send("PLAY_PAUSE", control="play", currentTime=100.0), "PLAY_PAUSE")

    def position(self) -> float:
        room = self.world.room()
        assert room is not None
        return room.playback.position_at(self.world.now)

    def session(self, user: str) -> Session:
        (found,) = [
            protocol.connection.session
            for protocol in self.world.server.factory._protocols
            if protocol.connection is not None and protocol.connection.session.user == user
        ]
        return found

    def delay(self, user: str) -> int:
        room = self.world.room()
        assert room is not None
        return room.members[user].delay


class StartTest(StartTestCase):
    def test_all_are_told_the_same_moment(self) -> None:
        told = self.play()
        self.assertEqual(told, self.the(self.bob.told(), "PLAY_PAUSE"))
        self.assertAlmostEqual(told["at"], (self.world.now + LEAD) * 1000, 2)
        self.assertHas(told, currentTime=100.0, timestamp=int(told["at"]))
        self.world.advance(LEAD / 2)
        self.assertEqual(self.position(), 100.0)
        self.world.advance(1.0)
        self.assertAlmostEqual(self.position(), 101.0 - LEAD / 2, 3)

    def test_with_an_old_client_it_starts_at_once(self) -> None:
        old = self.world.join("old")
        old.say("POSITION_UPDATE", currentTime=100.0, isPlaying=False)
        self.world.advance(1.0)
        self.quiet()
        told = self.play()
        self.assertNotIn("at", told)
        self.assertEqual(told["timestamp"], int(self.world.now * 1000))

    def test_a_gate_opens_with_the_same_lead(self) -> None:
        self.ann.send("SEEK", currentTime=500.0, isPlaying=True)
        self.ann.send("READY", targetTime=500.0)
        told = self.the(self.bob.send("READY", targetTime=500.0), "PLAY_PAUSE")
        self.assertAlmostEqual(told["at"], (self.world.now + LEAD) * 1000, 2)
        self.assertHas(told, userId="server", currentTime=500.0)

    def test_messages_between_press_and_start(self) -> None:
        """They say where the film is, at the moment of the start: a client need not know more."""
        at = self.play()["at"]
        self.bob.told()
        state = self.the(self.join("cid").told(), "ROOM_STATE")
        self.assertHas(state, currentTime=100.0, isPlaying=True, at=at, serverTime=int(self.world.now * 1000))
        answer = self.the(self.bob.send("REQUEST_SYNC"), "SYNC_RESPONSE")
        self.assertHas(answer, currentTime=100.0, isPlaying=True, timestamp=int(at))
        takeover = self.join("bob")
        self.assertHas(self.the(takeover.told(), "ROOM_STATE"), currentTime=100.0, at=at)
        self.world.advance(1.0)
        self.assertNotIn("at", self.the(self.join("dan").told(), "ROOM_STATE"))

    def test_a_node_that_dies_between(self) -> None:
        at = self.play()["at"]
        self.world.start(self.world.crash())
        ann = self.join("ann")
        self.assertHas(self.the(ann.told(), "ROOM_STATE"), currentTime=100.0, isPlaying=True, at=at)
        self.world.advance(2.0)
        self.assertAlmostEqual(self.position(), 102.0 - LEAD, 3)


class DriftPolicyTest(StartTestCase):
    options = {"rules": rule_settings(drift_policy=DriftPolicy(0.75, 0.05, 0.01, 1.05))}

    def test_every_state_has_the_policy_of_the_configuration(self) -> None:
        policy = {"jump": 0.75, "steerFrom": 0.05, "steerUntil": 0.01, "maxRate": 1.05}
        self.assertEqual(self.the(self.join("cid").told(), "ROOM_STATE")["sync"], policy)
        seq = self.world.room().seq
        self.ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        stale = self.bob.send("PLAY_PAUSE", control="play", seq=seq)
        self.assertEqual(self.the(stale, "ROOM_STATE")["sync"], policy)


class DelayTest(StartTestCase):
    def test_the_commit_of_the_watchers_says_it(self) -> None:
        """The first pings are answered within a second of the handshake, before most players are ready."""
        self.assertEqual((self.delay("ann"), self.delay("bob")), (25, 25))

    def test_a_slow_link_is_measured(self) -> None:
        self.report(100.0, False)
        cid = self.join("cid")
        cid.link.frozen = True
        self.world.advance(2.4)
        cid.link.frozen = False
        self.world.advance(0.1)
        cid.say("POSITION_UPDATE", currentTime=100.0, isPlaying=False)
        self.world.advance(0.5)
        self.assertGreaterEqual(self.delay("cid"), 200)
        told = self.play()
        self.assertAlmostEqual(
            told["at"] / 1000 - self.world.now, min(0.5, self.delay("cid") / 1000 + MARGIN_SECONDS), 3
        )

    def test_a_change_is_learnt_when_it_lasts(self) -> None:
        self.session("bob").delay = 200
        for _ in range(4):
            self.report(100.0, False)
            self.world.advance(1.0)
        self.assertEqual(self.delay("bob"), 25)
        for _ in range(4):
            self.report(100.0, False)
            self.world.advance(1.0)
        self.assertEqual(self.delay("bob"), 200)
        self.assertEqual(self.ann.told("PLAY_PAUSE", "USER_JOINED"), [], "no member is told")
        self.session("bob").delay = 150
        seq = self.version()
        for _ in range(8):
            self.report(100.0, False)
            self.world.advance(1.0)
        self.assertEqual((self.delay("bob"), self.version()), (200, seq))

    def version(self) -> int:
        room = self.world.room()
        assert room is not None
        return room.seq


class ReportsBeforeTheStartTest(StartTestCase):
    """A host whose client schedules and does not follow, on a node that waits for nothing after a control."""

    follows = False
    options = {"positions": playback_sync_settings(control_quiet=0.0, play_state_after=0.0)}

    def test_they_are_no_evidence(self) -> None:
        """The players stand, as they should: that is neither a stall nor a pause."""
        self.session("bob").delay = self.session("ann").delay = 500
        for _ in range(8):
            self.report(100.0, False)
            self.world.advance(1.0)
        self.quiet()
        at = self.play()["at"]
        self.assertAlmostEqual(at / 1000 - self.world.now, 0.5, 3)
        self.bob.told()
        while self.world.now < at / 1000 - 0.05:
            for playing in (False, True):
                self.report(100.0, playing)
            self.world.advance(0.05)
        self.assertEqual((self.ann.told(), self.bob.told()), ([], []))
        room = self.world.room()
        assert room is not None
        self.assertEqual((room.playback.playing, room.playback.held, room.playback.at), (True, False, at / 1000))
        self.assertGreater(self.world.now, EPOCH)
