"""The film as clients see it: controls and their order, the ready gate, titles, positions and heartbeats."""

from __future__ import annotations

from typing import Any

from tandemd.interfaces import Conflict, Unavailable

from ..support.fake_node import EPOCH, OTHER_TITLE, TITLE, Client, HeldStore, ServiceTestCase


class FilmTestCase(ServiceTestCase):
    """Has a party of three: ann is the host."""

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob, self.cid = self.world.party("ann", "bob", "cid")

    def playing(self, position: float = 100.0) -> None:
        """The room plays, and positions count again after the last control."""
        self.ann.say("PLAY_PAUSE", control="play", currentTime=position - 2.5)
        self.world.advance(2.5)
        self.quiet()

    def watch(self, *clients: Client, position: float = 100.0, playing: bool = True) -> None:
        for client in clients:
            client.say("POSITION_UPDATE", currentTime=position, isPlaying=playing)
        self.quiet()

    def move(self, client: Client, position: float, playing: bool = True, kind: str = "POSITION_UPDATE") -> None:
        """A player reports twice, and is at the position with the second report."""
        client.send(kind, currentTime=position - 0.5 * playing, isPlaying=playing)
        self.world.advance(0.5)
        client.send(kind, currentTime=position, isPlaying=playing)

    def quiet(self) -> None:
        for client in (self.ann, self.bob, self.cid):
            client.told()

    def position(self) -> float:
        room = self.world.room()
        assert room is not None
        return room.playback.position_at(self.world.now)


class ControlsTest(FilmTestCase):
    def test_all_members_are_told_and_the_sender(self) -> None:
        told = self.ann.send(
            "PLAY_PAUSE", control="play", currentTime=12.5, eventTimestamp=1, userId="ann", roomId="room"
        )
        self.assertEqual(told, self.bob.told())
        self.assertEqual(told, self.cid.told())
        self.assertHas(told[0], type="PLAY_PAUSE", userId="ann", control="play", currentTime=12.5, seq=4, prev=3)
        # B42, X14: clients' clocks are nothing to others.
        self.assertNotIn("eventTimestamp", told[0])
        self.assertEqual(told[0]["timestamp"], int(EPOCH * 1000))

    def test_back_to_back_keep_their_order(self) -> None:
        """B13: PLAY and PAUSE that were sent at once came out the other way round."""
        for control in ("play", "pause") * 20:
            self.ann.say("PLAY_PAUSE", control=control, currentTime=1)
        for client in (self.ann, self.bob):
            told = client.told()
            self.assertEqual([m["control"] for m in told], ["play", "pause"] * 20)
            self.assertEqual([m["seq"] for m in told], list(range(4, 44)))
            self.assertEqual([m["prev"] for m in told], list(range(3, 43)))

    def test_guests_do_not_control(self) -> None:
        """B4: any member could."""
        for kind, fields in (
            ("PLAY_PAUSE", {"control": "play", "currentTime": 1}),
            ("SEEK", {"currentTime": 1, "isPlaying": True}),
            ("URL_CHANGE", {"url": TITLE}),
            ("TOGGLE_GUEST_CONTROL", {"enabled": True}),
            ("TRANSFER_HOST", {"targetUserId": "bob"}),
        ):
            self.refused(self.bob.send(kind, **fields), "forbidden")
        self.assertEqual(self.ann.told(), [])

    def test_guest_control(self) -> None:
        told = self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.assertHas(told[0], type="GUEST_CONTROL", enabled=True)
        self.assertEqual(self.bob.types(), ["GUEST_CONTROL"])
        self.assertHas(self.bob.send("PLAY_PAUSE", control="play", currentTime=1)[0], userId="bob")
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=False)
        self.refused(self.bob.send("PLAY_PAUSE", control="play", currentTime=1)[-1:], "forbidden")

    def test_transfer_host(self) -> None:
        """B40: nothing happened."""
        self.refused(self.ann.send("TRANSFER_HOST", targetUserId="eve"), "no_such_member")
        self.assertHas(self.ann.send("TRANSFER_HOST", targetUserId="bob")[0], type="HOST_CHANGED", hostUserId="bob")
        self.assertEqual(self.bob.types(), ["HOST_CHANGED"])
        self.refused(self.ann.send("PLAY_PAUSE", control="play"), "forbidden")
        self.assertEqual([m["type"] for m in self.bob.send("PLAY_PAUSE", control="play")], ["PLAY_PAUSE"])

    def test_pause_without_a_position(self) -> None:
        """A controller who leaves the player pauses without saying where it is."""
        self.playing(100)
        self.world.advance(1)
        told = self.ann.send("PLAY_PAUSE", control="pause")
        self.assertAlmostEqual(self.the(told, "PLAY_PAUSE")["currentTime"], 101, 3)
        self.assertAlmostEqual(self.position(), 101, 3)

    def test_wrong_types_reach_no_member(self) -> None:
        """B41: strings and negative times were stored and told."""
        for fields in (
            {"control": "play", "currentTime": "12"},
            {"control": "play", "currentTime": -1},
            {"control": "play", "currentTime": 1e300},
            {"control": "rewind"},
            {"control": None},
            {},
        ):
            self.refused(self.ann.send("PLAY_PAUSE", **fields), "bad_message")
        self.refused(self.ann.send("SEEK", currentTime=1, isPlaying="no"), "bad_message")
        self.assertEqual(self.bob.told(), [])

    def test_username(self) -> None:
        told = self.bob.send("UPDATE_USERNAME", username="Bobby" + "x" * 100, timestamp=1)
        self.assertHas(told[0], type="USERNAME_UPDATED", userId="bob", username=("Bobby" + "x" * 100)[:50])
        self.assertEqual(told, self.ann.told())
        self.refused(self.bob.send("UPDATE_USERNAME", username=""), "bad_message")
        self.refused(self.bob.send("UPDATE_USERNAME", username=" \x00"), "bad_message")
        # B33: a long name made every later JOIN fail.
        self.assertEqual([m["type"] for m in self.bob.send("JOIN", userId="bob", roomId="room")], ["ROOM_STATE"])

    def test_chat(self) -> None:
        told = self.bob.send("CHAT", text="hello <b>\u2028")
        self.assertHas(told[0], type="CHAT", userId="bob", username="Bob", text="hello <b>\u2028")
        self.assertEqual((told, told), (self.ann.told(), self.cid.told()))
        self.refused(self.bob.send("CHAT", text="x" * 2001), "bad_message")
        self.refused(self.bob.send("CHAT", text=""), "bad_message")
        for _, commit in self.world.server.journal:
            self.assertNotIn("hello", str(commit.details), "the archive keeps no chat")


