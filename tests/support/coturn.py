"""A private coturn with etc/coturn/turnserver.conf, and a small TURN client.

The program is the one that $TANDEMD_TEST_TURNSERVER names, or `turnserver` on $PATH. Tests are skipped without one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pathlib
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Sequence

from twisted.trial.unittest import SkipTest

from .patience import until, wait_for_end
from .private_servers import die_with_parent

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECRET_LINE = "static-auth-secret=replace-this-by-openssl-rand-hex-32"
RELAY_PORTS = 200


def turnserver_program() -> str:
    """Return the path of coturn. Raises SkipTest without one."""
    found = os.environ.get("TANDEMD_TEST_TURNSERVER") or shutil.which("turnserver")
    if found is None:
        raise SkipTest("no coturn: install coturn, or name turnserver in TANDEMD_TEST_TURNSERVER")
    return found


def free_port() -> int:
    """Return a UDP port of the loopback that is free at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Coturn:
    """A TURN server on the loopback. port: of UDP and TCP. Raises SkipTest if the machine has no coturn."""

    def __init__(self, home: pathlib.Path, turn_secrets: Sequence[str]):
        program = turnserver_program()
        self.port = free_port()
        self._log = home / "coturn.log"
        text = (ROOT / "etc/coturn/turnserver.conf").read_text()
        lines = [f"static-auth-secret={secret}" for secret in turn_secrets]
        # The kernel hands out ports from 32768 on.
        first = 20_000 + self.port % 50 * RELAY_PORTS
        lines += [f"min-port={first}", f"max-port={first + RELAY_PORTS - 1}", f"listening-port={self.port}"]
        lines += ["listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "allow-loopback-peers", "allowed-peer-ip=127.0.0.1"]
        lines += [
            f"log-file={self._log}",
            "simple-log",
            f"pidfile={home / 'coturn.pid'}",
            f"userdb={home / 'coturn.db'}",
        ]
        kept = [line for line in text.splitlines() if not line.startswith(("min-port", "max-port", "listening-port"))]
        assert SECRET_LINE in kept
        kept.remove(SECRET_LINE)
        (home / "turnserver.conf").write_text("\n".join([*kept, *lines, ""]))
        self._command = [program, "-c", str(home / "turnserver.conf")]
        self._home = home
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
        )
        try:
            until("a TURN server that answers", self._answers, self.log)
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"coturn ended: {self.log()}")
        try:
            return TurnClient(self.port).demands_credential(seconds=0.2)
        except OSError:
            return False

    def log(self) -> str:
        """Return the log of coturn."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        wait_for_end(self._process)


ALLOCATE, SUCCESS, FAILURE = 0x0003, 0x0103, 0x0113
USERNAME, INTEGRITY, ERROR, REALM, NONCE, TRANSPORT = 0x0006, 0x0008, 0x0009, 0x0014, 0x0015, 0x0019
COOKIE = 0x2112A442
_UDP = bytes((17, 0, 0, 0))
"""The value of REQUESTED-TRANSPORT."""


class TurnClient:
    """Sends Allocate requests (RFC 8656) over UDP. port: of the server on the loopback."""

    def __init__(self, port: int):
        self._port = port

    def demands_credential(self, seconds: float) -> bool:
        """Return whether the server refuses a request without credential. Raises OSError without an answer in time."""
        with self._socket(seconds) as link:
            kind, attributes = _ask(link, _attribute(TRANSPORT, _UDP))
        return kind == FAILURE and _code(attributes) == 401

    def allocate(self, username: str, credential: str) -> int:
        """Ask for a relay. Return 0 if the server opens one, else the code of its refusal."""
        return until("an answer to Allocate", lambda: self._allocate(username, credential))[0]

    def _allocate(self, username: str, credential: str) -> tuple[int] | tuple[()]:
        try:
            # The nonce is for this socket.
            with self._socket(1.0) as link:
                _, challenge = _ask(link, _attribute(TRANSPORT, _UDP))
                realm, nonce = challenge[REALM], challenge[NONCE]
                key = hashlib.md5(b":".join((username.encode(), realm, credential.encode()))).digest()
                body = _attribute(TRANSPORT, _UDP) + _attribute(USERNAME, username.encode())
                kind, attributes = _ask(link, body + _attribute(REALM, realm) + _attribute(NONCE, nonce), key)
        except OSError:
            return ()
        return (0 if kind == SUCCESS else _code(attributes),)

    def _socket(self, seconds: float) -> socket.socket:
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.settimeout(seconds)
        link.connect(("127.0.0.1", self._port))
        return link


def _ask(link: socket.socket, body: bytes, key: bytes = b"") -> tuple[int, dict[int, bytes]]:
    """Send a request, and return type and attributes of the answer. key: for its integrity, b"" for none."""
    transaction = secrets.token_bytes(12)
    if key:
        # The length covers the attribute that is computed.
        head = struct.pack("!HHI", ALLOCATE, len(body) + 24, COOKIE) + transaction
        body += _attribute(INTEGRITY, hmac.new(key, head + body, hashlib.sha1).digest())
    link.send(struct.pack("!HHI", ALLOCATE, len(body), COOKIE) + transaction + body)
    answer = link.recv(2048)
    assert answer[8:20] == transaction, "an answer to another request"
    return struct.unpack("!H", answer[:2])[0], dict(_attributes(answer[20:]))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _attributes(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        kind, length = struct.unpack("!HH", body[:4])
        found.append((kind, body[4 : 4 + length]))
        body = body[4 + length + -length % 4 :]
    return found


def _code(attributes: dict[int, bytes]) -> int:
    return attributes[ERROR][2] * 100 + attributes[ERROR][3]
