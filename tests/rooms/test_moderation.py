"""Kick, ban, lock and delegated control as clients see them, old ones and new."""

from __future__ import annotations

from typing import Any

from ..support.fake_node import TITLE, ServiceTestCase


class KickTest(ServiceTestCase):
    def test_messages_to_all_members(self) -> None:
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        told = ann.send("KICK", targetUserId="bob", reason="spoilers", id=1)
        self.assertEqual([m["type"] for m in told], ["LEAVE", "USER_LEFT", "ACK", "BANS"])
        self.assertHas(told[1], userId="bob", reason="kicked")
        until = int(self.world.now * 1000) + 300_000
        self.assertEqual(told[3]["bans"], [{"userId": "bob", "username": "Bob", "until": until}])
        self.assertEqual(cid.types(), ["LEAVE", "USER_LEFT"])
        told = bob.told()
        self.assertEqual(told[0], {"type": "KICKED", "by": "ann", "reason": "spoilers", "retryAfterMs": 300_000})
        # Old clients know no KICKED: for them the others leave, and with them the video.
        self.assertEqual(
            [(m["type"], m["userId"]) for m in told[1:]],
            [("LEAVE", "ann"), ("USER_LEFT", "ann"), ("LEAVE", "cid"), ("USER_LEFT", "cid")],
        )

    def test_a_new_host_learns_who_may_not_come_in(self) -> None:
        """It had to join again to learn it."""
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        ann.send("BAN", targetUserId="dee")
        told = ann.send("TRANSFER_HOST", targetUserId="bob")
        self.assertEqual([m["type"] for m in told], ["HOST_CHANGED"])
        self.assertEqual(bob.types(), ["HOST_CHANGED", "BANS"])
        cid.told()
        bob.send("LEAVE")
        self.assertEqual(
            [m["userId"] for m in self.the([*ann.told(), *cid.told()], "BANS")["bans"]],
            ["dee"],
        )
        ann.send("UNBAN", targetUserId="dee")
        ann.send("TRANSFER_HOST", targetUserId="cid")
        self.assertNotIn("BANS", cid.types())

    def test_the_connection_stays_open_and_is_in_no_room(self) -> None:
        """0.1: an old client answers every close by coming back a second later, for ever."""
        ann, bob = self.world.party("ann", "bob")
        ann.send("KICK", targetUserId="bob")
        bob.told()
        ann.send("CHAT", text="x")
        self.assertEqual(bob.told(), [])
        self.assertFalse(bob.closed)
        self.refused(bob.send("CHAT", text="x"), "not_joined")
        self.refused(bob.send("OFFER", to="ann", offer={"type": "offer", "sdp": ""}), "not_joined")
        self.assertEqual(bob.send("PING")[0]["type"], "PONG")

    def test_a_page_that_joins_again_is_refused_until_the_time_is_over(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        ann.send("KICK", targetUserId="bob")
        bob.told()
        self.world.advance(100)
        error = self.refused(bob.send("JOIN", userId="bob", roomId="room"), "kicked")
        self.assertIn(error["retryAfterMs"], (200_000, 200_001))
        # It was refused for good, and not left waiting: no client that the host rejected joins by itself.
        ann.told()
        self.world.advance(300)
        self.assertEqual((bob.told(), ann.told()), ([], []))
        self.assertIn("ROOM_STATE", [m["type"] for m in bob.send("JOIN", userId="bob", roomId="room")])

    def test_who_waits_for_room_or_name_gets_it(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        thief = self.world.join("bob", peer="10.9.9.9")
        self.refused(thief.told(), "identity_conflict")
        ann.send("KICK", targetUserId="bob")
        self.refused(thief.told(), "kicked")
        self.assertIsNotNone(bob)

    def test_a_member_that_is_away_is_banned(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        bob.cut()
        ann.send("KICK", targetUserId="bob")
        self.refused(self.world.join("bob").told(), "kicked")

    def test_the_archive_knows_who_whom_and_why(self) -> None:
        ann, _bob = self.world.party("ann", "bob")
        ann.send("BAN", targetUserId="bob", reason="rude")
        _, commit = self.world.server.journal[-1]
        self.assertEqual((commit.event, commit.user), ("USER_BANNED", "ann"))
        self.assertEqual(commit.details, {"user": "bob", "username": "Bob", "why": "rude", "byAddress": True})

    def test_a_reason_is_not_taken_for_what_the_server_says(self) -> None:
        """A member that is "lost" is sent away with a close."""
        ann, bob = self.world.party("ann", "bob")
        ann.send("KICK", targetUserId="bob", reason="lost")
        self.assertFalse(bob.closed)

    def test_none_of_it_by_guests_or_strangers(self) -> None:
        _ann, bob, cid = self.world.party("ann", "bob", "cid")
        stranger = self.world.connect()
        for kind, fields in (
            ("KICK", {"targetUserId": "cid"}),
            ("BAN", {"targetUserId": "ann"}),
            ("UNBAN", {"targetUserId": "x"}),
            ("LOCK_ROOM", {"locked": True}),
            ("ADMIT", {"targetUserId": "x", "admitted": True}),
            ("DELEGATE_CONTROL", {"targetUserId": "bob", "enabled": True}),
        ):
            self.refused(bob.send(kind, **fields), "forbidden")
            self.refused(stranger.send(kind, **fields), "not_joined")
        self.assertEqual(cid.told(), [])


class KnockTest(ServiceTestCase):
    """A newcomer at a locked room."""

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.world.party("ann", "bob")
        self.ann.send("LOCK_ROOM", locked=True)
        self.bob.told()

    def test_only_the_host_hears_it_once(self) -> None:
        eve = self.world.join("eve")
        self.refused(eve.told(), "locked")
        self.assertEqual(self.ann.told(), [{"type": "KNOCK", "userId": "eve", "username": "Eve"}])
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.world.advance(30)
        self.assertNotIn("KNOCK", [*self.ann.types(), *self.bob.types()])

    def test_the_host_lets_one_in_and_the_room_stays_locked(self) -> None:
        eve, dan = self.world.join("eve"), self.world.join("dan")
        for newcomer in (eve, dan):
            self.refused(newcomer.told(), "locked")
        self.ann.told()
        told = self.ann.send("ADMIT", targetUserId="eve", admitted=True)
        self.assertTrue(self.the(eve.told(), "ROOM_STATE")["locked"])
        self.assertHas(self.the([*told, *self.ann.told()], "USER_JOINED"), userId="eve")
        self.assertEqual(dan.told(), [])
        # It was let in once.
        eve.send("LEAVE")
        self.refused(self.world.join("eve").told(), "locked")

    def test_the_host_refuses_one_that_may_knock_again(self) -> None:
        eve = self.world.join("eve")
        self.refused(eve.told(), "locked")
        self.ann.told()
        self.ann.send("ADMIT", targetUserId="eve", admitted=False)
        self.refused(eve.told(), "forbidden")
        self.ann.send("LOCK_ROOM", locked=False)
        self.assertEqual(eve.told(), [])
        self.ann.send("LOCK_ROOM", locked=True)
        self.ann.told()
        self.refused(eve.send("JOIN", userId="eve", roomId="room"), "locked")
        self.assertEqual(self.ann.types(), ["KNOCK"])

    def test_an_answer_for_no_one_changes_nothing(self) -> None:
        for user in ("bob", "nowhere"):
            for admitted in (True, False):
                self.assertEqual(self.ann.send("ADMIT", targetUserId=user, admitted=admitted, id=None), [])
        self.assertEqual(self.bob.told(), [])
        self.refused(self.world.join("nowhere").told(), "locked")

    def test_the_place_of_the_party_still_counts(self) -> None:
        """An answer opens the lock, and nothing else: not a ban."""
        eve = self.world.join("eve", peer="10.0.0.7")
        self.refused(eve.told(), "locked")
        self.ann.send("BAN", targetUserId="eve")
        self.ann.send("ADMIT", targetUserId="eve", admitted=True)
        self.refused(eve.told(), "banned")

    def test_a_host_without_connection_hears_nothing(self) -> None:
        self.ann.cut()
        self.refused(self.world.join("eve").told(), "locked")
        self.assertNotIn("KNOCK", self.bob.types())


class BanTest(ServiceTestCase):
    def test_neither_id_nor_address_nor_token_get_in(self) -> None:
        [ann] = self.world.party("ann")
        bob = self.world.join("bob", peer="10.0.0.7", keepsToken=True)
        state = self.the(bob.told(), "ROOM_STATE")
        self.assertTrue(ann.send("BAN", targetUserId="bob")[-1]["bans"][0]["byAddress"])
        self.assertHas(self.the(bob.told(), "KICKED"), banned=True, retryAfterMs=None)
        self.world.advance(10_000)
        self.refused(self.world.join("bob", peer="10.0.0.8").told(), "banned")
        self.refused(self.world.join("rob", peer="10.0.0.7").told(), "banned")
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        self.refused(self.world.join("bob", token=state["token"], resume=resume).told(), "banned")
        self.the(self.world.join("rob", peer="10.0.0.9").told(), "ROOM_STATE")

    def test_the_last_few_addresses(self) -> None:
        """L5: one JOIN from elsewhere before the ban, and the old address was open."""
        [ann] = self.world.party("ann")
        eve = self.world.join("eve", peer="10.0.0.7", keepsToken=True)
        token = self.the(eve.told(), "ROOM_STATE")["token"]
        for peer in ("10.0.0.8", "10.0.0.9", "10.0.0.7", "10.0.0.10"):
            self.the(self.world.join("eve", peer=peer, token=token).told(), "ROOM_STATE")
        self.the(self.world.join("bob", peer="10.0.0.11").told(), "ROOM_STATE")
        ann.send("BAN", targetUserId="eve")
        for peer in ("10.0.0.7", "10.0.0.8", "10.0.0.9", "10.0.0.10"):
            self.refused(self.world.join("rob", peer=peer).told(), "banned")
        self.the(self.world.join("rob", peer="10.0.0.12").told(), "ROOM_STATE")

    def test_earlier_addresses_of_one_who_has_left(self) -> None:
        [ann] = self.world.party("ann")
        eve = self.world.join("eve", peer="10.0.0.7", keepsToken=True)
        token = self.the(eve.told(), "ROOM_STATE")["token"]
        self.world.join("eve", peer="10.0.0.8", token=token).send("LEAVE")
        ann.send("BAN", targetUserId="eve")
        self.refused(self.world.join("rob", peer="10.0.0.7").told(), "banned")
        self.refused(self.world.join("rob", peer="10.0.0.8").told(), "banned")

    def test_never_the_hosts_address_also_if_it_is_an_earlier_one(self) -> None:
        ann = self.world.join("ann", peer="10.0.0.2")
        eve = self.world.join("eve", peer="10.0.0.2", keepsToken=True)
        token = self.the(eve.told(), "ROOM_STATE")["token"]
        self.world.join("eve", peer="10.0.0.8", token=token)
        self.assertTrue(ann.send("BAN", targetUserId="eve")[-1]["bans"][0]["byAddress"])
        self.the(self.world.join("rob", peer="10.0.0.2").told(), "ROOM_STATE")
        self.refused(self.world.join("rod", peer="10.0.0.8").told(), "banned")

    def test_it_is_the_rooms_alone_and_ends_with_it(self) -> None:
        [ann] = self.world.party("ann")
        ann.send("BAN", targetUserId="bob")
        self.the(self.world.join("bob", "other").told(), "ROOM_STATE")
        ann.send("LEAVE")
        self.the(self.world.join("bob").told(), "ROOM_STATE")

    def test_it_survives_a_restart(self) -> None:
        ann, _bob = self.world.party("ann", "bob")
        ann.send("BAN", targetUserId="bob")
        ann.send("LOCK_ROOM", locked=True)
        self.world.start(self.world.crash())
        self.refused(self.world.join("bob").told(), "banned")
        told = self.world.join("ann").told()
        self.assertHas(self.the(told, "ROOM_STATE"), locked=True, hostUserId="ann")
        self.assertEqual([ban["userId"] for ban in self.the(told, "BANS")["bans"]], ["bob"])

    def test_only_the_host_is_told_of_them(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        ann.send("BAN", targetUserId="cid")
        self.assertEqual(bob.told(), [])
        self.assertNotIn("BANS", [m["type"] for m in bob.send("JOIN", userId="bob", roomId="room")])


class BanWithMembersTest(ServiceTestCase):
    """M3: one address took all places of a room, and the host had to throw its members out one by one."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", peer="10.0.0.1")
        self.bob = self.world.join("bob", peer="10.0.0.2")
        self.eves = [self.world.join(f"eve{i}", peer="10.0.0.7") for i in range(5)]
        self.proven = self.world.join("dan", peer="10.0.0.7", keepsToken=True)
        for client in (self.ann, self.bob, *self.eves, self.proven):
            client.told()

    def test_members_that_have_proven_nothing(self) -> None:
        self.eves[3].cut()
        told = self.ann.send("BAN", targetUserId="eve0", withMembers="unproven", id=1, reason="crowd")
        left = [m["userId"] for m in told if m["type"] == "USER_LEFT"]
        self.assertEqual(left, [f"eve{i}" for i in range(5)])
        self.assertEqual([m["part"] for m in told if "part" in m], [[i, 10] for i in range(1, 11)])
        self.assertEqual(len(self.the(told, "BANS")["bans"]), 1)
        for i in (0, 1, 2, 4):
            told = self.eves[i].told()
            self.assertHas(told[0], type="KICKED", banned=True, reason="crowd")
            self.assertEqual({m["userId"] for m in told[1:]}, {"ann", "bob", "dan"})
            self.refused(self.eves[i].send("CHAT", text="x"), "not_joined")
        self.refused(self.world.join("eve1", peer="10.0.0.7").told(), "banned")
        self.assertEqual([m["type"] for m in self.proven.told()], ["LEAVE", "USER_LEFT"] * 5)
        _, commit = self.world.server.journal[-1]
        self.assertHas(commit.details or {}, user="eve0", along=["eve1", "eve2", "eve3", "eve4"])

    def test_all(self) -> None:
        told = self.ann.send("BAN", targetUserId="eve0", withMembers="all")
        self.assertEqual(sum(m["type"] == "USER_LEFT" for m in told), 6)
        self.assertEqual(self.proven.told()[0]["type"], "KICKED")

    def test_so_many_at_a_time(self) -> None:
        """A commit has a bound; the host sends it again."""
        for i in range(5, 60):
            self.world.join(f"eve{i}", peer="10.0.0.7")
        self.ann.told()
        for count in (50, 10):
            told = self.ann.send("BAN", targetUserId="eve0", withMembers="unproven")
            self.assertEqual(sum(m["type"] == "USER_LEFT" for m in told), count)

    def test_not_unless_it_is_asked_for(self) -> None:
        self.ann.send("BAN", targetUserId="eve0")
        self.assertEqual(self.eves[1].types(), ["LEAVE", "USER_LEFT"])
        self.refused(self.ann.send("BAN", targetUserId="eve1", withMembers="x"), "bad_message")

    def test_neither_the_host_nor_its_address(self) -> None:
        cid = self.world.join("cid", peer="10.0.0.1")
        told = self.ann.send("BAN", targetUserId="cid", withMembers="all")
        self.assertEqual([m["userId"] for m in told if m["type"] == "USER_LEFT"], ["cid"])
        del cid

    def test_one_who_has_left(self) -> None:
        self.eves[0].send("LEAVE")
        told = self.ann.send("BAN", targetUserId="eve0", withMembers="unproven")
        self.assertEqual(sum(m["type"] == "USER_LEFT" for m in told), 5)


class LockTest(ServiceTestCase):
    def test_who_waits_comes_in_when_it_is_unlocked(self) -> None:
        """An old client joins only when it connects, and would stay outside for ever."""
        ann, bob = self.world.party("ann", "bob")
        ann.send("LOCK_ROOM", locked=True)
        self.assertHas(self.the(bob.told(), "ROOM_LOCKED"), locked=True)
        eve = self.world.join("eve")
        self.refused(eve.told(), "locked")
        self.world.advance(100)
        self.assertEqual(eve.told(), [])
        ann.send("LOCK_ROOM", locked=False)
        self.assertHas(self.the(eve.told(), "ROOM_STATE"), locked=None)

    def test_members_come_back(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        ann.send("LOCK_ROOM", locked=True)
        bob.cut()
        self.assertHas(self.the(self.world.join("bob").told(), "ROOM_STATE"), locked=True)

    def test_address_and_name_of_a_lost_host_do_not_open_it(self) -> None:
        """L9: they might be another's; the host comes back under its own id, or waits."""
        ann = self.world.join("ann", peer="10.0.0.2")
        self.world.join("bob")
        ann.send("LOCK_ROOM", locked=True)
        ann.cut()
        eve = self.world.join("eve", peer="10.0.0.2", username="Ann")
        self.refused(eve.told(), "locked")
        back = self.world.join("ann", peer="10.0.0.2")
        self.assertHas(self.the(back.told(), "ROOM_STATE"), hostUserId="ann")
        back.send("LOCK_ROOM", locked=False)
        self.assertHas(self.the(eve.told(), "ROOM_STATE"), hostUserId="ann")

    def test_a_waiting_join_is_accepted_when_all_members_have_left(self) -> None:
        [ann] = self.world.party("ann")
        ann.send("LOCK_ROOM", locked=True)
        eve = self.world.join("eve")
        eve.told()
        ann.cut()
        self.world.advance(46)
        self.assertHas(self.the(eve.told(), "ROOM_STATE"), hostUserId="eve", locked=None)


class DelegateTest(ServiceTestCase):
    def controls(self, client: Any) -> list[tuple[bool, bool]]:
        """Return a client's messages about guest control: (enabled, whether it concerns all guests)."""
        return [(m["enabled"], "seq" in m) for m in client.told("GUEST_CONTROL")]

    def test_an_old_client_is_told_that_guests_may_control_and_others_are_not(self) -> None:
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        told = ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        self.assertHas(self.the(told, "CONTROL_DELEGATED"), userId="bob", enabled=True)
        self.assertEqual(cid.types(), ["CONTROL_DELEGATED"])
        told = bob.told()
        self.assertEqual([m["type"] for m in told], ["CONTROL_DELEGATED", "GUEST_CONTROL"])
        self.assertEqual((told[1]["enabled"], "seq" in told[1]), (True, False))
        self.assertEqual(self.the(bob.send("PLAY_PAUSE", control="play"), "PLAY_PAUSE")["userId"], "bob")
        self.refused(cid.send("PLAY_PAUSE", control="pause"), "forbidden")

    def test_it_is_taken_back(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        for enabled in (True, False):
            ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=enabled)
        self.assertEqual(self.controls(bob), [(True, False), (False, False)])
        self.refused(bob.send("SEEK", currentTime=5), "forbidden")

    def test_switching_control_for_all_does_not_confuse_a_delegate(self) -> None:
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        self.controls(bob)
        ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        ann.send("TOGGLE_GUEST_CONTROL", enabled=False)
        self.assertEqual(self.controls(bob), [(True, True), (True, False), (False, True), (True, False)])
        self.assertEqual(self.controls(cid), [(True, True), (False, True)])

    def test_one_is_not_taken_back_what_all_have(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        bob.told()
        ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=False)
        self.assertEqual(self.controls(bob), [(True, False)])

    def test_after_a_reload_or_a_lost_connection(self) -> None:
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        bob.cut()
        bob = self.world.join("bob")
        told = bob.told()
        self.assertHas(told[0], type="ROOM_STATE", guestControlEnabled=False, controllers=["bob"])
        self.assertHas(told[1], type="GUEST_CONTROL", enabled=True, seq=None)
        state = self.the(cid.send("JOIN", userId="cid", roomId="room"), "ROOM_STATE")
        self.assertHas(state, guestControlEnabled=False, controllers=["bob"])

    def test_after_a_resume(self) -> None:
        [ann] = self.world.party("ann")
        bob = self.world.join("bob", keepsToken=True)
        state = self.the(bob.told(), "ROOM_STATE")
        bob.cut()
        ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        told = self.world.join(
            "bob", token=state["token"], resume={"epoch": state["epoch"], "seq": state["seq"]}
        ).told()
        self.assertEqual([m["type"] for m in told], ["CONTROL_DELEGATED", "ROOM_STATE", "GUEST_CONTROL"])
        self.assertHas(told[0], replayed=True)

    def test_after_the_room_was_reloaded(self) -> None:
        ann, bob, cid = self.world.party("ann", "bob", "cid")
        ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        for client in (bob, cid):
            client.told()
        rooms = self.world.server.rooms
        live = rooms.open.get("room")
        assert live is not None
        rooms.others.reloaded(live, self.world.room())
        self.assertEqual(bob.types(), ["ROOM_STATE", "GUEST_CONTROL"])
        self.assertEqual(cid.types(), ["ROOM_STATE"])

    def test_a_delegate_is_not_sent_back_to_a_title(self) -> None:
        """0.5: it tells the title of its own page; an old one sent to it would chase it for ever."""
        ann, bob = self.world.party("ann", "bob")
        ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        ann.send("URL_CHANGE", url=TITLE)
        ann.send("PLAY_PAUSE", control="play", currentTime=5)
        bob.told()
        self.assertEqual(self.the(bob.send("REQUEST_SYNC"), "SYNC_RESPONSE")["url"], "")
