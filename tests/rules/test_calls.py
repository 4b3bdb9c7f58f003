"""The members in the call."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.rules.join import greeting, state_of

from ..support.rules_fixture import World, told


class CallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.join("ann", new_token="t", calls=True)
        self.world.join("bob")

    def in_call(self) -> list[str]:
        return [user.user_id for user in state_of(self.world.room, self.world.now, ()).users if user.in_call]

    def test_each_member_is_told(self) -> None:
        decision = self.world.do("ann", m.Call(joined=True))
        self.assertEqual(told(decision), ["MEMBER_CALL"])
        self.assertEqual((decision.messages[0].user_id, decision.messages[0].joined), ("ann", True))
        self.assertEqual(decision.event, "", "the archive does not record calls")
        self.assertEqual(self.in_call(), ["ann"])
        self.world.do("ann", m.Call(joined=False))
        self.assertEqual(self.in_call(), [])

    def test_clients_that_do_not_say(self) -> None:
        """A member in the call offers to them, because old clients answer each OFFER."""
        state = state_of(self.world.room, self.world.now, ())
        self.assertEqual([user.in_call for user in state.users], [False, None])
        self.assertIn(b'"inCall":false', m.encode(self.world.join("cid", calls=True).messages[0]))
        self.assertNotIn(b"inCall", m.encode(self.world.join("dee").messages[0]))

    def test_the_same_again_changes_nothing(self) -> None:
        for joined in (False, True):
            self.world.do("ann", m.Call(joined=joined))
            self.assertFalse(self.world.decide("ann", m.Call(joined=joined)).commits)

    def test_a_lost_connection_stays_in_the_call(self) -> None:
        """The media goes past the server."""
        self.world.do("ann", m.Call(joined=True))
        self.world.lose("ann")
        self.assertEqual(self.in_call(), ["ann"])
        self.world.join("ann", token="t", resume=True)
        self.assertEqual(self.in_call(), ["ann"])

    def test_a_reloaded_page_is_out_of_it(self) -> None:
        self.world.do("ann", m.Call(joined=True))
        self.world.lose("ann")
        self.assertIn("USER_JOINED", told(self.world.join("ann", token="t", calls=True)))
        self.assertEqual(self.in_call(), [])
        self.assertIs(self.world.member("ann").in_call, False)

    def test_ice_servers_only_for_clients_that_asked(self) -> None:
        ice = m.IceServers(ice_servers=[m.IceServer(urls=["stun:s"])], ice_servers_ttl_ms=5, relay_only=True)
        for given in (ice, None):
            state = greeting(
                self.world.room,
                "bob",
                self.world.now,
                (),
                first=True,
                controls=False,
                resumed=None,
                token=None,
                ice=given,
            )[0]
            sent = m.encode(state)
            self.assertEqual(
                b'"iceServers":[{"urls":["stun:s"]}],"iceServersTtlMs":5,"relayOnly":true' in sent, bool(given)
            )
            self.assertEqual(b"iceServers" in sent, bool(given))
