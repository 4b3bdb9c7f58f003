"""Proofs of identity on connections: repeated JOINs, changed addresses, and the host under another user id."""

from __future__ import annotations

from typing import Any

from tests.support.settings import rule_settings

from ..support.fake_node import Client, ServiceTestCase

HERE, ELSEWHERE = "10.0.0.2", "10.9.9.9"


class LostAnswerTest(ServiceTestCase):
    """F11: the client had to stay outside for 45 s, because its token was in the answer that it lost."""

    def join_and_chat(self, peer: str = HERE, **fields: Any) -> Client:
        client = self.world.connect(peer)
        client.say("JOIN", userId="bob", roomId="room", username="Bob", **fields)
        client.say("CHAT", text="hello", **({"id": 2} if "id" in fields else {}))
        self.world.settle()
        return client

    def test_the_same_messages_again(self) -> None:
        for nonce in ("k9", "k3k3k3k3k3k3"):
            with self.subTest(nonce):
                room = {"roomId": nonce}
                host = self.world.join("host", nonce)
                fields = {"keepsToken": True, "nonce": nonce, "id": 1}
                first = self.world.connect(HERE)
                second = self.world.connect(HERE)
                for client in (first, second):
                    client.say("JOIN", userId="bob", username="Bob", **room, **fields)
                    client.say("CHAT", text="hello", id=2)
                    self.world.settle()
                    if client is first:
                        sent = first.told()
                        first.cut()
                told = second.told()
                # The client has lost the first answers.
                self.assertTrue(self.the(sent, "ROOM_STATE")["token"])
                self.assertTrue(self.the(told, "ROOM_STATE")["token"])
                acks = {message["id"]: message["seq"] for message in told if message["type"] == "ACK"}
                before = {message["id"]: message["seq"] for message in sent if message["type"] == "ACK"}
                self.assertEqual(acks[2], before[2])
                self.assertEqual([message["text"] for message in host.told("CHAT")], ["hello"])

    def test_over_a_connection_that_is_dead_without_notice(self) -> None:
        self.world.join("host")
        fields: dict[str, Any] = {"keepsToken": True, "nonce": "k9", "id": 1}
        self.join_and_chat(**fields).link.frozen = True
        again = self.join_and_chat(**fields)
        self.refused(again.told("ERROR")[:1], "identity_conflict")
        self.world.advance(6)
        self.assertTrue(self.the(again.told(), "ROOM_STATE")["token"])

    def test_after_a_restart(self) -> None:
        """Close code 1012 says that nothing is lost."""
        self.world.join("host")
        fields: dict[str, Any] = {"keepsToken": True, "nonce": "k9", "id": 1}
        self.join_and_chat(**fields)
        self.world.start(self.world.crash())
        self.assertTrue(self.the(self.join_and_chat(**fields).told(), "ROOM_STATE")["token"])

    def test_not_for_another_client_at_the_address(self) -> None:
        """M4: it knows the user id, but not the nonce."""
        self.world.join("host")
        self.join_and_chat(keepsToken=True, nonce="k9", id=1).cut()
        for fields in ({}, {"nonce": "k8", "id": 1}, {"keepsToken": True}):
            eve = self.world.join("bob", peer=HERE, **fields)
            self.world.advance(10)
            self.refused(eve.told(), "identity_conflict")
            eve.cut()


