"""Players that stall, lie, are slow, or still show the title before, as the members of the room see it."""

from __future__ import annotations

from typing import Any

from ..support.fake_node import EPOCH, OTHER_TITLE, TITLE, Client, ServiceTestCase

FILM = ("HOST_HEARTBEAT", "PLAY_PAUSE", "SEEK_PAUSE")


class AuthorityTestCase(ServiceTestCase):
    """Has a party of three: ann is the host. The title plays at 100 s."""

    host_fields: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.join("ann", **self.host_fields)
        self.bob, self.cid = self.world.join("bob"), self.world.join("cid")
        self.ann.send("URL_CHANGE", url=TITLE)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=97.5)
        self.world.advance(2.5)
        self.forget()

    def forget(self) -> None:
        for client in (self.ann, self.bob, self.cid):
            client.told()

    @property
    def film(self) -> Any:
        room = self.world.room()
        assert room is not None
        return room.playback

    @property
    def position(self) -> float:
        position: float = self.film.position_at(self.world.now)
        return position

    def report(self, client: Client, position: float, playing: bool = True, **fields: Any) -> None:
        client.say("POSITION_UPDATE", currentTime=max(0.0, position), isPlaying=playing, **fields)
        self.world.settle()

    def let_play(self, *players: Any, seconds: float) -> list[tuple[float, dict[str, Any]]]:
        """Let clients report twice a second; each of `players` is (client, function from elapsed seconds to a report).

        Returns the messages about the film that bob receives, with the elapsed seconds.
        """
        told, began = [], self.world.now
        for _ in range(int(seconds * 2)):
            for client, position in players:
                found = position(self.world.now - began)
                if found is not None:
                    self.report(client, *found)
            self.world.advance(0.5)
            told += [(self.world.now - began, message) for message in self.bob.told(*FILM)]
        return told

    def in_step(self, elapsed: float) -> tuple[float, bool]:
        return self.position, self.film.playing


class StalledHostTest(AuthorityTestCase):
    def stall(self, begin: float, end: float) -> Any:
        """A player that plays from 100 s on, and stalls between two times."""
        return lambda t: (100 + min(t, begin) + max(0.0, t - end), True)

    def test_the_others_stand_still_with_their_host(self) -> None:
        """F1: they saw the same three seconds again and again."""
        told = self.let_play((self.ann, self.stall(6, 22)), (self.bob, self.in_step), seconds=21)
        pauses = [(at, m) for at, m in told if m["type"] == "PLAY_PAUSE"]
        self.assertEqual(len(pauses), 1)
        at, pause = pauses[0]
        self.assertHas(pause, userId="server", control="pause", currentTime=106)
        self.assertTrue(7 <= at <= 8.5, at)
        self.assertEqual([m for when, m in told if when > at], [])
        self.assertEqual(len(self.cid.told("PLAY_PAUSE")), 1)

    def test_they_go_on_with_it(self) -> None:
        told = self.let_play((self.ann, self.stall(6, 12)), (self.bob, self.in_step), seconds=20)
        pause, play = (m for _, m in told if m["type"] == "PLAY_PAUSE")
        self.assertHas(play, userId="server", control="play")
        self.assertLessEqual(play["currentTime"] - pause["currentTime"], 1.0)
        self.assertAlmostEqual(self.position, 114, 0)

    def test_its_own_client_is_told_neither(self) -> None:
        """It would pause in earnest, and never go on."""
        self.let_play((self.ann, self.stall(6, 12)), seconds=20)
        self.assertEqual(self.ann.told(), [])

    def test_no_member_misses_a_message(self) -> None:
        self.let_play((self.ann, self.stall(2, 6)), seconds=10)
        self.forget()
        self.cid.send("CHAT", text="x")
        for client in (self.ann, self.bob):
            self.assertLessEqual(self.the(client.told(), "CHAT")["prev"], 5)

    def test_a_short_stall_sets_no_member_back_more_than_its_length(self) -> None:
        told = self.let_play((self.ann, self.stall(6, 7)), seconds=20)
        self.assertEqual([m for _, m in told if m["type"] == "PLAY_PAUSE"], [])
        self.assertAlmostEqual(self.position, 119, 0)

    def test_a_joiner_stands_with_the_others(self) -> None:
        self.let_play((self.ann, self.stall(2, 60)), seconds=8)
        told = self.world.join("dan").told()
        self.assertHas(self.the(told, "ROOM_STATE"), isPlaying=False, currentTime=102)

    def test_the_film_goes_on_without_a_host_that_is_gone(self) -> None:
        self.let_play((self.ann, self.stall(2, 60)), seconds=8)
        self.bob.told()
        self.ann.cut()
        self.assertHas(self.the(self.bob.told(), "PLAY_PAUSE"), userId="server", control="play", currentTime=102)

    def test_a_stalled_guest_costs_the_others_nothing(self) -> None:
        self.let_play((self.ann, lambda t: (100 + t, True)), (self.cid, lambda t: (101, True)), seconds=60)
        self.assertEqual(self.film.playing, True)
        self.assertAlmostEqual(self.position, 160, 0)
        self.assertEqual(self.bob.told("PLAY_PAUSE"), [])

    def test_nonsense_moves_nothing(self) -> None:
        spots = [7.0, 3000.0, 12.0, 500.0, 90.0, 0.0]
        self.let_play((self.ann, lambda t: (spots[int(t * 2) % 6], True)), (self.bob, self.in_step), seconds=10)
        self.assertAlmostEqual(self.position, 110, 1)


