"""Coming back: missed messages, members that have left, and a restarted server."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tandemd.config.schema import Limits
from tandemd.ratelimit import Rate
from tandemd.rules.state import Commit, Room, Version
from tandemd.store.memory import MemoryStore
from tests.support.settings import bounds, rule_settings

from ..support.fake_node import TITLE, Client, HeldStore, ServiceTestCase


class LateMailStore(HeldStore):
    """Answers with the taker of mail when a test says so."""

    def __init__(self, clock: Any, journal: Any):
        super().__init__(clock, journal)
        self.late: Deferred[None] | None = None

    def take_mail(self, code: str, user_id: str) -> Deferred[Sequence[bytes]]:
        taken = super().take_mail(code, user_id)
        return taken if self.late is None else self.late.addCallback(lambda ignored: taken)


class LateMailTest(ServiceTestCase):
    """A member comes back and is lost again, or another page joins, before the mail comes."""

    options = {"make_store": LateMailStore}

    def setUp(self) -> None:
        super().setUp()
        [ann] = self.world.party("ann")
        bob = self.world.join("bob", keepsToken=True)
        self.state = self.the(bob.told(), "ROOM_STATE")
        bob.cut()
        ann.say("OFFER", to="bob", offer={"sdp": "x", "type": "offer"})
        self.world.settle()
        self.late = self.world.store.late = Deferred()
        self.first = self.resume()

    def resume(self) -> Client:
        resume = {"epoch": self.state["epoch"], "seq": self.state["seq"]}
        return self.world.join("bob", token=self.state["token"], resume=resume)

    def come(self) -> None:
        self.world.store.late = None
        self.late.callback(None)
        self.world.settle()

    def test_lost_again(self) -> None:
        self.first.cut()
        self.come()
        self.assertEqual(self.resume().types()[-1], "OFFER")

    def test_a_fresh_page_has_joined(self) -> None:
        self.first.cut()
        fresh = self.world.join("bob", token=self.state["token"])
        self.come()
        fresh.cut()
        self.assertNotIn("OFFER", fresh.types())
        self.assertNotIn("OFFER", self.resume().types())


class ResumeBudgetTest(ServiceTestCase):
    """H1: a resume of 100 bytes asked for 256 kB, as often as an address may JOIN."""

    options = {"limits": Limits(address_bytes_rate=Rate(1000, 100_000))}

    def test_replays_are_charged_to_the_address(self) -> None:
        ann = self.world.join("ann", peer="10.1.0.1")
        bob = self.world.join("bob", peer="10.1.0.2", keepsToken=True)
        state = self.the(bob.told(), "ROOM_STATE")
        bob.cut()
        for _ in range(20):
            ann.send("CHAT", text="x" * 500)
            self.world.advance(1)
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        token, told, replayed = state["token"], [], []
        for _ in range(10):
            bob = self.world.join("bob", peer="10.1.0.2", token=token, resume=resume, keepsToken=True)
            messages = bob.told()
            answer = self.the(messages, "ROOM_STATE")
            token = answer.get("token") or token
            told.append(answer["resumed"])
            replayed.append(len(messages) > 1)
        self.assertEqual(told, replayed)
        self.assertEqual(told, sorted(told, reverse=True))
        self.assertIn(sum(told), range(2, 6), "half of the burst, which is 100 kB, at 12 kB each")
        bob.say("CHAT", text="hello", id=1)
        self.assertEqual(bob.types(), ["CHAT", "ACK"], "commands find the rest")
        # Where nothing was missed, nothing is charged; and the budget grows back.
        resume = {"epoch": answer["epoch"], "seq": answer["seq"] + 1}
        bob = self.world.join("bob", peer="10.1.0.2", token=token, resume=resume, keepsToken=True)
        self.assertTrue(self.the(bob.told(), "ROOM_STATE")["resumed"])
        self.world.advance(60)
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        bob = self.world.join("bob", peer="10.1.0.2", token=token, resume=resume)
        self.assertTrue(self.the(bob.told(), "ROOM_STATE")["resumed"])


class ResumeTest(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        [self.ann] = self.world.party("ann")
        self.bob = self.world.join("bob", keepsToken=True, nonce="n")
        self.state: dict[str, Any] = self.the(self.bob.told(), "ROOM_STATE")
        self.ann.told()

    def resume(self, **fields: Any) -> Client:
        resume = {"epoch": self.state["epoch"], "seq": self.state["seq"]}
        return self.world.join("bob", peer="10.9.9.9", **{"token": self.state["token"], "resume": resume, **fields})

    def test_nothing_missed(self) -> None:
        self.bob.cut()
        self.assertHas(self.the(self.resume().told(), "ROOM_STATE"), resumed=True, hostUserId="ann")
        self.assertEqual(self.ann.told(), [], "the others' video goes on")

    def test_missed_messages_come_in_order_before_the_state(self) -> None:
        self.bob.cut()
        self.ann.send("CHAT", text="1")
        self.ann.send("PLAY_PAUSE", control="play", currentTime=10)
        cid = self.world.join("cid")
        self.ann.send("CHAT", text="2")
        cid.send("LEAVE")
        told = self.resume().told()
        kinds = ["CHAT", "PLAY_PAUSE", "USER_JOINED", "CHAT", "LEAVE", "USER_LEFT", "ROOM_STATE"]
        self.assertEqual([m["type"] for m in told], kinds)
        self.assertTrue(all(m["replayed"] for m in told[:-1]))
        self.assertHas(told[-1], resumed=True, isPlaying=True)
        # No hole: each names the one before it.
        seen = self.state["seq"]
        for message in told[:-1]:
            self.assertIn(seen, (message["prev"], message["seq"]))
            seen = message["seq"]
        self.assertEqual(told[-1]["prev"], seen)

    def test_live_messages_follow_on(self) -> None:
        self.bob.cut()
        self.ann.send("CHAT", text="1")
        bob = self.resume()
        state = bob.told()[-1]
        self.ann.send("CHAT", text="2")
        [chat] = bob.told()
        self.assertHas(chat, text="2", prev=state["prev"])
        self.assertNotIn("replayed", chat)

    def test_connection_that_is_not_known_to_be_lost(self) -> None:
        """The client notices first."""
        self.ann.send("CHAT", text="1")
        bob = self.resume()
        self.assertEqual(bob.types(), ["CHAT", "ROOM_STATE"])
        self.assertFalse(self.bob.closed)
        self.ann.told()
        self.world.advance(100)
        self.assertEqual(self.ann.told(), [])

    def test_log_does_not_reach_back(self) -> None:
        self.bob.cut()
        for i in range(101):
            self.ann.send("CHAT", text=str(i))
        told = self.resume().told()
        self.assertHas(told[0], type="ROOM_STATE", resumed=False)
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE"])

    def test_numbers_from_nowhere(self) -> None:
        self.bob.cut()
        for resume in ({"epoch": 1, "seq": 1}, {"epoch": self.state["epoch"], "seq": 10**9}):
            told = self.resume(resume=resume).told()
            self.assertHas(told[0], type="ROOM_STATE", resumed=False)
        self.refused(self.resume(resume={"epoch": 1}).told(), "bad_message")

    def test_without_the_token(self) -> None:
        """Numbers prove nothing, and a reloaded page needs the whole state."""
        self.bob.cut()
        self.refused(self.resume(token=None).told(), "identity_conflict")
        bob = self.world.join("bob", resume={"epoch": self.state["epoch"], "seq": 1})
        self.refused(bob.told(), "identity_conflict")
        self.world.advance(46)
        self.assertHas(self.the(bob.told(), "ROOM_STATE"), resumed=False)
        self.assertEqual(self.ann.types(), ["LEAVE", "USER_LEFT", "USER_JOINED"])

    def test_after_the_grace_period(self) -> None:
        """It is a first admission again."""
        self.bob.cut()
        self.world.advance(46)
        self.ann.told()
        self.assertHas(self.resume().told()[0], type="ROOM_STATE", resumed=False)
        self.assertEqual(self.ann.types(), ["USER_JOINED"])

    def test_one_who_watched_still_watches(self) -> None:
        self.ann.send("PLAY_PAUSE", control="play", currentTime=10)
        self.world.advance(3)
        self.bob.send("POSITION_UPDATE", currentTime=13, isPlaying=True)
        self.world.advance(0.25)
        count = len(self.world.server.journal)
        bob = self.resume()
        for _ in range(10):
            bob.send("POSITION_UPDATE", currentTime=13, isPlaying=True)
            self.world.advance(0.5)
        events = [commit.event for _, commit in self.world.server.journal[count:]]
        self.assertEqual(events, ["USER_RESUMED"])


class NewcomerTest(ServiceTestCase):
    """A member gets no replay of messages from before its JOIN."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", pin="123456")
        self.dan = self.world.join("dan", pin="123456")
        for i in range(5):
            self.ann.send("CHAT", text=f"private {i}")
        self.dan.send("LEAVE")

    def resumed(self, user: str, token: str, seq: int, epoch: int | None = None) -> list[dict[str, Any]]:
        """Return the messages to a member that resumes behind `seq`."""
        if epoch is None:
            room = self.world.room()
            assert room is not None
            epoch = room.epoch
        resume = {"epoch": epoch, "seq": seq}
        return self.world.join(user, peer="10.7.7.7", token=token, resume=resume).told()

    def assertNothingBefore(self, told: list[dict[str, Any]]) -> None:
        self.assertEqual([m["type"] for m in told if m.get("replayed")], [])
        self.assertHas(self.the(told, "ROOM_STATE"), resumed=False)
        self.assertEqual([m for m in told if m["type"] in ("LEAVE", "USER_LEFT")], [])

    def test_fresh_token(self) -> None:
        eve = self.world.join("eve", pin="123456", keepsToken=True)
        state = self.the(eve.told(), "ROOM_STATE")
        for seq in (0, 1, state["seq"] - 1):
            self.assertNothingBefore(self.resumed("eve", state["token"], seq))
        for seq in (0, 10**6):
            self.assertNothingBefore(self.resumed("eve", state["token"], seq, 1))

    def test_same_connection(self) -> None:
        eve = self.world.join("eve", pin="123456", keepsToken=True)
        state = self.the(eve.told(), "ROOM_STATE")
        resume = {"epoch": state["epoch"], "seq": 0}
        told = eve.send("JOIN", userId="eve", roomId="room", token=state["token"], resume=resume)
        self.assertNothingBefore(told)

    def test_what_was_said_in_its_presence_is_replayed(self) -> None:
        eve = self.world.join("eve", pin="123456", keepsToken=True)
        state = self.the(eve.told(), "ROOM_STATE")
        self.ann.send("CHAT", text="public")
        told = self.resumed("eve", state["token"], state["seq"])
        self.assertEqual([m.get("text") for m in told if m.get("replayed")], ["public"])
        self.assertHas(self.the(told, "ROOM_STATE"), resumed=True)

    def test_one_who_left_and_came_back(self) -> None:
        eve = self.world.join("eve", pin="123456", keepsToken=True)
        before = self.the(eve.told(), "ROOM_STATE")
        eve.send("LEAVE")
        self.ann.send("CHAT", text="about eve")
        state = self.the(self.world.join("eve", pin="123456", keepsToken=True).told(), "ROOM_STATE")
        self.assertNothingBefore(self.resumed("eve", state["token"], before["seq"]))

    def test_one_who_was_kicked_and_came_back(self) -> None:
        eve = self.world.join("eve", pin="123456", keepsToken=True)
        before = self.the(eve.told(), "ROOM_STATE")
        self.ann.send("KICK", targetUserId="eve")
        self.ann.send("CHAT", text="about eve")
        self.ann.send("UNBAN", targetUserId="eve")
        state = self.the(self.world.join("eve", pin="123456", keepsToken=True).told(), "ROOM_STATE")
        self.assertNothingBefore(self.resumed("eve", state["token"], before["seq"]))

    def test_an_old_client_that_learns_to_keep_a_token(self) -> None:
        """It was a member all the time, but only its address says so, so nothing is replayed."""
        old = self.world.join("bob", pin="123456", peer="10.0.0.9")
        self.ann.send("CHAT", text="to bob")
        old.cut()
        bob = self.world.join("bob", peer="10.0.0.9", keepsToken=True)
        token = self.the(bob.told(), "ROOM_STATE")["token"]
        self.assertNothingBefore(self.resumed("bob", token, 0))

    def test_the_host_under_another_id(self) -> None:
        """An old client is known by address and name; so might be another person there."""
        [host, guest] = [self.world.join("hal", "two", peer="10.0.0.9"), self.world.join("gus", "two")]
        guest.send("CHAT", text="to hal")
        host.cut()
        self.world.advance(5)
        again = self.world.join("hal2", "two", peer="10.0.0.9", username="Hal", keepsToken=True)
        state = self.the(again.told(), "ROOM_STATE")
        self.assertEqual(state["hostUserId"], "hal2")
        resume = {"epoch": state["epoch"], "seq": 0}
        told = self.world.join("hal2", "two", token=state["token"], resume=resume).told()
        self.assertEqual([m["type"] for m in told if m.get("replayed")], [])

    def test_who_left_before_a_newcomer_came_is_not_told_to_it(self) -> None:
        eve = self.world.join("eve", pin="123456")
        eve.told()
        self.assertEqual([m["type"] for m in eve.send("JOIN", userId="eve", roomId="room")], ["ROOM_STATE"])


