"""ICE servers reach members that ask for them, and no other client."""

from __future__ import annotations

from tandemd import messages as m

from ..support.fake_node import ServiceTestCase


def servers_for(user: str) -> m.IceServers:
    """Return a server whose username shows the member."""
    return m.IceServers(
        ice_servers=[m.IceServer(urls=["turn:t"], username=user, credential="c")], ice_servers_ttl_ms=1000
    )


class IceServerTests(ServiceTestCase):
    options = {"ice_servers": servers_for}
    ice = {"iceServers": [{"urls": ["turn:t"], "username": "ann", "credential": "c"}], "iceServersTtlMs": 1000}

    def test_in_the_answer_to_join(self) -> None:
        ann = self.world.join("ann", calls=True)
        self.assertHas(ann.told()[0], type="ROOM_STATE", **self.ice)
        bob = self.world.join("bob")
        self.assertNotIn("iceServers", bob.told()[0])

    def test_again_before_they_expire(self) -> None:
        ann = self.world.join("ann")
        ann.told()
        answers = ann.send("REQUEST_ICE_SERVERS", id=3)
        self.assertHas(answers[0], type="ICE_SERVERS", **self.ice)
        self.assertHas(answers[1], type="ACK", id=3)
        self.assertEqual(len(ann.send("REQUEST_ICE_SERVERS")), 1)

    def test_not_before_joining(self) -> None:
        self.world.join("ann", pin="1234")
        stranger = self.world.connect()
        self.refused(stranger.send("REQUEST_ICE_SERVERS"), "not_joined")
        answers = stranger.send("JOIN", roomId="room", userId="eve", calls=True)
        self.refused(answers, "bad_pin")
        self.refused(stranger.send("REQUEST_ICE_SERVERS"), "not_joined")
