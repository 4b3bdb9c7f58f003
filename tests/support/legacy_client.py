"""A model of the released clients: the messages that they send, their beliefs, and their errors."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import LoopingCall

from .fake_node import Client, World
from .simulated_viewer import Viewer


class OldClient(Viewer):
    """The extension: one background worker with the connection, one page with a player.

    tiles: whom it shows. calls: with whom it has video.
    """

    def __init__(self, world: World, user: str, room: str, address: str, pin: str | None, seed: int):
        super().__init__(world, user, room, address, pin, seed)
        self.tiles: set[str] = set()
        self.calls: set[str] = set()
        self.watching = False
        self._initialised = False
        self._locked_until = 0.0
        self._asked_at = -100.0
        self._page = 0
        self._misses = 0
        self._ping = LoopingCall(self._do_ping)
        self._positions = LoopingCall(self._do_position)
        for loop in (self._ping, self._positions):
            loop.clock = self.clock

    def start(self) -> None:
        self._ping.start(15, now=False)
        self._positions.start(0.5, now=False)
        self.connect()
        self._announce_title(self._page)

    def stop(self) -> None:
        self._ping.stop()
        self._positions.stop()

    # -- the background worker

    def opened(self, client: Client) -> None:
        self._join()
        # The page asks at once, and does not wait until it is let in.
        self.clock.callLater(0.015, self._ask)

    def _join(self) -> None:
        self.say("JOIN", username=self.name, pin=self.pin, timestamp=int(self.clock.seconds() * 1000))

    def closed(self) -> None:
        """Code and reason mean nothing to it; the count of attempts restarted when it opened."""
        self.clock.callLater(1.0, self.connect)

    def _do_ping(self) -> None:
        if self.socket is not None:
            self._misses += 1
            if self._misses > 3:
                self._misses = 0
                self.end_silently()
                self.closed()
            else:
                self.say("PING", timestamp=0)

    def change_network(self, address: str, *, silently: bool) -> None:
        """It has another address from now on. silently: the server is not told that the old connection is dead."""
        self.address = address
        if silently:
            self.end_silently()
        else:
            self.end()
        self.closed()

    def restart_worker(self, user: str) -> None:
        """The browser has ended the worker, which comes back under a new user id."""
        self.end()
        self.user = user
        self.host = None
        self.tiles.clear()
        self.calls.clear()
        self.clock.callLater(0.5, self.connect)

    def start_again(self) -> None:
        """Start the party once more: its connection stays open, and is forgotten."""
        self.connect()

    # -- the page

    def load(self, url: str, *, lost_worker: bool = False) -> None:
        """Load a page; the player plays at once, where the film was left, which for another title is its beginning."""
        self._page += 1
        position = self.player.position if url == self.url else 0.0
        self.player.put(position, False)
        self.watching = self._initialised = False
        self.url = url
        name, pin = self.name, self.pin
        if lost_worker:
            # The page does not know them, and the worker has no connection to have them from.
            self.name = self.pin = None
            self.end()
        self.clock.callLater(self.random.uniform(0.3, 2.0), self._loaded, self._page, name, pin)

    def _loaded(self, page: int, name: str | None, pin: str | None) -> None:
        if page != self._page:
            return
        if self.socket is None:
            self.connect()
        else:
            self._join()
        self.name, self.pin = name, pin
        # A page that was loaded has no video calls any more.
        self.calls.clear()
        self.watching = "/watch/" in self.url
        self._announce_title(page)
        if self.watching:
            self.player.put(None, True)
            self._setup(page)

    def _setup(self, page: int) -> None:
        self._ask()
        self.clock.callLater(2.0, self._initialise, page)
        self.clock.callLater(5.0, lambda: self._ask() if page == self._page else None)

    def _initialise(self, page: int) -> None:
        if page == self._page:
            self._initialised = True

    def _ask(self) -> None:
        self._asked_at = self.clock.seconds()
        self.say("REQUEST_SYNC", respectAutoPlay=False)

    def _announce_title(self, page: int) -> None:
        """A client in control sends the title after every load, with a time that is 0 or in milliseconds."""

        def announce() -> None:
            if page == self._page and self.url and self.controls:
                milliseconds = self.random.choice((0, int(self.player.position * 1000)))
                self.say("URL_CHANGE", url=self.url, currentTime=milliseconds)

        self.clock.callLater(0.5, announce)

    def _do_position(self) -> None:
        position = self.player.position
        if self.watching and self._initialised and not self._locked and position > 0:
            self.say("POSITION_UPDATE", currentTime=position, isPlaying=self.player.playing)

    @property
    def _locked(self) -> bool:
        return bool(self.clock.seconds() < self._locked_until)

    def _lock(self) -> None:
        self._locked_until = self.clock.seconds() + self.random.uniform(0.6, 2.0)

    # -- the person in front of it

    def press(self, playing: bool) -> None:
        """Play or pause."""
        if not self.watching or self.player.playing == playing:
            return
        self.player.put(None, playing)
        if self._initialised and not self._locked and self.controls:
            self._control(playing)
            self.clock.callLater(3.0, self._control_again, playing, self._page)

    def _control(self, playing: bool) -> None:
        self.say(
            "PLAY_PAUSE",
            control="play" if playing else "pause",
            currentTime=self.player.position,
            eventTimestamp=int(self.clock.seconds() * 1000),
        )

    def _control_again(self, playing: bool, page: int) -> None:
        """The acknowledgment that would keep it from doing so never comes."""
        if page == self._page and self.watching and self.player.playing == playing and self.controls:
            self._control(playing)

    def seek(self, position: float) -> None:
        if self.watching:
            playing = self.player.playing
            self.player.put(position)
            if self._initialised and not self._locked and self.controls:
                self.say("SEEK", currentTime=position, isPlaying=playing, eventTimestamp=0)

    def go(self, url: str) -> None:
        """Open another title."""
        self.load(url)

    # -- received messages

    def told(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if message.get("userId") == self.user and kind in _OWN_DROPPED:
            return
        handler = getattr(self, "_on_" + kind.lower(), None)
        if handler is not None:
            handler(message)

    def _on_pong(self, message: dict[str, Any]) -> None:
        self._misses = 0

    def _on_room_state(self, message: dict[str, Any]) -> None:
        self.host = message["hostUserId"] or self.host
        self.guest_control = message["guestControlEnabled"]
        self.tiles |= {user["userId"] for user in message["users"]} - {self.user}

    def _on_user_joined(self, message: dict[str, Any]) -> None:
        self.tiles.add(message["userId"])
        self.calls.add(message["userId"])
        self.say("OFFER", to=message["userId"], offer={"type": "offer", "sdp": "v=0"}, **{"from": self.user})

    def _on_user_left(self, message: dict[str, Any]) -> None:
        self.tiles.discard(message["userId"])

    def _on_leave(self, message: dict[str, Any]) -> None:
        self.tiles.discard(message["userId"])
        self.calls.discard(message["userId"])

    def _on_offer(self, message: dict[str, Any]) -> None:
        self.calls.add(message["userId"])
        self.say("ANSWER", to=message["userId"], answer={"type": "answer", "sdp": "v=0"}, **{"from": self.user})

    def _on_answer(self, message: dict[str, Any]) -> None:
        self.calls.add(message["userId"])

    def _on_host_changed(self, message: dict[str, Any]) -> None:
        self.host = message["hostUserId"]

    def _on_guest_control(self, message: dict[str, Any]) -> None:
        self.guest_control = message["enabled"]

    def _on_chat(self, message: dict[str, Any]) -> None:
        self.chats.append(message["text"])

    def _on_play_pause(self, message: dict[str, Any]) -> None:
        if self.watching:
            self._lock()
            self._correct(message["currentTime"])
            self.player.put(None, message["control"] == "play")

    def _on_seek_pause(self, message: dict[str, Any]) -> None:
        if self.watching:
            self._lock()
            position = message["currentTime"]
            self.player.put(position, False)
            self.clock.callLater(
                self.random.choice((0.05, 0.2, 1.0, 4.0)), lambda: self.say("READY", targetTime=position)
            )

    def _on_host_heartbeat(self, message: dict[str, Any]) -> None:
        if self.watching and abs(message["currentTime"] - self.player.position) >= 0.5:
            self._lock()
            self.player.put(message["currentTime"], message["isPlaying"])

    def _on_url_change(self, message: dict[str, Any]) -> None:
        if message["url"] != self.url:
            self.load(message["url"])
        if "currentTime" in message:
            # They are milliseconds, and it takes them for seconds.
            self.player.put(message["currentTime"])

    def _on_sync_response(self, message: dict[str, Any]) -> None:
        if message["to"] != self.user or not self.watching:
            return
        if self._initialised and self.clock.seconds() - self._asked_at > 8:
            return
        self._initialised = True
        if message["url"] and message["url"] != self.url:
            self.load(message["url"])
            return
        self._lock()
        self.player.put(message["currentTime"], message["isPlaying"])

    def _correct(self, position: float) -> None:
        if position > 0 and abs(position - self.player.position) > 0.5:
            self.player.put(position)


_OWN_DROPPED = frozenset(
    ("PLAY_PAUSE", "SEEK", "SEEK_PAUSE", "HOST_HEARTBEAT", "URL_CHANGE", "USER_JOINED", "USER_LEFT", "LEAVE")
)