class LyingHostTest(AuthorityTestCase):
    """The player of the host says what no player does. The others see the film go on."""

    def tell(self, position: Any, seconds: float = 20.0) -> list[float]:
        """Return the positions that bob is told, as distances from the film that goes on."""
        told = self.let_play((self.ann, position), (self.bob, self.in_step), seconds=seconds)
        return [round(message["currentTime"] - 100 - at, 1) for at, message in told]

    def test_what_is_no_motion_moves_nothing(self) -> None:
        lies = {
            "backwards": lambda t: (100 - t, True),
            "slowly backwards": lambda t: (100 - t / 10, True),
            "more than double the rate": lambda t: (100 + 2.2 * t, True),
            "paused, and moves": lambda t: (100 + t, False),
            "plays and pauses in turn": lambda t: (100 + t, int(t * 2) % 2 == 0),
            "another place each time": lambda t: (1000 * (int(t * 2) % 3) + t, True),
            "two pages, one at its beginning": lambda t: (100 + t if int(t * 2) % 2 else 0.5, bool(int(t * 2) % 2)),
            "two pages that play": lambda t: (t + (100 if int(t * 2) % 2 else 5000), True),
        }
        for name, position in lies.items():
            self.assertEqual(set(self.tell(position)), {0.0}, name)
            self.assertTrue(self.film.playing, name)
            self.setUp()

    def test_two_titles_in_turn(self) -> None:
        def report(t: float) -> None:
            old = int(t * 2) % 2
            self.report(self.ann, t + (5000 if old else 100), url=OTHER_TITLE if old else TITLE)

        self.assertEqual(set(self.tell(report)), {0.0})

    def test_a_position_beyond_its_own_duration(self) -> None:
        def report(t: float) -> None:
            self.report(self.ann, 1e9 + t if t else 100, duration=120.0)

        self.assertEqual(set(self.tell(report)), {0.0})

    def test_two_places_in_turn_do_not_loop(self) -> None:
        for turn in (1.0, 2.0):
            told = self.tell(lambda t, turn=turn: (t + (100 if int(t / turn) % 2 else 900), True), 40.0)
            moves = [b for a, b in zip(told, told[1:], strict=False) if abs(a - b) > 1]
            self.assertLessEqual(len(moves), 2, told)
            self.setUp()

    def test_a_rate_that_it_does_not_say(self) -> None:
        """Up to double the rate it is motion: the room goes with the host."""
        told = self.let_play((self.ann, lambda t: (100 + 1.5 * t, True)), (self.bob, self.in_step), seconds=20)
        positions = [message["currentTime"] for _, message in told]
        self.assertEqual(positions, sorted(positions))
        self.assertAlmostEqual(self.position, 129.5, 0)


