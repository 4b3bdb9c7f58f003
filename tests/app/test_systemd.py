"""Notifications to systemd, and sockets from it."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tandemd.app.systemd import SystemdNotifier

from ..support import private_servers
from ..support.daemon_process import Arrivals, Daemon, DaemonTestCase
from ..support.disks import no_descriptors

DATABASE = "notify"


class Manager:
    """Stands for systemd, and records its notifications."""

    def __init__(self, address: str):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def told(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(1000).decode())
            except BlockingIOError:
                return messages


class NotifierTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        cast(Any, self.reactor).callFromThread = lambda function: function()
        self.handlers: dict[int, Callable[..., None]] = {}
        self.reloaded = 0

    def manager(self, address: str) -> Manager:
        manager = Manager(address)
        self.addCleanup(manager.socket.close)
        return manager

    def notifier(self, environ: dict[str, str], always: bool = False) -> SystemdNotifier:
        def reload() -> None:
            self.reloaded += 1

        return SystemdNotifier(
            environ, self.reactor, 77, reload, always=always, handle=lambda sig, call: self.handlers.update({sig: call})
        )

    def test_ready_and_stopping(self) -> None:
        for address in (f"@tandemd-test-{os.getpid()}", f"/tmp/tandemd-test-{os.getpid()}"):
            manager = self.manager(address)
            if address.startswith("/"):
                self.addCleanup(os.unlink, address)
            notifier = self.notifier({"NOTIFY_SOCKET": address})
            self.assertEqual(manager.told(), [])
            notifier.startService()
            self.assertEqual(manager.told(), ["READY=1\nSTATUS=Accepting connections"])
            self.reactor.advance(100)
            self.assertEqual(manager.told(), [])  # no watchdog was asked for
            notifier.stopService()
            self.assertEqual(manager.told(), ["STOPPING=1\nSTATUS=Closing connections"])

    def test_watchdog(self) -> None:
        address = f"@tandemd-test-{os.getpid()}"
        manager = self.manager(address)
        notifier = self.notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"})
        notifier.startService()
        manager.told()
        for _ in range(2):
            self.reactor.advance(15)
            self.assertEqual(manager.told(), ["WATCHDOG=1"])
        with no_descriptors():
            self.reactor.advance(15)
        self.assertEqual(manager.told(), ["WATCHDOG=1"])
        notifier.stopService()
        manager.told()
        self.reactor.advance(15)
        self.assertEqual(manager.told(), [])

    def test_the_watchdog_of_another(self) -> None:
        address = f"@tandemd-test-{os.getpid()}"
        manager = self.manager(address)
        self.notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}).startService()
        manager.told()
        self.reactor.advance(100)
        self.assertEqual(manager.told(), [])

    def test_hang_up(self) -> None:
        address = f"@tandemd-test-{os.getpid()}"
        manager = self.manager(address)
        notifier = self.notifier({"NOTIFY_SOCKET": address})
        notifier.startService()
        manager.told()
        self.handlers[signal.SIGHUP](signal.SIGHUP, None)
        reloading, ready = manager.told()
        self.assertRegex(reloading, r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.assertEqual((ready, self.reloaded), ("READY=1", 1))
        notifier.stopService()
        manager.told()
        self.handlers[signal.SIGHUP](signal.SIGHUP, None)
        self.assertEqual((manager.told(), self.reloaded), ([], 1))

    def test_without_a_watchdog_interval(self) -> None:
        for environ in ({}, {"NOTIFY_SOCKET": "vsock:2:1234"}):
            notifier = self.notifier(environ)
            notifier.startService()
            notifier.stopService()
            # Its terminal may end it.
            self.assertEqual(self.handlers, {})
        self.notifier({}, always=True).startService()
        self.assertEqual(list(self.handlers), [signal.SIGHUP])

    def test_without_a_listener(self) -> None:
        notifier = self.notifier({"NOTIFY_SOCKET": "/no/such"})
        notifier.startService()
        notifier.stopService()


class Heard(DatagramProtocol):
    def __init__(self) -> None:
        self.told = Arrivals()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.told.add(datagram.decode())


def listening(family: int = socket.AF_INET, port: int = 0, *, shared: bool = False) -> socket.socket:
    """Return a socket such as a socket unit makes: it is there before the daemon, and after it."""
    made = socket.socket(family, socket.SOCK_STREAM)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("::" if family == socket.AF_INET6 else "127.0.0.1", port))
    made.listen(100)
    return made


class UnitTests(DaemonTestCase):
    """The daemon as a unit of systemd: told by it when it is ready, and given its socket."""

    def given(self, made: socket.socket, **environ: Any) -> Daemon:
        return self.start("--port=systemd:domain=INET:index=0", sockets=[made], **environ)

    async def connected(self, made: socket.socket, **environ: str) -> Daemon:
        daemon = self.given(made, **environ)
        await daemon.ready()
        return daemon

    def socket(self, *arguments: Any, **options: Any) -> socket.socket:
        made = listening(*arguments, **options)
        self.addCleanup(made.close)
        return made

    async def test_told(self) -> None:
        directory = tempfile.mkdtemp(prefix="notify-")  # the path of a Unix socket may have 107 bytes at most
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "socket")
        manager = cast(Any, reactor).listenUNIXDatagram(path, heard := Heard())
        self.addCleanup(manager.stopListening)
        daemon = self.start(NOTIFY_SOCKET=path, WATCHDOG_USEC="200000")
        self.assertEqual(await heard.told.next(lambda it: True), "READY=1\nSTATUS=Accepting connections")
        # It takes connections by now.
        await daemon.ready()
        await heard.told.next(lambda it: it == "WATCHDOG=1")
        await heard.told.next(lambda it: it == "WATCHDOG=1")
        daemon.kill(signal.SIGHUP)
        await heard.told.next(lambda it: it.startswith("RELOADING=1\n"))
        await heard.told.next(lambda it: it == "READY=1")
        daemon.kill(signal.SIGTERM)
        await heard.told.next(lambda it: it.startswith("STOPPING=1\n"))
        self.assertEqual(await daemon.ended(), -signal.SIGTERM)

    async def test_a_restart_refuses_no_connection(self) -> None:
        made = self.socket()
        daemon = await self.connected(made)
        self.assertEqual(daemon.port, made.getsockname()[1])
        ann = await self.connect(daemon)
        await ann.join("movie", "ann")
        ended = daemon.ended()
        daemon.kill(signal.SIGTERM)
        await ann.hear("SERVER_RESTART")
        # From now on no process accepts connections, and none is refused.
        early = ensureDeferred(self.connect(daemon))
        await ended
        late = ensureDeferred(self.connect(daemon))
        self.assertFalse(early.called or late.called)
        await self.connected(made)
        for user, waiting in (("bob", early), ("eve", late)):
            await (await waiting).join("movie", user)

    async def test_both_kinds_of_addresses(self) -> None:
        try:
            made = self.socket(socket.AF_INET6)
        except OSError:
            raise SkipTest("this machine has no IPv6") from None
        daemon = await self.connected(made)
        four, six = await self.connect(daemon), await self.connect(daemon, "::1")
        await four.join("movie", "four")
        await six.join("movie", "six")

    async def test_no_socket(self) -> None:
        daemon = await self.refused("--port=systemd:domain=INET:index=0")
        self.assertEqual(daemon.status, 1)
        self.assertRegex(
            daemon.errors.decode(),
            r"^tandemd: port: .*: systemd has given no such socket; start the socket unit, .*\n$",
        )

    async def test_a_shared_socket_needs_redis(self) -> None:
        daemon = self.given(self.socket(shared=True))
        self.assertEqual(await daemon.ended(), 1)
        self.assertIn("each would have rooms of its own; set redis.host", daemon.log[-1]["message"])

    async def test_several_processes_on_one_port(self) -> None:
        server = private_servers.postgresql()
        server.create(DATABASE)
        self.addCleanup(server.drop, DATABASE)
        redis = private_servers.Redis()
        self.addCleanup(redis.stop)
        environ = {"POSTGRES_HOST": server.directory, "POSTGRES_USER": "postgres", "POSTGRES_DB": DATABASE,
                   "REDIS_HOST": redis.path, "TANDEMD_DRAIN_SECONDS": "1"}  # fmt: skip
        made = [self.socket(shared=True)]
        made.append(self.socket(socket.AF_INET, made[0].getsockname()[1], shared=True))

        async def instance(number: int) -> Daemon:
            self.state = pathlib.Path(self.home, str(number))
            return await self.connected(made[number], NODE_ID=f"node-{number}", **environ)

        daemons = [await instance(0), await instance(1)]
        clients = [await self.connect(daemons[0]) for _ in range(24)]

        async def count(daemon: int) -> int:
            # Which of them answers is chance, so ask until it is this one.
            while True:
                code, body = await self.get(f"http://127.0.0.1:{daemons[0].port}/status")
                status = json.loads(body)
                if status["nodeId"] == f"node-{daemon}":
                    return int(status["localConnections"])

        counts = [await count(0), await count(1)]
        self.assertEqual(sum(counts), 24)
        self.assertGreater(min(counts), 0)
        for number, client in enumerate(clients):
            await client.join("movie", f"user-{number}")
        clients[0].say("TOGGLE_GUEST_CONTROL", enabled=True)
        for at in (0, 23):
            clients[at].say("PLAY_PAUSE", control="play", currentTime=100.0 + at)
            for client in clients:
                await client.hear("PLAY_PAUSE", userId=f"user-{at}")
