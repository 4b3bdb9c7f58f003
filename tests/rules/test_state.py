"""Rooms as values: copies."""

from __future__ import annotations

from twisted.trial import unittest

from tandemd.rules.state import Room


class RoomCopyTests(unittest.TestCase):
    def test_a_copy_has_every_attribute(self) -> None:
        room = Room("uuid", "room", 1.0, 2, 3)
        for name in Room.__slots__:
            if name != "members":
                setattr(room, name, object())
        copy = room.copy()
        for name in Room.__slots__:
            self.assertEqual(getattr(copy, name), getattr(room, name), name)
        self.assertIsNot(copy.members, room.members)
