"""Permissions of message types."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.errors import RequestError
from tandemd.rules.permissions import PERMISSIONS, Permission, check, may_control, member_for_connection

from ..support.rules_fixture import World


class PermissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join_all("host", "guest")
        self.room = self.world.room

    def test_only_the_members_own_connection_speaks_for_it(self) -> None:
        """B3, B5: knowledge of a user id was enough."""
        self.assertIs(member_for_connection(self.room, "guest", self.world.conns["guest"]), self.room.members["guest"])
        for user, conn, code in (
            ("guest", self.world.conns["host"], "detached"),
            ("guest", "", "detached"),
            ("nobody", self.world.conns["guest"], "not_joined"),
            ("", "", "not_joined"),
        ):
            error = self.assertRaises(RequestError, member_for_connection, self.room, user, conn)
            self.assertEqual(error.code, code)

    def test_no_connection_speaks_for_a_member_without_connection(self) -> None:
        self.world.lose("guest")
        for conn in ("", "n/boot/99", self.world.conns["guest"]):
            self.assertEqual(
                self.assertRaises(RequestError, member_for_connection, self.room, "guest", conn).code, "detached"
            )

    def test_every_type_asks_for_something(self) -> None:
        """B4: the server did not check controls."""
        for kind, who in PERMISSIONS.items():
            refused = who in (Permission.HOST, Permission.CONTROLLER)
            if refused:
                error = self.assertRaises(RequestError, check, self.room, "guest", kind, self.world.now, 10.0)
                self.assertEqual(error.code, "forbidden")
            else:
                check(self.room, "guest", kind, self.world.now, 10.0)
            check(self.room, "host", kind, self.world.now, 10.0)

    def test_nothing_becomes_of_a_type_without_permission(self) -> None:
        self.assertRaises(KeyError, check, self.room, "host", m.ClientMessage, self.world.now, 10.0)

    def test_when_guests_may_control(self) -> None:
        now = self.world.now
        self.assertFalse(may_control(self.room, "guest", now, 10.0))
        self.world.lose("host")
        self.assertFalse(may_control(self.room, "guest", now + 9.99, 10.0))
        self.assertTrue(may_control(self.room, "guest", now + 10.0, 10.0))
        self.world.join("host")
        self.world.do("host", m.ToggleGuestControl(enabled=True))
        self.assertTrue(may_control(self.room, "guest", now, 10.0))
