"""Messages from one member to one other: WebRTC's offers, answers and candidates, and two more."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import TestCase

from tandemd.rooms.dispatcher import NO_SUCH_MEMBER
from tandemd.rooms.unconfirmed_relays import MAX_BYTES, MAX_RELAYS, UnconfirmedRelays

from ..support.fake_node import Client, ServiceTestCase

OFFER = {"offer": {"type": "offer", "sdp": "v=0\r\n"}}
ANSWER = {"answer": {"type": "answer", "sdp": "v=0\r\n"}}
CANDIDATE = {"candidate": {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "x"}}


class RelayTest(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob, self.cid = self.world.party("ann", "bob", "cid")

    def quiet(self, *clients: Client) -> None:
        for client in clients:
            client.told()

    def test_only_the_target_gets_it(self) -> None:
        for kind, fields in (("OFFER", OFFER), ("ANSWER", ANSWER), ("ICE_CANDIDATE", CANDIDATE)):
            self.assertEqual(self.ann.send(kind, to="bob", from_="ann", userId="ann", roomId="room", **fields), [])
            [got] = self.bob.told()
            self.assertHas(got, type=kind, to="bob", userId="ann", **{"from": "ann"}, **fields)
            self.assertEqual(self.cid.told(), [])

    def test_sender_is_who_sent_it(self) -> None:
        """B5: receivers trust `userId`, which stayed as the sender wrote it."""
        self.ann.send("OFFER", to="bob", from_="cid", userId="cid", roomId="other", **OFFER)
        self.assertHas(self.bob.told()[0], userId="ann", **{"from": "ann"})

    def test_a_refusal_remembers_nothing(self) -> None:
        """It is raised again and again: it kept every frame that it had passed, and all that was in them."""
        for _ in range(3):
            self.refused(self.ann.send("OFFER", to="nobody", **OFFER), "no_such_member")
        self.assertIsNone(NO_SUCH_MEMBER.__traceback__)

    def test_undeclared_fields_stay_behind(self) -> None:
        """B6: any field reached all members."""
        self.ann.send("OFFER", to="bob", hostUserId="ann", **OFFER)
        self.assertNotIn("hostUserId", self.bob.told()[0])

    def test_end_of_candidates(self) -> None:
        self.ann.send("ICE_CANDIDATE", to="bob", candidate=None)
        self.assertHas(self.bob.told()[0], type="ICE_CANDIDATE", candidate=None)

    def test_playback_ack(self) -> None:
        self.ann.send("PLAYBACK_ACK", to="bob", control="play")
        self.assertHas(self.bob.told()[0], type="PLAYBACK_ACK", to="bob", userId="ann", control="play")
        self.assertEqual(self.cid.told(), [])

    def test_sync_response(self) -> None:
        """B6: a SYNC_RESPONSE with an evil URL reached all members, and players went there."""
        self.ann.send(
            "SYNC_RESPONSE", to="bob", currentTime=5, isPlaying=True, url="https://evil.example/", fromUserId="x"
        )
        self.assertHas(self.bob.told()[0], type="SYNC_RESPONSE", to="bob", fromUserId="ann", currentTime=5, url="")
        self.assertEqual(self.cid.told(), [])

    def test_unknown_target(self) -> None:
        for to in ("eve", "server"):
            self.refused(self.ann.send("OFFER", to=to, **OFFER), "no_such_member")
        self.refused(self.ann.send("OFFER", **OFFER), "bad_message")
        self.assertHas(self.refused(self.ann.send("OFFER", to="eve", id=3, **OFFER), "no_such_member"), id=3)

    def test_target_in_another_room(self) -> None:
        dan = self.world.join("dan", room="second")
        dan.told()
        self.refused(self.ann.send("OFFER", to="dan", **OFFER), "no_such_member")
        self.assertEqual(dan.told(), [])

    def test_from_outside(self) -> None:
        self.refused(self.world.connect().send("OFFER", to="bob", **OFFER), "not_joined")

    def test_ack(self) -> None:
        self.assertHas(self.ann.send("OFFER", to="bob", id=1, **OFFER)[0], type="ACK", id=1)

    def test_order_and_burst(self) -> None:
        """A joiner answers the offers of all others at once, each with up to 20 candidates."""
        for i in range(300):
            self.ann.say("ICE_CANDIDATE", to="bob", candidate={"candidate": str(i)})
        self.assertEqual([m["candidate"]["candidate"] for m in self.bob.told()], [str(i) for i in range(300)])

    def test_order_with_broadcasts(self) -> None:
        self.ann.say("CHAT", text="1")
        self.ann.say("OFFER", to="bob", **OFFER)
        self.ann.say("CHAT", text="2")
        self.assertEqual(self.bob.types(), ["CHAT", "OFFER", "CHAT"])

    def test_to_oneself(self) -> None:
        """Two tabs of one browser are one member."""
        self.assertEqual([m["type"] for m in self.ann.send("PLAYBACK_ACK", to="ann")], ["PLAYBACK_ACK"])

    def test_costs_no_commit(self) -> None:
        count = len(self.world.server.journal)
        self.ann.send("OFFER", to="bob", **OFFER)
        self.assertEqual(len(self.world.server.journal), count)


class MailTest(ServiceTestCase):
    """The target has lost its connection."""

    def setUp(self) -> None:
        super().setUp()
        [self.ann] = self.world.party("ann")
        self.bob = self.world.join("bob", keepsToken=True)
        self.state: dict[str, Any] = self.the(self.bob.told(), "ROOM_STATE")
        self.ann.told()
        self.bob.cut()
        self.world.advance(1)
        self.assertEqual(self.ann.send("OFFER", to="bob", **OFFER), [])
        self.assertEqual(self.ann.send("ICE_CANDIDATE", to="bob", **CANDIDATE), [])

    def resume(self) -> Client:
        return self.world.join(
            "bob", token=self.state["token"], resume={"epoch": self.state["epoch"], "seq": self.state["seq"]}
        )

    def test_delivered_on_resume(self) -> None:
        bob = self.resume()
        told = bob.told()
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "OFFER", "ICE_CANDIDATE"])
        self.assertHas(told[1], userId="ann", to="bob", **OFFER)
        self.world.advance(4)
        bob.cut()
        self.assertEqual(self.resume().types(), ["ROOM_STATE"], "once")

    def test_dropped_for_a_fresh_page(self) -> None:
        """It was made for a page that is gone."""
        self.assertEqual(self.world.join("bob", token=self.state["token"]).types(), ["ROOM_STATE"])
        self.assertEqual(self.resume().types(), ["ROOM_STATE"])

    def test_dies_with_the_grace_period(self) -> None:
        self.world.advance(46)
        self.ann.told()
        self.refused(self.ann.send("OFFER", to="bob", **OFFER), "no_such_member")
        self.assertEqual(self.resume().types(), ["ROOM_STATE"])


class DeadConnectionTest(ServiceTestCase):
    """A8: the target's network is gone, and no node knows."""

    def setUp(self) -> None:
        super().setUp()
        [self.ann] = self.world.party("ann")
        self.bob = self.world.join("bob", keepsToken=True)
        self.state: dict[str, Any] = self.the(self.bob.told(), "ROOM_STATE")
        self.world.advance(10)
        self.ann.told()
        self.bob.told()

    def resume(self) -> Client:
        resume = {"epoch": self.state["epoch"], "seq": self.state["seq"]}
        return self.world.join("bob", token=self.state["token"], resume=resume)

    def offer(self) -> None:
        self.assertHas(self.ann.send("OFFER", to="bob", id=1, **OFFER)[0], type="ACK", id=1)

    def test_handed_over_again_while_the_old_connection_seems_alive(self) -> None:
        cast(Any, self.bob).link.frozen = True
        self.offer()
        self.world.advance(3.5)
        self.assertEqual(self.resume().types(), ["ROOM_STATE", "OFFER"])

    def test_handed_over_again_after_the_loss_was_noticed(self) -> None:
        cast(Any, self.bob).link.frozen = True
        self.offer()
        self.world.advance(5)
        cast(Any, self.bob).link.reset()
        self.world.advance(1)
        self.assertEqual(self.resume().types(), ["ROOM_STATE", "OFFER"])

    def test_at_most_once(self) -> None:
        cast(Any, self.bob).link.frozen = True
        self.offer()
        second = self.resume()
        self.assertIn("OFFER", second.types())
        second.cut()
        self.assertEqual(self.resume().types(), ["ROOM_STATE"])

    def test_no_more_after_a_sign_of_life(self) -> None:
        """Its pong is one, although it says nothing."""
        self.offer()
        self.assertEqual(self.bob.types(), ["OFFER"])
        self.world.advance(4)
        self.bob.cut()
        self.assertEqual(self.resume().types(), ["ROOM_STATE"])

    def test_what_was_sent_before_is_no_sign_of_life(self) -> None:
        self.bob.say("PING")
        self.world.settle()
        cast(Any, self.bob).link.frozen = True
        self.offer()
        self.world.advance(4)
        self.assertIn("OFFER", self.resume().types())

    def test_not_for_a_fresh_page(self) -> None:
        cast(Any, self.bob).link.frozen = True
        self.offer()
        self.assertNotIn("OFFER", self.world.join("bob", token=self.state["token"]).types())
        self.assertNotIn("OFFER", self.resume().types())

    def test_what_was_kept_for_one_that_is_lost_again_at_once(self) -> None:
        self.bob.cut()
        self.offer()
        second = self.resume()
        second.cut()
        self.assertEqual(self.resume().types(), ["ROOM_STATE", "OFFER"])
        self.assertEqual(self.resume().types(), ["ROOM_STATE"])

    def test_a_closing_handshake_is_a_sign_of_life(self) -> None:
        self.offer()
        for session in self.world.server.rooms.open.get("room").group:
            if session.user == "bob":
                session.close(1012, "the server restarts")
        self.world.settle()
        self.assertEqual(self.resume().types(), ["ROOM_STATE"])

    def test_a_relay_after_the_close_frame_waits_for_the_next_connection(self) -> None:
        link = cast(Any, self.bob).link
        link.frozen = True
        self.ann.say("ICE_CANDIDATE", to="bob", **CANDIDATE)
        self.world.settle()
        for session in self.world.server.rooms.open.get("room").group:
            if session.user == "bob":
                session.close(1012, "the server restarts")
        self.offer()
        link.frozen = False
        self.world.settle()
        self.assertEqual(self.bob.types(), ["ICE_CANDIDATE"])
        self.assertEqual(self.resume().types(), ["ROOM_STATE", "OFFER"])

    def test_order(self) -> None:
        cast(Any, self.bob).link.frozen = True
        for number in range(30):
            self.ann.say("ICE_CANDIDATE", to="bob", candidate={"candidate": str(number)})
        self.world.settle()
        told = [m["candidate"]["candidate"] for m in self.resume().told() if m["type"] == "ICE_CANDIDATE"]
        self.assertEqual(told, [str(number) for number in range(30)])


class UnconfirmedRelaysTest(TestCase):
    def test_bounds(self) -> None:
        relays = UnconfirmedRelays()
        for number in range(MAX_RELAYS + 10):
            relays.add(b"%d" % number)
        self.assertEqual(list(relays), [b"%d" % number for number in range(10, MAX_RELAYS + 10)])
        for _ in range(5):
            relays.check(alive=False)
            relays.add(bytes(MAX_BYTES // 3))
        self.assertEqual([len(letter) for letter in relays], [MAX_BYTES // 3] * 3)
        relays.add(bytes(MAX_BYTES + 1))
        self.assertEqual(len(relays), 0)
        relays.check(alive=True)
        relays.add(b"x")
        self.assertEqual(list(relays), [b"x"])

    def test_a_sign_of_life_proves_what_was_written_before_the_last_look(self) -> None:
        relays = UnconfirmedRelays()
        relays.add(b"1")
        relays.check(alive=True)
        relays.add(b"2")
        self.assertEqual(list(relays), [b"1", b"2"])
        relays.check(alive=True)
        self.assertEqual(list(relays), [b"2"])
        relays.check(alive=False)
        relays.check(alive=True)
        self.assertEqual(list(relays), [])
