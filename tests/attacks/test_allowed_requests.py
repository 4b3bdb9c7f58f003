"""Each endpoint at its limit, from 1, 30 and 480 connections of an address and of a /48: its cost is bounded.

Generated from docs/openapi.yaml, which `test_openapi` compares with the router: a path that has no bound in `BOUNDS` fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from tandemd import messages as m
from tandemd.config.schema import Limits
from tandemd.ratelimit.scopes import WIDE
from tandemd.web import ConnectionLimits

from ..rooms.test_administration import FakeAdministration
from ..support.fake_node import Server
from ..web.test_openapi import described
from ..web.test_router import Reply, WebTestCase, head
from ..web.test_videos import tree, videos
from .allowed import CROWDS, LONG_ID, LONG_REASON, Cost, Mouth, encoded, kept, lines

TOKEN = "t" * 32
ROOM = "room"
MEMBERS = 90
PER_MINUTE = 60
"""Requests of an address: a hundredth of the default, and met sooner."""
ANSWERED = ("/health", "/health/ready")
"""Paths that are always answered."""
LEFT_BEHIND = 1500
"""Bytes that a node still has of an address, or of a connection, when it has been answered."""
LEFT_AT_ALL = 256 * 1024
NEIGHBOUR = IPv4Address("TCP", "198.51.100.1", 1)

_FOUND = Cost(why="A look-up in memory; in a cluster one of the store.", lines=1400, told=900)
_ADMIN = Cost(why="For the right token only; what is asked for is behind IAdministration.", lines=650, told=700)
BOUNDS: dict[str, Cost] = {
    "/health": Cost(why="A constant.", lines=500, told=700),
    "/health/ready": Cost(why="Reasons and warnings, a few.", lines=550, told=700),
    "/metrics": Cost(why="Rendered once a second at most.", lines=1300, told=16_000),
    "/status": Cost(why="With a member's token its room: all members, 450 bytes each.", lines=3000, told=75_000),
    "/api/config": Cost(why="Constants, encoded once.", lines=1300, told=2000),
    "/api/addresses": Cost(why="Hosts of the machine, told to clients on it only.", lines=1300, told=1500),
    "/api/room/{code}": _FOUND,
    "/api/short-id/{roomId}": _FOUND,
    "/room/{code}": _FOUND,
    "/room/{code}/{pin}": _FOUND,
    "/ws": Cost(why="A constant; handshakes are in the attack suite.", lines=450, told=700),
    "/admin/v1/node": _ADMIN,
    "/admin/v1/rooms": _ADMIN,
    "/admin/v1/rooms/{roomId}": _ADMIN,
    "/admin/v1/rooms/{roomId}/events": _ADMIN,
    "/admin/v1/rooms/{roomId}/close": _ADMIN,
    "/admin/v1/rooms/{roomId}/announce": _ADMIN,
    "/admin/v1/announce": _ADMIN,
    "/admin/v1/drain": _ADMIN,
    "/": Cost(why="A file that is in memory once.", lines=650, told=2000),
    "/page/{file}": Cost(
        why="As /, in pieces that are made as they are read; its length is the file's.", lines=750, told=260_000
    ),
    "/client/{file}": Cost(why="As /page/{file}.", lines=750, told=260_000),
    "/videos/": Cost(why="A directory, in a thread: some 60 lines an entry, and 0.1 kB.", lines=1500, told=2000),
    "/videos/{film}": Cost(why="Read in threads, in pieces as they are sent.", lines=1200, told=260_000),
}
"""The allowed cost of one request. A new path needs a line here: these are about 1.5 times the measured cost."""


class RequestTest(WebTestCase):
    """Behind it is a room as large as its members can make it."""

    door = ConnectionLimits(requests_per_minute=PER_MINUTE)

    def setUp(self) -> None:
        super().setUp()
        self.node = Server(self.reactor, limits=Limits())
        self.node.start()
        self.films = tree(Path(self.mktemp()).resolve())
        self.addCleanup(self.node.stop)
        self.members = [Mouth(self.node, ROOM, f"{LONG_ID}{at}", "192.0.2.1", at) for at in range(MEMBERS)]
        for member in self.members:
            member.connect()
            member.join()
        for number in range(98):
            ban = {"targetUserId": f"{LONG_ID}b{number}", "reason": LONG_REASON}
            self.members[0].say(encoded(m.Ban, ban))
            self.reactor.advance(1)
        found: list[Any] = []
        self.node.rooms.directory.invite(ROOM, "192.0.2.1", 0.0).addCallback(found.append)
        self.code = str(found[0])

    def renew(self) -> None:
        """Begin with a site that has had no request."""
        self.serve(
            videos=videos(self.films), rooms=self.node.rooms.directory, administration=FakeAdministration(ROOM), admin_token=TOKEN,
            metrics_text=self.node.metrics.render, short_id_wait=0.0,
        )  # fmt: skip

    def asking(self, path: str) -> tuple[bytes, str]:
        """Return a request to a path, and its method."""
        real = path
        for name, value in {
            "{code}": self.code,
            "{roomId}": ROOM,
            "{pin}": "123456",
            "{file}": "clip.mp4",
            "{film}": "A%20Film.mp4",
        }.items():
            real = real.replace(name, value)
        method = "POST" if "post" in described()[path] else "GET"
        body = b'{"text": "x"}' if path.endswith("announce") else b""
        token = TOKEN if path.startswith("/admin") else self.members[0].token
        headers = {"Authorization": f"Bearer {token}", "Content-Length": str(len(body))}
        return head(real, method, **headers) + body, method

    def peer(self, number: int, wide: bool) -> IAddress:
        """Return an address of the asker: of the members', so that invite codes are told."""
        return IPv6Address("TCP", f"2001:db8:1:{number:x}::1", 1) if wide else IPv4Address("TCP", "192.0.2.1", 1)

    def flood(self, path: str, count: int, wide: bool) -> None:
        data, method = self.asking(path)
        what = f"{path} from {count} connections of {'a /48' if wide else 'one address'}"
        bound = BOUNDS[path]
        self.node.journal.clear()
        told = [member.told for member in self.members]
        before = kept(self.site, self.rooms, self.node, self.reactor) + kept(self.node, *self.members)
        answered = refused = 0
        each = max(1, -(-PER_MINUTE * 3 // 2 // count))
        for number in range(count):
            client, pump = self.connect(self.peer(number, wide))
            for _ in range(each):
                if client.closed:
                    client, pump = self.connect(self.peer(number, wide))

                def ask(client: Any = client, pump: Any = pump) -> None:
                    client.transport.write(data)
                    pump.flush()

                ran = lines(ask)
                self.reactor.advance(0)
                pump.flush()
                reply, size = Reply(client.data, method), len(client.data)
                client.data = b""
                if reply.status == 429:
                    refused += 1
                else:
                    answered += 1
                    self.assertIn(reply.status, (200, 302, 404, 426), what)
                self.assertLessEqual(ran, bound.lines, f"{what}: lines")
                self.assertLessEqual(size, bound.told, f"{what}: bytes of the answer")
            client.transport.loseConnection()
            pump.flush()
        if path not in ANSWERED:
            self.assertLessEqual(answered, PER_MINUTE * (WIDE if wide else 1), what)
            self.assertTrue(refused or wide, what)
        self.assertEqual(self.node.journal, [], what)
        self.assertEqual([member.told for member in self.members], told, what)
        if path not in ANSWERED:
            # A neighbour is answered as ever.
            self.assertEqual(self.request("/status", peer=NEIGHBOUR).status, 200, what)
        self.reactor.advance(30)
        held = kept(self.site, self.rooms, self.node, self.reactor) + kept(self.node, *self.members) - before
        self.assertLessEqual(held, count * LEFT_BEHIND + LEFT_AT_ALL, f"{what}: memory")


class ListTest(WebTestCase):
    def test_every_path_has_a_bound(self) -> None:
        self.assertEqual(set(BOUNDS), set(described()))


def _add(path: str) -> None:
    def flood(self: RequestTest) -> None:
        for count in CROWDS:
            for wide in (False, True):
                self.renew()
                self.flood(path, count, wide)

    setattr(RequestTest, "test" + "".join(letter if letter.isalnum() else "_" for letter in path), flood)


for _path in described():
    _add(_path)
