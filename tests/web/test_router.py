"""HTTP, from the bytes that a client writes to the bytes that it reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage, HTTPResponse
from io import BytesIO
from typing import Any, cast
from urllib.parse import urljoin

import txaio
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tandemd.app.log_observer import json_line, text_line
from tandemd.config import Config
from tandemd.errors import ErrorCode, RequestError
from tandemd.interfaces import INodeStatus, IRooms
from tandemd.metrics import Counter, LabeledCounter
from tandemd.ratelimit.invite_lookups import InviteLookupLimiter
from tandemd.web import (
    Addresses,
    ConnectionLimiter,
    ConnectionLimits,
    Cors,
    Quota,
    TandemSite,
    WebServices,
    client_address,
    root_resource,
)
from tandemd.web.client_addresses import UNKNOWN
from tandemd.web.cors import USUAL
from tandemd.web.file_range import CHUNK_BYTES, FileRange, PartSender

from ..support.log_events import observe_log
from ..support.settings import web_settings

CODE = "abcde12345"
ROOM = "default_room_1700000000000"
SCRIPT = b"export const answer = 42;\n"
CLIP = bytes(range(256)) * 1000


@implementer(IRooms)
class FakeRooms:
    """Rooms that answer as a test says."""

    def __init__(self) -> None:
        self.invites: dict[str, str] = {ROOM: CODE}
        self.members: dict[str, dict[str, object]] = {}
        self.waiting: list[tuple[float, Deferred[str | None]]] = []
        self.failure: Exception | None = None
        self.cancelled = 0
        self.asked: list[str] = []
        self.addresses: list[str] = []

    def invite(self, code: str, address: str, wait: float) -> Deferred[str | None]:
        if self.failure is not None:
            return fail(self.failure)
        self.addresses.append(address)
        if code in self.invites:
            return succeed(self.invites[code])
        waiting: Deferred[str | None] = Deferred(self._cancel)
        self.waiting.append((wait, waiting))
        return waiting

    def _cancel(self, deferred: Deferred[str | None]) -> None:
        self.cancelled += 1

    def find_invite(self, invite: str, address: str) -> Deferred[str | None]:
        if self.failure is not None:
            return fail(self.failure)
        self.asked.append(invite)
        self.addresses.append(address)
        return succeed({code: room for room, code in self.invites.items()}.get(invite))

    def room_for_token(self, token: str) -> Deferred[dict[str, object] | None]:
        if self.failure is not None:
            return fail(self.failure)
        return succeed(self.members.get(token))

    def counts(self) -> dict[str, int]:
        return {"rooms": 3, "members": 7}


class Client(Protocol):
    """Reads the server's answers."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: object = None) -> None:
        self.closed = True


class Socket:
    """As much of a socket as http.client reads answers from."""

    def __init__(self, data: bytes):
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._data)


class Reply:
    """One answer. status, headers, body."""

    def __init__(self, data: bytes, method: str = "GET"):
        response = HTTPResponse(cast(Any, Socket(data)), method=method)
        response.begin()
        self.status: int = response.status
        self.headers: HTTPMessage = response.msg
        self.body: bytes = response.read()

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json", self.headers
        return json.loads(self.body)


