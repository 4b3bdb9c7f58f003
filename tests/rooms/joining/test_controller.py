"""JOIN: PINs, names, coming again, taking over, moving, and waiting until one can be let in."""

from __future__ import annotations

from typing import Any

from tests.support.settings import rule_settings

from ...support.fake_node import TITLE, HeldStore, ServiceTestCase, WatchedStore, World


class FirstJoinTest(ServiceTestCase):
    def test_creator_is_host(self) -> None:
        state = self.the(self.world.join("ann").told(), "ROOM_STATE")
        self.assertHas(state, roomId="room", hostUserId="ann", users=[{"userId": "ann", "username": "Ann"}])
        self.assertHas(state, currentTime=0, isPlaying=False, url="", guestControlEnabled=False, seq=1, token=None)

    def test_others_are_told(self) -> None:
        [ann] = self.world.party("ann")
        bob = self.world.join("bob")
        self.assertEqual(bob.types(), ["ROOM_STATE"])
        self.assertHas(self.the(ann.told(), "USER_JOINED"), userId="bob", username="Bob")

    def test_newcomer_is_not_told_of_the_others(self) -> None:
        """With USER_JOINED about members that are already in the room, both sides would make WebRTC offers."""
        self.world.party("ann", "bob")
        self.assertEqual(self.world.join("cid").types(), ["ROOM_STATE"])

    def test_state_comes_before_live_events(self) -> None:
        """B14: the joiner was subscribed before its ROOM_STATE was built."""
        [ann] = self.world.party("ann")
        bob = self.world.connect("10.0.0.2")
        ann.say("PLAY_PAUSE", control="play", currentTime=5)
        bob.say("JOIN", userId="bob", roomId="room")
        ann.say("CHAT", text="hello")
        told = bob.told()
        self.assertEqual(told[0]["type"], "ROOM_STATE")
        self.assertEqual([m["seq"] for m in told if "seq" in m], sorted(m["seq"] for m in told if "seq" in m))

    def test_concurrent_first_joins_make_one_host(self) -> None:
        """B36: both created the room, the last one became host and its PIN won."""
        first, second = self.world.connect(), self.world.connect("10.0.0.2")
        first.say("JOIN", userId="ann", roomId="room", pin="111111")
        second.say("JOIN", userId="bob", roomId="room", pin="111111")
        self.assertHas(self.the(first.told(), "ROOM_STATE"), hostUserId="ann")
        self.assertHas(self.the(second.told(), "ROOM_STATE"), hostUserId="ann")

    def test_concurrent_first_joins_whose_pins_are_hashed_at_once(self) -> None:
        """B36: the second one's PIN was hashed with a salt of its own and has to be hashed again with the room's."""
        pins = self.world.server.pins
        pins.holding = True
        clients = [self.world.connect(f"10.0.0.{i}") for i in (1, 2, 3)]
        for client, pin in zip(clients, ("111111", "111111", "222222"), strict=True):
            client.say("JOIN", userId=f"user{len(pins.held)}", roomId="room", pin=pin)
            self.world.settle()
        pins.release()
        self.assertEqual(clients[0].types(), ["ROOM_STATE", "USER_JOINED"])
        self.assertEqual(clients[1].types(), ["ROOM_STATE"])
        self.refused(clients[2].told(), "bad_pin")

    def test_request_sync_right_behind(self) -> None:
        """B13: the extension asks for the film without waiting for ROOM_STATE."""
        [ann] = self.world.party("ann")
        ann.send("PLAY_PAUSE", control="play", currentTime=5)
        self.world.server.pins.holding = True
        bob = self.world.connect("10.0.0.2")
        bob.say("JOIN", userId="bob", roomId="room", pin="1")
        bob.say("REQUEST_SYNC", respectAutoPlay=False, userId="bob", roomId="room")
        types = bob.types()
        self.assertEqual(types, ["ROOM_STATE", "PLAY_PAUSE", "SYNC_RESPONSE"])

    def test_messages_behind_a_slow_join_keep_their_order(self) -> None:
        """B13: while a JOIN waits for its answer, later messages of the client wait behind it."""
        self.world.server.pins.holding = True
        ann = self.world.connect()
        ann.say("JOIN", userId="ann", roomId="room", pin="123456", id=1, nonce="n")
        ann.say("PLAY_PAUSE", control="play", currentTime=5, id=2)
        ann.say("REQUEST_SYNC", id=3)
        ann.say("PLAY_PAUSE", control="pause", currentTime=6, id=4)
        self.assertEqual(ann.told(), [])
        self.world.server.pins.release()
        told = ann.told()
        self.assertEqual([m["id"] for m in told if m["type"] == "ACK"], [1, 2, 3, 4])
        self.assertEqual([m["control"] for m in told if m["type"] == "PLAY_PAUSE"], ["play", "pause"])

    def test_closed_while_the_pin_is_hashed(self) -> None:
        """B17: a client that leaves before the answer to its JOIN is no member afterwards."""
        self.world.server.pins.holding = True
        ann = self.world.connect()
        ann.say("JOIN", userId="ann", roomId="room", pin="123456")
        ann.cut()
        self.world.server.pins.release()
        self.world.advance(1)
        room = self.world.room()
        self.assertTrue(room is None or not any(member.conn for member in room.members.values()))


