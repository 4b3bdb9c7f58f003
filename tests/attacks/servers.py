"""The targets: one node, or two behind nginx with a private Redis and PostgreSQL. All are processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

from ..support.patience import PATIENCE_SECONDS, until, wait_for_end
from ..support.private_servers import PostgreSQL, Redis, die_with_parent, free_port, nginx_program

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class NodeProcess:
    """A node with the default configuration but for `environ`. Its log is in `directory`/log."""

    def __init__(self, directory: pathlib.Path, **environ: str):
        directory.mkdir(parents=True, exist_ok=True)
        self.port = 0
        self.directory = directory
        self._read = 0
        """Up to where errors() has read the log."""
        self.log = directory / "log"
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
        command += ["tandemd", "--port", "tcp:0:interface=0.0.0.0:backlog=4096"]
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "HOST": "0.0.0.0",
            **environ,
        }
        env["TANDEMD_STATE_DIR"] = str(directory / "state")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it takes connections."""
        until("the node takes connections", lambda: self._listening() or self.process.poll() is not None, self._text)
        if not self.port:
            raise RuntimeError(f"it did not start:\n{self._text()}")

    def _text(self) -> str:
        return self.log.read_text(errors="replace")

    def _listening(self) -> bool:
        found = re.search(r"ws://[^:/]+:(\d+)/ws", self._text())
        self.port = int(found[1]) if found else 0
        return found is not None

    def resident(self) -> int:
        """Return how much memory it has, in bytes."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGESIZE")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            wait_for_end(self.process)

    def errors(self) -> list[str]:
        """Return the lines of its log that tell of a fault of ours, and that have come since the last call.

        Errors after an attack are its own failure; the attack after it begins with an empty list.
        """
        with open(self.log, errors="replace") as log:
            log.seek(self._read)
            lines = log.read().splitlines()
            self._read = log.tell()
        return [line for line in lines if '"level":"error"' in line or '"critical"' in line or "Traceback" in line]


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Say whether a process listens on a port before it ends."""
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


def _size_of(*directories: pathlib.Path) -> int:
    """Return how many bytes the files in directories have; files may go meanwhile."""
    total = 0
    for directory in directories:
        for path in directory.rglob("*"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return total


class Target:
    """Something to attack. address: where it is. nodes: its processes."""

    name = ""
    proxied = False

    def __init__(self) -> None:
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tandemd-attacks-"))
        os.chmod(self.home, 0o755)
        self.nodes: list[NodeProcess] = []
        self.address = ("127.0.0.1", 0)

    def resident(self) -> int:
        """Return how much memory the largest of its nodes has, in bytes."""
        return max(node.resident() for node in self.nodes)

    def redis_bytes(self) -> int:
        """Return how much memory its Redis uses; 0 without one."""
        return 0

    def database_bytes(self) -> int:
        """Return how large its archive is on disk."""
        return _size_of(*(node.directory / "state" for node in self.nodes))

    def pids(self) -> list[int]:
        """Return its processes' ids."""
        return [node.process.pid for node in self.nodes]

    def errors(self) -> list[str]:
        return [line for node in self.nodes for line in node.errors()]

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self.home, ignore_errors=True)


class OneNode(Target):
    """A node with nothing beside it."""

    name = "one node"

    def __init__(self, **environ: str):
        super().__init__()
        self.nodes = [NodeProcess(self.home / "node", **environ)]
        self.nodes[0].wait()
        self.address = ("127.0.0.1", self.nodes[0].port)


NGINX_CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_header_timeout {timeout}s;
    client_body_timeout {timeout}s;
    send_timeout {timeout}s;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    upstream nodes {{ {servers} }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 75s;
            proxy_send_timeout 15s;
        }}
    }}
}}
"""


class Cluster(Target):
    """Two nodes with a Redis and a PostgreSQL of their own, at ports of their own. redis_options: of its command line."""

    name = "two nodes"

    def __init__(self, redis_options: Sequence[str] = (), **environ: str):
        super().__init__()
        self.redis, self._postgres = Redis(*redis_options), PostgreSQL()
        self._postgres.create("attacks")
        environ = {
            "REDIS_HOST": self.redis.path, "POSTGRES_HOST": self._postgres.directory, "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "attacks", "POSTGRES_POOL_SIZE": "3", **environ,
        }  # fmt: skip
        for name in ("n1", "n2"):
            self.nodes.append(NodeProcess(self.home / name, NODE_ID=name, **environ))
            self.nodes[-1].wait()

    def pids(self) -> list[int]:
        assert self.redis.process is not None
        return [*super().pids(), self.redis.process.pid]

    def stop(self) -> None:
        super().stop()
        self.redis.stop()
        self._postgres.stop(signal.SIGQUIT)
        for directory in (self.redis.directory, self._postgres.directory):
            shutil.rmtree(directory, ignore_errors=True)


class TwoNodes(Cluster):
    """Two nodes behind nginx, which gives each connection to one of them in turn."""

    name = "two nodes behind nginx"
    proxied = True

    def __init__(self, handshake_timeout: int = 10, redis_options: Sequence[str] = (), **environ: str):
        self._program = nginx_program()
        super().__init__(redis_options, **{"TANDEMD_WEB_TRUSTED_PROXIES": "1", **environ})
        for _ in range(5):
            # Another process may have got the port meanwhile.
            self._nginx = self._proxy(port := free_port(), handshake_timeout)
            if _listens(port, self._nginx):
                break
            self._nginx.kill()
        else:
            raise RuntimeError(f"nginx did not start:\n{(self.home / 'nginx.log').read_text(errors='replace')}")
        self.address = ("127.0.0.1", port)

    def redis_bytes(self) -> int:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(PATIENCE_SECONDS)
            wire.connect(self.redis.path)
            wire.sendall(b"INFO memory\r\n")
            text = b""
            while (found := re.search(rb"used_memory:(\d+)\r", text)) is None:
                text += wire.recv(65536)
        return int(found[1])

    def database_bytes(self) -> int:
        return _size_of(pathlib.Path(self._postgres.directory, "data"))

    def pids(self) -> list[int]:
        return [*super().pids(), self._nginx.pid]

    def _proxy(self, port: int, timeout: int) -> subprocess.Popen[bytes]:
        servers = " ".join(f"server 127.0.0.1:{node.port} max_fails=0;" for node in self.nodes)
        config = self.home / "nginx.conf"
        config.write_text(NGINX_CONF.format(port=port, servers=servers, timeout=timeout))
        with open(self.home / "nginx.log", "wb") as output:
            return subprocess.Popen(
                [self._program, "-p", str(self.home), "-e", "error.log", "-c", str(config)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
            )  # fmt: skip

    def stop(self) -> None:
        self._nginx.kill()
        wait_for_end(self._nginx)
        super().stop()


class Memory:
    """Watches how much memory a target has. grown: by how many bytes at most since it began to watch."""

    EVERY = 0.02

    def __init__(self, target: Target):
        self._target = target
        self._before = target.resident()
        self._most = self._before
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)
        self._most = max(self._most, self._target.resident())

    def _watch(self) -> None:
        while not self._over.wait(self.EVERY):
            self._most = max(self._most, self._target.resident())

    @property
    def grown(self) -> int:
        return self._most - self._before
