"""JOINs that wait for a limit, and the answers that a stranger receives."""

from __future__ import annotations

import functools
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred

from tandemd.config.schema import Limits
from tandemd.rules.snapshot import dump
from tandemd.util.secrets import new_invite, new_token

from ...support.fake_node import Client, HeldStore, ServiceTestCase, World

RIGHT = "654321"


RANDOM = SystemRandom()


class JoinsTest(ServiceTestCase):
    options = {"limits": Limits(joins=3)}

    def test_delayed_and_told_once(self) -> None:
        """An old client sends JOIN once per connection, so a rejected one would stay outside for ever."""
        clients = [self.world.join(f"user{number}", peer="9.9.9.9") for number in range(5)]
        self.assertEqual([client.types()[0] for client in clients[:3]], ["ROOM_STATE"] * 3)
        self.assertHas(self.refused(clients[4].told(), "rate_limited"), retryAfterMs=20000)
        self.refused(clients[3].told(), "rate_limited")
        self.assertEqual([message["type"] for message in clients[4].send("PING")], ["PONG"])
        self.world.advance(21)
        self.assertEqual((clients[3].types(), clients[4].types()[0]), ([], "ROOM_STATE"))
        self.world.advance(21)
        self.assertEqual(clients[3].types()[0], "ROOM_STATE")
        self.assertEqual(self.world.server.metrics.rooms.joins_deferred["joins"], 2)

    def test_other_addresses_are_not_concerned(self) -> None:
        for number in range(5):
            self.world.join(f"user{number}", peer="9.9.9.9")
        self.assertEqual(self.world.join("ann", peer="9.9.9.8").types()[0], "ROOM_STATE")

    def test_only_the_newest_of_a_connection(self) -> None:
        for number in range(3):
            self.world.join(f"user{number}", peer="9.9.9.9")
        late = self.world.join("ann", room="one", peer="9.9.9.9")
        late.say("JOIN", userId="ann", roomId="two")
        self.world.advance(100)
        self.assertEqual([m["roomId"] for m in late.told("ROOM_STATE")], ["two"])
        self.assertIsNone(self.world.room("one"))

    def test_a_client_that_leaves_is_forgotten(self) -> None:
        for number in range(3):
            self.world.join(f"user{number}", peer="9.9.9.9")
        self.world.join("ann", room="one", peer="9.9.9.9").cut()
        self.world.advance(100)
        self.assertIsNone(self.world.room("one"))


class SiteTest(ServiceTestCase):
    """M6: a customer has a whole /48 of IPv6, and a thousand /64s of it made a thousand rooms in 7 s."""

    options = {"limits": Limits(joins=3, room_creations=2, rooms_per_address=2)}

    def network(self, number: int, site: int = 1) -> str:
        return f"2001:db8:{site:x}:{number:x}::/64"

    def test_rooms(self) -> None:
        clients = [self.world.join(f"user{i}", room=f"r{i}", peer=self.network(i)) for i in range(17)]
        self.assertEqual([client.types() for client in clients[:16]], [["ROOM_STATE"]] * 16)
        self.refused(clients[16].told(), "rate_limited")
        self.assertEqual(self.world.server.metrics.rooms.joins_deferred["rooms_per_address"], 1)
        self.assertEqual(self.world.join("ann", room="other", peer=self.network(0, 2)).types(), ["ROOM_STATE"])
        self.world.advance(61)
        self.assertEqual(clients[16].told(), [])
        clients[0].send("LEAVE")
        self.world.advance(6)
        self.assertEqual(clients[16].types(), ["ROOM_STATE"])

    def test_creations(self) -> None:
        self.world.close()
        self.world = World(self.reactor, limits=Limits(room_creations=2))
        self.addCleanup(self.world.close)
        clients = [self.world.join(f"user{i}", room=f"r{i}", peer=self.network(i)) for i in range(17)]
        self.refused(clients[16].told(), "rate_limited")
        self.assertEqual(self.world.server.metrics.rooms.joins_deferred["creations"], 1)
        self.world.advance(5)
        self.assertEqual(clients[16].types(), ["ROOM_STATE"])

    def test_joins(self) -> None:
        self.world.join("ann", peer="9.9.9.9")
        clients = [self.world.join(f"user{i}", peer=self.network(i)) for i in range(25)]
        self.assertEqual([client.types()[0] for client in clients], ["ROOM_STATE"] * 24 + ["ERROR"])
        self.assertEqual(self.world.server.metrics.rooms.joins_deferred["joins"], 1)
        self.assertEqual(self.world.join("bob", peer=self.network(0, 2)).types()[0], "ROOM_STATE")
        self.world.advance(10)
        self.assertEqual(clients[24].types()[0], "ROOM_STATE")