class NamesTest(ServiceTestCase):
    def test_long_name_is_cut(self) -> None:
        """B33: a name of more than 50 characters made JOIN fail and left half a room behind."""
        ann = self.world.join("ann", username="x" * 3000)
        [user] = self.the(ann.told(), "ROOM_STATE")["users"]
        self.assertEqual(user["username"], "x" * 50)

    def test_control_characters_in_a_name(self) -> None:
        ann = self.world.join("ann", username="A\x00n\nn\x1b")
        [user] = self.the(ann.told(), "ROOM_STATE")["users"]
        self.assertEqual(user["username"], "A n n")

    def test_no_name(self) -> None:
        """B21: a null name made the reference fail."""
        for username in (None, "", "   ", "\x00"):
            bob = self.world.join("bob", username=username, room=f"room{username!r}")
            self.assertEqual(self.the(bob.told(), "ROOM_STATE")["users"], [{"userId": "bob", "username": None}])

    def test_null_name_keeps_the_old_one(self) -> None:
        """X11: a page that comes back has forgotten its name."""
        [ann] = self.world.party("ann")
        told = ann.send("JOIN", userId="ann", roomId="room", username=None, pin=None, timestamp=1)
        self.assertEqual(self.the(told, "ROOM_STATE")["users"], [{"userId": "ann", "username": "Ann"}])

    def test_server_is_taken(self) -> None:
        """A member of that name could speak as the server."""
        self.refused(self.world.join("server").told(), "bad_user")
        self.assertIsNone(self.world.room())

    def test_long_ids(self) -> None:
        """B33: the refusal leaves no half-made room."""
        self.refused(self.world.join("ann", room="r" * 101).told(), "bad_message")
        self.refused(self.world.join("u" * 101).told(), "bad_message")
        self.refused(self.world.join("a\x00b").told(), "bad_message")
        self.assertEqual(self.world.store.codes(), [])
        self.assertEqual(self.world.join("u" * 100, room="r" * 100).types(), ["ROOM_STATE"])


