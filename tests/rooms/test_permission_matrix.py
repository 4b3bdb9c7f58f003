"""Every message type from each kind of sender: the declared result is tried on the real service.

A type without a permission, an example and a row here fails the suite.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.app.metrics import NodeMetrics
from tandemd.errors import ERROR_MEANINGS, RequestError
from tandemd.rooms.factory import make_room_service
from tandemd.rooms.outbox import Outbox
from tandemd.rooms.session import Session
from tandemd.rules.commands import Command
from tandemd.rules.permissions import PERMISSIONS
from tandemd.rules.state import Pin
from tandemd.store.memory import MemoryStore
from tandemd.websocket.client import ClientConnection
from tests.support.settings import bounds, join_limits, playback_sync_settings

from ..support.rules_fixture import START, TITLE, World, make_rules
from ..support.socketless_transport import SocketlessTransport

ROLES = ("stranger", "guest", "controller", "delegate", "host", "detached", "grace", "early", "late")
"""stranger: in no room. controller: a guest while guest control is on. delegate: a guest to whom control was
delegated. detached: a guest's older connection.
grace: a lost connection, heard once more. early, late: a guest while the host has been gone for less, or more, than 10 s."""

_ = "ok"
F = "forbidden"
N = "not_joined"
D = "detached"
C = "identity_conflict"

EXPECTED: dict[type[m.ClientMessage], tuple[str, ...]] = {
    #                     stranger guest controller delegate host detached grace early late
    # An old client's living connection is probed before another takes over by its address.
    m.Join:               (_,     _,    _,        _,       _,   C,       _,    _,    _),
    m.Ping:               (_,     _,    _,        _,       _,   _,       _,    _,    _),
    m.Leave:              (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.PlayPause:          (N,     F,    _,        _,       _,   D,       D,    F,    _),
    m.Seek:               (N,     F,    _,        _,       _,   D,       D,    F,    _),
    m.SetRate:            (N,     F,    _,        _,       _,   D,       D,    F,    _),
    m.UrlChange:          (N,     F,    _,        _,       _,   D,       D,    F,    _),
    m.HostHeartbeat:      (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.PositionUpdate:     (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.Ready:              (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.RequestSync:        (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.Status:             (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.UpdateUsername:     (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.Chat:               (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.ToggleGuestControl: (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.WaitForBuffering:   (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.TransferHost:       (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.DelegateControl:    (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.LockRoom:           (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.Kick:               (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.Ban:                (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.Unban:              (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.Admit:              (N,     F,    F,        F,       _,   D,       D,    F,    F),
    m.Offer:              (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.Answer:             (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.IceCandidate:       (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.PlaybackAck:        (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.SyncResponse:       (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.Call:               (N,     _,    _,        _,       _,   D,       D,    _,    _),
    m.RequestIceServers:  (N,     _,    _,        _,       _,   D,       D,    _,    _),
}  # fmt: skip

EXAMPLES: dict[type[m.ClientMessage], dict[str, Any]] = {
    m.Join: {"roomId": "r"},
    m.Ping: {},
    m.Leave: {},
    m.PlayPause: {"control": "play", "currentTime": 5},
    m.Seek: {"currentTime": 5, "isPlaying": True},
    m.SetRate: {"rate": 1.5},
    m.UrlChange: {"url": TITLE},
    m.HostHeartbeat: {"currentTime": 5, "isPlaying": True},
    m.PositionUpdate: {"currentTime": 5, "isPlaying": True},
    m.Ready: {"targetTime": 5},
    m.RequestSync: {},
    m.Status: {"status": "buffering"},
    m.UpdateUsername: {"username": "New"},
    m.Chat: {"text": "hi"},
    m.ToggleGuestControl: {"enabled": False},
    m.WaitForBuffering: {"enabled": True},
    m.TransferHost: {"targetUserId": "other"},
    m.DelegateControl: {"targetUserId": "other", "enabled": True},
    m.LockRoom: {"locked": True},
    m.Kick: {"targetUserId": "other"},
    m.Ban: {"targetUserId": "other"},
    m.Unban: {"targetUserId": "banned"},
    m.Admit: {"targetUserId": "newcomer", "admitted": True},
    m.Offer: {"to": "other", "offer": {"type": "offer", "sdp": "v=0"}},
    m.Answer: {"to": "other", "answer": {"type": "answer", "sdp": "v=0"}},
    m.IceCandidate: {"to": "other", "candidate": {"candidate": "c", "sdpMid": "0", "sdpMLineIndex": 0}},
    m.PlaybackAck: {"to": "other", "control": "play"},
    m.SyncResponse: {"to": "other", "currentTime": 5, "isPlaying": True, "url": TITLE},
    m.Call: {"joined": True},
    m.RequestIceServers: {},
}


def tag(kind: type[m.ClientMessage]) -> str:
    return str(kind.__struct_config__.tag)


class FakeWire(SocketlessTransport):
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def settled(self) -> None:
        self.connection.join_finished()

    connection: ClientConnection


class Party:
    """The real room service and its connections, without sockets.

    "host", "guest" and "other" are in room "r"; "banned" may not come in.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = START
        self.store = MemoryStore(self.clock, 100, lambda room, commit: None, bounds())
        self.metrics = NodeMetrics("0", "n")
        self.outbox = Outbox(self.clock, self.metrics.rooms.deliveries)
        self.rooms = make_room_service(
            self.store,
            "n/boot/",
            make_rules(),
            self.clock,
            self.outbox,
            self.metrics.rooms,
            lambda pin, salt: succeed(Pin(salt, pin)),
            playback_sync_settings(),
            lambda join: None,
            join_limits(),
        )
        self.count = 0
        self.wires: dict[ClientConnection, FakeWire] = {}
        self.host, self.guest, self.other = self.join("host"), self.join("guest"), self.join("other")
        self.send(self.host, {"type": "BAN", "targetUserId": "banned"})

    def connect(self, address: str) -> ClientConnection:
        self.count += 1
        wire = FakeWire()
        session = Session(f"n/boot/{self.count}", address, wire, self.outbox)
        wire.connection = ClientConnection(session, self.rooms, self.store.clock, self.metrics.connections)
        self.wires[wire.connection] = wire
        return wire.connection

    def join(self, user: str) -> ClientConnection:
        connection = self.connect(user)
        self.send(connection, {"type": "JOIN", "roomId": "r", "userId": user, "username": user})
        return connection

    def send(
        self, connection: ClientConnection, message: dict[str, Any]
    ) -> dict[ClientConnection, list[dict[str, Any]]]:
        """Send, and return the messages of each connection."""
        for wire in self.wires.values():
            wire.data = b""
        connection.received(json.dumps(message).encode())
        self.clock.advance(0)
        return {connection: list(frames(wire.data)) for connection, wire in self.wires.items() if wire.data}

    def take_role(self, role: str) -> tuple[str, ClientConnection]:
        """Return a user and its connection in a role."""
        if role == "stranger":
            return "stranger", self.connect("stranger")
        if role == "host":
            return "host", self.host
        if role == "controller":
            self.send(self.host, {"type": "TOGGLE_GUEST_CONTROL", "enabled": True})
        elif role == "delegate":
            self.send(self.host, {"type": "DELEGATE_CONTROL", "targetUserId": "guest", "enabled": True})
        elif role == "detached":
            self.join("guest")
        elif role in ("early", "late"):
            self.host.closed()
            del self.wires[self.host]
            self.clock.advance(5 if role == "early" else 11)
        return "guest", self.guest


