"""A running node sends, and accepts, the messages that the JSON Schema describes: every message of the protocol's main text."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers

from scripts.generate_protocol_reference import MARK, tag_of
from tandemd import messages as m
from tandemd.rules.local_titles import CLIP_URL

from ..support.daemon_process import ROOT, Client, Daemon, DaemonTestCase
from ..support.message_schema import SCHEMA, faults

TOKEN = "t" * 32
NETFLIX = "https://www.netflix.com/watch/1"
DOCUMENT = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")


def main_types(kinds: Iterable[type[m.ClientMessage] | type[m.ServerMessage]]) -> set[str]:
    """Return the types of the messages that a new client needs."""
    return {tag_of(kind) for kind in kinds if not kind.legacy}


def sections(begin: str, end: str) -> set[str]:
    """Return the types that protocol.md has between two headings."""
    return set(re.findall(r"^### ([A-Z_]+)", DOCUMENT.split(begin)[1].split(end)[0], re.MULTILINE))


def defined(sender: str) -> set[str]:
    """Return the types of a sender that the schema defines. sender: "Client" or "Server"."""
    definitions = SCHEMA["$defs"]
    names = [choice["$ref"].rpartition("/")[2] for choice in definitions[f"{sender}Message"]["oneOf"]]
    return {definitions[name]["title"] for name in names}


class MessageSchemaTests(DaemonTestCase):
    async def asSetUp(self) -> Daemon:
        """Return a node, with an empty record of messages."""
        self.said: list[dict[str, Any]] = []
        return await self.running(TANDEMD_ADMIN_TOKEN=TOKEN)

    async def client(self, daemon: Daemon) -> Client:
        """Return a client whose messages are recorded."""
        client = await self.connect(daemon)
        say = client.say

        def recorded(type: str, **fields: Any) -> None:
            self.said.append({"type": type, **fields})
            say(type, **fields)

        client.say = recorded
        return client

    async def watch(self, *clients: Client, seconds: float = 0.0) -> None:
        """Have each client say that its player is paused."""
        for client in clients:
            client.say("POSITION_UPDATE", currentTime=seconds, isPlaying=False)
            client.say("PING")
            await client.hear("PONG")

    async def close_room(self, daemon: Daemon, room: str) -> None:
        response = await treq.post(
            f"http://127.0.0.1:{daemon.port}/admin/v1/rooms/{room}/close",
            json={"reason": "late"},
            headers=Headers({"Authorization": [f"Bearer {TOKEN}"]}),
            persistent=False,
        )
        self.assertEqual(response.code, 200, await response.content())

    async def film(self, ann: Client, bob: Client) -> None:
        """Choose a title, seek, play, and ask for the position."""
        await ann.do("URL_CHANGE", url=CLIP_URL)
        await bob.hear("URL_CHANGE")
        await self.watch(ann, bob)
        ann.say("SEEK", currentTime=5, isPlaying=True)
        for client in (ann, bob):
            position = (await client.hear("SEEK_PAUSE", userId="server"))["currentTime"]
            client.say("READY", targetTime=position)
        await ann.hear("PLAY_PAUSE", userId="server", control="play")
        bob.say("REQUEST_SYNC")
        await bob.hear("SYNC_RESPONSE")
        # The film stands still while no member watches it, and heartbeats come while it plays.
        while "HOST_HEARTBEAT" not in bob.heard:
            bob.say("POSITION_UPDATE", currentTime=5, isPlaying=True)
            await deferLater(reactor, 0.3)
        await ann.do("PLAY_PAUSE", control="pause")
        await ann.do("SET_RATE", rate=1.5)
        await bob.hear("RATE_CHANGED", rate=1.5)
        await ann.do("WAIT_FOR_BUFFERING", enabled=True)
        await bob.hear("WAIT_FOR_BUFFERING")
        await ann.do("STATUS", status="buffering")
        await bob.hear("MEMBER_STATUS", userId="ann", status="buffering")

    async def call(self, ann: Client, bob: Client) -> None:
        """Take part in the call, and exchange descriptions and candidates."""
        bob.say("REQUEST_ICE_SERVERS")
        await bob.hear("ICE_SERVERS")
        await ann.do("CALL", joined=True)
        await bob.hear("MEMBER_CALL", userId="ann", joined=True)
        ann.say("OFFER", to="bob", offer={"type": "offer", "sdp": "v=0"})
        await bob.hear("OFFER")
        bob.say("ANSWER", to="ann", answer={"type": "answer", "sdp": "v=0"})
        await ann.hear("ANSWER")
        bob.say("ICE_CANDIDATE", to="ann", candidate={"candidate": "c", "sdpMid": "0", "sdpMLineIndex": 0})
        bob.say("ICE_CANDIDATE", to="ann", candidate=None)
        await ann.hear("ICE_CANDIDATE", candidate=None)

    async def moderate(self, daemon: Daemon, ann: Client, bob: Client) -> None:
        """Do everything that a host may do, except TRANSFER_HOST."""
        await ann.do("TOGGLE_GUEST_CONTROL", enabled=True)
        await ann.do("DELEGATE_CONTROL", targetUserId="bob", enabled=True)
        await bob.hear("CONTROL_DELEGATED")
        await ann.do("LOCK_ROOM", locked=True)
        cyd = await self.client(daemon)
        cyd.say("JOIN", roomId="room", userId="cyd", id=1)
        await cyd.hear("ERROR", code="locked")
        await ann.hear("KNOCK", userId="cyd")
        await ann.do("ADMIT", targetUserId="cyd", admitted=True)
        await cyd.hear("ROOM_STATE")
        await ann.do("LOCK_ROOM", locked=False)
        await ann.do("KICK", targetUserId="cyd", reason="no reason")
        await cyd.hear("KICKED", by="ann")
        await ann.hear("BANS")
        await ann.do("BAN", targetUserId="cyd")
        await ann.do("UNBAN", targetUserId="cyd")

    async def test_every_message_of_the_main_text(self) -> None:
        daemon = await self.asSetUp()
        ann, bob = await self.client(daemon), await self.client(daemon)
        state = await ann.join("room", "ann", username="Ann", follows=True, keepsToken=True, nonce="n" * 12)
        self.assertEqual((state["protocol"], "auth" in state["features"]), (1, False))
        await bob.join("room", "bob", follows=True, keepsToken=True)
        await self.film(ann, bob)
        await bob.do("UPDATE_USERNAME", username="Bob")
        await ann.do("CHAT", text="hello \N{GRINNING FACE}")
        await self.call(ann, bob)
        await self.moderate(daemon, ann, bob)
        await ann.do("TRANSFER_HOST", targetUserId="bob")
        await bob.hear("HOST_CHANGED", hostUserId="bob")
        await self.stale(ann, bob)
        bob.say("LEAVE")
        await ann.hear("USER_LEFT", userId="bob")
        await self.close_room(daemon, "room")
        await ann.hear("ROOM_CLOSED")
        daemon.kill(signal.SIGTERM)
        await ann.hear("SERVER_RESTART")
        heard = [message for client in self._clients for message in client.messages.seen]
        for sender, messages in (("Client", self.said), ("Server", heard)):
            for message in messages:
                self.assertEqual(faults(sender, message), [], message)
        self.assertEqual(main_types(m.CLIENT_MESSAGES) - {message["type"] for message in self.said}, set())
        self.assertEqual(main_types(m.SERVER_MESSAGES) - {message["type"] for message in heard}, set())

    async def stale(self, ann: Client, bob: Client) -> None:
        """A control for an earlier title: the ROOM_STATE before the ERROR is not that of a JOIN."""
        await bob.do("URL_CHANGE", url=NETFLIX)
        await ann.hear("URL_CHANGE", url=NETFLIX)
        already = len(ann.messages.seen)
        ann.say("PLAY_PAUSE", control="play", seq=1, id=99)
        await ann.hear("ERROR", code="stale", id=99)
        told = ann.messages.seen[already:]
        # Messages to bring the player in step may come before.
        told = told[[message["type"] for message in told].index("ROOM_STATE") :]
        self.assertEqual([message["type"] for message in told[:3]], ["ROOM_STATE", "PLAY_PAUSE", "ERROR"])
        self.assertEqual({"token", "resumed"} & told[0].keys(), set())
        self.assertEqual(told[0]["url"], NETFLIX)

    async def test_the_configuration_for_clients(self) -> None:
        daemon = await self.running(
            TANDEMD_TITLES_ALLOWED="HTTPS://Films.example:443/a/,https://b.example", TANDEMD_LIMITS_CHAT_LENGTH="7"
        )
        client = await self.connect(daemon)
        state = await client.join("room", "ann")
        status, body = await self.get(f"http://127.0.0.1:{daemon.port}/api/config")
        config = json.loads(body)
        self.assertEqual(status, 200)
        self.assertEqual((config["protocol"], config["features"]), (state["protocol"], state["features"]))
        self.assertEqual(config["titles"], ["https://films.example/a", "https://b.example"])
        self.assertEqual(config["limits"]["chatLength"], 7)
        client.say("URL_CHANGE", url="https://films.example/ab", id=1)
        await client.hear("ERROR", code="bad_url")
        client.say("URL_CHANGE", url="https://films.example/a/b", id=2)
        await client.hear("ACK", id=2)

    def test_the_document_and_the_schema_have_the_same_messages(self) -> None:
        client, server = "## Messages of a client\n", "## Messages of the server\n"
        self.assertEqual(sections(client, server), main_types(m.CLIENT_MESSAGES))
        self.assertEqual(sections(server, "## Objects in messages\n"), main_types(m.SERVER_MESSAGES))
        self.assertEqual(defined("Client"), {tag_of(kind) for kind in m.CLIENT_MESSAGES})
        self.assertEqual(defined("Server"), {tag_of(kind) for kind in m.SERVER_MESSAGES})

    def test_the_main_text_names_only_messages_that_a_new_client_needs(self) -> None:
        main = DOCUMENT.partition(MARK)[0]
        named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", main)) - {"ROOM_ID"}
        needed = main_types(m.CLIENT_MESSAGES) | main_types(m.SERVER_MESSAGES)
        self.assertEqual(named - needed, set())
        self.assertNotIn("PLAYBACK_ACK", main)