class PinTest(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", pin="123456")
        self.ann.told()

    def test_right(self) -> None:
        self.assertEqual(self.world.join("bob", pin="123456").types(), ["ROOM_STATE"])

    def test_wrong_or_missing(self) -> None:
        for pin in ("000000", "", None, "1234567", "é" * 100):
            bob = self.world.join("bob", pin=pin)
            self.refused(bob.told(), "bad_pin")
            self.assertFalse(bob.closed, "every close makes the extension come again a second later")
        self.assertEqual(self.ann.told(), [])

    def test_number(self) -> None:
        """B9: a PIN that was sent as a number could never match."""
        bob = self.world.join("bob", pin=123456)
        self.assertIn(self.the(bob.told(), "ERROR")["code"], ("bad_message",))
        self.assertEqual(bob.send("JOIN", userId="bob", roomId="room", pin="123456")[0]["type"], "ROOM_STATE")

    def test_refused_one_has_no_influence(self) -> None:
        """B3: a client whose JOIN was refused could still control the room, and its close deleted the host."""
        eve = self.world.join("ann", peer="66.6.6.6", pin="000000")
        eve.told()
        for kind, fields in (
            ("PLAY_PAUSE", {"control": "play", "currentTime": 1}),
            ("TOGGLE_GUEST_CONTROL", {"enabled": True}),
            ("REQUEST_SYNC", {}),
            ("CHAT", {"text": "x"}),
            ("LEAVE", {}),
        ):
            self.refused(eve.send(kind, userId="ann", roomId="room", **fields), "not_joined")
        eve.leave()
        self.world.advance(100)
        self.assertEqual(self.ann.told(), [])
        room = self.world.room()
        assert room is not None
        self.assertTrue(room.members["ann"].conn)

    def test_same_connection_needs_none_any_more(self) -> None:
        """X10: an invite link opened during a party joins the old room with the new PIN."""
        self.assertEqual(self.ann.send("JOIN", userId="ann", roomId="room", pin="999999")[0]["type"], "ROOM_STATE")

    def test_coming_back_needs_none(self) -> None:
        """X11: restored with a dead socket, the extension has lost its PIN."""
        self.ann.cut()
        self.world.advance(5)
        ann = self.world.join("ann", pin=None, username=None)
        self.assertHas(
            self.the(ann.told(), "ROOM_STATE"), hostUserId="ann", users=[{"userId": "ann", "username": "Ann"}]
        )

    def test_dies_with_the_room(self) -> None:
        """B7: the PIN outlived its room and locked friends out of the next party of that name."""
        self.ann.send("LEAVE")
        self.assertHas(self.the(self.world.join("bob").told(), "ROOM_STATE"), hostUserId="bob")
        self.assertEqual(self.world.join("cid").types(), ["ROOM_STATE"])

    def test_refused_first_join_keeps_no_pin(self) -> None:
        """B8: the PIN was kept although the room could not be created."""
        self.refused(self.world.join("server", room="other", pin="111111").told(), "bad_user")
        self.assertEqual(self.world.join("bob", room="other").types(), ["ROOM_STATE"])
        self.assertEqual(self.world.join("cid", room="other").types(), ["ROOM_STATE"])


class AgainTest(ServiceTestCase):
    def test_same_socket(self) -> None:
        """A page that is loaded again joins again, and its video depends on the others being told."""
        ann, bob = self.world.party("ann", "bob")
        for _ in range(3):
            self.assertEqual(bob.send("JOIN", userId="bob", roomId="room", username="Bob")[0]["type"], "ROOM_STATE")
            self.assertEqual(ann.types(), ["USER_JOINED"])
        room = self.world.room()
        assert room is not None
        self.assertEqual(list(room.members), ["ann", "bob"])

    def test_host_again(self) -> None:
        """X17: a client that adds the host's tile again loses the mark of the host."""
        ann, bob = self.world.party("ann", "bob")
        self.assertEqual(ann.send("JOIN", userId="ann", roomId="room")[0]["type"], "ROOM_STATE")
        told = bob.told()
        self.assertEqual([m["type"] for m in told], ["USER_JOINED", "HOST_CHANGED"])
        self.assertEqual(told[1]["hostUserId"], "ann")
        self.assertEqual([m["part"] for m in told], [[1, 2], [2, 2]])

    def test_new_socket_takes_over(self) -> None:
        """The old socket stays open, hears nothing of the room, and gets its PONG."""
        ann, old = self.world.party("ann", "bob")
        new = self.world.join("bob")
        self.assertEqual(new.types(), ["ROOM_STATE"])
        self.assertEqual(ann.types(), ["USER_JOINED"])
        ann.send("CHAT", text="hello")
        self.assertEqual(old.told(), [])
        self.assertEqual(new.types(), ["CHAT"])
        self.refused(old.send("CHAT", text="me?"), "detached")
        self.assertEqual([m["type"] for m in old.send("PING")], ["PONG"])
        self.assertFalse(old.closed)

    def test_close_of_a_superseded_socket_means_nothing(self) -> None:
        """B11: it removed the live user, and the room when it was the last."""
        [old] = self.world.party("ann")
        new = self.world.join("ann")
        new.told()
        old.leave()
        self.world.advance(60)
        self.assertEqual(new.told(), [])
        self.assertEqual([m["type"] for m in new.send("CHAT", text="here")], ["CHAT"])

    def test_superseded_socket_takes_back(self) -> None:
        _, first = self.world.party("ann", "bob")
        second = self.world.join("bob")
        self.assertEqual(first.send("JOIN", userId="bob", roomId="room")[0]["type"], "ROOM_STATE")
        second.told()
        self.refused(second.send("CHAT", text="x"), "detached")
        self.assertEqual([m["type"] for m in first.send("CHAT", text="x")], ["CHAT"])

    def test_one_user_hears_everything_once(self) -> None:
        """B12: two sockets of one user both got every broadcast."""
        ann, _, _ = self.world.join("ann"), self.world.join("bob"), self.world.join("bob")
        ann.told()
        ann.send("CHAT", text="x")
        self.assertEqual(ann.types(), [])


class MovingTest(ServiceTestCase):
    def test_other_room_on_the_same_socket(self) -> None:
        """B12: the old room's subscription and entry stayed."""
        ann, bob = self.world.party("ann", "bob")
        told = ann.send("JOIN", userId="ann", roomId="second")
        self.assertHas(self.the(told, "ROOM_STATE"), roomId="second", hostUserId="ann")
        self.assertEqual(bob.types(), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        bob.send("CHAT", text="x")
        self.assertEqual(ann.told(), [])
        room = self.world.room()
        assert room is not None
        self.assertEqual(list(room.members), ["bob"])

    def test_refused_elsewhere_stays(self) -> None:
        self.world.join("cid", room="second", pin="123456")
        ann, bob = self.world.party("ann", "bob")
        self.refused(ann.send("JOIN", userId="ann", roomId="second"), "bad_pin")
        bob.send("CHAT", text="x")
        self.assertEqual(ann.types(), ["CHAT"])

    def test_last_one_moving_ends_the_room(self) -> None:
        [ann] = self.world.party("ann")
        ann.send("JOIN", userId="ann", roomId="second")
        self.assertEqual(self.world.store.codes(), ["second"])

    def test_other_user_on_the_same_socket(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        told = bob.send("JOIN", userId="cid", roomId="room", username="Cid")
        self.assertEqual([u["userId"] for u in self.the(told, "ROOM_STATE")["users"]][-1], "cid")
        self.assertEqual(ann.types(), ["USER_JOINED", "LEAVE", "USER_LEFT"])
        room = self.world.room()
        assert room is not None
        self.assertEqual(list(room.members), ["ann", "cid"])

    def test_host_under_another_name_on_the_same_socket(self) -> None:
        [ann] = self.world.party("ann")
        ann.send("JOIN", userId="eve", roomId="room")
        room = self.world.room()
        assert room is not None
        self.assertEqual((list(room.members), room.host), (["eve"], "eve"))

    def test_to_a_room_and_back(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.send("JOIN", userId="bob", roomId="second")
        told = bob.send("JOIN", userId="bob", roomId="room")
        self.assertEqual(told[0]["type"], "ROOM_STATE")
        self.assertEqual(ann.types(), ["LEAVE", "USER_LEFT", "USER_JOINED"])
        self.assertEqual(self.world.store.codes(), ["room"])


class IdentityTest(ServiceTestCase):
    def test_taken_name_waits_while_its_owner_lives(self) -> None:
        """B5: the server believed any user id in a JOIN."""
        ann, bob = self.world.party("ann", "bob")
        eve = self.world.join("bob", peer="66.6.6.6")
        self.assertHas(self.refused(eve.told(), "identity_conflict"), retryAfterMs=5000)
        self.world.advance(120)
        self.assertEqual((eve.told(), ann.told(), bob.told()), ([], [], []))
        self.assertFalse(bob.closed or eve.closed)
        self.refused(eve.send("CHAT", text="x"), "not_joined")

    def test_half_open_owner(self) -> None:
        """The owner has changed its network: its old connection is dead, and only a ping can tell."""
        ann, bob = self.world.party("ann", "bob")
        bob.link.frozen = True
        new = self.world.join("bob", peer="10.9.9.9")
        self.refused(new.told(), "identity_conflict")
        self.world.advance(4.5)
        self.assertEqual(new.told(), [])
        self.world.advance(1)
        self.assertEqual(self.the(new.told(), "ROOM_STATE")["hostUserId"], "ann")
        self.assertEqual(ann.types(), ["USER_JOINED"])
        self.assertFalse(new.closed)

    def test_pending_join_is_forgotten_with_its_connection(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        eve = self.world.join("bob", peer="66.6.6.6")
        eve.cut()
        bob.send("LEAVE")
        ann.told()
        self.world.advance(60)
        room = self.world.room()
        assert room is not None
        self.assertEqual(list(room.members), ["ann"])
        self.assertEqual(ann.told(), [])

    def test_only_the_newest_join_is_pending(self) -> None:
        _, bob = self.world.party("ann", "bob")
        eve = self.world.join("bob", peer="66.6.6.6")
        eve.told()
        self.assertEqual([m["type"] for m in eve.send("JOIN", userId="eve", roomId="second")], ["ROOM_STATE"])
        bob.send("LEAVE")
        self.world.advance(60)
        room = self.world.room()
        assert room is not None
        self.assertEqual(list(room.members), ["ann"])
        self.assertEqual([m["type"] for m in eve.send("CHAT", text="x")], ["CHAT"])

    def test_newest_join_wins_over_one_that_is_being_granted(self) -> None:
        """The room is free again, and the PIN of the older JOIN is being hashed, when the newer one comes."""
        _, bob = self.world.join("ann", pin="1"), self.world.join("bob", pin="1")
        eve = self.world.join("bob", peer="66.6.6.6", pin="1")
        eve.told()
        pins = self.world.server.pins
        pins.holding = True
        bob.send("LEAVE")
        self.assertEqual(len(pins.held), 1)
        self.assertEqual([m["type"] for m in eve.send("JOIN", userId="eve", roomId="second")], ["ROOM_STATE"])
        self.world.server.pins.release()
        self.assertEqual(eve.told(), [])
        self.assertEqual([m["type"] for m in eve.send("CHAT", text="x")], ["CHAT"])

    def test_pending_join_is_granted_when_its_name_is_free(self) -> None:
        _, bob = self.world.party("ann", "bob")
        new = self.world.join("bob", peer="10.9.9.9", id=7, nonce="n")
        self.assertEqual(self.refused(new.told(), "identity_conflict")["id"], 7)
        bob.send("LEAVE")
        told = new.told()
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "ACK"])
        self.assertEqual(told[1]["id"], 7)

    def test_newest_of_several_pending(self) -> None:
        _, bob = self.world.party("ann", "bob")
        first = self.world.join("bob", peer="10.9.9.1")
        second = self.world.join("bob", peer="10.9.9.2")
        first.told(), second.told()
        bob.send("LEAVE")
        self.assertEqual((first.types(), second.types()), ([], ["ROOM_STATE"]))

    def test_older_pending_join_does_not_take_over_later(self) -> None:
        _, bob, cid = self.world.party("ann", "bob", "cid")
        older = self.world.join("bob", peer="10.9.9.1")
        newer = self.world.join("bob", peer="10.9.9.1")
        older.told()
        newer.told()
        bob.send("LEAVE")
        self.assertEqual((older.types(), newer.types()), ([], ["ROOM_STATE"]))
        cid.send("LEAVE")
        self.assertEqual((older.types(), newer.types()), ([], ["LEAVE", "USER_LEFT"]))

    def test_service_worker_restart_of_the_host(self) -> None:
        """X12: the same person under a new id, by address and name, while the old id is in its grace period."""
        ann, bob = self.world.party("ann", "bob")
        ann.cut()
        self.world.advance(2)
        again = self.world.join("ann2", peer="10.1.0." + str(sum(b"ann") % 250 + 1), username="Ann")
        self.assertHas(self.the(again.told(), "ROOM_STATE"), hostUserId="ann")
        self.assertEqual(bob.types(), ["USER_JOINED"])
        self.world.advance(2.9)
        self.assertEqual(bob.told(), [])
        self.world.advance(0.2)
        self.assertEqual(bob.types(), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertHas(self.the(again.told(), "HOST_CHANGED"), hostUserId="ann2")


class TokenTest(ServiceTestCase):
    def token_of(self, user: str, peer: str = "", **fields: Any) -> str:
        client = self.world.join(user, peer=peer, keepsToken=True, **fields)
        token = self.the(client.told(), "ROOM_STATE")["token"]
        assert isinstance(token, str)
        return token

    def test_token_from_anywhere(self) -> None:
        ann, bob = self.world.join("ann"), self.token_of("bob")
        ann.told()
        new = self.world.join("bob", peer="99.9.9.9", token=bob)
        self.assertEqual(new.types(), ["ROOM_STATE"])
        self.assertEqual(ann.types(), ["USER_JOINED"])

    def test_no_token_for_those_who_do_not_ask(self) -> None:
        self.assertNotIn("token", self.the(self.world.join("ann").told(), "ROOM_STATE"))

    def test_address_is_not_enough_for_one_who_used_a_token(self) -> None:
        token = self.token_of("bob", peer="10.0.0.2")
        self.world.join("bob", peer="10.0.0.2", token=token).told()
        eve = self.world.join("bob", peer="10.0.0.2")
        self.refused(eve.told(), "identity_conflict")

    def test_wrong_token(self) -> None:
        self.token_of("bob", peer="10.0.0.2")
        for token in ("x", "", "\ud7ff", "." * 1000):
            self.refused(self.world.join("bob", peer="66.6.6.6", token=token).told(), "identity_conflict")

    def test_tokenless_join_rotates(self) -> None:
        """On the connection of the member itself; both are valid until the new one is used."""
        bob = self.world.join("bob", keepsToken=True)
        first = self.the(bob.told(), "ROOM_STATE")["token"]
        again = bob.send("JOIN", userId="bob", roomId="room", keepsToken=True)
        second = self.the(again, "ROOM_STATE")["token"]
        self.assertNotEqual(first, second)
        self.assertEqual(self.world.join("bob", peer="1.1.1.1", token=first).types()[:1], ["ROOM_STATE"])
        self.assertEqual(self.world.join("bob", peer="1.1.1.2", token=second).types()[:1], ["ROOM_STATE"])
        self.refused(self.world.join("bob", peer="1.1.1.3", token=first).told(), "identity_conflict")

    def test_address_is_not_enough_for_one_who_was_given_a_token(self) -> None:
        """M4: a client at the same address could take over a host that had not used its token, and make the token invalid."""
        ann = self.world.join("ann", peer="10.0.0.2", keepsToken=True, nonce="n" * 16, id=1)
        token = self.the(ann.told(), "ROOM_STATE")["token"]
        for fields in ({}, {"keepsToken": True}, {"keepsToken": True, "nonce": "e" * 16, "id": 1}, {"nonce": "n"}):
            eve = self.world.join("ann", peer="10.0.0.2", **fields)
            self.refused(eve.told(), "identity_conflict")
            eve.cut()
        self.assertEqual([m["type"] for m in ann.send("CHAT", text="x")], ["CHAT"])
        ann.cut()
        eve = self.world.join("ann", peer="10.0.0.2", keepsToken=True)
        self.refused(eve.told(), "identity_conflict")
        again = self.world.join("ann", peer="10.0.0.7", token=token)
        self.assertHas(self.the(again.told(), "ROOM_STATE"), hostUserId="ann")
        self.assertEqual(eve.told(), [])

    def test_address_is_not_enough_for_one_whose_join_carried_an_id(self) -> None:
        ann = self.world.join("ann", peer="10.0.0.2", id=1)
        ann.told()
        self.refused(self.world.join("ann", peer="10.0.0.2").told(), "identity_conflict")
        ann.cut()
        self.refused(self.world.join("ann", peer="10.0.0.2").told(), "identity_conflict")

    def test_name_and_address_are_not_enough_either(self) -> None:
        for room, fields in (("one", {"keepsToken": True}), ("two", {"id": 1})):
            ann = self.world.join("ann", room, peer="10.0.0.2", **fields)
            self.world.join("bob", room)
            ann.cut()
            eve = self.world.join("ann2", room, peer="10.0.0.2", username="Ann")
            self.assertHas(self.the(eve.told(), "ROOM_STATE"), hostUserId="ann")

    def test_a_client_that_never_heard_its_token_comes_back(self) -> None:
        """The connection was lost before ROOM_STATE came: the nonce, which only the client knows, proves it."""
        nonce = "k3k3k3k3k3k3k3k3"
        self.world.join("bob", peer="10.0.0.3")
        ann = self.world.join("ann", peer="10.0.0.2", keepsToken=True, nonce=nonce, id=1)
        ann.cut()
        self.refused(self.world.join("ann", peer="10.0.0.9", nonce=nonce).told(), "identity_conflict")
        again = self.world.join("ann", peer="10.0.0.2", keepsToken=True, nonce=nonce, id=1)
        self.assertTrue(self.the(again.told(), "ROOM_STATE")["token"])

    def test_a_client_of_another_kind_does_not_take_over_an_old_one_that_is_alive(self) -> None:
        """Old clients leave their former connection open and speak on another; others have a token for that."""
        ann = self.world.join("ann", peer="10.0.0.2")
        ann.told()
        for fields in ({"keepsToken": True}, {"id": 1}, {"nonce": "n"}):
            eve = self.world.join("ann", peer="10.0.0.2", **fields)
            self.refused(eve.told(), "identity_conflict")
            self.world.advance(6)
            self.assertEqual(eve.told(), [])
            eve.cut()
        self.assertEqual([m["type"] for m in ann.send("CHAT", text="x")], ["CHAT"])

    def test_a_client_of_another_kind_takes_over_when_the_old_connection_is_dead(self) -> None:
        ann = self.world.join("ann", peer="10.0.0.2")
        ann.link.frozen = True
        new = self.world.join("ann", peer="10.0.0.2", keepsToken=True)
        far = self.world.join("ann", peer="10.0.0.5", keepsToken=True)
        self.refused(new.told(), "identity_conflict")
        self.refused(far.told(), "identity_conflict")
        self.world.advance(6)
        self.assertHas(self.the(new.told(), "ROOM_STATE"), hostUserId="ann")
        self.assertEqual(far.told(), [])

    def test_token_join_does_not_rotate(self) -> None:
        token = self.token_of("bob")
        new = self.world.join("bob", token=token, keepsToken=True)
        self.assertNotIn("token", self.the(new.told(), "ROOM_STATE"))

    def test_token_is_not_kept_in_the_clear(self) -> None:
        token = self.token_of("bob")
        for _, commit in self.world.server.journal:
            self.assertNotIn(token, repr(commit))


class FullRoomTest(ServiceTestCase):
    options = {"rules": rule_settings(members_per_room=2)}

    def test_join_waits_for_a_place(self) -> None:
        _, bob = self.world.party("ann", "bob")
        cid = self.world.join("cid")
        self.refused(cid.told(), "room_full")
        bob.send("LEAVE")
        self.assertEqual(cid.types(), ["ROOM_STATE"])

    def test_first_come_first_served(self) -> None:
        _, bob = self.world.party("ann", "bob")
        cid, dan = self.world.join("cid"), self.world.join("dan")
        cid.told(), dan.told()
        bob.send("LEAVE")
        self.assertEqual((cid.types(), dan.types()), (["ROOM_STATE"], []))

    def test_place_of_one_lost(self) -> None:
        _, bob = self.world.party("ann", "bob")
        cid = self.world.join("cid")
        cid.told()
        bob.cut()
        self.world.advance(46)
        self.assertEqual(cid.types(), ["ROOM_STATE"])


class CrowdTest(ServiceTestCase):
    """M3: one address may not take all places of a room."""

    options = {"rules": rule_settings(members_per_address=3)}

    def test_members_of_one_address(self) -> None:
        many = [self.world.join(f"user{i}", peer="10.0.0.1") for i in range(5)]
        self.assertEqual(many[2].types()[0], "ROOM_STATE")
        self.refused(many[3].told(), "rate_limited")
        self.refused(many[4].told(), "rate_limited")
        self.assertEqual(self.world.join("ann", peer="10.0.0.2").types(), ["ROOM_STATE"])
        self.world.advance(20)
        self.assertEqual(many[3].types(), [])
        many[0].send("LEAVE")
        self.world.advance(20)
        inside = [client for client in many[3:] if "ROOM_STATE" in client.types()]
        self.assertEqual(len(inside), 1, "an old client joins only when it connects, and is not to stay outside")

    def test_members_of_one_48(self) -> None:
        """M6: a /48 has 65 536 /64s, and could take all places with a few of each."""
        many = [self.world.join(f"user{i}", peer=f"2001:db8:0:{i:x}::/64") for i in range(25)]
        self.assertEqual({client.types()[0] for client in many[:24]}, {"ROOM_STATE"})
        self.refused(many[24].told(), "rate_limited")
        self.assertEqual(self.world.join("ann", peer="2001:db8:1::/64").types(), ["ROOM_STATE"])

    def test_members_who_come_back_are_not_concerned(self) -> None:
        many = [self.world.join(f"user{i}", peer="10.0.0.1") for i in range(3)]
        many[1].cut()
        self.assertEqual(self.world.join("user1", peer="10.0.0.1").types()[0], "ROOM_STATE")

    def test_a_place_that_an_address_may_not_have_is_the_next_ones(self) -> None:
        self.world.close()
        self.world = World(self.reactor, rules=rule_settings(members_per_address=3, members_per_room=4))
        self.addCleanup(self.world.close)
        many = [self.world.join(f"user{i}", peer="10.0.0.1") for i in range(3)]
        bob = self.world.join("bob", peer="10.0.0.2")
        late, cid = self.world.join("user3", peer="10.0.0.1"), self.world.join("cid", peer="10.0.0.3")
        self.refused(late.told(), "room_full")
        self.refused(cid.told(), "room_full")
        bob.send("LEAVE")
        self.assertEqual(cid.types(), ["ROOM_STATE"])
        del many


class FollowingTest(ServiceTestCase):
    """B2: nothing was ever unsubscribed."""

    options = {"make_store": WatchedStore}

    def assertFollowing(self, *codes: str) -> None:
        self.world.advance(0.5)
        self.assertEqual(self.world.store.following, set(codes))

    def test_leave(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        ann.send("LEAVE")
        self.assertFollowing("room")
        bob.send("LEAVE")
        self.assertFollowing()

    def test_lost(self) -> None:
        [ann] = self.world.party("ann")
        ann.cut()
        self.assertFollowing()
        self.world.advance(5 * 3600)
        self.assertEqual((self.world.store.codes(), self.world.store.following), ([], set()))

    def test_moved(self) -> None:
        [ann] = self.world.party("ann")
        ann.send("JOIN", userId="ann", roomId="second")
        self.assertFollowing("second")

    def test_refused(self) -> None:
        self.world.join("server")
        self.assertFollowing()

    def test_pending(self) -> None:
        _, bob = self.world.party("ann", "bob")
        eve = self.world.join("bob", peer="66.6.6.6")
        bob.send("JOIN", userId="bob", roomId="second")
        eve.send("JOIN", userId="eve", roomId="third")
        self.assertFollowing("room", "second", "third")

    def test_gone_while_pending(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        eve = self.world.join("bob", peer="66.6.6.6")
        for client in (eve, ann, bob):
            client.cut()
        self.assertFollowing()

    def test_gone_while_the_pin_is_hashed(self) -> None:
        self.world.server.pins.holding = True
        self.world.join("ann", pin="1").cut()
        self.world.server.pins.release()
        self.assertFollowing()


class SlowStoreTest(ServiceTestCase):
    """The store takes its time, as one elsewhere does."""

    options = {"make_store": HeldStore}

    def test_taken_over_while_the_join_is_under_way(self) -> None:
        self.world.party("ann")
        self.world.store.holding = True
        first, second = self.world.join("bob"), self.world.join("bob")
        self.world.store.release()
        self.assertEqual(second.types(), ["ROOM_STATE"])
        self.assertEqual(first.types(), ["ROOM_STATE"])
        self.refused(first.send("CHAT", text="x"), "detached")
        self.assertEqual([m["type"] for m in second.send("CHAT", text="x")], ["CHAT"])

    def test_closed_while_the_join_is_under_way(self) -> None:
        [ann] = self.world.party("ann")
        self.world.store.holding = True
        bob = self.world.join("bob")
        bob.cut()
        self.world.store.release()
        self.world.advance(46)
        self.assertEqual(ann.types(), ["USER_JOINED", "LEAVE", "USER_LEFT"])

    def test_room_ends_while_a_join_is_under_way(self) -> None:
        """B17: a JOIN at the moment when the room ends creates a new room."""
        [ann] = self.world.party("ann")
        ann.send("URL_CHANGE", url=TITLE)
        self.world.store.holding = True
        ann.say("LEAVE")
        self.world.settle()
        bob = self.world.join("bob")
        self.world.store.release()
        self.assertHas(self.the(bob.told(), "ROOM_STATE"), hostUserId="bob", url="")
        room = self.world.room()
        assert room is not None
        self.assertEqual(list(room.members), ["bob"])
