"""Members know as much as a newcomer: under random commands, the messages to each member add up to the room's state."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.commands import CorrectPlayback, Decision, Enter, HoldPlayback, StopUnwatched, Watching
from tandemd.rules.join import state_of
from tandemd.rules.state import Commit, Room

from ..support.rules_fixture import World
from .test_properties import PROFILE, RoomMachine

TIMESTAMP_SECONDS = 0.01
"""Timestamps are whole milliseconds."""


class View:
    """The room as a client knows it from ROOM_STATE and the messages after it."""

    def __init__(self, state: m.RoomState):
        self.names = {user.user_id: user.username for user in state.users}
        self.host = state.host_user_id
        self.url = state.url
        self.guest_control = state.guest_control_enabled
        self.locked = state.locked
        self.statuses = {user.user_id: user.status for user in state.users}
        self.wait_for_buffering = state.wait_for_buffering
        self.in_call = {user.user_id: user.in_call for user in state.users}
        self.controllers = set(state.controllers)
        self.waits = state.gate is not None
        self.rate = state.rate or 1.0
        self.move(state.current_time, state.is_playing, state.at or state.server_time)

    def move(self, position: float, playing: bool, timestamp: float) -> None:
        self.position, self.playing, self.at = position, playing, timestamp / 1000

    def receive(self, message: m.LoggedMessage) -> None:
        match message:
            case m.UserJoined():
                self.names[message.user_id] = message.username
                self.statuses[message.user_id] = None
                self.in_call[message.user_id] = message.in_call
            case m.UsernameUpdated():
                self.names[message.user_id] = message.username
            case m.MemberCall():
                self.in_call[message.user_id] = message.joined
            case m.MemberStatus():
                self.statuses[message.user_id] = None if message.status == "watching" else message.status
            case m.WaitForBufferingChanged():
                self.wait_for_buffering = message.enabled
            case m.UserLeft():
                del self.names[message.user_id], self.statuses[message.user_id]
                self.controllers.discard(message.user_id)
                del self.in_call[message.user_id]
            case m.HostChanged():
                self.host = message.host_user_id
            case m.GuestControl():
                self.guest_control = message.enabled
            case m.ControlDelegated():
                (self.controllers.add if message.enabled else self.controllers.discard)(message.user_id)
            case m.RoomLocked():
                self.locked = message.locked
            case m.PlayPauseEvent():
                self.waits = False
                self.rate = message.rate or 1.0
                self.move(message.current_time, message.control == "play", message.timestamp)
            case m.RateChanged():
                self.rate = message.rate
                self.move(message.current_time, self.playing, message.at)
            case m.SeekPause():
                self.waits = True
                self.move(message.current_time, False, message.timestamp)
            case m.UrlChanged():
                if message.url != self.url:
                    self.waits = False
                    self.rate = 1.0
                    self.move(0.0, False, 0)
                self.url = message.url

    def check(self, room: Room, now: float) -> None:
        state = state_of(room, now, ())
        assert self.names == {user.user_id: user.username for user in state.users}, "a name or a member"
        assert self.statuses == {user.user_id: user.status for user in state.users}, "a status"
        assert self.wait_for_buffering == state.wait_for_buffering, "the wait for members that buffer"
        assert self.in_call == {user.user_id: user.in_call for user in state.users}, "the call"
        assert self.host == state.host_user_id, "the host"
        assert self.url == state.url, "the title"
        assert (self.guest_control, self.controllers) == (state.guest_control_enabled, set(state.controllers)), (
            "control"
        )
        assert self.locked == state.locked, "the lock"
        assert self.playing == state.is_playing, "whether the film plays"
        # No member sees where an unwatched film stands.
        position = (
            state.current_time
            if room.playback.unwatched
            else self.position + max(0.0, now - self.at) * self.playing * self.rate
        )
        assert self.rate == (state.rate or 1.0), "the rate"
        assert abs(position - state.current_time) < TIMESTAMP_SECONDS, "the position"
        # The end of a wait in a paused room changes nothing that a member sees.
        assert self.waits or state.gate is None, "the wait for all players"


class ToldMachine(RoomMachine):
    """The rooms of `RoomMachine`, with the view of each connected member."""

    def begin(self) -> None:
        super().begin()
        self.views: dict[str, View] = {}

    def command(self, user: str, conn: str, body: Any, nonce: str = "") -> Decision | None:
        held = self.room.playback.held
        decision = super().command(user, conn, body, nonce)
        if decision is not None and isinstance(body, Enter):
            self.views[user] = View(state_of(self.room, self.now, ()))
        if isinstance(body, CorrectPlayback | HoldPlayback | StopUnwatched | Watching):
            # A heartbeat follows, which brings the position. Old clients take no play state from it. At the begin and the end
            # of a hold, the node sends PLAY_PAUSE to all members but the host, whose player stands still by itself.
            state = state_of(self.room, self.now, ())
            for view in self.views.values():
                playing = view.playing if held is self.room.playback.held else state.is_playing
                view.move(state.current_time, playing, state.at or state.server_time)
        return decision

    def commit(self, commit: Commit) -> None:
        room = self.room
        super().commit(commit)
        if room is not self.room:
            return
        for user, view in list(self.views.items()):
            member = room.members.get(user)
            if member is None or not member.conn:
                del self.views[user]
            elif user != commit.skip:
                for message in commit.messages:
                    view.receive(message)

    @invariant()
    def members_were_told_what_changed(self) -> None:
        for view in self.views.values():
            view.check(self.room, self.now)


class RoleToldMachine(ToldMachine):
    """The same with roles from auth tokens."""

    roles = {"ann": "host", "bob": "guest", "cid": "host", "dee": "guest"}


class ToldStateTests(SynchronousTestCase):
    def test_any_history(self) -> None:
        run_state_machine_as_test(ToldMachine, settings=settings(PROFILE, max_examples=150))

    def test_any_history_with_roles(self) -> None:
        run_state_machine_as_test(RoleToldMachine, settings=settings(PROFILE, max_examples=60))

    def test_a_name_that_comes_with_a_resume(self) -> None:
        """Only members that joined later saw it."""
        world = World()
        world.join("a", username="Ann")
        world.join("b", username="Bob", new_token="T")
        world.lose("b")
        decision = world.join("b", username="Robert", token="T", resume=True)
        (message,) = decision.messages
        assert isinstance(message, m.UsernameUpdated)
        self.assertEqual((message.user_id, message.username, decision.skip), ("b", "Robert", ""))
        world.lose("b")
        self.assertEqual(world.join("b", username="Robert", token="T", resume=True).messages, ())
        world.lose("b")
        self.assertEqual(world.join("b", username="Server", token="T", resume=True).messages, ())
