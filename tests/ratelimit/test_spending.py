"""The budgets of rooms and addresses: stored bytes, and deliveries."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.config.schema import Limits
from tandemd.ratelimit import Meter, Rate, Spending, SpendingRates
from tandemd.ratelimit.scopes import WIDE
from tandemd.ratelimit.spending import RESERVED, STEP

from ..support.fake_node import TITLE, ServiceTestCase

RATES = SpendingRates(
    room_bytes_rate=Rate(100, 1000),
    room_deliveries_rate=Rate(10, 100),
    address_bytes_rate=Rate(100, 1000),
    address_deliveries_rate=Rate(10, 100),
    room_events_rate=Rate(2, 20),
)


class MeterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.spending = Spending(self.clock, RATES, kept=10)

    def address(self, address: str) -> Meter:
        found = self.spending.address(address)
        assert found is not None
        return found

    def test_bytes(self) -> None:
        meter = self.spending.room()
        meter.charge(1000, 0)
        self.assertEqual(meter.wait(), 0.0)
        meter.charge(500, 0)
        self.assertAlmostEqual(meter.wait(), 5.0, places=3)
        self.clock.advance(5.01)
        self.assertEqual(meter.wait(), 0.0)

    def test_deliveries(self) -> None:
        meter = self.spending.room()
        meter.charge(0, 110)
        self.assertAlmostEqual(meter.wait(), 1.0, places=3)

    def test_a_part_is_kept(self) -> None:
        meter = self.spending.room()
        meter.charge(600, 0)
        self.assertAlmostEqual(meter.wait(0.5), 1.0, places=3)
        self.assertEqual(meter.wait(), 0.0)

    def test_charges_are_never_counted_too_low_nor_more_than_a_step_too_high(self) -> None:
        meter, exact = self.spending.room(), 0.0
        for number in range(2000):
            self.clock.advance(number % 7 * 0.03)
            size = 1 + number % 17
            meter.charge(size, 0)
            now = self.clock.seconds()
            exact = max(exact, now) + size / 100
            # Asked for now and then only, because the answer reads the clock.
            if number % 50 == 0:
                wait, over = meter.wait(0.0), exact - now
                self.assertGreaterEqual(wait, over - 1e-6)
                self.assertLessEqual(wait, over + 10 * STEP + 1e-6)

    def test_a_frequent_charge_reads_the_clock_once_in_a_step(self) -> None:
        readings: list[float] = []
        seconds = self.clock.seconds
        self.clock.seconds = lambda: readings.append(0.0) or seconds()
        meter = self.spending.room()
        for _ in range(400):
            meter.charge(1, 0)
        self.assertLess(len(readings), 40)
        self.assertFalse(meter.near_limit)
        meter.charge(101, 0)
        self.assertTrue(meter.near_limit)

    def test_near_limit_is_false_only_while_there_is_nothing_to_wait_for(self) -> None:
        for meter in (self.spending.room(), self.address("192.0.2.1"), self.address("2001:db8:7:1::/64")):
            for size, deliveries in ((300, 0), (100, 20), (200, 0), (0, 40), (800, 100)):
                meter.charge(size, deliveries)
                self.assertTrue(meter.near_limit or not (meter.wait(RESERVED) or meter.wait()))
            self.assertTrue(meter.near_limit and meter.wait(RESERVED))

    def test_a_wider_meter_is_checked_though_others_use_it_up(self) -> None:
        quiet = self.address("2001:db8:7:ffff::/64")
        for number in range(WIDE + 1):
            self.address(f"2001:db8:7:{number:x}::/64").charge(1000, 0)
        self.assertTrue(quiet.near_limit and quiet.wait())

    def test_debt_has_an_end(self) -> None:
        meter = self.spending.room()
        for _ in range(1000):
            meter.charge(1000, 0)
        meter.wait()
        self.assertLessEqual(meter.wait(), 71.0)

    def test_an_address_keeps_its_meter(self) -> None:
        self.address("192.0.2.1").charge(2000, 0)
        self.assertGreater(self.address("192.0.2.1").wait(), 9)
        self.assertEqual(self.address("192.0.2.2").wait(), 0.0)
        self.assertIsNone(self.spending.address(""))

    def test_not_more_than_so_many(self) -> None:
        for number in range(100):
            self.address(f"192.0.2.{number}")
        self.assertEqual(len(self.spending), 10)

    def test_a_48_spends_eight_times_as_much(self) -> None:
        networks = [f"2001:db8:7:{number:x}::/64" for number in range(WIDE + 1)]
        for network in networks[:WIDE]:
            self.assertEqual(self.address(network).wait(), 0.0)
            self.address(network).charge(1000, 0)
        self.assertEqual(self.address(networks[-1]).wait(), 0.0)
        self.address(networks[-1]).charge(1000, 0)
        self.assertAlmostEqual(self.address("2001:db8:7:ffff::/64").wait(), 1000 / 100 / WIDE, places=3)
        self.assertEqual(self.address("2001:db8:8:1::/64").wait(), 0.0)


class RoomSpendingTest(ServiceTestCase):
    """Twelve members in a room, each of whom may say something every second as far as its connection goes."""

    SECONDS = 60
    options: dict[str, Any] = {
        "limits": Limits(
            address_deliveries_rate=Rate(20, 400),
            room_deliveries_rate=Rate(40, 1200),
            address_bytes_rate=Rate(1000, 100_000),
            room_bytes_rate=Rate(10_000, 100_000),
        )
    }

    def crowd(self, peer: str = "") -> list[Any]:
        self.host = self.world.join("host", peer="10.9.9.9")
        clients = [self.world.join(f"u{number}", peer=peer or f"10.1.0.{number}") for number in range(11)]
        for client in (self.host, *clients):
            client.told()
        return clients

    def talk(self, clients: list[Any], text: str = "x") -> int:
        """Have each say something every second, and the host steer; return the number of deliveries of their messages."""
        delivered = 0
        for second in range(self.SECONDS):
            for number, client in enumerate(clients):
                client.say("CHAT", text=text, id=100 * second + number)
            self.host.say("PLAY_PAUSE", control="play", currentTime=float(second), id=second)
            self.world.advance(1)
            told = self.host.told()
            self.assertEqual([it["id"] for it in told if it["type"] == "ACK"], [second])
            for client in clients:
                messages = client.told()
                delivered += sum(message["type"] == "CHAT" for message in messages)
                self.errors += [message for message in messages if message["type"] == "ERROR"]
            delivered += sum(message["type"] == "CHAT" for message in told)
        return delivered

    def setUp(self) -> None:
        super().setUp()
        self.errors: list[dict[str, Any]] = []

    def test_deliveries_of_an_address(self) -> None:
        """A host elsewhere notices nothing; members that go on are told the rule, and when to try again."""
        delivered = self.talk(self.crowd("10.1.0.1"))
        self.assertLess(delivered, 400 + 20 * self.SECONDS + 200)
        self.assertGreater(delivered, 20 * self.SECONDS - 200)
        self.assertEqual({error["code"] for error in self.errors}, {"rate_limited"})
        self.assertIn("limits.address_", self.errors[0]["message"])
        self.assertGreater(self.errors[0]["retryAfterMs"], 0)
        self.assertGreater(self.world.server.metrics.limits.rate_limited["address"], 0)

    def test_deliveries_of_a_room(self) -> None:
        """Talk uses half of it: the host's controls go on."""
        delivered = self.talk(self.crowd())
        self.assertLess(delivered, 1200 + 40 * self.SECONDS)
        self.assertGreater(self.world.server.metrics.limits.rate_limited["room"], 0)
        self.assertIn("limits.room_", self.errors[0]["message"])

    def test_bytes_of_an_address(self) -> None:
        self.SECONDS = 30
        self.talk(self.crowd("10.1.0.1"), "x" * 2000)
        stored = sum(len(str(commit.messages)) for code, commit in self.world.server.journal)
        self.assertLess(stored, 100_000 + 1000 * self.SECONDS + 60_000)
        self.assertGreater(len(self.errors), 100)

    def test_leaving_is_always_allowed(self) -> None:
        clients = self.crowd("10.1.0.1")
        self.talk(clients)
        clients[0].say("LEAVE")
        self.world.settle()
        room = self.world.room()
        assert room is not None
        self.assertNotIn("u0", room.members)

    def test_relays_are_deliveries(self) -> None:
        clients = self.crowd("10.1.0.1")
        for _ in range(60):
            for client in clients:
                client.say("ICE_CANDIDATE", to="host", candidate=None)
        self.world.settle()
        got = len(self.host.told("ICE_CANDIDATE"))
        self.assertTrue(200 < got < 450, got)

    def offer(self, client: Any, to: str, count: int) -> int:
        """Have a client offer so many calls of 2 kB to another; return how many were not refused."""
        for number in range(count):
            client.say("OFFER", to=to, id=number, offer={"type": "offer", "sdp": "x" * 2000})
        self.world.settle()
        return sum(message["type"] == "ACK" for message in client.told())

    def test_relays_that_wait_for_a_lost_member_are_bytes(self) -> None:
        """They may use half of the room's burst, 50 kB."""
        clients = self.crowd("10.1.0.1")
        clients[1].cut()
        clients[2].cut()
        self.world.settle()
        kept = self.offer(clients[0], "u1", 20) + self.offer(clients[0], "u2", 20)
        self.assertIn(kept, range(20, 27))
        self.assertGreater(self.world.server.metrics.limits.rate_limited["room"], 0)

    def test_relays_that_reached_a_member_are_bytes_when_it_is_lost_before_it_shows_life(self) -> None:
        clients = self.crowd("10.1.0.1")
        self.assertEqual(self.offer(clients[0], "u1", 20), 20)
        clients[1].cut()
        self.world.settle()
        self.assertIn(self.offer(clients[0], "u1", 20), range(1, 7))


