"""A model of a party whose host's player does everything that players do, under Hypothesis.

The host has the old extension, whose player the room follows, or a client that follows the room. It plays, stalls, seeks (with and
without a control), pauses, opens titles, reaches their end, has its reports delayed, lies, and hands over to a guest. The guests
have old and new clients; one is slow, and any may stall. At times no report arrives at all.

Four properties hold: no guest is set back more often than the host truly went back; the position that others are told does not
loop; after each disturbance all players that can follow are in step within 10 s; a stall of one guest costs the others nothing,
unless the room waits for members that buffer.

TANDEMD_MODEL_EXAMPLES sets the number of histories, TANDEMD_MODEL_SEED the seed, which is printed, and another one in each run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, cast

import txaio
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock

from tandemd.rules.buffering import MAX_WAITS
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
SEED = int(os.environ.get("TANDEMD_MODEL_SEED") or random.randrange(2**32))


class Viewer:
    """A player and its client.

    slow: seconds that a seek takes. follows: whether its client follows the room. schedules: whether it can start at a given time.

    set_backs: positions that the room has moved it back to. told_back: messages with an earlier position
    than the one before.
    loading: how many seconds its seeks have taken.
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
        self._told = 0.0
        self.told_back: list[tuple[float, str, float]] = []
        self._unanswered: float | None = None
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
            if message["type"] in ("PLAY_PAUSE", "HOST_HEARTBEAT", "SEEK_PAUSE"):
                # The timeline runs past the end of the film before it stops there.
                if message["currentTime"] < min(LENGTH, self._told) - SET_BACK:
                    self.told_back.append((self._told, message["type"], message["currentTime"]))
                self._told = message["currentTime"]
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
        self._unanswered = message["currentTime"]
        self.answer()

    def answer(self) -> None:
        """Answer a SEEK_PAUSE, unless the player waits for data."""
        if self._unanswered is not None and not self.stalled:
            self.client.say("READY", targetTime=self._unanswered)
            self._unanswered = None

    def _on_url_change(self, message: dict[str, Any]) -> None:
        if message["url"] != self.url:
            self.url = message["url"]
            self._told = 0.0
            self.position, self.playing = 0.0, False

    def report(self) -> None:
        if self.url and self.world.now >= self.quiet_until:
            self.client.say("POSITION_UPDATE", currentTime=self.position, isPlaying=self.playing, **self.end)


class Player(Viewer):
    """A player of a member that may be host: the room follows it then, if its client is old.

    went_back: how often it has truly gone back, or stood while the room played.
    old: position and time at which it left the title that it still reports. other: the function from the number of reports to
    another place that it reports, or None for where it is. delayed: the reports that wait in the network; None if none waits.
    """

    went_back = 0
    old: tuple[float, float] | None = None
    other: Callable[[int], tuple[float, bool] | None] | None = None
    delayed: list[tuple[float, bool]] | None = None
    _reports = 0

    def report(self) -> None:
        if not self.url or self.world.now < self.quiet_until:
            return
        self._reports += 1
        report = self.position, self.playing
        if self.old is not None:
            position, since = self.old
            report = position + self.world.now - since, True
        elif self.other is not None:
            report = self.other(self._reports) or report
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
        self.host = Player(world, "ann", follows=host != "old", schedules=new)
        self.guests: list[Viewer] = [
            Player(world, "bob", follows=new, schedules=new),
            Player(world, "cid", follows=True, schedules=new),
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
        source = random.Random(seed)
        self.host.other = lambda number: (source.uniform(0, 10_000), source.random() < 0.7)
        self.pass_time(seconds)
        self.host.other = None

    def two_pages(self, seconds: float, reports: int, spot: float) -> None:
        """Two pages of the host report, so many times in turn. The room may follow the second one once."""
        self.host.went_back += 1
        began, playing = self.world.now, self.host.playing
        there = lambda: (spot + (self.world.now - began) * playing, playing)  # noqa: E731
        self.host.other = lambda number: there() if number // reports % 2 else None
        self.pass_time(seconds)
        self.host.other = None
        self.pass_time(3)

    def vanish(self, seconds: float, spot: float) -> None:
        """The host's player stands somewhere else, and says that it plays, as while a page loads. Then it plays from there."""
        host = self.host
        if host.playing and abs(host.position - spot) > 10:
            host.seek(spot)
            host.stalled = True
            self.pass_time(seconds)
            host.stalled = False

    def take_over(self, number: int) -> None:
        """Another member becomes host. No position of the room changes."""
        guest = self.guests[number]
        if isinstance(guest, Player):
            self.host.client.say("TRANSFER_HOST", targetUserId=guest.user)
            self.world.settle()
            self.guests[number], self.host = self.host, guest

    def connect_again(self) -> None:
        """The host opens its page a second time: another connection speaks for it, with the same player."""
        host = self.host
        host.client = self.world.join(host.user, follows=host.follows)
        host.client.told()

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

    def buffering(self, number: int, seconds: float) -> None:
        """A guest stalls while the room waits for members that buffer: all stand still, and none is set back.

        The room does so `MAX_WAITS` times for each.
        """
        guest, others = self.guests[number], [each for each in self.everyone if each is not self.guests[number]]
        self.host.client.say("WAIT_FOR_BUFFERING", enabled=True)
        self.pass_time(1)
        waits = self.film.playing and [user for user, _ in self.film.waits].count(guest.user) < MAX_WAITS
        guest.stalled = True
        guest.client.say("STATUS", status="buffering")
        self.pass_time(3)
        if waits and not guest.slow:
            assert not any(other.playing for other in others), "all wait for the guest"
        self.pass_time(seconds)
        guest.stalled = False
        guest.client.say("STATUS", status="watching")
        guest.answer()
        self.host.client.say("WAIT_FOR_BUFFERING", enabled=False)


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
        st.tuples(st.just("buffering"), st.integers(0, 1), st.sampled_from((0.0, 2.0))),
        st.tuples(st.just("two_pages"), seconds, st.integers(1, 6), positions),
        st.tuples(st.just("vanish"), st.sampled_from((4.0, 6.0, 9.0)), st.one_of(st.just(0.0), positions)),
        st.tuples(st.just("take_over"), st.integers(0, 1)),
        st.tuples(st.just("connect_again")),
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
    ("buffering", 0, 2.0),
    ("two_pages", 8.0, 2, 500.0),
    ("vanish", 6.0, 0.0),
    ("vanish", 6.0, 900.0),
    ("take_over", 0),
    ("take_over", 1),
    ("connect_again",),
)
"""One example of each disturbance, so that a short run has them all."""


