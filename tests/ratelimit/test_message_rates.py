"""The limits of one connection and one address, and the answers to messages beyond them."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandemd import messages as m
from tandemd.app.settings import connection_limits_of, message_rates_of, rules_of
from tandemd.config import Config
from tandemd.config.schema import Limits
from tandemd.errors import RequestError
from tandemd.metrics import LabeledCounter
from tandemd.ratelimit import MessageLimits, Penalties, Rate
from tandemd.ratelimit.message_rates import BUCKETS
from tandemd.ratelimit.metrics import LIMIT_REASONS
from tandemd.ratelimit.penalties import CALM
from tandemd.web import Addresses, ConnectionLimiter, ConnectionLimits, Quota
from tandemd.web.responses import rejection_answer
from tandemd.websocket.client import ClientConnection
from tests.support.settings import protocol_settings

from ..support import rules_fixture as rules_world
from ..support.fake_node import TITLE, Client, Link, ServiceTestCase, frame

CONTINUATION, TEXT, PING, PONG = 0, 1, 9, 10
CHAT = BUCKETS[m.Chat]

SAMPLES: dict[str, dict[str, Any]] = {
    "JOIN": {"roomId": "room", "userId": "eve"},
    "LEAVE": {},
    "PING": {},
    "PLAY_PAUSE": {"control": "play"},
    "SEEK": {"currentTime": 1},
    "READY": {"targetTime": 1},
    "HOST_HEARTBEAT": {"currentTime": 1, "isPlaying": True},
    "POSITION_UPDATE": {"currentTime": 1, "isPlaying": True},
    "URL_CHANGE": {"url": TITLE},
    "REQUEST_SYNC": {},
    "SYNC_RESPONSE": {"to": "ann", "currentTime": 1, "isPlaying": True},
    "OFFER": {"to": "ann", "offer": {"type": "offer", "sdp": "v=0"}},
    "ANSWER": {"to": "ann", "answer": {"type": "answer", "sdp": "v=0"}},
    "ICE_CANDIDATE": {"to": "ann", "candidate": None},
    "PLAYBACK_ACK": {"to": "ann"},
    "UPDATE_USERNAME": {"username": "Eve"},
    "TOGGLE_GUEST_CONTROL": {"enabled": True},
    "TRANSFER_HOST": {"targetUserId": "ann"},
    "CHAT": {"text": "hello"},
}


class RateTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.limits = MessageLimits(self.clock, message_rates_of(Config(limits=Limits(chat_rate=Rate(2, 5)))))
        self.buckets = self.limits.new_buckets()

    def take(self, times: int) -> list[float]:
        return [round(self.limits.take(self.buckets, CHAT), 6) for _ in range(times)]

    def test_burst_then_rate(self) -> None:
        self.assertEqual(self.take(7), [0, 0, 0, 0, 0, 0.5, 0.5])
        self.clock.advance(0.5)
        self.assertEqual(self.take(2), [0, 0.5])
        self.clock.advance(100)
        self.assertEqual(self.take(6), [0, 0, 0, 0, 0, 0.5])

    def test_being_refused_costs_nothing(self) -> None:
        self.take(50)
        self.clock.advance(0.5)
        self.assertEqual(self.take(1), [0])

    def test_the_clock_is_not_asked_where_the_bucket_is_not_empty(self) -> None:
        self.clock.advance(50)
        self.take(5)
        self.assertEqual(self.limits.now, 0)

    def test_every_type_has_a_bucket(self) -> None:
        self.assertEqual(set(BUCKETS), set(m.CLIENT_MESSAGES))
        self.assertLessEqual(set(SAMPLES), {str(kind.__struct_config__.tag) for kind in BUCKETS})


class PenaltyTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.penalties = Penalties(self.clock, 10, 3600, kept=1000)

    def offend(self, address: str = "a") -> float:
        self.penalties.punish(address)
        return self.penalties.wait(address)

    def test_grows_and_decays(self) -> None:
        waits = []
        for _ in range(12):
            waits.append(self.offend())
            self.clock.advance(waits[-1])
            self.assertEqual(self.penalties.wait("a"), 0)
        self.assertEqual(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600])
        self.clock.advance(11 * CALM)
        self.assertEqual(self.offend(), 20)
        self.clock.advance(20 + 3 * CALM)
        self.assertEqual(self.offend(), 10)

    def test_while_it_is_kept_out_the_others_at_the_address_count_once(self) -> None:
        self.offend()
        self.clock.advance(4)
        self.assertEqual([self.offend() for _ in range(100)], [6] * 100)

    def test_no_other_address(self) -> None:
        self.offend()
        self.assertEqual((self.penalties.wait("b"), self.offend("")), (0, 0))

    def test_forgotten(self) -> None:
        self.offend()
        self.clock.advance(10 + CALM)
        self.penalties.wait("a")
        self.assertEqual(len(self.penalties), 0)

    def test_memory_is_bounded(self) -> None:
        for number in range(100_000):
            self.offend(str(number))
        self.assertEqual(len(self.penalties), 1000)
        self.assertEqual((self.penalties.wait("99000"), self.penalties.wait("98999")), (10, 0))


class Channel:
    def __init__(self) -> None:
        self.dropped = 0

    def drop(self) -> None:
        self.dropped += 1


class QuotaTest(TestCase):
    def test_the_oldest_goes(self) -> None:
        limited = LabeledCounter("limited", "", "reason")
        waiting = Quota(5, 2, limited, "pending_handshakes")
        channels = [Channel() for _ in range(9)]
        for channel, address in zip(channels, "aabbaaccc", strict=True):
            waiting.add(channel, address)
        # The third and fourth of a, then the third of c; otherwise never more than five, but once.
        self.assertEqual([channel.dropped for channel in channels], [1, 1, 1, 0, 0, 0, 1, 0, 0])
        self.assertEqual((len(waiting), limited), (5, {"pending_handshakes": 4}))
        for channel in channels:
            waiting.remove(channel)
            waiting.remove(channel)
        self.assertEqual((len(waiting), waiting._by_scope), (0, {}))

    def test_who_has_said_something_stays(self) -> None:
        waiting = Quota(2, 0)
        honest = Channel()
        waiting.add(honest, "a")
        waiting.remove(honest)
        for _ in range(10):
            waiting.add(Channel(), "")
        self.assertEqual((honest.dropped, len(waiting)), (0, 2))


class DoorTest(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limited = LabeledCounter("limited", "", "reason")

    def door(self, *settings: float) -> ConnectionLimiter:
        return ConnectionLimiter(self.clock, ConnectionLimits(*settings), self.limited)  # type: ignore[arg-type]

    def refused(self, door: ConnectionLimiter, address: str) -> tuple[int, float] | None:
        rejection = door.check(address)
        if rejection is None:
            return None
        answer = rejection_answer(rejection)
        assert isinstance(answer.body, bytes)
        body = json.loads(answer.body)
        self.assertIn("error", body)
        self.assertEqual(body["code"], {429: "rate_limited", 503: "unavailable"}[answer.status])
        headers = dict(answer.headers)
        self.assertEqual(int(headers["Retry-After"]), -int(-body["retryAfterMs"] // 1000))
        return answer.status, body["retryAfterMs"] / 1000

    def test_of_one_address(self) -> None:
        door = self.door(0, 3)
        for _ in range(3):
            self.assertIsNone(self.refused(door, "a"))
            door.opened("a")
        self.assertEqual(self.refused(door, "a"), (429, 10))
        self.assertIsNone(self.refused(door, "b"))
        door.closed("a")
        self.assertIsNone(self.refused(door, "a"))
        self.assertEqual(self.limited, {"connections_per_address": 1})

    def test_in_all(self) -> None:
        """That is no client's fault, and another node may have room."""
        door = self.door(3, 0)
        for address in ("a", "b", ""):
            self.assertIsNone(self.refused(door, address))
            door.opened(address)
        self.assertEqual(self.refused(door, "c"), (503, 10))
        door.closed("")
        self.assertIsNone(self.refused(door, "c"))

    def test_new_ones(self) -> None:
        door = self.door(0, 0, 60)
        self.assertEqual([self.refused(door, "a") for _ in range(61)], [None] * 60 + [(429, 1)])
        self.assertIsNone(self.refused(door, "b"))
        self.clock.advance(1)
        self.assertEqual([self.refused(door, "a") for _ in range(2)], [None, (429, 1)])

    def test_nothing_is_left_of_those_who_have_left(self) -> None:
        door = self.door(0, 3)
        for number in range(1000):
            door.opened(str(number))
            door.closed(str(number))
        self.assertEqual((door._open, door._count), ({}, 0))

    def test_a_wide_ipv6_network(self) -> None:
        """A /48 has eight times the budget of each of its 65536 networks."""
        networks = [f"2001:db8:7:{number:x}::/64" for number in range(30)]
        door = self.door(0, 3, 60)
        for network in networks[:8]:
            for _ in range(3):
                self.assertIsNone(self.refused(door, network))
                door.opened(network)
        self.assertEqual(self.refused(door, networks[9]), (429, 10))
        self.assertIsNone(self.refused(door, "2001:db8:8::/64"))
        door.closed(networks[0])
        self.assertIsNone(self.refused(door, networks[9]))
        door = self.door(0, 0, 6)
        self.assertEqual([self.refused(door, network) is None for network in networks], [True] * 30)
        self.assertEqual([self.refused(door, networks[i % 30]) is None for i in range(60)], [True] * 18 + [False] * 42)

    def test_a_wide_ipv6_network_is_kept_out(self) -> None:
        door = self.door(0, 0, 0, 10, 100)
        for number in range(8):
            self.assertIsNone(self.refused(door, "2001:db8:7:ffff::/64"))
            door.penalize(f"2001:db8:7:{number}::/64")
            door.penalize(f"2001:db8:7:{number}::/64")
        self.assertEqual(self.refused(door, "2001:db8:7:ffff::/64"), (429, 10))
        self.assertIsNone(self.refused(door, "2001:db8:8::/64"))
        self.clock.advance(11)
        self.assertIsNone(self.refused(door, "2001:db8:7:ffff::/64"))

    def test_where_addresses_mean_nothing(self) -> None:
        door = self.door(0, 3, 3, 10, 10)
        door.penalize("")
        for _ in range(10):
            self.assertIsNone(self.refused(door, ""))
            door.opened("")

    def test_off(self) -> None:
        door = self.door()
        for _ in range(2000):
            self.assertIsNone(self.refused(door, "a"))
            door.opened("a")
            door.penalize("a")
        self.assertEqual(connection_limits_of(Config(limits=Limits(enabled=False))), ConnectionLimits())