ACTS = ("join", "join", "admit", "resume", "resume", "resume", "leave", "cut", "kick", "chat", "restart")
"""The acts of `PresenceProperty`, by their frequency."""


class PresenceProperty(ServiceTestCase):
    """Whatever members do: none is ever replayed a commit that was made before its admission."""

    options = {"rules": rule_settings(kick=0.5)}

    def test_any_history(self) -> None:
        replayed = sum(self.history(random.Random(seed), f"room{seed}") for seed in range(40))
        self.assertGreater(replayed, 100, "the histories are to replay something")

    def history(self, rng: random.Random, code: str) -> int:
        """Let members of a new room act at random; return how many messages were replayed."""
        host = self.world.join("host", code)
        clients: dict[str, Client] = {}
        tokens: dict[str, str] = {}
        admitted: dict[str, int] = {}
        epochs: set[int] = set()
        replayed = 0
        for step in range(60):
            user, act = rng.choice(("ann", "bob", "cid")), rng.choice(ACTS)
            if act == "restart":
                self.world.start(self.world.crash())
                clients.clear()
                host = self.world.join("host", code)
            room = self.world.room(code)
            assert room is not None
            epochs.add(room.epoch)
            client = clients.get(user)
            if act == "kick" and user in room.members:
                host.send("KICK", targetUserId=user)
                self.world.advance(1)
            elif act in ("leave", "cut") and client is not None:
                if act == "leave":
                    client.send("LEAVE")
                client.cut()
                del clients[user]
            elif act in ("join", "resume", "admit"):
                fields: dict[str, Any] = {"keepsToken": rng.random() < 0.7}
                if act == "resume" and user in tokens:
                    epoch = room.epoch if rng.random() < 0.8 else rng.choice(sorted(epochs))
                    fields = {"token": tokens[user], "resume": {"epoch": epoch, "seq": rng.randrange(room.seq + 2)}}
                if act == "admit":
                    host.send("LOCK_ROOM", locked=True)
                client = self.world.join(user, code, **fields)
                if act == "admit":
                    host.send("CHAT", text="about the newcomer")
                    host.send("ADMIT", targetUserId=user, admitted=True)
                    self.world.advance(1)
                    host.send("LOCK_ROOM", locked=False)
                told = client.told()
                states = [m for m in told if m["type"] == "ROOM_STATE"]
                if not states:
                    client.cut()
                    continue
                clients[user] = client
                tokens[user] = states[0].get("token") or tokens.get(user, "")
                if user not in room.members:
                    # The JOIN behind a lock has waited for further commits.
                    admitted[user] = room.seq + (2 if act == "admit" else 1)
                for message in told:
                    if message.get("replayed"):
                        replayed += 1
                        self.assertGreater(message["seq"], admitted[user], (code, step, user))
            host.send("CHAT", text=str(step))
        return replayed


