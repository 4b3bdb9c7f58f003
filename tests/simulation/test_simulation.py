"""Schedules from fixed and from new seeds, the same trace twice, and the guard.

`make simulate` runs more of them, and shows one again.
"""

from __future__ import annotations

import gc
import os
import random
import re
import secrets
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.trial.unittest import SynchronousTestCase

import tandemd

from ..support.patience import TEST_LIMIT_SECONDS
from .guard import RealityError, simulated
from .minimise import minimised
from .network import Network
from .run import Result, run
from .schedule import Fault, Schedule, large, small
from .world import Machine, World

FIXED_SEEDS = 200
MENDED_SEEDS = (
    1291, 1327, 9300149, 9301020, 9301240, 9500663, 9501008, 9501769, 9502495,
    9503127, 9503819, 9504480, 9505179, 9505559, 9506601,
)  # fmt: skip
"""Seeds that have found faults of the server or of the client model, which are mended."""
NEW_SEEDS = 5
SAME_SEEDS = 50
"""The number of fixed seeds that run in two other processes, where hashes of texts differ: their traces must be the same."""
AGAIN = """
import sys
from tests.simulation.run import run
from tests.simulation.schedule import small
for seed in range(int(sys.argv[1])): print(seed, run(small(seed)).digest)
"""


class SeedTests(SynchronousTestCase):
    """All is well after the faults of each schedule."""

    timeout = 10 * TEST_LIMIT_SECONDS

    def hold(self, *schedules: Schedule) -> list[Result]:
        """Fail if a schedule breaks an invariant."""
        results = []
        for schedule in schedules:
            result = run(schedule)
            self.assertEqual(
                result.problems, [], f"{schedule.describe()}: make simulate SEED={schedule.seed} shows it again"
            )
            results.append(result)
        return results

    def test_fixed_seeds(self) -> None:
        # Two new processes, because earlier runs in this one may shift the times of a few.
        others = [self.start_again(hashes) for hashes in ("1", "7")]
        self.hold(*map(small, range(FIXED_SEEDS)))
        one, two = (other.communicate(timeout=TEST_LIMIT_SECONDS)[0].splitlines() for other in others)
        self.assertEqual(len(one), SAME_SEEDS)
        self.assertEqual(one, two, "seeds and traces")

    def start_again(self, hashes: str) -> subprocess.Popen[str]:
        """Start a process that runs fixed seeds. hashes: decides about the hashes of texts there."""
        other = subprocess.Popen(
            [sys.executable, "-c", AGAIN, str(SAME_SEEDS)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hashes},
            cwd=Path(tandemd.__file__).parent.parent,
        )
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        return other

    def test_mended_seeds(self) -> None:
        self.hold(*map(small, MENDED_SEEDS))

    def test_new_seeds(self) -> None:
        first = random.SystemRandom().randrange(10**9)
        print(f"from seed {first}")
        self.hold(*map(small, range(first, first + NEW_SEEDS)))

    def test_a_large_schedule(self) -> None:
        self.hold(large(1))


class TraceTests(SynchronousTestCase):
    timeout = TEST_LIMIT_SECONDS

    def test_the_same_trace_twice(self) -> None:
        for seed in range(3):
            one, two = run(small(seed), keeps_trace=True), run(small(seed), keeps_trace=True)
            self.assertGreater(len(one.trace), 100)
            self.assertEqual(one.trace, two.trace)
            self.assertEqual({one.digest, two.digest}, {run(small(seed)).digest})


class MemoryTests(SynchronousTestCase):
    timeout = TEST_LIMIT_SECONDS

    def test_a_run_leaves_no_world_in_memory(self) -> None:
        def count() -> int:
            gc.collect()
            return sum(type(it) is World for it in gc.get_objects())

        before = count()
        for seed in range(3):
            run(small(seed))
        self.assertEqual(count(), before)


class GuardTests(SynchronousTestCase):
    """A simulation that asks the real world fails."""

    def test_every_source_of_reality_raises(self) -> None:
        world = World(1)
        sources: tuple[tuple[Any, str, tuple[Any, ...]], ...] = (
            (time, "time", ()),
            (time, "monotonic", ()),
            (os, "urandom", (1,)),
            (secrets, "token_hex", (1,)),
            (random, "random", ()),
            (uuid, "uuid4", ()),
            (threading.Thread(target=int), "start", ()),
        )
        with simulated(world, lambda: 0.0):
            for owner, name, arguments in sources:
                with self.assertRaises(RealityError):
                    getattr(owner, name)(*arguments)
        for owner, name, arguments in sources:
            getattr(owner, name)(*arguments)

    def test_tandemd_imports_modules_and_not_their_sources(self) -> None:
        """A name like `from time import time` would be out of the guard's reach."""
        found = [
            f"{path}: {line}"
            for path in Path(tandemd.__file__).parent.rglob("*.py")
            for line in path.read_text(encoding="utf-8").splitlines()
            if re.match(r"from (time|secrets|uuid|threading) import", line)
            or (re.match(r"from random import", line) and not re.fullmatch(r"from random import [\w, ]*Random", line))
        ]
        self.assertEqual(found, [])


