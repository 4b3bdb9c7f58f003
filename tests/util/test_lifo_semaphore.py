"""Taking turns: few at a time, one for each asker, the newest first."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from tandemd.util.lifo_semaphore import LifoSemaphore, QueueFullError


class TurnsTest(TestCase):
    def setUp(self) -> None:
        self.turns = LifoSemaphore(at_once=2, most=3)
        self.had: list[str] = []

    def ask(self, name: str, who: str = "") -> None:
        begun = self.turns.acquire(who or name)
        begun.addCallbacks(lambda _: self.had.append(name), lambda failure: self.had.append(f"{name} gives way"))
        begun.addErrback(lambda failure: failure.trap(QueueFullError))

    def test_the_newest_first(self) -> None:
        for name in "abcde":
            self.ask(name)
        self.assertEqual(self.had, ["a", "b"])
        self.turns.release("b")
        self.turns.release("a")
        self.turns.release("e")
        self.assertEqual(self.had, ["a", "b", "e", "d", "c"])

    def test_one_for_each_asker(self) -> None:
        """A client with many connections does not take the turns of all others."""
        for name, who in (("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")):
            self.ask(name, who)
        self.assertEqual(self.had, ["a", "d"])
        self.turns.release("y")
        self.assertEqual(self.had, ["a", "d"])
        self.turns.release("x")
        self.assertEqual(self.had, ["a", "d", "c"])

    def test_the_oldest_gives_way(self) -> None:
        for name in "abcdefg":
            self.ask(name)
        self.assertEqual(self.had, ["a", "b", "c gives way", "d gives way"])

    def test_turns_that_are_over_at_once_do_not_nest(self) -> None:
        turns = LifoSemaphore(at_once=1, most=10_000)
        turns.acquire("first")
        done: list[int] = []
        for number in range(5000):
            turn: Any = turns.acquire(str(number))
            turn.addCallback(lambda _, number=number: (turns.release(str(number)), done.append(number)))
        turns.release("first")
        self.assertEqual(done, list(range(4999, -1, -1)))
