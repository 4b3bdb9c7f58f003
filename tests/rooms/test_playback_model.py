"""A model of a party whose host's player does everything that players do, under Hypothesis.

The host has the old extension, whose player the room follows, or a client that follows the room. It plays, stalls, seeks (with and
without a control), pauses, opens titles, reaches their end, has its reports delayed, and lies. The guests have old and new clients;
one is slow, and any may stall. At times no report arrives at all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, cast

import txaio
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock

from tandemd.rules.playback import Playback

from ..support.fake_node import EPOCH, OTHER_TITLE, TITLE, Client, ServiceTestCase, World

TICK = 0.25
REPORTS_EVERY = 2
IN_STEP = 0.6
"""Seconds: an old client does nothing about 0.5 s, and the ticks of this model are long."""
SET_BACK = 0.6
LONGEST_LAG = 2.0
SETTLED_WITHIN = 10.0
LENGTH = 6000.0
"""Seconds: of each title."""
EXAMPLES = int(os.environ.get("TANDEMD_MODEL_EXAMPLES", "25"))


class Viewer:
    """A player and its client.

    slow: seconds that a seek takes. follows: whether its client follows the room. schedules: whether it can start at a given time.

    set_backs: positions that the room has moved it back to. loading: how many seconds its seeks have taken.
    """

    def __init__(self, world: World, user: str, *, slow: float = 0.0, follows: bool = False, schedules: bool = False):
        self.world = world
        self.user = user
        self.slow = slow
        self.follows = follows
        self.position, self.playing = 0.0, False
        self.url = ""
        self.stalled = False
        self.loading_until = 0.0
        self.quiet_until = 0.0
        self.set_backs: list[float] = []
        self.loading = 0.0
        self.starts_at = 0.0
        self.client: Client = world.join(user, follows=follows, schedules=schedules)
        self.client.told()

    @property
    def may_be_late(self) -> bool:
        """Whether it is not where the room is for reasons of its own."""
        return bool(self.slow) or self.stalled

    def advance(self) -> None:
        if self.world.now < self.loading_until:
            self.loading += TICK
        elif self.playing and not self.stalled:
            played = min(TICK, max(0.0, self.world.now - self.starts_at))
            self.position = min(LENGTH, self.position + played)
            # Players pause at their end.
            self.playing = not self.ended

    @property
    def ended(self) -> bool:
        return self.position == LENGTH

    @property
    def end(self) -> dict[str, Any]:
        """The fields of a report that concern the end of the title. Old clients have none."""
        return {"ended": self.ended, "duration": LENGTH} if self.follows else {}

    def seek(self, position: float) -> None:
        self.position = min(LENGTH, position)
        self.loading_until = self.world.now + self.slow

    def listen(self) -> None:
        for message in self.client.told():
            if message["type"] == "PLAY_PAUSE":
                self.starts_at = message.get("at", 0.0) / 1000
            handler = getattr(self, "_on_" + message["type"].lower(), None)
            if handler is not None and message.get("userId") != self.user:
                handler(message)

    def _move(self, position: float, playing: bool) -> None:
        if abs(position - self.position) >= 0.5:
            if position < self.position - SET_BACK:
                self.set_backs.append(position)
            self.seek(position)
        self.playing = playing

    def _on_play_pause(self, message: dict[str, Any]) -> None:
        self._move(message["currentTime"], message["control"] == "play")

    def _on_host_heartbeat(self, message: dict[str, Any]) -> None:
        if abs(message["currentTime"] - self.position) >= 0.5:
            self._move(message["currentTime"], message["isPlaying"])

    def _on_seek_pause(self, message: dict[str, Any]) -> None:
        self._move(message["currentTime"], False)
        self.quiet_until = self.world.now + 0.5
        self.client.say("READY", targetTime=message["currentTime"])

    def _on_url_change(self, message: dict[str, Any]) -> None:
        if message["url"] != self.url:
            self.url = message["url"]
            self.position, self.playing = 0.0, False

    def report(self) -> None:
        if self.url and self.world.now >= self.quiet_until:
            self.client.say("POSITION_UPDATE", currentTime=self.position, isPlaying=self.playing, **self.end)


class Host(Viewer):
    """The player that the room follows.

    went_back: how often it has truly gone back, or stood while the room played.
    old: position and time at which it left the title that it still reports.
    delayed: the reports that wait in the network; None if none waits. lies: the source of false reports.
    """

    def __init__(self, world: World, user: str, *, follows: bool, schedules: bool):
        super().__init__(world, user, follows=follows, schedules=schedules)
        self.went_back = 0
        self.delayed: list[tuple[float, bool]] | None = None
        self.lies: random.Random | None = None
        self.old: tuple[float, float] | None = None

    def report(self) -> None:
        if not self.url or self.world.now < self.quiet_until:
            return
        report = self.position, self.playing
        if self.old is not None:
            position, since = self.old
            report = position + self.world.now - since, True
        elif self.lies is not None:
            report = self.lies.uniform(0, 10_000), self.lies.random() < 0.7
        if self.delayed is not None:
            self.delayed.append(report)
        elif report[0] > 0:
            self.client.say("POSITION_UPDATE", currentTime=report[0], isPlaying=report[1], **self.end)

    def deliver(self) -> None:
        delayed, self.delayed = self.delayed or [], None
        for position, playing in delayed:
            if position > 0:
                self.client.say("POSITION_UPDATE", currentTime=position, isPlaying=playing)


class Party:
    """host: "old" or "new"; "all new": the clients of the guests are new as well, and starts are scheduled."""

    def __init__(self, world: World, host: str):
        self.world = world
        new = host == "all new"
        self.host = Host(world, "ann", follows=host != "old", schedules=new)
        self.guests = [
            Viewer(world, "bob", follows=new, schedules=new),
            Viewer(world, "cid", follows=True, schedules=new),
            Viewer(world, "dan", slow=2.5, follows=new, schedules=new),
        ]
        self.everyone = [self.host, *self.guests]
        self._ticks = 0
        self.host.client.say("URL_CHANGE", url=TITLE)
        self.host.url = TITLE
        self.pass_time(2.5)
        self.press()
        self.pass_time(6)

    @property
    def film(self) -> Playback:
        room = self.world.room()
        assert room is not None
        return room.playback

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.world.advance(TICK)
            self._ticks += 1
            for viewer in self.everyone:
                viewer.advance()
                viewer.listen()
                if self._ticks % REPORTS_EVERY == 0:
                    viewer.report()
            self.world.settle()

    # -- disturbances

    def press(self) -> None:
        host = self.host
        host.playing = not host.playing
        control = "play" if host.playing else "pause"
        host.client.say("PLAY_PAUSE", control=control, currentTime=host.position)

    def seek(self, position: float) -> None:
        self.host.went_back += position < self.host.position
        playing = self.host.playing
        self.host.seek(position)
        self.host.client.say("SEEK", currentTime=position, isPlaying=playing)

    def seek_unseen(self, position: float) -> None:
        self.host.went_back += position < self.host.position
        self.host.seek(position)
        self.pass_time(3)

    def stall(self, seconds: float) -> None:
        self.host.went_back += self.host.playing
        self.host.stalled = True
        self.pass_time(seconds)
        self.host.stalled = False

    def lag(self, seconds: float) -> None:
        self.host.delayed = []
        self.pass_time(seconds)
        self.host.deliver()

    def lie(self, seconds: float, seed: int) -> None:
        self.host.lies = random.Random(seed)
        self.pass_time(seconds)
        self.host.lies = None

    def open_title(self, leftover: float, begin: float) -> None:
        host = self.host
        host.old = host.position, self.world.now
        host.url = OTHER_TITLE if host.url == TITLE else TITLE
        host.client.say("URL_CHANGE", url=host.url)
        host.position, host.playing = begin, False
        self.pass_time(leftover)
        host.old = None
        # The page plays by itself, and its client does not say so.
        host.playing = True
        self.pass_time(4)

    def reload(self, position: float) -> None:
        """The host's page is loaded again: its player begins where it likes, and the room does not go there."""
        self.host.client.say("JOIN", userId=self.host.user, roomId="room")
        self.host.seek(position)
        self.host.playing = True
        before = self.film
        self.pass_time(6)
        moved = self.film.position_at(self.world.now) - before.position_at(self.world.now)
        assert abs(moved) <= IN_STEP, "the room does not go where a new page of its host begins"

    def silence(self, seconds: float) -> None:
        """No report arrives, and all players play on."""
        quiet_until = self.world.now + seconds
        for viewer in self.everyone:
            viewer.quiet_until = quiet_until
        self.pass_time(seconds)

    def to_the_end(self, before: float) -> None:
        """The host goes to the last seconds of the title; only a guest's client says where it ends."""
        self.seek(LENGTH - before)
        self.pass_time(before)

    def guest_stall(self, number: int, seconds: float) -> None:
        guest = self.guests[number]
        others = [other for other in self.guests if other is not guest and not other.slow]
        before = [(other.playing, len(other.set_backs)) for other in others]
        guest.stalled = True
        self.pass_time(seconds)
        guest.stalled = False
        after = [(other.playing, len(other.set_backs)) for other in others]
        assert before == after, "a stall of one guest costs the others nothing"


