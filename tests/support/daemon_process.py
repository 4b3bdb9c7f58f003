"""The daemon in separate processes, and WebSocket clients that connect to it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import treq
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import error, protocol, reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from .patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS, eventually

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

Json = dict[str, Any]


class Arrivals:
    """A sequence of items, and waiters for one of them."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._taken = 0
        self._waiting: list[tuple[Callable[[Any], bool], Deferred[Any]]] = []
        self._end: Failure | None = None

    def add(self, thing: Any) -> None:
        self.seen.append(thing)
        if self._waiting and self._waiting[0][0](thing):
            self._taken = len(self.seen)
            self._waiting.pop(0)[1].callback(thing)

    def end(self, reason: str) -> None:
        """Nothing more comes."""
        self._end = Failure(AssertionError(f"{reason}; there was {self.seen}"))
        for _, waiting in self._waiting:
            waiting.errback(self._end)
        self._waiting.clear()

    def next(self, wanted: Callable[[Any], bool]) -> Deferred[Any]:
        """Fire with the first thing after the one that was fired with last for which `wanted` is true."""
        for at in range(self._taken, len(self.seen)):
            if wanted(self.seen[at]):
                self._taken = at + 1
                return succeed(self.seen[at])
        if self._end is not None:
            return fail(self._end)
        waiting: Deferred[Any] = Deferred()
        entry = (wanted, waiting)
        self._waiting.append(entry)
        timer = reactor.callLater(PATIENCE_SECONDS, self._give_up, entry)

        def stop(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        return waiting.addBoth(stop)

    def _give_up(self, entry: tuple[Callable[[Any], bool], Deferred[Any]]) -> None:
        self._waiting.remove(entry)
        text = f"not within {PATIENCE_SECONDS:g} s; seen since the last one: {self.seen[self._taken :]}"
        entry[1].errback(AssertionError(text))


class Daemon(protocol.ProcessProtocol):
    """One `twistd --nodaemon tandemd`. lines: its standard output. errors: its standard error, as bytes.

    sockets: as systemd passes sockets. under: a command that runs the program.
    """

    def __init__(
        self,
        state_dir: pathlib.Path,
        arguments: Sequence[str] = (),
        environ: dict[str, str] | None = None,
        sockets: Sequence[socket.socket] = (),
        under: Sequence[str] = (),
    ):
        self.lines = Arrivals()
        self.errors = b""
        self.output = b""
        self.status: int | None = None
        """Exit status; the negative number of the signal that ended it; None while it runs."""
        self.port = 0
        self._rest = b""
        self._ended: Deferred[int] = Deferred()
        command = [
            *under,
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--nodaemon",
            "--pidfile=",
        ]
        command += ["tandemd", "--state-dir", str(state_dir), *arguments]
        env = {"PATH": os.environ["PATH"], "HOME": str(state_dir.parent), "PYTHONPATH": str(ROOT), **(environ or {})}
        if sockets:
            # Only the process itself knows its number.
            command = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command]
            env |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join("x" for _ in sockets)}
        fds: Any = {0: "w", 1: "r", 2: "r"} | {3 + i: one.fileno() for i, one in enumerate(sockets)}
        reactor.spawnProcess(self, command[0], command, env, str(state_dir.parent), childFDs=fds)

    # ProcessProtocol

    def outReceived(self, data: bytes) -> None:
        self.output += data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.lines.add(line.decode())

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Failure) -> None:
        value = reason.value
        assert isinstance(value, error.ProcessDone | error.ProcessTerminated)
        self.status = -value.signal if value.signal else value.exitCode
        self.lines.end(f"the daemon ended with {self.status}: {self.errors.decode()}")
        self._ended.callback(self.status)

    # for tests

    async def ready(self) -> None:
        """Wait until it takes connections."""
        line = await self.lines.next(lambda line: "clients connect to ws" in line)
        found = re.search(r"clients connect to wss?://[^/]*:(\d+)/", line)
        assert found is not None, line
        self.port = int(found[1])

    async def logs(self, wanted: Callable[[Json], bool]) -> Json:
        """Return the first line of its log that is wanted, as soon as it is there: it comes by another way than answers do."""
        found = lambda: next((line for line in self.log if wanted(line)), None)  # noqa: E731
        line = await eventually(reactor, "a line of the log", found, lambda: self.lines.seen)
        assert line is not None
        return dict(line)

    def kill(self, sig: int = signal.SIGKILL) -> None:
        if self.status is None:
            assert self.transport is not None
            self.transport.signalProcess(sig)

    def ended(self) -> Deferred[int]:
        """Fire with the exit status when the process is gone."""
        done: Deferred[int] = Deferred()

        def tell(status: int) -> int:
            done.callback(status)
            return status

        self._ended.addCallback(tell)
        return done

    @property
    def log(self) -> list[Json]:
        """The lines of its log. Raises ValueError if a line is not JSON."""
        return [json.loads(line) for line in self.lines.seen]


