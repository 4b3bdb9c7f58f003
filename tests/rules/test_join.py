"""Examples of the rules: joining, coming back, leaving, and the host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.errors import RequestError
from tandemd.rules.commands import Command, Due, Enter, Lost, NodeLost, Probe, Reattach, StalePinError
from tandemd.rules.display_names import clean_name
from tandemd.rules.identity import PROBE_INTERVAL_SECONDS, TAKEOVER_SECONDS, proves_identity
from tandemd.rules.join import greeting, state_of
from tandemd.rules.membership import MAX_DEPARTED_MEMBERS
from tandemd.rules.permissions import may_control
from tandemd.rules.state import Pin

from ..support.rules_fixture import START, TITLE, World, make_rules, told, types

PIN = Pin("salt", "right")


class FirstJoinTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_the_first_one_is_the_host(self) -> None:
        decision = self.world.join("a", invite="abc")
        self.assertEqual(told(decision), ["USER_JOINED", "HOST_CHANGED"])
        self.assertEqual((self.world.host, self.world.room.seq, self.world.room.settings.invite), ("a", 1, "abc"))

    def test_the_next_is_a_guest(self) -> None:
        self.world.join("a", invite="abc")
        decision = self.world.join("b", invite="other")
        self.assertEqual((told(decision), decision.skip), (["USER_JOINED"], "b"))
        self.assertEqual((self.world.host, self.world.room.settings.invite), ("a", "abc"))

    def test_no_member_is_the_server(self) -> None:
        for user in ("server", "Server", "server ", " SERVER", "s\u0435rver", "ser\u200bver"):
            self.assertEqual(self.world.refused(user, Enter("x", "")), "bad_user", ascii(user))

    def test_no_member_has_the_servers_name(self) -> None:
        for name in (
            "Server", "SERVER", " server ", "S\u0435rv\u0435r", "\u0405erver", "\uff33\uff45\uff52\uff56\uff45\uff52",
            "Server.", "\u2605 Server \u2605", "S\u00e9rver", "5erver", "Serv3r", "\U0001d412erver", "se\u200drver",
            "S e r v e r", "\ua731\u1d07\u0280\u1d20\u1d07\u0280",
            "Se\u0433ve\u0433", "Ser\u03bder", "s\u0435\u0433\u0475\u0435\u0433",
        ):  # fmt: skip
            self.assertIsNone(clean_name(name, 50), ascii(name))
        for name in (
            "Servera",
            "Sever",
            "Observer",
            "The waiter",
            "\u0421\u0435\u0440\u0433\u0435\u0439",
            "\u0421\u0435\u0440\u0432\u0435\u0440",
        ):
            self.assertEqual(clean_name(name, 50), name)
        self.world.join("a", username="Server")
        self.assertIsNone(self.world.member("a").username)
        self.world.join("b", username="Bob")
        self.assertEqual(self.world.refused("b", m.UpdateUsername(username="sERVER")), "bad_message")

    def test_names_are_no_reason_to_refuse(self) -> None:
        """B21, B33: a null name or a long name broke the JOIN and all later ones."""
        for given, kept in (
            (None, None),
            ("", None),
            (" \t\n", None),
            ("\x00", None),
            ("x" * 60_000, "x" * 50),
            (" a\x00b  c ", "a b c"),
            ("\u202eevil", "evil"),
            ("\u3164", None),
            ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
            ("x" * 49 + " y", "x" * 49),
        ):
            self.assertEqual(clean_name(given, 50), kept, ascii(given)[:50])
        self.world.join("a", username=None)
        self.assertIsNone(self.world.member("a").username)

    def test_a_room_has_a_limit_from_which_who_comes_back_is_exempt(self) -> None:
        world = World(make_rules(members_per_room=2))
        world.join_all("a", "b")
        self.assertEqual(world.refused("c", Enter("C", "1"), conn="n/boot/9"), "room_full")
        world.lose("b")
        self.assertEqual(world.refused("c", Enter("C", "1"), conn="n/boot/9"), "room_full")
        world.join("b")
        world.leave("b")
        world.join("c")
        self.assertEqual(set(world.room.members), {"a", "c"})

    def test_a_full_room_takes_its_host_back_under_another_id(self) -> None:
        world = World(make_rules(members_per_room=2))
        world.join("a", username="Ann", address="1")
        world.join("b")
        world.lose("a")
        self.assertEqual(world.refused("a2", Enter("Ann", "1"), conn="n/boot/9"), "room_full")
        world.advance(TAKEOVER_SECONDS)
        world.join("a2", username="Ann", address="1")
        self.assertEqual((world.host, set(world.room.members)), ("a2", {"a2", "b"}))


class PinTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("a", pin=PIN)

    def test_right_wrong_and_missing(self) -> None:
        self.world.join("b", pin=PIN)
        conn = "n/boot/9"
        self.assertEqual(self.world.refused("c", Enter("C", "1", Pin("salt", "wrong")), conn=conn), "bad_pin")
        self.assertEqual(self.world.refused("c", Enter("C", "1"), conn=conn), "bad_pin")
        self.assertEqual(self.world.refused("c", m.PlayPause(control="play"), conn=conn), "not_joined")

    def test_a_pin_hashed_for_another_room_has_to_be_hashed_again(self) -> None:
        """B36: of two first JOINs at the same time, the second set the PIN."""
        command = Command("c", "n/boot/9", Enter("C", "1", Pin("other", "right")))
        self.assertRaises(StalePinError, self.world.rules.decide, self.world.room, command, self.world.now)

    def test_a_member_needs_none(self) -> None:
        """X10, X11: an old client joins again without its PIN, or with another PIN."""
        for pin in (None, Pin("salt", "wrong"), Pin("other", "x")):
            self.world.join("a", again=True, pin=pin, username=None)
            self.assertEqual(self.world.member("a").username, "A")
            self.world.lose("a")
            self.world.join("a", pin=pin)

    def test_a_room_without_a_pin_asks_for_none(self) -> None:
        world = World()
        world.join("a")
        world.join("b", pin=PIN)
        self.assertIsNone(world.room.settings.pin)

    def test_it_dies_with_the_room(self) -> None:
        """B7: the PIN of an earlier party applied to a later one."""
        self.world.leave("a")
        self.assertTrue(self.world.room.closed)
        self.world.begin()
        self.world.join("b")
        self.world.join("c")

    def test_it_lives_as_long_as_the_empty_room(self) -> None:
        """B8: any client could create a lost room again, with another PIN."""
        self.world.lose("a")
        self.world.advance(60)
        self.assertEqual(self.world.refused("b", Enter("B", "1"), conn="n/boot/9"), "bad_pin")
        self.world.join("b", pin=PIN)
        self.assertEqual(self.world.host, "b")


class JoinAgainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("a", "b")

    def test_every_join_is_told_to_the_others(self) -> None:
        """X17: the video of others depends on it, and the host's tile needs its badge."""
        decision = self.world.join("b", again=True)
        self.assertEqual((told(decision), decision.skip), (["USER_JOINED"], "b"))
        decision = self.world.join("a", again=True)
        self.assertEqual((told(decision), decision.skip), (["USER_JOINED", "HOST_CHANGED"], "a"))
        self.assertEqual(decision.messages[1].host_user_id, "a")

    def test_the_newest_connection_speaks(self) -> None:
        """B11, B12: the close of the older connection removed a connected member."""
        old = self.world.conns["b"]
        self.world.join("b")
        self.assertEqual(self.world.refused("b", m.Chat(text="x"), conn=old), "detached")
        self.assertFalse(self.world.do("b", Lost(), conn=old).commits)
        self.assertEqual(self.world.refused("b", m.Leave(), conn=old), "detached")
        self.assertFalse(self.world.watch("b", conn=old).commits)
        self.assertEqual(self.world.member("b").conn, self.world.conns["b"])

    def test_a_join_that_waited_does_not_detach_a_later_one(self) -> None:
        """An old client sends JOIN once a connection, and would stay outside."""
        self.world.join("b", received_at=2.0)
        late = Enter("b", self.world.member("b").address, received_at=1.0)
        self.assertEqual(self.world.refused("b", late, conn="n/boot/99"), "detached")
        self.world.join("b", received_at=3.0)
        self.world.lose("b")
        self.world.join("b", received_at=2.5)
        self.assertEqual(self.world.member("b").conn, self.world.conns["b"])

    def test_order_and_host_stay(self) -> None:
        order = self.world.member("a").order
        self.world.lose("a")
        self.world.join("a")
        self.assertEqual((self.world.host, self.world.member("a").order), ("a", order))

    def test_a_reloaded_page_does_not_watch_yet(self) -> None:
        self.world.watch("b")
        self.world.join("b", again=True)
        self.assertFalse(self.world.member("b").watching)


class IdentityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("a", address="1", new_token="T1")

    def conflict(self, **enter: object) -> None:
        self.assertEqual(self.world.refused("a", Enter("X", **enter), conn="n/boot/99"), "identity_conflict")  # type: ignore[arg-type]

    def test_a_stranger_cannot_take_a_member_over(self) -> None:
        """B5: knowledge of a user id was enough."""
        self.conflict(address="2")
        self.conflict(address="2", token="wrong")
        self.conflict(address="")
        self.world.lose("a")
        self.conflict(address="2")

    def test_the_same_address_is_enough_for_an_old_client(self) -> None:
        self.world.join("b")
        self.world.join("b")

    def test_but_not_for_a_member_that_was_given_a_token(self) -> None:
        self.conflict(address="1")
        self.world.lose("a")
        self.conflict(address="1")

    def test_but_not_where_addresses_mean_nothing(self) -> None:
        self.world.join("b", address="")
        self.assertEqual(self.world.refused("b", Enter("X", ""), conn="n/boot/99"), "identity_conflict")

    def test_nor_for_a_member_that_has_used_a_token(self) -> None:
        self.world.join("a", address="1", token="T1")
        self.conflict(address="1")

    def test_nor_for_a_member_that_has_used_an_id(self) -> None:
        self.world.do("a", m.Chat(id=1, text="x"), nonce="n")
        self.conflict(address="1")

    def test_the_token_is_enough_from_anywhere(self) -> None:
        self.world.join("a", address="2", token="T1")
        self.assertEqual(self.world.member("a").address, "2")

    def test_a_refusal_says_when_to_try_again(self) -> None:
        with self.assertRaises(RequestError) as raised:
            self.world.decide("a", Enter("X", "2"), conn="n/boot/99")
        self.assertEqual(raised.exception.retry_after, 5000)

    def test_a_join_without_token_rotates_it_and_both_are_valid_until_the_new_one_is_used(self) -> None:
        self.world.join("a", again=True, new_token="T2")
        self.world.join("a", token="T1", address="2")
        self.world.join("a", token="T2", address="2")
        self.conflict(address="2", token="T1")
        self.world.join("a", token="T2", address="2")

    def test_a_join_with_token_does_not_rotate_it(self) -> None:
        self.world.join("a", token="T1", new_token="T2")
        self.conflict(address="2", token="T2")
        self.world.join("a", token="T1", address="2")

    def test_a_client_that_keeps_no_token_gets_none(self) -> None:
        self.world.join("b")
        self.world.join("b", again=True)
        self.assertEqual((self.world.member("b").token, self.world.member("b").next_token), ("", ""))

    def test_an_empty_token_proves_nothing(self) -> None:
        self.world.join("b", address="5")
        self.assertEqual(self.world.refused("b", Enter("X", "2", token=""), conn="n/boot/99"), "identity_conflict")

    def test_a_token_of_a_former_membership_is_worth_nothing(self) -> None:
        self.world.join("b")
        self.world.leave("a")
        self.world.join("c", address="7", token="T1", new_token="T3")
        self.assertEqual((self.world.member("c").token, self.world.member("c").identity_proven), ("T3", False))