class TitlesTest(FilmTestCase):
    def test_all_members_are_told(self) -> None:
        """B22, X4: the time is in milliseconds where seconds are expected; no member gets it."""
        told = self.ann.send("URL_CHANGE", url=TITLE, currentTime=5_000_000, userId="ann", roomId="room")
        self.assertEqual(told, self.bob.told())
        self.assertHas(told[0], type="URL_CHANGE", userId="ann", url=TITLE)
        self.assertNotIn("currentTime", told[0])

    def test_nonsense_as_time(self) -> None:
        self.assertEqual([m["type"] for m in self.ann.send("URL_CHANGE", url=TITLE, currentTime="x")], ["URL_CHANGE"])

    def test_foreign_url(self) -> None:
        """B22: any URL was passed on, which clients then opened."""
        for url in (
            "javascript:alert(1)",
            "https://evil.example/watch/1",
            "https://www.netflix.com.evil.example/",
            "https://www.netflix.com@evil.example/",
            "//www.netflix.com/watch/1",
            "/watch/1",
            "data:text/html,x",
            "https://www.netflix.com/\x00",
            "https://www.netflix.com\\@evil.example/",
            "https://www.netflix.com/" + "x" * 4000,
        ):
            self.refused(self.ann.send("URL_CHANGE", url=url), "bad_url")
        for wrong in ({}, {"url": None}, {"url": 5}, {"url": ""}):
            self.refused(self.ann.send("URL_CHANGE", **wrong), "bad_message")
        self.assertEqual(self.bob.told(), [])

    def test_new_title_starts_at_its_beginning(self) -> None:
        """B22: the room's time was kept, and a new episode began where the old one had been."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.playing(1000)
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.assertEqual(self.position(), 0)
        self.quiet()
        self.assertEqual(self.bob.send("REQUEST_SYNC"), [], "its position is not known yet")

    def test_reload_of_the_host_changes_nothing(self) -> None:
        """X4: a page that is loaded again tells its title again, with a time near 0."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.playing(1000)
        self.ann.send("URL_CHANGE", url=TITLE, currentTime=0)
        self.assertAlmostEqual(self.position(), 1000, 1)

    def test_guest_is_pulled_in_on_its_first_admission_only(self) -> None:
        """No member was ever taken to the title; but a client that is told it at every JOIN reloads its page for ever."""
        self.ann.send("URL_CHANGE", url=TITLE)
        dan = self.world.join("dan")
        told = dan.told()
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "URL_CHANGE"])
        self.assertHas(told[1], userId="server", url=TITLE)
        self.assertNotIn("currentTime", told[1])
        self.assertEqual([m["type"] for m in dan.send("JOIN", userId="dan", roomId="room")], ["ROOM_STATE"])
        self.world.advance(61)
        dan.cut()
        self.assertEqual(self.world.join("dan").types(), ["ROOM_STATE"])

    def test_guest_that_was_away_when_the_title_changed(self) -> None:
        """It comes back on a new connection, and nothing else would ever take it there."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.bob.cut()
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.world.advance(40)
        bob = self.world.join("bob")
        told = bob.told()
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "URL_CHANGE"])
        self.assertHas(told[1], userId="server", url=OTHER_TITLE)
        self.assertNotIn("seq", told[1])
        # Its page is loaded, and joins again on the same connection: once is enough, and more could go on for ever.
        self.assertEqual([m["type"] for m in bob.send("JOIN", userId="bob", roomId="room")], ["ROOM_STATE"])

    def test_host_that_was_away_when_the_title_changed(self) -> None:
        """X5: a client that sends titles is told none."""
        self.ann.cut()
        self.world.advance(11)
        self.bob.send("URL_CHANGE", url=OTHER_TITLE)
        self.assertEqual(self.world.join("ann").types(), ["ROOM_STATE"])

    def test_guest_that_joins_while_the_host_is_gone(self) -> None:
        """Its controls would count, but it does not know that."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.cut()
        self.world.advance(11)
        self.assertEqual(self.world.join("dan").types(), ["ROOM_STATE", "URL_CHANGE"])

    def test_no_controller_is_resynced(self) -> None:
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.ann.send("URL_CHANGE", url=TITLE)
        self.assertEqual(self.world.join("dan").types(), ["ROOM_STATE"])
        self.assertEqual([m["type"] for m in self.ann.send("JOIN", userId="ann", roomId="room")][-1:], ["ROOM_STATE"])
        self.playing()
        self.assertEqual(self.the(self.bob.send("REQUEST_SYNC"), "SYNC_RESPONSE")["url"], "")


