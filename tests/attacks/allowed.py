"""Allowed messages, sent at their limit by many connections: how to send them, how to count their cost, and its bounds.

Nothing here measures time. `lines` counts the lines of Python that run, `kept` the bytes that a node holds.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from twisted.internet.task import Clock
from twisted.logger import Logger

import tandemd
from tandemd import messages as m
from tandemd.app.settings import message_rates_of
from tandemd.archive import rows as records
from tandemd.archive.sql_archive import EVENT_BYTES
from tandemd.config import Config
from tandemd.config.schema import Limits
from tandemd.ratelimit import MessageLimits, Rate
from tandemd.ratelimit.message_rates import BUCKETS, TOLERANCE
from tandemd.ratelimit.scopes import WIDE
from tandemd.rooms.session import Session
from tandemd.rules.permissions import PERMISSIONS, Permission
from tandemd.store.redis import codec
from tandemd.websocket.client import ClientConnection

from ..support.fake_node import NETFLIX, Server
from ..support.socketless_transport import SocketlessTransport

CROWDS = (1, 30, 480)
"""Connections of one address, or of one /48."""
ROOM_SIZE = 96
"""Members in a room of a crowd: the limit of one address, less a few."""
ROOMS = 55
"""Rooms of a crowd whose members all want to be hosts: the limit of one address for a minute, less a few."""
REST = 60
"""Seconds after which a crowd has all the credit that it may have."""
LONG_ID = "\U0001f600" * 57
"""228 bytes; with a number it is as long as a user id may be."""
LONG_NAME = "\U0001f600" * 50
LONG_TEXT = "\U0001f600" * 2000
LONG_REASON = "\U0001f600" * 200
LONG_URL = f"{NETFLIX}/watch/" + "1" * 2000
LONG_SDP = "x" * 30_000


def name_of(kind: type[m.ClientMessage]) -> str:
    return str(kind.__struct_config__.tag)


def encoded(kind: type[m.ClientMessage], fields: dict[str, Any]) -> bytes:
    return json.dumps({"type": name_of(kind), **fields}).encode()


# -- cost

_PACKAGE = os.path.dirname(tandemd.__file__) + os.sep


def lines(function: Callable[[], object]) -> int:
    """Return how many lines of tandemd run while a function runs: each turn of a loop counts, and so does each call."""
    count = 0

    def line(frame: types.FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return line

    def call(frame: types.FrameType, event: str, argument: object) -> Any:
        return line(frame, event, argument) if frame.f_code.co_filename.startswith(_PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


_SHARED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    types.FrameType,
    Logger,
)
"""The objects that the program has once, however many clients it has."""


def kept(root: object, *elsewhere: object) -> int:
    """Return the bytes of everything that is reachable from an object, without the objects of the test."""
    seen = {id(one) for one in elsewhere}
    pending = [root]
    total = 0
    while pending:
        one = pending.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        pending += gc.get_referents(one)
    return total


class Cost(Struct, frozen=True, kw_only=True):
    """The highest cost of one message of a type, in the worst state of a room that its members can bring about.

    why: the reason of the numbers. lines: of Python, of one that is carried out. each: lines for each member of the room.
    stored: bytes in the log and the journal. row: bytes of the row in the archive. told, told_each: bytes that are sent to
    the sender and to all together, and to each member. kept: bytes of the node's memory that one connection can hold by it,
    beside the contents of its room.
    """

    why: str
    lines: int
    each: int = 0
    stored: int = 0
    row: int = 0
    told: int = 0
    told_each: int = 0
    kept: int = 4096


# -- who sends it

_ACKNOWLEDGED = re.compile(rb'"type":"ACK","id":(\d+)')
_ERROR = re.compile(rb'"type":"ERROR","code":"(\w+)"')
_STATE = re.compile(rb'"type":"ROOM_STATE".*?"epoch":(\d+),"seq":(\d+)')
_TOKEN = re.compile(rb'"token":"([^"]+)"')


class Mouth(SocketlessTransport):
    """One connection. told: bytes that it was sent. acknowledged: ids. errors: codes. thrown_out: with why."""

    def __init__(self, server: Server, room: str, user: str, address: str, number: int):
        self.server = server
        self.room = room
        self.user = user
        self.listens = True
        self.address = address
        self.number = number
        self.sent = 0
        self.told = 0
        self.acknowledged: list[int] = []
        self.errors: dict[str, int] = {}
        self.token = ""
        self.version = (0, 0)
        self.thrown_out = ""
        self.conns = 0
        self.connection: ClientConnection | None = None

    # -- sessions.Wire

    def write(self, data: bytes) -> None:
        self.told += len(data)
        if self.listens:
            self.acknowledged += map(int, _ACKNOWLEDGED.findall(data))
            for code in _ERROR.findall(data):
                self.errors[code.decode()] = self.errors.get(code.decode(), 0) + 1
            state = _STATE.search(data)
            if state is not None:
                self.version = int(state[1]), int(state[2])
                token = _TOKEN.search(data, state.start())
                self.token = token[1].decode() if token is not None else self.token

    def close(self, code: int, reason: str) -> None:
        self.thrown_out = f"{code} {reason}"

    def close_abusive(self, reason: str) -> None:
        self.thrown_out = reason

    def settled(self) -> None:
        if self.connection is not None:
            self.connection.join_finished()

    # -- actions

    def connect(self) -> None:
        server = self.server
        assert server.door.check(self.address) is None
        server.door.opened(self.address)
        self.conns += 1
        session = Session(f"node/boot/{self.number}-{self.conns}", self.address, self, server.outbox)
        session.meter = server.spending.address(self.address) if server.spending is not None else None
        self.connection = ClientConnection(
            session, server.rooms, server.store.clock, server.metrics.connections, server.limits
        )

    def say(self, payload: bytes) -> None:
        """Send a message, as a client can: one behind a JOIN waits until that is answered."""
        if self.connection is not None and not self.connection.joining and not self.thrown_out:
            self.sent += 1
            self.connection.received(payload)

    def drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.closed()
            self.server.door.closed(self.address)

    def join(self, **fields: Any) -> None:
        self.listens = True
        self.say(encoded(m.Join, {**joining(self), **fields}))
        self.server.outbox.flush()


def joining(mouth: Mouth) -> dict[str, Any]:
    """Return the fields of a JOIN that is as long as one may be; a member that has a token comes back with it."""
    fields: dict[str, Any] = {
        "roomId": mouth.room, "userId": mouth.user, "username": LONG_NAME, "keepsToken": True, "nonce": str(mouth.number),
    }  # fmt: skip
    if mouth.token:
        epoch, seq = mouth.version
        fields |= {"token": mouth.token, "resume": {"epoch": epoch, "seq": seq}}
    return fields


class Party:
    """The members of a room. present: the connected ones; the first one is host. lost: the others."""

    def __init__(self, members: list[Mouth], lost: list[Mouth]):
        self.present = members
        self.lost = lost

    def other(self, mouth: Mouth, number: int) -> str:
        """Return another member: every second time a lost one, if any is lost."""
        others = self.lost if self.lost and number % 2 else self.present
        return others[(number // 2 + mouth.number + 1) % len(others)].user


_Says = Callable[[Party, Mouth, int], dict[str, Any]]
_to: _Says = lambda party, mouth, number: {"to": party.other(mouth, number)}  # noqa: E731
_stranger: _Says = lambda party, mouth, number: {"targetUserId": f"{LONG_ID}b{number % 98}"}  # noqa: E731
_at: _Says = lambda party, mouth, number: {"currentTime": float(number), "isPlaying": True}  # noqa: E731

SAYS: dict[type[m.ClientMessage], _Says] = {
    m.Join: lambda party, mouth, number: joining(mouth),
    m.Leave: lambda party, mouth, number: {},
    m.Ping: lambda party, mouth, number: {},
    m.PlayPause: lambda party, mouth, number: {"control": ("play", "pause")[number % 2], "currentTime": 5.0 + number},
    m.Seek: _at,
    m.SetRate: lambda party, mouth, number: {"rate": (2.0, 1.0)[number % 2]},
    m.Ready: lambda party, mouth, number: {"targetTime": 7.0},
    m.HostHeartbeat: _at,
    m.PositionUpdate: _at,
    m.UrlChange: lambda party, mouth, number: {"url": f"{LONG_URL}{number % 10_000}"},
    m.RequestSync: lambda party, mouth, number: {},
    m.Status: lambda party, mouth, number: {"status": ("buffering", "watching")[number % 2]},
    m.UpdateUsername: lambda party, mouth, number: {"username": f"{number % 10_000}{LONG_NAME}"},
    m.ToggleGuestControl: lambda party, mouth, number: {"enabled": bool(number % 2)},
    m.WaitForBuffering: lambda party, mouth, number: {"enabled": not number % 2},
    m.TransferHost: lambda party, mouth, number: {"targetUserId": mouth.user},
    m.DelegateControl: lambda party, mouth, number: {
        "targetUserId": party.present[number // 2 % len(party.present)].user, "enabled": not number % 2,
    },
    m.LockRoom: lambda party, mouth, number: {"locked": not number % 2},
    m.Kick: lambda party, mouth, number: {"targetUserId": party.present[-1].user, "reason": LONG_REASON},
    m.Ban: lambda party, mouth, number: {**_stranger(party, mouth, number), "reason": LONG_REASON, "withMembers": "all"},
    m.Unban: _stranger,
    m.Admit: lambda party, mouth, number: {**_stranger(party, mouth, number), "admitted": True},
    m.Chat: lambda party, mouth, number: {"text": LONG_TEXT},
    m.Offer: lambda party, mouth, number: {**_to(party, mouth, number), "offer": {"type": "offer", "sdp": LONG_SDP}},
    m.Answer: lambda party, mouth, number: {**_to(party, mouth, number), "answer": {"type": "answer", "sdp": LONG_SDP}},
    m.IceCandidate: lambda party, mouth, number: {**_to(party, mouth, number), "candidate": {"candidate": "x" * 400}},
    m.PlaybackAck: lambda party, mouth, number: {**_to(party, mouth, number), "control": "play"},
    m.SyncResponse: lambda party, mouth, number: {
        **_to(party, mouth, number), **_at(party, mouth, number), "url": LONG_URL
    },
    m.Call: lambda party, mouth, number: {"joined": not number % 2},
    m.RequestIceServers: lambda party, mouth, number: {},
}  # fmt: skip
"""The most expensive message of each type. number: how many of this type the connection has sent before."""


SHORT = Limits(
    position_rate=Rate(10, 20),
    candidate_rate=Rate(10, 30),
    description_rate=Rate(4, 8),
    control_rate=Rate(5, 15),
    chat_rate=Rate(5, 15),
    ping_rate=Rate(5, 25),
    join_rate=Rate(2, 6),
    other_rate=Rate(5, 15),
    byte_rate=Rate(64 * 1024, 2048 * 1024),
    room_bytes_rate=Rate(16 * 1024, 1024 * 1024),
    room_deliveries_rate=Rate(1000, 60_000),
    address_bytes_rate=Rate(8 * 1024, 512 * 1024),
    address_deliveries_rate=Rate(500, 30_000),
    room_events_rate=Rate(2, 100),
)
"""The default limits with smaller rates and bursts, which are met sooner. They bound all messages alike."""


class Crowd:
    """Connections of one address, or of a /48, in as few rooms as they may be; a part of them is lost.

    many_rooms: in as many rooms as they may be: many are hosts.
    """

    def __init__(self, server: Server, clock: Any, count: int, wide: bool, *, many_rooms: bool):
        self.server = server
        self.clock = clock
        self.times = WIDE if wide else 1
        rooms = min(ROOMS, (count + 2) // 3) if many_rooms else (count + ROOM_SIZE - 1) // ROOM_SIZE
        self.parties: list[Party] = []
        self.mouths: list[Mouth] = []
        number = 0
        for room in range(rooms):
            size = count // rooms + (room < count % rooms)
            members = []
            for _ in range(size):
                address = f"2001:db8:1:{number:x}::/64" if wide else "203.0.113.7"
                members.append(Mouth(server, f"room-{room}", f"{LONG_ID}{number}", address, number))
                number += 1
            for member in members:
                member.connect()
                member.join()
            if size > 1:
                members[0].say(encoded(m.ToggleGuestControl, {"enabled": True}))
            lost = members[size - size // 4 :] if size > 3 else []
            self.parties.append(Party(members[: size - len(lost)], lost))
            self.mouths += members
        server.outbox.flush()
        # Coming in was charged; that is over when it begins.
        for _ in range(REST):
            clock.advance(1)
        for party in self.parties:
            for mouth in party.lost:
                mouth.drop()
        clock.advance(0)

    def speakers(self) -> Iterator[tuple[Party, Mouth]]:
        for party in self.parties:
            for mouth in party.present:
                yield party, mouth

    def go(self) -> None:
        """All lose their connections."""
        for mouth in self.mouths:
            mouth.drop()


def rate_of(kind: type[m.ClientMessage], limits: Limits) -> Rate:
    """Return how many of a type one connection may send: the rate of the bucket that the type has."""
    clock = Clock()
    taken = MessageLimits(clock, message_rates_of(Config(limits=limits)))
    bucket = BUCKETS[kind]
    return Rate(1 / taken.interval[bucket], round(taken.burst_window[bucket] / taken.interval[bucket] + 1 - TOLERANCE))


def hosts_only(kind: type[m.ClientMessage]) -> bool:
    return PERMISSIONS[kind] is Permission.HOST


def stored_bytes(server: Server) -> tuple[int, int, int]:
    """Return the size of all commits: bytes of changes as they are stored, rows in the archive, and their bytes."""
    size = rows = row_bytes = 0
    for _, commit in server.journal:
        size += sum(len(codec.encode_field(value)) + len(name) for name, value in commit.changes.items())
        size += len(codec.encode_commit(commit))
        if commit.has_row:
            rows += 1
            row_bytes += EVENT_BYTES
            row_bytes += 0 if commit.details is None else len(records.json_text(commit.details).encode())
    return size, rows, row_bytes


_ID = 240
"""Bytes of a user id as long as one may be, with its number."""
BOUNDS: dict[type[m.ClientMessage], Cost] = {
    m.Join: Cost(
        why="The member's fields, its USER_JOINED to all, and a ROOM_STATE of all members to itself; to a host also BANS.",
        lines=2400, each=18, stored=4200, row=700, told=32_000, told_each=1700, kept=8192,
    ),
    m.Leave: Cost(
        why="LEAVE and USER_LEFT to all, the host's successor, and who may come back as what it was.",
        lines=1500, each=26, stored=4000, row=760, told=2000, told_each=800,
    ),
    m.Ping: Cost(why="PONG.", lines=140, told=100),
    m.PlayPause: Cost(
        why="The film's state with its URL, in the hash and in the log; one message to all.",
        lines=1100, each=15, stored=10_000, row=430, told=1000, told_each=480,
    ),
    m.Seek: Cost(
        why="The ids of all who watch, in the hash and in the log; it is charged as long as it is.",
        lines=1200, each=30, stored=2 * (250 * _ID + 5000), row=420, told=1000, told_each=480,
    ),
    m.SetRate: Cost(
        why="As PLAY_PAUSE.", lines=1100, each=15, stored=10_000, row=430, told=1000, told_each=480,
    ),
    m.Ready: Cost(why="One answer to the gate, whose members are counted.", lines=1100, each=14, stored=3400, told=150),
    m.HostHeartbeat: Cost(why="Kept by the session only; the room looks at it when it sweeps.", lines=130, told=100),
    m.PositionUpdate: Cost(why="As HOST_HEARTBEAT.", lines=130, told=100),
    m.UrlChange: Cost(
        why="The URL in the hash, the log (twice) and the row; one message to all.",
        lines=1200, each=15, stored=16_000, row=3400, told=1000, told_each=3100,
    ),
    m.RequestSync: Cost(why="One answer to the sender.", lines=300, told=600),
    m.Status: Cost(why="The member's fields, and one message to all.", lines=1200, each=12, stored=4000, told=1000, told_each=330),
    m.UpdateUsername: Cost(
        why="The member's fields, and one message to all.",
        lines=1200, each=12, stored=4000, row=700, told=1000, told_each=690,
    ),
    m.ToggleGuestControl: Cost(
        why="One field, and one message to all.", lines=900, each=12, stored=3400, row=400, told=1000, told_each=90,
    ),
    m.WaitForBuffering: Cost(
        why="As TOGGLE_GUEST_CONTROL.", lines=1200, each=12, stored=3400, row=400, told=1000, told_each=110,
    ),
    m.TransferHost: Cost(
        why="One field, one message to all, and BANS, up to 100, to the new host.", lines=1800, each=12, stored=4600, row=740,
        told=39_000, told_each=400,
    ),
    m.DelegateControl: Cost(
        why="One field, and one message to all.", lines=1400, each=12, stored=4400, row=760, told=1000, told_each=430,
    ),
    m.LockRoom: Cost(
        why="One field, and one message to all.", lines=1200, each=12, stored=3200, row=400, told=1000, told_each=90,
    ),
    m.Kick: Cost(
        why="A bar of its own, LEAVE and USER_LEFT to all, KICKED to one, and BANS, up to 100, to the host.",
        lines=6700, each=60, stored=10_500, row=2300, told=50_000, told_each=1700,
    ),
    m.Ban: Cost(
        why="A bar of its own, and BANS, up to 100, to the host.", lines=4800, stored=6000, row=2000, told=39_000,
    ),
    m.Unban: Cost(
        why="A bar less, and BANS, up to 100, to the host.", lines=4200, stored=3900, row=740, told=39_000,
    ),
    m.Admit: Cost(
        why="The user id in the log of a locked room, and no message.", lines=1000, stored=2000, row=600, told=1000,
    ),
    m.Chat: Cost(
        why="The text in the log, and one message to all; its row has no text.",
        lines=1000, each=11, stored=16_000, row=400, told=1000, told_each=11_600,
    ),
    m.Offer: Cost(
        why="One frame, kept for a lost member, or for a moment until the other has shown life. Charged by its length.",
        lines=300, told=46_000, kept=6144,
    ),
    m.Answer: Cost(why="As OFFER.", lines=300, told=46_000, kept=6144),
    m.IceCandidate: Cost(why="As OFFER.", lines=300, told=1800, kept=6144),
    m.PlaybackAck: Cost(why="As OFFER.", lines=300, told=1200, kept=6144),
    m.SyncResponse: Cost(why="As OFFER; longer URLs than the server allows are left out.", lines=320, told=1300, kept=6144),
    m.Call: Cost(
        why="The member's fields, and one message to all.", lines=1000, each=12, stored=4000, told=1000, told_each=430,
    ),
    m.RequestIceServers: Cost(why="One answer to the sender; a credential for each TURN server.", lines=200, told=300),
}  # fmt: skip
"""The allowed cost of each type. A new type needs a line here, measured in `tests.test_allowed`: about 1.5 times that."""