class Asking(Protocol):
    """Reads the answer to a handshake."""

    def __init__(self) -> None:
        self.answer = b""

    def dataReceived(self, data: bytes) -> None:
        self.answer += data


class LimitsTestCase(ServiceTestCase):
    """ann watches; eve does too much of something."""

    options: dict[str, Any] = {"limits": Limits()}

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", peer="10.0.0.1")
        self.eve = self.world.join("eve", peer="10.6.6.6")
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.eve.told()

    @property
    def limited(self) -> dict[str, int]:
        return {reason: count for reason, count in self.world.server.metrics.limits.rate_limited.items() if count}

    def flood(self, kind: str, count: int, **fields: Any) -> list[dict[str, Any]]:
        """Send as many at once, and return the ERRORs."""
        data = frame(TEXT, json.dumps({"type": kind, **SAMPLES[kind], **fields}).encode())
        self.eve.raw(data * count)
        return self.eve.told("ERROR")

    def handshake(self, peer: str, headers: str = "") -> bytes:
        """Return the first line of the answer to a handshake, and its Retry-After."""
        address, asking = IPv4Address("TCP", peer, 1), Asking()
        link = Link(self.world.server.site.buildProtocol(address), cast(Client, asking), address)
        self.world.links.append(link)
        cast(Any, asking.transport).write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n" % headers.encode()
        )
        self.world.settle()
        cast(Any, asking.transport).loseConnection()
        self.world.settle()
        line, _, rest = asking.answer.partition(b"\r\n")
        found = [header[13:] for header in rest.split(b"\r\n") if header.startswith(b"Retry-After: ")]
        return b" ".join([line, *found])

    def assertThrownOut(self) -> None:
        # Its own close may not be read any more.
        self.world.advance(2)
        self.assertEqual((self.eve.code, self.limited.get("abuse")), (1008, 1))
        self.assertFalse(self.ann.closed)
        self.assertEqual(len(self.world.server.factory), 1)


