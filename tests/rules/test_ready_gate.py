"""The time at which a gate opens."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd.rules.gate import Gate
from tandemd.rules.ready_gate import MAX_AWAITED_MEMBERS, awaited_members, mark_ready, opens_at, remove_members
from tandemd.rules.state import Member, Room


def gate(awaited: int, ready: int) -> Gate:
    users = [f"u{number}" for number in range(awaited + ready)]
    return Gate(5.0, 100.0, tuple(users[:awaited]), tuple(users[awaited:]), True)


class GateTests(SynchronousTestCase):
    def test_when(self) -> None:
        for awaited, ready, opens in (
            (0, 2, 100.0),
            (0, 0, 100.0),
            (1, 0, 107.0),
            (1, 1, 107.0),
            (1, 2, 102.0),
            (2, 3, 102.0),
            (3, 2, 107.0),
            (4, 6, 102.0),
            (5, 5, 107.0),
        ):
            self.assertEqual(opens_at(gate(awaited, ready), 7.0, 0.6, 2.0), opens, (awaited, ready))

    def test_the_deadline_comes_first_if_it_is_shorter(self) -> None:
        self.assertEqual(opens_at(gate(1, 2), 1.0, 0.6, 2.0), 101.0)

    def test_a_large_room_awaits_the_members_of_longest_presence(self) -> None:
        room = Room("uuid", "room", 0.0, 1)
        for number in range(MAX_AWAITED_MEMBERS + 50):
            room.assign({f"m:u{number}": Member(f"u{number}", None, "conn", number, 0.0, watching=number != 3)})
        awaited = awaited_members(room)
        self.assertEqual(len(awaited), MAX_AWAITED_MEMBERS)
        self.assertEqual((awaited[2:4], awaited[-1]), (("u2", "u4"), f"u{MAX_AWAITED_MEMBERS}"))

    def test_who_arrives_is_awaited_no_longer(self) -> None:
        self.assertEqual(mark_ready(gate(2, 0), "u0"), Gate(5.0, 100.0, ("u1",), ("u0",), True))

    def test_who_goes_counts_no_longer(self) -> None:
        closed = gate(2, 1)
        self.assertEqual(remove_members(closed, "u0"), Gate(5.0, 100.0, ("u1",), ("u2",), True, ("u0",)))
        self.assertEqual(remove_members(closed, "u2"), Gate(5.0, 100.0, ("u0", "u1"), (), True, ("u2",)))
        self.assertIs(remove_members(closed, "somebody"), closed)

    @given(
        st.integers(0, 50),
        st.integers(0, 50),
        st.floats(0.1, 60),
        st.floats(0, 1),
        st.floats(0, 60),
    )
    def test_never_after_its_deadline(
        self, awaited: int, ready: int, deadline: float, quorum: float, quorum_after: float
    ) -> None:
        opens = opens_at(gate(awaited, ready), deadline, quorum, quorum_after)
        self.assertTrue(100.0 <= opens <= 100.0 + deadline)
        if ready >= math.ceil(quorum * (awaited + ready)):
            self.assertLessEqual(opens, 100.0 + quorum_after)