class FoundingTest(ServiceTestCase):
    options = {"limits": Limits(room_creations=2, rooms_per_address=3, rooms_per_node=6)}

    def test_rate(self) -> None:
        clients = [self.world.join(f"user{number}", room=f"r{number}", peer="9.9.9.9") for number in range(3)]
        self.refused(clients[2].told(), "rate_limited")
        self.assertEqual(self.world.join("ann", room="r0", peer="9.9.9.9").types()[0], "ROOM_STATE")
        self.world.advance(31)
        self.assertEqual(clients[2].types(), ["ROOM_STATE"])

    def test_no_join_waits_behind_one_that_may_not_create(self) -> None:
        for number in range(2):
            self.world.join(f"user{number}", room=f"r{number}", peer="9.9.9.9")
        first = self.world.join("ann", room="new", peer="9.9.9.9")
        self.refused(first.told(), "rate_limited")
        self.assertEqual(self.world.join("bob", room="new", peer="9.9.9.8").types(), ["ROOM_STATE"])
        self.world.advance(10)
        self.assertEqual(first.types(), ["ROOM_STATE"], "it is looked again now and then; the room is there now")

    def test_rooms_of_an_address(self) -> None:
        clients = []
        for number in range(4):
            clients.append(self.world.join(f"user{number}", room=f"r{number}", peer="9.9.9.9"))
            self.world.advance(31)
        self.refused(clients[3].told(), "rate_limited")
        self.assertEqual(self.world.server.metrics.rooms.joins_deferred["rooms_per_address"], 1)
        clients[1].send("LEAVE")
        self.world.advance(6)
        self.assertEqual(clients[3].types(), ["ROOM_STATE"])

    def test_rooms_of_the_node(self) -> None:
        clients = [self.world.join(f"user{number}", room=f"r{number}", peer=f"9.9.9.{number}") for number in range(7)]
        self.refused(clients[6].told(), "rate_limited")
        clients[1].send("LEAVE")
        self.world.advance(6)
        self.assertEqual(clients[6].types(), ["ROOM_STATE"])

    def test_what_was_not_created_is_not_counted(self) -> None:
        for _ in range(10):
            self.refused(self.world.join("server", room="r", peer="9.9.9.9").told(), "bad_user")
        self.assertEqual(self.world.join("ann", room="r", peer="9.9.9.9").types(), ["ROOM_STATE"])

    def test_many_at_once_into_a_new_room_create_one(self) -> None:
        clients = [self.world.connect("9.9.9.9") for _ in range(20)]
        for number, client in enumerate(clients):
            client.say("JOIN", userId=f"user{number}", roomId="room", pin=RIGHT)
        self.world.settle()
        self.assertEqual([client.types()[0] for client in clients], ["ROOM_STATE"] * 20)


class EndedMeanwhileTest(ServiceTestCase):
    options: dict[str, Any] = {"make_store": HeldStore}

    def test_a_room_that_ends_during_a_join(self) -> None:
        """The newcomer's room had neither its PIN nor an invite code: they were worked out for a room that was there."""
        ann = self.world.join("ann")
        self.world.store.holding = True
        ann.send("LEAVE")
        bob = self.world.join("bob", pin=RIGHT)
        self.world.store.release()
        self.world.settle()
        self.assertEqual(bob.types(), ["ROOM_STATE"])
        room = self.world.room()
        assert room is not None
        self.assertTrue(room.settings.invite)
        self.assertIsNotNone(room.settings.pin)