class MessageTest(LimitsTestCase):
    def test_rates(self) -> None:
        """More than the burst of a type is refused with a time, and then granted again."""
        for kind, count in (
            ("CHAT", 30), ("PLAY_PAUSE", 60), ("SEEK", 60), ("READY", 60), ("REQUEST_SYNC", 60), ("PING", 50),
            ("UPDATE_USERNAME", 30), ("ICE_CANDIDATE", 6000), ("OFFER", 1000), ("ANSWER", 1000), ("URL_CHANGE", 60),
        ):  # fmt: skip
            self.assertEqual(self.flood(kind, count), [], kind)
            self.ann.told()
            before = self.world.server.metrics.rooms.refused["rate_limited"]
            (error,) = self.flood(kind, 1, id=77)
            self.assertHas(error, code="rate_limited", id=77)
            self.assertEqual(self.world.server.metrics.rooms.refused["rate_limited"], before + 1)
            self.assertNotIn(kind, self.ann.types())
            self.world.advance(error["retryAfterMs"] / 1000)
            self.assertEqual(self.flood(kind, 1), [], kind)
        self.assertEqual(self.limited, {"messages": 11})

    def test_every_type_ends_in_the_same_way(self) -> None:
        for kind in SAMPLES:
            if kind == "LEAVE":
                continue
            self.world.advance(7200)
            self.eve = self.world.join("eve", peer="10.6.6.6")
            self.flood(kind, {"ICE_CANDIDATE": 6300, "OFFER": 1300, "ANSWER": 1300, "JOIN": 1200}.get(kind, 500))
            # JOINs are carried out later, a few of them.
            self.world.advance(20 if kind == "JOIN" else 2)
            self.assertEqual(self.eve.code, 1008, kind)
        self.assertFalse(self.ann.closed)

    def test_going_on_is_abuse(self) -> None:
        errors = self.flood("CHAT", 1000)
        self.assertEqual(len(errors), 201)
        self.assertEqual(len(self.ann.told("CHAT")), 30)
        self.assertThrownOut()
        self.assertEqual(self.limited, {"messages": 201, "abuse": 1})

    def test_now_and_then_is_not(self) -> None:
        for _ in range(60):
            self.flood("CHAT", 8)
            self.world.advance(1)
        self.assertFalse(self.eve.closed)

    def test_nothing_is_read_any_more(self) -> None:
        self.flood("CHAT", 300)
        self.eve.raw(frame(TEXT, b'{"type":"CHAT","text":"more"}'))
        self.assertEqual(len(self.ann.told("CHAT")), 30)

    def test_positions_beyond_the_rate_are_dropped(self) -> None:
        """A client that sends them does not read errors; the next one says all that the last one did."""
        self.assertEqual(self.flood("POSITION_UPDATE", 150), [])
        self.assertEqual(self.limited, {"messages": 50})
        (error,) = self.flood("POSITION_UPDATE", 1, id=5)
        self.assertHas(error, code="rate_limited", id=5)
        self.world.advance(1)
        self.assertEqual(self.flood("POSITION_UPDATE", 20), [])
        self.assertEqual(self.limited, {"messages": 51})

    def test_joins_are_done_later(self) -> None:
        for _ in range(35):
            self.eve.say("JOIN", roomId="room", userId="eve")
        self.eve.say("CHAT", text="behind them")
        told = self.eve.types()
        self.assertEqual((told.count("ROOM_STATE"), told.count("ERROR"), told.count("CHAT")), (29, 0, 0))
        self.world.advance(3.1)
        told = self.eve.types()
        self.assertEqual((told.count("ROOM_STATE"), told.count("ERROR"), told[-1]), (6, 0, "CHAT"))
        self.assertEqual(self.limited, {"joins": 6})

    def test_a_join_that_is_to_be_done_later_goes_with_its_connection(self) -> None:
        for _ in range(32):
            self.eve.say("JOIN", roomId="room", userId="eve")
        self.eve.cut()
        self.world.advance(5)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_malformed(self) -> None:
        for i, payload in enumerate((b"x", b"{}", b'{"type":"NOPE"}', b'{"type":"CHAT"}')):
            eve = self.world.join("eve", room="other", peer=f"10.6.7.{i}")
            eve.told()
            eve.raw(frame(TEXT, payload) * 150)
            self.assertEqual(eve.types(), ["ERROR"] * 150)
            self.assertFalse(eve.closed)
            eve.raw(frame(TEXT, payload) * 60)
            self.assertEqual(eve.code, 1008)

    def test_refusals_of_the_rules_are_no_abuse(self) -> None:
        """Old clients repeat forbidden messages for hours."""
        stranger = self.world.connect("10.7.7.7")
        stranger.say("PING")
        for _ in range(600):
            stranger.say("POSITION_UPDATE", currentTime=1, isPlaying=True)
            self.eve.say("TRANSFER_HOST", targetUserId="nobody")
            self.world.advance(0.5)
        self.assertFalse(stranger.closed or self.eve.closed)
        self.assertEqual(self.limited, {})

    def test_bytes(self) -> None:
        text = "x" * 60_000
        errors = []
        for _ in range(150):
            errors += self.flood("OFFER", 1, offer={"type": "offer", "sdp": text}, id=1)
        self.assertEqual(len(self.ann.told("OFFER")), 140)
        self.assertHas(errors[0], code="rate_limited", id=1)
        self.assertTrue(0 < errors[0]["retryAfterMs"] < 1000, errors[0])
        self.assertEqual(self.limited, {"bytes": 10})

    def test_nothing_is_read_behind_an_undecided_join(self) -> None:
        """Messages that a client sends meanwhile wait in its socket, so they take no memory."""
        for client in (self.eve, self.ann):
            connection = self.connection(client)
            connection.joining = True
            before = connection.count
            client.raw(frame(TEXT, b'{"type":"PING"}') * 1001)
            self.assertEqual(connection.count, before)
            self.assertFalse(client.closed)

    def connection(self, client: Client) -> ClientConnection:
        address = cast(Any, client.link)._server.getPeer().host
        for protocol in self.world.server.factory._protocols:
            if protocol.connection is not None and protocol.connection.session.address == address:
                return protocol.connection
        raise AssertionError("not connected")


