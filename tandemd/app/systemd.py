"""Notifications to the service manager (systemd), and its request to reload."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application import service
from twisted.logger import Logger

from ..util.services import Periodic


class SystemdNotifier(service.Service):
    """Reports that the node is ready, stopping and alive, and reloads on SIGHUP.

    Starts last, and stops first. Reports nothing without a service manager (NOTIFY_SOCKET).
    """

    name = "notifier"
    _log = Logger()

    def __init__(
        self,
        environ: Mapping[str, str],
        reactor: Any,
        pid: int,
        reload: Callable[[], None],
        *,
        always: bool = False,
        handle: Callable[[int, Callable[..., None]], object] = signal.signal,
    ):
        """reactor: IReactorTime and IReactorFromThreads. reload: called on SIGHUP; without a service
        manager only if `always`. handle: as signal.signal."""
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self._reactor = reactor
        self._reload = reload
        self._always = always
        self._handle = handle
        self._interval = _watchdog(environ, pid) / 2
        self._alive = Periodic(reactor, self._interval, lambda: self._say("WATCHDOG=1"), "reporting to the watchdog")

    def startService(self) -> None:
        super().startService()
        if self._address:
            # Stays open: the watchdog would end a node that is out of descriptors for a moment.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._say("READY=1\nSTATUS=Accepting connections")
        if self._interval:
            self._alive.start(now=True)
        # A closed terminal sends the same signal, and then the program must end, which is the default.
        if self._address or self._always:
            self._handle(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))

    def stopService(self) -> None:
        super().stopService()
        self._alive.stop()
        self._say("STOPPING=1\nSTATUS=Closing connections")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hang_up(self) -> None:
        if self.running:
            self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._reload()
            self._say("READY=1")

    def _say(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            self._log.warn(
                "failed to notify the service manager: {reason}",
                event="service_manager_failed",
                reason=error.strerror,
                notification=text,
            )


def _address(text: str) -> str:
    """Return the address of a Unix socket; '' for an empty or another address."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog(environ: Mapping[str, str], pid: int) -> float:
    """Return the watchdog's period in seconds; 0 without a watchdog."""
    period, recipient = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    return int(period) / 1e6 if period.isdecimal() and recipient == str(pid) else 0.0
