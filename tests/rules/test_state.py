"""Rooms as values: copies."""

from __future__ import annotations

from twisted.trial import unittest

from tandemd.rules.state import Member, Room


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

    def test_lost_members_and_addresses_are_counted(self) -> None:
        room = Room("uuid", "room", 1.0, 2, 3)
        near, far = "2001:db8:1:1::/64", "2001:db8:1:2::/64"
        for user, conn, address in (("a", "c", near), ("b", "", near), ("c", "c", far), ("d", "c", "")):
            room.assign({"m:" + user: Member(user, None, conn, 1, 0.0, lost_at=0.0 if conn else 5.0, address=address)})
        self.assertEqual(room.lost, {"b": 5.0})
        self.assertEqual(room.scope_counts, {near: 2, far: 1, "2001:db8:1::/48": 3})
        room.assign({"m:a": Member("a", None, "", 1, 0.0, lost_at=7.0, address=far), "m:b": None, "m:e": None})
        self.assertEqual(room.lost, {"a": 7.0})
        self.assertEqual(room.scope_counts, {far: 2, "2001:db8:1::/48": 2})
        room.assign({"m:a": None, "m:c": None, "m:d": None})
        self.assertEqual((room.lost, room.scope_counts, room.members), ({}, {}, {}))
