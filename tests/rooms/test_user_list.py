"""The list of users in the ROOM_STATE of a large room equals the list that the rules make."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.messages.framing import text_frame
from tandemd.rooms.user_list import BLOCK_USERS, UserList
from tandemd.rules.join import state_of
from tandemd.rules.state import Member, Room

STEPS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "rename", "other"]), st.integers(0, 11)), max_size=60)


class UserListTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room("uuid", 'a "users":[] room', 0.0, 1)
        self.users = UserList([])

    def change(self, user: str, member: Member | None) -> None:
        self.room.assign({"m:" + user: member})
        self.users.update(user, member)

    def enter(self, number: int) -> None:
        user = f"user {number} é"
        self.change(user, Member(user, f"Name of {number}", "conn", number, 0.0))

    def check(self) -> None:
        whole = text_frame(m.encode(state_of(self.room, 5.0, (), token="secret")))
        parts = self.users.frame_parts(state_of(self.room, 5.0, (), token="secret", with_users=False))
        self.assertEqual(b"".join(parts), whole)
        self.assertEqual(
            b"".join(
                UserList(self.room.members.values()).frame_parts(
                    state_of(self.room, 5.0, (), token="secret", with_users=False)
                )
            ),
            whole,
        )

    @given(STEPS)
    def test_any_history(self, steps: list[tuple[str, int]]) -> None:
        self.setUp()
        for kind, number in steps:
            user = f"user {number} é"
            member = self.room.members.get(user)
            if kind == "enter":
                self.enter(number)
            elif kind == "leave":
                self.change(user, None)
            elif member is not None:
                changes = {"username": None} if kind == "rename" else {"conn": "", "lost_at": 7.0}
                self.change(user, msgspec.structs.replace(member, **changes))
            self.check()

    def test_many_who_come_and_go(self) -> None:
        for number in range(10 * BLOCK_USERS):
            self.enter(number)
        self.check()
        for number in range(10 * BLOCK_USERS):
            if number % BLOCK_USERS > 3:
                self.change(f"user {number} é", None)
        self.check()
        self.assertLess(len(self.users.frame_parts(state_of(self.room, 5.0, (), with_users=False))), 8)
        for number in range(10 * BLOCK_USERS):
            self.change(f"user {number} é", None)
        self.check()

    def test_states_share_their_users(self) -> None:
        for number in range(2 * BLOCK_USERS):
            self.enter(number)
        first = self.users.frame_parts(state_of(self.room, 5.0, (), token="one", with_users=False))
        self.enter(2 * BLOCK_USERS)
        second = self.users.frame_parts(state_of(self.room, 6.0, (), token="two", with_users=False))
        self.assertIs(first[1], second[1])
        self.assertIs(first[2], second[2])
        self.assertEqual(len(second), len(first) + 1)
        tokens = [
            json.loads(b"".join(parts)[10 if len(b"".join(parts)) > 65545 else 4 :])["token"]
            for parts in (first, second)
        ]
        self.assertEqual(tokens, ["one", "two"])
