"""A model of a client that uses all of the protocol, and checks its messages: nothing lost, nothing twice, in order."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import LoopingCall

from .fake_node import Client, World
from .simulated_viewer import Viewer


class NewClient(Viewer):
    """chats: the chat messages while it was here or away. holes: how often it could not receive the missed messages.

    unanswered: commands, by id, that neither ACK nor ERROR came for.
    """

    def __init__(self, world: World, user: str, room: str, address: str, pin: str | None, seed: int):
        super().__init__(world, user, room, address, pin, seed)
        self.holes = 0
        self.joined = False
        self.members: set[str] = set()
        self._token: str | None = None
        self._epoch = 0
        self._seq = 0
        self._part = (1, 1)
        self._ids = 0
        self.unanswered: dict[int, tuple[str, dict[str, Any]]] = {}
        self._quiet_until = 0.0
        self._positions = LoopingCall(self._do_position)
        self._positions.clock = self.clock

    def start(self) -> None:
        self._positions.start(0.5, now=False)
        self.connect()

    def stop(self) -> None:
        self._positions.stop()

    # -- the connection

    def opened(self, client: Client) -> None:
        self.joined = False
        fields: dict[str, Any] = {
            "username": self.name,
            "pin": self.pin,
            "keepsToken": True,
            "nonce": "run 1",
            "follows": True,
        }
        if self._token:
            fields |= {"token": self._token, "resume": {"epoch": self._epoch, "seq": self._seq}}
        self.say("JOIN", **fields)

    def closed(self) -> None:
        self.joined = False
        self.clock.callLater(self.random.uniform(0.2, 2.0), self.connect)

    def connect(self) -> None:
        if self.socket is None:
            super().connect()

    def change_network(self, address: str, *, silently: bool) -> None:
        self.address = address
        if silently:
            self.end_silently()
        else:
            self.end()
        self.closed()

    # -- the person in front of it

    def command(self, kind: str, **fields: Any) -> None:
        """Send a command, and again after every reconnection until it is answered."""
        self._ids += 1
        self.unanswered[self._ids] = kind, fields
        if self.joined:
            self.say(kind, id=self._ids, **fields)

    def press(self, playing: bool) -> None:
        if self.controls and self.url and self.joined and self.player.playing != playing:
            self.player.put(None, playing)
            self.command("PLAY_PAUSE", control="play" if playing else "pause", currentTime=self.player.position)

    def seek(self, position: float) -> None:
        if self.controls and self.url and self.joined:
            self.command("SEEK", currentTime=position, isPlaying=self.player.playing)

    def go(self, url: str) -> None:
        if self.controls and self.joined:
            self.command("URL_CHANGE", url=url)

    def _do_position(self) -> None:
        if self.joined and self.url and self.clock.seconds() >= self._quiet_until:
            self.say("POSITION_UPDATE", currentTime=self.player.position, isPlaying=self.player.playing)

    # -- received messages

    def told(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ERROR" and "id" not in message:
            assert message["code"] in ("identity_conflict", "bad_message", "not_joined", "no_such_member"), message
        if kind in ("ACK", "ERROR"):
            self.unanswered.pop(message.get("id", 0), None)
        if "prev" in message and kind != "ROOM_STATE" or message.get("part"):
            self._check_order(message)
        handler = getattr(self, "_on_" + kind.lower(), None)
        if handler is not None:
            handler(message)

    def _check_order(self, message: dict[str, Any]) -> None:
        if "seq" not in message:
            return
        seq, part = message["seq"], tuple(message.get("part", (1, 1)))
        if seq == self._seq:
            assert part == (self._part[0] + 1, self._part[1]), (part, self._part, message)
        else:
            assert message["prev"] <= self._seq < seq, (self._seq, message)
        self._seq, self._part = seq, part

    def _on_room_state(self, message: dict[str, Any]) -> None:
        if message.get("resumed"):
            # After a restart the numbers go on in a new epoch.
            assert message["prev"] <= self._seq, (self._epoch, self._seq, message)
        elif self._token:
            self.holes += 1
        self.joined = True
        self._token = message.get("token") or self._token
        self._epoch, self._seq, self._part = message["epoch"], message["seq"], (1, 1)
        self.host, self.guest_control = message["hostUserId"], message["guestControlEnabled"]
        self.members = {user["userId"] for user in message["users"]}
        self.url = message["url"] or self.url
        if message.get("gate"):
            self._pause_at(message["gate"]["currentTime"])
        else:
            self.player.put(message["currentTime"], message["isPlaying"])
        for id_, (kind, fields) in self.unanswered.items():
            self.say(kind, id=id_, **fields)

    def _on_user_joined(self, message: dict[str, Any]) -> None:
        self.members.add(message["userId"])

    def _on_leave(self, message: dict[str, Any]) -> None:
        self.members.discard(message["userId"])

    def _on_host_changed(self, message: dict[str, Any]) -> None:
        self.host = message["hostUserId"]

    def _on_guest_control(self, message: dict[str, Any]) -> None:
        self.guest_control = message["enabled"]

    def _on_chat(self, message: dict[str, Any]) -> None:
        self.chats.append(message["text"])

    def _on_play_pause(self, message: dict[str, Any]) -> None:
        if not message.get("replayed"):
            self.player.put(message["currentTime"], message["control"] == "play")

    def _on_seek_pause(self, message: dict[str, Any]) -> None:
        if not message.get("replayed"):
            self._pause_at(message["currentTime"])

    def _pause_at(self, position: float) -> None:
        self.player.put(position, False)
        wait = self.random.choice((0.02, 0.3))
        self._quiet_until = self.clock.seconds() + wait
        self.clock.callLater(wait, lambda: self.say("READY", targetTime=position))

    def _on_host_heartbeat(self, message: dict[str, Any]) -> None:
        playing = message["isPlaying"]
        if abs(message["currentTime"] - self.player.position) > 0.3 or playing != self.player.playing:
            self.player.put(message["currentTime"], playing)

    def _on_url_change(self, message: dict[str, Any]) -> None:
        if not message.get("replayed") and message["url"] != self.url:
            self.url = message["url"]
            self.player.put(0.0, False)