KINDS: dict[str, tuple[dict[str, object], str]] = {
    "old client": ({}, ""),
    "ids": ({"id": 1}, ""),
    "short nonce": ({"modern": True}, "k9"),
    "long nonce": ({"modern": True}, "k" * 12),
    "token": ({"new_token": "T", "modern": True}, ""),
    "token, ids, short nonce": ({"new_token": "T", "modern": True, "id": 1}, "k9"),
    "token, ids, long nonce": ({"new_token": "T", "modern": True, "id": 1}, "k" * 12),
}
"""Clients by the proofs of identity that they have: fields and nonce of their JOINs."""

WAITS: dict[str, tuple[float | None, float | None, float | None, float | None]] = {
    # repeated from the address, from another address; another client of the same kind at the address, elsewhere
    "old client": (0.0, 5.0, 0.0, 5.0),
    "ids": (5.0, 5.0, 5.0, 5.0),
    "short nonce": (0.0, 5.0, 0.0, 5.0),
    "long nonce": (0.0, 5.0, 0.0, None),
    "token": (None, None, None, None),
    "token, ids, short nonce": (0.0, None, None, None),
    "token, ids, long nonce": (0.0, 5.0, None, None),
}
"""After how many seconds without connection a member accepts a JOIN without token: None for never."""


