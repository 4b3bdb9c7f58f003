"""A client that may do anything: a blocking socket, from any loopback address, with WebSocket frames by hand."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import time
from typing import Any

from ..support.patience import PATIENCE_SECONDS

Json = dict[str, Any]
WRITING_SECONDS = 10.0
"""An attacker that is not read for this long goes on with something else."""
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, length: int | None = None) -> bytes:
    """Return a frame whose mask is zero. length: to announce another one than the payload has."""
    size = len(payload) if length is None else length
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 65536:
        head += struct.pack("!BH", 0xFE, size)
    else:
        head += struct.pack("!BQ", 0xFF, size)
    return head + bytes(4) + payload


def message(type: str, **fields: Any) -> bytes:
    """Return a frame with a message."""
    return frame(TEXT, json.dumps({"type": type, **fields}).encode())


class Wire:
    """A TCP connection. received: arrived bytes that were not taken yet. over: whether the server has ended it."""

    def __init__(self, address: tuple[str, int], source: str, small: bool = False):
        """small: with as little room for unread bytes as the kernel allows."""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.socket.bind((source, 0))
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(address)
        self.received = b""
        self.over = False

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        self.over = True
        self.socket.close()

    def read(self, timeout: float) -> bool:
        """Take in the bytes that arrive within a time; False without any."""
        if self.over:
            return False
        self.socket.settimeout(max(timeout, 0.0001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.over = True
        self.received += data
        return bool(data)

    def write(self, data: bytes) -> None:
        """Write all of it, unless the server has ended the connection or does not read."""
        if self.over:
            return
        self.socket.settimeout(WRITING_SECONDS)
        try:
            self.socket.sendall(data)
        except TimeoutError:
            pass
        except OSError:
            self.over = True

    def pour(self, data: bytes, until: float, most: int = 1 << 62, *, reading: bool = True) -> int:
        """Write the same again and again, until a time on the monotonic clock; return how many bytes were taken."""
        self.socket.setblocking(False)
        sent, view = 0, memoryview(data)
        at = 0
        while not self.over and sent < most and time.monotonic() < until:
            readable, writable, _ = select.select([self.socket] if reading else [], [self.socket], [], 0.05)
            if readable:
                self.read(0.001)
                self.received = self.received[-(1 << 20) :]
                self.socket.setblocking(False)
            if writable:
                try:
                    count = self.socket.send(view[at:])
                except BlockingIOError:
                    continue
                except OSError:
                    self.over = True
                    break
                sent += count
                at = (at + count) % len(data)
        return sent

    def ended(self, within: float = PATIENCE_SECONDS) -> bool:
        """Say whether the server ends the connection within a time."""
        end = time.monotonic() + within
        while not self.over and time.monotonic() < end:
            self.read(end - time.monotonic())
            self.received = self.received[-(1 << 20) :]
        return self.over

    def hung_up(self, within: float) -> bool:
        """Say whether the server ends the connection within a time in which nothing is read."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)  # an error or a hang-up is told as well
        return bool(poll.poll(1000 * within))


class Answer:
    """An HTTP answer. status is 0 without an answer."""

    def __init__(self, data: bytes):
        head, _, self.body = data.partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        words = line.split(b" ")
        self.status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        self.headers = [(name.lower(), value.strip()) for name, _, value in (h.partition(b":") for h in headers)]

    def header(self, name: bytes) -> bytes:
        return next((value for found, value in self.headers if found == name), b"")


