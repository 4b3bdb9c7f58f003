"""No URL that is not an allowed title reaches a member, by any way into a message or a room."""

from __future__ import annotations

import json
from typing import Any

from tandemd.rooms.replay import Replay
from tandemd.rules.playback import Playback
from tandemd.rules.state import Room

from ..support.fake_node import EPOCH, NETFLIX, OTHER_TITLE, TITLE, ServiceTestCase

BAD = (
    "javascript:alert(document.domain)",
    "JavaScript://www.netflix.com/%0aalert(1)",
    "//evil.example/",
    "https://www.netflix.com@evil.example/",
    "https://evil.example\\@www.netflix.com/",
    "https://www.netflix.com/\r\n",
    "https://www.netfl\u0456x.com/",
    "http://www.netflix.com/watch/1",
    "data:text/html,<script>",
)


class MessageTest(ServiceTestCase):
    def test_no_message_carries_one(self) -> None:
        """B22: every type that has, or might be given, a url, from the host, to all members."""
        ann, bob = self.world.party("ann", "bob")
        ann.send("URL_CHANGE", url=TITLE)
        bob.told()
        for url in BAD:
            self.refused(ann.send("URL_CHANGE", url=url), "bad_url")
            extra = {"url": url, "currentUrl": url, "title": url}
            ann.send("HOST_HEARTBEAT", currentTime=5, isPlaying=True, **extra)
            ann.send("POSITION_UPDATE", currentTime=5, isPlaying=True, **extra)
            ann.send("PLAY_PAUSE", control="play", currentTime=5, **extra)
            ann.send("SEEK", currentTime=5, isPlaying=True, **extra)
            ann.send("SYNC_RESPONSE", to="bob", currentTime=5, isPlaying=True, **extra)
            ann.send("PLAYBACK_ACK", to="bob", control="play", **extra)
            ann.send("OFFER", to="bob", offer={"type": "offer", "sdp": "", "url": url}, **extra)
            ann.send("JOIN", userId="ann", roomId="room", **extra)
            self.world.advance(8)
            bob.send("REQUEST_SYNC")
            cid = self.world.join("cid", **extra)
            told = json.dumps([bob.messages, bob.told(), cid.told()])
            self.assertNotIn(json.dumps(url)[1:-1], told)
            cid.send("LEAVE")

    def test_null_and_other_kinds(self) -> None:
        [ann] = self.world.party("ann")
        for url in (None, 5, "", [TITLE], {"href": TITLE}, NETFLIX + "/" + "x" * 9000):
            error = self.the(ann.send("URL_CHANGE", url=url), "ERROR")
            self.assertIn(error["code"], ("bad_message", "bad_url"))


class RestoredRoomTest(ServiceTestCase):
    """A room of the Node.js server, or of a time when more was allowed."""

    def restored(self, url: str) -> None:
        room = Room("0b0c7c0e-7d0e-4f43-8a43-000000000001", "room", EPOCH, 1, 1)
        room.playback = Playback(url, 100.0, EPOCH, True, known=True, titled_at=EPOCH)
        room.empty_since = EPOCH
        self.world.start([*self.world.crash(), room])

    def told(self, url: str) -> str:
        self.restored(url)
        ann, bob = self.world.join("ann", keepsToken=True), self.world.join("bob")
        bob.say("REQUEST_SYNC")
        self.world.advance(4)
        told = ann.told()
        shown: list[Any] = []
        self.world.server.rooms.directory.room_for_token(self.the(told, "ROOM_STATE")["token"]).addCallback(
            shown.append
        )
        self.assertEqual(len(shown), 1)
        return json.dumps([told, bob.told(), shown])

    def test_a_title_that_is_not_allowed_is_none(self) -> None:
        for url in BAD:
            self.assertNotIn(json.dumps(url)[1:-1], self.told(url))

    def test_one_that_is_stays(self) -> None:
        self.assertEqual(self.told(TITLE).count(TITLE), 5)


class ReplayTest(ServiceTestCase):
    def test_a_log_of_a_time_when_more_was_allowed(self) -> None:
        ann = self.world.join("ann", keepsToken=True)
        state = self.the(ann.told(), "ROOM_STATE")
        bob = self.world.join("bob")
        ann.send("TRANSFER_HOST", targetUserId="bob")
        ann.cut()
        bob.send("URL_CHANGE", url=TITLE)
        bob.send("URL_CHANGE", url=OTHER_TITLE)
        live = self.world.server.rooms.open.get("room")
        assert live is not None
        rules = live._rules
        rules.titles = type(rules.titles)([OTHER_TITLE])
        live.replay = Replay(rules.titles.allows)
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        told = self.world.join("ann", token=state["token"], resume=resume).told("URL_CHANGE")
        self.assertEqual([m["url"] for m in told], [OTHER_TITLE])