class StallAndMoreTest(AuthorityTestCase):
    """Something happens while the host stalls at 102 s."""

    def setUp(self) -> None:
        super().setUp()
        self.ann.send("TOGGLE_GUEST_CONTROL", enabled=True)
        self.let_play((self.ann, lambda t: (100 + min(t, 2), True)), (self.bob, self.in_step), seconds=6)
        self.assertTrue(self.film.held)
        self.forget()

    def stalled(self, elapsed: float) -> tuple[float, bool]:
        return 102, True

    def play_on(self, seconds: float = 8.0) -> list[tuple[str, str | None]]:
        told = self.let_play(
            (self.ann, self.stalled), (self.bob, self.in_step), (self.cid, self.in_step), seconds=seconds
        )
        return [(m["type"], m.get("control")) for _, m in told if m["type"] != "HOST_HEARTBEAT"]

    def test_a_takeover(self) -> None:
        self.ann.send("TRANSFER_HOST", targetUserId="bob")
        self.assertEqual(self.play_on(), [("PLAY_PAUSE", "play")])
        self.assertAlmostEqual(self.position, 110, 0)

    def test_a_pause_of_the_host(self) -> None:
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=102)
        self.assertEqual(self.play_on(), [("PLAY_PAUSE", "pause")])
        self.assertEqual((self.position, self.film.playing, self.film.held), (102, False, False))

    def test_a_pause_of_a_guest(self) -> None:
        self.bob.send("PLAY_PAUSE", control="pause", currentTime=102)
        self.assertHas(self.the(self.ann.told(*FILM), "PLAY_PAUSE"), control="pause")
        self.let_play((self.ann, lambda t: (102, False)), (self.bob, self.in_step), seconds=8)
        self.assertEqual((self.position, self.film.playing, self.film.held), (102, False, False))

    def test_a_guest_that_plays_on_without_the_host(self) -> None:
        self.bob.send("PLAY_PAUSE", control="play", currentTime=102)
        self.bob.told()
        self.assertEqual(self.play_on(), [])
        self.assertAlmostEqual(self.position, 110, 0)

    def test_a_new_title(self) -> None:
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.play_on(4)
        self.let_play((self.ann, lambda t: (1 + t, True)), (self.bob, self.in_step), seconds=6)
        self.assertEqual(self.film.playing, True)
        self.assertAlmostEqual(self.position, 7, 0)

    def test_the_page_of_the_host_is_loaded_again(self) -> None:
        self.ann.send("JOIN", userId="ann", roomId="room", username=None)
        told = self.let_play(
            (self.ann, lambda t: (102 + t, True) if t > 4 else None), (self.bob, self.in_step), seconds=12
        )
        self.assertEqual([m["control"] for _, m in told if m["type"] == "PLAY_PAUSE"], ["play"])
        self.assertAlmostEqual(self.position, 114, 0)

    def test_silence(self) -> None:
        told = self.let_play((self.bob, self.in_step), (self.cid, self.in_step), seconds=20)
        self.assertEqual([m["control"] for _, m in told if m["type"] == "PLAY_PAUSE"], ["play"])
        self.assertTrue(self.film.playing)

    def test_a_gate(self) -> None:
        self.ann.send("SEEK", currentTime=500, isPlaying=True)
        for client in (self.bob, self.cid):
            client.send("READY", targetTime=500)
        self.let_play((self.ann, lambda t: (500, True)), seconds=12)
        self.assertEqual((self.position, self.film.held), (500, True), "the host stalls there, too")
        told = self.let_play((self.ann, lambda t: (500 + t, True)), (self.bob, self.in_step), seconds=6)
        self.assertEqual([m["control"] for _, m in told if m["type"] == "PLAY_PAUSE"], ["play"])
        self.assertAlmostEqual(self.position, 506, 0)