class FrameTest(LimitsTestCase):
    def test_fragments(self) -> None:
        """They weigh nothing, and make a message that never ends."""
        self.eve.raw(frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 300)
        self.assertFalse(self.eve.closed)
        self.eve.raw(frame(CONTINUATION, b"", fin=False) * 20_000)
        self.assertThrownOut()
        self.assertEqual(self.limited["frames"], 201)

    def test_honest_fragments(self) -> None:
        chat = b'{"type":"CHAT","text":"%s"}' % (b"x" * 1900)
        parts = [chat[at : at + 16] for at in range(0, len(chat), 16)]
        data = frame(TEXT, parts[0], fin=False) + b"".join(frame(CONTINUATION, part, fin=False) for part in parts[1:])
        for _ in range(20):
            self.eve.raw(data + frame(CONTINUATION, b""))
            self.world.advance(2)
        self.assertEqual((len(self.ann.told("CHAT")), self.limited), (20, {}))

    def test_pings(self) -> None:
        for opcode in (PING, PONG):
            self.eve.raw(frame(opcode, b"") * 5000)
            self.world.advance(2)
            self.assertEqual(self.eve.code, 1008)
            self.world.advance(60)
            self.eve = self.world.join("eve", peer="10.6.6.7")


class PlainFrameTest(FrameTest):
    """The same where Autobahn does it all."""

    def setUp(self) -> None:
        self.options = {**self.options, "protocol": protocol_settings(fast_path=False)}
        super().setUp()


