"""Rooms as values: copies."""

from __future__ import annotations

from twisted.trial import unittest

from tandemd.rules.state import Room


class RoomCopyTests(unittest.TestCase):
    def test_a_copy_has_every_attribute(self) -> None:
        room = Room("uuid", "room", 1.0, 2, 3)
        for name in Room.__slots__:
            if name not in ("members", "lost", "scope_counts"):
                setattr(room, name, object())
        copy = room.copy()
        for name in Room.__slots__:
            self.assertEqual(getattr(copy, name), getattr(room, name), name)
        self.assertIsNot(copy.members, room.members)
        self.assertIsNot(copy.lost, room.lost)
        self.assertIsNot(copy.scope_counts, room.scope_counts)
