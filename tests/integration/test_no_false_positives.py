"""Honest people, for as long as a day has evening: no limit may ever be noticed by them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from tandemd.config.schema import Limits
from tandemd.ratelimit import Rate
from tandemd.rooms.session import Session
from tandemd.store.redis.codec import encode_commit
from tandemd.websocket.client import ClientConnection

from ..support.fake_node import EPOCH, NETFLIX, Server
from ..support.socketless_transport import SocketlessTransport

HOME = "203.0.113.7"
"""Where all of them are, behind one address."""
ICE = 20
"""Candidates that one peer sends to another for one call."""
SDP = "v=0\r\n" + "a=candidate and codec lines of a browser\r\n" * 100
HOURS = 8
STEP = 0.5


def encoded(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


class Person(SocketlessTransport):
    """The extension of one person. tabs: with the title open. errors: its rejected messages."""

    def __init__(self, evening: Evening, number: int):
        self._evening = evening
        self.user = f"user_{number}"
        self.home = HOME
        self.tabs = 2 if number % 10 == 3 else 1
        self.errors: list[bytes] = []
        self.connection: ClientConnection | None = None
        self.conns = 0

    # -- sessions.Wire

    def write(self, data: bytes) -> None:
        for part in data.split(b'{"type":"ERROR"')[1:]:
            self.errors.append(part[:120])

    def close(self, code: int, reason: str) -> None:
        self.errors.append(f"closed: {code} {reason}".encode())

    def close_abusive(self, reason: str) -> None:
        self.errors.append(f"thrown out: {reason}".encode())

    def probe(self, answered: Callable[[bool], None]) -> None:
        answered(False)

    def settled(self) -> None:
        if self.connection is not None:
            self.connection.join_finished()

    # -- actions

    def connect(self) -> None:
        server = self._evening.server
        refusal = server.door.check(self.home)
        if refusal is not None:
            self.errors.append(str(refusal).encode())
        server.door.opened(self.home)
        self.conns += 1
        session = Session(f"node/boot/{self.user}-{self.conns}", self.home, self, server.outbox)
        session.meter = server.spending.address(self.home) if server.spending is not None else None
        self.connection = ClientConnection(
            session, server.rooms, server.store.clock, server.metrics.connections, server.limits
        )
        self.join()

    def drop(self) -> None:
        """Lose the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.closed()
            self._evening.server.door.closed(self.home)

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
        """Send one half of the messages that set up a call."""
        self.say(encoded(kind, to=other.user, **{kind.lower(): {"type": kind.lower(), "sdp": SDP}}))
        candidate = {"candidate": "candidate:1 1 udp 2 192.0.2.1 5 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        payload = encoded("ICE_CANDIDATE", to=other.user, candidate=candidate)
        for _ in range(ICE):
            self.say(payload)


class ModernPerson(Person):
    """The same with a client that keeps its token and resumes. signals: the parts of calls that reached it, in order."""

    def __init__(self, evening: Evening, number: int):
        super().__init__(evening, number)
        self.signals: list[bytes] = []
        self._state: dict[str, Any] = {}

    def write(self, data: bytes) -> None:
        super().write(data)
        self.signals += re.findall(rb"call \d+ \d+", data)
        at = data.find(b'{"type":"ROOM_STATE"')
        if at >= 0:
            self._state |= json.JSONDecoder().raw_decode(data[at:].decode("utf-8", "replace"))[0]

    def join(self) -> None:
        fields: dict[str, Any] = {"keepsToken": True, "nonce": self.user}
        if self._state:
            resume = {"epoch": self._state["epoch"], "seq": self._state["seq"]}
            fields |= {"token": self._state["token"], "resume": resume}
        self.say(encoded("JOIN", roomId="default_room_1", userId=self.user, username=self.user, **fields))

    def signal(self, other: ModernPerson, kind: str, number: int) -> list[bytes]:
        """Send one half of the messages that set up a call; return its parts."""
        description = {"type": kind.lower(), "sdp": f"call {number} 0 {SDP}"}
        self.say(encoded(kind, to=other.user, **{kind.lower(): description}))
        for part in range(1, ICE + 1):
            candidate = {"candidate": f"call {number} {part} udp 192.0.2.1", "sdpMid": "0", "sdpMLineIndex": 0}
            self.say(encoded("ICE_CANDIDATE", to=other.user, candidate=candidate))
        return [f"call {number} {part}".encode() for part in range(ICE + 1)]


class Evening:
    """One room, and the people in it."""

    def __init__(self, people: int, seed: int, limits: Limits, kind: type[Person] = Person):
        self.clock: Any = MemoryReactorClock()
        self.clock.advance(EPOCH)
        self.server = Server(self.clock, limits=limits)
        self.server.start()
        self.random = random.Random(seed)
        self.title = f"{NETFLIX}/watch/1"
        self.people = [kind(self, number) for number in range(people)]
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
        """All members offer a call to a joined member, which answers all of them."""
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

    def run(self, seconds: float, *, busy: bool = True) -> None:
        """Let people watch: positions twice a second from every tab, a PING every 15 s. busy: and their commands."""
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
            if steps % 2 == 0:
                # As the protocol does with each connection, once a second.
                for person in self.people:
                    if person.connection is not None:
                        person.connection.look()
            if steps % 30 == 0:
                for person in self.people:
                    person.say(encoded("PING", timestamp=0))
            if busy:
                self._act()

    def _act(self) -> None:
        """The commands of people: every one of these on average every few minutes."""
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
                self.at(i * 0.2, lambda at=self.position: self._seek(person, at))
        elif chance < 3 / 60:
            for i in range(rng.randint(1, 8)):
                self.at(i * 0.7, lambda: person.say(encoded("CHAT", text="so funny! " * rng.randint(1, 20))))
        elif chance < 4 / 60:
            self.at(0.0, person.reload)
        elif chance < 5 / 60:
            self.come_back(person)
        elif chance < 5.2 / 60:
            for i in range(12):
                self.at(i * 0.6, lambda i=i: person.say(encoded("UPDATE_USERNAME", username="Annabelle"[: i + 1])))

    def _seek(self, person: Person, position: float) -> None:
        person.say(encoded("SEEK", currentTime=position, isPlaying=True))
        for other in self.people:
            for _ in range(other.tabs):
                other.say(encoded("READY", targetTime=position))


class HonestTest(TestCase):
    seed = 5

    def evening(self, people: int, limits: Limits | None = None, kind: type[Person] = Person) -> Evening:
        evening = Evening(people, self.seed, limits or Limits(), kind)
        self.addCleanup(evening.stop)
        return evening

    def assertNoMemberNoticed(self, evening: Evening) -> None:
        metrics = evening.server.metrics
        self.assertEqual({person.user: set(person.errors) for person in evening.people if person.errors}, {})
        self.assertEqual({reason: count for reason, count in metrics.limits.rate_limited.items() if count}, {})
        self.assertEqual({code: count for code, count in metrics.rooms.refused.items() if count}, {})
        self.assertEqual(evening.server.dropped, {})
        room = evening.server.rooms.open.get("default_room_1")
        assert room is not None
        self.assertEqual(set(room.room.members), {person.user for person in evening.people})

    def begin(self, evening: Evening, seconds: float) -> None:
        """Have all members join within some seconds; the first lets all of them control the film."""
        for number, person in enumerate(evening.people):
            evening.at(seconds * number / len(evening.people), lambda person=person: evening.arrive(person))
        evening.at(0.0, lambda: evening.people[0].say(encoded("TOGGLE_GUEST_CONTROL", enabled=True)))
        evening.run(seconds + 1)

    def test_eight_hours(self) -> None:
        """Twenty peers, all in calls with each other, who reload, reconnect, seek and chat."""
        evening = self.evening(20)
        self.begin(evening, 10)
        evening.run(HOURS * 3600)
        self.assertNoMemberNoticed(evening)
        received = evening.server.metrics.connections.received
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
        self.assertNoMemberNoticed(evening)

    def test_the_last_of_a_full_room(self) -> None:
        """A new member answers an offer of each other member."""
        evening = self.evening(250)
        for number, person in enumerate(evening.people):
            # A room of 250 is no household: one address may have 100 of them.
            person.home = f"203.0.113.{number % 3}"
        for person in evening.people[:-1]:
            person.connect()
            evening.clock.advance(STEP)
        evening.arrive(evening.people[-1])
        self.assertGreater(evening.server.metrics.connections.received["ANSWER"], 248)
        self.assertNoMemberNoticed(evening)

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
        self.assertNoMemberNoticed(evening)

    def test_a_call_among_eight(self) -> None:
        """Each calls each once a minute for an hour, and one is lost meanwhile: all that they send arrives, once, in order."""
        evening = self.evening(8, kind=ModernPerson)
        for person in evening.people:
            person.connect()
        people = [person for person in evening.people if isinstance(person, ModernPerson)]
        calls = 0
        for minute in range(60):
            lost = people[minute % 8]
            lost.drop()
            sent: dict[str, list[bytes]] = {person.user: [] for person in people}

            def call(caller: ModernPerson, number: int, sent: dict[str, list[bytes]] = sent) -> None:
                for other in people:
                    if other is not caller:
                        sent[other.user] += caller.signal(other, "OFFER", number)

            for caller in people:
                calls += 1
                if caller is not lost:
                    call(caller, calls)
            evening.run(10, busy=False)
            lost.connect()
            call(lost, calls + 1)
            calls += 1
            for caller in people:
                for other in people:
                    if other is not caller:
                        calls += 1
                        sent[other.user] += caller.signal(other, "ANSWER", calls)
            evening.run(50, busy=False)
            for person in people:
                # Of several callers, each one's parts are in order.
                self.assertEqual(sorted(person.signals), sorted(sent[person.user]), (minute, person.user))
                person.signals.clear()
        self.assertNoMemberNoticed(evening)

    def test_a_member_with_a_year_of_bans(self) -> None:
        """A ban and a kick every week: commands cost as much as in a new room, and none is rejected."""
        year, new = self.evening(5), self.evening(5)
        for evening in (year, new):
            self.begin(evening, 5)
        host = year.people[0]
        trolls = []
        for _ in range(52):
            for kind in ("BAN", "KICK"):
                troll = Person(year, 1000 + len(trolls))
                troll.home = f"198.51.100.{len(trolls)}"
                trolls.append(troll)
                troll.connect()
                year.run(1, busy=False)
                host.say(encoded(kind, targetUserId=troll.user, reason="It spoils the film. " * 10))
                troll.drop()
            year.run(60, busy=False)
            year.clock.advance(7 * 86400 - 62)
        live = year.server.rooms.open.get("default_room_1")
        assert live is not None
        room = live.room
        self.assertEqual(sum(not bar.until for bar in room.moderation.bans), 52)

        def costs(evening: Evening) -> list[tuple[str, int]]:
            evening.run(60, busy=False)
            before = len(evening.server.journal)
            first, guest = evening.people[:2]
            for locked in (True, False):
                first.say(encoded("LOCK_ROOM", locked=locked))
            for enabled in (True, False):
                first.say(encoded("DELEGATE_CONTROL", targetUserId=guest.user, enabled=enabled))
            first.say(encoded("CHAT", text="Shall we go on?"))
            first.say(encoded("PLAY_PAUSE", control="play", currentTime=5.0))
            evening._seek(first, 700.0)
            for person in evening.people:
                person.drop()
                person.connect()
            evening.run(30, busy=False)
            journal = evening.server.journal[before:]
            return [(commit.event, len(encode_commit(commit))) for _, commit in journal]

        for mine, others in zip(costs(year), costs(new), strict=True):
            self.assertEqual(mine[0], others[0])
            self.assertLess(abs(mine[1] - others[1]), 20, mine[0])
        for evening in (year, new):
            self.assertNoMemberNoticed(evening)
        back = trolls[0]
        back.connect()
        year.run(1, busy=False)
        self.assertTrue(any(b'"banned"' in error for error in back.errors), back.errors)

    def test_it_would_be_noticed(self) -> None:
        """The test can fail."""
        evening = self.evening(3, Limits(connections_per_minute=2, candidate_rate=Rate(1, 15)))
        self.begin(evening, 5)
        self.assertTrue(all(person.errors for person in evening.people))
        self.assertEqual(evening.server.metrics.limits.rate_limited["connection_rate"], 1)