class SyncTest(FilmTestCase):
    def test_guest(self) -> None:
        """B23: the answer was not extrapolated, and had no addressee."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.playing(100)
        self.world.advance(2)
        answer = self.the(self.bob.send("REQUEST_SYNC", respectAutoPlay=False), "SYNC_RESPONSE")
        self.assertHas(answer, to="bob", fromUserId="server", isPlaying=True, url=TITLE, seq=5)
        self.assertAlmostEqual(answer["currentTime"], 102, 3)
        self.assertEqual(self.cid.told("SYNC_RESPONSE"), [])

    def test_host_gets_none(self) -> None:
        """B23, X5: on an episode change the host was sent back to the old title, for ever."""
        self.ann.send("URL_CHANGE", url=TITLE)
        self.playing()
        self.assertEqual(self.ann.send("REQUEST_SYNC"), [])
        self.assertHas(self.ann.send("REQUEST_SYNC", id=3)[0], type="ACK", id=3)

    def test_nothing_known(self) -> None:
        """B23: a fresh room answered 0 and paused, and players went there."""
        self.assertEqual(self.bob.send("REQUEST_SYNC"), [])

    def test_of_the_control_before_it(self) -> None:
        self.ann.say("TOGGLE_GUEST_CONTROL", enabled=True)
        self.world.settle()
        self.bob.say("PLAY_PAUSE", control="pause", currentTime=77)
        answer = self.the(self.bob.send("REQUEST_SYNC"), "SYNC_RESPONSE")
        self.assertHas(answer, currentTime=77, isPlaying=False)


class GateTest(FilmTestCase):
    def seek(self, position: float = 500.0, playing: bool = True) -> None:
        self.playing()
        self.watch(self.ann, self.bob)
        self.ann.say("SEEK", currentTime=position, isPlaying=playing, eventTimestamp=1)
        for client in (self.ann, self.bob, self.cid):
            told = self.the(client.told(), "SEEK_PAUSE")
            self.assertHas(told, userId="server", by="ann", currentTime=position)

    def test_opens_within_a_turn_of_the_last_ready(self) -> None:
        """B15: it waited for the one who seeked, so that two people always waited 7 s."""
        self.seek()
        self.assertEqual(self.bob.send("READY", targetTime=500), [])
        self.world.advance(0.5)
        self.assertEqual(self.bob.told(), [])
        told = self.ann.send("READY", targetTime=500)
        self.assertHas(told[0], type="PLAY_PAUSE", userId="server", control="play", currentTime=500)
        self.assertEqual(told, self.bob.told())
        self.assertEqual(told, self.cid.told())

    def test_alone(self) -> None:
        """B15: one alone waited 7 s too."""
        [dan] = self.world.party("dan", room="second")
        dan.send("POSITION_UPDATE", currentTime=1, isPlaying=True)
        self.assertEqual([m["type"] for m in dan.send("SEEK", currentTime=9, isPlaying=True)][-1:], ["SEEK_PAUSE"])
        self.assertEqual([m["type"] for m in dan.send("READY", targetTime=9)], ["PLAY_PAUSE"])

    def test_no_member_watches(self) -> None:
        self.playing()
        self.world.advance(10)
        told = self.ann.send("SEEK", currentTime=9, isPlaying=True)
        self.assertEqual([m["type"] for m in told if m["type"] != "HOST_HEARTBEAT"], ["SEEK_PAUSE", "PLAY_PAUSE"])

    def test_those_on_another_page_are_not_awaited(self) -> None:
        """B15: members on the browse page were waited for."""
        self.seek()
        state = self.the(self.cid.send("JOIN", userId="cid", roomId="room"), "ROOM_STATE")
        self.assertEqual(state["gate"], {"currentTime": 500, "waitingFor": ["ann", "bob"]})

    def test_deadline(self) -> None:
        self.seek()
        self.world.advance(6.9)
        self.assertEqual(self.bob.told(), [])
        self.world.advance(0.2)
        self.assertHas(self.bob.told()[0], type="PLAY_PAUSE", control="play", currentTime=500)

    def test_quorum(self) -> None:
        self.playing()
        self.watch(self.ann, self.bob, self.cid)
        self.ann.send("SEEK", currentTime=500, isPlaying=True)
        self.ann.send("READY", targetTime=500)
        self.bob.send("READY", targetTime=500)
        self.quiet()
        self.world.advance(1.9)
        self.assertEqual(self.cid.told(), [])
        self.world.advance(0.2)
        self.assertEqual(self.cid.types(), ["PLAY_PAUSE"])

    def test_ready_for_something_else(self) -> None:
        """B15: READYs of earlier seeks counted."""
        self.seek()
        self.ann.send("READY", targetTime=500)
        self.bob.send("READY", targetTime=100)
        self.assertEqual(self.bob.told(), [])
        self.bob.send("READY", targetTime=500.0004)
        self.assertEqual(self.ann.types(), ["PLAY_PAUSE"])

    def test_leaver_is_not_awaited(self) -> None:
        """B15."""
        self.seek()
        self.ann.send("READY", targetTime=500)
        self.bob.send("LEAVE")
        self.assertEqual(self.ann.types(), ["LEAVE", "USER_LEFT", "PLAY_PAUSE"])

    def test_lost_one_is_not_awaited(self) -> None:
        self.seek()
        self.ann.send("READY", targetTime=500)
        self.bob.cut()
        self.assertEqual(self.ann.types(), ["PLAY_PAUSE"])

    def test_pause_cancels(self) -> None:
        """B16: a member that paused within 7 s of a seek was overruled by the server."""
        self.seek()
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=500)
        self.assertEqual(self.bob.types(), ["PLAY_PAUSE"])
        self.world.advance(10)
        self.assertEqual(self.bob.told(), [])

    def test_new_title_cancels(self) -> None:
        """B16."""
        self.seek()
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.bob.told()
        self.world.advance(10)
        self.assertEqual(self.bob.told(), [])

    def test_dead_room_stays_dead(self) -> None:
        """B17: the gate's timer brought half a room back that no member could control."""
        self.seek()
        for client in (self.bob, self.cid, self.ann):
            client.send("LEAVE")
        self.world.advance(10)
        self.assertEqual(self.world.store.codes(), [])
        self.assertHas(self.the(self.world.join("dan").told(), "ROOM_STATE"), hostUserId="dan", seq=1)

    def test_positions_do_not_count_meanwhile(self) -> None:
        """B16: a heartbeat during the gate broke it."""
        self.seek()
        self.world.advance(3)
        self.ann.send("POSITION_UPDATE", currentTime=101, isPlaying=True)
        self.ann.send("HOST_HEARTBEAT", currentTime=101, isPlaying=True)
        self.world.advance(2)
        self.assertEqual(self.position(), 500)
        self.assertEqual(self.bob.told(), [])

    def test_seek_while_paused_stays_paused(self) -> None:
        self.ann.say("PLAY_PAUSE", control="pause", currentTime=10)
        self.watch(self.ann, self.bob, position=10, playing=False)
        self.ann.send("SEEK", currentTime=50, isPlaying=False)
        self.bob.told()
        self.ann.send("READY", targetTime=50)
        self.bob.send("READY", targetTime=50)
        self.world.advance(10)
        self.assertEqual(self.bob.told(), [])

    def test_those_who_waited_long_still_watch(self) -> None:
        """Players are silent while a gate holds them; the next seek has to wait for them all the same."""
        self.ann.say("PLAY_PAUSE", control="pause", currentTime=10)
        self.watch(self.ann, self.bob, position=10, playing=False)
        self.ann.send("SEEK", currentTime=50, isPlaying=False)
        self.world.advance(7.6)
        room = self.world.room()
        assert room is not None
        self.assertIsNone(room.gate)
        self.assertTrue(room.members["ann"].watching and room.members["bob"].watching)

    def test_late_ready(self) -> None:
        """It is resynced, and no other member hears of it."""
        self.seek()
        self.ann.send("READY", targetTime=500)
        self.world.advance(7.1)
        self.quiet()
        self.world.advance(1)
        told = self.bob.send("READY", targetTime=500)
        self.assertEqual([m["type"] for m in told], ["PLAY_PAUSE"])
        self.assertHas(told[0], userId="server", control="play", seq=None)
        self.assertAlmostEqual(told[0]["currentTime"], 501, 0)
        self.assertEqual(self.cid.told(), [])

    def test_second_seek(self) -> None:
        self.seek()
        self.ann.send("SEEK", currentTime=600, isPlaying=False)
        self.quiet()
        self.ann.send("READY", targetTime=600)
        told = self.bob.send("READY", targetTime=600)
        self.assertHas(told[0], type="PLAY_PAUSE", control="play", currentTime=600)