class ModelTest(ServiceTestCase):
    def test_a_single_disturbance(self) -> None:
        for step in SINGLE_DISTURBANCES:
            for host in ("old", "new", "all new"):
                self.play([step], host, str)

    def test_a_slow_guest_is_corrected_during_a_later_step(self) -> None:
        pages = ("two_pages", 5.5, 3, 100.0)
        self.play(
            [("two_pages", 1.0, 1, 100.0), ("reload", 100.0), pages, ("stall", 5.5), pages, ("pass_time", 0.25)],
            "old",
            str,
        )

    def test_a_guest_is_waited_for_so_many_times(self) -> None:
        self.play([("buffering", 1, 0.0), ("buffering", 1, 2.0), ("buffering", 1, 0.0)], "old", str)

    def test_parties(self) -> None:
        print(f"TANDEMD_MODEL_SEED={SEED} ", end="")

        @seed(SEED)
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
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
                acting = party.host
                back = acting.went_back
                marks = {viewer.user: (len(viewer.set_backs), len(viewer.told_back)) for viewer in party.everyone}
                getattr(party, name)(*arguments)
                party.pass_time(SETTLED_WITHIN)
                log(f"{world.now - EPOCH:.2f} {name} {arguments} {party.film}")
                self.assert_well(party, acting.went_back - back, marks)
            slow = party.guests[-1]
            before = slow.loading
            party.pass_time(60)
            self.assertLess(slow.loading - before, 20, "corrections let a slow player play")
        except AssertionError as error:
            raise AssertionError(f"{error}, in a party with {host!r} and {steps}") from error
        finally:
            world.close()

    def assert_well(self, party: Party, went_back: int, marks: dict[str, tuple[int, int]]) -> None:
        film, now = party.film, party.world.now
        for guest in party.guests:
            set_backs, told_back = marks[guest.user]
            back = guest.set_backs[set_backs:]
            told = guest.told_back[told_back:]
            if guest.slow:
                # The server corrects it less often, so that it may hear of a step during a later one.
                every = sum(each.went_back for each in party.everyone if isinstance(each, Player))
                self.assertLessEqual(len(guest.told_back), every, f"{guest.user} was told {guest.told_back}")
                continue
            self.assertLessEqual(len(told), went_back, f"{guest.user} was told {told}")
            self.assertLessEqual(len(back), went_back, f"{guest.user} was set back to {back}")
        for viewer in party.everyone:
            if viewer.may_be_late:
                continue
            self.assertEqual(viewer.playing, film.playing, f"{viewer.user} plays or not")
            self.assertLessEqual(abs(viewer.position - film.position_at(now)), IN_STEP, f"{viewer.user} is in step")
