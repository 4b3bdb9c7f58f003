"""The order and the time of retries of deferred JOINs."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd.rooms.joining.queue import MAX_RETRY_SECONDS, RETRY_INTERVAL_SECONDS, JoinQueue


class LobbyTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = JoinQueue(self.clock)
        self.tried: list[str] = []
        self.sessions: dict[str, Any] = {}

    def wait(self, name: str, seconds: float = 1.0, who: str = "", again: float = 0.0, place: str = "door") -> None:
        """again: it is tried in vain, and learns this."""

        def go() -> None:
            self.tried.append(name)
            if again:
                self.wait(name, again, who, again, place)

        session = self.sessions.setdefault(name, object())
        since = float("abcdefghijklmnopqrstuvwxyz".index((who or name)[0]) + 1)
        self.queue.enqueue(place, who or name, since, session, seconds, go)

    def test_when_it_is_time(self) -> None:
        self.wait("a")
        self.clock.advance(0.9)
        self.assertEqual(self.tried, [])
        self.clock.advance(0.2)
        self.assertEqual((self.tried, len(self.queue)), (["a"], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_came_last_is_first(self) -> None:
        for name in "acb":
            self.wait(name)
        self.clock.pump([1.0] + [RETRY_INTERVAL_SECONDS] * 4)
        self.assertEqual(self.tried, ["c", "b", "a"])

    def test_of_one_address_the_newest_and_its_others_after_all_clients(self) -> None:
        for name in ("b1", "b2", "b3"):
            self.wait(name, who="b")
        self.wait("a")
        self.clock.pump([1.0] + [RETRY_INTERVAL_SECONDS] * 5)
        self.assertEqual(self.tried, ["b3", "a", "b2", "b1"])

    def test_one_that_is_tried_in_vain_tells_for_all(self) -> None:
        """A thousand deferred JOINs are not all retried while the limit is exhausted."""
        for name in "abcdefgh":
            self.wait(name, again=100.0)
        self.clock.pump([1.0] + [0.1] * 30)
        self.assertEqual(self.tried, ["h"])
        self.clock.pump([MAX_RETRY_SECONDS])
        self.assertEqual(self.tried, ["h", "h"])

    def test_newcomers_do_not_put_it_off(self) -> None:
        self.wait("a", 3.0)
        for _ in range(30):
            self.clock.advance(0.1)
            self.wait("b", 5.0)
        self.assertEqual(self.tried, ["b"])

    def test_places_do_not_wait_for_one_another(self) -> None:
        self.wait("a", 3.0, place="one")
        self.wait("b", 1.0, place="two")
        self.clock.advance(1)
        self.assertEqual(self.tried, ["b"])

    def test_coming_again_and_again_leaves_nothing_behind(self) -> None:
        for _ in range(50):
            for _ in range(100):
                self.wait("a", again=100.0)
                self.wait("b", again=100.0)
            self.clock.advance(MAX_RETRY_SECONDS)
        [place] = self.queue._lines.values()
        self.assertTrue(len(place._heap) < 250, len(place._heap))

    def test_a_client_that_leaves_is_forgotten(self) -> None:
        for name in "ab":
            self.wait(name)
            self.queue.forget(self.sessions[name])
            self.queue.forget(self.sessions[name])
        self.assertEqual((len(self.queue), self.clock.getDelayedCalls()), (0, []))

    def test_a_session_waits_for_one_thing_at_a_time(self) -> None:
        self.wait("a", place="one")
        self.wait("a", place="two")
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.tried, ["a"])

    def test_close(self) -> None:
        self.wait("a")
        self.queue.close()
        self.assertEqual((len(self.queue), self.clock.getDelayedCalls()), (0, []))
