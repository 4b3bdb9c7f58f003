"""The common parts of the e2e scripts: private PostgreSQL and Redis, nodes, nginx, and parties of two. Loopback only.

Everything is in one temporary directory and ends with the script.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from types import TracebackType

from tests.support.patience import PATIENCE_SECONDS
from tests.support.private_servers import PostgreSQL, Redis, free_port, nginx_program

ROOT = pathlib.Path(__file__).resolve().parent.parent

READY_WITHIN = PATIENCE_SECONDS


def say(text: str) -> None:
    """Tell the reader where we are."""
    print(f"== {text}", flush=True)


class Node:
    """One tandemd process, which may be stopped and started again."""

    def __init__(self, name: str, home: pathlib.Path, environ: dict[str, str]):
        self.name = name
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.log = home / f"{name}.log"
        self._environ = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "NODE_ID": name, "TANDEMD_STATE_DIR": str(home / name),
            "PORT": f"tcp:{self.port}:interface=127.0.0.1:backlog=1024", "TANDEMD_LOG_FORMAT": "text", **environ,
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen([*command, "tandemd"], cwd=ROOT, env=self._environ, stdout=log, stderr=log)
        end = time.monotonic() + READY_WITHIN
        while not answers(f"http://127.0.0.1:{self.port}/health/ready"):
            if self._process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{self.name} did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it as an operator does, and wait until it has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it as a fault does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)


def answers(url: str) -> bool:
    """Say whether a URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Deployment:
    """Private servers, and nodes that use them. environ: additional variables of every node."""

    def __init__(self, **environ: str):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tandemd-e2e-"))
        self.nodes: list[Node] = []
        self._environ = environ
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self.home, ignore_errors=True)
        self.redis = Redis()
        self._closing.callback(self.redis.stop)
        self.postgresql = PostgreSQL()
        self._closing.callback(self.postgresql.stop)
        self.postgresql.create("tandemd")

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for node in self.nodes:
            node.stop()
        self._closing.close()

    @property
    def stores(self) -> dict[str, str]:
        """The environment that leads a node to the private servers."""
        return {
            "REDIS_HOST": self.redis.path, "POSTGRES_HOST": self.postgresql.directory, "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "tandemd", "POSTGRES_POOL_SIZE": "3",
        }  # fmt: skip

    def add_node(self) -> Node:
        """Start one more node."""
        node = Node(f"node{len(self.nodes) + 1}", self.home, {**self.stores, **self._environ})
        self.nodes.append(node)
        node.start()
        return node

    def wait_for_archive(self) -> None:
        """Wait until PostgreSQL has everything that the nodes have acknowledged."""
        end = time.monotonic() + READY_WITHIN
        while self.redis.execute("XLEN", "tandem:journal") != b":0\r\n":
            if time.monotonic() > end:
                raise SystemExit("the archive does not catch up")
            time.sleep(0.05)

    def nginx(self) -> int:
        """Run nginx with etc/nginx/tandemd.conf before all nodes; return its port."""
        program = nginx_program()
        port = free_port()
        text = (ROOT / "etc/nginx/tandemd.conf").read_text()
        servers = [line for line in text.splitlines(keepends=True) if line.strip().startswith("server 127.0.0.1:")]
        pattern = servers[0]
        lines = "".join(pattern.replace("127.0.0.1:4001", f"127.0.0.1:{node.port}") for node in self.nodes)
        text = text.replace("".join(servers), lines).replace("listen 80;", f"listen 127.0.0.1:{port};")
        directory = self.home / "nginx"
        directory.mkdir()
        (directory / "tandemd.conf").write_text(text)
        (directory / "nginx.conf").write_text(
            f"daemon off; pid {directory}/pid; error_log {directory}/error.log;\n"
            "events { worker_connections 1024; }\n"
            f"http {{ access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;\n"
            f"fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;\n"
            f"include {directory}/tandemd.conf; }}\n"
        )
        process = subprocess.Popen([program, "-p", str(directory), "-e", f"{directory}/error.log", "-c",
                                    str(directory / "nginx.conf")])  # fmt: skip
        self._closing.callback(process.wait)
        self._closing.callback(process.terminate)
        end = time.monotonic() + READY_WITHIN
        while not answers(f"http://127.0.0.1:{port}/health/ready"):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"nginx did not start:\n{(directory / 'error.log').read_text()}")
            time.sleep(0.05)
        return port


def party_process(*arguments: str) -> subprocess.Popen[bytes]:
    """Start scripts/smoke_test.py."""
    command = [sys.executable, str(ROOT / "scripts/smoke_test.py"), *arguments]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})


def party(*arguments: str) -> None:
    """Have a party of two and end the script if it does not go well."""
    if party_process(*arguments).wait():
        raise SystemExit("the party did not go well")


@contextlib.contextmanager
def during(*arguments: str) -> Iterator[None]:
    """Have a party of two go on meanwhile, and end the script if it does not go well."""
    process = party_process(*arguments)
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.wait():
        raise SystemExit("the party did not go well")
