"""Three nodes, Redis and PostgreSQL as processes: a smoke test, and the faults that the simulation does not express.

`make chaos` draws from all faults, for hours and with more people. `make simulate` has the faults of Redis, links and nodes.
"""

from __future__ import annotations

import os
import random
import signal
import time

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from ..support.patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS
from . import faults, serverfaults
from .client import NewClient, OldClient
from .cluster import Cluster
from .faults import Fault, Stage
from .party import Party
from .run import finish

SEED = int(os.environ.get("TANDEMD_TEST_SEED", "1"))
"""Of the commands, and of the choice of nodes. How they meet depends on the machine too: histories are kept."""


class ChaosTestCase(TestCase):
    """Has a running cluster."""

    timeout = 2 * TEST_LIMIT_SECONDS
    environ: dict[str, str] = {}

    async def setUp(self) -> None:  # type: ignore[override]
        self.cluster = Cluster(reactor, 3, **self.environ)
        self.addCleanup(self.cluster.remove)
        self.addCleanup(self.cluster.stop)
        await self.cluster.start()

    async def party(self, *layout: tuple[int, int], rate: float = 4.0, kinds: dict[str, int] | None = None) -> Party:
        """Have people come in; for each room (new clients, old clients)."""
        party = Party(reactor, self.cluster.choice, layout, SEED, rate, kinds)
        self.addCleanup(party.stop)
        await party.begin()
        return party

    async def judge(self, party: Party, *, redis_lost: bool = False) -> None:
        """Fail if the checker has anything against it. redis_lost: whether Redis has lost its data."""
        problems = await finish(self.cluster, party, may_renew=redis_lost, may_lose=redis_lost)
        self.assertEqual(problems, [], "\n".join(party.reports))

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over all nodes that are not frozen."""
        total = 0.0
        for node in self.cluster.nodes:
            if not node.accepts:
                continue
            response = await treq.get(f"http://127.0.0.1:{node.port}/metrics", persistent=False)
            for line in (await response.text()).splitlines():
                if line.startswith(name) and line[len(name)] in " {":
                    total += float(line.split()[-1])
        return total

    async def counts(self, name: str) -> None:
        """Wait until a metric is more than 0: nodes look at some things every second or less often."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not await self.metric(name):
            self.assertLess(time.monotonic(), end, name)
            await deferLater(reactor, 0.1)


class FaultTests(ChaosTestCase):
    """Faults, one after another. Old and new clients, in rooms of their own and together."""

    async def test_nothing_is_lost(self) -> None:
        party = await self.party((6, 0), (3, 3), (0, 6))
        stage = Stage(reactor, self.cluster, party, random.Random(SEED))
        party.load()

        async def one(fault: Fault) -> None:
            await fault(stage)
            await party.settled(fault.__name__)

        # None of these costs a client a commit, nor the room its epoch.
        for fault in (faults.kill_subscriptions, faults.cut_redis, faults.black_hole):
            await one(fault)
        await one(faults.kill_node)
        await faults.start_nodes(stage)
        await party.settled("a node is back")
        await self.cluster.stop_postgres()
        # No client may notice, not even while it is away.
        await party.settled("PostgreSQL is away")
        for name in ("journal_entries", "journal_age_seconds", "archive_failures_total"):
            await self.counts(f"tandemd_{name}")
        await self.cluster.start_postgres()
        await one(faults.kill_postgres_connections)
        await one(faults.restart_worker)
        for name in (
            "commits_total", "commit_batch_size_count", "room_catchups_total", "pubsub_canary_age_seconds",
            "pubsub_reconnects_total", "archive_batch_events_count", "db_queue_wait_seconds_count", "db_transaction_seconds_count",
        ):  # fmt: skip
            await self.counts(f"tandemd_{name}")
        await self.judge(party)


class LossTests(ChaosTestCase):
    """The real Redis comes back with older data while a process of a node is stopped."""

    async def test_nothing_is_lost_that_redis_or_a_frozen_node_has_lost(self) -> None:
        party = await self.party((5, 0), (3, 3), (0, 4))
        stage = Stage(reactor, self.cluster, party, random.Random(SEED + 1))
        party.load()
        frozen = stage.node()
        frozen.freeze()
        for fault in (faults.freeze_redis, faults.restart_redis_older):
            await fault(stage)
            await party.settled(fault.__name__, aside=frozen.port)
        # Time in which Redis was away does not count: only now is the node taken for dead, and its members for lost.
        await self.counts("tandemd_node_takeovers_total")
        frozen.thaw()
        await party.settled("freeze_node")
        await self.counts("tandemd_commit_retries_total")
        await self.judge(party, redis_lost=True)