class DoorstepTest(LimitsTestCase):
    OK = b"HTTP/1.1 101 Switching Protocols"

    def abuse(self, peer: str) -> None:
        self.eve = self.world.join("eve", peer=peer)
        self.flood("CHAT", 300)
        self.assertEqual(self.eve.code, 1008)
        self.world.advance(1)

    def test_kept_out_for_longer_each_time(self) -> None:
        for seconds in (9, 19, 39):
            self.abuse("10.6.6.6")
            self.assertEqual(self.handshake("10.6.6.6"), b"HTTP/1.1 429 Too Many Requests %d" % seconds)
            self.assertEqual(self.handshake("10.6.6.7"), self.OK)
            self.world.advance(seconds)
            self.assertEqual(self.handshake("10.6.6.6"), self.OK)

    def test_others_at_the_address_stay(self) -> None:
        bob = self.world.join("bob", peer="10.6.6.6")
        self.abuse("10.6.6.6")
        self.world.advance(60)
        self.assertFalse(bob.closed)

    def test_reasons_are_known(self) -> None:
        self.abuse("10.6.6.6")
        self.handshake("10.6.6.6")
        self.assertLessEqual(set(self.limited), set(LIMIT_REASONS))
        self.assertEqual(self.limited, {"messages": 201, "abuse": 1, "penalized": 1})

    def test_wanting_nothing(self) -> None:
        idle, pinging, talking = (self.world.connect(f"10.7.7.{i}") for i in range(3))
        pinging.say("PING")
        talking.say("CHAT", text="x")
        self.world.advance(29)
        self.assertFalse(idle.closed or talking.closed)
        self.world.advance(3)
        for client in (idle, talking):
            self.assertEqual(client.code, 1008)
            error = client.told("ERROR")[-1]
            self.assertHas(error, code="idle")
        self.world.advance(3600)
        self.assertFalse(pinging.closed or self.eve.closed)
        self.assertEqual(self.world.server.dropped, {"idle": 2})
        self.assertEqual(self.world.server.factory._join_deadlines, {})

    def test_connections_of_one_address(self) -> None:
        for _ in range(499):
            self.world.connect("10.6.6.6").say("PING")
        self.assertEqual(self.handshake("10.6.6.6"), b"HTTP/1.1 429 Too Many Requests 10")
        self.assertEqual(self.handshake("10.6.6.7"), self.OK)
        self.eve.cut()
        self.assertEqual(self.handshake("10.6.6.6"), self.OK)

    def test_a_failed_handshake_is_no_connection(self) -> None:
        for _ in range(10):
            self.handshake("10.8.8.8", "Sec-WebSocket-Version: 8\r\n")
        self.world.advance(1)
        self.assertEqual(set(self.world.server.door._open), {"10.0.0.1", "10.6.6.6"})

    def test_a_forged_header_opens_no_door(self) -> None:
        self.abuse("10.6.6.6")
        forged = self.handshake("10.6.6.6", "X-Forwarded-For: 203.0.113.7\r\n")
        self.assertEqual(forged, b"HTTP/1.1 429 Too Many Requests 9")
        self.assertEqual(self.handshake("10.6.6.7", "X-Forwarded-For: 10.6.6.6\r\n"), self.OK)


