"""Honest people, for as long as a day has evening: no limit may ever be noticed by them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from tandemd.config.schema import Limits
from tandemd.ratelimit import Rate
from tandemd.rooms.session import Session
from tandemd.websocket.client import Connection

from ..support.fake_node import EPOCH, NETFLIX, Server

HOME = "203.0.113.7"
"""Where all of them are, behind one address."""
ICE = 20
"""Candidates that one peer sends to another for one call."""
SDP = "v=0\r\n" + "a=candidate and codec lines of a browser\r\n" * 100
HOURS = 8
STEP = 0.5


def encoded(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


class Person:
    """The extension of one person. tabs: with the title open. errors: what it was refused."""

    def __init__(self, evening: Evening, number: int):
        self._evening = evening
        self.user = f"user_{number}"
        self.home = HOME
        self.tabs = 2 if number % 10 == 3 else 1
        self.errors: list[bytes] = []
        self.connection: Connection | None = None
        self.conns = 0

    # -- sessions.Wire

    def write(self, data: bytes) -> None:
        for part in data.split(b'{"type":"ERROR"')[1:]:
            self.errors.append(part[:120])

    def stream(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def close(self, code: int, reason: str) -> None:
        self.errors.append(f"closed: {code} {reason}".encode())

    def expel(self, reason: str) -> None:
        self.errors.append(f"thrown out: {reason}".encode())

    def probe(self, answered: Callable[[bool], None]) -> None:
        answered(False)

    def settled(self) -> None:
        if self.connection is not None:
            self.connection.settled()

    # -- what it does

    def connect(self) -> None:
        server = self._evening.server
        refusal = server.door.refusal(self.home)
        if refusal is not None:
            self.errors.append(str(refusal).encode())
        server.door.entered(self.home)
        self.conns += 1
        session = Session(f"node/boot/{self.user}-{self.conns}", self.home, self, server.outbox)
        session.meter = server.spending.address(self.home) if server.spending is not None else None
        self.connection = Connection(session, server.rooms, server.store, server.metrics, server.limits)
        self.join()

    def drop(self) -> None:
        """Lose the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.closed()
            self._evening.server.door.left(self.home)

    def say(self, payload: bytes) -> None:
        if self.connection is not None:
            self.connection.received(payload)

    def join(self) -> None:
        self.say(encoded("JOIN", roomId="default_room_1", userId=self.user, username=self.user, pin=None, timestamp=0))
        self.say(encoded("REQUEST_SYNC", respectAutoPlay=False))

    def reload(self) -> None:
        """The page joins again on the same connection, asks three times, and tells where it is; all call it again."""
        if self.connection is None:
            return
        self.join()
        for _ in range(2):
            self.say(encoded("REQUEST_SYNC", respectAutoPlay=False))
        self.say(encoded("URL_CHANGE", url=self._evening.title, currentTime=0))
        self._evening.called(self)

    def talk_to(self, other: Person, kind: str) -> None:
        """Send one half of what sets up a call."""
        self.say(encoded(kind, to=other.user, **{kind.lower(): {"type": kind.lower(), "sdp": SDP}}))
        candidate = {"candidate": "candidate:1 1 udp 2 192.0.2.1 5 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        payload = encoded("ICE_CANDIDATE", to=other.user, candidate=candidate)
        for _ in range(ICE):
            self.say(payload)


class Evening:
    """One room, and the people in it."""

    def __init__(self, people: int, seed: int, limits: Limits):
        self.clock: Any = MemoryReactorClock()
        self.clock.advance(EPOCH)
        self.server = Server(self.clock, limits=limits)
        self.server.start()
        self.random = random.Random(seed)
        self.title = f"{NETFLIX}/watch/1"
        self.people = [Person(self, number) for number in range(people)]
        self.position = 1.0
        self.later: list[tuple[float, Callable[[], None]]] = []

    @property
    def now(self) -> float:
        return float(self.clock.seconds()) - EPOCH

    def stop(self) -> None:
        for person in self.people:
            person.drop()
        self.server.stop()

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        self.later.append((self.now + seconds, action))

    def called(self, person: Person) -> None:
        """Everybody offers a call to somebody who has joined, who answers all of them."""
        for other in self.people:
            if other is not person and other.connection is not None:
                other.talk_to(person, "OFFER")
                person.talk_to(other, "ANSWER")

    def arrive(self, person: Person) -> None:
        if person.connection is None:
            person.connect()
            self.called(person)

    def come_back(self, person: Person) -> None:
        person.drop()
        self.at(1.0, lambda: self.arrive(person))

    def run(self, seconds: float) -> None:
        """Let people watch: positions twice a second from every tab, a PING every 15 s, and what people do."""
        end = self.now + seconds
        steps = 0
        while self.now < end:
            self.clock.advance(STEP)
            self.position += STEP
            steps += 1
            now = self.now
            due = [entry for entry in self.later if entry[0] <= now]
            if due:
                self.later = [entry for entry in self.later if entry[0] > now]
                for _, action in due:
                    action()
            payload = encoded("POSITION_UPDATE", userId="x", currentTime=self.position, isPlaying=True)
            for person in self.people:
                for _ in range(person.tabs):
                    person.say(payload)
            if steps % 30 == 0:
                for person in self.people:
                    person.say(encoded("PING", timestamp=0))
            self._act()

    def _act(self) -> None:
        """What people do: every one of these on average every few minutes."""
        rng = self.random
        present = [person for person in self.people if person.connection is not None]
        if not present:
            return
        person = rng.choice(present)
        chance = rng.random() / STEP
        if chance < 1 / 60:
            control = encoded("PLAY_PAUSE", control=rng.choice(("play", "pause")), currentTime=self.position)
            for after in (0.0, 3.0):
                self.at(after, lambda: person.say(control))
        elif chance < 2 / 60:
            # Dragging the bar to and fro.
            for i in range(rng.randint(1, 15)):
                self.position = rng.uniform(1, 5000)
                self.at(i * 0.2, lambda at=self.position: self._seek(person, at))  # type: ignore[misc]
        elif chance < 3 / 60:
            for i in range(rng.randint(1, 8)):
                self.at(i * 0.7, lambda: person.say(encoded("CHAT", text="so funny! " * rng.randint(1, 20))))
        elif chance < 4 / 60:
            self.at(0.0, person.reload)
        elif chance < 5 / 60:
            self.come_back(person)
        elif chance < 5.2 / 60:
            for i in range(12):
                self.at(i * 0.6, lambda i=i: person.say(encoded("UPDATE_USERNAME", username="Annabelle"[: i + 1])))  # type: ignore[misc]

    def _seek(self, person: Person, position: float) -> None:
        person.say(encoded("SEEK", currentTime=position, isPlaying=True))
        for other in self.people:
            for _ in range(other.tabs):
                other.say(encoded("READY", targetTime=position))


class HonestTest(TestCase):
    seed = 5

    def evening(self, people: int, limits: Limits | None = None) -> Evening:
        evening = Evening(people, self.seed, limits or Limits())
        self.addCleanup(evening.stop)
        return evening

    def assertNobodyNoticed(self, evening: Evening) -> None:
        metrics = evening.server.metrics
        self.assertEqual({person.user: set(person.errors) for person in evening.people if person.errors}, {})
        self.assertEqual({reason: count for reason, count in metrics.limited.items() if count}, {})
        self.assertEqual({code: count for code, count in metrics.refused.items() if count}, {})
        self.assertEqual(evening.server.given_up, [])
        room = evening.server.rooms.open.get("default_room_1")
        assert room is not None
        self.assertEqual(set(room.room.members), {person.user for person in evening.people})

    def begin(self, evening: Evening, seconds: float) -> None:
        """Have everybody come within some seconds; the first lets all of them control the film."""
        for number, person in enumerate(evening.people):
            evening.at(seconds * number / len(evening.people), lambda person=person: evening.arrive(person))  # type: ignore[misc]
        evening.at(0.0, lambda: evening.people[0].say(encoded("TOGGLE_GUEST_CONTROL", enabled=True)))
        evening.run(seconds + 1)

    def test_eight_hours(self) -> None:
        """Twenty peers, all in calls with each other, who reload, reconnect, seek and chat."""
        evening = self.evening(20)
        self.begin(evening, 10)
        evening.run(HOURS * 3600)
        self.assertNobodyNoticed(evening)
        received = evening.server.metrics.received
        self.assertGreater(received["POSITION_UPDATE"], 1_000_000)
        self.assertGreater(received["ICE_CANDIDATE"], 100_000)

    def test_thirty_at_one_address_within_seconds(self) -> None:
        """They come, all reload twice, the router restarts twice, and the server once."""
        evening = self.evening(30)
        self.begin(evening, 5)
        for _ in range(2):
            for person in evening.people:
                evening.at(evening.random.uniform(0, 5), person.reload)
            evening.run(10)
        for _ in range(3):
            for person in evening.people:
                evening.come_back(person)
            evening.run(30)
        self.assertNobodyNoticed(evening)

    def test_the_last_of_a_full_room(self) -> None:
        """A joiner answers as many offers as there are members."""
        evening = self.evening(250)
        for number, person in enumerate(evening.people):
            # A room of 250 is no household: one address may have 100 of them.
            person.home = f"203.0.113.{number % 3}"
        for person in evening.people[:-1]:
            person.connect()
            evening.clock.advance(STEP)
        evening.arrive(evening.people[-1])
        self.assertGreater(evening.server.metrics.received["ANSWER"], 248)
        self.assertNobodyNoticed(evening)

    def test_a_full_room(self) -> None:
        """250 behind three addresses: they come, all reconnect twice at once, then talk for three minutes and seek."""
        evening = self.evening(250)
        for number, person in enumerate(evening.people):
            person.home = f"203.0.113.{number % 3}"
            person.connect()
            evening.clock.advance(0.02)
        evening.people[0].say(encoded("TOGGLE_GUEST_CONTROL", enabled=True))
        for _ in range(2):
            evening.clock.advance(60)
            for person in evening.people:
                person.drop()
                person.connect()
            evening.run(1)
        for minute in range(3):
            evening.people[minute].say(encoded("SEEK", currentTime=100.0 + minute, isPlaying=True))
            for number in range(120):
                evening.people[(minute * 120 + number) % 250].say(encoded("CHAT", text="Did you see that? " * 5))
                evening.clock.advance(0.5)
        self.assertNobodyNoticed(evening)

    def test_it_would_be_noticed(self) -> None:
        """The test can fail."""
        evening = self.evening(3, Limits(connections_per_minute=2, candidate_rate=Rate(1, 15)))
        self.begin(evening, 5)
        self.assertTrue(all(person.errors for person in evening.people))
        self.assertEqual(evening.server.metrics.limited["connecting"], 1)
