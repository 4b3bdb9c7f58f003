"""One process of clients: raw sockets and epoll. It parses as little of the messages as possible.

A program of its own: reads a Load as one line of JSON, joins its clients, says so, and for every further line (JSON:
`seconds`, and changes of the Load) loads the server for so long and writes its observations as one line of JSON.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

CONNECTING = 64
"""How many connections are being made at a time."""

PATIENCE = 120.0
"""Seconds within which all clients must have joined."""

DRAIN = 2.0
"""Seconds at most that sent messages may take to arrive, after the load."""

PRECISION = 6


@dataclass
class Load:
    """The clients of one process.

    ports: of the nodes; clients are spread over them. first_room: number of the first of `rooms`. members: clients a room.
    kind: CHAT, PLAY_PAUSE or ICE_CANDIDATE. senders: a room. window: messages a sender has on the way. rate: messages a
    second and room, by its senders in turn, instead of a window; 0: none. positions: POSITION_UPDATEs a second of every client.
    remote: latency counts only where a message has come from another node.
    """

    ports: list[int]
    name: str = "bench"
    first_room: int = 0
    rooms: int = 20
    members: int = 10
    kind: str = "CHAT"
    senders: int = 1
    window: int = 1
    rate: float = 0.0
    positions: float = 0.0
    remote: bool = False


MARKS = {
    # Every delivery of a kind contains the first text once; the time of sending ends at the second.
    "CHAT": (b'{"type":"CHAT"', b'"text":"', b" "),
    "PLAY_PAUSE": (b'{"type":"PLAY_PAUSE"', b'"currentTime":', b","),
    "ICE_CANDIDATE": (b'{"type":"ICE_CANDIDATE"', b'"candidate":{"candidate":"', b" "),
}


def stamp() -> str:
    """Return the time as a number that is a position in a film, the same clock for all processes."""
    return f"{1_000_000 + time.monotonic() % 1_000_000:.{PRECISION}f}"


def masked(text: str) -> bytes:
    """Return a client's text frame."""
    payload = text.encode()
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    mask = b"\x11\x22\x33\x44"
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class Room:
    """at: the position that was last sent, as its clients' players have it."""

    __slots__ = ("at", "members")

    def __init__(self) -> None:
        self.members: list[Client] = []
        self.at = "0"


class Client:
    __slots__ = ("left", "node", "number", "own", "rest", "room", "sender", "socket", "target", "user")

    def __init__(self, room: Room, number: int, user: str, node: int, sender: bool):
        self.room = room
        self.number = number
        self.user = user
        self.node = node
        self.sender = sender
        self.socket: socket.socket | None = None
        self.rest = b""
        self.left = b""
        self.own = b'"userId":"' + user.encode() + b'"'
        self.target = number


@dataclass
class Seen:
    """The results of one load."""

    sent: int = 0
    delivered: int = 0
    positions: int = 0
    errors: int = 0
    closed: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    arrivals: dict[float, tuple[float, float]] = field(default_factory=dict)
    """The first and the last arrival of a message, by the time of sending."""

    def as_json(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)

        def at(share: float) -> float:
            return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else 0.0

        return {
            **{name: getattr(self, name) for name in ("sent", "delivered", "positions", "errors", "closed", "seconds")},
            "spread": round(1000 * max((last - first for first, last in self.arrivals.values()), default=0.0), 3),
            "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0),
        }  # fmt: skip


