"""What the node tells the service manager that has started it (systemd), and what that may ask of it."""

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
    """Tells whether the node is ready or stopping, that it is alive if that is wanted, and reloads on SIGHUP.

    The last one to start, and the first to stop. Does nothing where no service manager asks for it (NOTIFY_SOCKET).
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
        """reactor: IReactorTime and IReactorFromThreads. reload: is called on SIGHUP; without a service
        manager only if `always`. handle: as signal.signal."""
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self._reactor = reactor
        self._reload = reload
        self._always = always
        self._handle = handle
        self._interval = _watchdog(environ, pid) / 2
        self._alive = Periodic(reactor, self._interval, lambda: self._say("WATCHDOG=1"), "telling that it is alive")

    def startService(self) -> None:
        super().startService()
        if self._address:
            # Kept open: the watchdog would end a node that has no descriptor left for a moment.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._say("READY=1\nSTATUS=Taking connections")
        if self._interval:
            self._alive.start(now=True)
        # A terminal sends the same when it is closed, and then the program must end, as it does by itself.
        if self._address or self._always:
            self._handle(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))

    def stopService(self) -> None:
        super().stopService()
        self._alive.stop()
        self._say("STOPPING=1\nSTATUS=Sending clients away")
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
            self._log.warn("the service manager cannot be told: {reason}", reason=error.strerror, told=text)


def _address(text: str) -> str:
    """Return the address of a Unix socket; '' for none, or of another kind."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog(environ: Mapping[str, str], pid: int) -> float:
    """Return within how many seconds a sign of life is wanted; 0 for none."""
    asked, whom = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    return int(asked) / 1e6 if asked.isdecimal() and whom == str(pid) else 0.0
