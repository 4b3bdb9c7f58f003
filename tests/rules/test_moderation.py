"""Examples of the rules: kick, ban, lock, delegated control."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import Enter
from tandemd.rules.identity import TAKEOVER_SECONDS
from tandemd.rules.moderation import MAX_BANS
from tandemd.rules.permissions import may_control
from tandemd.rules.snapshot import dump, load
from tandemd.rules.state import Ban, Departed, Moderation, Pin, Room

from ..support.rules_fixture import START, World, make_rules, told, types

PIN = Pin("salt", "right")


class KickTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "bob", "cid")

    def test_a_kick_is_a_departure_that_says_why(self) -> None:
        decision = self.world.do("host", m.Kick(target_user_id="bob", reason=" spoils\x00 the end "))
        self.assertEqual(told(decision), ["LEAVE", "USER_LEFT"])
        self.assertEqual(decision.messages[1].reason, "kicked")
        self.assertEqual(list(self.world.room.members), ["host", "cid"])
        commit = self.world.log[-1]
        self.assertEqual((commit.event, commit.user), ("USER_KICKED", "host"))
        self.assertEqual(
            commit.details, {"user": "bob", "username": "Bob", "why": "spoils the end", "until": START + 300}
        )

    def test_it_holds_for_a_while_under_this_id_from_anywhere(self) -> None:
        self.world.do("host", m.Kick(target_user_id="bob"))
        for address in ("10.0.0.1", "elsewhere", ""):
            self.assertEqual(self.world.refused("bob", Enter("Bob", address), conn="n/boot/9"), "kicked")
        self.world.advance(299.9)
        self.assertEqual(self.world.refused("bob", Enter("Bob", "x"), conn="n/boot/9"), "kicked")
        self.world.advance(0.1)
        self.world.join("bob")

    def test_others_from_there_may_come_in(self) -> None:
        self.world.do("host", m.Kick(target_user_id="bob"))
        self.world.join("bill", address=self.world.room.departed[-1].address)

    def test_a_token_does_not_help(self) -> None:
        self.world.join("dee", token="", new_token="T")
        self.world.do("host", m.Kick(target_user_id="dee"))
        self.assertEqual(self.world.refused("dee", Enter("D", "1", token="T", resume=True), conn="n/boot/9"), "kicked")

    def test_who_is_in_its_grace_period_does_not_come_back(self) -> None:
        self.world.lose("bob")
        self.world.do("host", m.Kick(target_user_id="bob"))
        self.assertEqual(self.world.refused("bob", Enter("Bob", ""), conn="n/boot/9"), "kicked")
        self.assertEqual(self.world.room.due, 0.0)

    def test_a_gate_does_not_wait_for_them(self) -> None:
        world = World()
        world.join_all("host", "bob", watching=True)
        world.seek("host", 100.0)
        world.ready("host", 100.0)
        decision = world.do("host", m.Kick(target_user_id="bob"))
        self.assertEqual(told(decision), ["LEAVE", "USER_LEFT", "PLAY_PAUSE"])
        self.assertIsNone(world.room.gate)

    def test_the_host_cannot_throw_itself_out(self) -> None:
        for body in (m.Kick(target_user_id="host"), m.Ban(target_user_id="host")):
            self.assertEqual(self.world.refused("host", body), "forbidden")

    def test_no_member_to_kick(self) -> None:
        self.assertEqual(self.world.refused("host", m.Kick(target_user_id="eve")), "no_such_member")

    def test_sent_twice_it_is_done_once(self) -> None:
        self.world.do("host", m.Kick(target_user_id="bob", id=1), nonce="n")
        seq = self.world.room.seq
        self.assertEqual(self.world.do("host", m.Kick(target_user_id="bob", id=1), nonce="n").seq, seq)
        self.assertEqual(self.world.room.seq, seq)


class BanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("host", address="h")
        self.world.join("bob", address="b")
        self.world.join("cid", address="b")

    def ban(self, user: str, by_address: bool = True) -> list[m.BanEntry]:
        decision = self.world.do("host", m.Ban(target_user_id=user, by_address=by_address))
        assert isinstance(decision.reply, m.Bans)
        return decision.reply.bans

    def test_user_and_address_are_out_for_the_life_of_the_room(self) -> None:
        self.assertEqual(self.ban("bob"), [m.BanEntry("bob", "Bob", True)])
        self.assertEqual(types(list(self.world.log[-1].messages)), ["LEAVE", "USER_LEFT"])
        self.assertEqual(self.world.log[-1].event, "USER_BANNED")
        self.assertEqual(self.world.log[-1].details, {"user": "bob", "username": "Bob", "why": None, "byAddress": True})
        self.world.advance(10**7)
        self.assertEqual(self.world.refused("bob", Enter("Bob", "elsewhere"), conn="n/boot/9"), "banned")
        self.assertEqual(self.world.refused("other", Enter("Bob", "b"), conn="n/boot/9"), "banned")
        self.world.join("other", address="c")

    def test_members_from_there_stay_and_come_back(self) -> None:
        self.ban("bob")
        self.world.lose("cid")
        self.world.join("cid", address="b")
        self.world.leave("cid")
        self.assertEqual(self.world.refused("cid", Enter("Cid", "b"), conn="n/boot/9"), "banned")

    def test_the_hosts_own_address_is_never_banned_and_the_host_is_told(self) -> None:
        self.world.join("mate", address="h")
        self.assertEqual(self.ban("mate"), [m.BanEntry("mate", "Mate", False)])
        self.world.join("friend", address="h")
        self.assertEqual(self.world.refused("mate", Enter("Mate", "h"), conn="n/boot/9"), "banned")

    def test_an_address_that_means_nothing_is_not_banned(self) -> None:
        self.world.join("dan", address="")
        self.assertEqual(self.ban("dan"), [m.BanEntry("dan", "Dan", False)])
        self.world.join("eve", address="")

    def test_by_name_alone(self) -> None:
        self.ban("bob", by_address=False)
        self.world.join("other", address="b")

    def test_who_has_left_already(self) -> None:
        self.world.leave("bob")
        self.assertEqual(self.ban("bob"), [m.BanEntry("bob", None, True)])
        self.assertEqual(self.world.log[-1].messages, ())
        self.assertEqual(self.world.refused("other", Enter("X", "b"), conn="n/boot/9"), "banned")

    def test_who_was_never_seen(self) -> None:
        self.assertEqual(self.ban("eve"), [m.BanEntry("eve", None, False)])
        self.assertEqual(self.world.refused("eve", Enter("Eve", "b"), conn="n/boot/9"), "banned")

    def test_a_ban_after_a_kick_knows_the_address(self) -> None:
        self.world.do("host", m.Kick(target_user_id="bob"))
        self.assertEqual(self.ban("bob"), [m.BanEntry("bob", "Bob", True)])
        self.assertEqual(self.ban("bob"), [m.BanEntry("bob", "Bob", True)])

    def test_unban(self) -> None:
        self.ban("bob")
        decision = self.world.do("host", m.Unban(target_user_id="bob"))
        self.assertEqual((self.world.log[-1].event, decision.reply), ("USER_UNBANNED", m.Bans(bans=[])))
        self.world.join("bob", address="b")
        self.assertEqual(self.world.refused("host", m.Unban(target_user_id="bob")), "no_such_member")

    def test_it_outlives_the_host(self) -> None:
        self.ban("bob")
        self.world.leave("host")
        self.assertEqual(self.world.host, "cid")
        self.assertEqual(self.world.refused("bob", Enter("Bob", "x"), conn="n/boot/9"), "banned")

    def test_an_empty_room_keeps_its_bans(self) -> None:
        self.ban("bob")
        for user in ("host", "cid"):
            self.world.lose(user)
        self.world.advance(46)
        self.assertEqual(self.world.room.members, {})
        self.assertEqual(self.world.refused("bob", Enter("Bob", "x"), conn="n/boot/9"), "banned")

    def test_a_lost_host_with_a_new_id_comes_back_from_its_own_address_only(self) -> None:
        self.world.join("mate", address="h", username="Host")
        self.ban("mate")
        self.world.lose("host")
        self.assertEqual(self.world.refused("mate", Enter("Host", "h"), conn="n/boot/9"), "banned")
        self.world.join("host2", username="Host", address="h")
        self.world.advance(TAKEOVER_SECONDS)
        self.assertEqual(self.world.host, "host2")

    def test_there_is_an_end_to_it(self) -> None:
        bars = tuple(Ban(f"u{n}", None) for n in range(MAX_BANS - 1))
        self.world.room.assign({"moderation": Moderation(bans=bars)})
        self.world.do("host", m.Kick(target_user_id="bob"))
        self.ban("eve")
        self.assertEqual([bar.user_id for bar in self.world.room.moderation.bans][-2:], [f"u{MAX_BANS - 2}", "eve"])
        self.assertEqual(self.world.refused("host", m.Kick(target_user_id="cid")), "forbidden")
        self.ban("u0")

    def test_kicks_that_are_over_are_forgotten(self) -> None:
        self.world.do("host", m.Kick(target_user_id="bob"))
        self.world.advance(300)
        self.assertEqual([bar.user_id for bar in self.ban("eve")], ["eve"])


class LockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "bob")
        self.decision = self.world.do("host", m.LockRoom(locked=True))

    def test_all_members_are_told(self) -> None:
        self.assertEqual(told(self.decision), ["ROOM_LOCKED"])
        self.assertEqual((self.world.log[-1].event, self.world.log[-1].details), ("ROOM_LOCKED", {"locked": True}))

    def test_newcomers_wait_and_members_come_back(self) -> None:
        self.assertEqual(self.world.refused("eve", Enter("Eve", "e"), conn="n/boot/9"), "locked")
        self.world.join("bob", again=True)
        self.world.lose("bob")
        self.world.join("bob")

    def test_who_has_left_is_new(self) -> None:
        self.world.leave("bob")
        self.assertEqual(self.world.refused("bob", Enter("Bob", "b"), conn="n/boot/9"), "locked")

    def test_a_locked_room_does_not_say_whether_a_pin_is_right(self) -> None:
        world = World()
        world.join("host", pin=PIN)
        world.do("host", m.LockRoom(locked=True))
        for pin in (None, PIN, Pin("salt", "wrong"), Pin("other", "x")):
            self.assertEqual(world.refused("eve", Enter("Eve", "e", pin), conn="n/boot/9"), "locked")

    def test_a_host_whose_client_has_forgotten_its_id_waits(self) -> None:
        """The address and name may be those of another client."""
        self.world.lose("host")
        entry = Enter("Host", self.world.member("host").address)
        self.assertEqual(self.world.refused("host2", entry, conn="n/boot/9"), "locked")

    def test_unlocked(self) -> None:
        self.world.do("host", m.LockRoom(locked=False))
        self.world.join("eve")

    def test_the_same_again_is_nothing(self) -> None:
        self.assertFalse(self.world.do("host", m.LockRoom(locked=True)).commits)

    def test_an_empty_room_is_open(self) -> None:
        """No member could unlock the empty room, and it would reject newcomers for hours."""
        for user in ("host", "bob"):
            self.world.lose(user)
        self.world.advance(46)
        self.world.join("eve")
        self.assertEqual(self.world.host, "eve")


class DelegateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "bob", "cid")
        self.decision = self.delegate("bob")

    def delegate(self, user: str, enabled: bool = True) -> object:
        return self.world.do("host", m.DelegateControl(target_user_id=user, enabled=enabled))

    def may(self, user: str) -> bool:
        return may_control(self.world.room, user, self.world.now, 10.0)

    def test_one_may_and_the_others_may_not(self) -> None:
        self.assertEqual([self.may(user) for user in ("host", "bob", "cid")], [True, True, False])
        self.world.play("bob", 5.0)
        self.assertEqual(self.world.refused("cid", m.PlayPause(control="play")), "forbidden")
        commit = self.world.log[-2]
        self.assertEqual(types(list(commit.messages)), ["CONTROL_DELEGATED"])
        self.assertEqual((commit.event, commit.details), ("CONTROL_DELEGATED", {"user": "bob", "enabled": True}))

    def test_it_is_taken_back(self) -> None:
        self.delegate("bob", False)
        self.assertFalse(self.may("bob"))
        self.assertEqual(self.world.room.moderation, Moderation())

    def test_it_survives_a_lost_connection(self) -> None:
        self.world.lose("bob")
        self.world.join("bob")
        self.assertTrue(self.may("bob"))

    def test_it_ends_when_the_member_goes(self) -> None:
        for go in ("leave", "lost", "kick"):
            self.delegate("cid")
            if go == "leave":
                self.world.leave("cid")
            elif go == "lost":
                self.world.lose("cid")
                self.world.advance(46)
            else:
                self.world.do("host", m.Kick(target_user_id="cid"))
                self.world.advance(301)
            self.world.join("cid")
            self.assertEqual(self.world.room.moderation.delegates, ("bob",), go)

    def test_switching_control_for_all_leaves_it(self) -> None:
        for enabled in (True, False):
            self.world.do("host", m.ToggleGuestControl(enabled=enabled))
        self.assertTrue(self.may("bob"))

    def test_it_outlives_the_host(self) -> None:
        self.world.do("host", m.TransferHost(target_user_id="cid"))
        self.assertEqual([self.may(user) for user in ("host", "bob", "cid")], [False, True, True])

    def test_an_id_that_is_used_no_more_is_no_delegate(self) -> None:
        """X12: the host's user id changes when its client restarts."""
        self.world.do("host", m.TransferHost(target_user_id="bob"))
        address = self.world.member("bob").address
        self.world.lose("bob")
        self.world.join("bob2", username="Bob", address=address)
        self.world.advance(TAKEOVER_SECONDS)
        self.assertEqual((self.world.host, self.world.room.moderation.delegates), ("bob2", ()))

    def test_no_server_there(self) -> None:
        self.assertEqual(
            self.world.refused("host", m.DelegateControl(target_user_id="eve", enabled=True)), "no_such_member"
        )

    def test_the_same_again_is_nothing(self) -> None:
        before = self.world.room.seq
        self.delegate("bob")
        self.delegate("cid", False)
        self.assertEqual(self.world.room.seq, before)

    def test_a_delegate_is_not_sent_to_titles(self) -> None:
        """Its client believes that it has control and sends the title of its own page, so that pages would reload without end."""
        self.world.do("host", m.UrlChange(url="https://www.netflix.com/watch/1"))
        self.world.lose("bob")
        self.assertIsNone(self.world.join("bob").reply)


class StateTests(SynchronousTestCase):
    def test_it_comes_back_from_the_archive(self) -> None:
        room = Room("id", "r", START, 1)
        room.moderation = Moderation(True, ("bob",), (Ban("eve", "Eve", "e"), Ban("mal", None, "", START)))
        room.departed = (Departed("eve", START, "e"),)
        back = load("id", "r", START, 2, 0, dump(room))
        self.assertEqual((back.moderation, back.departed), (room.moderation, room.departed))

    def test_a_room_that_was_written_before_there_was_moderation(self) -> None:
        written = json.loads(dump(Room("id", "r", START, 1)))
        del written["moderation"]
        self.assertEqual(load("id", "r", START, 2, 0, json.dumps(written)).moderation, Moderation())

    def test_how_long_a_kick_holds_is_configured(self) -> None:
        world = World(make_rules(kick=5.0))
        world.join_all("host", "bob")
        world.do("host", m.Kick(target_user_id="bob"))
        world.advance(5)
        world.join("bob")