class PinTest(ServiceTestCase):
    options = {"limits": Limits(pin_tries_per_room=4, pin_tries_per_address=3)}

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", peer="1.1.1.1", pin=RIGHT)
        self.ann.told()

    def guess(self, number: int, peer: str) -> Client:
        return self.world.join(f"eve{number}", peer=peer, pin=f"{number:06}")

    def test_tries_of_one_address(self) -> None:
        """Its attempts use at most half of the room's budget, and the others wait."""
        codes = [self.guess(number, "6.6.6.6").told("ERROR")[0]["code"] for number in range(6)]
        self.assertEqual(codes, ["bad_pin", "bad_pin", *["rate_limited"] * 4])
        self.assertEqual(self.world.join("bob", peer="2.2.2.2", pin=RIGHT).types(), ["ROOM_STATE"])

    def test_an_address_has_no_more_in_other_rooms(self) -> None:
        for room in "bcd":
            self.world.join("host", room=room, peer="1.1.1.1", pin=RIGHT)
        told = [self.world.join("eve", room=r, peer="6.6.6.6", pin="000000").told("ERROR") for r in ("room", *"bcd")]
        self.assertEqual([error["code"] for [error] in told], ["bad_pin"] * 3 + ["rate_limited"])

    def test_right_ones_cost_nothing(self) -> None:
        for number in range(20):
            self.assertEqual(self.world.join(f"bob{number}", peer="2.2.2.2", pin=RIGHT).types()[0], "ROOM_STATE")

    def test_the_same_wrong_one_costs_nothing_again(self) -> None:
        """A link with a wrong PIN that was sent to many, or an extension that repeats itself."""
        for number in range(20):
            self.refused(self.world.join(f"bob{number}", peer=f"2.2.2.{number}", pin="000000").told(), "bad_pin")
        self.assertEqual(self.world.server.metrics.rooms.pin_attempts, {"accepted": 0, "rejected": 1, "repeated": 19})
        self.assertEqual(self.world.server.pins.count, 2, "the room's own, and the first of these")

    def test_whose_address_is_known(self) -> None:
        """Attempts from other addresses do not delay an address with a member, or a former member, in the room."""
        bob = self.world.join("bob", peer="2.2.2.2", pin=RIGHT)
        bob.told()
        bob.send("LEAVE")
        for number in range(8):
            self.guess(number, f"6.6.6.{number}")
        self.refused(self.world.join("cid", peer="3.3.3.3", pin=RIGHT).told(), "rate_limited")
        self.assertEqual(self.world.join("bob", peer="2.2.2.2", pin=RIGHT).types(), ["ROOM_STATE"])
        self.assertEqual(self.world.join("dan", peer="1.1.1.1", pin=RIGHT).types(), ["ROOM_STATE"])

    def test_a_device_that_was_in_the_room(self) -> None:
        """Its address has changed, it was away for too long, and others have used all attempts of the room."""
        cut = {}
        for user in ("bob", "cid"):
            client = self.world.join(user, peer="2.2.2.2", pin=RIGHT, keepsToken=True)
            cut[user] = self.the(client.told(), "ROOM_STATE")["token"]
            client.cut()
        self.world.advance(60)
        for number in range(8):
            self.guess(number, f"6.6.6.{number}")
        again = self.world.join("bob", peer="3.3.3.3", pin=RIGHT, keepsToken=True, token=cut["bob"])
        self.assertEqual(again.types()[0], "ROOM_STATE")
        self.refused(self.world.join("dan", peer="4.4.4.4", pin=RIGHT, token="x" * 40).told(), "rate_limited")
        self.refused(self.world.join("cid", peer="5.5.5.5", pin="000099", token=cut["cid"]).told(), "bad_pin")
        self.assertEqual(self.world.join("cid", peer="5.5.5.5", pin=RIGHT, token=cut["cid"]).types()[0], "ROOM_STATE")

    def test_the_host_too(self) -> None:
        ann = self.world.join("ann", room="b", peer="1.1.1.1", pin=RIGHT, keepsToken=True)
        token = self.the(ann.told(), "ROOM_STATE")["token"]
        self.world.join("zoe", room="b", peer="1.1.1.2", pin=RIGHT)
        ann.send("LEAVE")
        for number in range(8):
            self.world.join(f"eve{number}", room="b", peer=f"6.6.6.{number}", pin=f"{number:06}")
        self.assertEqual(
            self.world.join("ann", room="b", peer="3.3.3.3", pin=RIGHT, token=token).types(), ["ROOM_STATE"]
        )

    def test_who_knows_the_invite_code(self) -> None:
        for number in range(8):
            self.guess(number, f"6.6.6.{number}")
        room = self.world.room()
        assert room is not None
        self.successResultOf(self.world.server.rooms.directory.find_invite(room.settings.invite, "3.3.3.3"))
        self.assertEqual(self.world.join("cid", peer="3.3.3.3", pin=RIGHT).types(), ["ROOM_STATE"])

    def test_done_as_soon_as_there_are_tries_again(self) -> None:
        for number in range(4):
            self.guess(number, f"6.6.6.{number}")
        bob = self.world.join("bob", peer="2.2.2.2", pin=RIGHT)
        self.refused(bob.told(), "rate_limited")
        self.world.advance(1805)
        self.assertEqual(bob.types(), ["ROOM_STATE"])

    def test_a_refusal_before_the_pin_check_makes_no_address_known(self) -> None:
        self.refused(self.world.join("server", peer="6.6.6.6", pin="000000").told(), "bad_user")
        for number in range(8):
            self.guess(number, f"7.7.7.{number}")
        self.refused(self.guess(9, "6.6.6.6").told(), "rate_limited")

    def test_another_room_of_the_same_name(self) -> None:
        """PIN and tries die with the room."""
        for number in range(8):
            self.guess(number, f"6.6.6.{number}")
        self.ann.send("LEAVE")
        self.world.advance(1)
        self.world.join("host", peer="5.5.5.5", pin="111111", room="room")
        self.assertEqual(self.world.join("bob", peer="2.2.2.2", pin="111111").types()[0], "ROOM_STATE")

    def test_where_addresses_mean_nothing(self) -> None:
        """Without addresses the room's limit applies, and its reserved half stays for clients that have one."""
        codes = []
        for number in range(6):
            client = self.world.connect("")
            client.say("JOIN", userId=f"eve{number}", roomId="room", pin=f"{number:06}")
            codes.append(client.told("ERROR")[0]["code"])
        self.assertEqual(codes, ["bad_pin"] * 2 + ["rate_limited"] * 4)
        self.assertEqual(self.world.join("bob", peer="2.2.2.2", pin=RIGHT).types()[0], "ROOM_STATE")


