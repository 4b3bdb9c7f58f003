"""A day in which a thousand addresses guess the PIN of one room, and its effect on guests that know the PIN."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd import messages as m
from tandemd.app.metrics import NodeMetrics
from tandemd.rooms.factory import make_room_service
from tandemd.rooms.outbox import Outbox
from tandemd.rooms.session import Session
from tandemd.rules.state import Pin
from tandemd.store.memory import MemoryStore
from tests.support.settings import bounds, join_limits, playback_sync_settings

from ...support.rules_fixture import make_rules
from ...support.socketless_transport import SocketlessTransport

BOTS = 1000
RIGHT = "654321"
HASHING = 0.05
LIMITS = join_limits()


def promised(hours: float) -> float:
    """Return how many attempts the limits allow to clients without the invite code. Clients with the code have as many again."""
    return LIMITS.pin_tries_per_room * (hours + 1)


class Wire(SocketlessTransport):
    """Reports some answers to a client: wrong PIN, deferred, accepted."""

    def __init__(self, told: Callable[[str], None]):
        self._told = told

    def write(self, data: bytes) -> None:
        for word in ("bad_pin", "rate_limited", "ROOM_STATE"):
            if word.encode() in data:
                self._told(word)


class PinAttackTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.began = self.clock.seconds()
        self.metrics = NodeMetrics("test", "node").rooms
        self.outbox = Outbox(self.clock, self.metrics.deliveries)
        store = MemoryStore(self.clock, 100, lambda room, commit: None, bounds())
        self.rooms = make_room_service(
            store,
            "node/boot/",
            make_rules(),
            self.clock,
            self.outbox,
            self.metrics,
            self.hash_pin,
            playback_sync_settings(),
            lambda join: None,
            LIMITS,
        )
        self.numbers = 0
        self.next_pin = 100_000
        self.tries: list[float] = []
        self.waited: list[float] = []
        self.guessing: list[Callable[[], None]] = []
        host = self.connect("10.0.0.1", lambda word: None)
        self.rooms.join(host, m.Join(room_id="room", user_id="host", username="Host", pin=RIGHT))
        self.clock.advance(1)
        self.invite = self.rooms.open.get("room").room.settings.invite

    def hash_pin(self, pin: str, salt: str) -> Deferred[Pin]:
        hashed: Deferred[Pin] = Deferred()
        self.clock.callLater(HASHING, hashed.callback, Pin(salt, pin))
        return hashed

    def connect(self, address: str, told: Callable[[str], None]) -> Session:
        self.numbers += 1
        return Session(f"node/boot/{self.numbers}", address, Wire(told), self.outbox)

    def bot(self, number: int, *, knows_code: bool = False) -> None:
        """Begin to guess, as fast as the server lets it. In `day`, it sometimes replaces its pending JOIN, too."""
        address = f"66.{number // 250}.{number % 250}.1"
        if knows_code:
            self.rooms.directory.find_invite(self.invite, address)

        def told(word: str) -> None:
            if word == "bad_pin":
                self.tries.append(self.clock.seconds())
                self.clock.callLater(1.0, guess)

        def guess() -> None:
            self.next_pin += 1
            self.rooms.join(session, m.Join(room_id="room", user_id=f"bot{number}", pin=str(self.next_pin)))

        session = self.connect(address, told)
        guess()
        self.guessing.append(guess)

    def guest(self, number: int, *, knows_code: bool) -> None:
        """Come from an address that was never seen, with the right PIN, and stay for a minute."""
        came = self.clock.seconds()
        address = f"77.1.{number}.1"
        if knows_code:
            self.rooms.directory.find_invite(self.invite, address)

        def told(word: str) -> None:
            if word == "ROOM_STATE":
                self.waited[place] = self.clock.seconds() - came
                self.clock.callLater(60.0, lambda: self.rooms.receive(session, m.Leave()))

        place = len(self.waited)
        self.waited.append(86400)
        session = self.connect(address, told)
        self.rooms.join(session, m.Join(room_id="room", user_id=f"guest{number}", pin=RIGHT))

    def day(self, hours: float, *, knows_code: bool, first: float = 1200.0) -> None:
        """Let guests arrive at random times, and time pass.

        first: the earliest arrival. A guest that arrives when all attempts are used waits for the next one.
        """
        seed = random.randrange(2**32)
        print(f"seed {seed} ", end="")
        chance = random.Random(seed)
        for number in range(40):
            at = chance.uniform(first, hours * 3600 - 600)
            self.clock.callLater(at, lambda number=number: self.guest(number, knows_code=knows_code))
        turn = 0
        while self.clock.seconds() < self.began + hours * 3600:
            due = self.clock.getDelayedCalls()[0].getTime()
            self.clock.advance(min(7.2, max(0.0, due - self.clock.seconds())))
            if self.guessing and self.clock.seconds() > self.began + turn * 7.2:
                turn += 1
                self.guessing[turn % len(self.guessing)]()

    def test_all_at_once_and_all_day(self) -> None:
        """Guests that know nothing but room and PIN get in at once."""
        for number in range(BOTS):
            self.clock.callLater(0, self.bot, number)
        self.day(24, knows_code=False)
        self.assertTrue(100 < len(self.tries) <= promised(24) == 300, len(self.tries))
        self.assertTrue(max(self.waited) < 10, sorted(self.waited))

    def test_the_first_minutes(self) -> None:
        """Hundreds of addresses, all of them new, in the seconds before a guest comes."""
        for number in range(400):
            self.clock.callLater(number / 80, self.bot, number)
        for number, at in enumerate((6, 60, 120)):
            self.clock.callLater(at, lambda number=number: self.guest(number, knows_code=False))
        while self.clock.seconds() < self.began + 180:
            self.clock.advance(0.1)
        self.assertTrue(max(self.waited) < 8, self.waited)
        self.assertTrue(len(self.tries) <= LIMITS.pin_tries_per_room, len(self.tries))

    def test_bots_that_know_the_invite_code(self) -> None:
        for number in range(BOTS):
            self.clock.callLater(0, lambda number=number: self.bot(number, knows_code=True))
        self.day(8, knows_code=True)
        self.assertTrue(len(self.tries) <= 2 * promised(8), len(self.tries))
        self.assertTrue(max(self.waited) < 10, sorted(self.waited))

    def test_fresh_addresses_all_day(self) -> None:
        """The worst: each comes as a guest would, so that nothing tells them from guests but the invite code."""
        for number in range(BOTS):
            self.clock.callLater(number * 8 * 3600 / BOTS, self.bot, number)
        self.day(8, knows_code=True, first=0.0)
        self.assertTrue(len(self.tries) <= promised(8), len(self.tries))
        self.assertTrue(max(self.waited) < 10, sorted(self.waited))

    def test_no_attack(self) -> None:
        """Three hundred guests at once, from one address and from many: no JOIN is deferred."""
        put_off: list[str] = []

        def told(word: str) -> None:
            (put_off if word == "rate_limited" else self.waited).append(word)  # type: ignore[arg-type]

        for number in range(240):
            session = self.connect("77.0.0.1" if number < 30 else f"77.0.1.{number}", told)
            self.rooms.join(session, m.Join(room_id="room", user_id=f"guest{number}", pin=RIGHT))
        self.clock.pump([HASHING] * 200)
        self.assertEqual((put_off, len(self.waited)), ([], 240))
