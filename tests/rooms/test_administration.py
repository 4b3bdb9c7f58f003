"""Acts of administrators: the rules, the rooms, the archive's part of it, and HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tandemd.errors import ErrorCode, RequestError
from tandemd.interfaces import IAdministration, Unavailable
from tandemd.rooms.administration import Administration
from tandemd.rules.commands import Announce, Close

from ..support.fake_node import HeldStore, ServiceTestCase
from ..support.legacy_client import OldClient
from ..support.rules_fixture import World, make_rules
from ..web.test_router import WebTestCase

TOKEN = "t" * 32
BY = "198.51.100.1"


class RuleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("ann")
        self.world.join("bob")

    def test_close(self) -> None:
        decision = self.world.do("", Close(BY, "it is late"))
        commit = self.world.log[-1]
        self.assertEqual(
            (commit.event, commit.user, commit.details), ("ROOM_CLOSED", "", {"by": BY, "why": "it is late"})
        )
        self.assertTrue(decision.closes and self.world.room.closed)
        self.assertEqual(self.world.room.members, {})
        self.assertEqual(commit.due, 0.0)

    def test_close_an_empty_room(self) -> None:
        for user in ("ann", "bob"):
            self.world.lose(user)
        self.world.now += 60
        self.world.due()
        self.world.due()
        self.assertEqual(self.world.room.members, {})
        self.assertTrue(self.world.do("", Close(BY)).closes)

    def test_close_none(self) -> None:
        self.world.begin()
        self.assertFalse(self.world.decide("", Close(BY)).commits)

    def test_announce(self) -> None:
        decision = self.world.do("", Announce(BY, "Good night"))
        (said,) = decision.messages
        self.assertEqual((said.user_id, said.username, said.text), ("server", "Server", "Good night"))
        self.assertEqual((decision.event, decision.details), ("ANNOUNCEMENT", {"by": BY, "text": "Good night"}))
        self.assertEqual(decision.changes, {})

    def test_announce_to_no_member(self) -> None:
        self.world.begin()
        self.assertFalse(self.world.decide("", Announce(BY, "x")).commits)

    def test_announce_too_much(self) -> None:
        self.world.rules = make_rules(chat_length=3)
        self.assertEqual(self.world.refused("", Announce(BY, "four")), "bad_message")


class FakeReports:
    """Rooms by code. away: the archive cannot be asked."""

    def __init__(self, *codes: str) -> None:
        self.codes = sorted(codes)
        self.away = False

    def rooms(self, after: str, limit: int) -> Deferred[Any]:
        if self.away:
            return fail(RuntimeError("connection refused"))
        return succeed([{"roomId": code} for code in self.codes if code > after][:limit])

    def events(self, code: str, limit: int) -> Deferred[Any]:
        return succeed([] if code in self.codes else None)


class RoomTests(ServiceTestCase):
    options: dict[str, Any] = {"make_store": HeldStore}

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.world.party("ann", "bob")
        self.reports = FakeReports("room", "other", "gone")
        self.drained: list[bool] = []
        self.others = True
        rooms = self.world.server.rooms
        self.administration = Administration(
            self.world.store,
            rooms.open,
            cast(Any, self.reports),
            dict,
            self._drain,
            lambda: self.others,
        )

    def _drain(self, undo: bool) -> int:
        self.drained.append(undo)
        return 7

    def result(self, deferred: Deferred[Any]) -> Any:
        self.world.settle()
        return self.successResultOf(deferred)

    def test_interface(self) -> None:
        verifyObject(IAdministration, self.administration)

    def test_close(self) -> None:
        self.assertTrue(self.result(self.administration.close("room", BY, "it is late")))
        for client in (self.ann, self.bob):
            told = client.told()
            self.assertEqual(told[0], {"type": "ROOM_CLOSED", "reason": "it is late"})
            # Old clients know these messages only: for them, all other members have left.
            for kind in ("LEAVE", "USER_LEFT"):
                self.assertEqual({m["userId"] for m in told if m["type"] == kind}, {"ann", "bob"})
            # Old clients come back at once from every close.
            self.assertFalse(client.closed)
            self.refused(client.send("PLAY_PAUSE", control="play", currentTime=1), "not_joined")
        self.assertIsNone(self.world.room())
        event = [commit for _, commit in self.world.server.journal if commit.event == "ROOM_CLOSED"]
        self.assertEqual(len(event), 1)
        # The next JOIN makes a new room.
        state = self.the(self.bob.send("JOIN", userId="bob", roomId="room"), "ROOM_STATE")
        self.assertHas(state, hostUserId="bob")

    def test_close_a_party_of_old_clients(self) -> None:
        """They learn only that all members leave; they must neither rejoin again and again nor stay in calls."""
        viewers = [
            OldClient(self.world, user, "old", f"10.3.0.{i}", None, i) for i, user in enumerate(("olga", "otto"))
        ]
        for viewer in viewers:
            viewer.start()
            self.world.advance(1)
        links = len(self.world.links)
        self.assertTrue(self.result(self.administration.close("old", BY, None)))
        self.world.advance(120)
        self.assertEqual(len(self.world.links), links, "no client connected again")
        self.assertEqual([(viewer.tiles, viewer.calls) for viewer in viewers], [(set(), set())] * 2)
        self.assertIsNone(self.world.room("old"))

    def test_close_what_is_not_there(self) -> None:
        self.assertFalse(self.result(self.administration.close("nowhere", BY, None)))
        self.assertIsNone(self.world.server.rooms.open.get("nowhere"), "it is not kept open")

    def test_who_waited_for_a_place_gets_one(self) -> None:
        """A JOIN that waits goes into the room that is next."""
        other = self.world.join("ann", peer="10.9.9.9")
        self.refused(other.told(), "identity_conflict")
        self.result(self.administration.close("room", BY, None))
        self.assertHas(self.the(other.told(), "ROOM_STATE"), hostUserId="ann")

    def test_announce(self) -> None:
        self.assertTrue(self.result(self.administration.announce("room", BY, "Good night")))
        for client in (self.ann, self.bob):
            self.assertHas(
                self.the(client.told(), "CHAT"), userId="server", username="Server", text="Good night", prev=2
            )

    def test_announce_to_all(self) -> None:
        (eve,) = self.world.party("eve", room="other")
        self.assertEqual(self.result(self.administration.announce_to_all(BY, "x")), 2, "the third has no members")
        for client in (self.ann, self.bob, eve):
            self.the(client.told(), "CHAT")

    def test_store_away(self) -> None:
        """A caller that was told of a failure can rely on it."""
        self.world.store.results.append(Unavailable(0.5))
        refused = self.failureResultOf(self.administration.close("room", BY, None), RequestError)
        self.assertEqual(refused.value.code, "unavailable")
        self.world.advance(30)
        self.assertIsNotNone(self.world.room())
        self.assertEqual(self.ann.told("ROOM_CLOSED"), [])

    def test_archive_away(self) -> None:
        self.reports.away = True
        failure = self.failureResultOf(self.administration.rooms("", 10), RequestError)
        self.assertEqual(failure.value.code, "unavailable")

    def test_room(self) -> None:
        self.ann.send("PLAY_PAUSE", control="play", currentTime=10)
        self.world.advance(5)
        room = self.result(self.administration.room("room"))
        self.assertHas(room, roomId="room", hostUserId="ann", isPlaying=True, currentTime=15.0, hasPin=False)
        self.assertEqual(
            [(one["userId"], one["nodeId"]) for one in room["members"]], [("ann", "node"), ("bob", "node")]
        )
        self.assertIsNone(self.result(self.administration.room("nowhere")))
        # Proofs of identity and addresses stay private.
        self.assertNotRegex(json.dumps(room), "10\\.1\\.0|token|salt")

    def test_drain(self) -> None:
        self.assertEqual(self.administration.drain(BY, False, False), 7)
        self.others = False
        error = self.assertRaises(RequestError, self.administration.drain, BY, False, False)
        self.assertEqual(error.code, "no_other_node")
        self.administration.drain(BY, False, True)
        self.administration.drain(BY, True, False)
        self.assertEqual(self.drained, [False, False, True])


@implementer(IAdministration)
class FakeAdministration:
    """Records its calls. there: the only room."""

    def __init__(self, there: str = "a/b") -> None:
        self.there = there
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.failure is not None:
            raise self.failure

    def node(self) -> dict[str, object]:
        return {"nodeId": "node-1"}

    def rooms(self, after: str, limit: int) -> Deferred[Sequence[dict[str, object]]]:
        self._note("rooms", after, limit)
        return succeed([{"roomId": "a/b"}])

    def room(self, code: str) -> Deferred[dict[str, object] | None]:
        return succeed({"roomId": code} if code == self.there else None)

    def events(self, code: str, limit: int) -> Deferred[Sequence[dict[str, object]] | None]:
        self._note("events", code, limit)
        return succeed([] if code == self.there else None)

    def close(self, code: str, by: str, reason: str | None) -> Deferred[bool]:
        self._note("close", code, by, reason)
        return succeed(code == self.there)

    def announce(self, code: str, by: str, text: str) -> Deferred[bool]:
        self._note("announce", code, by, text)
        return succeed(code == self.there)

    def announce_to_all(self, by: str, text: str) -> Deferred[int]:
        self._note("announce", by, text)
        return succeed(3)

    def drain(self, by: str, undo: bool, force: bool) -> int:
        self._note("drain", by, undo, force)
        return 9


class HttpTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.administration = FakeAdministration()
        self.serve(administration=self.administration, admin_token=TOKEN)

    def ask(self, path: str, body: Any = None, token: str = TOKEN, peer: str = BY, method: str = "") -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if content:
            headers["Content-Length"] = str(len(content))
        return self.request(
            f"/admin{path}",
            method or ("GET" if body is None else "POST"),
            IPv4Address("TCP", peer, 1),
            content,
            **headers,
        )

    def test_interface(self) -> None:
        verifyObject(IAdministration, self.administration)

    def test_off_unless_configured(self) -> None:
        self.serve(administration=self.administration)
        self.assertEqual(self.ask("/v1/node").status, 404)
        self.assertEqual(self.ask("/v1/node", token="").status, 404)

    def test_questions(self) -> None:
        self.assertEqual(self.ask("/v1/node").json, {"nodeId": "node-1"})
        self.assertEqual(self.ask("/v1/rooms").json, {"rooms": [{"roomId": "a/b"}]})
        self.ask("/v1/rooms?after=x%2Fy&limit=7")
        self.assertEqual(self.ask("/v1/rooms/a%2Fb").json, {"roomId": "a/b"})
        self.assertEqual(self.ask("/v1/rooms/a%2Fb/events?limit=3").json, {"events": []})
        self.assertEqual(self.administration.asked, [("rooms", "", 100), ("rooms", "x/y", 7), ("events", "a/b", 3)])
        self.assertEqual(self.ask("/v1/node").headers["Cache-Control"], "no-store")

    def test_acts(self) -> None:
        self.assertEqual(self.ask("/v1/rooms/a%2Fb/close", {"reason": "late"}).json, {"closed": True})
        self.assertEqual(self.ask("/v1/rooms/a%2Fb/announce", {"text": " hello "}).json, {"rooms": 1})
        self.assertEqual(self.ask("/v1/announce", {"text": "hello"}).json, {"rooms": 3})
        self.assertEqual(self.ask("/v1/drain", {}).json, {"connections": 9})
        self.assertEqual(
            self.administration.asked,
            [
                ("close", "a/b", BY, "late"),
                ("announce", "a/b", BY, "hello"),
                ("announce", BY, "hello"),
                ("drain", BY, False, False),
            ],
        )

    def test_odd_characters(self) -> None:
        """A family of emoji contains a joiner that is not printable, and a cut string half an emoji."""
        for text, passed in (
            ("\U0001f468\u200d\U0001f469", None),
            ("hi \ud83d", "hi \ufffd"),
            ("\u202b\u05e9\u202c", None),
        ):
            self.assertEqual(self.ask("/v1/announce", {"text": text}).status, 200, ascii(text))
            self.assertEqual(self.administration.asked.pop(), ("announce", BY, passed or text))
            self.assertEqual(self.ask("/v1/rooms/a%2Fb/close", {"reason": text}).status, 200, ascii(text))
            self.assertEqual(self.administration.asked.pop(), ("close", "a/b", BY, passed or text))

    def test_a_question_does_nothing(self) -> None:
        """Machines follow links, so only POST acts."""
        for path in ("/v1/rooms/a%2Fb/close", "/v1/rooms/a%2Fb/announce", "/v1/announce", "/v1/drain"):
            self.assertEqual(self.ask(path).status, 405, path)
            self.assertEqual(self.ask(path, method="HEAD").status, 405, path)
        for path in ("/v1/node", "/v1/rooms", "/v1/rooms/a%2Fb"):
            self.assertEqual(self.ask(path, {}).status, 405, path)
        self.assertEqual(self.ask("/v1/node", {}, method="DELETE").status, 405)
        self.assertEqual(self.administration.asked, [])

    def test_what_is_not_there(self) -> None:
        for path in (
            "",
            "/",
            "/v1",
            "/v2/node",
            "/v1/node/x",
            "/v1/rooms/x",
            "/v1/rooms/x/events",
            "/v1/rooms/a%2Fb/x",
        ):
            self.assertEqual(self.ask(path).status, 404, path)
        self.assertEqual(self.ask("/v1/rooms/x/close", {}).status, 404)

    def test_bad_bodies_and_arguments(self) -> None:
        for path, body in (
            ("/v1/drain", {"undo": 1}),
            ("/v1/drain", {"undoo": True}),
            ("/v1/announce", {}),
            ("/v1/announce", {"text": "  "}),
            ("/v1/announce", {"text": "two\nlines"}),
            ("/v1/announce", []),
            ("/v1/rooms/a%2Fb/close", {"reason": 3}),
        ):
            self.assertEqual(self.ask(path, body).status, 400, (path, body))
        for query in ("limit=0", "limit=1001", "limit=x", "limit=", "after=%ff"):
            self.assertEqual(self.ask(f"/v1/rooms?{query}").status, 400, query)
        self.assertEqual(self.administration.asked, [])

    def test_unavailable(self) -> None:
        self.administration.failure = RequestError(ErrorCode.UNAVAILABLE, "The store is away.", 2000)
        reply = self.ask("/v1/rooms")
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "2"))
        self.administration.failure = RequestError(ErrorCode.NO_OTHER_NODE, "No other node is alive.")
        self.assertEqual(self.ask("/v1/drain", {}).status, 409)

    def test_tokens(self) -> None:
        for token in ("", "x" * 32, TOKEN + "t", TOKEN[:-1]):
            reply = self.ask("/v1/drain", {}, token=token)
            self.assertEqual((reply.status, reply.headers["WWW-Authenticate"]), (401, "Bearer"))
            self.assertNotIn(TOKEN.encode(), reply.body)
        # A client without the token learns no path.
        self.assertEqual(self.ask("/v1/nowhere", token="x").status, 401)
        self.assertEqual(self.administration.asked, [])

    def test_paths_that_a_proxy_reads_differently(self) -> None:
        for path in ("/v1/rooms/..%2f..%2f..%2fx/close", "/v1/rooms/../rooms/x/close", "/v1/node/../../../x/close"):
            self.assertEqual(self.ask(path, {}).status, 404, path)
        self.assertEqual(self.administration.asked, [])

    def test_names_of_endpoints_have_no_escapes(self) -> None:
        """A proxy may keep clients from /admin and /metrics by a comparison of the path as it is."""
        bearer = f"Bearer {TOKEN}"
        for path in ("/%61dmin/v1/node", "/a%64min/v1/node", "/%6Detrics", "/statu%73", "/p%61ge/main.js", "/%77s"):
            self.assertEqual(self.request(path, Authorization=bearer).status, 404, path)
        self.assertEqual(self.request("/admin/v1/%6Eode", Authorization=bearer).status, 200)

    def test_wrong_tokens_are_limited(self) -> None:
        for _ in range(10):
            self.assertEqual(self.ask("/v1/node", token="wrong").status, 401)
        reply = self.ask("/v1/node", token="wrong")
        self.assertEqual(reply.status, 429)
        self.assertGreater(int(reply.headers["Retry-After"]), 0)
        # Other clients of its address, however many, do not keep out a client with the right token.
        self.assertEqual(self.ask("/v1/node").status, 200)
        self.assertEqual(self.ask("/v1/node", peer="198.51.100.2", token="wrong").status, 401)
        self.reactor.advance(7)
        self.assertEqual(self.ask("/v1/node", token="wrong").status, 401)
        # The right one costs nothing.
        for _ in range(30):
            self.assertEqual(self.ask("/v1/node").status, 200)

    def test_wrong_tokens_are_limited_by_ipv6_network(self) -> None:
        for number in range(10):
            self.assertEqual(self.ask("/v1/node", peer=f"2001:db8::{number + 1:x}", token="wrong").status, 401)
        self.assertEqual(self.ask("/v1/node", peer="2001:db8::ffff", token="wrong").status, 429)
        self.assertEqual(self.ask("/v1/node", peer="2001:db8::ffff").status, 200)
        self.assertEqual(self.ask("/v1/node", peer="2001:db8:0:1::1", token="wrong").status, 401)