class PositionsTest(FilmTestCase):
    def test_heartbeats(self) -> None:
        """The extension's own heartbeat is stopped half a second after it began: guests are told by the server."""
        self.playing(100)
        for _ in range(24):
            self.cid.say("POSITION_UPDATE", currentTime=self.position(), isPlaying=True)
            self.world.advance(0.5)
        for client in (self.bob, self.cid):
            beats = client.told()
            self.assertEqual([m["type"] for m in beats], ["HOST_HEARTBEAT"] * 4)
            for beat in beats:
                self.assertHas(beat, userId="server", isPlaying=True)
                self.assertAlmostEqual(beat["currentTime"], 97.5 + beat["timestamp"] / 1000 - EPOCH, 3)
            times = [m["timestamp"] for m in beats]
            self.assertTrue(all(3000 <= b - a <= 3300 for a, b in zip(times, times[1:], strict=False)), times)
        self.assertEqual(self.ann.told(), [])

    def test_none_while_paused(self) -> None:
        self.playing()
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=100)
        self.quiet()
        self.world.advance(20)
        self.assertEqual(self.bob.told(), [])

    def test_none_right_after_a_control(self) -> None:
        self.playing()
        self.ann.send("PLAY_PAUSE", control="play", currentTime=100)
        self.quiet()
        self.world.advance(2.9)
        self.assertEqual(self.bob.told(), [])

    def test_host_drift_is_followed_silently(self) -> None:
        self.playing(100)
        count = len(self.world.server.journal)
        self.ann.send("POSITION_UPDATE", currentTime=99.8, isPlaying=True)
        self.assertAlmostEqual(self.position(), 100, 3)
        self.move(self.ann, 100.2)
        self.assertAlmostEqual(self.position(), 100.2, 3)
        self.assertEqual((self.ann.told(), self.bob.told("PLAY_PAUSE")), ([], []))
        for _, commit in self.world.server.journal[count:]:
            self.assertEqual(commit.event, "", "the archive has no row of it")
        self.world.advance(3.3)
        for beat in self.bob.told():
            self.assertAlmostEqual(beat["currentTime"], 99.7 + beat["timestamp"] / 1000 - EPOCH - 2.5, 3)

    def test_host_heartbeat_means_the_same(self) -> None:
        self.playing(100)
        self.move(self.ann, 50, kind="HOST_HEARTBEAT")
        self.assertAlmostEqual(self.position(), 50, 3)

    def test_play_state_of_the_host(self) -> None:
        """X21: an unseen act of the host is told after 1.5 s, as a heartbeat would not."""
        self.playing(100)
        for _ in range(3):
            self.ann.send("POSITION_UPDATE", currentTime=100, isPlaying=False)
            self.world.advance(0.45)
        self.assertEqual(self.bob.told("PLAY_PAUSE"), [])
        self.world.advance(0.2)
        self.ann.send("POSITION_UPDATE", currentTime=100, isPlaying=False)
        self.assertHas(self.bob.told("PLAY_PAUSE")[0], userId="ann", control="pause", currentTime=100)

    def test_play_state_that_returns(self) -> None:
        """A short stop to buffer is not reported."""
        self.playing(100)
        for playing in (False, False, True, False, False):
            self.ann.send("POSITION_UPDATE", currentTime=self.position(), isPlaying=playing)
            self.world.advance(0.5)
        self.assertEqual(self.bob.told("PLAY_PAUSE"), [])

    def test_ignored_after_a_control(self) -> None:
        """They may be older than it."""
        self.ann.send("PLAY_PAUSE", control="play", currentTime=100)
        self.world.advance(1.9)
        self.ann.send("POSITION_UPDATE", currentTime=50, isPlaying=True)
        self.assertAlmostEqual(self.position(), 101.9, 3)
        self.world.advance(0.2)
        self.move(self.ann, 50)
        self.assertAlmostEqual(self.position(), 50, 3)

    def test_guests_positions_move_nothing(self) -> None:
        """B4: any member's heartbeat moved the room."""
        self.playing(100)
        for kind in ("POSITION_UPDATE", "HOST_HEARTBEAT"):
            for _ in range(10):
                self.bob.send(kind, currentTime=5, isPlaying=False)
                self.world.advance(0.5)
        self.assertAlmostEqual(self.position(), 110, 3)
        self.assertEqual(self.cid.told("PLAY_PAUSE"), [])

    def test_position_zero_counts(self) -> None:
        """B18: a dead check ignored it."""
        self.playing(100)
        self.ann.send("POSITION_UPDATE", currentTime=0, isPlaying=True)
        self.world.advance(0.5)
        self.ann.send("POSITION_UPDATE", currentTime=0.5, isPlaying=True)
        self.assertAlmostEqual(self.position(), 0.5, 3)

    def test_they_cost_no_commit(self) -> None:
        """B19: each one was some reads and writes of the databases."""
        self.playing(100)
        before = len(self.world.server.journal)
        self.watch(self.ann, self.bob, self.cid)
        self.world.advance(0.25)
        count = len(self.world.server.journal)
        self.assertEqual(count - before, 1, "one for all who began together")
        for _ in range(100):
            self.world.advance(0.5)
            for client in (self.ann, self.bob, self.cid):
                client.say("POSITION_UPDATE", currentTime=self.position(), isPlaying=True)
            self.world.settle()
        self.assertEqual(len(self.world.server.journal), count)

    def test_host_who_already_watches(self) -> None:
        """A party that is started in the middle of a film."""
        self.move(self.ann, 1000)
        self.assertAlmostEqual(self.position(), 1000, 3)
        self.assertHas(self.the(self.bob.told(), "PLAY_PAUSE"), userId="ann", control="play", currentTime=1000)

    def test_joiner_is_brought_in_step(self) -> None:
        self.playing(100)
        told = self.world.join("dan").told()
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "PLAY_PAUSE"])
        self.assertHas(told[1], userId="server", control="play")
        self.assertAlmostEqual(told[1]["currentTime"], 100, 3)

    def report(
        self, client: Client, position: float | None, playing: bool, seconds: float = 4.0
    ) -> list[dict[str, Any]]:
        """Return the messages to a client that sends its position twice a second (None: where the room is), but no heartbeats."""
        told = []
        for _ in range(int(seconds * 2)):
            client.say(
                "POSITION_UPDATE", currentTime=self.position() if position is None else position, isPlaying=playing
            )
            self.world.advance(0.5)
            told += [message for message in client.told() if message["type"] != "HOST_HEARTBEAT"]
        return told

    def test_guest_that_plays_in_a_paused_room(self) -> None:
        """Then no heartbeats are sent, and nothing else would ever stop it."""
        self.playing(100)
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=100)
        self.world.advance(3)
        self.quiet()
        told = self.report(self.bob, 100.3, True)
        self.assertEqual(len(told), 1)
        self.assertHas(told[0], type="PLAY_PAUSE", userId="server", control="pause", currentTime=100)
        self.assertNotIn("seq", told[0])
        self.assertEqual((self.ann.told(), self.cid.told()), ([], []))

    def test_guest_that_is_paused_in_a_playing_room(self) -> None:
        """X21: a heartbeat does not repair a wrong play state."""
        self.playing(100)
        told = self.report(self.bob, None, False)
        self.assertEqual(len(told), 1)
        self.assertHas(told[0], type="PLAY_PAUSE", userId="server", control="play")

    def test_guest_elsewhere_in_a_paused_room(self) -> None:
        self.playing(100)
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=100)
        self.world.advance(3)
        self.quiet()
        self.report(self.bob, None, False, 1)
        for _ in range(8):
            self.bob.say("POSITION_UPDATE", currentTime=50, isPlaying=False)
            self.world.advance(0.5)
        # An old client would not take a position of 0 from PLAY_PAUSE.
        [told] = self.bob.told()
        self.assertHas(told, type="HOST_HEARTBEAT", userId="server", isPlaying=False, currentTime=100)
        self.assertEqual(self.report(self.cid, 100.4, False), [])

    def test_guest_in_step_is_left_alone(self) -> None:
        self.playing(100)
        self.assertEqual(self.report(self.bob, None, True, 30), [])

    def test_guest_that_cannot_be_steered(self) -> None:
        """Corrections come after 3, 6, 12, 24, 48, 78 s ... until another control."""
        self.playing(100)
        self.assertEqual(len(self.report(self.bob, None, False, 100)), 6)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=100)
        self.assertEqual(len(self.report(self.bob, None, False, 100)), 7)

    def test_guest_just_after_a_control(self) -> None:
        self.playing(100)
        self.report(self.bob, None, True, 5)
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=100)
        self.bob.told()
        self.assertEqual(self.report(self.bob, 100.3, True, 4.5), [])

    def test_positions_before_anything_is_known(self) -> None:
        self.refused(self.world.connect().send("POSITION_UPDATE", currentTime=1, isPlaying=True), "not_joined")


