"""The example session of docs/protocol.md on a node in simulated time, and promises of the document."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tandemd.rules.local_titles import CLIP_URL

from ..support.fake_node import OTHER_TITLE, TITLE, Client, ServiceTestCase

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "protocol.md"
BLOCK = re.compile(r"^```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"^(\w+) ([<>]) (\{.*?\})$", re.DOTALL | re.MULTILINE)
ADDRESSES = {"Ann": "10.1.0.1", "Bob": "10.1.0.2"}
CHANCE = ("timestamp", "serverTime", "epoch", "token")
"""Fields with invented values in the document."""


class ProtocolExampleTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clients: dict[str, Client] = {}
        self.received: dict[str, list[dict[str, Any]]] = {"Ann": [], "Bob": []}
        self.tokens: dict[str, str] = {}
        self.epoch = 0

    def collect(self) -> None:
        for name, client in self.clients.items():
            for message in client.told():
                if message["type"] == "ROOM_STATE":
                    self.epoch = message["epoch"]
                    if "token" in message:
                        self.tokens[name] = message["token"]
                self.received[name].append(message)

    def send_positions(self) -> None:
        """Make each client report twice that its player is on the room's timeline."""
        for _ in range(2):
            room = self.world.room("movie-night")
            if room is None or room.gate is not None:
                return
            playback = room.playback
            for client in self.clients.values():
                position = playback.position_at(self.world.now)
                client.say("POSITION_UPDATE", currentTime=position, isPlaying=playback.playing)
            self.world.advance(0.5)
        self.collect()

    def send(self, name: str, message: dict[str, Any]) -> None:
        if message["type"] == "JOIN":
            if name not in self.clients:
                self.clients[name] = self.world.connect(ADDRESSES[name])
            if "token" in message:
                message["token"] = self.tokens[name]
                message["resume"]["epoch"] = self.epoch
        elif message["type"] != "READY" and len(self.clients) == 2:
            self.send_positions()
        if message.get("url") == CLIP_URL:
            message["url"] = TITLE
        fields = dict(message)
        self.clients[name].say(fields.pop("type"), **fields)
        self.world.settle()
        self.collect()

    def check(self, name: str, text: str) -> None:
        """Check that a client has received a message, and drop earlier ones."""
        kind = re.findall(r'^\{"type":"(\w+)"', text)[0]
        queue = self.received[name]
        while queue and queue[0]["type"] != kind:
            queue.pop(0)
        self.assertTrue(queue, f"{name} has not received {text}")
        found = queue.pop(0)
        if found.get("url") == TITLE:
            found["url"] = CLIP_URL
        if " ... " not in text:
            expected = json.loads(text)
            self.assertEqual(set(expected), set(found), text)
            expected = {key: value for key, value in expected.items() if key not in CHANCE}
            self.assertEqual({key: found[key] for key in expected}, expected)
        for key, value in re.findall(r'"(seq|prev|resumed|hostUserId)":("?\w+"?)', text):
            self.assertEqual(json.dumps(found[key]), value, text)
        for gate in re.findall(r'"gate":(\{.*?\})', text):
            self.assertEqual(found["gate"], json.loads(gate))

    def test_the_server_answers_as_the_document_says(self) -> None:
        blocks = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
        self.assertEqual(len(blocks), 2)
        for number, block in enumerate(blocks):
            if number == 1:
                self.world.advance(3)
                self.clients.pop("Bob").cut()
            for name, direction, text in LINE.findall(block):
                if direction == ">":
                    self.send(name, json.loads(text))
                else:
                    self.check(name, text)


class ProtocolProseTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.world.party("ann", "bob")
        self.ann.send("URL_CHANGE", url=TITLE)
        self.watch()

    def watch(self) -> None:
        for client in (self.ann, self.bob):
            client.say("POSITION_UPDATE", currentTime=0, isPlaying=False)
        self.world.advance(0.5)
        self.ann.told()
        self.bob.told()

    def seek(self, **fields: Any) -> None:
        self.ann.say("SEEK", currentTime=9, **fields)
        self.world.settle()

    def test_the_senders_is_playing_decides(self) -> None:
        self.ann.send("PLAY_PAUSE", control="play")
        self.seek()
        self.world.advance(8)
        self.assertEqual([message["currentTime"] for message in self.bob.told("PLAY_PAUSE")], [0.0])
        room = self.world.room()
        assert room is not None
        self.assertFalse(room.playback.playing)
        self.seek(isPlaying=True)
        self.world.advance(8)
        self.assertEqual(self.bob.told("PLAY_PAUSE")[-1]["currentTime"], 9)

    def test_a_second_seek_keeps_is_playing_of_the_first(self) -> None:
        self.seek(isPlaying=True)
        self.seek()
        self.world.advance(8)
        self.assertEqual(self.the(self.bob.told(), "PLAY_PAUSE")["control"], "play")

    def test_a_ready_for_another_position_is_ignored_without_an_error(self) -> None:
        self.seek(isPlaying=True)
        self.bob.told()
        self.assertEqual(self.bob.send("READY", targetTime=9.04), [])
        self.ann.send("READY", targetTime=9)
        self.assertEqual(self.ann.told("PLAY_PAUSE"), [])

    def test_the_gate_does_not_wait_for_a_newcomer(self) -> None:
        self.seek(isPlaying=True)
        cyd = self.world.join("cyd")
        state = self.the(cyd.told(), "ROOM_STATE")
        self.assertEqual(state["gate"], {"currentTime": 9.0, "waitingFor": ["ann", "bob"]})
        self.ann.say("READY", targetTime=9)
        self.bob.say("READY", targetTime=9)
        self.assertEqual(self.the(cyd.told(), "PLAY_PAUSE")["control"], "play")

    def test_a_newcomers_ready_is_ignored(self) -> None:
        self.seek(isPlaying=True)
        cyd = self.world.join("cyd")
        told = cyd.told()
        self.assertHas(self.the(told, "ROOM_STATE"), isPlaying=False)
        self.assertNotIn("seq", self.the(told, "SEEK_PAUSE"))
        cyd.say("READY", targetTime=9)
        self.ann.say("READY", targetTime=9)
        self.assertEqual(cyd.told("PLAY_PAUSE"), [])
        self.bob.say("READY", targetTime=9)
        self.assertEqual(self.the(cyd.told(), "PLAY_PAUSE")["control"], "play")

    def test_the_gate_waits_for_a_member_that_it_names_after_a_second_join(self) -> None:
        self.seek(isPlaying=True)
        state = self.the(self.bob.send("JOIN", roomId="room", userId="bob"), "ROOM_STATE")
        self.assertEqual(state["gate"]["waitingFor"], ["ann", "bob"])
        self.ann.say("READY", targetTime=9)
        self.assertEqual(self.ann.told("PLAY_PAUSE"), [])
        self.bob.say("READY", targetTime=9)
        self.assertEqual(self.the(self.ann.told(), "PLAY_PAUSE")["control"], "play")

    def test_the_gate_does_not_wait_for_a_member_whose_connection_was_lost(self) -> None:
        self.seek(isPlaying=True)
        self.bob.cut()
        self.world.settle()
        state = self.the(self.world.join("bob").told(), "ROOM_STATE")
        self.assertEqual(state["gate"]["waitingFor"], ["ann"])

    def test_a_seek_without_watchers_is_one_change_of_two_parts(self) -> None:
        (cyd,) = self.world.party("cyd", room="other")
        cyd.send("URL_CHANGE", url=TITLE)
        told = cyd.send("SEEK", currentTime=5, isPlaying=True)
        self.assertEqual(
            [(message["type"], message["part"]) for message in told], [("SEEK_PAUSE", [1, 2]), ("PLAY_PAUSE", [2, 2])]
        )

    def test_where_the_film_is_now(self) -> None:
        """The formula of the document, on a client whose clock is 5 s behind, against the answer of the server."""

        def local_time() -> float:
            return (self.world.now - 5) * 1000

        self.ann.send("PLAY_PAUSE", control="play", currentTime=100)
        played = self.the(self.bob.told(), "PLAY_PAUSE")
        sent = local_time()
        pong = self.the(self.bob.send("PING"), "PONG")
        offset = pong["timestamp"] - (sent + local_time()) / 2
        for _ in range(8):
            for client in (self.ann, self.bob):
                position = 100 + self.world.now - played["timestamp"] / 1000
                client.say("POSITION_UPDATE", currentTime=position, isPlaying=True)
            self.world.advance(0.5)
        position = played["currentTime"] + (local_time() + offset - played["timestamp"]) / 1000
        self.bob.told()
        answer = self.the(self.bob.send("REQUEST_SYNC"), "SYNC_RESPONSE")
        self.assertAlmostEqual(answer["currentTime"], position, delta=0.01)
        self.assertAlmostEqual(position, 104, delta=0.01)

    def stale(self, client: Client) -> list[dict[str, Any]]:
        """Return the messages to a client that pauses an earlier title."""
        client.told()
        return client.send("PLAY_PAUSE", control="pause", seq=1, id=70)

    def test_a_stale_control_is_answered_with_the_present_state(self) -> None:
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.world.advance(1)
        self.assertEqual([message["type"] for message in self.stale(self.bob)], ["ROOM_STATE", "ERROR"])
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=3)
        told = self.stale(self.bob)
        self.assertEqual([message["type"] for message in told], ["ROOM_STATE", "PLAY_PAUSE", "ERROR"])
        self.assertHas(told[0], url=OTHER_TITLE)
        self.assertEqual({"token", "resumed"} & told[0].keys(), set())
        self.assertEqual((told[1]["userId"], "seq" in told[1]), ("server", False))
        self.assertHas(told[-1], code="stale", id=70)

    def test_a_stale_control_of_the_host(self) -> None:
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.ann.send("BAN", targetUserId="eve")
        self.bob.send("URL_CHANGE", url=OTHER_TITLE)
        self.world.advance(1)
        self.assertEqual([message["type"] for message in self.stale(self.ann)], ["ROOM_STATE", "BANS", "ERROR"])

    def test_the_eight_commands_are_those_that_changed_the_room(self) -> None:
        first = self.the(self.ann.send("CHAT", text="hello", id=1), "ACK")
        for id_ in range(2, 30, 3):
            self.ann.send("OFFER", to="bob", offer={"type": "offer", "sdp": ""}, id=id_)
            self.ann.send("PING", id=id_ + 1)
        self.assertEqual(self.ann.send("CHAT", text="hello", id=1), [first])
        for id_ in range(40, 56, 2):
            self.ann.send("CHAT", text="more", id=id_)
        self.refused(self.ann.send("CHAT", text="hello", id=1), "forgotten")

    def test_every_type_may_carry_an_id(self) -> None:
        told = self.ann.send("JOIN", roomId="room", userId="ann", id=3)
        self.assertEqual(
            [message["type"] for message in told if message["type"] in ("ROOM_STATE", "ACK")], ["ROOM_STATE", "ACK"]
        )
        self.assertEqual([message["type"] for message in self.ann.send("PING", id=4)], ["PONG", "ACK"])
        for kind, fields in (
            ("POSITION_UPDATE", {"currentTime": 0, "isPlaying": False}),
            ("REQUEST_SYNC", {}),
            ("CHAT", {"text": "hello"}),
            ("OFFER", {"to": "bob", "offer": {"type": "offer", "sdp": ""}}),
        ):
            self.assertEqual(self.the(self.ann.send(kind, id=40, **fields), "ACK")["id"], 40)

    def test_a_pending_join_with_an_id_has_two_answers(self) -> None:
        self.ann.send("LOCK_ROOM", locked=True)
        cyd = self.world.connect("10.3.0.3")
        self.refused(cyd.send("JOIN", roomId="room", userId="cyd", id=1), "locked")
        self.ann.send("LOCK_ROOM", locked=False)
        self.world.advance(1)
        self.assertEqual(self.the(cyd.told(), "ACK")["id"], 1)