class Client(Wire):
    """A WebSocket client. status: of the answer to the handshake. code: of the received close frame, or None."""

    def __init__(
        self, address: tuple[str, int], source: str, headers: str = "", *, small: bool = False, path: str = "/ws"
    ):
        super().__init__(address, source, small)
        self.code: int | None = None
        self.counts: dict[str, int] = {}
        """How many messages of each type came; of ERROR, by their code."""
        self.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while b"\r\n\r\n" not in self.received and not self.over and time.monotonic() < end:
            self.read(end - time.monotonic())
        head, _, rest = self.received.partition(b"\r\n\r\n")
        self.answer = Answer(head + b"\r\n\r\n")
        self.status = self.answer.status
        if self.status == 101:
            self.received = rest

    def say(self, type: str, **fields: Any) -> None:
        self.write(message(type, **fields))

    def take(self) -> list[Json]:
        """Return the messages that have come; a close frame sets `code`, pings are answered."""
        messages: list[Json] = []
        data, at = self.received, 0
        while len(data) - at >= 2:
            opcode, size, start = data[at] & 15, data[at + 1] & 127, at + 2
            if size >= 126:
                start = at + (4 if size == 126 else 10)
                size = int.from_bytes(data[at + 2 : start], "big")
            if len(data) < start + size:
                break
            payload = data[start : start + size]
            if opcode == CLOSE:
                self.code = int.from_bytes(payload[:2], "big")
            elif opcode == PING:
                self.write(frame(PONG, payload))
            elif opcode == TEXT:
                heard = json.loads(payload)
                messages.append(heard)
                name = heard.get("code", "") if heard["type"] == "ERROR" else heard["type"]
                self.counts[name] = self.counts.get(name, 0) + 1
            at = start + size
        self.received = data[at:]
        return messages

    def hear(self, *types: str, within: float = PATIENCE_SECONDS, **fields: Any) -> Json | None:
        """Return the next message of one of these types that has these fields, or None if none came in time."""
        end = time.monotonic() + within
        while True:
            messages = self.take()
            for at, heard in enumerate(messages):
                if heard["type"] in types and fields.items() <= heard.items():
                    self._put_back(messages[at + 1 :])
                    return heard
            left = end - time.monotonic()
            if left <= 0 or self.over or self.code is not None:
                return None
            self.read(left)

    def hear_all(self, type: str, **fields: Any) -> list[Json]:
        """Return all messages up to one of this type that has these fields; all that came if it does not come."""
        messages: list[Json] = []
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            for heard in self.take():
                messages.append(heard)
                if heard["type"] == type and fields.items() <= heard.items():
                    return messages
            left = end - time.monotonic()
            if left <= 0 or self.over or self.code is not None:
                return messages
            self.read(left)

    def _put_back(self, messages: list[Json]) -> None:
        for heard in messages:
            name = heard.get("code", "") if heard["type"] == "ERROR" else heard["type"]
            self.counts[name] -= 1
        back = b""
        for heard in messages:
            payload = json.dumps(heard).encode()
            size = len(payload)
            head = struct.pack("!BBQ", 0x81, 127, size)
            back += head + payload
        self.received = back + self.received

    def all(self, quiet: float = 0.2) -> list[Json]:
        """Return everything that comes until nothing has come for a while."""
        messages = self.take()
        while self.read(quiet):
            messages += self.take()
        return messages

    def join(self, room: str, user: str, **fields: Any) -> Json | None:
        """Join, and return the ROOM_STATE, or None."""
        self.say("JOIN", roomId=room, userId=user, **fields)
        return self.hear("ROOM_STATE")

    def bye(self) -> None:
        """End it properly."""
        with contextlib.suppress(OSError):
            self.write(frame(CLOSE, struct.pack("!H", 1000)))
        self.close()


def request(address: tuple[str, int], source: str, data: bytes, within: float = PATIENCE_SECONDS) -> Answer:
    """Return the answer to bytes that are written as they are."""
    with Wire(address, source) as wire:
        wire.write(data)
        end = time.monotonic() + within
        while not wire.over and time.monotonic() < end:
            wire.read(end - time.monotonic())
            answer = Answer(wire.received)
            length = answer.header(b"content-length")
            if answer.status and length.isdigit() and len(answer.body) >= int(length):
                break
        return Answer(wire.received)


def get(address: tuple[str, int], source: str, path: str, headers: str = "") -> Answer:
    """Return the answer to a GET."""
    return request(
        address, source, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode()
    )
