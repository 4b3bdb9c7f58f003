"""The extension's side of the protocol, statement by statement, where no other module has the statement."""

from __future__ import annotations

from typing import Any

from ..support.fake_node import OTHER_TITLE, TITLE, Client, ServiceTestCase

Json = dict[str, Any]

READS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "ROOM_STATE": {"hostUserId": str, "guestControlEnabled": bool, "users": list},
    "USER_JOINED": {"userId": str},
    "USER_LEFT": {"userId": str},
    "LEAVE": {"userId": str},
    "HOST_CHANGED": {"hostUserId": str},
    "GUEST_CONTROL": {"enabled": bool},
    "USERNAME_UPDATED": {"userId": str, "username": str},
    "PLAY_PAUSE": {"userId": str, "control": str, "currentTime": (int, float)},
    "SEEK_PAUSE": {"userId": str, "currentTime": (int, float)},
    "HOST_HEARTBEAT": {"userId": str, "currentTime": (int, float), "isPlaying": bool},
    "URL_CHANGE": {"userId": str, "url": str},
    "SYNC_RESPONSE": {"to": str, "fromUserId": str, "currentTime": (int, float), "isPlaying": bool},
}
"""The fields that the extension reads without a check, with their types: `toFixed` of anything else throws."""


class ExtensionTest(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann = self.join("user_ann1", "10.0.0.1")
        self.bob = self.join("user_bob1", "10.0.0.2", username="Bob")

    def join(self, user: str, peer: str, **fields: Any) -> Client:
        return self.world.join(user, peer=peer, **{"username": None, "pin": None, "timestamp": 1, **fields})

    def again(self, client: Client, user: str, **fields: Any) -> list[Json]:
        return client.send(
            "JOIN", userId=user, roomId="room", **{"username": None, "pin": None, "timestamp": 1, **fields}
        )

    def watch(self, *clients: Client, position: float, playing: bool) -> None:
        for client in clients:
            client.say("POSITION_UPDATE", currentTime=position, isPlaying=playing)
        self.world.settle()

    def test_it_asks_before_it_has_an_answer(self) -> None:
        """Its page asks some 15 ms after JOIN, and does not wait for ROOM_STATE."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=50)
        cid = self.world.connect("10.0.0.3")
        cid.say("JOIN", userId="user_cid1", roomId="room", username=None, pin=None, timestamp=1)
        cid.say("REQUEST_SYNC", respectAutoPlay=False, userId="user_cid1", roomId="room")
        self.world.settle()
        types = cid.types()
        self.assertLess(types.index("ROOM_STATE"), types.index("SYNC_RESPONSE"))

    def test_a_page_that_loads_asks_several_times(self) -> None:
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=50)
        self.bob.told()
        for _ in range(3):
            (response,) = self.bob.send("REQUEST_SYNC", respectAutoPlay=False)
            self.assertHas(response, type="SYNC_RESPONSE", to="user_bob1", fromUserId="server", isPlaying=True)

    def test_a_newcomer_is_told_of_no_member(self) -> None:
        """Both sides would offer a video connection, and the extension drops both."""
        told = self.join("user_cid1", "10.0.0.3").types()
        self.assertEqual([kind for kind in told if kind == "USER_JOINED"], [])
        self.assertEqual(self.ann.types().count("USER_JOINED"), 2)

    def test_each_join_is_told_to_the_others(self) -> None:
        """A page that was loaded again has lost its video connections, and offers none."""
        self.ann.told()
        for _ in range(3):
            self.again(self.bob, "user_bob1")
            self.assertHas(self.the(self.ann.told(), "USER_JOINED"), userId="user_bob1", username="Bob")

    def test_a_joiner_is_taken_to_the_title(self) -> None:
        """It ignores `url` of ROOM_STATE. With a `currentTime`, it would go to milliseconds."""
        self.ann.send("URL_CHANGE", url=TITLE, currentTime=1234567)
        told = self.join("user_cid1", "10.0.0.3").told()
        types = [message["type"] for message in told]
        self.assertLess(types.index("ROOM_STATE"), types.index("URL_CHANGE"))
        change = self.the(told, "URL_CHANGE")
        self.assertHas(change, userId="server", url=TITLE)
        self.assertNotIn("currentTime", change)

    def test_the_server_never_closes_its_connection(self) -> None:
        """It would connect again after a second, for ever."""
        self.world.join("host", room="secret", peer="10.0.0.9", pin="123456")
        stranger = self.world.join("user_cid1", room="secret", peer="10.0.0.3", pin="000000")
        self.refused(stranger.told(), "bad_pin")
        second = self.join("user_bob1", "10.0.0.2")
        self.world.advance(10)
        self.ann.send("KICK", targetUserId="user_bob1")
        for client in (stranger, self.bob, second):
            self.assertFalse(client.closed)
            client.told()
            self.assertEqual([m["type"] for m in client.send("PING", userId="x", timestamp=1)], ["PONG"])
        self.ann.send("LEAVE", userId="user_ann1", roomId="room", timestamp=1)
        self.assertEqual([m["type"] for m in self.ann.send("PING", timestamp=1)][-1:], ["PONG"])

    def test_members_with_the_old_build_may_not_control(self) -> None:
        """The published build has every member send its controls."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.told()
        for kind, fields in (
            ("PLAY_PAUSE", {"control": "play", "currentTime": 9}), ("SEEK", {"currentTime": 9, "isPlaying": True}),
            ("URL_CHANGE", {"url": OTHER_TITLE}),
        ):  # fmt: skip
            self.refused(self.bob.send(kind, **fields), "forbidden")
        self.assertEqual(self.ann.told(), [])
        self.assertFalse(self.bob.closed)

    def test_types_of_the_server_are_not_relayed(self) -> None:
        self.ann.told()
        for kind in (*READS, "SYNC_PLAYBACK", "ERROR", "PONG", "SIGNAL"):
            if kind not in ("LEAVE", "PLAY_PAUSE", "HOST_HEARTBEAT", "URL_CHANGE", "SYNC_RESPONSE"):
                error = self.the(self.bob.send(kind, userId="server", hostUserId="user_bob1", users=[]), "ERROR")
                self.assertEqual(error["code"], "unknown_type", kind)
        self.assertEqual(self.ann.told(), [])

    def test_a_page_that_leaves_the_film_pauses_without_a_position(self) -> None:
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=50)
        self.world.advance(4)
        self.bob.told()
        self.ann.send("PLAY_PAUSE", control="pause")
        self.assertHas(self.the(self.bob.told("PLAY_PAUSE"), "PLAY_PAUSE"), control="pause", currentTime=54)

    def test_two_pages_of_a_member_answer_twice(self) -> None:
        """Two tabs of one browser are one member with two players: READY and REQUEST_SYNC come twice."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=50)
        self.watch(self.ann, self.bob, position=50, playing=True)
        self.world.advance(1)
        self.ann.send("SEEK", currentTime=200, isPlaying=True)
        self.bob.told()
        for client in (self.bob, self.bob, self.ann, self.ann):
            client.send("READY", targetTime=200)
        plays = [m for m in self.bob.told("PLAY_PAUSE") if m["control"] == "play"]
        self.assertLessEqual(len(plays), 2, "the opening of the gate, and one of its own for the late READY")
        room = self.world.room()
        assert room is not None
        self.assertTrue(room.playback.playing)

    def test_all_that_it_reads_is_there(self) -> None:
        heard: list[Json] = []
        clients = [self.ann, self.bob, self.join("user_cid1", "10.0.0.3")]

        def listen() -> None:
            for client in clients:
                heard.extend(client.told())

        listen()
        heard += self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        heard += self.ann.send("URL_CHANGE", url=TITLE, currentTime=0)
        heard += self.ann.send("PLAY_PAUSE", control="play", currentTime=0, eventTimestamp=1)
        self.watch(*clients, position=0.25, playing=True)
        for step in range(16):
            self.watch(*clients, position=0.5 * step, playing=True)
            self.world.advance(0.5)
        heard += self.ann.send("SEEK", currentTime=100, isPlaying=True, eventTimestamp=1)
        for client in clients:
            heard += client.send("READY", targetTime=100)
        heard += self.bob.send("UPDATE_USERNAME", username="Bobby", timestamp=1)
        heard += self.bob.send("PLAY_PAUSE", control="pause")
        heard += self.ann.send("TOGGLE_GUEST_CONTROL", enabled=False)
        heard += self.bob.send("REQUEST_SYNC", respectAutoPlay=False)
        heard += self.ann.send("TRANSFER_HOST", targetUserId="user_bob1")
        listen()
        heard += clients[2].send("LEAVE", timestamp=1)
        heard += self.again(self.ann, "user_ann1")
        listen()
        self.assertEqual(set(READS) - {message["type"] for message in heard}, set())
        for message in heard:
            for name, kind in READS.get(message["type"], {}).items():
                value = message.get(name)
                self.assertIsInstance(value, kind, message)
                self.assertFalse(kind == (int, float) and isinstance(value, bool), message)
            if message["type"] == "URL_CHANGE":
                self.assertRegex(message["url"], r"\Ahttps?://[^/]+/")
            if message["type"] == "PLAY_PAUSE":
                self.assertIn(message["control"], ("play", "pause"))
            if message["type"] in ("PLAY_PAUSE", "SEEK_PAUSE", "HOST_HEARTBEAT", "URL_CHANGE"):
                self.assertNotIn("eventTimestamp", message, "it would add the difference of two clocks")
