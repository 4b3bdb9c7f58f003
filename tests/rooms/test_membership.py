"""Leaving, being lost and coming back in time, who becomes host, and the end of a room."""

from __future__ import annotations

from tandemd.interfaces import Unavailable

from ..support.fake_node import TITLE, Client, HeldStore, ServiceTestCase


class LeaveTest(ServiceTestCase):
    def test_others_are_told(self) -> None:
        """B10, X13: on USER_LEFT alone, others keep offering video to the one who left."""
        ann, bob = self.world.party("ann", "bob")
        self.assertEqual(bob.send("LEAVE", userId="bob", roomId="room", timestamp=1), [])
        told = ann.told()
        self.assertEqual([m["type"] for m in told], ["LEAVE", "USER_LEFT"])
        for message in told:
            self.assertHas(message, userId="bob", seq=3, prev=2)
        self.assertEqual([m["part"] for m in told], [[1, 2], [2, 2]])
        self.assertFalse(bob.closed)

    def test_host_leaves(self) -> None:
        """B37: an arbitrary member became host; it is the one longest here."""
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        ann.send("LEAVE")
        for client in (bob, cid):
            told = client.told()
            self.assertEqual([m["type"] for m in told], ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
            self.assertEqual(told[-1]["hostUserId"], "bob")

    def test_host_leaves_and_the_eldest_is_lost(self) -> None:
        """B37: the elected one could be dead."""
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        bob.cut()
        ann.send("LEAVE")
        self.assertEqual(cid.told()[-1]["hostUserId"], "cid")

    def test_nothing_after_it(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.send("LEAVE")
        ann.send("CHAT", text="x")
        self.assertEqual(bob.told(), [])
        self.refused(bob.send("CHAT", text="x"), "not_joined")
        self.assertEqual([m["type"] for m in bob.send("PING", id=4)], ["PONG", "ACK"])

    def test_close_after_it_means_nothing(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.say("LEAVE")
        bob.leave()
        ann.told()
        self.world.advance(60)
        self.assertEqual(ann.told(), [])

    def test_last_one_ends_the_room(self) -> None:
        """B7, B32: the rest of a room turned up in the next one of that name."""
        [ann] = self.world.party("ann")
        ann.send("URL_CHANGE", url=TITLE)
        ann.send("PLAY_PAUSE", control="play", currentTime=100)
        ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        ann.send("LEAVE", id=9)
        self.assertEqual(self.world.store.codes(), [])
        state = self.the(self.world.join("bob").told(), "ROOM_STATE")
        self.assertHas(
            state, hostUserId="bob", url="", currentTime=0, isPlaying=False, guestControlEnabled=False, seq=1
        )

    def test_last_connected_one_leaves_others_in_grace(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.cut()
        ann.send("LEAVE")
        self.world.advance(5)
        state = self.the(self.world.join("bob").told(), "ROOM_STATE")
        self.assertHas(state, hostUserId="bob")

    def test_leave_twice(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.send("LEAVE")
        self.refused(bob.send("LEAVE"), "not_joined")


class GraceTest(ServiceTestCase):
    def test_no_member_is_told_of_a_short_absence(self) -> None:
        """B10: a lost connection removed the member at once, and with the host went its role."""
        ann, bob = self.world.party("ann", "bob")
        ann.cut()
        self.world.advance(44)
        self.assertEqual(bob.told(), [])
        again = self.world.join("ann")
        self.assertHas(self.the(again.told(), "ROOM_STATE"), hostUserId="ann")
        self.assertEqual(bob.types(), ["USER_JOINED", "HOST_CHANGED"])
        self.world.advance(60)
        self.assertEqual(bob.told(), [])

    def test_afterwards(self) -> None:
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        ann.cut()
        self.world.advance(45.5)
        told = cid.told()
        self.assertEqual([m["type"] for m in told], ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertHas(told[2], hostUserId="bob")
        self.assertEqual(told, bob.told())
        self.assertHas(self.the(self.world.join("ann").told(), "ROOM_STATE"), hostUserId="bob")

    def test_several_at_once(self) -> None:
        clients = self.world.party("ann", "bob", "cid", "dan")
        for client in clients[1:]:
            client.cut()
        self.world.advance(46)
        told = clients[0].told()
        self.assertEqual([m["userId"] for m in told if m["type"] == "USER_LEFT"], ["bob", "cid", "dan"])
        self.assertEqual([m["seq"] for m in told], sorted(m["seq"] for m in told))

    def test_repeated_absences(self) -> None:
        """Each absence has its own period: the end of an earlier one must not end a later one."""
        ann, bob = self.world.party("ann", "bob")
        for _ in range(5):
            bob.cut()
            self.world.advance(30)
            bob = self.world.join("bob")
        self.assertEqual(set(ann.types()), {"USER_JOINED"})

    def test_proper_close_is_no_leave(self) -> None:
        """A member that leaves sends LEAVE; a close without it is a reload or an accident."""
        ann, bob = self.world.party("ann", "bob")
        bob.leave()
        self.world.advance(40)
        self.assertEqual(ann.told(), [])

    def test_controls_while_the_host_is_gone(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        ann.cut()
        self.world.advance(9)
        self.refused(bob.send("PLAY_PAUSE", control="play", currentTime=1), "forbidden")
        self.world.advance(1.5)
        self.assertEqual([m["type"] for m in bob.send("PLAY_PAUSE", control="play", currentTime=1)], ["PLAY_PAUSE"])
        self.world.join("ann")
        bob.told()
        self.refused(bob.send("PLAY_PAUSE", control="pause", currentTime=1), "forbidden")

    def test_host_role_given_to_one_who_is_lost(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.cut()
        self.refused(ann.send("TRANSFER_HOST", targetUserId="bob"), "no_such_member")


class EndTest(ServiceTestCase):
    def lose_all(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        ann.send("URL_CHANGE", url=TITLE)
        ann.send("PLAY_PAUSE", control="play", currentTime=100)
        for seconds in range(10):
            ann.send("POSITION_UPDATE", currentTime=100 + seconds, isPlaying=True)
            self.world.advance(1)
        ann.cut()
        bob.cut()

    def test_room_stays_when_all_are_lost(self) -> None:
        """B10, B38: the first member that came back after an accident found nothing."""
        self.lose_all()
        self.world.advance(3600)
        state = self.the(self.world.join("cid").told(), "ROOM_STATE")
        # The film stopped where the last one saw it.
        self.assertHas(
            state, hostUserId="cid", url=TITLE, isPlaying=False, users=[{"userId": "cid", "username": "Cid"}]
        )
        self.assertAlmostEqual(state["currentTime"], 110, 0)

    def test_room_expires(self) -> None:
        """B7, B24: nothing ever expired."""
        self.lose_all()
        self.world.advance(4 * 3600 + 44)
        self.assertEqual(self.world.store.codes(), ["room"])
        self.world.advance(2)
        self.assertEqual(self.world.store.codes(), [])
        self.assertEqual(self.the(self.world.join("cid").told(), "ROOM_STATE")["url"], "")

    def test_one_who_joins_stops_the_expiry(self) -> None:
        self.lose_all()
        self.world.advance(4 * 3600)
        cid = self.world.join("cid")
        self.world.advance(4 * 3600)
        self.assertEqual(self.world.store.codes(), ["room"])
        self.assertFalse(cid.closed)

    def test_invite_dies_with_the_room(self) -> None:
        [ann] = self.world.party("ann")
        room = self.world.room()
        assert room is not None
        invite = room.settings.invite
        self.assertEqual(self.successResultOf(self.world.store.find_invite(invite)), "room")
        ann.send("LEAVE")
        self.assertIsNone(self.successResultOf(self.world.store.find_invite(invite)))


class PingTest(ServiceTestCase):
    def assertPong(self, client: Client) -> None:
        [pong] = client.send("PING", userId="x", timestamp=1)
        self.assertHas(pong, type="PONG", timestamp=int(self.world.now * 1000))

    def test_always(self) -> None:
        """The extension closes a connection that did not answer three PINGs."""
        client = self.world.connect()
        self.assertPong(client)
        self.refused(client.send("JOIN", userId="server", roomId="room"), "bad_user")
        self.assertPong(client)
        client.send("JOIN", userId="ann", roomId="room")
        self.assertPong(client)
        self.world.join("ann", peer="10.0.0.1").told()
        self.assertPong(client)
        client.send("JOIN", userId="ann", roomId="room")
        client.send("LEAVE")
        self.assertPong(client)

    def test_while_a_join_is_pending(self) -> None:
        self.world.party("ann")
        eve = self.world.join("ann", peer="66.6.6.6")
        eve.told()
        self.assertPong(eve)

    def test_never_a_commit(self) -> None:
        """B20: a PING reset the member's position in the database."""
        [ann] = self.world.party("ann")
        count = len(self.world.server.journal)
        self.assertPong(ann)
        self.assertEqual(len(self.world.server.journal), count)


class StoreAwayTest(ServiceTestCase):
    options = {"make_store": HeldStore}

    def test_a_room_stays_open_until_its_lost_member_is_stored(self) -> None:
        [ann] = self.world.party("ann")
        self.world.store.results.extend([Unavailable(3.0)] * 2)
        ann.cut()
        rooms = self.world.server.rooms.open
        for _ in range(5):
            self.world.advance(1)
            self.assertIsNotNone(rooms.get("room"))
        self.world.advance(3)
        self.assertIsNone(rooms.get("room"))
        room = self.world.room()
        assert room is not None
        self.assertEqual(room.members["ann"].conn, "")
