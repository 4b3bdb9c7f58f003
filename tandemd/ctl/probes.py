"""Checks of servers in the daemon's way, one request after another. All functions block."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import hiredis

from ..config import Redis
from ..config.value_types import sentinel

TIMEOUT_SECONDS = 5.0


class ProbeError(Exception):
    """A check failed. The text names the fault in a few words."""


class RedisConnection:
    """A connection to Redis, or to a sentinel."""

    def __init__(self, stream: socket.socket, username: str, password: str, db: int = 0):
        self._stream = stream
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        if password:
            self.ask("AUTH", *([username] if username else []), password)
        if db:
            self.ask("SELECT", str(db))

    def ask(self, *words: str) -> Any:
        """Return the answer to a command. Raises ProbeError."""
        encoded = [word.encode() for word in words]
        head = b"*%d\r\n" % len(encoded)
        try:
            self._stream.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
            while (answer := self._reader.gets()) is False:
                data = self._stream.recv(65536)
                if not data:
                    raise ProbeError("it closes the connection")
                self._reader.feed(data)
        except OSError as error:
            raise ProbeError(error.strerror or str(error)) from None
        if isinstance(answer, hiredis.ReplyError):
            raise ProbeError(str(answer))
        return answer

    def info(self, section: str) -> dict[str, str]:
        lines = str(self.ask("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def _stream(redis: Redis, host: str, port: int) -> socket.socket:
    try:
        if host.startswith("/"):
            stream = socket.socket(socket.AF_UNIX)
            stream.settimeout(TIMEOUT_SECONDS)
            stream.connect(host)
            return stream
        stream = socket.create_connection((host, port), TIMEOUT_SECONDS)
        if redis.tls:
            context = ssl.create_default_context(cafile=redis.tls_ca or None)
            return context.wrap_socket(stream, server_hostname=host)
        return stream
    except OSError as error:
        raise ProbeError(error.strerror or str(error)) from None


@contextlib.contextmanager
def redis_connection(redis: Redis, host: str, port: int) -> Iterator[RedisConnection]:
    """Return a connection to the Redis at an address. Raises ProbeError."""
    with contextlib.closing(_stream(redis, host, port)) as stream:
        yield RedisConnection(stream, redis.username, redis.password, redis.db)


def master(redis: Redis, written: str) -> tuple[str, int]:
    """Return a sentinel's answer: host and port of the master. Raises ProbeError."""
    with contextlib.closing(_stream(redis, *sentinel(written))) as stream:
        connection = RedisConnection(stream, redis.sentinel_username, redis.sentinel_password)
        address = connection.ask("SENTINEL", "get-master-addr-by-name", redis.sentinel_master)
    if not address:
        raise ProbeError(f"it knows no master {redis.sentinel_master!r}")
    return str(address[0]), int(address[1])


def websocket(url: str, context: ssl.SSLContext) -> float:
    """Open a WebSocket at ws(s)://..., exchange PING and PONG, and return how long that took in seconds.

    Raises ProbeError, whose text names the failed step.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "wss"
    try:
        stream = socket.create_connection((host, parts.port or (443 if secure else 80)), TIMEOUT_SECONDS)
        if secure:
            stream = context.wrap_socket(stream, server_hostname=host)
    except OSError as error:
        raise ProbeError(f"no connection: {error.strerror or error}") from None
    with contextlib.closing(stream):
        try:
            return _ping(stream, parts.netloc, parts.path or "/")
        except TimeoutError:
            raise ProbeError("no answer within 5 s") from None
        except OSError as error:
            raise ProbeError(error.strerror or str(error)) from None


def _ping(stream: socket.socket, netloc: str, path: str) -> float:
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    data = b""
    while b"\r\n\r\n" not in data:
        data += _read(stream)
    head, _, rest = data.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].decode("latin-1")
    if " 101 " not in status + " ":
        raise ProbeError(f"the handshake is answered with {status!r}")
    accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
    if accept not in head:
        raise ProbeError("the handshake is answered with a wrong key: a proxy in between does not support WebSockets")
    began = time.monotonic()
    payload = b'{"type":"PING"}'
    # The mask is zero: the message is no secret.
    stream.sendall(bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
    head = b"\x89"
    while head == b"\x89":  # a ping of the server
        while len(rest) < 2 or len(rest) < 2 + (rest[1] & 0x7F):
            rest += _read(stream)
        end = 2 + (rest[1] & 0x7F)
        head, answer, rest = rest[:1], rest[2:end], rest[end:]
    try:
        kind = json.loads(answer)["type"]
    except (ValueError, KeyError, TypeError):
        kind = None
    if head != b"\x81" or kind != "PONG":
        raise ProbeError(f"PING is answered with {answer[:100]!r}")
    seconds = time.monotonic() - began
    stream.sendall(bytes((0x88, 0x80)) + b"\0\0\0\0")
    return seconds


def _read(stream: socket.socket) -> bytes:
    data = stream.recv(65536)
    if not data:
        raise ProbeError("the connection is closed")
    return data


def certificate_ends(host: str, port: int, context: ssl.SSLContext) -> float:
    """Return the end of a server's certificate, in seconds since 1970. Raises ProbeError."""
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS) as plain:
            with context.wrap_socket(plain, server_hostname=host) as stream:
                certificate = stream.getpeercert() or {}
    except OSError as error:
        raise ProbeError(getattr(error, "verify_message", None) or error.strerror or str(error)) from None
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