class ChangedAddressTest(ServiceTestCase):
    """F16: a client without token, whose address changed, had to stay outside for 45 s and lost the role of host."""

    def test_after_a_closed_connection(self) -> None:
        for fields in ({}, {"id": 1}, {"nonce": "k9"}):
            with self.subTest(fields):
                room = str(fields)
                ann, bob = self.world.join("ann", room, peer=HERE, **fields), self.world.join("bob", room)
                ann.cut()
                bob.told()
                again = self.world.join("ann", room, peer=ELSEWHERE, **fields)
                self.refused(again.told(), "identity_conflict")
                self.world.advance(4.9)
                self.assertEqual(again.told(), [])
                self.world.advance(0.2)
                self.assertHas(self.the(again.told(), "ROOM_STATE"), hostUserId="ann")
                self.assertEqual(bob.types(), ["USER_JOINED", "HOST_CHANGED"])

    def test_over_a_connection_that_is_dead_without_notice(self) -> None:
        [ann, _] = self.world.party("ann", "bob")
        ann.link.frozen = True
        again = self.world.join("ann", peer=ELSEWHERE)
        self.refused(again.told(), "identity_conflict")
        self.world.advance(5.1)
        self.assertHas(self.the(again.told(), "ROOM_STATE"), hostUserId="ann")

    def test_not_from_a_client_that_answers(self) -> None:
        [ann, _] = self.world.party("ann", "bob")
        eve = self.world.join("ann", peer=ELSEWHERE)
        eve.told()
        self.world.advance(300)
        self.assertEqual((eve.told(), ann.closed), ([], False))

    def test_the_client_at_the_old_address_comes_first(self) -> None:
        """A client that knows the user id waits for the moment in which the connection is lost."""
        ann = self.world.join("ann", peer=HERE)
        self.world.join("bob")
        eve = self.world.join("ann", peer=ELSEWHERE)
        eve.told()
        ann.cut()
        self.world.advance(4)
        back = self.world.join("ann", peer=HERE)
        self.assertHas(self.the(back.told(), "ROOM_STATE"), hostUserId="ann")
        self.world.advance(300)
        self.assertEqual((eve.told(), back.closed), ([], False))

    def test_several_that_want_it(self) -> None:
        """The newest gets it; a rejected one leaves it to the next."""
        ann = self.world.join("ann", peer=HERE, pin="1")
        self.world.join("bob", pin="1")
        ann.cut()
        right = self.world.join("ann", peer="10.9.9.1", pin="1")
        wrong = self.world.join("ann", peer="10.9.9.2", pin="1", token="x")
        right.told(), wrong.told()
        self.world.advance(6)
        self.assertEqual((right.types(), wrong.types()), ([], ["ROOM_STATE"]))

    def test_it_needs_the_pin(self) -> None:
        self.world.join("ann", pin="1")
        bob = self.world.join("bob", peer=HERE, pin="1")
        bob.cut()
        self.world.advance(6)
        self.refused(self.world.join("bob", peer=ELSEWHERE).told(), "bad_pin")
        self.refused(self.world.join("bob", peer=ELSEWHERE, pin="2").told(), "bad_pin")
        self.assertEqual(self.world.join("bob", peer=ELSEWHERE, pin="1").types()[0], "ROOM_STATE")


class HostUnderAnotherIdTest(ServiceTestCase):
    """F24: a newcomer with name and address of a host that reconnected became host in its place."""

    def join(self, user: str, **fields: Any) -> Client:
        return self.world.join(user, peer=HERE, username="Ann", **fields)

    def test_the_host_comes_back_within_five_seconds(self) -> None:
        ann = self.join("ann")
        bob = self.world.join("bob")
        for pause in (0.0, 1.0, 4.9):
            ann.cut()
            other = self.join(f"other{pause}")
            self.assertHas(self.the(other.told(), "ROOM_STATE"), hostUserId="ann")
            self.world.advance(pause)
            ann = self.join("ann")
            self.assertHas(self.the(ann.told(), "ROOM_STATE"), hostUserId="ann")
            self.world.advance(100)
            self.assertEqual([m for m in bob.told("HOST_CHANGED") if m["hostUserId"] != "ann"], [])

    def test_the_host_answers(self) -> None:
        ann = self.join("ann")
        before = ann.pings
        self.join("other")
        self.assertGreater(ann.pings, before)
        self.world.advance(100)
        self.assertHas(self.the(self.world.join("bob").told(), "ROOM_STATE"), hostUserId="ann")

    def test_the_connection_of_the_host_is_dead_without_notice(self) -> None:
        ann = self.join("ann")
        bob = self.world.join("bob")
        ann.link.frozen = True
        again = self.join("ann2")
        self.assertHas(self.the(again.told(), "ROOM_STATE"), hostUserId="ann")
        bob.told()
        self.world.advance(5.1)
        self.assertEqual(bob.types(), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertHas(self.the(again.told(), "HOST_CHANGED"), hostUserId="ann2")


class FullRoomTest(ServiceTestCase):
    options = {"rules": rule_settings(members_per_room=2)}

    def test_the_host_under_another_id(self) -> None:
        ann = self.world.join("ann", peer=HERE)
        self.world.join("bob")
        ann.cut()
        again = self.world.join("ann2", peer=HERE, username="Ann")
        self.refused(again.told(), "room_full")
        self.world.advance(5.2)
        self.assertHas(self.the(again.told(), "ROOM_STATE"), hostUserId="ann2")
