"""Keepalive: pings, the quality of a connection, and the results of probes."""

from __future__ import annotations

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd.websocket.keepalive import (
    FIRST_PINGS,
    INTERVAL_SECONDS,
    KEPT_ROUND_TRIPS,
    PROBE_SECONDS,
    TIMEOUT_SECONDS,
    Keepalive,
)

from ..support.fake_node import ServiceTestCase


class FakePeer:
    """Counts its calls."""

    def __init__(self) -> None:
        self.pings = 0
        self.payload = b""
        self.aborted = False

    def send_ping(self, payload: bytes) -> None:
        self.pings += 1
        self.payload = payload

    def ping_timed_out(self) -> None:
        self.aborted = True


class PulseTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.peer = FakePeer()
        self.pulse = Keepalive(self.clock, self.peer, Random(1))
        self.said: list[bool] = []

    def run_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.pulse.check(self.clock.seconds())

    def test_first_ping_is_soon(self) -> None:
        self.run_for(6)
        self.assertEqual(self.peer.pings, 1)

    def answer_first_pings(self) -> None:
        """Answer the pings of a new connection."""
        self.run_for(1)
        for _ in range(FIRST_PINGS):
            self.pulse.answered(self.peer.payload)

    def test_a_new_connection_is_measured_several_times_at_once(self) -> None:
        self.run_for(1)
        for count in range(1, FIRST_PINGS + 1):
            self.assertEqual(self.peer.pings, count)
            self.clock.advance(0.1 * count)
            self.pulse.answered(self.peer.payload)
        self.assertEqual(self.peer.pings, FIRST_PINGS)
        self.assertEqual([round(trip, 3) for trip in self.pulse.round_trips], [0.1, 0.2, 0.3])

    def test_pings_come_at_their_interval(self) -> None:
        self.answer_first_pings()
        self.run_for(int(INTERVAL_SECONDS[0]) - 1)
        self.assertEqual(self.peer.pings, FIRST_PINGS)
        self.run_for(int(INTERVAL_SECONDS[1] - INTERVAL_SECONDS[0]) + 2)
        self.assertEqual(self.peer.pings, FIRST_PINGS + 1)
        self.assertFalse(self.peer.aborted)

    def test_a_pong_that_answers_no_ping_measures_nothing(self) -> None:
        """A client could claim any round trip by pongs that it sends before it has received a ping."""
        self.pulse.answered(b"")
        self.run_for(1)
        self.pulse.answered(b"")
        self.pulse.answered(b"\x00\x00\x00\x00")
        self.assertEqual((self.pulse.round_trips, self.pulse.quality), ((), "unknown"))
        self.assertFalse(self.peer.aborted)

    def test_only_the_last_round_trips_are_kept(self) -> None:
        self.answer_first_pings()
        for _ in range(3 * KEPT_ROUND_TRIPS):
            self.clock.advance(INTERVAL_SECONDS[1])
            self.pulse.check(self.clock.seconds())
            self.pulse.answered(self.peer.payload)
        self.assertEqual(len(self.pulse.round_trips), KEPT_ROUND_TRIPS)

    def test_no_answer_ends_the_connection(self) -> None:
        """B25: half-open connections were never noticed."""
        self.run_for(6 + int(TIMEOUT_SECONDS))
        self.assertEqual(self.peer.pings, 1)
        self.run_for(2)
        self.assertTrue(self.peer.aborted)

    def test_probes_neither_delay_the_end_nor_shorten_the_round_trip(self) -> None:
        self.run_for(6)
        self.clock.advance(0.5)
        self.pulse.probe(self.said.append)
        self.clock.advance(0.1)
        self.pulse.answered(self.peer.payload)
        self.assertGreaterEqual(self.pulse.round_trips[-1], 0.6)
        for _ in range(5):
            self.pulse.probe(self.said.append)
            self.run_for(5)
        self.assertTrue(self.peer.aborted)

    def test_quality_is_that_of_the_round_trip(self) -> None:
        self.assertEqual(self.pulse.quality, "unknown")
        self.answer_first_pings()
        for seconds, quality in ((0.05, "excellent"), (0.2, "good"), (0.4, "fair"), (2.0, "poor")):
            self.clock.advance(INTERVAL_SECONDS[1])
            self.pulse.check(self.clock.seconds())
            self.clock.advance(seconds)
            self.pulse.answered(self.peer.payload)
            self.assertEqual(self.pulse.quality, quality)

    def test_probe_answered(self) -> None:
        self.pulse.probe(self.said.append)
        self.assertEqual(self.peer.pings, 1)
        self.clock.advance(1)
        self.pulse.answered(self.peer.payload)
        self.assertEqual(self.said, [True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_probe_not_answered(self) -> None:
        self.pulse.probe(self.said.append)
        self.clock.advance(PROBE_SECONDS - 0.1)
        self.assertEqual(self.said, [])
        self.clock.advance(0.2)
        self.assertEqual(self.said, [False])

    def test_probes_at_once_share_a_ping(self) -> None:
        self.pulse.probe(self.said.append)
        self.pulse.probe(self.said.append)
        self.assertEqual(self.peer.pings, 1)
        self.pulse.answered(self.peer.payload)
        self.assertEqual(self.said, [True, True])

    def test_each_probe_has_its_whole_time(self) -> None:
        """A client that could have a living connection declared dead early could throw its member out."""
        self.pulse.probe(lambda alive: None)
        self.pulse.answered(self.peer.payload)
        self.clock.advance(PROBE_SECONDS - 0.1)
        self.pulse.probe(self.said.append)
        self.clock.advance(PROBE_SECONDS - 0.1)
        self.assertEqual(self.said, [])
        self.clock.advance(0.2)
        self.assertEqual(self.said, [False])

    def test_end_of_the_connection_answers_and_leaves_no_timer(self) -> None:
        self.pulse.probe(self.said.append)
        self.pulse.stop()
        self.assertEqual(self.said, [False])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class KeepaliveTest(ServiceTestCase):
    def test_idle_connection_stays(self) -> None:
        [client] = self.world.party("ann")
        self.world.advance(300)
        self.assertFalse(client.closed)
        self.assertGreaterEqual(client.pings, 8)

    def test_dead_connection_is_noticed(self) -> None:
        """B25: a connection without answers ends, and its member leaves after the grace period."""
        ann, bob = self.world.party("ann", "bob")
        bob.link.frozen = True
        self.world.advance(INTERVAL_SECONDS[1] + TIMEOUT_SECONDS + 2)
        self.assertTrue(bob.link.over)
        self.assertEqual(len(self.world.server.factory), 1)
        self.world.advance(46)
        self.assertEqual(ann.types(), ["LEAVE", "USER_LEFT"])

    def test_probe_of_an_ending_connection(self) -> None:
        [client] = self.world.party("ann")
        [protocol] = self.world.server.factory._protocols
        said: list[bool] = []
        protocol.session_transport.probe(said.append)
        client.cut()
        self.assertEqual(said, [False])

    def test_probe_of_a_closing_connection(self) -> None:
        self.world.party("ann")
        [protocol] = self.world.server.factory._protocols
        said: list[bool] = []
        protocol.session_transport.close(1000, "")
        protocol.session_transport.probe(said.append)
        self.assertEqual(said, [False])