class RelaySpendingTest(ServiceTestCase):
    """Relays to a member are kept for it, by its node or its mailbox, until it has shown life."""

    FRAME = 10_000
    LOST = 8
    options: dict[str, Any] = {
        "limits": Limits(
            address_deliveries_rate=Rate(20, 2000),
            address_bytes_rate=Rate(1000, 100_000),
            description_rate=Rate(100, 1000),
            byte_rate=Rate(10_000_000, 10_000_000),
        )
    }

    def setUp(self) -> None:
        super().setUp()
        self.ann, *self.others = [
            self.world.join(user, peer="10.1.0.1") for user in ("ann", *(f"u{number}" for number in range(self.LOST)))
        ]
        # Coming in was charged, too.
        self.world.advance(60)

    def send(self, count: int = 200) -> dict[str, int]:
        """Have ann send long descriptions to all others in turn; return how she was answered."""
        for number in range(count):
            offer = {"type": "offer", "sdp": "x" * self.FRAME}
            self.ann.say("OFFER", to=f"u{number % self.LOST}", offer=offer, id=number)
            self.world.settle()
        answers: dict[str, int] = {}
        for message in self.ann.told("ACK", "ERROR"):
            name = message.get("code", "ACK")
            answers[name] = answers.get(name, 0) + 1
        return answers

    def kept(self) -> int:
        """Return how many bytes all mailboxes have."""
        return sum(box.size for kept in self.world.store._rooms.values() for box in kept.mail.values())

    def test_what_is_kept_for_lost_members_is_charged_to_the_address(self) -> None:
        for other in self.others:
            other.cut()
        answers = self.send()
        self.assertGreater(answers["rate_limited"], 100)
        self.assertLessEqual(self.kept(), 100_000 + 2 * self.FRAME)
        self.assertGreater(self.kept(), 50_000)

    def test_a_long_relay_costs_more_than_a_short_one(self) -> None:
        answers = self.send()
        # 40 deliveries each; bytes only where they are kept.
        self.assertTrue(40 < answers["ACK"] < 60, answers)

    def test_what_may_not_have_arrived_is_kept_within_the_receivers_credit(self) -> None:
        for other in self.others:
            other.link.frozen = True
        self.send(48)
        self.assertEqual(self.kept(), 0)
        for other in self.others:
            other.link.reset()
        self.world.settle()
        self.assertLessEqual(self.kept(), 100_000 + 2 * self.FRAME)
        self.assertGreater(self.kept(), 50_000)
        self.assertGreater(self.world.server.metrics.limits.rate_limited["address"], 0)