class DatabaseTests(ChaosTestCase):
    """PostgreSQL is locked, read-only, or rejects rows. Rooms end and begin again meanwhile."""

    async def test_no_client_notices(self) -> None:
        """Not even while a fault lasts."""
        party = await self.party((6, 0), (3, 3))
        stage = Stage(reactor, self.cluster, party, random.Random(SEED))
        party.load()
        for fault in serverfaults.DATABASE:
            happening = Deferred.fromCoroutine(fault(stage))  # type: ignore[arg-type]
            await party.settled(f"during {fault.__name__}")
            await happening
            await party.settled(fault.__name__)
        await serverfaults.end_rooms(stage)
        await self.judge(party)


class ContentionTests(ChaosTestCase):
    """Many want the same room."""

    environ = {"TANDEMD_LIMITS_MEMBERS_PER_ROOM": "400"}
    PEOPLE, CONTROLLERS, COMMANDS = 300, 20, 10

    async def test_all_come_at_once_and_many_control(self) -> None:
        party = await self.party((self.PEOPLE, 0))
        controllers = list(party.clients[:: self.PEOPLE // self.CONTROLLERS])
        self.assertEqual(len({client.port for client in controllers}), 3)
        for number in range(self.COMMANDS):
            for client in controllers:
                assert isinstance(client, NewClient)
                if number % 2:
                    client.do("CHAT", text=f"from {client.user} {number}")
                else:
                    client.do("PLAY_PAUSE", control="pause", currentTime=party.unique() + 0.25)
        await party.quiet()
        await party.settled("all were busy")
        for client in controllers:
            assert isinstance(client, NewClient)
            self.assertEqual(len(client.acked), client._ids)
        self.assertGreater(await self.metric("tandemd_commit_conflicts_total"), 0)
        await self.judge(party)


class RestartTests(ChaosTestCase):
    """Every node is restarted, one after another, as with a new version."""

    DRAIN = 1.5
    environ = {"TANDEMD_DRAIN_SECONDS": str(DRAIN)}

    async def test_no_member_notices(self) -> None:
        party = await self.party(
            (30, 0), (8, 8), (0, 10), kinds={"CHAT": 4, "OFFER": 1, "UPDATE_USERNAME": 1}, rate=10.0
        )
        for members in party.rooms.values():
            host = next(client for client in members if client.host == client.user)
            if not isinstance(host, OldClient):  # an old client's page plays by itself
                host.say("PLAY_PAUSE", control="play", currentTime=100.0)
        guests = [client for client in party.clients if client.host != client.user]
        plays = lambda client: any(message.get("isPlaying") for message in client.history.heard())  # noqa: E731
        await party.clock.until(lambda: all(map(plays, guests)))
        self.assertEqual([client.user for client in guests if not plays(client)], [])
        party.load()
        await party.settled("all play")
        # By the second heartbeat, each node knows the others.
        for _ in range(2):
            before = self.beats()
            await party.clock.until(
                lambda before=before: all(at > before.get(node, 0) for node, at in self.beats().items())
            )
        heard_before = {id(client): len(client.history.entries) for client in party.clients}
        for node in self.cluster.nodes:
            await node.stop()
            self.assertEqual(node.process.status, -signal.SIGTERM)
            await node.start()
            await party.settled(f"{node.name} is new")
        for client in party.clients:
            for _, kind, message in client.history.entries[heard_before[id(client)] :]:
                if kind == "heard":
                    self.assertNotIn(message["type"], ("USER_LEFT", "LEAVE", "SEEK_PAUSE"), message)
                    self.assertNotEqual(message.get("control"), "pause", message)
                    self.assertNotEqual(message.get("isPlaying"), False, message)
        # Each was sent away once or more, and told when its turn was: one after another over the time for it.
        for client in party.clients:
            codes = [data for history in client.histories for _, kind, data in history.entries if kind == "lost"]
            self.assertEqual(set(codes), {1012})
        turns = {
            message["reconnectAfterMs"]
            for client in party.clients
            for _, _, message in client.history.entries
            if isinstance(message, dict) and message.get("type") == "SERVER_RESTART"
        }
        self.assertGreater(len(turns), 6)
        self.assertLess(max(turns), 1000 * self.DRAIN)
        await self.judge(party)

    def beats(self) -> dict[str, float]:
        """Return when each node has given its last sign of life, by Redis' clock."""
        told = self.cluster.ask_redis("ZRANGE", "tandem:nodes", "0", "-1", "WITHSCORES")
        return dict(zip(told[::2], map(float, told[1::2]), strict=True))
