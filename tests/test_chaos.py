"""Three nodes, Redis and PostgreSQL as processes, and everything that happens to them; nobody loses anything.

`make chaos` does this for long, with more people and faults at random.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
from collections.abc import Sequence

import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tandemd.roomstore.members import DEAD_AFTER
from tandemd.roomstore.redis import BEAT

from .chaos import faults
from .chaos.checker import History
from .chaos.client import NewClient, OldClient
from .chaos.cluster import Cluster
from .chaos.faults import Fault, Stage
from .chaos.party import Party
from .chaos.run import finish
from .patience import TEST_LIMIT_SECONDS

SEED = int(os.environ.get("TANDEMD_TEST_SEED", "1"))
"""Of what people do, and of the choice of nodes. How they meet depends on the machine too: histories are kept."""


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
        """Return the sum of a metric over all nodes."""
        total = 0.0
        for node in self.cluster.nodes:
            response = await treq.get(f"http://127.0.0.1:{node.port}/metrics", persistent=False)
            for line in (await response.text()).splitlines():
                if line.startswith(name) and line[len(name)] in " {":
                    total += float(line.split()[-1])
        return total


class FaultTests(ChaosTestCase):
    """Faults, one after another. Old and new clients, in rooms of their own and together."""

    async def test_nobody_loses_anything(self) -> None:
        party = await self.party((6, 0), (3, 3), (0, 6))
        stage = Stage(reactor, self.cluster, party, random.Random(SEED))
        party.load()

        async def one(fault: Fault) -> None:
            await fault(stage)
            await party.settled(fault.__name__)

        # None of these costs anybody a commit, nor the room its epoch.
        for fault in (faults.kill_subscriptions, faults.cut_redis, faults.black_hole):
            await one(fault)
        await one(faults.kill_node)
        await faults.start_nodes(stage)
        await party.settled("a node is back")
        await self.cluster.stop_postgres()
        # Nobody is to notice, not even while it is away.
        await party.settled("PostgreSQL is away")
        await deferLater(reactor, 1.2)  # every second a node looks at the journal
        for name in ("journal_entries", "journal_age_seconds", "archive_failures_total"):
            self.assertGreater(await self.metric(f"tandemd_{name}"), 0, name)
        await self.cluster.start_postgres()
        await one(faults.kill_postgres_connections)
        await one(faults.restart_worker)
        for name in (
            "commits_total", "commit_batch_size_count", "room_gaps_total", "pubsub_canary_age_seconds",
            "pubsub_reconnects_total", "archive_batch_events_count", "db_queue_seconds_count", "db_run_seconds_count",
        ):  # fmt: skip
            self.assertGreater(await self.metric(f"tandemd_{name}"), 0, name)
        await self.judge(party)


class LossTests(ChaosTestCase):
    """Redis loses data while a node is frozen."""

    async def test_nobody_loses_anything_that_redis_or_a_frozen_node_has_lost(self) -> None:
        party = await self.party((5, 0), (3, 3), (0, 4))
        stage = Stage(reactor, self.cluster, party, random.Random(SEED + 1))
        party.load()
        frozen = stage.node()
        frozen.freeze()
        for fault in (faults.freeze_redis, *faults.REDIS):
            await fault(stage)
            await party.settled(fault.__name__, aside=frozen.port)
        # Time in which Redis was away does not count: only now is the node taken for dead, and its members for lost.
        await stage.wait(DEAD_AFTER + BEAT + 1)
        frozen.thaw()
        await party.settled("freeze_node")
        for name in ("commit_retries_total", "node_takeovers_total"):
            self.assertGreater(await self.metric(f"tandemd_{name}"), 0, name)
        await self.judge(party, redis_lost=True)


class ContentionTests(ChaosTestCase):
    """Many want the same room."""

    environ = {"TANDEMD_LIMITS_MEMBERS_PER_ROOM": "400"}
    PEOPLE, CONTROLLERS, COMMANDS = 300, 20, 10

    async def test_all_come_at_once_and_many_control(self) -> None:
        party = await self.party((self.PEOPLE, 0))
        self.assertLess(party.clock.now, 20)
        controllers = list(party.clients[:: self.PEOPLE // self.CONTROLLERS])
        self.assertEqual(len({client.port for client in controllers}), 3)
        began = party.clock.now
        for number in range(self.COMMANDS):
            for client in controllers:
                assert isinstance(client, NewClient)
                if number % 2:
                    client.do("CHAT", text=f"from {client.user} {number}")
                else:
                    client.do("PLAY_PAUSE", control="pause", currentTime=party.unique() + 0.25)
        await party.quiet()
        await party.settled("all were busy")
        self.assertLess(party.clock.now - began, 15)
        for client in controllers:
            assert isinstance(client, NewClient)
            self.assertEqual(len(client.acked), client._ids)
        self.assertGreater(await self.metric("tandemd_commit_conflicts_total"), 0)
        await self.judge(party)


class RestartTests(ChaosTestCase):
    """Every node is restarted, one after another, as with a new version."""

    DRAIN = 1.5
    environ = {"TANDEMD_DRAIN_SECONDS": str(DRAIN)}

    async def test_nobody_notices(self) -> None:
        party = await self.party(
            (30, 0), (8, 8), (0, 10), kinds={"CHAT": 4, "OFFER": 1, "UPDATE_USERNAME": 1}, rate=10.0
        )
        for members in party.rooms.values():
            host = next(client for client in members if client.host == client.user)
            if not isinstance(host, OldClient):  # an old client's page plays by itself
                host.say("PLAY_PAUSE", control="play", currentTime=100.0)
        guests = [client for client in party.clients if client.host != client.user]
        plays = lambda client: any(message.get("isPlaying") for message in client.history.heard())  # noqa: E731
        await party.clock.until(lambda: all(map(plays, guests)), 15)
        self.assertEqual([client.user for client in guests if not plays(client)], [])
        party.load()
        await party.settled("all play")
        # By the second sign of life, each node knows that there are others.
        await deferLater(reactor, BEAT + 0.2)
        before = {id(client): len(client.history.entries) for client in party.clients}
        windows: list[tuple[float, float]] = []
        for node in self.cluster.nodes:
            began = reactor.seconds()  # type: ignore[attr-defined]
            await node.stop()
            self.assertEqual(node.process.status, -signal.SIGTERM)
            windows.append((began, reactor.seconds()))  # type: ignore[attr-defined]
            await node.start()
            await party.settled(f"{node.name} is new")
        for client in party.clients:
            for _, kind, message in client.history.entries[before[id(client)] :]:
                if kind == "heard":
                    self.assertNotIn(message["type"], ("USER_LEFT", "LEAVE", "SEEK_PAUSE"), message)
                    self.assertNotEqual(message.get("control"), "pause", message)
                    self.assertNotEqual(message.get("isPlaying"), False, message)
        for began, ended in windows:
            self.assertSpread([history.history for history in party.clients], began, ended)
        await self.judge(party)

    def assertSpread(self, histories: Sequence[History], began: float, ended: float) -> None:
        """Those who were sent away in this time were so evenly."""
        codes = [(time, data) for history in histories for time, kind, data in history.entries
                 if kind == "lost" and began <= time <= ended + 0.5]  # fmt: skip
        self.assertEqual({code for _, code in codes}, {1012})
        times = sorted(time for time, _ in codes)
        self.assertGreater(len(times), 6)
        self.assertLess(times[-1] - times[0], self.DRAIN + 1.5)
        step = self.DRAIN / len(times)
        gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
        self.assertLess(abs(statistics.mean(gaps) - step), 0.5 * step)
        self.assertLess(max(gaps), step + 1.0)
