"""Each type of message at its limit, from 1, 30 and 480 connections of an address and of a /48: its cost is bounded.

Generated from the declared messages: a type that has no bound in `allowed.BOUNDS`, or nothing to say in `allowed.SAYS`, fails.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.config.schema import Limits
from tandemd.ratelimit import Meter
from tandemd.rooms.command_queue import FREQUENT_EVENTS
from tandemd.rooms.dispatcher import RELAY_BYTES

from ..support.fake_node import EPOCH, Server
from .allowed import (
    BOUNDS,
    CROWDS,
    LONG_ID,
    LONG_REASON,
    LONG_URL,
    SAYS,
    SHORT,
    Crowd,
    Mouth,
    Party,
    encoded,
    hosts_only,
    kept,
    lines,
    name_of,
    rate_of,
    stored_bytes,
)

CHARGED = 4
"""Stored bytes are charged: at most so many times the charge, in the hash, the log and the journal together."""
UNCHARGED_BYTES = 2000
"""But for so much, which is in every change."""
LEFT_BEHIND = 2048
"""Bytes that a node still has of a connection when its room has ended: of addresses, for their limits."""
LEFT_AT_ALL = 256 * 1024
SECONDS = 2
"""For how long a crowd goes on after its bursts."""


class Till(Meter):
    """Notes all charges, and gives any credit."""

    def __init__(self) -> None:
        self.size = self.deliveries = 0
        self.near_limit = True  # so that `wait` is called

    def charge(self, size: int, deliveries: int) -> None:
        self.size += size
        self.deliveries += deliveries

    def wait(self, part: float = 1.0) -> float:
        return 0.0


class CostTest(SynchronousTestCase):
    """One message, in the worst room that members can bring about: of many, with bans, a closed gate and long names."""

    SMALL, LARGE, AT_ONCE = 10, 240, 90

    def room(self, size: int) -> tuple[Server, Any, Party]:
        clock: Any = MemoryReactorClock()
        clock.advance(EPOCH)
        server = Server(clock, limits=Limits())
        server.start()
        self.addCleanup(server.stop)
        members = []
        for number in range(size):
            mouth = Mouth(server, "room", f"{LONG_ID}{number}", f"192.0.2.{number // self.AT_ONCE}", number)
            mouth.connect()
            mouth.join()
            members.append(mouth)
        host = members[0]
        host.say(encoded(m.ToggleGuestControl, {"enabled": True}))
        host.say(encoded(m.UrlChange, {"url": LONG_URL}))
        for number in range(98):
            host.say(encoded(m.Ban, {"targetUserId": f"{LONG_ID}b{number}", "reason": LONG_REASON}))
            clock.advance(1)
        lost = members[-size // 10 :]
        party = Party(members[: -len(lost)], lost)
        for mouth in lost:
            mouth.drop()
        for _ in range(3):
            for mouth in party.present:
                mouth.say(encoded(m.PositionUpdate, {"currentTime": 5.0, "isPlaying": True}))
            clock.advance(1)
        host.say(encoded(m.Seek, {"currentTime": 7.0, "isPlaying": True}))
        clock.advance(0)
        for mouth in members:
            mouth.listens = False
        return server, clock, party

    def most(self, kind: type[m.ClientMessage], size: int) -> dict[str, int]:
        """Return the most that one of several messages costs."""
        server, clock, party = self.room(size)
        members = party.present + party.lost
        most: dict[str, int] = {}
        for number in range(4):
            mouth = party.present[0] if hosts_only(kind) else party.present[-1 - number]
            mouth.listens = kind is m.Join
            if kind is m.Join and number % 2:
                # One that was never here.
                mouth = Mouth(server, "room", f"{LONG_ID}{1000 + number}", "192.0.2.9", 1000 + number)
                mouth.connect()
                members = [*members, mouth]
            payload = encoded(kind, {**SAYS[kind](party, mouth, number), **({} if kind is m.Join else {"id": number})})
            server.journal.clear()
            told = sum(one.told for one in members)
            assert mouth.connection is not None
            mouth.connection.session.meter = till = Till()
            refused = dict(server.metrics.rooms.refused)

            def act(mouth: Mouth = mouth, payload: bytes = payload) -> None:
                mouth.say(payload)
                server.outbox.flush()

            ran = lines(act)
            self.assertEqual(dict(server.metrics.rooms.refused), refused, f"{name_of(kind)} was refused")
            stored, _, rows = stored_bytes(server)
            told = sum(one.told for one in members) - told
            unpaid = stored - CHARGED * till.size
            for name, value in (
                ("lines", ran), ("stored", stored), ("row", rows), ("told", told), ("charged", till.size),
                ("unpaid", unpaid), ("deliveries", till.deliveries),
            ):  # fmt: skip
                most[name] = max(most.get(name, 0), value)
            if kind is m.Kick:
                party.present.pop()
            clock.advance(1)
        return most

    def check(self, kind: type[m.ClientMessage]) -> None:
        bound = BOUNDS[kind]
        for size in (self.SMALL, self.LARGE):
            most = self.most(kind, size)
            allowed = {
                "lines": bound.lines + bound.each * size,
                "stored": bound.stored,
                "row": bound.row,
                "told": bound.told + bound.told_each * size,
                "unpaid": UNCHARGED_BYTES,
                "charged": max(bound.stored, bound.told + bound.told_each * size),
                # A relay is charged by its length.
                "deliveries": 2 * size + 2 + bound.told // RELAY_BYTES,
            }
            over = {name: (value, allowed[name]) for name, value in most.items() if value > allowed[name]}
            self.assertEqual(over, {}, f"{name_of(kind)} in a room of {size}: {most}")


class FloodTest(SynchronousTestCase):
    """A crowd says one type as often as it may, and nothing else. Limits are those of `SHORT`; see there."""

    def setUp(self) -> None:
        self.clock: Any = MemoryReactorClock()
        self.clock.advance(EPOCH)
        self.server = Server(self.clock, limits=SHORT)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.neighbours = [
            Mouth(self.server, "neighbours", f"neighbour{number}", f"198.51.100.{number}", 9000 + number)
            for number in range(2)
        ]
        for neighbour in self.neighbours:
            neighbour.connect()
            neighbour.join()
        self.asked = 0

    def flood(self, kind: type[m.ClientMessage], count: int, wide: bool) -> None:
        server, clock = self.server, self.clock
        alone = kept(server, self.neighbours)
        crowd = Crowd(server, clock, count, wide, many_rooms=hosts_only(kind))
        self.assertTrue(all(mouth.token for mouth in crowd.mouths), "not all could join")
        what = f"{name_of(kind)} from {count} connections of {'a /48' if wide else 'one address'}"
        before = kept(server, self.neighbours, *crowd.mouths)
        quiet = self.neighbours_chat()
        server.journal.clear()
        delivered, joined = server.metrics.rooms.deliveries.value, server.metrics.connections.received["JOIN"]
        rate = rate_of(kind, SHORT)
        sent = 0
        for second in range(SECONDS + 1):
            for number in range(round(rate.per_second if second else rate.burst)):
                for party, mouth in crowd.speakers():
                    mouth.listens = kind is m.Join
                    if kind is m.Leave and number % 2:
                        mouth.join()
                    else:
                        mouth.say(encoded(kind, SAYS[kind](party, mouth, number)))
                        sent += 1
                server.outbox.flush()
                if number % 5 == 0:
                    self.assertLessEqual(
                        self.neighbours_chat(), quiet + 50, f"{what}: a neighbour's message costs more"
                    )
            clock.advance(1)
        self.assertLessEqual(sent, len(crowd.mouths) * (rate.burst + rate.per_second * SECONDS), what)
        bound, rooms = BOUNDS[kind], len(crowd.parties)
        joins = server.metrics.connections.received["JOIN"] - joined
        stored, rows, row_bytes = stored_bytes(server)
        self.within(f"{what}: bytes stored", stored, self.stored_most(crowd, kind, joins))
        often = rooms * (SHORT.room_events_rate.burst + SHORT.room_events_rate.per_second * SECONDS + 1)
        each = sum(commit.has_row and commit.event not in FREQUENT_EVENTS for _, commit in server.journal)
        self.within(f"{what}: rows", rows, often + each + len(self.neighbours) * self.asked)
        self.within(f"{what}: bytes of rows", row_bytes, rows * max(bound.row, BOUNDS[m.Join].row))
        self.within(
            f"{what}: deliveries", server.metrics.rooms.deliveries.value - delivered, self.told_most(crowd, sent, joins)
        )
        held = kept(server, self.neighbours, *crowd.mouths) - before
        budget = crowd.times * (SHORT.address_bytes_rate.burst + SHORT.address_bytes_rate.per_second * SECONDS)
        on_the_way = crowd.times * SHORT.address_deliveries_rate.burst * RELAY_BYTES if bound.kept > 4096 else 0
        self.within(f"{what}: memory", held, 3 * budget + on_the_way + len(crowd.mouths) * bound.kept)
        for neighbour in self.neighbours:
            self.assertEqual((sorted(neighbour.acknowledged), neighbour.errors), (list(range(self.asked)), {}), what)
        crowd.go()
        server.journal.clear()
        for _ in range(75):
            clock.advance(10)
        left = kept(server, self.neighbours, *crowd.mouths) - alone
        self.within(f"{what}: memory that stays", left, len(crowd.mouths) * LEFT_BEHIND + LEFT_AT_ALL)

    def within(self, what: str, value: float, most: float) -> None:
        self.assertLessEqual(value, most, what)

    def stored_most(self, crowd: Crowd, kind: type[m.ClientMessage], joins: int) -> float:
        """Return how many bytes a crowd may have had stored: its budget, and one more command of each connection."""
        rate = SHORT.address_bytes_rate
        budget = crowd.times * (rate.burst + rate.per_second * SECONDS)
        free = joins * (BOUNDS[m.Join].stored + BOUNDS[m.Leave].stored) if kind in (m.Join, m.Leave) else 0
        # Each member that begins to watch, or is not there any more, is noted once.
        return CHARGED * budget + len(crowd.mouths) * (BOUNDS[kind].stored + BOUNDS[m.Ready].stored) + free

    def told_most(self, crowd: Crowd, sent: int, joins: int) -> float:
        rate = SHORT.address_deliveries_rate
        budget = crowd.times * (rate.burst + rate.per_second * SECONDS)
        # One answer to each message, one more command of each connection, and two to all of a room for each who comes and goes.
        members = max(len(party.present) for party in crowd.parties)
        return budget + 2 * sent + (len(crowd.mouths) + 2 * joins) * 2 * members + len(self.neighbours) * 2 * self.asked

    def neighbours_chat(self) -> int:
        """Have both neighbours say something; return how many lines that has taken."""

        def chat() -> None:
            for neighbour in self.neighbours:
                neighbour.say(encoded(m.Chat, {"text": "x", "id": self.asked}))
            self.server.outbox.flush()

        ran = lines(chat)
        self.asked += 1
        return ran


def _add(kind: type[m.ClientMessage]) -> None:
    def cost(self: CostTest) -> None:
        self.check(kind)

    setattr(CostTest, f"test_{name_of(kind)}", cost)
    for count in CROWDS:
        for wide in (False, True):

            def flood(self: FloodTest, count: int = count, wide: bool = wide) -> None:
                self.flood(kind, count, wide)

            setattr(FloodTest, f"test_{name_of(kind)}_{count}_of_{'a_48' if wide else 'one'}", flood)


for _kind in m.CLIENT_MESSAGES:
    _add(_kind)
