"""The daemon as a process: started, stopped, killed, started again, and refused to start."""

from __future__ import annotations

import base64
import signal
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from ..support.daemon_process import Arrivals, Client, DaemonTestCase

TITLE = "https://www.netflix.com/watch/80100172"


class Raw(Protocol):
    """A TCP connection that does nothing by itself. chunks: received data."""

    def __init__(self) -> None:
        self.chunks = Arrivals()

    def dataReceived(self, data: bytes) -> None:
        self.chunks.add(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.chunks.end("the connection was closed")


class StartAndStop(DaemonTestCase):
    async def test_a_party(self) -> None:
        daemon = await self.running()
        code, page = await self.get(f"http://127.0.0.1:{daemon.port}/")
        self.assertEqual((code, b"<title>" in page), (200, True))
        ann, bob = await self.connect(daemon), await self.connect(daemon)
        await ann.join("movie", "ann", username="Ann")
        await bob.join("movie", "bob", username="Bob")
        ann.say("URL_CHANGE", url=TITLE)
        ann.say("PLAY_PAUSE", control="play", currentTime=12.0)
        self.assertEqual((await bob.hear("URL_CHANGE"))["url"], TITLE)
        played = await bob.hear("PLAY_PAUSE")
        self.assertEqual((played["userId"], played["control"]), ("ann", "play"))
        self.assertEqual(played["currentTime"], 12.0)

    async def test_it_soon_says_where_it_is_and_nothing_else(self) -> None:
        daemon = await self.running()
        messages = [line["message"] for line in daemon.log]
        self.assertEqual(
            messages,
            [
                f"listening on 127.0.0.1:{daemon.port}",
                f"ready: the party page is at http://localhost:{daemon.port}/",
                f"ready: clients connect to ws://localhost:{daemon.port}/ws",
            ],
        )
        self.assertEqual({line["level"] for line in daemon.log}, {"info"})
        self.assertEqual(daemon.errors, b"")

    async def test_text_for_people(self) -> None:
        daemon = await self.running("--log-format=text")
        self.assertRegex(
            daemon.lines.seen[1], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info +ready: the party page is at "
        )

    async def test_term_tells_clients_to_come_back(self) -> None:
        daemon = await self.running()
        ann, bob = await self.connect(daemon), await self.connect(daemon)
        await ann.join("movie", "ann")
        daemon.kill(signal.SIGTERM)
        for client in (ann, bob):
            self.assertGreater((await client.hear("SERVER_RESTART"))["reconnectAfterMs"], 0)
            self.assertEqual(await client.closed, 1012)
        self.assertEqual(await daemon.ended(), -signal.SIGTERM)
        self.assertEqual(daemon.errors, b"")
        self.assertEqual({line["level"] for line in daemon.log}, {"info"})

    async def test_not_ready_while_it_stops(self) -> None:
        daemon = await self.running()
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", daemon.port)
        asking = await connectProtocol(endpoint, Raw())
        request = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
        asking.transport.write(request)
        self.assertIn(b" 200 ", await asking.chunks.next(lambda data: b"HTTP/1.1" in data))
        # One that does not take part in the closing handshake keeps it from ending.
        stubborn = await connectProtocol(endpoint, Raw())
        key = base64.b64encode(b"0123456789abcdef")
        stubborn.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        await stubborn.chunks.next(lambda data: b" 101 " in data)
        daemon.kill(signal.SIGTERM)
        await stubborn.chunks.next(lambda data: b"SERVER_RESTART" in data)
        asking.transport.write(request)
        answer = await asking.chunks.next(lambda data: b"HTTP/1.1" in data)
        self.assertIn(b" 503 ", answer)
        self.assertIn(b"the node is stopping", answer)
        # The port stays open until all are gone: another attempt gets the same answer, and no WebSocket.
        late = await connectProtocol(endpoint, Raw())
        late.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        self.assertIn(b" 503 ", await late.chunks.next(lambda data: b"HTTP/1.1" in data))
        late.transport.loseConnection()
        stubborn.transport.loseConnection()
        await daemon.ended()
        asking.transport.loseConnection()

    async def test_the_log_keeps_secrets(self) -> None:
        daemon = await self.running(LOG_LEVEL="debug")
        ann, bob = await self.connect(daemon), await self.connect(daemon)
        token = (await ann.join("movie", "ann", username="Ann", pin="pin-4711", keepsToken=True))["token"]
        await bob.join("movie", "bob", pin="pin-4711")
        bob.say("JOIN", roomId="movie", userId="eve", pin="pin-0815")
        await bob.hear("ERROR", code="bad_pin")
        await ann.do("CHAT", text="chatter-chatter")
        ann.say("OFFER", to="bob", offer={"type": "offer", "sdp": "v=0 secret-sdp"})
        await bob.hear("OFFER")
        ann.sendMessage(b'{"type": "JOIN", "pin": "pin-4712", "token": ["' + token.encode())
        await ann.hear("ERROR")
        daemon.kill(signal.SIGTERM)
        await daemon.ended()
        self.assertGreater(len(daemon.log), 2)
        for secret in ("pin-47", "pin-08", token, token.partition(".")[0], "chatter", "secret-sdp"):
            self.assertNotIn(secret.encode(), daemon.output + daemon.errors)


class ComingBack(DaemonTestCase):
    async def party(self, **environ: str) -> tuple[Client, Client, str]:
        """Return Ann, who keeps a token, and Bob, an old client; the film plays from 100 s, and guests may control it."""
        self.daemon = await self.running(**environ)
        ann, bob = await self.connect(self.daemon), await self.connect(self.daemon)
        state = await ann.join("movie", "ann", username="Ann", pin="1234", keepsToken=True)
        await bob.join("movie", "bob", username="Bob", pin="1234")
        await ann.do("URL_CHANGE", url=TITLE)
        await ann.do("TOGGLE_GUEST_CONTROL", enabled=True)
        self.asked = time.time()
        self.seq = await ann.do("PLAY_PAUSE", control="play", currentTime=100.0)
        self.played = time.time()
        self.epoch = state["epoch"]
        return ann, bob, state["token"]

    async def again(self, sig: int) -> None:
        """End the daemon, and start another at the same place."""
        port, ended = self.daemon.port, self.daemon.ended()
        self.daemon.kill(sig)
        self.assertEqual(await ended, -sig)
        self.daemon = self.start(port=port)
        await self.daemon.ready()
        self.assertEqual(self.daemon.port, port)

    async def assert_back(self, token: str) -> None:
        ann, bob, eve = [await self.connect(self.daemon) for _ in range(3)]
        joining = time.time()
        state = await bob.join("movie", "bob")
        joined = time.time()
        self.assertGreater(state["epoch"], self.epoch)
        self.epoch = state["epoch"]
        self.assertEqual(state["url"], TITLE)
        self.assertEqual((state["hostUserId"], state["guestControlEnabled"], state["isPlaying"]), ("ann", True, True))
        self.assertEqual([user["username"] for user in state["users"]], ["Ann", "Bob"])
        # It plays since some moment between command and answer, and was looked at between JOIN and ROOM_STATE.
        self.assertGreater(state["currentTime"], 100.0 + joining - self.played - 0.2)
        self.assertLess(state["currentTime"], 100.0 + joined - self.asked + 0.2)
        state = await ann.join("movie", "ann", token=token, resume={"epoch": self.epoch - 1, "seq": 1})
        self.assertEqual((state["hostUserId"], state["resumed"]), ("ann", False))
        eve.say("JOIN", roomId="movie", userId="eve")
        await eve.hear("ERROR", code="bad_pin")
        eve.say("JOIN", roomId="movie", userId="ann", pin="1234", token="x")
        await eve.hear("ERROR", code="identity_conflict")
        self.asked = time.time()
        bob.say("PLAY_PAUSE", control="play", currentTime=100.0)  # without an id: he stays an old client
        self.seq = (await ann.hear("PLAY_PAUSE", userId="bob"))["seq"]
        self.played = time.time()
        self.assertEqual({"USER_LEFT", "LEAVE", "HOST_CHANGED"} & {*ann.heard, *bob.heard}, set())

    async def test_after_kill(self) -> None:
        _, _, token = await self.party()
        await self.archived("movie", self.seq)
        await self.again(signal.SIGKILL)
        self.assertIn("restored 1 rooms from the archive", [line["message"] for line in self.daemon.log])
        # No client is back yet.
        await self.again(signal.SIGKILL)
        await self.assert_back(token)
        # Later changes are not lost either.
        await self.archived("movie", self.seq)
        await self.again(signal.SIGKILL)
        await self.assert_back(token)

    async def test_after_term(self) -> None:
        """Commits up to the very end are written, and the closed connections make no member leave."""
        ann, _, token = await self.party()
        await ann.do("UPDATE_USERNAME", username="Ann")
        await self.again(signal.SIGTERM)
        await self.assert_back(token)
        self.assertEqual(self.query("""select * from "room_events" where "event_type" = 'USER_LEFT'"""), [])

    async def test_a_line_of_the_first_one_back_reaches_the_second(self) -> None:
        """No member misses a message because it comes back later than another."""
        self.daemon = await self.running()
        ann, bob = await self.connect(self.daemon), await self.connect(self.daemon)
        first = await ann.join("evening", "ann", keepsToken=True)
        second = await bob.join("evening", "bob", keepsToken=True)
        await ann.do("CHAT", text="before")
        seen = {"epoch": second["epoch"], "seq": (await bob.hear("CHAT", text="before"))["seq"]}
        await self.again(signal.SIGTERM)
        ann, bob = await self.connect(self.daemon), await self.connect(self.daemon)
        await ann.join("evening", "ann", token=first["token"], keepsToken=True, resume=seen)
        await ann.do("CHAT", text="you are late")
        state = await bob.join("evening", "bob", token=second["token"], keepsToken=True, resume=seen)
        self.assertTrue(state["resumed"])
        self.assertEqual([m["text"] for m in bob.messages.seen if m["type"] == "CHAT"], ["you are late"])

    async def test_a_kill_costs_what_is_not_yet_written_and_no_more(self) -> None:
        """How long that is, tests/archive/test_writer.py shows, in simulated time."""
        ann, _, _ = await self.party(TANDEMD_LIMITS_CHAT_RATE="9999/s, burst 9999")

        def kept() -> int:
            rows = self.query('select "seq" from "rooms"')
            return int(rows[0][0]) if rows else 0

        # The archive follows while commits come without a pause.
        first = said = await ann.do("CHAT", text="x")
        while (written := kept()) < first + 20:
            said = await ann.do("CHAT", text="x")
        await self.again(signal.SIGKILL)
        self.assertGreaterEqual(kept(), written)
        self.assertLessEqual(kept(), said)

    async def test_a_room_that_was_left_is_over(self) -> None:
        ann, bob, _ = await self.party()
        bob.say("LEAVE")
        await ann.hear("USER_LEFT")
        ann.say("LEAVE")
        ann.say("PING")
        await ann.hear("PONG")
        await self.again(signal.SIGTERM)
        eve = await self.connect(self.daemon)
        state = await eve.join("movie", "eve")
        self.assertEqual((state["hostUserId"], state["url"]), ("eve", ""))


class Archived(DaemonTestCase):
    async def test_one_row_a_change_and_no_chat(self) -> None:
        daemon = await self.running()
        ann, bob = await self.connect(daemon), await self.connect(daemon)
        token = (await ann.join("movie", "ann", username="Ann", pin="pin-4711", keepsToken=True))["token"]
        await bob.join("movie", "bob", username="Bob", pin="pin-4711")
        await ann.do("URL_CHANGE", url=TITLE)
        await ann.do("TOGGLE_GUEST_CONTROL", enabled=True)
        # The room takes note that Bob watches, and that he is ready, in commits without a row.
        await bob.do("POSITION_UPDATE", currentTime=1.0, isPlaying=False)
        await ann.do("POSITION_UPDATE", currentTime=1.0, isPlaying=False)
        await bob.do("SEEK", currentTime=50.0, isPlaying=True)
        await bob.do("READY", targetTime=50.0)
        ann.say("READY", targetTime=50.0)
        await ann.hear("PLAY_PAUSE", userId="server")
        await ann.do("PLAY_PAUSE", control="pause", currentTime=51.0)
        for text in ("chatter-chatter", "chatter\u2026"):
            await ann.do("CHAT", text=text)
        await bob.do("UPDATE_USERNAME", username="Robert")
        await ann.do("TRANSFER_HOST", targetUserId="bob")
        ann.say("LEAVE")
        await bob.hear("USER_LEFT")
        ann.sendClose()
        await ann.closed
        # Of the last connection to be closed, too, the room takes note.
        daemon.kill(signal.SIGTERM)
        await daemon.ended()
        rows = self.query('select "event_type", "client_id", "room_events"."seq" from "room_events" '
                          'left join "users" on "users"."id" = "room_events"."user_id" order by "room_events"."id"')  # fmt: skip
        self.assertEqual(
            [(event, user) for event, user, _ in rows],
            [
                ("USER_JOINED", "ann"),
                ("USER_JOINED", "bob"),
                ("URL_CHANGE", "ann"),
                ("GUEST_CONTROL", "ann"),
                ("SEEK", "bob"),
                ("GATE_OPENED", "ann"),
                ("PLAY_PAUSE", "ann"),
                ("CHAT", "ann"),
                ("CHAT", "ann"),
                ("USERNAME_UPDATED", "bob"),
                ("HOST_CHANGED", "ann"),
                ("USER_LEFT", "ann"),
                ("CONNECTION_LOST", "bob"),
            ],
        )
        ((seq,),) = self.query('select "seq" from "rooms"')
        # Bob and Ann began to watch, perhaps at once; the timeline followed the host; and Bob was ready.
        self.assertEqual(seq - len(rows), len(set(range(1, seq + 1)) - {row[2] for row in rows}))
        self.assertIn(seq - len(rows), (2, 3, 4))
        raw = b"".join(path.read_bytes() for path in self.state.iterdir())
        self.assertIn(b"Robert", raw)
        for secret in (b"chatter", b"pin-4711", token.encode(), token.partition(".")[0].encode()):
            self.assertNotIn(secret, raw)


class Refused(DaemonTestCase):
    async def says(self, wanted: str, *arguments: str, port: int = 0, **environ: Any) -> None:
        """The daemon ends with status 1 and one line, which matches, and has made no state directory."""
        daemon = self.start(*arguments, port=port, **environ)
        self.assertEqual(await daemon.ended(), 1)
        self.assertRegex(daemon.errors.decode(), f"^tandemd: {wanted}\n$")
        self.assertEqual(daemon.output, b"")

    def file(self, name: str, content: str) -> str:
        path = self.home / name
        path.write_text(content)
        return str(path)

    async def test_what_is_wrong_is_said_in_one_line(self) -> None:
        broken = self.file("broken.yaml", "rooms: [\n")
        unknown = self.file("unknown.yaml", "rooms:\n  gracee: 30s\n")
        wrong = self.file("wrong.yaml", "rooms: {grace: soon}\n")
        await gatherResults(
            map(
                ensureDeferred,
                (
                    self.says(f"{broken}, line 2: .*; correct the YAML there", "--config", broken),
                    self.says(
                        f"{unknown}: rooms.gracee is not a key .*; did you mean rooms.grace\\?", "--config", unknown
                    ),
                    self.says(f"{wrong}: rooms.grace: 'soon' is not a duration from 1s to 1h, .*", "--config", wrong),
                    self.says(
                        "none.yaml: cannot be read: .*; check the path and its permissions", "--config=none.yaml"
                    ),
                    self.says(
                        r"TANDEMD_STATEDIR is not an environment name .*; did you mean TANDEMD_STATE_DIR\?",
                        TANDEMD_STATEDIR="x",
                    ),
                    self.says(r"LOG_LEVEL \(log.level\): 'loud' is not one of .*", LOG_LEVEL="loud"),
                    self.says("port: 'nosuch:1' is no endpoint .*; write a port number, .*", "--port=nosuch:1"),
                    self.says(r"REDIS_HOST: Redis needs PostgreSQL, too; set postgres.host .*", REDIS_HOST="x"),
                ),
            )
        )
        self.assertFalse(self.state.exists())

    async def test_the_state_directory_cannot_be_used(self) -> None:
        self.state.write_text("a file")
        await self.says(f"state_dir: {self.state} cannot be used: .*; correct that, or choose another .*state_dir.*")

    async def test_the_archive_is_something_else(self) -> None:
        self.state.mkdir()
        (self.state / "tandemd.sqlite").write_text("no database " * 100)
        await self.says(
            r"archive.sqlite_file: cannot use the SQLite file .*/tandemd.sqlite: .*; move it away, or restore a backup of it"
        )
        self.assertEqual((self.state / "tandemd.sqlite").read_text(), "no database " * 100)

    async def test_another_has_the_state_directory(self) -> None:
        await self.running()
        await self.says(f"state_dir: {self.state} is in use by another tandemd; stop that one, or .*")

    async def test_the_host_is_another_machine(self) -> None:
        daemon = self.start("--port", "tcp:0:interface=203.0.113.1")
        self.assertEqual(await daemon.ended(), 1)
        (line,) = daemon.log
        self.assertRegex(
            line["message"], "^cannot start: cannot listen on tcp:.*; set `host` .* of this machine, or to 0"
        )

    async def test_no_directory_for_the_socket(self) -> None:
        daemon = self.start("--port", f"unix:{self.home}/none/socket")
        self.assertEqual(await daemon.ended(), 1)
        (line,) = daemon.log
        self.assertRegex(
            line["message"], "^cannot start: cannot listen on unix:.*; name a path in a directory that exists"
        )

    async def test_another_has_the_port(self) -> None:
        port = (await self.running()).port
        self.state = self.home / "other"
        daemon = self.start(port=port)
        self.assertEqual(await daemon.ended(), 1)
        (line,) = daemon.log
        self.assertEqual(line["level"], "critical")
        self.assertRegex(
            line["message"], f"^cannot start: cannot listen on tcp:{port}:.*: Address already in use; .*`port`"
        )
        self.assertEqual(daemon.errors, b"")
