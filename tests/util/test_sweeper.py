"""Sweeps: every object gets its turn, and no other work waits for all of it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.util.sweeper import TIME_SLICE, Sweeper


class RoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.things = list(range(10))
        self.seen: list[int] = []
        self.cost = 0.0
        self.rounds = Sweeper(self.clock, 1.0, lambda: self.things, self.look)

    def look(self, thing: int) -> None:
        self.seen.append(thing)
        self.clock.rightNow += self.cost
        if thing == 100:
            raise RuntimeError("no")

    def test_everything_in_every_round(self) -> None:
        self.rounds.start()
        self.assertEqual(self.seen, [])
        self.clock.advance(1.0)
        self.assertEqual(self.seen, self.things)
        self.clock.advance(0.9)
        self.assertEqual(self.seen, self.things)
        self.clock.advance(0.1)
        self.assertEqual(self.seen, 2 * self.things)

    def test_others_in_between(self) -> None:
        """When a slice is over, the reactor's waiting work has its turn before the next one."""
        self.cost = TIME_SLICE * 0.4
        self.rounds.start()
        turns: list[int] = []
        self.clock.callLater(1.0, lambda: turns.append(len(self.seen)))
        self.clock.advance(1.0)
        self.assertEqual(turns, [3])
        self.assertEqual(self.seen, self.things)
        self.clock.advance(0.9)
        self.assertEqual(self.seen, self.things)

    def test_a_fault_of_one(self) -> None:
        self.things[3] = 100
        self.rounds.start()
        self.clock.advance(1.0)
        self.assertEqual(self.seen, self.things)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.clock.advance(1.0)
        self.assertEqual(len(self.seen), 20)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_things_that_change_meanwhile(self) -> None:
        rounds = Sweeper(self.clock, 1.0, lambda: self.things, self.things.remove)
        rounds.start()
        self.clock.advance(1.0)
        self.assertEqual(self.things, [])

    def test_stopping(self) -> None:
        """Also from within."""
        rounds = Sweeper(self.clock, 1.0, lambda: self.things, lambda thing: (self.look(thing), rounds.stop()))
        rounds.start()
        self.clock.advance(1.0)
        self.assertEqual((self.seen, rounds.running, self.clock.getDelayedCalls()), ([0], False, []))
        self.rounds.start()
        self.rounds.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.rounds.stop()