class Echo(WebSocketServerProtocol):
    """Sends everything back."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


@implementer(INodeStatus)
class FakeStatus:
    """A node with 9 connections that runs for a minute. reasons, warnings: what `readiness` and `warnings` return."""

    def __init__(self, reasons: list[str], warnings: list[str]):
        self._reasons = reasons
        self._warnings = warnings

    def readiness(self) -> list[str]:
        return self._reasons

    def warnings(self) -> list[str]:
        return self._warnings

    def accepts_clients(self) -> bool:
        return True

    def connection_count(self) -> int:
        return 9

    def uptime(self) -> float:
        return 60.0


class WebTestCase(TestCase):
    """A site with everything in it."""

    door = ConnectionLimits()

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(1_700_000_000)
        self.patch(cast(Any, txaio).config, "loop", self.reactor)
        self.rooms = FakeRooms()
        self.reasons: list[str] = []
        self.limited = LabeledCounter("limited", "", "reason")
        self.warnings: list[str] = []
        self.page = self.mktemp()
        os.makedirs(os.path.join(self.page, "lib"))
        for name, content in {
            "index.html": b"<!doctype html><title>Tandem</title>",
            "app.js": SCRIPT,
            "clip.mp4": CLIP,
            "lib/part.mjs": b"export {};",
            "empty.txt": b"",
            ".secret": b"do not show",
            "data.unknown": b"?",
        }.items():
            with open(os.path.join(self.page, name), "wb") as file:
                file.write(content)
        with open(self.page + ".outside.txt", "wb") as file:
            file.write(b"do not show")
        self.serve()

    def serve(self, trusted_hops: int = 0, **settings: Any) -> None:
        """Replace the site by one with other settings or services."""
        factory = WebSocketServerFactory(reactor=self.reactor)
        factory.protocol = Echo
        factory.setProtocolOptions(webStatus=False, openHandshakeTimeout=0, allowNullOrigin=True)
        self.addresses = Addresses(trusted_hops, clock=self.reactor)
        services: dict[str, Any] = {
            "websocket": WebSocketResource(factory),
            "rooms": self.rooms,
            "metrics_text": lambda: b"tandemd_up 1\n",
            "addresses": self.addresses,
            "limiter": ConnectionLimiter(self.reactor, self.door, self.limited),
            "lookups_refused": Counter("refused", ""),
            "cors": Cors(),
            "administration": None,
            "hosts": lambda: ["192.0.2.7", "film-box"],
            "videos": None,
        }
        for name in services.keys() & settings.keys():
            services[name] = settings.pop(name)
        root = root_resource(
            web_settings(
                **{
                    "node_id": "node-1",
                    "version": "1.2.3",
                    "page_directory": self.page,
                    "client_directory": self.page,
                    "titles": ("*",),
                    "admin_token": "",
                    **settings,
                }
            ),
            FakeStatus(self.reasons, self.warnings),
            WebServices(**services),
            self.reactor,
            self.reactor.seconds,
        )
        self.site = TandemSite(root, self.reactor)

    def connect(self, peer: IAddress | None = None) -> tuple[Client, iosim.IOPump]:
        client = Client()
        address = peer or IPv4Address("TCP", "203.0.113.9", 1)
        server = self.site.buildProtocol(address)
        assert server is not None
        pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True, peerAddress=address),
            client,
            iosim.FakeTransport(client, isServer=False),
        )
        return client, pump

    def request(
        self, path: str | bytes, method: str = "GET", peer: IAddress | None = None, body: bytes = b"", **headers: str
    ) -> Reply:
        """Send one request, headers being written with _ for -, and return the answer."""
        client, pump = self.connect(peer)
        client.transport.write(head(path, method, **headers) + body)
        pump.flush()
        reply = Reply(client.data, method)
        client.transport.loseConnection()  # or its timers stay: thousands slow the clock down
        pump.flush()
        return reply

    @contextmanager
    def open_file_count_kept(self) -> Iterator[None]:
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        yield
        after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        self.assertEqual(before, after)


def head(path: str | bytes, method: str = "GET", **headers: str) -> bytes:
    """Return the bytes of a request without a body."""
    target = path if isinstance(path, bytes) else path.encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": "party.example", **headers}.items()]
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def upgrade(path: str, **headers: str) -> bytes:
    return head(
        path,
        **headers,
        Upgrade="websocket",
        Connection="Upgrade",
        Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        Sec_WebSocket_Version="13",
    )


class FakeTests(TestCase):
    def test_fake_rooms_provide_the_interface(self) -> None:
        verifyObject(IRooms, FakeRooms())
        verifyObject(INodeStatus, FakeStatus([], []))


class HealthTests(WebTestCase):
    def test_alive(self) -> None:
        self.reasons.append("starting")
        reply = self.request("/health")
        self.assertEqual((reply.status, reply.json), (200, {"status": "ok", "nodeId": "node-1"}))

    def test_ready(self) -> None:
        reply = self.request("/health/ready")
        self.assertEqual((reply.status, reply.json), (200, {"status": "ready", "nodeId": "node-1"}))

    def test_unready_says_why(self) -> None:
        self.reasons.append("draining")
        reply = self.request("/health/ready")
        self.assertEqual(reply.status, 503)
        self.assertEqual(reply.json, {"status": "unready", "nodeId": "node-1", "reasons": ["draining"]})

    def test_warnings_are_no_reason_to_stay_away(self) -> None:
        self.warnings.append("the archive cannot be written")
        reply = self.request("/health/ready")
        self.assertEqual((reply.status, reply.json["status"]), (200, "ready"))
        self.assertEqual(reply.json["warnings"], ["the archive cannot be written"])

    def test_warns_of_a_proxy_that_is_not_configured(self) -> None:
        """Not because of one request, nor of anything that one client can say at once."""
        proxy = IPv4Address("TCP", "10.0.0.1", 1)
        for number in range(100):
            self.request("/status", peer=proxy, X_Forwarded_For=f"203.0.113.{number}")
        self.assertNotIn("warnings", self.request("/health/ready").json)
        for number in range(10):
            self.reactor.advance(61)
            self.request("/status", peer=proxy, X_Forwarded_For=f"203.0.113.{number}")
        reply = self.request("/health/ready")
        self.assertEqual(reply.status, 200)
        self.assertIn("web.trusted_proxies", reply.json["warnings"][0])
        self.reactor.advance(3601)
        self.assertNotIn("warnings", self.request("/health/ready").json)

    def test_no_warning_of_one_client_behind_another_proxy(self) -> None:
        for _ in range(30):
            self.reactor.advance(61)
            self.request("/status", peer=IPv4Address("TCP", "10.0.0.1", 1), X_Forwarded_For="203.0.113.7")
            self.request("/status", peer=IPv4Address("TCP", "8.8.8.8", 1), X_Forwarded_For=f"203.0.113.{_}")
        self.assertNotIn("warnings", self.request("/health/ready").json)

    def test_metrics(self) -> None:
        reply = self.request("/metrics")
        self.assertEqual((reply.status, reply.body), (200, b"tandemd_up 1\n"))
        self.assertEqual(reply.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")

    def test_metrics_are_rendered_once_a_second(self) -> None:
        """It takes 10 ms, in pure Python, and an address may ask 100 times a second."""
        rendered: list[int] = []

        def text() -> bytes:
            rendered.append(len(rendered))
            return b"number %d\n" % len(rendered)

        self.serve(metrics_text=text)
        replies = [self.request("/metrics").body for _ in range(50)]
        self.assertEqual((set(replies), len(rendered)), ({b"number 1\n"}, 1))
        self.reactor.advance(1)
        self.assertEqual([self.request("/metrics").body for _ in range(50)], [b"number 2\n"] * 50)

    def test_metrics_for_who_shows_the_token(self) -> None:
        self.serve(metrics_token="scraper-0123456789")
        for header in ("", "Bearer x", "Basic scraper-0123456789", "Bearer scraper-01234567890"):
            reply = self.request("/metrics", Authorization=header)
            self.assertEqual((reply.status, b"tandemd_up" in reply.body), (401, False), header)
        self.assertEqual(self.request("/metrics", Authorization="Bearer scraper-0123456789").status, 200)


class StatusTests(WebTestCase):
    def test_questions_with_a_token_are_limited(self) -> None:
        self.serve(code_lookups=3)
        for _ in range(3):
            self.assertEqual(self.request("/status", Authorization="Bearer s3cret").status, 200)
        self.assertEqual(self.request("/status", Authorization="Bearer s3cret").status, 429)
        self.assertEqual(self.request("/status").status, 200)

    def test_figures_and_no_rooms(self) -> None:
        reply = self.request("/status?x=1")
        self.assertEqual(
            reply.json,
            {
                "nodeId": "node-1",
                "version": "1.2.3",
                "timestamp": 1_700_000_000_000,
                "uptime": 60.0,
                "localConnections": 9,
                "localRooms": 3,
                "localMembers": 7,
                "rooms": [],
            },
        )
        self.assertEqual(reply.headers["Cache-Control"], "private, max-age=15")
        self.assertEqual(reply.headers["Vary"], "Authorization")

    def test_a_member_sees_its_room(self) -> None:
        room: dict[str, object] = {"roomId": ROOM, "users": [{"userId": "user_a"}]}
        self.rooms.members["s3cret"] = room
        for header in ("Bearer s3cret", "bearer  s3cret"):
            self.assertEqual(self.request("/status", Authorization=header).json["rooms"], [room])

    def test_no_other_sees_it(self) -> None:
        self.rooms.members["s3cret"] = {"roomId": ROOM}
        for header in (
            "Bearer wrong",
            "Bearer ",
            "Basic s3cret",
            "s3cret",
            "Bearer s3cret x",
            "Bearer \xff",
            "Bearer " + "x" * 300,
        ):
            reply = self.request("/status", Authorization=header)
            self.assertEqual((reply.status, reply.json["rooms"]), (200, []), header)

    def test_stores_away(self) -> None:
        self.rooms.failure = RequestError(ErrorCode.UNAVAILABLE, "The store is away.", 1500)
        reply = self.request("/status", Authorization="Bearer s3cret")
        self.assertEqual(
            (reply.status, reply.json, reply.headers["Retry-After"]), (503, {"error": "The store is away."}, "2")
        )

    def test_exact_path(self) -> None:
        for path in ("/status/", "/status/x", "/Status", "//status"):
            self.assertEqual(self.request(path).status, 404, path)


class AbsoluteFormTests(WebTestCase):
    """RFC 9112, section 3.2.2: a server accepts a URL as the target, and its authority replaces the Host header."""

    def test_same_answer_as_to_the_path(self) -> None:
        def shown(reply: Reply) -> object:
            return reply.status, reply.body, [line for line in reply.headers.items() if line[0] != "Date"]

        for path in (
            "/health",
            "/health/ready?x=http://y/z",
            f"/room/{CODE}",
            "/page/app.js",
            "/",
            "/ws",
            "/nope",
            "/%",
        ):
            wanted = shown(self.request(path))
            for start in (
                "http://party.example",
                "HTTP://party.example",
                "https://party.example",
                "ws://party.example",
            ):
                self.assertEqual(shown(self.request(start + path)), wanted, start + path)

    def test_empty_path(self) -> None:
        for target in ("http://party.example", "http://party.example?tandemRoom=x", "http://[::1]:4001"):
            reply = self.request(target)
            self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "text/html; charset=utf-8"), target)

    def test_authority_replaces_the_host(self) -> None:
        reply = self.request(f"http://other.example:81/api/short-id/{ROOM}", Host="party.example")
        self.assertEqual(reply.json["shortUrl"], f"http://other.example:81/room/{CODE}")

    def test_other_methods(self) -> None:
        for method, status in {"HEAD": 200, "OPTIONS": 200, "POST": 405}.items():
            self.assertEqual(self.request("http://party.example/health", method).status, status, method)

    def test_upgrade(self) -> None:
        for target in ("http://party.example/ws", "ws://party.example/ws", "https://party.example/?x=1", "http://x"):
            client, pump = self.connect()
            client.transport.write(upgrade(target))
            pump.flush()
            self.assertTrue(client.data.startswith(b"HTTP/1.1 101 "), (target, client.data))

    def test_origin_is_compared_with_the_authority(self) -> None:
        self.serve(cors=Cors(("self",)))
        for host, status in {"party.example": b"101", "evil.example": b"403"}.items():
            client, pump = self.connect()
            client.transport.write(upgrade(f"http://{host}/ws", Host="evil.example", Origin="https://party.example"))
            pump.flush()
            self.assertEqual(client.data.split()[1], status, host)


class RoomLinkTests(WebTestCase):
    def test_leads_to_the_title(self) -> None:
        base = f"https://www.netflix.com/?tandemRoom={ROOM}"
        for path, location in {
            f"/room/{CODE}": base,
            f"/room/{CODE}/": base,
            f"/room/{CODE.upper()}": base,
            f"/room/{CODE}/123456": base + "&pin=123456",
            f"/room/{CODE}/123456/": base + "&pin=123456",
            f"/room/{CODE}?utm=1": base,
        }.items():
            reply = self.request(path)
            self.assertEqual((reply.status, reply.headers["Location"]), (302, location), path)

    def test_leads_to_the_own_page(self) -> None:
        self.serve(redirect_target="/")
        for proxied in ("", "/below/a/path"):
            for path, query in {
                f"/room/{CODE}": "",
                f"/room/{CODE}/": "",
                f"/room/{CODE}/123456": "&pin=123456",
                f"/room/{CODE}/123456/": "&pin=123456",
            }.items():
                location = self.request(path).headers["Location"]
                self.assertEqual(
                    urljoin(f"https://party.example{proxied}{path}", location),
                    f"https://party.example{proxied}/?tandemRoom={ROOM}{query}",
                )

    def test_room_ids_cannot_add_anything(self) -> None:
        self.rooms.invites = {"a b&pin=1#\r\nSet-Cookie: x=ü/": CODE}
        reply = self.request(f"/room/{CODE}")
        self.assertTrue(
            reply.headers["Location"].endswith("/?tandemRoom=a%20b%26pin%3D1%23%0D%0ASet-Cookie%3A%20x%3D%C3%BC%2F")
        )
        self.assertNotIn("Set-Cookie", reply.headers)

    def test_no_such_room(self) -> None:
        paths = [
            "",
            "/",
            f"/{CODE}/12a",
            f"/{CODE}/1/2",
            f"/{CODE}//",
            "/0000000000",
            "/abc",
            f"/{CODE}1",
            "/abcde1234%C3%BC",
        ]
        paths.append(f"/{CODE}/{'1' * 33}")
        for path in paths:
            reply = self.request("/room" + path)
            self.assertEqual((reply.status, reply.body), (404, b"Room not found"), path)
            self.assertTrue(reply.headers["Content-Type"].startswith("text/plain"))

    def test_stores_away(self) -> None:
        self.rooms.failure = RequestError(ErrorCode.UNAVAILABLE, "The store is away.")
        reply = self.request(f"/room/{CODE}")
        self.assertEqual((reply.status, reply.body), (503, b"The store is away."))


class LookupTests(WebTestCase):
    def test_found_in_any_case(self) -> None:
        for code in (CODE, CODE.upper()):
            reply = self.request(f"/api/room/{code}")
            self.assertEqual((reply.status, reply.json), (200, {"roomId": ROOM, "shortId": CODE}))

    def test_not_found(self) -> None:
        for code in ("0000000000", "abc", "", CODE + "/x", "%2e%2e", "%F0%9F%98%80"):
            reply = self.request(f"/api/room/{code}")
            self.assertEqual(reply.status, 404, code)
            self.assertIn("error", reply.json)
        self.assertEqual(self.request("/api/room/0000000000").json, {"error": "Room not found"})

    def test_what_is_no_code_is_not_looked_up(self) -> None:
        self.request("/api/room/abc")
        self.assertEqual(self.rooms.asked, [])

    def test_limit_is_shared_by_both_ways_and_kept_for_each_address(self) -> None:
        self.serve(code_lookups=2)
        self.request("/api/room/0000000000")
        self.request(f"/room/{CODE}")
        refused = self.request(f"/api/room/{CODE}")
        self.assertEqual((refused.status, refused.headers["Retry-After"]), (429, "30"))
        self.assertIn("error", refused.json)
        self.assertEqual(self.request(f"/room/{CODE}").status, 429)
        self.assertEqual(self.request(f"/room/{CODE}", peer=IPv4Address("TCP", "203.0.113.8", 1)).status, 302)
        self.reactor.advance(30)
        self.assertEqual(self.request(f"/api/room/{CODE}").status, 200)
        self.assertEqual(self.request(f"/api/room/{CODE}").status, 429)

    def test_an_ipv6_network_is_one_address(self) -> None:
        self.serve(code_lookups=1)
        self.request(f"/room/{CODE}", peer=IPv6Address("TCP", "2001:db8::1", 1))
        self.assertEqual(self.request(f"/room/{CODE}", peer=IPv6Address("TCP", "2001:db8::2", 1)).status, 429)
        self.assertEqual(self.request(f"/room/{CODE}", peer=IPv6Address("TCP", "2001:db8:0:1::1", 1)).status, 302)

    def test_behind_a_proxy_the_client_counts(self) -> None:
        self.serve(trusted_hops=1, code_lookups=1)
        proxy = IPv4Address("TCP", "10.0.0.1", 1)
        for forwarded, status in (("198.51.100.1", 302), ("6.6.6.6, 198.51.100.1", 429), ("198.51.100.2", 302)):
            self.assertEqual(self.request(f"/room/{CODE}", peer=proxy, X_Forwarded_For=forwarded).status, status)

    def test_a_forged_header_changes_nothing(self) -> None:
        self.serve(code_lookups=1)
        self.assertEqual(self.request(f"/room/{CODE}", peer=IPv4Address("TCP", "8.8.8.8", 1)).status, 302)
        reply = self.request(f"/room/{CODE}", peer=IPv4Address("TCP", "8.8.8.8", 1), X_Forwarded_For="1.1.1.1")
        self.assertEqual(reply.status, 429)

    def test_nor_does_one_of_a_private_peer(self) -> None:
        self.serve(code_lookups=1)
        proxy = IPv4Address("TCP", "10.0.0.1", 1)
        replies = [self.request(f"/room/{CODE}", peer=proxy, X_Forwarded_For=f"8.8.8.{last}") for last in range(3)]
        self.assertEqual([reply.status for reply in replies], [302, 429, 429])

    def test_a_wide_ipv6_network_is_eight_addresses(self) -> None:
        self.serve(code_lookups=1)
        replies = [self.request(f"/room/{CODE}", peer=IPv6Address("TCP", f"2001:db8:7:{i}::1", 1)) for i in range(9)]
        self.assertEqual([reply.status for reply in replies], [302] * 8 + [429])
        self.assertEqual(self.request(f"/room/{CODE}", peer=IPv6Address("TCP", "2001:db8:8::1", 1)).status, 302)


class ShortIdTests(WebTestCase):
    def test_room_is_there(self) -> None:
        reply = self.request(f"/api/short-id/{ROOM}?x=1")
        self.assertEqual(reply.json, {"shortId": CODE, "roomId": ROOM, "shortUrl": f"http://party.example/room/{CODE}"})

    def test_any_room_id(self) -> None:
        self.rooms.invites["a/b ü?"] = CODE
        self.assertEqual(self.request("/api/short-id/a%2Fb%20%C3%BC%3F").json["roomId"], "a/b ü?")

    def test_waits_for_the_room(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/api/short-id/later"))
        pump.flush()
        self.assertEqual(client.data, b"")
        [(wait, waiting)] = self.rooms.waiting
        self.assertEqual(wait, 2.0)
        waiting.callback(CODE)
        pump.flush()
        self.assertEqual(Reply(client.data).json["shortId"], CODE)

    def test_no_room(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/api/short-id/never"))
        pump.flush()
        self.rooms.waiting[0][1].callback(None)
        pump.flush()
        reply = Reply(client.data)
        self.assertEqual((reply.status, reply.json), (404, {"error": "Room not found"}))

    def test_client_goes_away(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/api/short-id/later"))
        pump.flush()
        client.transport.loseConnection()
        pump.flush()
        self.assertEqual(self.rooms.cancelled, 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_fault_while_waiting(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/api/short-id/later"))
        pump.flush()
        self.rooms.waiting[0][1].errback(ZeroDivisionError())
        pump.flush()
        reply = Reply(client.data)
        self.assertEqual((reply.status, reply.json), (500, {"error": "Internal error; the server has logged it."}))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_cancelled_wait_of_a_present_member_is_a_fault(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/api/short-id/later"))
        pump.flush()
        self.rooms.waiting[0][1].cancel()
        pump.flush()
        self.assertEqual(Reply(client.data).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    def test_stores_away(self) -> None:
        self.rooms.failure = RequestError(ErrorCode.UNAVAILABLE, "The store is away.", 200)
        reply = self.request(f"/api/short-id/{ROOM}")
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"))

    def test_limit(self) -> None:
        self.serve(code_lookups=2)
        replies = [self.request(f"/api/short-id/{ROOM}") for _ in range(3)]
        self.assertEqual([reply.status for reply in replies], [200, 200, 429])
        self.assertEqual(replies[2].headers["Retry-After"], "30")

    def test_the_address_is_told(self) -> None:
        self.request(f"/api/short-id/{ROOM}", peer=IPv6Address("TCP", "2001:db8::5", 1))
        self.request(f"/api/room/{CODE}", peer=IPv6Address("TCP", "2001:db8::5", 1))
        self.assertEqual(self.rooms.addresses, ["2001:db8::/64"] * 2)

    def test_bad_room_ids(self) -> None:
        for room in ("%", "%2", "%zz", "%FF", "%ED%A0%80", "%00", "a%0D%0Ab", "", "x" * 101):
            reply = self.request(f"/api/short-id/{room}")
            self.assertEqual(reply.status, 400, room)
        self.assertEqual(self.rooms.waiting, [])

    def test_base_url_is_configured(self) -> None:
        self.serve(invite_base_url="https://go.example/p/")
        url = self.request(f"/api/short-id/{ROOM}", Host="evil\\host").json["shortUrl"]
        self.assertEqual(url, f"https://go.example/p/room/{CODE}")

    def test_base_url_follows_the_host(self) -> None:
        for host in ("localhost:4001", "[::1]:4001", "10.0.0.1", "a-b.example"):
            url = self.request(f"/api/short-id/{ROOM}", Host=host).json["shortUrl"]
            self.assertEqual(url, f"http://{host}/room/{CODE}")

    def test_bad_hosts(self) -> None:
        for host in ("", "a/b", "a b", "a@b", "a:b", "a\xff", "<script>", "a:123456", "x" * 300):
            self.assertEqual(self.request(f"/api/short-id/{ROOM}", Host=host).status, 400, host)

    def test_scheme_is_the_proxys_word_only_if_it_is_trusted(self) -> None:
        for hops, proto, scheme in (
            (0, "https", "http"),
            (1, "https", "https"),
            (1, "http", "http"),
            (1, "https, http", "http"),
            (2, "https, http", "https"),
            (2, "https", "https"),
            (1, "javascript", "http"),
        ):
            self.serve(trusted_hops=hops)
            url = self.request(f"/api/short-id/{ROOM}", X_Forwarded_Proto=proto).json["shortUrl"]
            self.assertEqual(url, f"{scheme}://party.example/room/{CODE}", (hops, proto))


class CorsTests(WebTestCase):
    PATHS = ("/", "/ws", "/health", "/status", f"/api/room/{CODE}", "/nowhere", "/api/short-id/%", "/page/app.js")

    def test_everything_may_be_read_from_everywhere(self) -> None:
        for path in self.PATHS[2:] + ("/",):
            reply = self.request(path, Origin="null")
            self.assertEqual(reply.headers["Access-Control-Allow-Origin"], "*", path)
            self.assertEqual(reply.headers["Access-Control-Expose-Headers"], "Location, Retry-After")

    def test_preflight(self) -> None:
        for path in self.PATHS:
            reply = self.request(path, "OPTIONS", Origin="https://www.netflix.com", Access_Control_Request_Method="GET")
            self.assertEqual((reply.status, reply.body), (200, b""), path)
            self.assertEqual(reply.headers["Access-Control-Allow-Origin"], "*")
            self.assertEqual(reply.headers["Access-Control-Allow-Methods"], "GET, OPTIONS")
            self.assertEqual(reply.headers["Access-Control-Allow-Headers"], "Authorization, Content-Type")

    def test_chosen_origins(self) -> None:
        self.serve(cors=Cors(("https://www.netflix.com", "null")))
        for origin, allowed in (("https://www.netflix.com", True), ("null", True), ("https://evil.example", False)):
            reply = self.request("/health", Origin=origin)
            self.assertEqual(reply.headers["Access-Control-Allow-Origin"], origin if allowed else None)
            self.assertEqual(reply.headers["Vary"], "Origin")
        self.assertEqual(self.request("/status").headers.get_all("Vary"), ["Origin", "Authorization"])


class OriginTests(WebTestCase):
    """Whose pages may open a WebSocket."""

    def statuses(self, *origins: str | None) -> list[int]:
        found = []
        for origin in origins:
            client, pump = self.connect()
            fields = {} if origin is None else {"Origin": origin}
            client.transport.write(upgrade("/ws", **fields))
            pump.flush()
            found.append(int(client.data.split(b" ")[1]))
        return found

    def test_any(self) -> None:
        origins = ("https://evil.example", "chrome-extension://abcdefgh", "null", None)
        self.assertEqual(self.statuses(*origins), [101] * 4)

    def test_the_sites_of_titles_in_whatever_form_they_are_written(self) -> None:
        self.serve(cors=Cors(("titles",), ["HTTPS://Films.Example:0443/Public/", "http://[2001:DB8:0::1]:", "*"]))
        good = ("https://films.example", "http://[2001:db8::1]")
        self.assertEqual(self.statuses(*good), [101] * len(good))
        self.assertEqual(self.statuses("https://films.example:444"), [403])

    def test_listed(self) -> None:
        self.serve(cors=Cors(("https://www.netflix.com", "chrome-extension://abcdefgh", "moz-extension://*")))
        good = (
            "https://www.netflix.com",
            "HTTPS://www.Netflix.com",
            "chrome-extension://abcdefgh",
            "moz-extension://0-1",
        )
        bad = (
            "null", "", "http://www.netflix.com", "https://www.netflix.com.evil.example", "https://www.netflix.com:444",
            "chrome-extension://other", "moz-extension:x", "https://www.netflix.com, https://evil.example",
        )  # fmt: skip
        self.assertEqual(self.statuses(*good), [101] * len(good))
        self.assertEqual(self.statuses(*bad), [403] * len(bad))
        self.assertEqual(self.limited, {"origin": len(bad)})

    def test_by_default(self) -> None:
        """This server's page, extensions, and the sites of the titles; no other site of the world."""
        web = Config().web
        self.assertEqual(web.allowed_origins, USUAL)
        cors = Cors(web.allowed_origins, Config().titles.allowed, [""])
        self.serve(cors=cors)
        good = (
            "http://party.example", "https://party.example", "https://PARTY.example:443", "http://party.example:80",
            "chrome-extension://abcdefgh", "moz-extension://0-1", "safari-web-extension://0-1",
            "https://www.netflix.com", None,
        )  # fmt: skip
        bad = (
            "null", "https://evil.example", "https://party.example.evil.example", "https://party.example:444", "self", "titles",
            "http://www.netflix.com", "https://netflix.com", "party.example", "ftp://party.example",
            "https://tandemd.invalid.evil", "",
        )  # fmt: skip
        self.assertEqual(self.statuses(*good), [101] * len(good))
        self.assertEqual(self.statuses(*bad), [403] * len(bad))
        for path, origin, allowed in (
            (f"/api/short-id/{ROOM}", "https://www.netflix.com", True),
            (f"/api/short-id/{ROOM}", "https://evil.example", False),
            (f"/api/short-id/{ROOM}", "null", False),
            ("/status", "null", True),  # as the extension asks
            ("/status", "https://evil.example", False),
        ):
            found = self.request(path, Origin=origin).headers["Access-Control-Allow-Origin"]
            self.assertEqual(found, origin if allowed else None, (path, origin))

    def test_where_a_proxy_changes_the_host(self) -> None:
        self.serve(cors=Cors(USUAL, (), ["https://Party.example.org/p"]))
        upgraded = upgrade("/ws", Origin="https://party.example.org").replace(b"party.example\r", b"backend:4001\r")
        client, pump = self.connect()
        client.transport.write(upgraded)
        pump.flush()
        self.assertIn(b" 101 ", client.data)

    def test_whose_doing_it_is(self) -> None:
        cors = Cors(["*", "https://friend.example"], ["https://www.netflix.com/watch"])
        for origin, familiar in (
            (None, True), (b"https://friend.example", True), (b"https://www.netflix.com", True),
            (b"chrome-extension://x", True), (b"https://here.example", True), (b"https://evil.example", False), (b"null", False),
        ):  # fmt: skip
            self.assertTrue(cors.allows(origin, "here.example"))
            self.assertEqual(cors.familiar(origin, "here.example"), familiar, origin)

    def test_null_has_to_be_listed(self) -> None:
        self.serve(cors=Cors(("null",)))
        self.assertEqual(self.statuses("null", "https://a.example"), [101, 403])

    def test_programs_have_none(self) -> None:
        self.serve(cors=Cors(("https://www.netflix.com",)))
        self.assertEqual(self.statuses(None), [101])

    def test_two_of_them(self) -> None:
        self.serve(cors=Cors(("https://www.netflix.com",)))
        client, pump = self.connect()
        twice = upgrade("/ws", Origin="https://www.netflix.com").replace(b"\r\n\r\n", b"\r\nOrigin: null\r\n\r\n")
        client.transport.write(twice)
        pump.flush()
        self.assertIn(b" 403 Forbidden", client.data)

    def test_said_as_json_and_closed(self) -> None:
        self.serve(cors=Cors(("https://www.netflix.com",)))
        client, pump = self.connect()
        client.transport.write(upgrade("/ws", Origin="null") + head("/health"))
        pump.flush()
        reply = Reply(client.data)
        self.assertEqual((reply.status, reply.json["code"]), (403, "forbidden"))
        self.assertEqual((client.closed, client.data.count(b"HTTP/1.1")), (True, 1))


