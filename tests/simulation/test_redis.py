"""The simulated Redis: the contract of the store, on simulated time, as on a real Redis.

tests/store/test_contract.py shows the same tests of a real server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, cast

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.metrics import NodeMetrics
from tandemd.store.redis.spool import Quarantine, Spool
from tandemd.store.redis.store import RedisStore
from tests.support.settings import redis_settings

from ..store import test_contract
from ..support import redis_nodes
from ..support.redis_nodes import FakeArchive, Recorder
from .guard import simulated
from .network import Network
from .redis import Redis
from .world import Machine, World

LIMIT_SECONDS = 600.0


class _Contract(test_contract.StoreContract):
    """The contract, with a world for each test."""

    world: World

    async def make(self) -> Any:
        return await self.node("a/1/", log_length=self.LOG)

    async def node(self, name: str = "a/1/", **settings: Any) -> Any:
        """Return a running store."""
        machine: Any = Machine(self.world, name)
        metrics = NodeMetrics("test", name).store
        spool = Spool("/nowhere/spool", Quarantine("/nowhere/unreadable", metrics), metrics)
        store = RedisStore(
            machine,
            UNIXClientEndpoint(machine, self.redis.address),
            {"random": self.world.random(name)},
            name,
            redis_settings(**{"offer_seconds": 0.1, **settings}),
            FakeArchive(),
            metrics,
            spool,
        )
        store.set_event_handler(Recorder())
        await store.startService()
        return store

    redis: Redis


class SimulatedContractTest(_Contract, SynchronousTestCase):
    """Runs each test of the contract as a coroutine in a world."""

    def setUp(self) -> None:
        self.world = World(self.id())
        Network(self.world)
        self.redis = Redis(self.world, Machine(self.world, "redis"))
        clock: Any = self.world.outside
        # The helpers of the contract wait on this reactor.
        self.patch(test_contract, "reactor", clock)
        self.patch(redis_nodes, "reactor", clock)


def _synchronous(name: str, test: Callable[[Any], Any]) -> Callable[[SimulatedContractTest], None]:
    @functools.wraps(test)
    def run(self: SimulatedContractTest) -> None:
        with simulated(self.world, self.redis.time):
            self.world.run(test(self), LIMIT_SECONDS)
        self.assertEqual(self.world.problems, [])

    return run


for _name in [name for name in dir(test_contract.StoreContract) if name.startswith("test_")]:
    setattr(SimulatedContractTest, _name, _synchronous(_name, getattr(test_contract.StoreContract, _name)))


class RespTest(SynchronousTestCase):
    """Faults of the server: memory, restarts, scripts."""

    data: ClassVar[bytes] = b"value"

    def setUp(self) -> None:
        self.world = World(1)
        Network(self.world)
        self.redis = Redis(self.world, Machine(self.world, "redis"))

    def ask(self, *words: bytes) -> Any:
        with simulated(self.world, self.redis.time):
            return self.redis.ask(*words)

    def test_without_memory_it_refuses_what_needs_some(self) -> None:
        self.ask(b"SET", b"key", self.data)
        self.redis.full = True
        self.assertIn("OOM", cast(Any, self.ask(b"SET", b"key", b"other")).value)
        self.assertEqual(self.ask(b"GET", b"key"), self.data)
        self.assertEqual(self.ask(b"DEL", b"key"), 1)

    def test_a_script_that_has_written_may_write_more(self) -> None:
        self.redis.full = True
        refused = self.ask(b"EVAL", b"redis.call('SET', 'a', '1')", b"0")
        self.assertIn("OOM", refused.value)
        self.ask(b"EVAL", b"redis.call('SREM', 'b', '1') redis.call('SET', 'a', '1')", b"0")
        self.assertEqual(self.ask(b"GET", b"a"), b"1")

    def test_it_restarts_with_all_older_or_no_data(self) -> None:
        for data, found in ((self.redis.data, b"2"), (self.redis.older, b"1"), (dict, None)):
            self.ask(b"SET", b"key", b"1")
            self.redis.keep()
            self.ask(b"SET", b"key", b"2")
            run_id, kept = self.redis.run_id, cast(Any, data)()
            with simulated(self.world, self.redis.time):
                self.redis.stop()
                self.redis.start(kept)
            self.assertEqual(self.ask(b"GET", b"key"), found)
            self.assertNotEqual(self.redis.run_id, run_id)

    def test_keys_expire_on_simulated_time(self) -> None:
        self.ask(b"SET", b"key", self.data, b"EX", b"10")
        self.world.now = 9.0
        self.assertEqual(self.ask(b"GET", b"key"), self.data)
        self.world.now = 11.0
        self.assertIsNone(self.ask(b"GET", b"key"))