class IdsTest(FilmTestCase):
    def join(self, nonce: str = "n") -> None:
        self.ann.send("JOIN", userId="ann", roomId="room", nonce=nonce)
        self.quiet()

    def test_ack(self) -> None:
        self.join()
        told = self.ann.send("PLAY_PAUSE", control="play", currentTime=1, id=1)
        self.assertEqual([m["type"] for m in told], ["PLAY_PAUSE", "ACK"])
        self.assertHas(told[1], id=1, seq=told[0]["seq"])

    def test_error(self) -> None:
        self.assertHas(self.refused(self.bob.send("SEEK", currentTime=1, id=5), "forbidden"), id=5)
        self.assertHas(self.refused(self.bob.send("SEEK", currentTime=-1, id=6), "bad_message"), id=6)
        self.assertHas(self.refused(self.bob.send("NOPE", id=7), "unknown_type"), id=7)

    def test_repetition_is_acknowledged_not_applied(self) -> None:
        self.join()
        seq = self.ann.send("CHAT", text="once", id=1)[-1]["seq"]
        self.quiet()
        self.assertEqual(self.ann.send("CHAT", text="once", id=1), [{"type": "ACK", "id": 1, "seq": seq}])
        self.assertEqual(self.bob.told(), [])

    def test_repetition_after_a_lost_connection(self) -> None:
        """The client cannot know whether its last command arrived."""
        state = self.the(self.ann.send("JOIN", userId="ann", roomId="room", nonce="n", keepsToken=True), "ROOM_STATE")
        seq = self.ann.send("CHAT", text="once", id=1)[-1]["seq"]
        self.ann.cut()
        self.quiet()
        again = self.world.join(
            "ann", peer="9.9.9.9", nonce="n", token=state["token"], resume={"epoch": state["epoch"], "seq": seq}
        )
        again.told()
        self.assertEqual(again.send("CHAT", text="once", id=1), [{"type": "ACK", "id": 1, "seq": seq}])
        self.assertEqual(self.bob.told(), [])

    def test_other_run_of_the_client(self) -> None:
        self.join("first")
        self.ann.send("CHAT", text="a", id=1)
        self.join("second")
        self.assertEqual([m["type"] for m in self.ann.send("CHAT", text="b", id=1)], ["CHAT", "ACK"])

    def test_repetition_within_a_batch(self) -> None:
        self.join()
        self.ann.say("CHAT", text="once", id=1)
        self.ann.say("CHAT", text="once", id=1)
        told = self.ann.told()
        self.assertEqual(sorted(m["type"] for m in told), ["ACK", "ACK", "CHAT"])