seconds = st.integers(1, 32).map(lambda quarters: quarters / 4)
positions = st.integers(1, 20).map(lambda hundreds: hundreds * 100.0)
disturbances = st.lists(
    st.one_of(
        st.tuples(st.just("pass_time"), seconds),
        st.tuples(st.just("press")),
        st.tuples(st.just("seek"), positions),
        st.tuples(st.just("seek_unseen"), positions),
        st.tuples(st.just("stall"), seconds),
        st.tuples(st.just("lag"), st.sampled_from((0.5, 1.0, 1.5, LONGEST_LAG))),
        st.tuples(st.just("lie"), seconds, st.integers(0, 1000)),
        st.tuples(st.just("reload"), positions),
        st.tuples(st.just("open_title"), seconds, st.sampled_from((0.25, 900.0))),
        st.tuples(st.just("silence"), seconds),
        st.tuples(st.just("to_the_end"), seconds),
        st.tuples(st.just("guest_stall"), st.integers(0, 2), seconds),
    ),
    max_size=6,
)


SINGLE_DISTURBANCES: tuple[tuple[Any, ...], ...] = (
    ("press",),
    ("seek", 500.0),
    ("seek_unseen", 500.0),
    ("stall", 6.0),
    ("lag", LONGEST_LAG),
    ("lie", 6.0, 7),
    ("reload", 900.0),
    ("open_title", 4.0, 0.25),
    ("open_title", 4.0, 900.0),
    ("silence", 8.0),
    ("to_the_end", 4.0),
    ("guest_stall", 1, 8.0),
)
"""One example of each disturbance, so that a short run has them all."""