class VanishedHostTest(AuthorityTestCase):
    """The player of the host jumps to a place where it does not move, and says that it plays: a page loaded again, an ad."""

    def stall(self, begin: float, end: float, spot: float = 0.0) -> Any:
        """A player that plays from 100 s on, stands at `spot` between two times, and plays on from there."""
        return lambda t: (100 + t if t < begin else spot + max(0.0, t - end), True)

    def at(self, begin: float, end: float, spot: float = 0.0) -> Any:
        """The same of a client that reports its 0 as well, and goes where HOST_HEARTBEAT says."""
        told_at: list[tuple[float, float]] = []

        def report(t: float) -> tuple[float, bool]:
            for message in self.ann.told("HOST_HEARTBEAT"):
                told_at.append((t, float(message["currentTime"])))
            if told_at:
                return told_at[-1][1] + t - told_at[-1][0], True
            return self.stall(begin, end, spot)(t)  # type: ignore[no-any-return]

        return report

    def test_the_others_stand_still_with_their_host(self) -> None:
        for spot in (0.0, 20.0, 3000.0):
            told = self.let_play((self.ann, self.stall(6, 60, spot)), (self.bob, self.in_step), seconds=20)
            ((at, pause),) = [(at, m) for at, m in told if m["type"] == "PLAY_PAUSE"]
            self.assertHas(pause, userId="server", control="pause")
            self.assertAlmostEqual(pause["currentTime"], 100 + at, 0, "where the room stands")
            self.assertEqual([m for when, m in told if when > at], [])
            self.setUp()

    def test_they_go_on_with_it(self) -> None:
        told = self.let_play((self.ann, self.at(6, 12)), (self.bob, self.in_step), seconds=24)
        pause, play = (m for _, m in told if m["type"] == "PLAY_PAUSE")
        self.assertHas(play, userId="server", control="play", currentTime=pause["currentTime"])
        self.assertEqual([m for _, m in told if m["currentTime"] < 100], [])
        self.assertAlmostEqual(self.position, play["currentTime"] + 11.5, 0)

    def test_its_own_client_is_told_neither(self) -> None:
        self.let_play((self.ann, self.stall(6, 12)), seconds=12)
        self.assertEqual(self.ann.told(), [])
        self.let_play((self.ann, self.stall(0, 0)), seconds=4)
        self.assertEqual(set(self.ann.types()), {"HOST_HEARTBEAT"}, "it is brought in step")

    def test_it_is_followed_again_when_it_has_been_in_step(self) -> None:
        self.let_play((self.ann, self.at(6, 12)), seconds=24)
        self.let_play((self.ann, self.in_step), seconds=2)
        self.let_play((self.ann, lambda t: (60 + t, True)), seconds=2)
        self.assertAlmostEqual(self.position, 62, 0)

    def test_one_that_is_silent_at_its_beginning(self) -> None:
        """As the extension is: it reports no 0. The film goes on for the others, and the player is brought back."""
        told = self.let_play(
            (self.ann, lambda t: (100 + t, True) if t < 4 else (t - 8, True) if t > 8 else None), (self.bob, self.in_step),
            seconds=14,
        )  # fmt: skip
        self.assertEqual({m["type"] for _, m in told}, {"HOST_HEARTBEAT"})
        self.assertEqual(self.film.playing, True)
        self.assertAlmostEqual(self.position, 114, 0)
        self.assertTrue(self.ann.told("HOST_HEARTBEAT"))

    def test_one_that_shows_its_beginning_paused_pauses_the_room_where_it_is(self) -> None:
        self.let_play((self.ann, self.stall(6, 60)), seconds=12)
        stood = self.position
        self.let_play((self.ann, lambda t: (0.0, False)), seconds=2)
        self.assertEqual((self.position, self.film.playing, self.film.held), (stood, False, False))

    def test_a_joiner_stands_with_the_others(self) -> None:
        self.let_play((self.ann, self.stall(2, 60)), seconds=8)
        state = self.the(self.world.join("dan").told(), "ROOM_STATE")
        self.assertHas(state, isPlaying=False)
        self.assertAlmostEqual(state["currentTime"], 104, 0)

    def test_the_film_goes_on_without_a_host_that_is_gone(self) -> None:
        self.let_play((self.ann, self.stall(2, 60)), seconds=8)
        stood = self.position
        self.ann.cut()
        self.assertHas(self.the(self.bob.told(), "PLAY_PAUSE"), userId="server", control="play", currentTime=stood)


class FollowingHostTest(AuthorityTestCase):
    """The host's client follows the room."""

    host_fields = {"follows": True}

    def test_its_player_moves_nothing(self) -> None:
        self.let_play((self.ann, lambda t: (100 + min(t, 3.0), True)), seconds=20)
        self.let_play((self.ann, lambda t: (50 + t, True)), seconds=10)
        self.let_play((self.ann, lambda t: (50, False)), seconds=10)
        self.assertAlmostEqual(self.position, 140, 1)
        self.assertEqual(self.bob.told("PLAY_PAUSE"), [])

    def test_it_is_corrected_as_any_member_is(self) -> None:
        self.let_play((self.ann, lambda t: (50 + t, True)), seconds=4)
        self.assertAlmostEqual(self.ann.told("HOST_HEARTBEAT")[0]["currentTime"], 103, -1)
        self.let_play((self.ann, lambda t: (self.position, False)), seconds=12)
        self.assertHas(self.ann.told("PLAY_PAUSE")[0], userId="server", control="play")

    def test_its_commands_move_the_room(self) -> None:
        self.ann.send("PLAY_PAUSE", control="pause", currentTime=500)
        self.assertEqual((self.position, self.film.playing), (500, False))