class SlowStoreTest(FilmTestCase):
    """The store takes its time, as one elsewhere does."""

    options = {"make_store": HeldStore}

    def test_order_and_batches(self) -> None:
        store: Any = self.world.store
        store.holding = True
        store.batches.clear()
        for i in range(10):
            self.ann.say("PLAY_PAUSE", control="play" if i % 2 else "pause", currentTime=i)
        self.assertEqual(self.bob.told(), [], "an uncertain change is sent to no member")
        store.release()
        for client in (self.ann, self.bob):
            told = client.told()
            self.assertEqual([m["currentTime"] for m in told], list(range(10)))
            self.assertEqual([m["seq"] for m in told], list(range(4, 14)))
            self.assertEqual([m["prev"] for m in told], list(range(3, 13)))
        self.assertEqual(store.batches, [1, 9], "what waits is committed together")

    def test_conflict_is_decided_again(self) -> None:
        self.world.store.results.append(Conflict(None))
        told = self.ann.send("PLAY_PAUSE", control="play", currentTime=1, id=1)
        self.assertEqual([m["type"] for m in told], ["PLAY_PAUSE", "ACK"])
        self.assertEqual(self.bob.types(), ["PLAY_PAUSE"])

    def test_unavailable(self) -> None:
        self.world.store.results.append(Unavailable(1.5))
        error = self.refused(self.ann.send("PLAY_PAUSE", control="play", currentTime=1, id=1), "unavailable")
        self.assertHas(error, id=1, retryAfterMs=1500)
        self.assertEqual(self.bob.told(), [])
        self.assertEqual([m["type"] for m in self.ann.send("PLAY_PAUSE", control="play", id=1)], ["PLAY_PAUSE", "ACK"])

    def test_sync_waits_for_its_turn(self) -> None:
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.quiet()
        self.world.store.holding = True
        self.bob.say("PLAY_PAUSE", control="pause", currentTime=42)
        self.bob.say("REQUEST_SYNC")
        self.assertEqual(self.bob.told(), [])
        self.world.store.release()
        told = self.bob.told()
        self.assertEqual([m["type"] for m in told], ["PLAY_PAUSE", "SYNC_RESPONSE"])
        self.assertEqual(told[1]["currentTime"], 42)

    def test_timers_do_not_pile_up(self) -> None:
        """Work that falls due during a commit is done after it, once."""
        self.playing()
        self.watch(self.ann, self.bob)
        self.ann.send("SEEK", currentTime=500, isPlaying=True)
        self.quiet()
        self.world.store.holding = True
        self.ann.say("CHAT", text="x")
        self.world.advance(20)
        self.world.store.release()
        self.world.advance(1)
        self.assertEqual(self.bob.types(), ["CHAT", "PLAY_PAUSE"])
        self.assertLess(len(self.world.store.batches), 20)

    def test_gate_opens_although_the_store_was_away(self) -> None:
        self.playing()
        self.watch(self.ann, self.bob)
        self.ann.send("SEEK", currentTime=500, isPlaying=True)
        self.quiet()
        self.world.store.results.extend([Unavailable(1.0)] * 3)
        self.world.advance(10)
        self.assertEqual(self.bob.told("PLAY_PAUSE")[0]["control"], "play")