class AwaitedTests(WebTestCase):
    """Connections on which no whole request has come."""

    def setUp(self) -> None:
        super().setUp()
        self.pumps: list[iosim.IOPump] = []
        self.site.waiting = self.waiting = Quota(20, 5, self.limited, "pending_handshakes")
        self.site.address_of = self.addresses.early

    def many(self, count: int, data: bytes, peer: str = "203.0.113.{}") -> list[Client]:
        clients = []
        for number in range(count):
            client, pump = self.connect(IPv4Address("TCP", peer.format(number), 1))
            client.transport.write(data)
            pump.flush()
            clients.append(client)
            self.pumps.append(pump)
        self.flush()
        return clients

    def flush(self) -> None:
        for pump in self.pumps:
            pump.flush()

    def test_half_a_request(self) -> None:
        clients = self.many(30, b"GET /ws HTTP/1.1\r\nHost: x\r\n")
        self.assertEqual([client.closed for client in clients], [True] * 10 + [False] * 20)
        self.assertEqual((len(self.waiting), self.limited), (20, {"pending_handshakes": 10}))
        self.assertEqual(self.request("/health", Connection="close").status, 200)
        self.reactor.advance(16)
        self.flush()
        self.assertEqual(len(self.waiting), 0)

    def test_of_one_address(self) -> None:
        clients = self.many(8, b"", "198.51.100.1")
        self.assertEqual([client.closed for client in clients], [True] * 3 + [False] * 5)

    def test_whole_requests_wait_for_nothing(self) -> None:
        self.rooms.invites.clear()
        waiting = self.many(50, head(f"/api/short-id/{ROOM}"), "198.51.100.1")
        sockets = self.many(50, upgrade("/ws"), "198.51.100.1")
        self.assertFalse(any(client.closed for client in (*waiting, *sockets)))
        self.assertTrue(all(client.data.startswith(b"HTTP/1.1 101") for client in sockets))
        self.assertEqual((len(self.waiting), self.limited), (0, {}))

    def test_kept_alive_is_waiting_again(self) -> None:
        clients = self.many(30, head("/health"))
        self.assertEqual([client.closed for client in clients], [True] * 10 + [False] * 20)

    def test_half_a_body(self) -> None:
        self.many(30, head("/health", "POST", Content_Length="100") + b"x")
        self.assertEqual(len(self.waiting), 20)


