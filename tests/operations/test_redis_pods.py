"""The scripts that run the three Redis of k8s/components/redis-sentinel, with real servers.

A pod is a directory and a loopback address of its own here; the ports and everything else are as in the cluster.
"""

from __future__ import annotations

import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from ..support.patience import PATIENCE_SECONDS, until, wait_for_end
from ..support.private_servers import die_with_parent, redis_program

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent.parent / "k8s/components/redis-sentinel"
PASSWORD = "p" * 64


class Pod:
    """One of the pods. running: its processes by role."""

    def __init__(self, number: int, home: pathlib.Path, hosts: str, path: str):
        self.address = hosts % number
        self.data = home / f"data{number}"
        run = home / f"run{number}"
        for directory in (self.data, run):
            directory.mkdir()
        self.environ = {
            "PATH": path,
            "HOSTS": hosts,
            "ME": str(number),
            "BIND": self.address,
            "CONFIG": str(SCRIPTS),
            "DATA": str(self.data),
            "RUN": str(run),
            "PASSWORD_FILE": str(home / "password"),
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *roles: str) -> None:
        for role in roles or ("redis", "sentinel"):
            with open(self.data / f"{role}.log", "ab") as log:
                self.running[role] = subprocess.Popen(
                    ["sh", str(SCRIPTS / "start.sh"), role],
                    env=self.environ,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
                )

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            wait_for_end(process)
        self.running.clear()

    def stop(self) -> None:
        """End it as Kubernetes does: preStop, then the signal, once."""
        command = ["sh", str(SCRIPTS / "stop.sh")]
        subprocess.run(command, env=self.environ, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_SECONDS)
        for process in self.running.values():
            process.terminate()
            wait_for_end(process)
        self.running.clear()

    def ask(self, *command: str, port: int = 6379) -> list[str]:
        """Return the lines of the answer; none without a server."""
        done = subprocess.run(
            ["redis-cli", "-h", self.address, "-p", str(port), "--raw", *command],
            env={**self.environ, "REDISCLI_AUTH": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        return done.stdout.splitlines() if done.returncode == 0 else []


class RedisPodsTest(SynchronousTestCase):
    def setUp(self) -> None:
        # Short: and nothing of a test directory that only root may enter.
        home = pathlib.Path(tempfile.mkdtemp(prefix="pods-"))
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        (home / "password").write_text(PASSWORD + "\n")
        hosts = f"127.{secrets.randbelow(200) + 10}.{secrets.randbelow(250)}.%d"
        # The scripts use printf, whose %s is the same for a number.
        path = f"{os.path.dirname(redis_program())}:/usr/bin:/bin"
        self.pods = [Pod(number, home, hosts, path) for number in range(3)]
        for pod in self.pods:
            pod.environ["HOSTS"] = hosts.replace("%d", "%s")
            self.addCleanup(pod.kill)

    def until(self, what: str, condition: Callable[[], object]) -> None:
        """Wait for events that servers start in their own time."""
        until(what, condition, self.logged)

    def logged(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(
            f"{log.parent.name}/{log.name}: {log.read_text(errors='replace')[-500:]}"
            for pod in self.pods
            for log in pod.data.glob("*.log")
        )

    def agreed(self) -> str:
        """Return the address that all sentinels that run take for the master's, '' if they do not agree."""
        told = {
            tuple(pod.ask("sentinel", "get-master-addr-by-name", "tandemd", port=26379)[:1])
            for pod in self.pods
            if pod.running
        }
        return next(iter(told))[0] if len(told) == 1 and next(iter(told)) else ""

    def complete(self) -> bool:
        """Whether the master has both replicas, and each sentinel knows of the others and of both replicas."""
        master = next((pod for pod in self.pods if pod.address == self.agreed()), None)
        if master is None or (master.ask("role") or [""])[0] != "master":
            return False
        if "connected_slaves:2" not in master.ask("info", "replication"):
            return False
        for pod in self.pods:
            known = pod.ask("sentinel", "master", "tandemd", port=26379)
            facts = dict(zip(known[::2], known[1::2], strict=False))
            if (facts.get("num-other-sentinels"), facts.get("num-slaves")) != ("2", "2"):
                return False
        return True

    def test_a_stop_while_redis_writes_its_first_aof(self) -> None:
        pod = self.pods[0]
        pod.start("redis")
        self.until("an answer", lambda: pod.ask("ping") == ["PONG"])
        self.assertEqual(pod.ask("config", "set", "min-replicas-to-write", "0"), ["OK"])
        for number in range(15):
            self.assertEqual(pod.ask("set", f"key{number}", "1"), ["OK"])
        # A second for each key: longer than the script waits for another master.
        for name, value in (("rdb-key-save-delay", "1000000"), ("appendonly", "no"), ("appendonly", "yes")):
            self.assertEqual(pod.ask("config", "set", name, value), ["OK"])
        pod.stop()
        self.assertIn("Writing initial AOF, can't exit", (pod.data / "redis.log").read_text())

    def test_life(self) -> None:
        first, second, third = self.pods
        # All at once, as it is the first time.
        for pod in self.pods:
            pod.start()
        self.until("a master with two replicas", self.complete)
        self.assertEqual(self.agreed(), first.address)
        self.assertEqual(first.ask("set", "room", "1"), ["OK"])
        self.until("the value everywhere", lambda: all(pod.ask("get", "room") == ["1"] for pod in (second, third)))

        # The master is stopped in order: another server is master before it is gone, and no client misses it.
        first.stop()
        master = next(pod for pod in self.pods if pod.address == self.agreed())
        self.assertIsNot(master, first)
        self.assertEqual(master.ask("role")[0], "master")

        # It comes back as one of the others, and gets the missed writes.
        self.until("writes without the third", lambda: master.ask("set", "room", "2") == ["OK"])
        first.start()
        self.until("the old master as a replica", self.complete)
        self.assertEqual(self.agreed(), master.address)
        self.assertEqual(first.ask("get", "room"), ["2"])

        # Everything fails at once, and starts at once: the master is the same, with the same data.
        for pod in self.pods:  # acknowledged writes are on disk, at the latest when an fsync that is under way is over
            self.until("a written AOF", lambda pod=pod: "aof_buffer_length:0" in pod.ask("info", "persistence"))
        for pod in self.pods:
            pod.kill()
        for pod in self.pods:
            pod.start()
        self.until("the same master", self.complete)
        self.assertEqual(self.agreed(), master.address)
        self.assertEqual(master.ask("get", "room"), ["2"])

        # Without a replica the master takes nothing: it may be the one that is cut off.
        others = [pod for pod in self.pods if pod is not master]
        for pod in others:
            pod.kill()
        self.until("a refusal", lambda: master.ask("set", "room", "3")[:1] != ["OK"])
        self.assertIn("NOREPLICAS", " ".join(master.ask("set", "room", "3")))