class HouseholdTest(ServiceTestCase):
    """Several people share an address, and one of them mistypes the PIN again and again."""

    options = {"limits": Limits(pin_tries_per_room=40, pin_tries_per_address=10)}

    def setUp(self) -> None:
        super().setUp()
        self.world.join("ann", peer="1.1.1.1", pin=RIGHT).told()

    def mistype(self, typist: Client, times: int, first: int = 0) -> list[dict[str, Any]]:
        """Send JOINs with wrong PINs on one connection, and return the ERRORs."""
        for number in range(first, first + times):
            typist.say("JOIN", userId=f"typist{first}", roomId="room", pin=f"{number:06}", id=number)
        return typist.told("ERROR")

    def test_typos_leave_attempts_to_the_others(self) -> None:
        """At the host's address, at that of a former member, and at an unknown one."""
        former = self.world.join("fay", peer="2.2.2.2", pin=RIGHT)
        former.send("LEAVE")
        for first, peer in enumerate(("1.1.1.1", "2.2.2.2", "3.3.3.3")):
            errors = self.mistype(self.world.connect(peer), 12, 100 * first)
            self.assertEqual([error["code"] for error in errors].count("bad_pin"), 7, peer)
            self.assertEqual(errors[-1]["limit"], "pin_tries_per_address")
            self.assertEqual(self.world.join(f"bob{peer}", peer=peer, pin=RIGHT).types()[0], "ROOM_STATE", peer)

    def test_an_address_has_no_more_attempts_than_before(self) -> None:
        rejected = 0
        for typist in range(5):
            errors = self.mistype(self.world.connect("1.1.1.1"), 12, first=100 * typist)
            rejected += [error["code"] for error in errors].count("bad_pin")
        self.assertEqual(rejected, 10)