class FiguresTest(FilmTestCase):
    """Metrics of players that are out of sync."""

    def setUp(self) -> None:
        super().setUp()
        self.metrics = self.world.server.metrics
        self.positions = self.world.server.rooms.positions

    def corrections(self) -> tuple[float, float]:
        """Return how often the room followed its host, and over how many seconds in all."""
        samples = {sample.name: sample.value for sample in self.metrics.rooms.host_drift.collect().samples}
        prefix = "tandemd_host_drift_seconds"
        return samples.get(f"{prefix}_count", 0.0), round(samples.get(f"{prefix}_sum", 0.0), 6)

    def test_host_drift(self) -> None:
        self.playing()
        self.watch(self.ann, position=100.2)
        self.assertEqual(self.corrections(), (0.0, 0.0))
        self.move(self.ann, 100)
        self.assertEqual(self.corrections(), (1.0, 0.5))

    def test_guests_adrift(self) -> None:
        self.playing()
        self.watch(self.ann, self.bob)
        self.watch(self.cid, position=101.9)
        self.assertEqual(self.positions.out_of_sync_count(), 0)
        self.watch(self.cid, position=97.9)
        self.assertEqual(self.positions.out_of_sync_count(), 1)
        # No player is at the target of a control before it was sent.
        self.ann.say("SEEK", currentTime=500, isPlaying=True)
        self.quiet()
        self.assertEqual(self.positions.out_of_sync_count(), 0)

    def test_who_does_not_watch_any_more_is_not_adrift(self) -> None:
        self.playing()
        self.watch(self.cid, position=50)
        self.assertEqual(self.positions.out_of_sync_count(), 1)
        self.world.advance(6)
        self.assertEqual(self.positions.out_of_sync_count(), 0)

    def test_guests_steered(self) -> None:
        self.playing()
        for _ in range(5):
            self.watch(self.bob, position=100, playing=False)
            self.watch(self.cid, position=100)
            self.world.advance(1)
        self.assertEqual(self.metrics.rooms.guest_resyncs.value, 1)
