"""The wall clock of a running process is set, and nothing that is timed notices: real processes, see wallclock/shift.c."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from tandemd.util.server_time import SLEW

from ..support import private_servers
from ..support.daemon_process import Client, Daemon, DaemonTestCase, Json

SOURCE = pathlib.Path(__file__).parent.parent / "support/wallclock" / "shift.c"
TITLE = "https://www.netflix.com/watch/1"
DATABASE = "wallclock"
GRACE = 3.0
HEARTBEAT = 1.0
DEADLINE = 2.0
ROUNDING = 0.002
"""Seconds: timestamps are whole milliseconds."""


@functools.cache
def library(directory: str) -> str:
    """Compile shift.c into a directory and return the path of the result. Raises SkipTest where that is impossible."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SkipTest("no C compiler (cc) to shift a process's wall clock with")
    path = os.path.join(directory, "shift.so")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", path, str(SOURCE), "-ldl"], check=True)
    return path


class Wall:
    """The wall clock of some processes. environ: the variables for their start."""

    def __init__(self, directory: pathlib.Path, name: str, seconds: float = 0.0):
        self._file = directory / f"{name}.wall"
        self.seconds = 0.0
        self._file.write_bytes(bytes(8))
        self.set_by(seconds)
        self.environ = {"LD_PRELOAD": library(str(directory)), "TANDEMD_TEST_WALL": str(self._file)}

    def set_by(self, seconds: float) -> None:
        """Set the clock, forward or back, from the processes' next reading on."""
        self.seconds += seconds
        with open(self._file, "r+b") as file:
            file.write(int(self.seconds * 1e9).to_bytes(8, "little", signed=True))

    def now(self) -> float:
        return time.time() + self.seconds


class WalledRedis(private_servers.Redis):
    """A server with a wall clock of its own."""

    def __init__(self, wall: Wall):
        self._environ = [f"{name}={value}" for name, value in wall.environ.items()]
        super().__init__()

    def _spawn(self, command: Sequence[str], answers: Callable[[], bool], **options: Any) -> None:
        super()._spawn(["/usr/bin/env", *self._environ, *command], answers, **options)


class Reading:
    """Server time as a client learns it: `at`, in a reply that came between two readings of the monotonic clock."""

    def __init__(self, asked: float, at: float, answered: float):
        self.asked = asked
        self.at = at
        self.answered = answered

    @classmethod
    async def of(cls, client: Client) -> Reading:
        asked = time.monotonic()
        client.say("PING")
        at = (await client.hear("PONG"))["timestamp"] / 1000
        return cls(asked, at, time.monotonic())