class TilesTest(ServiceTestCase):
    """X20: ROOM_STATE takes no member off the screen of an old client."""

    def test_those_who_left_meanwhile(self) -> None:
        _, bob, cid, dan = self.world.party("ann", "bob", "cid", "dan")
        bob.cut()
        cid.send("LEAVE")
        dan.cut()
        self.world.advance(10)
        self.world.join("bob").told()
        bob = self.world.join("bob")
        told = bob.told()
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "LEAVE", "USER_LEFT"])
        self.assertEqual([m["userId"] for m in told[1:]], ["cid", "cid"])
        for message in told[1:]:
            self.assertNotIn("seq", message, "it is not a message of the log")

    def test_after_the_own_grace_period(self) -> None:
        _, bob, cid = self.world.party("ann", "bob", "cid")
        bob.cut()
        cid.send("LEAVE")
        self.world.advance(60)
        told = self.world.join("bob").told()
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "LEAVE", "USER_LEFT"])
        self.assertEqual({m["userId"] for m in told[1:]}, {"cid"})

    def test_not_those_who_came_back(self) -> None:
        _, bob, cid = self.world.party("ann", "bob", "cid")
        bob.cut()
        cid.send("LEAVE")
        cid.send("JOIN", userId="cid", roomId="room")
        self.assertEqual(self.world.join("bob").types(), ["ROOM_STATE"])

    def test_not_for_newcomers(self) -> None:
        _, cid = self.world.party("ann", "cid")
        cid.send("LEAVE")
        self.assertEqual(self.world.join("dan").types(), ["ROOM_STATE"])


