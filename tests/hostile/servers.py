"""What is attacked: one node, or two behind nginx with a Redis and a PostgreSQL of their own. All of it processes."""

from __future__ import annotations

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

from twisted.trial.unittest import SkipTest

from ..servers import PostgreSQL, Redis, die_with_parent, free_port

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
START_WITHIN = 30.0
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


class NodeProcess:
    """A node with the default configuration but for `environ`. Its log is in `directory`/log."""

    def __init__(self, directory: pathlib.Path, **environ: str):
        directory.mkdir(parents=True, exist_ok=True)
        self.port = 0
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
        end = time.monotonic() + START_WITHIN
        while not self.port:
            found = re.search(r"ws://[^:/]+:(\d+)/ws", self.log.read_text(errors="replace"))
            if found:
                self.port = int(found[1])
            elif self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"it did not start:\n{self.log.read_text(errors='replace')}")
            else:
                time.sleep(0.02)

    def resident(self) -> int:
        """Return how much memory it has, in bytes."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGESIZE")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def errors(self) -> list[str]:
        """Return the lines of its log that tell of a fault of ours."""
        text = self.log.read_text(errors="replace")
        return [
            line
            for line in text.splitlines()
            if '"level":"error"' in line or '"critical"' in line or "Traceback" in line
        ]


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Say whether a process listens on a port before it ends."""
    end = time.monotonic() + START_WITHIN
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


class Target:
    """Something to attack. address: where it is. nodes: its processes."""

    name = ""
    proxied = False

    def __init__(self) -> None:
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tandemd-hostile-"))
        os.chmod(self.home, 0o755)
        self.nodes: list[NodeProcess] = []
        self.address = ("127.0.0.1", 0)

    def resident(self) -> int:
        """Return how much memory the largest of its nodes has, in bytes."""
        return max(node.resident() for node in self.nodes)

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


class TwoNodes(Target):
    """Two nodes behind nginx, which gives each connection to one of them in turn."""

    name = "two nodes behind nginx"
    proxied = True

    def __init__(self, handshake_timeout: int = 10, **environ: str):
        if NGINX is None:
            text = "there is no nginx: install the package nginx-light"
            raise RuntimeError(text) if os.environ.get("TANDEMD_TEST_REQUIRE_SERVERS") else SkipTest(text)
        super().__init__()
        self._redis, self._postgres = Redis(), PostgreSQL()
        self._postgres.create("hostile")
        environ = {
            "TANDEMD_WEB_TRUSTED_PROXIES": "1", "REDIS_HOST": self._redis.path, "POSTGRES_HOST": self._postgres.directory,
            "POSTGRES_USER": "postgres", "POSTGRES_DB": "hostile", "POSTGRES_POOL_SIZE": "3", **environ,
        }  # fmt: skip
        for name in ("n1", "n2"):
            self.nodes.append(NodeProcess(self.home / name, NODE_ID=name, **environ))
            self.nodes[-1].wait()
        for _ in range(5):
            # Somebody else may have got the port meanwhile.
            self._nginx = self._proxy(port := free_port(), handshake_timeout)
            if _listens(port, self._nginx):
                break
            self._nginx.kill()
        else:
            raise RuntimeError(f"nginx did not start:\n{(self.home / 'nginx.log').read_text(errors='replace')}")
        self.address = ("127.0.0.1", port)

    def pids(self) -> list[int]:
        assert self._redis.process is not None
        return [*super().pids(), self._nginx.pid, self._redis.process.pid]

    def _proxy(self, port: int, timeout: int) -> subprocess.Popen[bytes]:
        assert NGINX is not None
        servers = " ".join(f"server 127.0.0.1:{node.port} max_fails=0;" for node in self.nodes)
        config = self.home / "nginx.conf"
        config.write_text(NGINX_CONF.format(port=port, servers=servers, timeout=timeout))
        with open(self.home / "nginx.log", "wb") as output:
            return subprocess.Popen(
                [NGINX, "-p", str(self.home), "-e", "error.log", "-c", str(config)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
            )  # fmt: skip

    def stop(self) -> None:
        self._nginx.kill()
        self._nginx.wait()
        super().stop()
        self._redis.stop()
        self._postgres.stop(signal.SIGQUIT)
        for directory in (self._redis.directory, self._postgres.directory):
            shutil.rmtree(directory, ignore_errors=True)


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
        self._thread.join()
        self._most = max(self._most, self._target.resident())

    def _watch(self) -> None:
        while not self._over.wait(self.EVERY):
            self._most = max(self._most, self._target.resident())

    @property
    def grown(self) -> int:
        return self._most - self._before