class WallTestCase(DaemonTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tandemd-wall-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.state = self.home / "state"
        self.rules = {
            "TANDEMD_ROOMS_GRACE": f"{GRACE}s",
            "TANDEMD_ROOMS_GATE_DEADLINE": f"{DEADLINE}s",
            "TANDEMD_ROOMS_HEARTBEAT": f"{HEARTBEAT}s",
            # The clients send one position each, and the film stands still while no member watches.
            "TANDEMD_ROOMS_WATCHING_TIMEOUT": "60s",
        }

    def assertKept(self, before: Reading, after: Reading) -> None:
        """Server time has gone on between two readings, as fast as it may."""
        least, most = after.asked - before.answered, after.answered - before.asked
        self.assertGreaterEqual(after.at - before.at, (1 - SLEW) * least - ROUNDING)
        self.assertLessEqual(after.at - before.at, (1 + SLEW) * most + ROUNDING)

    def assertAgree(self, one: Reading, other: Reading) -> None:
        """Two nodes have the same server time, as far as can be seen, and but for half of an exchange with Redis."""
        self.assertGreaterEqual(other.at - one.at, other.asked - one.answered - 1.0)
        self.assertLessEqual(other.at - one.at, other.answered - one.asked + 1.0)

    async def party(self, host: Client, guest: Client) -> None:
        """Have ann and bob watch: the film plays from 100 s on."""
        await host.join("room", "ann")
        await guest.join("room", "bob")
        await host.do("URL_CHANGE", url=TITLE)
        await host.do("PLAY_PAUSE", control="play", currentTime=100)
        self.began = await guest.hear("PLAY_PAUSE", control="play")
        for client in (host, guest):
            client.say("POSITION_UPDATE", currentTime=100, isPlaying=True)
        await Reading.of(host)

    async def beats(self, guest: Client, count: int = 2) -> None:
        """Hear heartbeats: each as long after the one before as it should be, and where the film is at its time."""
        last = 0.0
        for _ in range(count):
            beat = await guest.hear("HOST_HEARTBEAT")
            at = beat["timestamp"] / 1000
            self.assertGreaterEqual(at, last + HEARTBEAT - ROUNDING)
            elapsed = (beat["timestamp"] - self.began["timestamp"]) / 1000
            self.assertTrue(abs(beat["currentTime"] - self.began["currentTime"] - elapsed) < 0.5, (beat, elapsed))
            last = at

    async def gate(self, host: Client, guest: Client) -> None:
        """Seek, and have a member keep silent: the gate opens all the same."""
        await host.do("SEEK", currentTime=500, isPlaying=True)
        await guest.hear("SEEK_PAUSE", by="ann")
        host.say("READY", targetTime=500)
        self.began = await guest.hear("PLAY_PAUSE", control="play", userId="server", currentTime=500)

    async def lose(self, daemon: Daemon) -> Deferred[None]:
        """Lose a member on a node; the result fires when its grace period has ended, and fails if that was too early."""
        cy, watcher = await self.connect(daemon), await self.connect(daemon)
        await watcher.join("room", "watcher")
        await cy.join("room", "cy")
        lost_at = time.monotonic()
        cy.dropConnection(abort=True)
        await Reading.of(watcher)
        return watcher.hear("USER_LEFT", userId="cy").addCallback(self.assertGone, lost_at)

    def assertGone(self, told: Json, lost_at: float) -> None:
        """A member is gone, and was not before its time."""
        self.assertGreaterEqual(time.monotonic() - lost_at, GRACE / (1 + SLEW) - ROUNDING)

    async def healthy(self, daemon: Daemon, wall: Callable[[], float] = time.time) -> None:
        """The node is ready, and reports the truth."""
        body = await self.until_ready(daemon)
        self.assertNotIn("warnings", json.loads(body))
        before = wall()
        told = json.loads((await self.get(f"http://127.0.0.1:{daemon.port}/status"))[1])
        self.assertTrue(before - 0.01 <= told["timestamp"] / 1000 <= wall() + 0.01, told)
        self.assertTrue(0 <= told["uptime"] < 590, told)

    def assertPlausible(self, daemon: Daemon) -> None:
        """No line of the log tells of a duration that cannot be."""
        for line in daemon.log:
            self.assertNotIn(line["level"], ("error", "critical"), line)
            self.assertNotIn("after -", line["message"])


class OneNodeTests(WallTestCase):
    async def set_by(self, seconds: float) -> None:
        wall = Wall(self.home, "node")
        daemon = await self.running(**wall.environ, **self.rules)
        ann, bob = await self.connect(daemon), await self.connect(daemon)
        await self.party(ann, bob)
        before = await Reading.of(bob)
        gone = await self.lose(daemon)
        wall.set_by(seconds)
        changed = await Reading.of(bob)
        await self.beats(bob)
        await gone
        await self.gate(ann, bob)
        await self.beats(bob)
        for user in ("dan", "eve"):
            newcomer = await self.connect(daemon)
            state = await newcomer.join("room", user)
            self.assertEqual(state["url"], TITLE)
        after = await Reading.of(bob)
        self.assertKept(before, after)
        self.assertKept(changed, after)
        # It has begun to follow: for a fifth of the time at least.
        least, most = after.asked - changed.answered, after.answered - changed.asked
        followed = SLEW / 5 * least
        if seconds < 0:
            self.assertLess(after.at - changed.at, most - followed)
        else:
            self.assertGreater(after.at - changed.at, least + followed)
        await self.healthy(daemon, wall.now)
        # Stored rooms are of this time on the next start too, with any clock.
        before = await Reading.of(bob)
        daemon.kill(signal.SIGTERM)
        self.assertEqual(await daemon.ended(), -signal.SIGTERM)
        self.assertPlausible(daemon)
        started_at = time.monotonic()
        daemon = await self.running(**wall.environ, **self.rules)
        watcher, fay = await self.connect(daemon), await self.connect(daemon)
        await watcher.join("room", "another watcher")
        state = await fay.join("room", "fay")
        gone = watcher.hear("USER_LEFT", userId="bob").addCallback(self.assertGone, started_at)
        self.assertTrue(state["isPlaying"])
        self.assertGreaterEqual((await Reading.of(fay)).at, before.at)
        first = await fay.hear("HOST_HEARTBEAT")
        second = await fay.hear("HOST_HEARTBEAT")
        elapsed = (second["timestamp"] - first["timestamp"]) / 1000
        self.assertGreaterEqual(elapsed, HEARTBEAT - ROUNDING)
        self.assertTrue(abs(second["currentTime"] - first["currentTime"] - elapsed) < 0.01, (first, second))
        await gone
        await self.healthy(daemon, wall.now)

    def test_set_back(self) -> Any:
        return self.set_by(-600.0)

    def test_set_forward(self) -> Any:
        return self.set_by(3600.0)


class TwoNodesTests(WallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.postgres = private_servers.postgresql()
        self.postgres.create(DATABASE)
        self.addCleanup(self.postgres.drop, DATABASE)
        self.redis_wall = Wall(self.home, "redis")
        self.redis = WalledRedis(self.redis_wall)
        self.addCleanup(self.redis.stop)

    async def node(self, name: str, wall: Wall | None = None) -> Daemon:
        return await self.running(
            "--state-dir",
            str(self.home / name),
            NODE_ID=name,
            POSTGRES_HOST=self.postgres.directory,
            POSTGRES_USER="postgres",
            POSTGRES_DB=DATABASE,
            REDIS_HOST=self.redis.path,
            **self.rules,
            **(wall.environ if wall else {}),
        )

    async def test_one_node_is_set_back(self) -> None:
        """Also before it starts."""
        wall = Wall(self.home, "two", 30.0)
        one, two = await self.node("one"), await self.node("two", wall)
        ann, dan = await self.connect(one), await self.connect(one)
        bob = await self.connect(two)
        await self.party(ann, bob)
        await dan.join("room", "dan")
        before = await Reading.of(bob)
        self.assertAgree(await Reading.of(ann), before)
        gone = await self.lose(two)
        wall.set_by(-150.0)
        await bob.do("CHAT", text="said through the node whose clock was set")
        await self.beats(bob)
        await self.beats(dan)
        await gone
        await self.gate(ann, bob)
        await self.beats(bob)
        await dan.hear("PLAY_PAUSE", userId="server", currentTime=500)
        await self.beats(dan)
        after = await Reading.of(bob)
        self.assertKept(before, after)
        self.assertAgree(await Reading.of(ann), after)
        for daemon, clock in ((one, time.time), (two, wall.now)):
            eve = await self.connect(daemon)
            await eve.join("room", f"eve{daemon.port}")
            await self.healthy(daemon, clock)
            self.assertPlausible(daemon)
        self.assertNotIn("USER_LEFT", [it["type"] for it in ann.messages.seen if it.get("userId") != "cy"])

    async def redis_set_by(self, seconds: float) -> None:
        one, two = await self.node("one"), await self.node("two")
        ann, bob = await self.connect(one), await self.connect(two)
        await self.party(ann, bob)
        before = await Reading.of(ann), await Reading.of(bob)
        gone = await self.lose(two)
        self.redis_wall.set_by(seconds)
        for client in (ann, bob):
            await client.do("CHAT", text="said through either node")
        await self.beats(bob)
        await self.gate(ann, bob)
        await self.beats(bob)
        await gone
        after = await Reading.of(ann), await Reading.of(bob)
        self.assertKept(before[0], after[0])
        self.assertKept(before[1], after[1])
        self.assertAgree(*after)
        # A later node agrees with the present ones, not with a clock that they only approach.
        three = await self.node("three")
        eve = await self.connect(three)
        await eve.join("room", "eve")
        self.assertAgree(after[0], await Reading.of(eve))
        await eve.do("CHAT", text="hello")
        await bob.hear("CHAT", userId="eve")
        await self.beats(bob)
        for daemon in (one, two, three):
            await self.healthy(daemon)
            self.assertPlausible(daemon)

    def test_redis_is_set_back(self) -> Any:
        return self.redis_set_by(-60.0)

    def test_redis_is_set_forward(self) -> Any:
        return self.redis_set_by(60.0)
