"""The figures of togetherness, by the reports of players."""

from __future__ import annotations

from typing import Any, cast

from tandemd.metrics import Histogram
from tandemd.rooms.administration import Administration

from ..support.fake_node import TITLE, Client, ServiceTestCase


class FiguresTest(ServiceTestCase):
    """ann is host, bob and cid are guests, all with new clients. The room plays from 100 s."""

    def setUp(self) -> None:
        super().setUp()
        self.clients: dict[str, Client] = {}
        for user in ("ann", "bob", "cid"):
            self.clients[user] = self.world.join(user, follows=True)
        self.clients["ann"].say("URL_CHANGE", url=TITLE)
        self.world.advance(2.0)
        self.clients["ann"].say("PLAY_PAUSE", control="play", currentTime=100.0)
        self.world.settle()
        self.began = self.world.now
        self.metrics = self.world.server.metrics.rooms

    def play_for(self, seconds: float, age: float | None = None, **errors: float) -> None:
        """The named players report twice a second with these errors. age: of their positions, if they say it."""
        for _ in range(int(seconds * 2)):
            self.world.advance(0.5)
            read = self.world.now - (age or 0.0)
            for user, error in errors.items():
                at = {} if age is None else {"at": read * 1000}
                position = 100.0 + read - self.began + error
                self.clients[user].say("POSITION_UPDATE", currentTime=position, isPlaying=True, **at)
            self.world.settle()

    def counts(self, histogram: Histogram, phase: str = "") -> dict[str, float]:
        """Return the observations of each bucket by its upper bound."""
        found: dict[str, float] = {}
        before = 0.0
        for sample in histogram.collect().samples:
            if sample.name.endswith("_bucket") and sample.labels.get("phase", "") == phase:
                if sample.value > before:
                    found[sample.labels["le"]] = sample.value - before
                before = sample.value
        return found

    def test_errors_by_phase(self) -> None:
        self.play_for(10.0, age=0.1, ann=0.003, bob=-0.03)
        steady, settling = (self.counts(self.metrics.sync_error, phase) for phase in ("steady", "settling"))
        self.assertEqual(set(steady), {"0.005", "0.05"})
        self.assertEqual(set(settling), {"0.005", "0.05"})
        self.assertGreaterEqual(steady["0.05"], 6)
        self.assertLessEqual(settling["0.05"], 3)
        self.assertEqual(set(self.counts(self.metrics.room_spread)), {"0.05"})

    def test_without_a_time_the_delay_counts(self) -> None:
        """Links in memory have the shortest delay, 25 ms: by then a player is so far ahead of its report."""
        self.play_for(10.0, ann=-0.025)
        self.assertEqual(set(self.counts(self.metrics.sync_error, "steady")), {"0.005"})

    def test_one_alone_has_no_spread(self) -> None:
        self.play_for(10.0, ann=0.0)
        self.assertEqual(self.counts(self.metrics.room_spread), {})

    def test_a_member_s_lies_change_no_other_s_figure(self) -> None:
        for at in (1e15, -1e15, 0.0, (self.world.now + 5e9) * 1000):
            self.clients["cid"].say("POSITION_UPDATE", currentTime=1e12, isPlaying=True, at=at)
            self.play_for(1.0, age=0.0, ann=0.0, bob=0.0)
        errors = self.room_errors()
        self.assertEqual((errors["ann"], errors["bob"], errors["cid"]), (0, 0, 10_000))
        for wrong in ("NaN", "1e300", '"1"', "[]"):
            frame = b'{"type":"POSITION_UPDATE","currentTime":1,"isPlaying":true,"id":5,"at":%s}' % wrong.encode()
            self.clients["cid"].sendMessage(frame)
            self.refused(self.clients["cid"].told("ERROR"), "bad_message")

    def test_paused_or_waiting_rooms_have_none(self) -> None:
        self.clients["ann"].send("PLAY_PAUSE", control="pause", currentTime=100.0)
        self.play_for(5.0, ann=5.0, bob=0.0)
        self.assertEqual(self.counts(self.metrics.room_spread), {})
        self.assertEqual(self.room_errors(), {"ann": None, "bob": None, "cid": None})

    def room_errors(self) -> dict[str, Any]:
        return {member["userId"]: member["errorMs"] for member in self.room()["members"]}

    def room(self) -> dict[str, Any]:
        administration = Administration(
            self.world.store, self.world.server.rooms.open, cast(Any, None), dict, lambda undo: 0, lambda: True
        )
        return cast("dict[str, Any]", self.successResultOf(administration.room("room")))

    def test_administrators_see_each_member(self) -> None:
        self.clients["bob"].say("STATUS", status="away")
        self.play_for(5.0, age=0.0, ann=0.0, bob=-0.75)
        room = self.room()
        self.assertEqual((room["rate"], room["waitForBuffering"]), (1.0, False))
        self.assertEqual(
            [(x["userId"], x["status"], x["delayMs"], x["errorMs"]) for x in room["members"]],
            [("ann", "watching", 25, 0), ("bob", "away", 25, -750), ("cid", "watching", None, None)],
        )
        self.play_for(10.0, age=0.0, ann=0.0)
        self.assertEqual(self.room_errors(), {"ann": 0, "bob": None, "cid": None})
