"""The wall clock is set while members watch, and timers and playback of the room go on: in simulated time."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tandemd.config.limit_sections import Limits
from tandemd.store.memory import MemoryStore
from tandemd.util.server_time import SLEW, ServerTime

from ..support.fake_node import ServiceTestCase
from ..support.settings import bounds

TITLE = "https://www.netflix.com/watch/1"
LOOK_SECONDS = 2.0
STEPS_SECONDS = (-86_400.0, -3600.0, -600.0, -30.0, -1.0, 1.0, 30.0, 600.0, 3600.0, 86_400.0)


class WallClockTest(ServiceTestCase):
    def setUp(self) -> None:
        self.shift = 0.0
        self.options = {"make_store": self.make_store, "limits": Limits()}
        super().setUp()

    def make_store(self, clock: Any, journal: Any) -> MemoryStore:
        self.time = ServerTime(clock)
        self.time.look(lambda: float(clock.seconds()) + self.shift)
        return MemoryStore(clock, 100, journal, bounds(), time=self.time)

    def pass_time(self, seconds: float) -> None:
        """Let time pass. The node looks at the wall clock as it does in a process, and bob's player reports that it watches."""
        while seconds > 0:
            self.time.look(lambda: self.world.now + self.shift)
            position = 100 + self.world.now - self.began
            self.bob.say("POSITION_UPDATE", currentTime=position, isPlaying=True)
            self.world.advance(min(LOOK_SECONDS, seconds))
            seconds -= LOOK_SECONDS

    def begin(self) -> None:
        """Let ann and bob watch a title that plays at 100 s. The clock is set in the middle."""
        self.ann, self.bob = self.world.party("ann", "bob")
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=100)
        self.began = self.world.now
        self.pass_time(4)
        self.bob.told()

    def check_step(self, step: float) -> None:
        self.begin()
        carl = self.world.join("carl", peer="10.0.0.7")
        carl.cut()
        before, position = self.world.now, self.position("dan")
        self.bob.told()
        self.shift += step
        self.pass_time(20)
        # Playback goes on at the rate of the elapsed time, and heartbeats come.
        moved, passed = self.position("eve") - position, self.world.now - before
        self.assertLessEqual(abs(moved - passed), SLEW * passed + 0.01)
        self.assertGreaterEqual(len(self.bob.told("HOST_HEARTBEAT")), 3)
        # A seek opens at its deadline, although a member is silent.
        self.ann.send("SEEK", currentTime=500, isPlaying=True)
        self.pass_time(8)
        self.assertHas(self.the(self.bob.told("PLAY_PAUSE"), "PLAY_PAUSE"), control="play", currentTime=500)
        # The grace period of the lost member ends, not before its time.
        room = self.world.room()
        assert room is not None
        self.assertIn("carl", room.members)
        self.pass_time(30)
        room = self.world.room()
        assert room is not None
        self.assertNotIn("carl", room.members)

    def position(self, user: str) -> float:
        """Return the position that a new member receives."""
        state = self.the(self.world.join(user, peer="10.0.0.9").told(), "ROOM_STATE")
        return float(state["currentTime"])

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.floats(-100_000, 100_000), min_size=1, max_size=5))
    def test_positions_never_jump(self, steps: list[float]) -> None:
        """The clock is set again and again."""
        self.setUp()
        self.begin()
        position, before = self.position("dan"), self.world.now
        for step in steps:
            self.shift += step
            self.pass_time(10)
            now = self.position(f"guest{self.world.now}")
            passed = self.world.now - before
            self.assertLessEqual(abs(now - position - passed), SLEW * passed + 0.01)
            position, before = now, self.world.now


for _step in STEPS_SECONDS:
    setattr(WallClockTest, f"test_set_by_{_step:+.0f}_s", lambda self, step=_step: self.check_step(step))
