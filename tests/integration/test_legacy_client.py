"""Old clients and new ones, through everything that happens to people: in the end all are in the room and in step.

Every party has a number, from which everything in it follows: a failure can be repeated.
"""

from __future__ import annotations

import random
from typing import Any, cast

import txaio
from twisted.internet.testing import MemoryReactorClock

from ..support.fake_node import EPOCH, NETFLIX, OTHER_TITLE, TITLE, ServiceTestCase, World
from ..support.legacy_client import OldClient
from ..support.message_schema import faults
from ..support.protocol_client import NewClient

LONG_ENOUGH = 160.0
"""Seconds until all must be well again.

A dead connection is noticed within 55 s, and its member has 45 s to come back. A client may wait for that behind another
one's 45 s.
"""
DRIFT = 0.5
PARTIES = (*range(40), 146, 150, 175, 202, 220, 251, 282, 387)
"""The last ones once ended badly."""
VALIDATED_PARTIES = (0, 1, 220, 387)
"""Those whose messages are validated by the JSON Schema. Validation takes as long as the rest of a party."""


class Party:
    """A room full of people."""

    def __init__(self, world: World, number: int):
        self.world = world
        self.random = random.Random(number)
        pin = self.random.choice((None, "123456"))
        kinds = ["old", "old", *self.random.choices(("old", "new"), k=self.random.randint(0, 3))]
        self.random.shuffle(kinds)
        self.viewers: list[OldClient | NewClient] = []
        self.log: list[str] = []
        self.travellers: list[OldClient] = []
        self._names = 0
        for i, kind in enumerate(kinds):
            make = OldClient if kind == "old" else NewClient
            self.viewers.append(make(world, self.fresh_name(), "room", f"10.0.{i}.1", pin, number * 100 + i))

    def fresh_name(self) -> str:
        self._names += 1
        return f"user_{self._names}"

    def begin(self) -> None:
        for viewer in self.viewers:
            viewer.start()
            self.world.advance(self.random.uniform(0.0, 2.0))
        self.world.advance(1)
        self.host.go(TITLE)
        self.world.advance(6)

    @property
    def host(self) -> OldClient | NewClient:
        """Return the host, or any member while the room has no host."""
        room = self.world.room()
        name = room.host if room is not None else ""
        return next((viewer for viewer in self.viewers if viewer.user == name), self.viewers[0])

    def trouble(self) -> None:
        """Let something happen."""
        what, actor = self.random.choice(_TROUBLES), self.random.choice(self.viewers)
        self.log.append(f"{self.world.now - EPOCH:.2f} {what} {actor.user}")
        getattr(self, what)(actor)

    # -- random events

    def press(self, actor: Any) -> None:
        actor.press(not actor.player.playing)

    def hosts_press(self, actor: Any) -> None:
        self.host.press(not self.host.player.playing)

    def seek(self, actor: Any) -> None:
        actor.seek(self.random.uniform(10, 5000))

    def hosts_seek(self, actor: Any) -> None:
        self.host.seek(self.random.uniform(10, 5000))

    def hosts_title(self, actor: Any) -> None:
        self.go(self.host)

    def go(self, actor: Any) -> None:
        actor.go(self.random.choice((TITLE, OTHER_TITLE)))
        if isinstance(actor, OldClient):
            self.travellers.append(actor)

    def wander(self, actor: Any) -> None:
        """A member looks at something else, although it does not control the film."""
        if isinstance(actor, OldClient):
            self.go(actor)

    def settle(self) -> None:
        """A member whose change of title was not heard tries again, or comes back by itself if it may not.

        So do guests that may control: the server sends no member to a title that could send it back.
        """
        room = self.world.room()
        assert room is not None
        for actor in self.viewers:
            if isinstance(actor, NewClient) or actor.url == room.playback.url:
                continue
            if actor in self.travellers or room.settings.guest_control:
                actor.load(actor.url if actor.user == room.host else room.playback.url)

    def reload(self, actor: Any) -> None:
        if isinstance(actor, OldClient):
            actor.load(actor.url or NETFLIX + "/browse")

    def reload_without_worker(self, actor: Any) -> None:
        room = self.world.room()
        member = room.members.get(actor.user) if room is not None else None
        # It has forgotten its name and the PIN: it is let in only where it was before.
        if isinstance(actor, OldClient) and member is not None and member.address == actor.address:
            actor.load(actor.url or NETFLIX + "/browse", lost_worker=True)

    def start_again(self, actor: Any) -> None:
        if isinstance(actor, OldClient):
            actor.start_again()

    def lose_connection(self, actor: Any) -> None:
        if actor.socket is not None:
            actor.socket.cut()

    def freeze(self, actor: Any) -> None:
        """The network is gone, and neither side is told."""
        if actor.socket is not None and isinstance(actor, OldClient):
            actor.socket.link.frozen = True

    def change_network(self, actor: Any) -> None:
        actor.change_network(f"10.9.{self.random.randint(0, 255)}.7", silently=False)

    def change_network_silently(self, actor: Any) -> None:
        actor.change_network(f"10.9.{self.random.randint(0, 255)}.7", silently=True)

    def lose_user_id(self, actor: Any) -> None:
        if isinstance(actor, OldClient):
            actor.restart_worker(self.fresh_name())

    def chat(self, actor: Any) -> None:
        if isinstance(actor, NewClient):
            actor.command("CHAT", text=f"{actor.user} {self.world.now}")

    def toggle(self, actor: Any) -> None:
        if isinstance(self.host, NewClient):
            self.host.command("TOGGLE_GUEST_CONTROL", enabled=not self.host.guest_control)

    def transfer(self, actor: Any) -> None:
        if isinstance(self.host, NewClient):
            self.host.command("TRANSFER_HOST", targetUserId=actor.user)

    def restart(self, actor: Any) -> None:
        """The server is stopped, or killed, and started again."""
        if self.random.random() < 0.5:
            self.world.server.drain()
            self.world.settle()
        rooms = self.world.crash()
        self.world.advance(self.random.uniform(0.1, 5.0))
        self.world.start(rooms)