def frames(data: bytes) -> Any:
    """Yield the messages in unmasked text frames."""
    while data:
        length, at = data[1], 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        yield json.loads(data[at : at + length])
        data = data[at + length :]


class TableTests(SynchronousTestCase):
    def test_every_type_has_its_row_its_permission_and_its_example(self) -> None:
        declared = set(m.CLIENT_MESSAGES)
        self.assertEqual(set(EXPECTED), declared)
        self.assertEqual(set(PERMISSIONS), declared)
        self.assertEqual(set(EXAMPLES), declared)
        self.assertEqual({len(row) for row in EXPECTED.values()}, {len(ROLES)})
        self.assertLessEqual({code for row in EXPECTED.values() for code in row}, {*ERROR_MEANINGS, "ok"})

    def test_every_declared_type_can_be_decoded(self) -> None:
        for kind, fields in EXAMPLES.items():
            message = {"type": tag(kind), "userId": "u", **fields}
            self.assertIs(type(m.decode(json.dumps(message).encode())), kind)

    def test_every_relay_is_declared_as_one(self) -> None:
        for kind in get_args(m.Relay):
            fields = {"type": tag(kind), **EXAMPLES[kind]}
            relayed = json.loads(m.encode(m.relayed(m.decode(json.dumps(fields).encode()), "me")))
            self.assertEqual((relayed["userId"], relayed["to"], relayed["type"]), ("me", "other", tag(kind)))

    def test_the_commands_that_the_rules_decide_need_no_more_than_the_service_lets_through(self) -> None:
        """In grace a connection is closed: only the rules can be asked, as a slow node would."""
        for kind, row in EXPECTED.items():
            if kind in (m.Join, m.Ping) or kind not in make_rules()._client:
                continue
            world = World()
            world.join_all("host", "guest", "other")
            world.lose("guest")
            fields = {"type": tag(kind), **EXAMPLES[kind]}
            with self.assertRaises(RequestError) as raised:
                world.decide("guest", m.decode(json.dumps(fields).encode()))
            self.assertEqual(raised.exception.code, row[ROLES.index("grace")], kind)

    def test_a_type_the_rules_do_not_know_is_a_fault_of_ours(self) -> None:
        class Unknown(msgspec.Struct):
            id: int | None = None

        world = World()
        self.assertRaises(TypeError, world.rules.decide, world.room, Command("a", "c", Unknown()), START)


def _case(kind: type[m.ClientMessage], role: str, expected: str) -> Callable[[TableTests], None]:
    def test(self: TableTests) -> None:
        party = Party()
        user, connection = party.take_role(role)
        before = self.successResultOf(party.store.load("r"))
        told = party.send(connection, {"type": tag(kind), "id": 7, "userId": user, **EXAMPLES[kind]})
        answers = [x for x in told.pop(connection, []) if x.get("id") == 7]
        self.assertEqual(len(answers), 1, answers)
        outcome = answers[0].get("code", "ok" if answers[0]["type"] == "ACK" else answers[0]["type"])
        self.assertEqual(outcome, expected)
        if expected != "ok":
            after = self.successResultOf(party.store.load("r"))
            self.assertEqual((after.version, after.fields()), (before.version, before.fields()))
            self.assertEqual(told, {})

    return test


for _kind, _row in EXPECTED.items():
    for _role, _code in zip(ROLES, _row, strict=True):
        if _role != "grace":
            setattr(TableTests, f"test_{tag(_kind).lower()}_by_{_role}", _case(_kind, _role, _code))