class Crowd:
    """The clients of this process."""

    def __init__(self, load: Load):
        self.load = load
        self.seen = Seen()
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self._mark, self._stamp, self._end = MARKS[load.kind]
        self.rooms: list[Room] = []
        self.clients: list[Client] = []
        for number in range(load.first_room, load.first_room + load.rooms):
            room = Room()
            self.rooms.append(room)
            for i in range(load.members):
                client = Client(room, i, f"{number}-{i}", i % len(load.ports), i < load.senders)
                room.members.append(client)
                self.clients.append(client)

    # ---- joining

    def join(self) -> dict[str, Any]:
        """Connect and join all clients; return how many joined, in how many seconds."""
        began = time.monotonic()
        # Hosts first: they send.
        waiting = iter(sorted(self.clients, key=lambda client: client.number > 0))
        held: Client | None = None
        joined = pending = 0
        stages: dict[int, int] = {}
        while joined < len(self.clients):
            while pending < CONNECTING and (client := held or next(waiting, None)) is not None:
                held = client if client.number and joined < len(self.rooms) else None
                if held:
                    break
                self._connect(client)
                assert client.socket is not None
                stages[client.socket.fileno()] = 0
                pending += 1
            for fd, _ in self._epoll.poll(1):
                client = self._by_fd[fd]
                stage = stages.get(fd, 2)
                if stage == 0:
                    stages[fd] = self._handshake(client)
                    continue
                data = self._read(client)
                if stage == 1 and b"\r\n\r\n" in data:
                    assert client.socket is not None
                    client.socket.send(masked(self._join_message(client)))
                    stages[fd] = 2
                    data = data.partition(b"\r\n\r\n")[2]
                if stage <= 2 and fd in stages and b'"ROOM_STATE"' in client.left + data:
                    del stages[fd]
                    client.left = b""
                    joined += 1
                    pending -= 1
                elif fd in stages:
                    client.left += data
            if time.monotonic() - began > PATIENCE:
                break
        seconds = time.monotonic() - began
        if self.load.senders > 1 and self.load.kind == "PLAY_PAUSE":
            for room_ in self.rooms:
                self._send(room_.members[0], '{"type":"TOGGLE_GUEST_CONTROL","enabled":true}')
        self._settle(0.3)
        self.seen = Seen()
        return {"joined": joined, "seconds": seconds}

    def _connect(self, client: Client) -> None:
        client.socket = socket.socket()
        client.socket.setblocking(False)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = client.socket.connect_ex(("127.0.0.1", self.load.ports[client.node]))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._by_fd[client.socket.fileno()] = client
        self._epoll.register(client.socket.fileno(), select.EPOLLOUT)

    def _handshake(self, client: Client) -> int:
        assert client.socket is not None
        client.socket.send(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._epoll.modify(client.socket.fileno(), select.EPOLLIN)
        return 1

    def _join_message(self, client: Client) -> str:
        room = f"{self.load.name}-{client.user.partition('-')[0]}"
        return f'{{"type":"JOIN","roomId":"{room}","userId":"{client.user}","username":"{client.user}"}}'

    # ---- the load

    def run(self, seconds: float, **changes: Any) -> Seen:
        """Load the server for so long, then wait until all sent messages have arrived. changes: fields of the load."""
        self.load = replace(self.load, **changes)
        self._mark, self._stamp, self._end = MARKS[self.load.kind]
        load, self.seen = self.load, Seen()
        began = time.monotonic()
        end = began + seconds
        if not load.rate:
            for client in self.clients:
                if client.sender:
                    for _ in range(load.window):
                        self._say(client)
        beats = self._positions(began)
        controls = self._at_rate(began)
        paced = bool(load.rate or load.positions)
        while (now := time.monotonic()) < end:
            next(beats)
            next(controls)
            self._poll(0.001 if paced else min(0.1, end - now), again=not load.rate)
        self.seen.seconds = time.monotonic() - began
        self._settle(DRAIN)
        return self.seen

    def _positions(self, began: float) -> Iterator[None]:
        """At each step send the positions that are due, evenly spread over time."""
        load, sent = self.load, 0
        while True:
            due = int((time.monotonic() - began) * load.positions * len(self.clients))
            for number in range(sent, due):
                client = self.clients[number % len(self.clients)]
                self._send(
                    client,
                    f'{{"type":"POSITION_UPDATE","currentTime":{client.room.at},"isPlaying":false,"timestamp":0}}',
                )
            self.seen.positions += due - sent
            sent = due
            yield

    def _at_rate(self, began: float) -> Iterator[None]:
        load, sent = self.load, 0
        while True:
            due = int((time.monotonic() - began) * load.rate * len(self.rooms))
            for number in range(sent, due):
                turn, room = divmod(number, len(self.rooms))
                self._say(self.rooms[room].members[turn % load.senders])
            sent = due
            yield

    def _settle(self, seconds: float) -> None:
        """Read until nothing has come for a moment."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._poll(0.1, again=False):
            pass

    def _say(self, client: Client) -> None:
        """Send one message of the load's kind."""
        now = stamp()
        if self.load.kind == "CHAT":
            text = f'{{"type":"CHAT","text":"{now} a line of chat of an ordinary length, nothing more"}}'
        elif self.load.kind == "PLAY_PAUSE":
            client.room.at = now
            text = f'{{"type":"PLAY_PAUSE","control":"pause","currentTime":{now}}}'
        else:
            members = client.room.members
            client.target = (client.target + 1) % len(members)
            if client.target == client.number:
                client.target = (client.target + 1) % len(members)
            text = (
                f'{{"type":"ICE_CANDIDATE","to":"{members[client.target].user}","candidate":{{"candidate":"{now} 1 udp '
                "1677729535 192.0.2.7 46154 typ srflx raddr 10.0.0.17 rport 46154 generation 0 ufrag EEtu network-cost 999"
                '","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"EEtu"}}'
            )
        self.seen.sent += 1
        self._send(client, text)

    def _send(self, client: Client, text: str) -> None:
        frame = masked(text)
        assert client.socket is not None
        try:
            sent = 0 if client.rest else client.socket.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it is counted when it is read
        if sent < len(frame):
            client.rest += frame[sent:]
            self._epoll.modify(client.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _poll(self, wait: float, again: bool) -> bool:
        """Read a socket; `again`: a client that received its own message sends the next. Return whether data arrived."""
        events = self._epoll.poll(wait, 1000)
        for fd, event in events:
            client = self._by_fd.get(fd)
            if client is None:
                continue
            if event & select.EPOLLOUT:
                self._write_rest(client)
            if event & ~select.EPOLLOUT:
                data = self._read(client)
                if data:
                    self._heard(client, data, again)
        return bool(events)

    def _write_rest(self, client: Client) -> None:
        assert client.socket is not None
        try:
            client.rest = client.rest[client.socket.send(client.rest) :]
        except OSError:
            return
        if not client.rest:
            self._epoll.modify(client.socket.fileno(), select.EPOLLIN)

    def _read(self, client: Client) -> bytes:
        assert client.socket is not None
        try:
            data = client.socket.recv(262_144)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.seen.closed += 1
            fd = client.socket.fileno()
            self._epoll.unregister(fd)
            del self._by_fd[fd]
            client.socket.close()
        return data

    def _heard(self, client: Client, data: bytes, again: bool) -> None:
        seen = self.seen
        data = client.left + data
        # The rest is shorter than a message and begins at one, so nothing is counted twice or missed.
        begin = data.rfind(b'{"type":"')
        if begin > 0 and not data.endswith(b"}"):
            client.left, data = data[begin:], data[:begin]
        elif begin >= 0 and not data.endswith(b"}"):
            client.left = data
            return
        else:
            client.left = b""
        count = data.count(self._mark)
        if b'"type":"ERROR"' in data:
            seen.errors += data.count(b'"type":"ERROR"')
        if not count:
            return
        seen.delivered += count
        if not self.load.remote or client.node != 0:
            self._note(data)
        if again:
            if self.load.kind == "ICE_CANDIDATE":
                for _ in range(count):
                    self._say(client.room.members[0])
            elif client.sender:
                for _ in range(data.count(client.own)):
                    self._say(client)

    def _note(self, data: bytes) -> None:
        """Note how long the first message of a chunk, which has waited longest, has taken."""
        at = data.find(self._stamp, data.find(self._mark)) + len(self._stamp)
        sent = float(data[at : data.find(self._end, at)])
        now = 1_000_000 + time.monotonic() % 1_000_000
        self.seen.latencies.append(now - sent)
        self.seen.arrivals[sent] = self.seen.arrivals.get(sent, (now, now))[0], now


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(Load(**json.loads(sys.stdin.readline())))
    answer(crowd.join())
    for line in sys.stdin:
        answer(crowd.run(**json.loads(line)).as_json())


def answer(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