class RestartTest(ServiceTestCase):
    """B38: every deployment ended every party."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", pin="123456", keepsToken=True, nonce="n")
        self.state = self.the(self.ann.told(), "ROOM_STATE")
        self.bob = self.world.join("bob", pin="123456")
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=100)
        for seconds in range(10):
            self.ann.send("POSITION_UPDATE", currentTime=100 + seconds, isPlaying=True)
            self.world.advance(1)
        self.ann.told(), self.bob.told()

    def restart(self, pause: float = 3.0) -> None:
        rooms = self.world.crash()
        self.assertTrue(self.ann.closed and self.bob.closed)
        self.world.advance(pause)
        self.world.start(rooms)

    def test_everything_is_back(self) -> None:
        self.restart()
        ann = self.world.join("ann", pin=None, username=None, token=self.state["token"])
        state = self.the(ann.told(), "ROOM_STATE")
        self.assertHas(state, hostUserId="ann", url=TITLE, isPlaying=True, guestControlEnabled=True)
        self.assertAlmostEqual(state["currentTime"], 113, 0)
        self.assertEqual([u["userId"] for u in state["users"]], ["ann", "bob"])
        self.assertEqual(state["users"][0]["username"], "Ann")
        self.assertGreater(state["epoch"], self.state["epoch"])
        self.assertGreater(state["seq"], 5)
        self.refused(self.world.join("cid", pin="000000").told(), "bad_pin")
        self.assertEqual(self.world.join("cid", pin="123456").types()[0], "ROOM_STATE")

    def test_those_who_do_not_come_back(self) -> None:
        self.restart()
        bob = self.world.join("bob")
        bob.told()
        self.world.advance(40)
        self.assertEqual(bob.told("LEAVE", "USER_LEFT", "HOST_CHANGED"), [])
        self.world.advance(6)
        told = bob.told("LEAVE", "USER_LEFT", "HOST_CHANGED")
        self.assertEqual([m["type"] for m in told], ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertEqual(told[-1]["hostUserId"], "bob")

    def test_grace_begins_with_the_start(self) -> None:
        """However long the server was away, each member has the whole period to come back."""
        self.bob.cut()
        self.world.advance(40)
        self.restart(pause=600)
        self.world.advance(40)
        self.assertHas(
            self.the(self.world.join("ann", token=self.state["token"]).told(), "ROOM_STATE"), hostUserId="ann"
        )
        bob = self.world.join("bob")
        self.assertEqual(self.the(bob.told(), "ROOM_STATE")["users"][1]["userId"], "bob")
        self.assertNotIn("LEAVE", bob.types())

    def test_resume_from_before(self) -> None:
        """The numbers go on, so a member that has missed nothing before the restart receives the messages after it."""
        self.restart()
        bob = self.world.join("bob")
        bob.send("CHAT", text="hello")
        resume = {"epoch": self.state["epoch"], "seq": 5}
        ann = self.world.join("ann", peer="9.9.9.9", token=self.state["token"], resume=resume)
        told = ann.told()
        self.assertEqual(self.the(told, "CHAT")["text"], "hello")
        self.assertHas(self.the(told, "ROOM_STATE"), resumed=True, hostUserId="ann")

    def test_resume_from_before_with_a_gap(self) -> None:
        """The log of before is gone."""
        self.restart()
        resume = {"epoch": self.state["epoch"], "seq": 4}
        ann = self.world.join("ann", peer="9.9.9.9", token=self.state["token"], resume=resume)
        self.assertHas(self.the(ann.told(), "ROOM_STATE"), resumed=False, hostUserId="ann")

    def test_command_ids_are_remembered(self) -> None:
        told = self.ann.send("CHAT", text="once", id=1)
        self.restart()
        ann = self.world.join("ann", peer="9.9.9.9", token=self.state["token"], nonce="n")
        ann.told()
        self.assertEqual(ann.send("CHAT", text="once", id=1), [{"type": "ACK", "id": 1, "seq": told[-1]["seq"]}])

    def test_gate_that_was_closed(self) -> None:
        """B17: the gate lived in the process."""
        self.ann.send("POSITION_UPDATE", currentTime=110, isPlaying=True)
        self.ann.send("SEEK", currentTime=500, isPlaying=True)
        self.restart()
        state = self.the(self.world.join("ann", token=self.state["token"]).told(), "ROOM_STATE")
        self.assertHas(state, isPlaying=True, gate=None)
        self.assertGreaterEqual(state["currentTime"], 500)

    def test_no_member_comes_back(self) -> None:
        self.restart()
        self.world.advance(46)
        self.assertEqual(self.world.store.codes(), ["room"])
        self.world.advance(4 * 3600)
        self.assertEqual(self.world.store.codes(), [])

    def test_twice(self) -> None:
        self.restart()
        self.restart()
        self.assertHas(
            self.the(self.world.join("ann", token=self.state["token"]).told(), "ROOM_STATE"),
            hostUserId="ann",
            url=TITLE,
        )

    def test_drain(self) -> None:
        """B38: clients are told, closed with 1012, and no member counts as gone."""
        self.ann.say("CHAT", text="last words")
        self.ann.link.pump()  # it is received, but the turn in which it is passed on has not come
        done = self.world.server.drain()
        told = self.ann.told()
        self.assertEqual([m["type"] for m in told], ["CHAT", "SERVER_RESTART"])
        self.assertEqual((self.ann.code, self.bob.code), (1012, 1012))
        self.successResultOf(done)
        self.assertEqual([c.event for _, c in self.world.server.journal if c.event == "USER_LEFT"], [])

    def test_drain_to_other_nodes(self) -> None:
        """Each is told when its turn is, and not all come at once."""
        done = self.world.server.drain(over=10.0)
        self.assertEqual(self.ann.told()[-1]["type"], "SERVER_RESTART")
        self.assertEqual(self.bob.told()[-1]["type"], "SERVER_RESTART")
        self.world.advance(1)
        self.assertEqual(sorted([self.ann.closed, self.bob.closed]), [False, True])
        self.world.advance(5)
        self.assertEqual((self.ann.code, self.bob.code), (1012, 1012))
        self.successResultOf(done)

    def test_drain_of_a_dead_connection(self) -> None:
        self.bob.link.frozen = True
        done = self.world.server.drain(closing=5)
        self.world.settle()
        self.assertNoResult(done)
        self.world.advance(6)
        self.successResultOf(done)

    def test_drain_of_an_idle_server(self) -> None:
        self.ann.leave()
        self.bob.leave()
        self.successResultOf(self.world.server.drain())


class ShortGraceTest(ServiceTestCase):
    options = {"rules": rule_settings(grace=5, room_ttl=10)}

    def test_settings_count(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.cut()
        self.world.advance(5.5)
        self.assertEqual(ann.types(), ["LEAVE", "USER_LEFT"])
        ann.cut()
        self.world.advance(15.8)
        self.assertEqual(self.world.store.codes(), [])


class SlowLog(HeldStore):
    """Reads its log when it is told to."""

    slow: Deferred[None] | None = None

    def replay(self, code: str, after: Version) -> Deferred[Sequence[Commit] | None]:
        read = super().replay(code, after)
        return read if self.slow is None else self.slow.addCallback(lambda _: read)


class SlowLogTest(ServiceTestCase):
    options = {"make_store": SlowLog}

    def test_the_room_stays_open_while_the_log_is_read(self) -> None:
        """The only member of this node comes back: no other session keeps the room open."""
        ann = self.world.join("ann", keepsToken=True, nonce="n")
        state = self.the(ann.told(), "ROOM_STATE")
        ann.cut()
        self.world.store.slow = Deferred()
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        ann = self.world.join("ann", token=state["token"], resume=resume)
        self.world.advance(1)
        self.world.store.slow.callback(None)
        self.assertHas(self.the(ann.told(), "ROOM_STATE"), resumed=True)
        self.world.store.slow = None
        self.world.join("bob").say("CHAT", text="hello")
        self.assertEqual([said["text"] for said in ann.told("CHAT")], ["hello"])


class LostEndTest(ServiceTestCase):
    """The store has lost the end of a connection, so the room has a member at a connection of this node that is not open."""

    options = {"make_store": SlowLog}

    def set_back(self, room: Room) -> None:
        """Have the store return an earlier state of the room, in a new epoch."""
        room.epoch += 1
        self.world.store.restore([room])

    def check(self) -> bool | None:
        """Return the answer to a check of the room's connections, None if it is not known yet."""
        answers: list[bool] = []
        self.world.server.rooms.others.check_connections("room").addCallback(answers.append)
        return answers[0] if answers else None

    def test_a_room_that_is_open_nowhere(self) -> None:
        [ann] = self.world.party("ann")
        room = self.world.room()
        assert room is not None
        ann.cut()
        self.set_back(room)
        self.check()
        self.world.advance(1)
        self.assertEqual(list(self.world.room().lost), ["ann"])
        self.assertIs(self.check(), True)
        self.world.advance(45)
        self.assertEqual(self.world.room().members, {})

    def test_any_opening_of_the_room(self) -> None:
        """The next JOIN finds the member in its grace period, too, and so does the end of another member's."""
        [ann] = self.world.party("ann")
        room = self.world.room()
        assert room is not None
        ann.cut()
        self.set_back(room)
        bob = self.world.join("bob")
        self.assertEqual(self.world.room().members["ann"].conn, "")
        self.world.advance(46)
        self.assertIn("USER_LEFT", bob.types())

    def test_a_room_that_is_open(self) -> None:
        """Only the member without a session is lost."""
        ann, bob = self.world.party("ann", "bob")
        room = self.world.room()
        assert room is not None
        bob.cut()
        self.world.advance(46)
        self.set_back(room)
        self.world.server.rooms.others.renewed("room")
        self.world.settle()
        self.assertTrue(self.world.room().members["bob"].conn)
        self.assertIs(self.check(), True)
        self.world.settle()
        self.assertEqual(list(self.world.room().lost), ["bob"])
        ann.told()
        self.world.advance(46)
        self.assertEqual(ann.types(), ["LEAVE", "USER_LEFT"])

    def test_members_of_other_nodes_stay(self) -> None:
        [ann] = self.world.party("ann")
        room = self.world.room()
        assert room is not None
        ann.cut()
        room.members["ann"] = msgspec.structs.replace(room.members["ann"], conn="other/boot/1")
        self.set_back(room)
        self.assertIs(self.check(), True)
        self.world.advance(100)
        self.assertEqual(self.world.room().members["ann"].conn, "other/boot/1")

    def test_a_join_under_way(self) -> None:
        """Its member has a connection here, and no session until the log has answered."""
        [ann] = self.world.party("ann")
        bob = self.world.join("bob", keepsToken=True)
        state = self.the(bob.told(), "ROOM_STATE")
        bob.cut()
        for number in range(200):  # more than a node remembers
            ann.say("CHAT", text=str(number))
            self.world.advance(0.05)
        self.world.store.slow = Deferred()
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        bob = self.world.join("bob", token=state["token"], resume=resume)
        self.assertEqual(bob.told(), [])
        self.assertTrue(self.world.room().members["bob"].conn)
        before = self.world.room().version
        self.assertIs(self.check(), False)
        self.world.store.slow.callback(None)
        self.assertIn("ROOM_STATE", bob.types())
        self.assertIs(self.check(), True)
        self.world.settle()
        self.assertEqual(self.world.room().version, before)