class StrangerTest(ServiceTestCase):
    """A stranger that knows the ids of a room and of its host, but not the PIN."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", peer="1.1.1.1", pin=RIGHT, keepsToken=True)
        self.ann.told()

    def ask(self, user: str, **fields: Any) -> list[dict[str, Any]]:
        return self.world.join(user, peer="6.6.6.6", **fields).told()

    def test_who_is_in_the_room_cannot_be_found_out(self) -> None:
        for fields in (
            {},
            {"pin": "000000"},
            {"token": "x"},
            {"token": new_token("room", "ann", RANDOM), "pin": "000000"},
        ):
            self.assertEqual(self.ask("ann", **fields), self.ask("nobody", **fields))
        self.assertEqual(self.ann.told(), [])

    def test_who_is_in_a_locked_room_cannot_be_found_out(self) -> None:
        bob = self.world.join("bob", peer="2.2.2.2", pin=RIGHT)
        self.ann.send("LOCK_ROOM", locked=True)
        for fields in ({}, {"pin": "000000"}, {"pin": RIGHT}):
            told = self.ask("ann", **fields)
            self.refused(told, "locked")
            self.assertEqual(told, self.ask("nobody", **fields))
        self.ann.send("BAN", targetUserId="bob")
        for user in ("ann", "nobody"):
            self.refused(self.world.join(user, peer="2.2.2.2", pin=RIGHT).told(), "banned")
        self.assertIn("ROOM_LOCKED", bob.types())

    def test_the_hosts_id_with_the_pin(self) -> None:
        """A client with the PIN may join, but not as the host while the host is connected. It learns nothing else."""
        told = self.ask("ann", pin=RIGHT)
        self.refused(told, "identity_conflict")
        self.world.advance(60)
        self.assertEqual(self.ann.told(), [])
        self.ann.cut()
        self.world.advance(44)
        room = self.world.room()
        assert room is not None
        self.assertEqual((room.host, room.members["ann"].conn), ("ann", ""))

    def test_a_member_that_is_known_needs_no_pin(self) -> None:
        bob = self.world.join("bob", peer="1.1.1.1", pin=RIGHT)
        bob.cut()
        self.assertEqual(self.world.join("bob", peer="1.1.1.1", pin="000000").types(), ["ROOM_STATE"])

    def test_invite_code_is_told_to_members_only(self) -> None:
        room = self.world.room()
        assert room is not None
        directory = self.world.server.rooms.directory
        self.assertEqual(self.successResultOf(directory.invite("room", "1.1.1.1", 2.0)), room.settings.invite)
        answers: list[tuple[str, float, object]] = []
        for code in ("room", "there is none"):
            asked: Deferred[str | None] = directory.invite(code, "6.6.6.6", 2.0)
            asked.addCallback(
                functools.partial(lambda code, found: answers.append((code, self.world.now, found)), code)
            )
        began = self.world.now
        self.world.advance(3)
        self.assertEqual(answers, [("room", began + 2.0, None), ("there is none", began + 2.0, None)])

    def test_no_room_is_read_for_a_token_that_proves_nothing(self) -> None:
        """A stranger can write a token that names any room. To read it would cost a room of 250, or a query of the archive."""
        loads: list[str] = []
        store, load = self.world.store, self.world.store.load
        self.patch(store, "load", lambda code, **options: (loads.append(code), load(code, **options))[1])
        directory = self.world.server.rooms.directory
        owners = ("room", "ann"), ("room", "eve"), ("nowhere", "ann")
        for token in (*(new_token(*owner, RANDOM) for owner in owners), "x", ""):
            self.assertIsNone(self.successResultOf(directory.room_for_token(token)))
        self.assertEqual(loads, [])
        cid = self.world.join("cid", peer="2.2.2.2", pin=RIGHT, keepsToken=True)
        loads.clear()
        shown = self.successResultOf(directory.room_for_token(self.the(cid.told(), "ROOM_STATE")["token"]))
        assert shown is not None
        self.assertEqual((shown["roomId"], loads), ("room", []), "the node has the room")

    def test_invite_code_is_waited_for(self) -> None:
        asked = self.world.server.rooms.directory.invite("room", "7.7.7.7", 2.0)
        self.world.join("bob", peer="8.8.8.8", pin=RIGHT)
        self.assertNoResult(asked)
        self.world.join("cid", peer="7.7.7.7", pin=RIGHT)
        self.assertTrue(self.successResultOf(asked))

    def test_no_address_no_invite_code(self) -> None:
        directory = self.world.server.rooms.directory
        self.assertIsNone(self.successResultOf(directory.invite("room", "", 2.0)))

    def test_a_joining_member_wakes_its_own_address_only(self) -> None:
        """Each look at the room costs as much as the room is large: 100 wait, 20 join, 101 + 1 looks."""
        loads: list[str] = []
        store, load = self.world.store, self.world.store.load
        self.patch(store, "load", lambda code, **options: (loads.append(code), load(code, **options))[1])
        directory = self.world.server.rooms.directory
        asked = [directory.invite("room", f"7.7.{number}.7", 60.0) for number in range(100)]
        mine = directory.invite("room", "2.2.2.2", 60.0)
        before = len(loads)
        self.assertEqual(before, 101)
        self.world.join("bob", peer="2.2.2.2", pin=RIGHT)
        self.assertTrue(self.successResultOf(mine))
        looks = len(loads) - before
        for number in range(20):
            self.world.join(f"cid{number}", peer=f"3.3.3.{number}", pin=RIGHT)
        # The same for each member: its own JOIN reads as much.
        self.assertLessEqual(len(loads) - before, looks * 21)
        self.assertLess(looks, 10)
        for waiting in asked:
            self.assertNoResult(waiting)
        self.world.advance(61)
        self.assertEqual([self.successResultOf(waiting) for waiting in asked], [None] * 100)
        self.assertEqual(directory._waiters, {})


class SecretsTest(ServiceTestCase):
    def test_neither_pin_nor_token_is_kept(self) -> None:
        told = self.world.join("ann", pin=RIGHT, keepsToken=True).told()
        token = self.the(told, "ROOM_STATE")["token"]
        room = self.world.room()
        assert room is not None
        kept = dump(room).decode() + repr(self.world.server.journal)
        self.assertNotIn(token, kept)
        self.assertNotIn(token.partition(".")[0], kept)
        self.assertNotIn(RIGHT, kept)

    def test_tokens_and_codes_are_long_and_never_the_same(self) -> None:
        tokens = {new_token("room", "ann", RANDOM).partition(".")[0] for _ in range(1000)}
        codes = {new_invite(RANDOM) for _ in range(1000)}
        self.assertEqual((len(tokens), len(codes)), (1000, 1000))
        self.assertEqual({len(token) for token in tokens}, {32})
        self.assertTrue(all(len(code) == 10 and code.isalnum() and code == code.lower() for code in codes))


class AcceptedBeforeTests(ServiceTestCase):
    """The store accepts a JOIN whose connection has sent a second one, which waits for a limit."""

    options = {"make_store": HeldStore, "limits": Limits(joins=2)}

    def setUp(self) -> None:
        super().setUp()
        self.host = self.world.join("hal", peer="10.9.9.9")
        for user in ("eve", "bob"):
            self.world.join(user, peer="9.9.9.9")
        self.ann = self.world.join("ann", peer="9.9.9.9")
        self.refused(self.ann.told(), "rate_limited")
        self.world.store.holding = True
        self.world.advance(31)
        self.ann.say("JOIN", userId="ann", roomId="room", username="Ann")
        self.world.settle()
        self.refused(self.ann.told(), "rate_limited")

    def members(self) -> dict[str, bool]:
        """Return for each member of the room whether it has a connection."""
        room = self.world.room()
        assert room is not None
        return {user: bool(member.conn) for user, member in room.members.items()}

    def test_the_first_is_answered_and_then_the_second(self) -> None:
        self.world.store.release()
        self.world.settle()
        self.assertEqual(self.ann.types()[0], "ROOM_STATE")
        self.host.told()
        self.host.send("CHAT", text="x")
        self.assertEqual(self.ann.types(), ["CHAT"])
        self.world.advance(61)
        self.assertEqual(self.ann.types()[0], "ROOM_STATE")
        self.assertEqual(self.the(self.host.told(), "USER_JOINED")["username"], "Ann")

    def test_the_connection_closes_before_the_store_answers(self) -> None:
        self.ann.cut()
        self.world.store.release()
        self.world.settle()
        self.assertEqual(self.members(), {"hal": True, "eve": True, "bob": True, "ann": False})

    def test_the_connection_closes_afterwards(self) -> None:
        self.world.store.release()
        self.world.settle()
        self.ann.cut()
        self.world.settle()
        self.assertEqual(self.members(), {"hal": True, "eve": True, "bob": True, "ann": False})

    def test_the_member_leaves_before_the_store_answers(self) -> None:
        self.ann.send("LEAVE", id=1)
        self.world.store.release()
        self.world.settle()
        self.assertEqual(self.members(), {"hal": True, "eve": True, "bob": True})

    def test_the_member_leaves_afterwards(self) -> None:
        self.world.store.release()
        self.world.settle()
        self.ann.told()
        self.the(self.ann.send("LEAVE", id=1), "ACK")
        self.assertEqual(self.members(), {"hal": True, "eve": True, "bob": True})
        self.world.advance(61)
        self.assertEqual(self.members(), {"hal": True, "eve": True, "bob": True})