class AddressTest(TestCase):
    def test_before_anything_is_said(self) -> None:
        near, far = IPv4Address("TCP", "10.0.0.1", 1), IPv4Address("TCP", "203.0.113.7", 1)
        addresses = Addresses()
        self.assertEqual([addresses.early(peer) for peer in (near, far, None)], ["10.0.0.1", "203.0.113.7", ""])
        addresses.rule(near, ["198.51.100.1"])
        self.assertEqual(addresses.early(near), "10.0.0.1")
        for addresses in (Addresses(1), Addresses(told_peer=True)):
            self.assertEqual(addresses.early(far), "")

    def test_a_peer_that_a_proxy_told_of_is_believed_and_no_header(self) -> None:
        addresses = Addresses(told_peer=True)
        near = IPv4Address("TCP", "10.0.0.1", 1)
        self.assertEqual(addresses.rule(near, ["198.51.100.1"]), "10.0.0.1")


class LengthTest(TestCase):
    """Values that are too long, by key."""

    def world(self, **limits: int) -> rules_world.World:
        world = rules_world.World(rules_of(Config(limits=Limits(**limits))))  # type: ignore[arg-type]
        world.join("ann")
        return world

    def test_names_are_cut(self) -> None:
        world = self.world(username_length=5)
        world.do("ann", m.UpdateUsername(username="Annabelle"))
        self.assertEqual(world.member("ann").username, "Annab")
        world.join("bob", username="Bobby Tables")
        self.assertEqual(world.member("bob").username, "Bobby")

    def test_chat(self) -> None:
        world = self.world(chat_length=5)
        world.do("ann", m.Chat(text="12345"))
        self.assertEqual(world.refused("ann", m.Chat(text="123456")), "bad_message")

    def test_urls(self) -> None:
        world = self.world(url_length=100)
        url = TITLE + "/" + "x" * (99 - len(TITLE))
        self.assertEqual(world.refused("ann", m.UrlChange(url=url + "x")), "bad_url")
        world.do("ann", m.UrlChange(url=url))

    def test_members(self) -> None:
        world = self.world(members_per_room=2)
        world.join("bob")
        self.assertEqual(self.assertRaises(RequestError, world.join, "eve").code, "room_full")
