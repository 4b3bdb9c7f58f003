"""Timelines with two nodes and a real Redis: the players of a room are on different nodes."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import LoopingCall

from tandemd.rules import lead
from tandemd.rules.playback import Playback

from ..chaos.small import SmallNode
from ..support.redis_nodes import until
from .test_cluster_moderation import Person, TwoNodesTestCase

TITLE = "https://www.netflix.com/watch/1"
REPORT_SECONDS = 0.5


class Player:
    """A player that reports twice a second and plays on, unless it is `stalled`.

    end: where it ends, in seconds; 0.0: nowhere. duration: as it says.
    """

    def __init__(
        self, case: TwoNodesTestCase, person: Person, position: float, *, end: float = 0.0, duration: float = 0.0
    ):
        self.end, self.duration = end, duration
        self._person = person
        self._position = position
        self._since: float | None = _now()
        self.reports = LoopingCall(self._report)
        self.reports.start(REPORT_SECONDS)
        case.addCleanup(lambda: self.reports.running and self.reports.stop())

    @property
    def position(self) -> float:
        return self._position if self._since is None else self._position + _now() - self._since

    def stall(self) -> None:
        self._position, self._since = self.position, None

    def go_on(self) -> None:
        self._since = _now()

    def _report(self) -> None:
        ended = self.end > 0 and self.position >= self.end
        fields = {"duration": self.duration} if self.duration else {}
        position = min(self.position, self.end or self.duration or self.position)
        self._person.wire.say(
            {"type": "POSITION_UPDATE", "currentTime": position, "isPlaying": not ended, "ended": ended, **fields}
        )


def _now() -> float:
    seconds: float = reactor.seconds()
    return seconds


def timeline(node: SmallNode) -> Playback:
    return next(iter(node.rooms.open)).room.playback


class ClusterPlaybackTest(TwoNodesTestCase):
    async def party(self) -> tuple[SmallNode, SmallNode, Person, Person]:
        """Return two nodes with a member each. The host is on the first one, and its title plays from 100 s on."""
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2")
        await ann.hears("ROOM_STATE")
        bob = await self.join(there, "bob", "127.0.0.3")
        await bob.hears("ROOM_STATE")
        ann.wire.say({"type": "URL_CHANGE", "url": TITLE})
        ann.wire.say({"type": "PLAY_PAUSE", "control": "play", "currentTime": 100})
        for person in (ann, bob):
            await person.hears("PLAY_PAUSE", userId="ann")
        return here, there, ann, bob

    def server_messages(self, person: Person) -> list[Any]:
        return [m for m in person.messages if m["type"] == "PLAY_PAUSE" and m["userId"] == "server"]

    async def test_a_hold_reaches_the_members_of_the_other_node(self) -> None:
        here, there, ann, bob = await self.party()
        player = Player(self, ann, 100.0)
        await bob.hears("HOST_HEARTBEAT")
        player.stall()
        pause = await bob.hears("PLAY_PAUSE", userId="server", control="pause")
        self.assertAlmostEqual(pause["currentTime"], player.position, 3)
        await until(lambda: timeline(here).held and timeline(there).held)
        cid = await self.join(there, "cid", "127.0.0.4")
        state = await cid.hears("ROOM_STATE")
        self.assertEqual(state["isPlaying"], False)
        player.go_on()
        await bob.hears("PLAY_PAUSE", userId="server", control="play")
        ann.wire.say({"type": "CHAT", "text": "later"})
        await until(lambda: any(m["type"] == "CHAT" for m in ann.messages))
        self.assertEqual(self.server_messages(ann), [], "the host's client would pause in earnest")

    async def test_a_hold_ends_with_the_host(self) -> None:
        here, there, ann, bob = await self.party()
        player = Player(self, ann, 100.0)
        await bob.hears("HOST_HEARTBEAT")
        player.stall()
        await bob.hears("PLAY_PAUSE", userId="server", control="pause")
        player.reports.stop()
        ann.wire.cut()
        await bob.hears("PLAY_PAUSE", userId="server", control="play")
        self.assertFalse(timeline(there).held)

    async def test_a_watcher_on_any_node_keeps_the_timeline_going(self) -> None:
        here, there, ann, bob = await self.party()
        player = Player(self, bob, 100.0)
        for _ in range(4):
            await bob.hears("HOST_HEARTBEAT")
        for node in (here, there):
            self.assertFalse(timeline(node).unwatched)
        player.reports.stop()
        await until(lambda: timeline(here).unwatched and timeline(there).unwatched)
        stood = timeline(here).position
        self.assertEqual(timeline(there).position, stood)
        # The player plays on meanwhile, so the timeline goes on from there.
        await until(lambda: player.position > stood + 1)
        player.reports.start(REPORT_SECONDS)
        await until(lambda: not timeline(here).unwatched and not timeline(there).unwatched)
        self.assertGreater(timeline(here).position, stood + 0.5)
        self.assertLessEqual(timeline(here).position, player.position)

    async def test_the_end_of_the_film(self) -> None:
        """A member that may control the film, or two on different nodes, know the end; one that plays on refutes it."""
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2", follows=True)
        await ann.hears("ROOM_STATE")
        bob = await self.join(there, "bob", "127.0.0.3", follows=True)
        await bob.hears("ROOM_STATE")
        ann.wire.say({"type": "URL_CHANGE", "url": TITLE})

        async def play_to(end: float) -> None:
            ann.wire.say({"type": "PLAY_PAUSE", "control": "play", "currentTime": end - 3})
            await bob.hears("PLAY_PAUSE", userId="ann", currentTime=end - 3)

        async def stops_at(end: float) -> None:
            for person in (ann, bob):
                await person.hears("PLAY_PAUSE", userId="server", control="pause", currentTime=end)
            await until(lambda: not timeline(here).playing and not timeline(there).playing)

        await play_to(100)
        players = [Player(self, ann, 97.0, end=100), Player(self, bob, 97.0, end=100)]
        await stops_at(100)
        for player in players:
            player.reports.stop()
        await play_to(200)
        players = [Player(self, ann, 197.0, end=200), Player(self, bob, 197.0)]
        while (await bob.hears("HOST_HEARTBEAT"))["currentTime"] < 214:
            self.assertTrue(timeline(here).playing, "the film is longer for the other member")
        await until(lambda: {known.kind for known in timeline(here).ends} == {"ended", "further"})
        for player in players:
            player.reports.stop()
        await play_to(300)
        for person in (ann, bob):
            Player(self, person, 297.0, duration=300)
        await stops_at(300)

    async def test_starts_rates_and_status_across_nodes(self) -> None:
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2", follows=True, schedules=True)
        await ann.hears("ROOM_STATE")
        bob = await self.join(there, "bob", "127.0.0.3", follows=True, schedules=True)
        await bob.hears("ROOM_STATE")
        people = (ann, bob)
        ann.wire.say({"type": "URL_CHANGE", "url": TITLE})
        for person in people:
            await person.hears("URL_CHANGE")
            Player(self, person, 0.0)
        await until(lambda: all(member.watching for member in next(iter(here.rooms.open)).room.members.values()))
        ann.wire.say({"type": "PLAY_PAUSE", "control": "play", "currentTime": 100})
        starts = [await person.hears("PLAY_PAUSE", userId="ann") for person in people]
        self.assertEqual(starts[0], starts[1])
        self.assertGreater(starts[0]["at"], 0)
        self.assertEqual(timeline(here), timeline(there))
        self.assertAlmostEqual(timeline(here).at, starts[0]["at"] / 1000, 5)
        ann.wire.say({"type": "SET_RATE", "rate": 2})
        for person in people:
            self.assertEqual((await person.hears("RATE_CHANGED"))["rate"], 2)
        self.assertEqual((timeline(here).rate, timeline(there).rate), (2, 2))
        bob.wire.say({"type": "STATUS", "status": "buffering"})
        for person in people:
            await person.hears("MEMBER_STATUS", userId="bob", status="buffering")
        # The node of the other member closes the gate as well, and only one of them can.
        ann.wire.say({"type": "WAIT_FOR_BUFFERING", "enabled": True})
        pauses = []
        for person in people:
            await person.hears("WAIT_FOR_BUFFERING", enabled=True)
            pauses.append(await person.hears("SEEK_PAUSE"))
        self.assertEqual(pauses[0], pauses[1])
        for person in people:
            person.wire.say({"type": "READY", "targetTime": pauses[0]["currentTime"]})
        plays = [await person.hears("PLAY_PAUSE", userId="server", control="play") for person in people]
        self.assertEqual(plays[0], plays[1])
        self.assertEqual(plays[0]["rate"], 2)


class ScheduledStartTest(TwoNodesTestCase):
    """Events between the press and the start, which lies an hour ahead here: no test depends on the speed of the machine."""

    async def party(self) -> tuple[SmallNode, SmallNode, Person, Person]:
        """Return two nodes with a member each, whose clients schedule. The host is on the first one; its film stands at 100 s."""
        self.patch(lead, "MARGIN_SECONDS", 3600.0)
        self.patch(lead, "MAX_LEAD_SECONDS", 3600.0)
        here, there = await self.nodes()
        ann = await self.join(here, "ann", "127.0.0.2", follows=True, schedules=True)
        await ann.hears("ROOM_STATE")
        bob = await self.join(there, "bob", "127.0.0.3", follows=True, schedules=True)
        await bob.hears("ROOM_STATE")
        ann.wire.say({"type": "URL_CHANGE", "url": TITLE})
        ann.wire.say({"type": "TOGGLE_GUEST_CONTROL", "enabled": True})
        for person in (ann, bob):
            await person.hears("GUEST_CONTROL", enabled=True)
            await self.watches(here, person, "ann" if person is ann else "bob")
        return here, there, ann, bob

    async def watches(self, node: SmallNode, person: Person, user: str) -> None:
        Player(self, person, 0.0)
        await until(lambda: next(iter(node.rooms.open)).room.members[user].watching)

    async def start(self, here: SmallNode, there: SmallNode, ann: Person, bob: Person) -> float:
        """Press play. Return the time on the server's clock at which the film starts, in ms, the same for all."""
        ann.wire.say({"type": "PLAY_PAUSE", "control": "play", "currentTime": 100})
        starts = [await person.hears("PLAY_PAUSE", userId="ann", control="play") for person in (ann, bob)]
        self.assertEqual(starts[0], starts[1])
        self.assertEqual(timeline(here), timeline(there))
        self.assertAlmostEqual(timeline(here).at, starts[0]["at"] / 1000, 3)
        at: float = starts[0]["at"]
        return at

    async def test_joins_takeovers_and_the_end_of_a_node_move_no_start(self) -> None:
        here, there, ann, bob = await self.party()
        at = await self.start(here, there, ann, bob)
        scheduled = {"currentTime": 100.0, "isPlaying": True, "at": at}
        for node, user, address, fields in (
            (there, "cid", "127.0.0.4", {"schedules": True}),
            (here, "old", "127.0.0.5", {}),
            (here, "bob", "127.0.0.3", {"follows": True, "schedules": True}),
        ):
            person = await self.join(node, user, address, **fields)
            await person.hears("ROOM_STATE", **scheduled)
            self.assertAlmostEqual(timeline(node).at, at / 1000, 3)
        await here.crash()
        ann = await self.join(there, "ann", "127.0.0.2", follows=True, schedules=True)
        await ann.hears("ROOM_STATE", **scheduled)
        after = timeline(there)
        self.assertAlmostEqual(after.at, at / 1000, 3)
        self.assertEqual(after.position_at(after.at - 1.0), 100.0)
        self.assertEqual(after.position_at(after.at + 5.0), 105.0)

    async def test_controls_between_press_and_start(self) -> None:
        here, there, ann, bob = await self.party()
        people = (ann, bob)
        at = await self.start(here, there, ann, bob)
        bob.wire.say({"type": "PLAY_PAUSE", "control": "pause"})
        pauses = [await person.hears("PLAY_PAUSE", userId="bob", control="pause") for person in people]
        self.assertEqual(pauses[0], pauses[1])
        self.assertEqual((pauses[0]["currentTime"], pauses[0].get("at")), (100.0, None))
        for node in (here, there):
            self.assertEqual(timeline(node).position_at(at / 1000 + 5.0), 100.0)

        await self.start(here, there, ann, bob)
        bob.wire.say({"type": "SEEK", "currentTime": 500, "isPlaying": True})
        seeks = [await person.hears("SEEK_PAUSE") for person in people]
        self.assertEqual(seeks[0], seeks[1])
        for node in (here, there):
            self.assertEqual(timeline(node).position_at(at / 1000 + 60.0), 500.0)
        for person in people:
            person.wire.say({"type": "READY", "targetTime": 500})
        starts = [await person.hears("PLAY_PAUSE", userId="server", control="play") for person in people]
        self.assertEqual(starts[0], starts[1])
        self.assertEqual(starts[0]["currentTime"], 500.0)
        self.assertGreater(starts[0]["at"], at)
        self.assertEqual(timeline(here), timeline(there))

    async def test_an_old_client_on_either_node_ends_the_lead(self) -> None:
        here, there, ann, bob = await self.party()
        await self.start(here, there, ann, bob)
        old = await self.join(there, "old", "127.0.0.5")
        await old.hears("ROOM_STATE")
        await self.watches(here, old, "old")
        ann.wire.say({"type": "PLAY_PAUSE", "control": "pause", "currentTime": 100})
        ann.wire.say({"type": "PLAY_PAUSE", "control": "play", "currentTime": 100})
        for person in (ann, bob, old):
            await person.hears("PLAY_PAUSE", userId="ann", control="pause")
            self.assertNotIn("at", await person.hears("PLAY_PAUSE", userId="ann", control="play"))
        self.assertEqual(timeline(here), timeline(there))