class NewHostTest(AuthorityTestCase):
    def test_it_is_not_followed_before_it_was_in_step(self) -> None:
        self.ann.send("LEAVE")
        told = self.let_play((self.bob, lambda t: (50 + t, True)), seconds=10)
        self.assertAlmostEqual(self.position, 110, 1)
        corrections = [m for _, m in told if m["type"] == "HOST_HEARTBEAT"]
        self.assertTrue(corrections and all(abs(m["currentTime"] - 105) < 6 for m in corrections))
        self.let_play((self.bob, self.in_step), seconds=2)
        self.let_play((self.bob, lambda t: (60 + t, True)), seconds=2)
        self.assertAlmostEqual(self.position, 62, 0)

    def test_its_control_makes_it_the_measure(self) -> None:
        self.ann.send("LEAVE")
        self.bob.send("PLAY_PAUSE", control="play", currentTime=50)
        self.let_play((self.bob, lambda t: (70 + t, True)), seconds=4)
        self.assertAlmostEqual(self.position, 74, 0)

    def test_a_host_whose_page_is_loaded_again(self) -> None:
        """Its player begins where it likes; the others do not go there."""
        self.let_play((self.ann, self.in_step), seconds=3)
        self.ann.send("JOIN", userId="ann", roomId="room", username=None)
        self.ann.told()
        self.let_play((self.ann, lambda t: (20 + t, True)), seconds=6)
        self.assertAlmostEqual(self.position, 109, 1)
        self.assertTrue(self.ann.told("HOST_HEARTBEAT"))