class RowsTest(ServiceTestCase):
    """The events that a room writes to the archive."""

    options: dict[str, Any] = {"limits": Limits(room_events_rate=Rate(1, 20), control_rate=Rate(100, 1000))}

    def rows(self) -> list[Any]:
        return [commit for _, commit in self.world.server.journal if commit.has_row]

    def test_events_of_a_room_in_a_time(self) -> None:
        """All members receive everything; joins, departures and moderation are always recorded."""
        ann, bob = self.world.party("ann", "bob")
        before = len(self.rows())
        for second in range(10):
            for number in range(20):
                ann.say("PLAY_PAUSE", control="play", currentTime=float(second), id=100 * second + number)
            self.world.advance(1)
        self.assertLess(len(self.rows()) - before, 20 + 10 + 2)
        self.assertEqual(len(bob.told("PLAY_PAUSE")), 200)
        self.assertGreater(self.world.server.metrics.limits.rate_limited["events"], 150)
        ann.say("KICK", targetUserId="bob")
        self.world.settle()
        self.assertEqual(self.rows()[-1].event, "USER_KICKED")

    def test_a_url_is_recorded_once(self) -> None:
        ann, bob = self.world.party("ann", "bob")
        for _ in range(3):
            ann.say("URL_CHANGE", url=TITLE)
        self.world.settle()
        details = [commit.details for commit in self.rows() if commit.event == "URL_CHANGE"]
        self.assertEqual(details, [{"url": TITLE}, None, None])
        self.assertEqual(len(bob.told("URL_CHANGE")), 3)