class LostAnswerTests(SynchronousTestCase):
    """A client repeats the JOIN whose answer it lost, on a new connection. It has no token: the token was in the answer."""

    def world_with(self, kind: str, *, command: bool) -> World:
        fields, nonce = KINDS[kind]
        world = World()
        world.join("host")
        conn = world.new_conn()
        world.do("a", self.enter("1", fields), conn=conn, nonce=nonce)
        world.conns["a"] = conn
        if command:
            world.do("a", m.Chat(text="x", id=2 if "id" in fields else None), nonce=nonce)
        return world

    def enter(self, address: str, fields: dict[str, object]) -> Enter:
        return Enter("A", address, **{"modern": "id" in fields, **fields})  # type: ignore[arg-type]

    def wait(self, world: World, body: Enter, nonce: str) -> float | None:
        """Return the seconds without connection after which the JOIN is accepted."""
        for seconds in (0.0, TAKEOVER_SECONDS):
            world.now = world.member("a").lost_at + seconds
            try:
                world.decide("a", body, conn="n/boot/99", nonce=nonce)
            except RequestError as error:
                self.assertEqual(error.code, "identity_conflict")
            else:
                return seconds
        return None

    def test_table(self) -> None:
        for kind, waits in WAITS.items():
            fields, nonce = KINDS[kind]
            other = "e" * len(nonce)
            for command in (False, True):
                world = self.world_with(kind, command=command)
                world.lose("a")
                joins = (("1", nonce), ("2", nonce), ("1", other), ("2", other))
                with self.subTest(kind, command=command):
                    self.assertEqual(tuple(self.wait(world, self.enter(at, fields), word) for at, word in joins), waits)

    def test_no_kind_is_taken_over_while_it_is_connected(self) -> None:
        """But for the same secret nonce at the same address, and among old clients."""
        for kind, (fields, nonce) in KINDS.items():
            world = self.world_with(kind, command=True)
            world.now += 100
            for at, word in (("1", nonce), ("2", nonce), ("1", "e" * len(nonce)), ("2", "e" * len(nonce))):
                expected = (at == "1" and word == nonce and len(word) >= 12) or (at == "1" and kind == "old client")
                body = self.enter(at, fields)
                with self.subTest(kind, at=at, word=word):
                    self.assertIs(proves_identity(world.member("a"), "n/boot/99", word, body), expected)
                    if not expected:
                        self.assertEqual(world.refused("a", body, conn="n/boot/99", nonce=word), "identity_conflict")

    def test_its_commands_are_recognised(self) -> None:
        """F11: JOIN and CHAT sent together, and both again."""
        world = self.world_with("token, ids, short nonce", command=True)
        seq = world.room.seq
        world.lose("a")
        fields, nonce = KINDS["token, ids, short nonce"]
        world.do("a", self.enter("1", {**fields, "new_token": "T2"}), conn="n/boot/99", nonce=nonce)
        self.assertEqual(world.member("a").next_token, "T2")
        self.assertEqual(world.do("a", m.Chat(text="x", id=2), conn="n/boot/99", nonce=nonce).seq, seq)

    def test_a_short_nonce_proves_nothing_once_the_token_was_used(self) -> None:
        world = self.world_with("token, ids, short nonce", command=True)
        world.do("a", Enter("A", "1", token="T"), conn="n/boot/98", nonce="k9")
        world.do("a", Lost(), conn="n/boot/98")
        world.advance(TAKEOVER_SECONDS)
        self.assertEqual(world.refused("a", Enter("A", "1"), conn="n/boot/99", nonce="k9"), "identity_conflict")


class OtherAddressTests(SynchronousTestCase):
    """F16: a lost member without proof is not kept outside until the end of its grace period when its address changes."""

    def setUp(self) -> None:
        self.world = World()
        self.world.join("a", address="1", username="Ann", pin=PIN)
        self.world.join("b", address="2", pin=PIN)

    def test_the_host_comes_back_as_host(self) -> None:
        self.world.lose("a")
        self.world.advance(TAKEOVER_SECONDS)
        decision = self.world.join("a", address="9", username="Ann", pin=PIN)
        self.assertEqual(told(decision), ["USER_JOINED", "HOST_CHANGED"])
        self.assertEqual((self.world.host, self.world.member("a").earlier), ("a", ("1",)))

    def test_its_own_address_comes_first(self) -> None:
        self.world.lose("a")
        self.world.join("a", address="1")
        self.world.advance(TAKEOVER_SECONDS)
        self.assertEqual(self.world.refused("a", Enter("X", "9", PIN), conn="n/boot/99"), "identity_conflict")

    def test_a_failed_probe_counts_from_its_beginning(self) -> None:
        since = self.world.now
        self.world.now += TAKEOVER_SECONDS
        self.world.do("a", Lost(since))
        self.world.join("a", address="9", pin=PIN)

    def test_it_needs_what_a_newcomer_needs(self) -> None:
        """A client that knows only the user id, which all members know, must not come in with it."""
        self.world.lose("b")
        self.world.advance(TAKEOVER_SECONDS)
        enter = Enter("B", "9")
        self.assertEqual(self.world.refused("b", enter, conn="n/boot/99"), "bad_pin")
        self.world.do("a", m.LockRoom(locked=True))
        self.assertEqual(self.world.refused("b", Enter("B", "9", PIN), conn="n/boot/99"), "locked")
        self.world.do("a", m.LockRoom(locked=False))
        self.world.do("a", m.Ban(target_user_id="b"))
        self.assertEqual(self.world.refused("b", Enter("B", "9", PIN), conn="n/boot/99"), "banned")


class ProbeTests(SynchronousTestCase):
    def test_at_most_one_a_second(self) -> None:
        world = World()
        world.join("a")
        self.assertTrue(world.do("a", Probe(), conn="").commits)
        self.assertFalse(world.do("a", Probe(), conn="").commits)
        world.now += PROBE_INTERVAL_SECONDS
        decision = world.do("a", Probe(), conn="")
        self.assertEqual((decision.event, decision.messages, world.member("a").probed_at), ("", (), world.now))

    def test_not_of_one_without_connection(self) -> None:
        world = World()
        world.join("a")
        world.lose("a")
        for user in ("a", "b"):
            self.assertFalse(world.do(user, Probe(), conn="").commits)


class ResumeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("a", new_token="T")
        self.world.join("b")

    def test_no_member_is_told(self) -> None:
        self.world.lose("a")
        decision = self.world.join("a", token="T", resume=True)
        self.assertEqual((decision.messages, decision.event), ((), "USER_RESUMED"))

    def test_it_goes_on_watching(self) -> None:
        self.world.watch("a")
        self.world.join("a", token="T", resume=True)
        self.assertTrue(self.world.member("a").watching)

    def test_without_the_token_it_is_a_join_like_any_other(self) -> None:
        decision = self.world.join("a", resume=True, again=True)
        self.assertEqual(told(decision), ["USER_JOINED", "HOST_CHANGED"])

    def test_a_room_without_host_gets_one_and_is_told(self) -> None:
        self.world.join("c", new_token="C")
        self.world.lose("c")
        self.world.lose("b")
        self.world.leave("a")
        self.assertEqual(self.world.host, "")
        decision = self.world.join("c", token="C", resume=True)
        self.assertEqual(told(decision), ["HOST_CHANGED"])
        self.assertEqual(self.world.host, "c")


class LostHostTests(SynchronousTestCase):
    """X12: an old client's user id changes with its service worker."""

    def setUp(self) -> None:
        self.world = World()
        self.world.join("a", username="Ann", address="1")
        self.world.join("b", username="Bob", address="2")

    def test_it_is_recognised_by_address_and_name_and_stays_host(self) -> None:
        self.world.lose("a")
        self.world.advance(TAKEOVER_SECONDS)
        decision = self.world.join("a2", username="Ann", address="1")
        self.assertEqual(told(decision), ["LEAVE", "USER_LEFT", "USER_JOINED", "HOST_CHANGED"])
        self.assertEqual([x.part for x in decision.messages], [(i, 4) for i in (1, 2, 3, 4)])
        self.assertEqual((self.world.host, set(self.world.room.members)), ("a2", {"a2", "b"}))
        self.assertEqual(decision.details, {"username": "Ann", "was": "a"})
        self.assertEqual([gone.user_id for gone in self.world.room.departed], ["a"])
        self.world.leave("a2")
        self.assertEqual(self.world.host, "b")

    def test_it_keeps_its_place_in_the_order(self) -> None:
        order = self.world.member("a").order
        for seconds in (0.0, TAKEOVER_SECONDS):
            self.world.lose(self.world.host)
            self.world.advance(seconds)
            self.world.join(f"a{seconds}", username="Ann", address="1")
            self.world.advance(TAKEOVER_SECONDS)
            self.assertEqual((self.world.host, self.world.member(f"a{seconds}").order), (f"a{seconds}", order))

    def test_it_may_come_back_before_another_takes_over(self) -> None:
        """F24: a newcomer with name and address of a host that reconnected was host at once."""
        self.world.lose("a")
        decision = self.world.join("a2", username="Ann", address="1")
        self.assertEqual(told(decision), ["USER_JOINED"])
        self.world.advance(TAKEOVER_SECONDS - 1)
        self.world.join("a", username="Ann", address="1")
        self.assertEqual(self.world.advance(100), [])
        self.assertEqual((self.world.host, set(self.world.room.members)), ("a", {"a", "a2", "b"}))
        self.world.lose("a")
        self.assertEqual(self.world.advance(44), [], "a2 has joined before this loss")

    def test_newcomer_takes_over_when_it_is_known_to_be_dead(self) -> None:
        self.world.do("b", m.Chat(text="x"))
        self.world.lose("a")
        self.world.join("a2", username="Ann", address="1")
        self.world.join("a3", username="Ann", address="1")
        self.assertEqual(types(self.world.advance(TAKEOVER_SECONDS - 0.1)), [])
        self.assertEqual(types(self.world.advance(0.1)), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertEqual((self.world.host, set(self.world.room.members)), ("a3", {"a2", "a3", "b"}))
        self.assertEqual([gone.user_id for gone in self.world.room.departed], ["a"])

    def test_a_heir_that_is_gone_or_lost_takes_nothing_over(self) -> None:
        for end in (self.world.leave, self.world.lose):
            self.world.lose("a")
            self.world.join("a2", username="Ann", address="1")
            end("a2")
            self.world.advance(TAKEOVER_SECONDS + 1)
            self.assertEqual(self.world.host, "a")
            self.world.join("a", username="Ann", address="1")

    def test_time_without_store_is_no_absence(self) -> None:
        self.world.lose("a")
        self.world.join("a2", username="Ann", address="1")
        self.world.now += TAKEOVER_SECONDS + 1
        self.assertFalse(self.world.do("", Due(floor=self.world.now - 1)).commits)
        self.world.now += TAKEOVER_SECONDS
        self.assertTrue(self.world.do("", Due(floor=self.world.now - TAKEOVER_SECONDS)).commits)

    def test_not_while_it_is_connected(self) -> None:
        self.world.join("a2", username="Ann", address="1")
        self.assertEqual(self.world.host, "a")
        self.world.advance(100)
        self.world.lose("a")
        self.world.advance(44)
        self.assertEqual(self.world.host, "a")

    def test_a_connection_that_was_dead_when_the_newcomer_came(self) -> None:
        self.world.join("a2", username="Ann", address="1")
        since = self.world.now + 0.1
        self.world.now += 0.1 + TAKEOVER_SECONDS
        self.world.do("a", Lost(since))
        self.world.advance(0)
        self.assertEqual(self.world.host, "a2")

    def test_not_by_half(self) -> None:
        self.world.lose("a")
        for wait in (0.0, TAKEOVER_SECONDS):
            self.world.advance(wait)
            for user, name, address in (("c", "Ann", "9"), ("d", "Cid", "1"), ("e", None, "1")):
                self.world.join(f"{user}{wait}", username=name, address=address)
                self.assertEqual(self.world.host, "a")

    def test_not_without_name_or_address(self) -> None:
        for name, address in ((None, "1"), ("Ann", "")):
            world = World()
            world.join("a", username=name, address=address)
            world.lose("a")
            world.advance(TAKEOVER_SECONDS)
            world.join("b", username=name, address=address)
            self.assertEqual(world.host, "a")

    def test_not_if_it_has_a_secret_to_show(self) -> None:
        self.world.join("a", again=True, new_token="T")
        self.world.join("a", token="T", username="Ann", address="1")
        self.world.lose("a")
        self.world.advance(TAKEOVER_SECONDS)
        self.world.join("a2", username="Ann", address="1")
        self.assertEqual(self.world.host, "a")

    def test_a_guest_is_not_recognised(self) -> None:
        self.world.lose("b")
        self.world.join("b2", username="Bob", address="2")
        self.assertEqual(set(self.world.room.members), {"a", "b", "b2"})


class GoingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("a", "b", "c")

    def test_leaving_is_told_at_once(self) -> None:
        """X13: USER_LEFT alone does not end the others' video connections to the member."""
        decision = self.world.leave("c")
        self.assertEqual((told(decision), decision.details), (["LEAVE", "USER_LEFT"], {"reason": "left", "user": "c"}))

    def test_the_longest_present_connected_member_becomes_host(self) -> None:
        """B10, B37: no election after a lost connection, and an arbitrary host after LEAVE."""
        self.world.lose("b")
        decision = self.world.leave("a")
        self.assertEqual(told(decision), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertEqual(self.world.host, "c")

    def test_a_lost_connection_is_told_after_the_grace_period(self) -> None:
        """B10: a member that reloaded the page had left for all others, and a host lost its role."""
        self.assertEqual(told(self.world.lose("a")), [])
        self.assertEqual(self.world.advance(44.9), [])
        self.assertEqual(self.world.host, "a")
        self.assertEqual(types(self.world.advance(0.2)), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])
        self.assertEqual(self.world.host, "b")
        self.assertEqual(self.world.log[-1].details, {"reason": "lost", "user": "a"})

    def test_who_is_back_in_time_stays(self) -> None:
        self.world.lose("a")
        self.world.advance(44)
        self.world.join("a")
        self.assertEqual(self.world.advance(100), [])
        self.assertEqual(self.world.host, "a")

    def test_several_graces_end_one_after_another(self) -> None:
        self.world.lose("b")
        self.world.advance(1)
        self.world.lose("c")
        self.world.advance(43.5)
        self.assertEqual(types(self.world.advance(1)), ["LEAVE", "USER_LEFT"])
        self.assertEqual(types(self.world.advance(1)), ["LEAVE", "USER_LEFT"])

    def test_a_lost_node_takes_only_its_own_along(self) -> None:
        self.world.join("d", node="m")
        decision = self.world.do("", NodeLost("n/boot/"))
        self.assertEqual((told(decision), decision.event), ([], "NODE_LOST"))
        self.assertEqual(decision.details, {"users": ["a", "b", "c"]})
        self.assertEqual([x.user_id for x in self.world.room.members.values() if x.conn], ["d"])
        self.assertFalse(self.world.do("", NodeLost("n/boot/")).commits)
        self.world.do("", NodeLost(""))
        self.assertEqual([x for x in self.world.room.members.values() if x.conn], [])

    def test_one_boot_of_a_node_is_not_another(self) -> None:
        """A prefix ends with a slash: boot 1 is not boot 10."""
        self.assertFalse(self.world.do("", NodeLost("n/boo/")).commits)

    def test_leaving_last_ends_the_room(self) -> None:
        for user in "abc":
            decision = self.world.leave(user)
        self.assertEqual((decision.closes, self.world.room.closed, self.world.room.due), (True, True, 0.0))

    def test_leaving_last_of_the_connected_waits_for_those_in_grace(self) -> None:
        self.world.lose("a")
        self.world.leave("b")
        self.world.leave("c")
        self.assertFalse(self.world.room.closed)
        self.world.join("a")
        self.assertEqual(self.world.host, "a")

    def test_losing_last_keeps_the_room_for_its_ttl(self) -> None:
        self.world.do("a", m.UrlChange(url=TITLE))
        self.world.play("a", 10.0)
        for user in "abc":
            self.world.lose(user)
        self.world.advance(60)
        self.assertEqual((self.world.room.members, self.world.host), ({}, ""))
        self.assertEqual(self.world.room.empty_since, START + 45)
        self.assertFalse(self.world.room.playback.playing)
        self.assertEqual(self.world.room.playback.position, 10.0)
        self.world.advance(4 * 3600 - 20)
        self.assertFalse(self.world.room.closed)
        self.world.advance(10)
        self.assertTrue(self.world.room.closed)
        self.assertEqual((self.world.log[-1].event, self.world.room.due), ("ROOM_EXPIRED", 0.0))

    def test_the_next_to_join_an_empty_room_becomes_host(self) -> None:
        for user in "abc":
            self.world.lose(user)
        self.world.advance(60)
        decision = self.world.join("z")
        self.assertEqual(told(decision), ["USER_JOINED", "HOST_CHANGED"])
        self.assertEqual((self.world.host, self.world.room.empty_since, self.world.room.due), ("z", 0.0, 0.0))

    def test_a_newcomer_does_not_become_host_while_the_host_may_come_back(self) -> None:
        for user in "abc":
            self.world.lose(user)
        self.world.join("z")
        self.assertEqual(self.world.host, "a")
        self.world.advance(46)
        self.assertEqual(self.world.host, "z")

    def test_the_remembered_leavers_are_few(self) -> None:
        for number in range(MAX_DEPARTED_MEMBERS + 10):
            self.world.join(f"x{number}")
            self.world.leave(f"x{number}")
        self.assertEqual(len(self.world.room.departed), MAX_DEPARTED_MEMBERS)
        self.assertEqual(self.world.room.departed[-1].user_id, f"x{MAX_DEPARTED_MEMBERS + 9}")
        self.world.advance(601)
        self.world.leave("c")
        self.assertEqual([gone.user_id for gone in self.world.room.departed], ["c"])


class NodeTests(SynchronousTestCase):
    """Cases with several nodes."""

    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("a", "b")

    def test_a_living_connection_of_a_node_taken_for_dead_gets_its_member_back(self) -> None:
        self.world.do("", NodeLost("n/boot/"))
        decision = self.world.do("a", Reattach())
        self.assertEqual((told(decision), self.world.member("a").conn), ([], self.world.conns["a"]))
        self.assertEqual(types(self.world.advance(46)), ["LEAVE", "USER_LEFT"])
        self.assertEqual(self.world.host, "a")

    def test_but_not_from_a_newer_connection(self) -> None:
        old = self.world.conns["a"]
        self.world.join("a")
        self.assertFalse(self.world.do("a", Reattach(), conn=old).commits)

    def test_nor_after_the_grace_period(self) -> None:
        self.world.lose("a")
        self.world.advance(46)
        self.assertFalse(self.world.do("a", Reattach()).commits)

    def test_a_room_without_host_gets_one_with_it(self) -> None:
        self.world.lose("b")
        self.world.leave("a")
        self.assertEqual(told(self.world.do("b", Reattach())), ["HOST_CHANGED"])
        self.assertEqual(self.world.host, "b")

    def test_time_in_which_the_store_was_away_does_not_count(self) -> None:
        self.world.lose("a")
        self.world.now += 50
        floor = self.world.now - 5
        self.assertFalse(self.world.do("", Due(floor=floor)).commits)
        self.world.now += 40
        self.assertEqual(told(self.world.do("", Due(floor=floor))), ["LEAVE", "USER_LEFT", "HOST_CHANGED"])


class GreetingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("a")

    def greet(self, user: str, *, first: bool = True, resumed: bool | None = None) -> list[m.ServerMessage]:
        world = self.world
        controls = may_control(world.room, user, world.now, world.rules.settings.host_gone)
        return greeting(
            world.room, user, world.now, ("gate",), first=first, controls=controls, resumed=resumed, token="t"
        )

    def test_the_state_comes_first(self) -> None:
        """B14: messages of the room came before ROOM_STATE."""
        self.world.do("a", m.UrlChange(url=TITLE))
        self.world.play("a", 100.0)
        self.world.join("b")
        self.world.advance(5)
        state = self.greet("b")[0]
        self.assertEqual(
            state,
            m.RoomState(
                room_id="r",
                url=TITLE,
                current_time=105.0,
                is_playing=True,
                host_user_id="a",
                guest_control_enabled=False,
                users=[m.User("a", "A"), m.User("b", "B")],
                epoch=self.world.room.epoch,
                seq=4,
                prev=4,
                server_time=int(self.world.now * 1000),
                protocol=1,
                features=("gate",),
                token="t",
            ),
        )

    def test_a_guest_is_taken_to_the_title_at_its_first_admission(self) -> None:
        """§0.6: the server never sent a newcomer to the title. §0.5: a controller must never be sent there."""
        self.world.do("a", m.UrlChange(url=TITLE))
        self.world.play("a", 100.0)
        self.world.join("b")
        self.assertEqual(types(self.greet("b")), ["ROOM_STATE", "URL_CHANGE", "PLAY_PAUSE"])
        url = self.greet("b")[1]
        assert isinstance(url, m.UrlChanged)
        self.assertEqual((url.user_id, url.url, url.seq), ("server", TITLE, None))
        self.assertEqual(types(self.greet("b", first=False)), ["ROOM_STATE", "PLAY_PAUSE"])
        self.assertEqual(types(self.greet("a", first=False)), ["ROOM_STATE"])
        self.world.do("a", m.ToggleGuestControl(enabled=True))
        self.assertEqual(types(self.greet("b")), ["ROOM_STATE", "PLAY_PAUSE"])

    def test_nothing_is_said_of_an_unknown_film(self) -> None:
        """B23: a new room moved the newcomer to 0."""
        self.world.join("b")
        self.assertEqual(types(self.greet("b")), ["ROOM_STATE"])

    def test_who_left_meanwhile_is_told_to_old_clients(self) -> None:
        """X20: ROOM_STATE removes no member from the screen."""
        self.world.join_all("b", "c", "d")
        self.world.lose("b")
        self.world.leave("c")
        self.world.leave("d")
        self.world.join("d")
        self.world.join("b")
        said = self.greet("b", first=False)
        self.assertEqual(types(said), ["ROOM_STATE", "LEAVE", "USER_LEFT"])
        self.assertEqual(said[1], m.LegacyLeave(user_id="c"))

    def test_also_to_a_member_that_was_away_too_long_and_joins_again(self) -> None:
        self.world.join_all("b", "c")
        self.world.lose("b")
        self.world.advance(50)
        self.world.leave("c")
        self.world.join("b")
        self.assertEqual(types(self.greet("b")), ["ROOM_STATE", "LEAVE", "USER_LEFT"])

    def test_also_if_that_greeting_was_lost(self) -> None:
        """Its connection was dead already, and it comes once more. (Party 387 of tests/integration/test_legacy_client.)"""
        self.world.join_all("b", "c")
        self.world.lose("b")
        self.world.advance(50)
        self.world.leave("c")
        self.world.join("b")
        self.world.lose("b")
        self.world.join("b")
        self.assertEqual(types(self.greet("b", first=False)), ["ROOM_STATE", "LEAVE", "USER_LEFT"])

    def test_a_newcomer_is_not_told_of_people_it_never_saw(self) -> None:
        self.world.join("c")
        self.world.leave("c")
        self.world.join("b")
        self.assertEqual(types(self.greet("b")), ["ROOM_STATE"])

    def test_while_a_seek_waits_the_joiner_waits_as_well(self) -> None:
        self.world.watch("a")
        self.world.seek("a", 50.0)
        self.world.join("b")
        state, pause = self.greet("b")
        assert isinstance(state, m.RoomState) and isinstance(pause, m.SeekPause)
        self.assertEqual((pause.user_id, pause.current_time, pause.seq), ("server", 50.0, None))
        self.assertEqual(state.gate, m.GateState(50.0, ["a"]))

    def test_who_has_been_told_everything_is_told_the_state_alone(self) -> None:
        self.world.do("a", m.UrlChange(url=TITLE))
        self.world.play("a", 100.0)
        self.world.join("b")
        (state,) = self.greet("b", first=False, resumed=True)
        assert isinstance(state, m.RoomState)
        self.assertIs(state.resumed, True)

    def test_secrets_reach_their_owner_only(self) -> None:
        """B29: others must not see ids, addresses, tokens and PINs."""
        self.world = World()
        self.world.join("a", pin=PIN, new_token="T-SECRET", address="9.9.9.9", invite="inv")
        shown = m.encode(state_of(self.world.room, self.world.now, ()))
        for secret in (b"T-SECRET", b"right", b"salt", b"9.9.9.9", b"inv", b"boot", b"token"):
            self.assertNotIn(secret, shown)