class Client(WebSocketClientProtocol):
    """A client that notes everything. messages: all that it received. closed: fires with the close code."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = Arrivals()
        self.opened: Deferred[Client] = Deferred()
        self.closed: Deferred[int | None] = Deferred()

    def onOpen(self) -> None:
        self.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.messages.add(json.loads(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.messages.end(f"the connection was closed with {code}")
        if not self.opened.called:
            self.opened.errback(AssertionError(f"no handshake: {reason}"))
        self.closed.callback(code)

    def say(self, type: str, **fields: Any) -> None:
        """Send a message."""
        self.sendMessage(json.dumps({"type": type, **fields}).encode())

    def hear(self, type: str, **fields: Any) -> Deferred[Json]:
        """Fire with the next message of a type that has these fields."""
        return self.messages.next(lambda it: it["type"] == type and fields.items() <= it.items())

    async def join(self, room: str, user: str, **fields: Any) -> Json:
        """Join, and return the ROOM_STATE."""
        self.say("JOIN", roomId=room, userId=user, **fields)
        return await self.hear("ROOM_STATE")

    async def do(self, type: str, **fields: Any) -> int:
        """Send a command, and return the seq of its ACK."""
        if type in ("PLAY_PAUSE", "SEEK", "URL_CHANGE"):
            # Without it, the server rejects a control that follows another member's title at once.
            fields.setdefault("seq", max((message.get("seq", 0) for message in self.messages.seen), default=0))
        self.say(type, id=len(self.messages.seen), **fields)
        return int((await self.hear("ACK"))["seq"])

    @property
    def heard(self) -> list[str]:
        """The types of the received messages."""
        return [message["type"] for message in self.messages.seen]


class DaemonTestCase(TestCase):
    """Tests with processes, which are all gone when a test ends."""

    timeout = TEST_LIMIT_SECONDS

    def setUp(self) -> None:
        self.home = pathlib.Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.state = self.home / "state"
        self._daemons: list[Daemon] = []
        self._clients: list[Client] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        for daemon in self._daemons:
            if daemon.status is None:
                ended = daemon.ended()
                daemon.kill()
                await ended
        for client in self._clients:
            if not client.closed.called:
                client.dropConnection(abort=True)
            await client.closed

    under: Sequence[str] = ()
    """The command that runs the daemons."""

    def start(self, *arguments: str, port: int = 0, sockets: Sequence[socket.socket] = (), **environ: str) -> Daemon:
        """Start a daemon; it need not get ready."""
        daemon = Daemon(
            self.state, ["--port", f"tcp:{port}:interface=127.0.0.1", *arguments], environ, sockets, self.under
        )
        self._daemons.append(daemon)
        return daemon

    async def running(self, *arguments: str, **environ: Any) -> Daemon:
        """Return a daemon that takes connections."""
        daemon = self.start(*arguments, **environ)
        await daemon.ready()
        return daemon

    async def refused(self, *arguments: str, **environ: Any) -> Daemon:
        """Return a daemon that ended by itself."""
        daemon = self.start(*arguments, **environ)
        await daemon.ended()
        return daemon

    async def connect(self, daemon: Daemon, host: str = "127.0.0.1") -> Client:
        factory = WebSocketClientFactory(f"ws://127.0.0.1:{daemon.port}/ws", reactor=reactor)
        factory.protocol = Client
        factory.noisy = False
        factory.setProtocolOptions(openHandshakeTimeout=PATIENCE_SECONDS)
        client = cast(Client, await HostnameEndpoint(reactor, host, daemon.port).connect(factory))
        self._clients.append(client)
        await client.opened
        return client

    async def until_ready(self, daemon: Daemon) -> bytes:
        """Wait until a daemon is ready, which one with Redis is not for moments of a busy machine; return its answer."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            status, body = await self.get(f"http://127.0.0.1:{daemon.port}/health/ready")
            if status == 200:
                return body
            self.assertLess(time.monotonic(), end, body)
            await deferLater(reactor, 0.05)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the archive."""
        with contextlib.closing(sqlite3.connect(self.state / "tandemd.sqlite")) as database:
            return database.execute(sql, values).fetchall()

    async def archived(self, room: str, seq: int) -> None:
        """Wait until the archive has the room at a version: it is written a moment after the commit."""

        def kept() -> list[tuple[Any, ...]]:
            return self.query('select "seq" from "rooms" where "code" = ?', room)

        await eventually(reactor, f"{room} at {seq} in the archive", lambda: kept() >= [(seq,)], kept)

    async def get(self, url: str, headers: Any = None) -> tuple[int, bytes]:
        """Return the status and body of an HTTP resource."""
        response = await treq.get(url, headers=headers, persistent=False)
        return response.code, await response.content()