class MethodTests(WebTestCase):
    def test_head(self) -> None:
        for path in ("/", "/health", "/metrics", "/status", f"/api/room/{CODE}", "/page/clip.mp4", "/nowhere"):
            with self.open_file_count_kept():
                got, asked = self.request(path), self.request(path, "HEAD")
            self.assertEqual((asked.status, asked.body), (got.status, b""))
            self.assertEqual(asked.headers["Content-Length"], str(len(got.body)))
            self.assertEqual(asked.headers["Content-Type"], got.headers["Content-Type"])

    def test_other_methods(self) -> None:
        for path in ("/", "/ws", "/health", "/status", f"/room/{CODE}", f"/api/room/{CODE}", "/page/app.js"):
            for method in ("POST", "PUT", "DELETE", "TRACE", "BREW", "get"):
                reply = self.request(path, method)
                self.assertEqual((reply.status, reply.headers["Allow"]), (405, "GET, HEAD, OPTIONS"), path)

    def test_body_is_ignored_if_it_is_short(self) -> None:
        self.assertEqual(self.request("/health", body=b"x" * 1000, Content_Length="1000").status, 200)

    def test_body_is_refused_if_it_is_long(self) -> None:
        for headers, body in (
            ({"Content_Length": "100000000"}, b""),
            ({"Content_Length": "17000"}, b"x" * 17000),
            (
                {"Transfer_Encoding": "chunked"},
                b"3000\r\n" + b"x" * 0x3000 + b"\r\n2000\r\n" + b"x" * 0x2000 + b"\r\n0\r\n\r\n",
            ),
        ):
            client, pump = self.connect()
            client.transport.write(head("/health", "POST", **headers) + body)
            pump.flush()
            self.assertEqual(Reply(client.data).status, 413)
            self.assertEqual(client.data.count(b"HTTP/1.1"), 1)
            self.assertTrue(client.closed)


