"""The checks of the simulation can fail: each rejects a made-up history, and accepts one that differs a little."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from tandemd.rules.gate import Gate
from tandemd.rules.playback import Playback
from tandemd.rules.state import Room
from tandemd.store.redis import scripts
from tandemd.store.redis.keys import room_key

from ..chaos.checker import History
from ..support.patience import TEST_LIMIT_SECONDS
from .departures import LATE_SECONDS, judge
from .redis import Redis
from .watcher import GATE_SECONDS, MOST_GATE_SECONDS, QUIET_SECONDS, Watcher
from .world import EPOCH, World

DEADLINE_SECONDS = 7.0
GRACE_SECONDS = 15.0


class WatcherCase(SynchronousTestCase):
    """A watcher of one node that has one room."""

    timeout = TEST_LIMIT_SECONDS

    def setUp(self) -> None:
        self.world = World(1)
        self.room = Room("uuid", "room", EPOCH, 1, 5)
        self.stage = SimpleNamespace(going_on=0, quiet_since=-QUIET_SECONDS)
        self.server_time = EPOCH
        status = SimpleNamespace(accepts_clients=lambda: True)
        backend = SimpleNamespace(store=SimpleNamespace(clock=SimpleNamespace(now=self.now)))
        rooms = SimpleNamespace(open=[SimpleNamespace(room=self.room)])
        node: Any = SimpleNamespace(name="n1", boots=1, machine=SimpleNamespace(frozen=False))
        node.node = SimpleNamespace(status=status, _backend=backend, _rooms=rooms)
        self.redis: Any = SimpleNamespace(losses=1, server=SimpleNamespace(dbs=[SimpleNamespace(_dict={})]))
        cluster = SimpleNamespace(nodes=[node, node], redis=self.redis)
        Watcher(self.world, cast(Any, cluster), cast(Any, self.stage), DEADLINE_SECONDS)

    def now(self) -> float:
        return self.server_time + self.world.now

    def assertFound(self, text: str) -> None:
        self.assertTrue(self.world.problems and text in self.world.problems[0], self.world.problems)


class GateTests(WatcherCase):
    def close(self) -> None:
        self.room.gate = Gate(1.0, EPOCH + self.world.now, ("ann",))

    def test_a_gate_opens_by_its_deadline(self) -> None:
        self.close()
        self.world.pass_time(DEADLINE_SECONDS + GATE_SECONDS - 0.5)
        self.room.gate = None
        self.world.pass_time(60.0)
        self.assertEqual(self.world.problems, [])

    def test_a_gate_stays_closed(self) -> None:
        self.close()
        self.world.pass_time(DEADLINE_SECONDS + GATE_SECONDS + 1.0)
        self.assertFound("is closed 3.")

    def test_a_gate_stays_closed_during_a_fault(self) -> None:
        self.stage.going_on = 1
        self.close()
        self.world.pass_time(DEADLINE_SECONDS + MOST_GATE_SECONDS - 0.5)
        self.assertEqual(self.world.problems, [])
        self.world.pass_time(1.5)
        self.assertFound("is closed 60.")

    def test_a_gate_stays_closed_after_a_fault(self) -> None:
        self.close()
        self.world.pass_time(DEADLINE_SECONDS)
        self.stage.quiet_since = self.world.now
        self.world.pass_time(QUIET_SECONDS - 0.5)
        self.assertEqual(self.world.problems, [])
        self.world.pass_time(1.5)
        self.assertFound("is closed 10.")


class TimelineTests(WatcherCase):
    def test_a_film_moves_with_the_time(self) -> None:
        self.room.playback = Playback(url="u", at=EPOCH, playing=True, known=True)
        self.world.pass_time(20.0)
        self.assertEqual(self.world.problems, [])

    def test_server_time_steps(self) -> None:
        self.room.playback = Playback(url="u", at=EPOCH, playing=True, known=True)
        self.world.pass_time(5.0)
        self.server_time += 0.3
        self.world.pass_time(1.0)
        self.assertFound("has moved by 0.80 s in 0.50 s")


class OfferTests(WatcherCase):
    """Nodes offer their rooms to Redis."""

    def offer(self, epoch: int, seq: int, answer: int = 1) -> None:
        key = room_key("room")
        value = {b"v": b"uuid:%d:%d" % (epoch, seq)}
        self.redis.server.dbs[0]._dict[key] = SimpleNamespace(value=value)
        on_command = cast(Redis, self.redis).on_command
        on_command([b"EVALSHA", scripts.RESEED.sha, b"6", key], answer)

    def test_a_newer_room_is_kept(self) -> None:
        self.offer(1, 5)
        self.offer(1, 7)
        self.offer(1, 7, answer=0)
        self.offer(2, 1)
        self.assertEqual(self.world.problems, [])
        self.assertEqual(self.world.coverage["an offered room was not newer"], 1)

    def test_an_older_room_replaces_it(self) -> None:
        self.offer(1, 7)
        self.offer(1, 6)
        self.assertFound("went back from (1, 7) to (1, 6)")

    def test_redis_has_lost_it(self) -> None:
        self.offer(1, 7)
        self.redis.losses += 1
        self.offer(1, 6)
        self.assertEqual(self.world.problems, [])


class GraceTests(SynchronousTestCase):
    """Ann is in the room from second 10 on, and bob is told that she has left."""

    timeout = TEST_LIMIT_SECONDS

    def problems(self, left: float, *entries: tuple[float, str, Any], replaced: dict[str, float] | None = None) -> int:
        """Return the number of objections. left: when bob hears of it. entries: more of ann's history."""
        ann, bob = History("ann", "room"), History("bob", "room")
        ann.entries += [(10.0, "heard", {"type": "ROOM_STATE", "epoch": 1, "seq": 5}), *entries]
        bob.add(5.0, "heard", {"type": "ROOM_STATE", "epoch": 1, "seq": 4})
        bob.add(left, "heard", {"type": "USER_LEFT", "userId": "ann", "seq": 9})
        return len(judge([ann, bob], GRACE_SECONDS, replaced or {}).problems)

    def test_within_the_grace_period(self) -> None:
        self.assertEqual(self.problems(10.0 + GRACE_SECONDS - LATE_SECONDS - 0.1), 1)

    def test_after_the_grace_period(self) -> None:
        self.assertEqual(self.problems(10.0 + GRACE_SECONDS + 0.1), 0)

    def test_the_grace_period_begins_with_the_last_connection(self) -> None:
        again = 20.0, "heard", {"type": "ROOM_STATE", "epoch": 1, "seq": 7}
        self.assertEqual(self.problems(10.0 + GRACE_SECONDS + 0.1, again), 1)

    def test_she_has_joined_again_since(self) -> None:
        again = 20.0, "heard", {"type": "ROOM_STATE", "epoch": 1, "seq": 11}
        self.assertEqual(self.problems(10.0 + GRACE_SECONDS + 0.1, again), 0)

    def test_she_has_left(self) -> None:
        self.assertEqual(self.problems(12.0, (11.0, "said", {"type": "LEAVE"})), 0)

    def test_another_user_id_has_taken_her_place(self) -> None:
        self.assertEqual(self.problems(12.0, replaced={"ann": 11.0}), 0)
        self.assertEqual(self.problems(12.0, replaced={"ann": 13.0}), 1)