class NewTitleTest(AuthorityTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann.send("PLAY_PAUSE", control="play", currentTime=5000)
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.forget()

    def test_the_old_player_says_nothing_of_the_new_title(self) -> None:
        """F3: the new title was at 5003 s."""
        for old in (lambda t: (5000 + t, True), lambda t: (5000.4, True), lambda t: (5000.4, False)):
            told = self.let_play((self.ann, old), seconds=4)
            self.assertEqual([m for _, m in told if m["currentTime"] > 100], [])
            self.assertLess(self.position, 10)
            self.ann.send("URL_CHANGE", url=TITLE)
            self.ann.send("PLAY_PAUSE", control="play", currentTime=5000)
            self.ann.send("URL_CHANGE", url=OTHER_TITLE)
            self.forget()

    def test_the_new_one_does(self) -> None:
        for begin in (0.5, 1200.0):
            self.let_play((self.ann, lambda t: (5000 + t, True)), seconds=4)
            told = self.let_play((self.ann, lambda t, begin=begin: (begin + t, True)), seconds=3)
            self.assertHas([m for _, m in told if m["type"] == "PLAY_PAUSE"][0], control="play")
            self.assertAlmostEqual(self.position, begin + 3, 0)
            self.ann.send("PLAY_PAUSE", control="play", currentTime=5000)
            self.ann.send("URL_CHANGE", url=TITLE if begin < 1 else OTHER_TITLE)
            self.forget()

    def test_a_client_can_say_what_it_shows(self) -> None:
        self.let_play((self.ann, lambda t: (700 + t, True)), seconds=0.1)
        for i in range(8):
            self.report(self.ann, 700 + i / 2, url=TITLE)
            self.world.advance(0.5)
        self.assertEqual(self.position, 0)
        for i in range(8):
            self.report(self.ann, 700 + i / 2, url=OTHER_TITLE)
            self.world.advance(0.5)
        self.assertAlmostEqual(self.position, 704, 0)

    def test_positions_in_another_title_are_acknowledged(self) -> None:
        told = self.bob.send("POSITION_UPDATE", currentTime=5, isPlaying=True, url=TITLE, id=4)
        self.assertEqual([m["type"] for m in told], ["ACK"])


class StaleControlTest(AuthorityTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann.send("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=5000)
        self.world.advance(10)
        self.forget()

    def test_a_control_that_crosses_a_title(self) -> None:
        """F4: the new title was at 5003 s."""
        for kind, fields in (
            ("PLAY_PAUSE", {"control": "pause", "currentTime": 5003}),
            ("SEEK", {"currentTime": 5100, "isPlaying": True}),
        ):
            url = OTHER_TITLE if self.film.url == TITLE else TITLE
            self.ann.say("URL_CHANGE", url=url)
            self.bob.say(kind, id=1, **fields)
            told = self.bob.told()
            self.assertEqual([m["type"] for m in told], ["URL_CHANGE", "ROOM_STATE", "ERROR"])
            self.assertHas(told[1], url=url, currentTime=0)
            self.assertHas(told[2], code="stale", id=1)
            self.assertEqual(self.position, 0)
            self.world.advance(5)
            self.forget()

    def test_after_a_round_trip_it_counts(self) -> None:
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.world.advance(0.6)
        self.bob.send("PLAY_PAUSE", control="play", currentTime=3)
        self.assertEqual(self.position, 3)

    def test_the_round_trip_is_that_of_the_connection(self) -> None:
        session = next(iter(self.world.server.rooms.open)).group.get("bob")
        assert session is not None
        session.round_trip = 0.3
        for wait, position in ((0.2, 0), (0.4, 3)):
            self.ann.send("URL_CHANGE", url=OTHER_TITLE if self.film.url == TITLE else TITLE)
            self.world.advance(wait)
            self.bob.send("PLAY_PAUSE", control="play", currentTime=3)
            self.assertEqual(self.position, position)
            self.world.advance(5)

    def test_its_own_title_is_no_reason(self) -> None:
        self.bob.say("URL_CHANGE", url=OTHER_TITLE)
        self.bob.send("PLAY_PAUSE", control="play", currentTime=0)
        self.assertTrue(self.film.playing)

    def test_a_seq_decides_where_there_is_one(self) -> None:
        room = self.world.room()
        assert room is not None
        self.ann.send("URL_CHANGE", url=OTHER_TITLE)
        self.bob.send("PLAY_PAUSE", control="play", currentTime=3, seq=room.seq + 1)
        self.assertEqual(self.position, 3)
        self.world.advance(60)
        self.refused(self.bob.send("PLAY_PAUSE", control="pause", currentTime=5003, seq=room.seq), "stale")

    def test_a_title_that_comes_with_a_reload_is_as_new(self) -> None:
        """The store may have another title than the replica, of commits that this node has not seen."""
        rooms = self.world.server.rooms
        live = next(iter(rooms.open))
        for url, position in ((OTHER_TITLE, 0), (OTHER_TITLE, 3)):
            room = live.room.copy()
            if url != room.playback.url:
                room.playback = room.playback.titled(url, self.world.now, seq=room.seq, by="ann")
            rooms.others.reloaded(live, room)
            self.bob.send("PLAY_PAUSE", control="play", currentTime=3)
            self.assertEqual(live.room.playback.position_at(self.world.now), position)
            self.world.advance(5)


class CorrectionsTest(AuthorityTestCase):
    def corrections(self, position: Any, seconds: float) -> list[float]:
        players = (self.ann, lambda t: (self.position, self.film.playing)), (self.bob, position)
        return [at for at, _ in self.let_play(*players, seconds=seconds)]

    def test_they_back_off_from_a_player_that_cannot_follow(self) -> None:
        """F2: each correction cost it more than the error."""
        times = self.corrections(lambda t: (20 + t * 0.6, True), 150)
        gaps = [round(b - a) for a, b in zip(times, times[1:], strict=False)]
        self.assertEqual(len(gaps), 7, gaps)
        for gap, wanted in zip(gaps, (3, 6, 12, 24, 30, 30, 30), strict=True):
            self.assertTrue(wanted <= gap <= wanted + 4, gaps)

    def test_a_player_that_gets_there_is_corrected_at_once_again(self) -> None:
        self.corrections(lambda t: (20 + t * 0.6, True), 30)
        self.corrections(lambda t: (self.position, True), 12)
        times = self.corrections(lambda t: (20 + t * 0.6, True), 12)
        self.assertGreaterEqual(len(times), 2)
        self.assertLess(times[0], 4)

    def test_a_page_that_was_loaded_again_is_corrected_at_once_again(self) -> None:
        """Its player is a new one, which has not failed to follow."""
        self.corrections(lambda t: (1000.0 + t, True), 40)
        self.bob.send("JOIN", userId="bob", roomId="room", username="Bob")
        self.bob.told()
        self.assertLessEqual(self.corrections(lambda t: (1000.0 + t, True), 8)[0], 4)

    def test_a_player_that_waits_for_data_is_corrected_when_it_has_them(self) -> None:
        times = self.corrections(lambda t: (50 + max(0.0, t - 20), True), 30)
        self.assertEqual(len([at for at in times if at < 20]), 1, times)
        self.assertLess(min(at for at in times if at > 20), 27)

    def test_others_hear_as_often_as_before(self) -> None:
        self.let_play((self.ann, self.in_step), (self.cid, lambda t: (20, True)), (self.bob, self.in_step), seconds=1)
        self.forget()
        told = self.let_play(
            (self.ann, self.in_step), (self.cid, lambda t: (20, True)), (self.bob, self.in_step), seconds=30
        )
        self.assertTrue(9 <= len(told) <= 10, len(told))


class UnwatchedTest(AuthorityTestCase):
    def test_the_timeline_stands_still_while_no_member_watches(self) -> None:
        """F22: it ran on, behind the end of the film."""
        self.world.advance(50)
        self.assertLess(self.position, 112)
        self.assertHas(self.the(self.world.join("dan").told(), "ROOM_STATE"), isPlaying=True)

    def test_it_goes_on_with_the_first_one_who_watches(self) -> None:
        self.world.advance(50)
        began = self.position
        self.let_play((self.bob, self.in_step), seconds=10)
        self.assertAlmostEqual(self.position, began + 10, 0)

    def test_one_who_watches_is_enough(self) -> None:
        self.let_play((self.bob, self.in_step), seconds=50)
        self.assertAlmostEqual(self.position, 150, 0)
        self.assertLess(self.world.now - EPOCH, 60)

    def assert_not_set_back(self, **fields: Any) -> None:
        dan = self.world.join("dan", **fields)
        self.let_play((dan, self.in_step), seconds=10)
        self.world.advance(12)
        dan.told()
        self.let_play((dan, lambda t: (122 + t, True)), seconds=10)
        heartbeats = [m["currentTime"] for m in dan.told(*FILM)]
        self.assertTrue(heartbeats)
        self.assertGreater(min(heartbeats), 121.5, heartbeats)
        self.assertAlmostEqual(self.position, 132, 0)

    def test_a_watcher_whose_reports_did_not_arrive_is_not_set_back(self) -> None:
        """The others are connected and do not watch: the timeline stood still while this player played on."""
        self.assert_not_set_back()

    def test_nor_is_one_that_follows(self) -> None:
        self.assert_not_set_back(follows=True)

    def test_a_watcher_that_is_gone_for_a_while_is_not_set_back(self) -> None:
        self.let_play((self.bob, self.in_step), seconds=10)
        self.bob.cut()
        self.world.advance(20)
        state = self.the(self.world.join("bob").told(), "ROOM_STATE")
        self.assertAlmostEqual(state["currentTime"], 130, 0)

    def test_a_watcher_that_stood_meanwhile_does_not_move_it(self) -> None:
        dan = self.world.join("dan")
        self.let_play((dan, self.in_step), seconds=10)
        self.world.advance(40)
        began = self.position
        self.let_play((dan, lambda t: (300 + t, True)), seconds=1)
        self.assertAlmostEqual(self.position, began + 1, 0)


class FilmEndTest(AuthorityTestCase):
    """F22: with players that say where the film ends. It is 30 s longer than where the room is."""

    host_fields = {"follows": True}
    end = 130.0

    def to_the_end(self, client: Client, **fields: Any) -> Any:
        """A player that ends at the end. It says `ended`, and further fields all the time."""

        def report(elapsed: float) -> None:
            position = min(self.end, 100 + elapsed)
            self.report(client, position, position < self.end, ended=position == self.end, **fields)

        return client, report

    def test_the_timeline_stops_where_the_hosts_player_ended(self) -> None:
        told = self.let_play(self.to_the_end(self.ann), self.to_the_end(self.bob), seconds=60)
        pause = self.the([m for _, m in told], "PLAY_PAUSE")
        self.assertHas(pause, userId="server", control="pause", currentTime=self.end)
        self.assertEqual((self.position, self.film.playing), (self.end, False))
        state = self.the(self.world.join("dan").told(), "ROOM_STATE")
        self.assertHas(state, currentTime=self.end, isPlaying=False)

    def test_a_guest_that_watches_alone_knows_the_end(self) -> None:
        self.let_play(self.to_the_end(self.bob), seconds=60)
        self.assertEqual((self.position, self.film.playing), (self.end, False))

    def test_two_durations_that_agree(self) -> None:
        def silent(client: Client) -> Any:
            return client, lambda t: self.report(client, min(self.end, 100 + t), t < 30, duration=self.end)

        self.let_play(silent(self.bob), silent(self.cid), seconds=60)
        self.assertEqual((self.position, self.film.playing), (self.end, False))

    def test_a_guests_claim_stops_no_other_member(self) -> None:
        self.let_play((self.ann, self.in_step), self.to_the_end(self.bob, duration=self.end), seconds=60)
        self.assertEqual(self.film.playing, True)
        self.assertAlmostEqual(self.position, 160, 0)

    def test_a_file_cut_short_stops_no_other_member(self) -> None:
        self.let_play(self.to_the_end(self.ann), (self.bob, self.in_step), seconds=60)
        self.assertEqual(self.film.playing, True)

    def test_a_growing_duration_is_no_end(self) -> None:
        """F15: live streams grow."""

        def live(client: Client) -> Any:
            return client, lambda t: self.report(client, self.position, True, duration=102 + 4 * (t // 4))

        self.let_play(live(self.ann), live(self.bob), seconds=60)
        self.assertEqual(self.film.playing, True)

    def test_a_player_that_ended_is_not_corrected(self) -> None:
        players = (self.ann, self.in_step), (self.cid, self.in_step), self.to_the_end(self.bob)
        told = self.let_play(*players, seconds=60)
        self.assertEqual([m for at, m in told if at > 31], [])

    def test_the_film_can_be_played_again(self) -> None:
        self.let_play(self.to_the_end(self.ann), self.to_the_end(self.bob), seconds=60)
        self.ann.send("PLAY_PAUSE", control="play", currentTime=0)
        self.let_play((self.ann, lambda t: (t, True)), (self.bob, lambda t: (t, True)), seconds=20)
        self.assertEqual(self.film.playing, True)
        self.assertAlmostEqual(self.position, 20, 0)


class LostAndFoundTest(AuthorityTestCase):
    """Members whose connections were taken for lost, as when another node does not hear of theirs, and reloaded rooms."""

    def setUp(self) -> None:
        super().setUp()
        for client in (self.ann, self.bob, self.cid):
            self.report(client, self.position)
        self.world.advance(1)

    def watchers(self) -> set[str]:
        room = self.world.room()
        assert room is not None
        return {user for user, member in room.members.items() if member.watching}

    def test_a_member_whose_player_went_on_watches_again(self) -> None:
        self.assertEqual(self.watchers(), {"ann", "bob", "cid"})
        self.world.server.rooms.start_grace("room", "")
        self.world.settle()
        self.let_play((self.ann, self.in_step), (self.bob, self.in_step), seconds=2)
        self.assertEqual(self.watchers(), {"ann", "bob"})

    def test_its_timeline_does_not_stand_still(self) -> None:
        self.world.server.rooms.start_grace("room", "")
        self.world.settle()
        self.let_play((self.bob, self.in_step), seconds=60)
        self.assertFalse(self.film.unwatched)

    def test_the_host_before_a_reload_is_told_as_a_guest_is(self) -> None:
        self.let_play((self.ann, self.in_step), seconds=3)
        live = self.world.server.rooms.open.get("room")
        assert live is not None
        room = live.room.copy()
        room.host = "bob"
        self.world.server.rooms.others.reloaded(live, room)
        self.ann.told()
        self.let_play((self.ann, self.in_step), seconds=8)
        self.assertTrue(self.ann.told("HOST_HEARTBEAT"))
