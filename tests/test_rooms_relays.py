"""What one member sends to one other: WebRTC's offers, answers and candidates, and two more."""

from __future__ import annotations

from typing import Any

from tandemd.rooms import NO_SUCH_MEMBER

from .harness import Client, ServiceTestCase

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
        """B6: any field reached everybody."""
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
        """B6: a SYNC_RESPONSE with an evil URL reached everybody, and players went there."""
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