class WorldTests(SynchronousTestCase):
    """Time and machines."""

    def setUp(self) -> None:
        self.world = World(1)
        self.seen: list[str] = []

    def test_events_of_a_machine_keep_their_order(self) -> None:
        machine, other = Machine(self.world, "a"), Machine(self.world, "b")
        for number in range(10):
            machine.callLater(1.0, self.seen.append, f"a{number}")
            other.callLater(1.0, self.seen.append, f"b{number}")
        self.world.pass_time(2.0)
        self.assertEqual([name for name in self.seen if name[0] == "a"], [f"a{number}" for number in range(10)])
        self.assertEqual(len(self.seen), 20)

    def test_a_frozen_machine_goes_on_later_and_a_dead_one_never(self) -> None:
        machine, other = Machine(self.world, "a"), Machine(self.world, "b")
        machine.callLater(1.0, self.seen.append, "frozen")
        other.callLater(1.0, self.seen.append, "dead")
        machine.freeze()
        other.kill()
        self.world.pass_time(5.0)
        self.assertEqual(self.seen, [])
        machine.thaw()
        self.world.pass_time(0.0)
        self.assertEqual(self.seen, ["frozen"])

    def test_a_call_is_moved_and_cancelled(self) -> None:
        machine = Machine(self.world, "a")
        moved, cancelled = (
            machine.callLater(1.0, self.seen.append, "moved"),
            machine.callLater(1.0, self.seen.append, ""),
        )
        moved.reset(3.0)
        cancelled.cancel()
        self.world.pass_time(2.0)
        self.assertEqual(self.seen, [])
        self.world.pass_time(2.0)
        self.assertEqual(self.seen, ["moved"])
        self.assertFalse(moved.active())

    def test_an_error_is_a_problem(self) -> None:
        Network(self.world)
        Machine(self.world, "a").callLater(1.0, lambda: 1 / 0)
        self.world.pass_time(2.0)
        self.assertIn("ZeroDivisionError", self.world.problems[0])


class _Reader(Protocol):
    """Keeps the bytes that it reads."""

    def __init__(self) -> None:
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class _Single(ClientFactory):
    """Makes one protocol object."""

    def __init__(self, protocol: Protocol) -> None:
        self._only = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._only


class NetworkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = world = World(1)
        network, near, far = Network(world), Machine(world, "near"), Machine(world, "far")
        self.reader, sender = _Reader(), Protocol()
        network.listen(far, 1, _Single(self.reader))
        network.connect(near, 1, _Single(sender), 1.0, "")
        world.pass_time(1.0)
        self.side: Any = sender.transport

    def test_bytes_keep_their_order_while_a_side_is_held(self) -> None:
        self.side.write(b"1")
        self.side.hold()
        self.side.write(b"2")
        self.world.pass_time(1.0)  # the first one arrives while the side is held
        self.side.write(b"3")
        self.side.release()
        self.side.write(b"4")
        self.world.pass_time(1.0)
        self.assertEqual(self.reader.data, b"1234")

    def test_nothing_arrives_after_a_cut(self) -> None:
        self.side.write(b"1")
        self.side.cut()
        self.side.write(b"2")
        self.world.pass_time(1.0)
        self.assertEqual(self.reader.data, b"")


class MinimiseTests(SynchronousTestCase):
    def test_what_does_not_matter_is_dropped(self) -> None:
        schedule = large(5)
        culprit = Fault("kill_node", 1.0, 1.0, 0)
        schedule = Schedule(**{**_fields(schedule), "rounds": (*schedule.rounds, (schedule.rounds[0] + (culprit,)))})
        fails = lambda it: any(culprit in round_ for round_ in it.rounds)  # noqa: E731
        found = minimised(schedule, fails, most=1000)
        self.assertEqual(found.rounds, ((culprit,),))
        self.assertEqual([sum(room) for room in found.layout], [2])


def _fields(schedule: Schedule) -> dict[str, Any]:
    return {name: getattr(schedule, name) for name in schedule.__dataclass_fields__}