_TROUBLES = [
    "press", "hosts_press", "hosts_press", "seek", "hosts_seek", "hosts_seek", "hosts_title", "wander", "reload",
    "reload_without_worker", "start_again", "lose_connection", "freeze", "change_network",
    "change_network_silently", "lose_user_id", "chat", "chat", "toggle", "transfer", "restart",
]  # fmt: skip


class PartyTest(ServiceTestCase):
    def run_party(self, number: int, troubles: int = 12) -> None:
        reactor: Any = MemoryReactorClock()
        reactor.advance(EPOCH)
        self.patch(cast(Any, txaio).config, "loop", reactor)
        world = World(reactor)
        invalid: list[str] = []
        if number in VALIDATED_PARTIES:
            world.observe = lambda sender, message: invalid.extend(faults(sender, message))
        party = Party(world, number)
        try:
            party.begin()
            for _ in range(troubles):
                party.trouble()
                world.advance(party.random.choice((0.0, 0.1, 1.0, 3.0, 8.0)))
            world.advance(LONG_ENOUGH)
            party.settle()
            world.advance(20)
            self.assertWell(party)
            self.assertEqual(invalid, [])
        except Exception as error:
            raise self.failureException(f"party {number}: {error!r}\n" + "\n".join(party.log)) from error
        finally:
            for viewer in party.viewers:
                viewer.stop()
            world.close()

    def assertWell(self, party: Party) -> None:
        world = party.world
        room = world.room()
        assert room is not None
        self.assertEqual(set(room.members), {viewer.user for viewer in party.viewers}, "these members and no others")
        for viewer in party.viewers:
            self.assertTrue(room.members[viewer.user].conn, f"{viewer.user} is connected")
            self.assertEqual(viewer.host, room.host)
            self.assertEqual(viewer.guest_control, room.settings.guest_control)
            self.assertEqual(viewer.url, room.playback.url, f"{viewer.user} shows the title")
            off = viewer.player.position - room.playback.position_at(world.now)
            self.assertLess(abs(off), DRIFT, f"{viewer.user} is in step")
            self.assertEqual(viewer.player.playing, room.playback.playing, f"{viewer.user} plays or not")
            others = {other.user for other in party.viewers} - {viewer.user}
            if isinstance(viewer, OldClient):
                self.assertEqual(viewer.tiles, others, f"{viewer.user} shows all others")
            else:
                self.assertEqual(viewer.members, others | {viewer.user})
                self.assertEqual(viewer.unanswered, {})
        chats = [viewer.chats for viewer in party.viewers if isinstance(viewer, NewClient) and not viewer.holes]
        self.assertTrue(all(heard == chats[0] for heard in chats), "all have heard the same")

    def test_parties(self) -> None:
        failed = []
        for number in PARTIES:
            try:
                self.run_party(number)
            except self.failureException as error:
                failed.append(str(error))
        self.assertEqual(failed, [], "\n\n".join([f"{len(failed)} of {len(PARTIES)} parties failed", *failed]))