class ModelTest(ServiceTestCase):
    def test_a_single_disturbance(self) -> None:
        for step in SINGLE_DISTURBANCES:
            for host in ("old", "new", "all new"):
                self.play([step], host, str)

    def test_parties(self) -> None:
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(disturbances, st.sampled_from(("old", "old", "new", "all new")))
        def play(steps: list[tuple[Any, ...]], host: str) -> None:
            self.play(steps, host, note)

        play()

    def play(self, steps: list[tuple[Any, ...]], host: str, log: Callable[[str], object]) -> None:
        reactor: Any = MemoryReactorClock()
        reactor.advance(EPOCH)
        self.patch(cast(Any, txaio).config, "loop", reactor)
        world = World(reactor)
        try:
            party = Party(world, host)
            for name, *arguments in steps:
                back = party.host.went_back
                marks = [len(guest.set_backs) for guest in party.guests]
                getattr(party, name)(*arguments)
                party.pass_time(SETTLED_WITHIN)
                log(f"{world.now - EPOCH:.2f} {name} {arguments} {party.film}")
                self.assert_well(party, party.host.went_back - back, marks)
            slow = party.guests[-1]
            before = slow.loading
            party.pass_time(60)
            self.assertLess(slow.loading - before, 20, "corrections let a slow player play")
        finally:
            world.close()

    def assert_well(self, party: Party, went_back: int, marks: list[int]) -> None:
        film, now = party.film, party.world.now
        for guest, mark in zip(party.guests, marks, strict=True):
            back = guest.set_backs[mark:]
            if guest.slow:
                continue
            self.assertLessEqual(len(back), went_back, f"{guest.user} was set back to {back}")
        for viewer in party.everyone:
            if viewer.may_be_late:
                continue
            self.assertEqual(viewer.playing, film.playing, f"{viewer.user} plays or not")
            self.assertLessEqual(abs(viewer.position - film.position_at(now)), IN_STEP, f"{viewer.user} is in step")