class HostHeaderTests(WebTestCase):
    """RFC 9112, section 3.2: a server answers each HTTP/1.1 request without or with several Host headers with 400."""

    def ask(self, *lines: str) -> tuple[int, bool]:
        client, pump = self.connect()
        client.transport.write("\r\n".join((*lines, "", "")).encode())
        pump.flush()
        return Reply(client.data).status, client.closed

    def test_exactly_one(self) -> None:
        for target in ("/health", "http://x/health", "/ws"):
            first = f"GET {target} HTTP/1.1"
            self.assertEqual(self.ask(first), (400, True))
            self.assertEqual(self.ask(first, "Host: a", "Host: a"), (400, True))
            self.assertEqual(self.ask(first, "Host: a", "X: y", "host: b"), (400, True))
            self.assertEqual(self.ask(first, "Host: a"), (426 if target == "/ws" else 200, False))

    def test_the_answer_says_so(self) -> None:
        client, pump = self.connect()
        client.transport.write(b"GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
        pump.flush()
        self.assertEqual(Reply(client.data).body, b"HTTP/1.1 needs one Host header.\n")
        self.assertEqual(client.data.count(b"HTTP/1.1 "), 2, "the status line of one answer, and its text")

    def test_http_1_0_has_none(self) -> None:
        self.assertEqual(self.ask("GET /health HTTP/1.0")[0], 200)

    def test_handshakes(self) -> None:
        upgrade = (
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {'A' * 22}==",
            "Sec-WebSocket-Version: 13",
        )
        self.assertEqual(self.ask("GET /ws HTTP/1.1", *upgrade), (400, True))
        self.assertEqual(self.ask("GET /ws HTTP/1.1", "Host: a", "Host: b", *upgrade), (400, True))


class BadPathTests(WebTestCase):
    def test_unknown(self) -> None:
        for path in (
            "/nowhere",
            "/room.php",
            "/api",
            "/api/",
            "/api/x/y",
            "/health/x",
            "/metrics/x",
            "/page",
            "/page/",
            "/client",
            "/client/",
        ):
            reply = self.request(path)
            self.assertEqual(reply.status, 404, path)
            self.assertLess(len(reply.body), 100)

    def test_wrong_escapes(self) -> None:
        for path in (
            b"/%",
            b"/%2",
            b"/%g0",
            b"/%ff",
            b"/\xff",
            b"/page/%00",
            b"/room/%c3",
            b"/health/%ed%a0%80",
            b"/a%7f",
        ):
            self.assertEqual(self.request(path).status, 400, path)

    def test_other_targets(self) -> None:
        """Only http and ws URLs with a host name replace the path, and no user information."""
        for target in (
            "health", "party.example:80", "ftp://party.example/health", "http:/health", "http:///health", "http://",
            "http:health", "http://ann@party.example/health", "http://ann:pin@party.example/health", "http://a b/health",
            "http://[::1/health", "http://a_b:/health", "http://party.example:port/health", "http://\xff/health",
        ):  # fmt: skip
            self.assertEqual(self.request(target.encode("latin-1")).status, 400, target)

    def test_long(self) -> None:
        for path in ("/" + "x" * 5000, "/health?" + "x" * 5000, "/ws?" + "x" * 5000):
            self.assertEqual(self.request(path).status, 414)

    def test_too_long_for_anything(self) -> None:
        client, pump = self.connect()
        client.transport.write(b"GET /" + b"x" * 100_000)
        pump.flush()
        self.assertTrue(client.closed)

    @settings(max_examples=200, deadline=None)
    @given(
        st.binary(max_size=40),
        st.sampled_from([b"/", b"/api/", b"/api/short-id/", b"/page/", b"/room/", b"/ws?", b"/?"]),
    )
    def test_anything(self, tail: bytes, start: bytes) -> None:
        """No path makes a fault."""
        path = start + tail.translate(None, b"\x00\r\n\t\x0b\x0c ")
        client, pump = self.connect()
        client.transport.write(head(path))
        pump.flush()
        client.transport.loseConnection()
        pump.flush()
        self.rooms.waiting.clear()
        self.assertNotIn(b" 500 ", client.data[:20])
        self.assertEqual(self.flushLoggedErrors(), [])


class FaultTests(WebTestCase):
    def test_a_fault_is_logged_and_not_shown(self) -> None:
        def broken() -> bytes:
            raise ZeroDivisionError("with a secret")

        self.serve(metrics_text=broken)
        reply = self.request("/metrics")
        self.assertEqual(reply.status, 500)
        self.assertNotIn(b"secret", reply.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_fault_does_not_tell_the_log_who_was_invited_where(self) -> None:
        """The path of an invite link holds the invite code, and perhaps the PIN."""
        events: list[LogEvent] = []
        observe_log(self, events.append)
        self.rooms.failure = ZeroDivisionError()
        self.assertEqual(self.request(f"/room/{CODE}/73190588").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        told = "".join(json_line(event) + text_line(event) for event in events)
        self.assertIn("RoomLink", told)
        self.assertNotIn("73190588", told)
        self.assertNotIn(CODE, told)


class PageTests(WebTestCase):
    def test_front_page(self) -> None:
        reply = self.request("/?tandemRoom=x&pin=1")
        self.assertEqual((reply.status, reply.body), (200, b"<!doctype html><title>Tandem</title>"))
        self.assertEqual(reply.headers["Content-Type"], "text/html; charset=utf-8")
        policy = reply.headers["Content-Security-Policy"].split("; ")
        for directive in (
            "default-src 'self'",
            "media-src 'self' https: http: blob:",
            "connect-src 'self' ws://party.example wss://party.example https: http:",
            "frame-ancestors 'none'",
        ):
            self.assertIn(directive, policy)
        self.assertEqual(reply.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(reply.headers["Referrer-Policy"], "no-referrer")

    def test_plays_from_where_the_titles_are(self) -> None:
        self.serve(titles=("https://www.netflix.com/watch", "https://www.netflix.com/title", "http://films.example:81"))
        policy = self.request("/", Host="x;script-src *").headers["Content-Security-Policy"].split("; ")
        self.assertIn("media-src 'self' http://films.example:81 https://www.netflix.com blob:", policy)
        self.assertIn("connect-src 'self' http://films.example:81 https://www.netflix.com", policy)
        self.serve(titles=("https://*", "https://films.example", "http://films.example:81"))
        policy = self.request("/").headers["Content-Security-Policy"].split("; ")
        self.assertIn("media-src 'self' https: http://films.example:81 blob:", policy)

    def test_types(self) -> None:
        for name, kind in {
            "app.js": "text/javascript; charset=utf-8",
            "lib/part.mjs": "text/javascript; charset=utf-8",
            "clip.mp4": "video/mp4",
            "empty.txt": "text/plain; charset=utf-8",
            "data.unknown": "application/octet-stream",
        }.items():
            reply = self.request(f"/page/{name}")
            self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, kind))

    def test_the_client_library_has_a_path_of_its_own(self) -> None:
        self.serve(client_directory=os.path.join(self.page, "lib"))
        reply = self.request("/client/part.mjs")
        self.assertEqual((reply.status, reply.body), (200, b"export {};"))

    def test_nothing_else_is_served(self) -> None:
        os.symlink(os.path.abspath(self.page + ".outside.txt"), os.path.join(self.page, "link.txt"))
        outside = os.path.basename(self.page) + ".outside.txt"
        for path in (
            f"../{outside}",
            f"%2e%2e/{outside}",
            f"lib/../../{outside}",
            f"..%2f{outside}",
            f"lib%2f..%2f..%2f{outside}",
            f"..%5c{outside}",
            os.path.abspath(self.page + ".outside.txt"),
            "%2fetc%2fpasswd",
            "link.txt",
            ".secret",
            "lib",
            "lib/",
            "app.js/",
            "app.js/x",
            "missing.js",
            "x" * 300,
        ):
            reply = self.request(f"/page/{path}")
            self.assertEqual(reply.status, 404, path)
            self.assertNotIn(b"do not show", reply.body)

    def test_unchanged_files_are_not_sent_again(self) -> None:
        first = self.request("/page/app.js")
        tag, modified = first.headers["ETag"], first.headers["Last-Modified"]
        with self.open_file_count_kept():
            for headers in (
                {"If_None_Match": tag},
                {"If_None_Match": f'"x", W/{tag}'},
                {"If_None_Match": "*"},
                {"If_Modified_Since": modified},
            ):
                reply = self.request("/page/app.js", **headers)
                self.assertEqual((reply.status, reply.body, reply.headers["ETag"]), (304, b"", tag), headers)
            for headers in (
                {"If_None_Match": '"x"'},
                {"If_None_Match": '"x"', "If_Modified_Since": modified},
                {"If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
                {"If_Modified_Since": "nonsense"},
                {"If_Modified_Since": "Thu, 99 Jan 99999999999 00:00:00 GMT"},
            ):
                self.assertEqual(self.request("/page/app.js", **headers).status, 200, headers)

    def test_changed_files_are(self) -> None:
        tag = self.request("/page/app.js").headers["ETag"]
        with open(os.path.join(self.page, "app.js"), "ab") as file:
            file.write(b"//")
        self.assertEqual(self.request("/page/app.js", If_None_Match=tag).status, 200)

    def test_ranges(self) -> None:
        size = len(CLIP)
        for wanted, first, last in (
            ("bytes=0-", 0, size - 1),
            ("bytes=0-0", 0, 0),
            ("bytes=5-9", 5, 9),
            (f"bytes=5-{10 * size}", 5, size - 1),
            ("bytes=-7", size - 7, size - 1),
            (f"bytes=-{10 * size}", 0, size - 1),
            (f"bytes=100000-{size - 2}", 100000, size - 2),
        ):
            with self.open_file_count_kept():
                reply = self.request("/page/clip.mp4", Range=wanted)
            self.assertEqual(reply.body, CLIP[first : last + 1], wanted)
            if last - first + 1 < size:
                self.assertEqual(reply.headers["Content-Range"], f"bytes {first}-{last}/{size}")
            self.assertEqual(reply.status, 206, wanted)

    def test_ranges_that_are_not_there(self) -> None:
        size = len(CLIP)
        for wanted in (f"bytes={size}-", f"bytes={size}-{size + 1}", "bytes=-0"):
            with self.open_file_count_kept():
                reply = self.request("/page/clip.mp4", Range=wanted)
            self.assertEqual((reply.status, reply.headers["Content-Range"]), (416, f"bytes */{size}"))
        self.assertEqual(self.request("/page/empty.txt", Range="bytes=-5").status, 416)

    def test_ranges_that_are_none(self) -> None:
        for wanted in (
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=-",
            "bytes=a-b",
            "lines=1-2",
            "\xff",
            "bytes=" + "1" * 30 + "-",
        ):
            reply = self.request("/page/clip.mp4", Range=wanted)
            self.assertEqual((reply.status, len(reply.body)), (200, len(CLIP)), wanted)

    def test_ranges_of_a_file_that_has_changed(self) -> None:
        first = self.request("/page/clip.mp4")
        for same in (first.headers["ETag"], first.headers["Last-Modified"]):
            self.assertEqual(self.request("/page/clip.mp4", Range="bytes=1-2", If_Range=same).status, 206)
        self.assertEqual(self.request("/page/clip.mp4", Range="bytes=1-2", If_Range='"old"').status, 200)

    def test_client_goes_away(self) -> None:
        with self.open_file_count_kept():
            client, pump = self.connect()
            client.transport.write(head("/page/clip.mp4"))
            pump.pump()
            client.transport.loseConnection()
            pump.flush()


class Consumer:
    """A request to which a file is sent. room: how many writes it takes before it wants a pause."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""
        self.log: list[str] = []
        self.producer: Any = None
        self.channel = self.transport = self
        self.bufferSize = 65536

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.data += data
        self.room -= 1
        if self.room <= 0:
            self.producer.pauseProducing()

    def finish(self) -> None:
        self.log.append("finish")

    def loseConnection(self) -> None:
        self.log.append("loseConnection")


class PartSenderTests(TestCase):
    def send(self, consumer: Consumer, part: FileRange) -> None:
        sender = PartSender(cast(Any, consumer), part)
        verifyObject(IPushProducer, sender)
        sender.start()

    def test_a_slow_client_is_waited_for(self) -> None:
        data = os.urandom(3 * CHUNK_BYTES + 5)
        consumer = Consumer(1)
        self.send(consumer, FileRange(b"xx" + data + b"yy", 2, len(data)))
        self.assertEqual((len(consumer.data), consumer.bufferSize), (CHUNK_BYTES, CHUNK_BYTES))
        consumer.room = 2
        consumer.producer.resumeProducing()
        self.assertEqual(len(consumer.data), 3 * CHUNK_BYTES)
        self.assertEqual(consumer.log, [])
        consumer.room = 2
        consumer.producer.resumeProducing()
        self.assertEqual(consumer.data, data)
        self.assertEqual((consumer.log, consumer.producer), (["finish"], None))

    def test_the_last_write_may_ask_for_a_pause(self) -> None:
        consumer = Consumer(1)
        self.send(consumer, FileRange(b"abc", 0, 3))
        self.assertEqual((consumer.data, consumer.log), (b"abc", ["finish"]))

    def test_a_client_that_goes_away_while_it_is_waited_for(self) -> None:
        consumer = Consumer(1)
        self.send(consumer, FileRange(bytes(3 * CHUNK_BYTES), 0, 3 * CHUNK_BYTES))
        producer = consumer.producer
        producer.stopProducing()
        producer.resumeProducing()
        self.assertEqual((len(consumer.data), consumer.log), (CHUNK_BYTES, []))


class Unread(StringTransport):
    """A connection of which the client reads nothing: as a socket's, it asks for a pause beyond `bufferSize`."""

    bufferSize = 65536

    def __init__(self, peer: IAddress):
        super().__init__(peerAddress=peer)
        self.aborted = 0
        self.channel: Any = None

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.streaming and self.producer is not None and len(self.value()) > self.bufferSize:
            self.producer.pauseProducing()

    def abortConnection(self) -> None:
        self.aborted += 1
        self.channel.connectionLost(Failure(ConnectionAborted()))


def unread(
    site: TandemSite, count: int, peer: str = "203.0.113.{}", data: bytes = head("/page/clip.mp4")
) -> list[Unread]:
    """Connect clients that ask for something and read nothing of it."""
    transports = []
    for number in range(count):
        address = IPv4Address("TCP", peer.format(number), 1)
        transport = Unread(address)
        transport.channel = site.buildProtocol(address)
        transport.channel.makeConnection(transport)
        transport.channel.dataReceived(data)
        transports.append(transport)
    return transports


class SlowDownloadTests(WebTestCase):
    """Clients that ask for the clip and read nothing of it."""

    def setUp(self) -> None:
        super().setUp()
        self.site.connections = self.connections = Quota(40, 10, self.limited, "http_connections")
        self.site.address_of = self.addresses.early

    def test_of_one_address(self) -> None:
        with self.open_file_count_kept():
            slow = unread(self.site, 30, "203.0.113.7")
        self.assertEqual([transport.aborted for transport in slow], [1] * 20 + [0] * 10)
        self.assertEqual((len(self.connections), self.limited), (10, {"http_connections": 20}))
        self.assertEqual(self.request("/health", peer=IPv4Address("TCP", "203.0.113.7", 2)).status, 200)

    def test_of_many(self) -> None:
        slow = unread(self.site, 100)
        self.assertEqual(sum(transport.aborted for transport in slow), 60)
        self.assertEqual(len(self.connections), 40)
        self.assertEqual(self.request("/", Connection="close").status, 200)
        self.assertEqual(len(self.connections), 39, "the newcomer took the place of the oldest, and has left")

    def test_little_is_kept_for_each(self) -> None:
        (slow,) = unread(self.site, 1)
        self.assertLess(len(slow.value()), 2 * CHUNK_BYTES + 1000)

    def test_pipelined_behind_a_proxy_they_count_for_the_client(self) -> None:
        self.serve(trusted_hops=1)
        self.site.connections = self.connections = Quota(40, 10, self.limited, "http_connections")
        self.site.address_of = self.addresses.early
        forwarded = head("/page/clip.mp4", X_Forwarded_For="198.51.100.1")
        slow = unread(self.site, 30, "10.0.0.1", forwarded)
        self.assertEqual([transport.aborted for transport in slow], [1] * 20 + [0] * 10)
        # An answer that was read makes the connection the proxy's again.
        done = unread(self.site, 12, "10.0.0.1", head("/health", X_Forwarded_For="198.51.100.2"))
        self.assertEqual(sum(transport.aborted for transport in done), 0)

    def test_their_end_is_spread(self) -> None:
        """All reach their time limit in the same turn; ending one takes 0.1 to 0.2 ms."""
        self.site.connections = Quota()
        slow = unread(self.site, 200)
        ended = []
        self.reactor.advance(14.9)
        while not all(transport.aborted for transport in slow):
            before = sum(transport.aborted for transport in slow)
            # One iteration: the due calls, and nothing that they lead to.
            due: list[Any] = [
                call for call in self.reactor.getDelayedCalls() if call.getTime() <= self.reactor.seconds()
            ]
            if due:
                for call in due:
                    self.reactor.calls.remove(call)
                    call.called = 1
                    call.func(*call.args, **call.kw)
                ended.append(sum(transport.aborted for transport in slow) - before)
            else:
                self.reactor.rightNow += 0.2
        self.assertLessEqual(max(ended), 8)
        self.assertEqual(sum(ended), 200)

    def test_a_websocket_is_none_of_them(self) -> None:
        client, pump = self.connect()
        client.transport.write(upgrade("/ws"))
        pump.flush()
        self.assertIn(b" 101 ", client.data)
        self.assertEqual((len(self.connections), len(self.site.waiting)), (0, 0))
        client.transport.abortConnection()
        pump.flush()


class WebSocketTests(WebTestCase):
    FRAME = b"\x81\x82\x00\x00\x00\x00hi"

    def test_both_paths(self) -> None:
        for path in ("/ws", "/ws?v=2", "/", "/?x"):
            client, pump = self.connect()
            client.transport.write(upgrade(path))
            pump.flush()
            self.assertTrue(client.data.startswith(b"HTTP/1.1 101 "), path)
            client.transport.write(self.FRAME)
            pump.flush()
            self.assertTrue(client.data.endswith(b"\x81\x02hi"))

    def test_it_outlives_the_time_for_a_request(self) -> None:
        client, pump = self.connect()
        client.transport.write(upgrade("/ws"))
        pump.flush()
        self.reactor.advance(100)
        client.transport.write(self.FRAME)
        pump.flush()
        self.assertTrue(client.data.endswith(b"\x81\x02hi"))

    def test_no_other_path(self) -> None:
        for path in ("/ws/", "/ws/x", "/WS", "/health"):
            client, pump = self.connect()
            client.transport.write(upgrade(path))
            pump.flush()
            self.assertEqual(Reply(client.data).status, 200 if path == "/health" else 404, path)

    def test_without_upgrade(self) -> None:
        self.assertEqual(self.request("/ws").status, 426)
        self.assertEqual(self.request("/ws", "HEAD").headers["Upgrade"], "websocket")


class ConnectionTests(WebTestCase):
    def test_keep_alive(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/health") + head("/nowhere"))
        pump.flush()
        self.assertEqual(client.data.count(b"HTTP/1.1 "), 2)
        self.assertFalse(client.closed)

    def test_slow_headers(self) -> None:
        client, pump = self.connect()
        data = iter(head("/health"))
        for _ in range(14):
            client.transport.write(bytes([next(data)]))
            pump.flush()
            self.reactor.advance(1)
        pump.flush()
        self.assertFalse(client.closed)
        self.reactor.advance(2)
        pump.flush()
        self.assertTrue(client.closed)

    def test_slow_headers_of_a_later_request(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/health"))
        pump.flush()
        self.reactor.advance(14)
        for char in b"GET /health HTT":
            client.transport.write(bytes([char]))
            pump.flush()
            self.assertFalse(client.closed)
            self.reactor.advance(1)
        pump.flush()
        self.assertTrue(client.closed)

    def test_idle(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/health"))
        pump.flush()
        self.reactor.advance(16)
        pump.flush()
        self.assertTrue(client.closed)

    def test_no_http2(self) -> None:
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])

    def test_no_line_for_a_request(self) -> None:
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)
        lines: list[str] = []
        self.site._logFile = cast(Any, type("File", (), {"write": lambda self, line: lines.append(line)})())
        self.request("/health")
        self.site._logFile = None
        self.assertEqual(lines, [])


class AddressTests(TestCase):
    PEER = IPv4Address("TCP", "10.0.0.1", 1)

    def test_peer(self) -> None:
        for host, address in (
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("fe80::1%eth0", "fe80::1"),
            ("2001:db8::1", "2001:db8::1"),
        ):
            self.assertEqual(client_address(IPv6Address("TCP", host, 1), ["8.8.8.8"], 0), address)
        self.assertEqual(client_address(UNIXAddress("/run/x"), [], 0), "")

    def test_forwarded(self) -> None:
        for values, hops, address in (
            (["1.1.1.1"], 1, "1.1.1.1"),
            (["6.6.6.6, 1.1.1.1"], 1, "1.1.1.1"),
            (["6.6.6.6", "1.1.1.1"], 1, "1.1.1.1"),
            (["6.6.6.6, 1.1.1.1, 10.0.0.2"], 2, "1.1.1.1"),
            (["1.1.1.1"], 2, "10.0.0.1"),
            ([], 1, "10.0.0.1"),
            (["unknown"], 1, "10.0.0.1"),
            (["6.6.6.6,"], 1, "10.0.0.1"),
            (["1.1.1.1:999"], 1, "1.1.1.1"),
            (["[2001:db8::1]:999"], 1, "2001:db8::1"),
            (["2001:db8::1"], 1, "2001:db8::1"),
        ):
            self.assertEqual(client_address(self.PEER, values, hops), address, values)
        self.assertEqual(client_address(UNIXAddress("/run/x"), ["1.1.1.1"], 1), "1.1.1.1")

    def test_rules(self) -> None:
        for addresses in (Addresses(), Addresses(clock=Clock())):
            self.assertEqual(addresses.rule(self.PEER, []), "10.0.0.1")
            self.assertEqual(addresses.rule(IPv6Address("TCP", "2001:db8::1", 1), []), "2001:db8::/64")
            self.assertEqual(addresses.rule(self.PEER, ["1.1.1.1"]), "10.0.0.1")
            self.assertEqual(addresses.rule(UNIXAddress("/run/x"), ["1.1.1.1"]), "")

    def test_translated_addresses_are_their_ipv4(self) -> None:
        for written, expected in (
            ("2002:cb00:7107:1::1", "203.0.113.7"),
            ("2002:cb00:7107:ffff::2", "203.0.113.7"),
            ("64:ff9b::203.0.113.7", "203.0.113.7"),
            ("64:ff9b:1::203.0.113.7", "64:ff9b:1::/64"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ):
            self.assertEqual(Addresses().rule(IPv6Address("TCP", written, 1), []), expected)

    def test_proxies_of_which_nothing_is_known(self) -> None:
        addresses = Addresses(UNKNOWN)
        for peer in (self.PEER, IPv4Address("TCP", "8.8.8.8", 1)):
            self.assertEqual(
                [addresses.rule(peer, ["1.1.1.1"]), addresses.early(peer), addresses.client(peer, [])], [""] * 3
            )
        self.assertFalse(addresses.secure("https"))


class LookupLimitsTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.refused = Counter("refused", "")

    def limits(self, per_address: int, in_vain: int = 0) -> InviteLookupLimiter:
        return InviteLookupLimiter(self.clock, per_address, in_vain, self.refused)

    def test_rest_gives_no_more_than_the_burst(self) -> None:
        limits = self.limits(2)
        self.clock.advance(1_000_000)
        self.assertEqual([bool(limits.take("a")) for _ in range(4)], [False, False, True, True])
        self.assertEqual(self.refused.value, 2)

    def test_asking_while_refused_does_not_prolong_it(self) -> None:
        limits = self.limits(2)
        for _ in range(10):
            limits.take("a")
        self.clock.advance(30)
        self.assertEqual(limits.take("a"), 0.0)

    def test_questions_of_members_count_for_their_address_only(self) -> None:
        limits = self.limits(2, in_vain=2)
        self.assertEqual([limits.take_for_member("a"), limits.take_for_member("a"), limits.take("b")], [0.0, 0.0, 0.0])
        self.assertTrue(limits.take_for_member("a"))

    def test_many_who_guess_together_leave_something_to_others(self) -> None:
        """A botnet that looks up codes without end: a new address is still answered."""
        limits = self.limits(10, in_vain=100)
        guesses = 0
        for second in range(600):
            self.clock.advance(1)
            guesses += sum(not limits.take(f"bot{number}") for number in range(100))
            if second > 60 and second % 10 == 0:
                self.assertEqual(limits.take(f"guest{second}"), 0.0, second)
                limits.refund_last()
        self.assertTrue(guesses <= 100 * (600 / 60 + 1), guesses)

    def test_what_is_found_costs_nothing_in_all(self) -> None:
        limits = self.limits(1000, in_vain=2)
        for number in range(100):
            self.assertEqual(limits.take(f"a{number}"), 0.0)
            limits.refund_last()

    def test_where_addresses_mean_nothing(self) -> None:
        limits = self.limits(1, in_vain=3)
        self.assertEqual([bool(limits.take("")) for _ in range(4)], [False, False, False, True])
        self.assertEqual([limits.take_for_member("") for _ in range(4)], [0.0] * 4)

    def test_off(self) -> None:
        limits = self.limits(0)
        self.assertEqual([limits.take(address) for address in ("a", "a", "", "")], [0.0] * 4)


class RequestLimitTest(WebTestCase):
    """An address may ask so often; addresses of the operator, always."""

    door = ConnectionLimits(requests_per_minute=3)

    def test_too_many(self) -> None:
        paths = ("/status", "/nowhere", "/page/app.js", "/metrics")
        self.assertEqual([self.request(path).status for path in paths], [200, 404, 200, 429])
        refused = self.request("/status")
        self.assertEqual(
            (refused.status, refused.headers["Retry-After"], refused.json["code"]), (429, "20", "rate_limited")
        )
        self.assertEqual(self.request("/status", peer=IPv4Address("TCP", "10.0.0.9", 1)).status, 200)
        self.assertEqual([self.request("/health").status, self.request("/health/ready").status], [200, 200])
        self.assertEqual(self.limited, {"request_rate": 2})
        self.reactor.advance(20)
        self.assertEqual([self.request("/status").status for _ in range(2)], [200, 429])

    def test_what_makes_no_sense_counts_as_well(self) -> None:
        for kind in (
            ("/x", "OPTIONS"),
            ("/%zz", "GET"),
            ("//", "GET"),
            ("/" + "x" * 5000, "GET"),
            ("/status", "DELETE"),
        ):
            self.reactor.advance(60)
            statuses = [self.request(*kind).status for _ in range(5)]
            self.assertEqual(statuses[3:], [429, 429], kind)
            self.assertNotIn(429, statuses[:3], kind)

    def test_closed_after_one_too_many(self) -> None:
        for path in ("/status", "/health"):
            self.reactor.advance(60)
            client, pump = self.connect()
            client.transport.write(head(path) * 10)
            pump.flush()
            self.assertEqual((client.data.count(b"HTTP/1.1 "), client.closed), (4, True), path)

    def test_a_wide_ipv6_network(self) -> None:
        peers = [IPv6Address("TCP", f"2001:db8:7:{number:x}::1", 1) for number in range(30)]
        self.assertEqual([self.request("/status", peer=peer).status for peer in peers], [200] * 24 + [429] * 6)
