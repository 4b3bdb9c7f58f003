"""Playback rates on the real service, with old clients, which know none."""

from __future__ import annotations

from typing import Any

from ..support.fake_node import TITLE, Client, ServiceTestCase


class Player:
    """A player that reports twice a second, and jumps to where heartbeats and PLAY_PAUSE say. rate: its own."""

    def __init__(self, client: Client, position: float, rate: float):
        self.client = client
        self.position = position
        self.rate = rate
        self.playing = True
        self.received: list[dict[str, Any]] = []

    def advance(self, seconds: float) -> None:
        self.position += seconds * self.rate * self.playing
        for message in self.client.told():
            self.received.append(message)
            if message["type"] in ("HOST_HEARTBEAT", "PLAY_PAUSE") and message.get("userId") == "server":
                if abs(message["currentTime"] - self.position) > 0.5:
                    self.position = message["currentTime"]
                self.playing = message.get("isPlaying", message.get("control") == "play")
        self.client.say("POSITION_UPDATE", currentTime=self.position, isPlaying=self.playing)

    def heartbeats(self) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == "HOST_HEARTBEAT"]


class RateTest(ServiceTestCase):
    """ann is an old host, bob a new guest that may control, cid an old guest."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann")
        self.bob = self.world.join("bob", follows=True, schedules=True)
        self.cid = self.world.join("cid")
        self.ann.say("URL_CHANGE", url=TITLE)
        self.ann.say("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        self.ann.say("PLAY_PAUSE", control="play", currentTime=100.0)
        self.world.settle()
        self.players = [Player(client, 100.0, 1.0) for client in (self.ann, self.bob, self.cid)]
        self.play_for(5.0)

    def play_for(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.world.advance(0.5)
            for player in self.players:
                player.advance(0.5)
        self.world.settle()

    def position(self) -> float:
        room = self.world.room()
        assert room is not None
        return room.playback.position_at(self.world.now)

    def test_an_old_host_does_not_hold_the_others_back(self) -> None:
        old, new = self.players[0], self.players[1]
        began, before = self.world.now, self.position()
        told = self.the(self.bob.send("SET_RATE", rate=2.0), "RATE_CHANGED")
        self.assertHas(told, userId="bob", rate=2.0)
        self.assertAlmostEqual(told["currentTime"], before, 3)
        self.assertAlmostEqual(told["at"], self.world.now * 1000, 2)
        new.rate = 2.0
        old.received.clear()
        new.received.clear()
        self.play_for(30.0)
        self.assertAlmostEqual(self.position(), before + 2.0 * (self.world.now - began), 3)
        self.assertLess(abs(new.position - self.position()), 0.5)
        self.assertEqual({message["type"] for message in new.received}, {"HOST_HEARTBEAT"})
        # The old ones are steered as far as they can be.
        for player in (old, self.players[2]):
            self.assertGreaterEqual(len(player.heartbeats()), 3)
            self.assertLess(abs(player.position - self.position()), 10.0)
            self.assertNotIn("pause", [message.get("control") for message in player.received])
        self.assertEqual({message["rate"] for message in old.heartbeats()}, {2.0})

    def test_it_is_followed_again_at_rate_1(self) -> None:
        self.bob.send("SET_RATE", rate=2.0)
        self.play_for(10.0)
        self.bob.send("SET_RATE", rate=1.0)
        self.play_for(10.0)
        host = self.players[0]
        self.assertLess(abs(host.position - self.position()), 0.5)
        host.position += 60.0
        self.play_for(3.0)
        self.assertLess(abs(host.position - self.position()), 0.5)
        self.assertNotIn("rate", host.heartbeats()[-1])

    def test_newcomers_learn_it(self) -> None:
        self.assertNotIn("rate", self.the(self.world.join("dan").told(), "ROOM_STATE"))
        self.bob.send("SET_RATE", rate=0.5)
        told = self.world.join("eve").told()
        self.assertEqual(self.the(told, "ROOM_STATE")["rate"], 0.5)
        self.assertEqual(self.the(told, "PLAY_PAUSE")["rate"], 0.5)

    def test_wrong_rates(self) -> None:
        for rate in (0, 0.24, 4.5, 100, -1, "2", None, 1e308):
            self.refused(self.bob.send("SET_RATE", rate=rate, id=9), "bad_message")
        self.assertEqual(self.cid.told("RATE_CHANGED"), [])
        self.refused(self.cid.send("SET_RATE", rate=2.0), "forbidden")