class OldAnswers(MemoryStore):
    """Missed messages are sent late: the room has gone on meanwhile, as it does when Redis' answers come later than its news."""

    def __init__(self, clock: Any, journal: Any):
        super().__init__(clock, 1000, journal, bounds())
        self.late = 0.0
        self.asked = 0
        self.then: Callable[[], None] = lambda: None

    def replay(self, code: str, after: Version) -> Deferred[Sequence[Commit] | None]:
        self.asked += 1
        found = super().replay(code, after)
        return found if not self.late else deferLater(self._clock, self.late, lambda: None).addCallback(lambda _: found)


class BusyRoomTest(ServiceTestCase):
    """A1: a member comes back to a room in which something happens more often than the store answers."""

    options = {"make_store": OldAnswers}

    def setUp(self) -> None:
        super().setUp()
        [self.ann] = self.world.party("ann")
        self.bob = self.world.join("bob", keepsToken=True)
        self.state = self.the(self.bob.told(), "ROOM_STATE")
        self.said = 0

    def chat(self, seconds: float) -> None:
        """20 times a second."""
        for _ in range(round(20 * seconds)):
            self.said += 1
            self.ann.say("CHAT", text=str(self.said))
            self.world.advance(0.05)

    def resume(self) -> Client:
        return self.world.join(
            "bob", token=self.state["token"], resume={"epoch": self.state["epoch"], "seq": self.state["seq"]}, id=1
        )

    def come_back(self, late: float) -> list[dict[str, Any]]:
        """Return the messages to bob, who has missed more than a node remembers of an open room."""
        self.bob.cut()
        self.chat(10)
        self.world.store.late = late
        self.world.store.asked = 0
        bob = self.resume()
        self.chat(1 + 4 * late)
        told = bob.told()
        self.assertEqual([message["text"] for message in told if message["type"] == "CHAT"][-1], str(self.said))
        self.assertHas(self.the(told, "ACK"), id=1)
        return told

    def test_at_each_delay(self) -> None:
        for late in (0.0, 0.06, 0.15, 1.0):
            told = self.come_back(late)
            chats = [message for message in told if message["type"] == "CHAT"]
            self.assertEqual([chat["text"] for chat in chats], [str(n + 1) for n in range(self.said)], late)
            self.assertHas(self.the(told, "ROOM_STATE"), resumed=True)
            self.assertEqual(self.world.store.asked, 1)
            self.tearDown()
            self.setUp()

    def test_too_much_for_what_a_node_remembers(self) -> None:
        told = self.come_back(6.0)
        self.assertHas(self.the(told, "ROOM_STATE"), resumed=False)
        self.assertLessEqual(self.world.store.asked, 3)

    def test_what_the_node_remembers_is_not_asked_for(self) -> None:
        self.bob.cut()
        self.chat(2)
        self.world.store.asked = 0
        self.world.store.late = 100.0
        told = self.resume().told()
        self.assertHas(self.the(told, "ROOM_STATE"), resumed=True)
        self.assertEqual(len([message for message in told if message["type"] == "CHAT"]), 40)
        self.assertEqual(self.world.store.asked, 0)

    def test_taken_for_lost_meanwhile(self) -> None:
        """The member was outside for good, on a connection that was alive: it was told nothing."""
        self.bob.cut()
        self.chat(10)
        self.world.store.late = 1.0
        bob = self.resume()
        self.world.server.rooms.start_grace("room", "")
        self.chat(3)
        self.assertIn("ROOM_STATE", bob.types())
        self.world.advance(60)
        self.assertIn("bob", self.world.room().members)

    def test_out_meanwhile(self) -> None:
        self.bob.cut()
        self.chat(10)
        self.world.store.late = 70.0
        bob = self.resume()
        self.world.server.rooms.start_grace("room", "")
        self.world.advance(60)
        self.assertNotIn("bob", self.world.room().members)
        self.world.store.late = 0.0
        self.world.advance(15)
        self.assertIn("ROOM_STATE", bob.types())

    def test_taken_over_meanwhile(self) -> None:
        self.bob.cut()
        self.chat(10)
        self.world.store.late = 1.0
        older = self.resume()
        newer = self.world.join("bob", token=self.state["token"])
        self.world.advance(2)
        self.assertHas(self.refused(older.told(), "detached"), id=1)
        self.assertIn("ROOM_STATE", newer.types())

    def test_a_fault_of_ours_is_answered(self) -> None:
        self.bob.cut()
        self.chat(10)
        self.patch(OldAnswers, "replay", lambda *ignored: 1 / 0)
        bob = self.resume()
        self.assertHas(self.refused(bob.told(), "internal"), id=1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(bob.send("PING"), [{"type": "PONG", "timestamp": int(self.world.now * 1000)}])
