"""Members in rooms, their random commands, and the check that they are in step again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.task import LoopingCall, deferLater

from ..support.patience import PATIENCE_SECONDS
from .checker import History
from .client import TITLE, Client, NewClient, OldClient, histories_of

USABLE_WITHIN = 5.0
"""Seconds after the end of a fault in which a room takes commands again, and all are in step: `make chaos` measures it."""

KINDS = {"CHAT": 6, "PLAY_PAUSE": 5, "SEEK": 1, "URL_CHANGE": 1, "OFFER": 2, "UPDATE_USERNAME": 1}
"""The commands of new clients, and how often they come."""


class FairClock:
    """Seconds in which this process really ran: on a machine with too much to do, less of them pass.

    Limits are in these; the nodes share the machine with us.
    """

    TICK = 0.05
    POLL = 0.01

    def __init__(self, reactor: Any):
        self.now = 0.0
        self._reactor = reactor
        self._last = 0.0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = reactor

    def start(self) -> None:
        self._last = self._reactor.seconds()
        self._loop.start(self.TICK, now=False)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def _tick(self) -> None:
        now = self._reactor.seconds()
        self.now += min(now - self._last, 1.5 * self.TICK)
        self._last = now

    async def until(self, condition: Callable[[], object], limit: float = PATIENCE_SECONDS) -> bool:
        """Wait until something is so; return whether it was within `limit` seconds."""
        end = self.now + limit
        while not condition():
            if self.now > end:
                return False
            await deferLater(self._reactor, self.POLL)
        return True


class Party:
    """All clients. choose: makes a function that chooses a node. layout: for each room (new clients, old clients)."""

    def __init__(
        self,
        reactor: Any,
        choose: Callable[[random.Random], Callable[[], int | None]],
        layout: Sequence[tuple[int, int]],
        seed: int,
        rate: float = 3.0,
        kinds: dict[str, int] | None = None,
        clock: FairClock | None = None,
    ):
        """rate: commands a second in each room. kinds: their shares, if not the default ones. clock: of all limits."""
        self.reactor = reactor
        self.seed = seed
        self.random = random.Random(seed)
        self.clock = clock or FairClock(reactor)
        self.clients: list[Client] = []
        self.rooms: dict[str, list[Client]] = {}
        self.reports: list[str] = []
        """How long it took until all was well, after each fault."""
        self._uniques = 0
        self._rate = rate
        self._kinds = kinds or KINDS
        self._load = LoopingCall(self._act)
        self._load.clock = reactor
        for number, (new, old) in enumerate(layout):
            room = f"room{number}"
            members: list[Client] = []
            for index in range(new + old):
                kind = NewClient if index < new else OldClient
                total = len(self.clients)
                address = f"127.{number + 1}.{total // 250}.{total % 250 + 1}"
                rng = random.Random(f"{seed} {total}")
                user = f"{'new' if kind is NewClient else 'old'}{total}"
                client = kind(reactor, room, user, address, choose(rng), rng)
                members.append(client)
                self.clients.append(client)
            self.rooms[room] = members

    async def begin(self) -> None:
        """Have all clients join, and the hosts let all members control."""
        self.clock.start()
        for members in self.rooms.values():
            members[0].connect()
        assert await self.clock.until(lambda: all(m[0].joined for m in self.rooms.values())), "the hosts are not in"
        for client in self.clients:
            if client.wire is None:
                client.connect()
        assert await self.clock.until(lambda: all(c.joined for c in self.clients)), "some clients have not joined"
        for members in self.rooms.values():
            self._host_does(members, "TOGGLE_GUEST_CONTROL", enabled=True)
            self._host_does(members, "URL_CHANGE", url=f"{TITLE}{self.unique()}")  # no command later has the same URL
        assert await self.clock.until(lambda: all(c.guest_control for c in self.clients)), "guests may not control"
        # The server refuses a control of a client that does not know the title yet.
        missing = lambda: [f"{c.user} at {c.at}" for c in self.clients if not c.knows_title]  # noqa: E731
        assert await self.clock.until(lambda: not missing()), f"some do not know the title: {missing()}"

    def load(self) -> None:
        """Begin to do things all the time."""
        self._load.start(0.05, now=False)

    def rest(self) -> None:
        """Cease to."""
        if self._load.running:
            self._load.stop()

    async def quiet(self) -> None:
        """Wait until everything that was asked for is answered."""
        self.rest()
        open_ = lambda: [c.user for c in self.clients if isinstance(c, NewClient) and c.unanswered]  # noqa: E731
        assert await self.clock.until(lambda: not open_()), f"no answer to commands of {open_()}"

    def stop(self) -> list[History]:
        """End everything; return the histories of all clients."""
        histories = histories_of(self.clients)
        self.rest()
        self.clock.stop()
        for client in self.clients:
            client.stop()
        return histories

    def heard(self) -> int:
        """Return how many messages all clients have received."""
        return sum(1 for history in histories_of(self.clients) for _ in history.heard())

    # -- commands

    def unique(self) -> int:
        self._uniques += 1
        return self._uniques

    def _host_does(self, members: Sequence[Client], type: str, **fields: Any) -> None:
        for client in members:
            if client.host == client.user:
                if isinstance(client, NewClient):
                    client.do(type, **fields)
                elif isinstance(client, OldClient) and type == "URL_CHANGE":
                    client.go(fields["url"])
                else:
                    client.say(type, **fields)

    def _act(self) -> None:
        for members in self.rooms.values():
            if self.random.random() < self._rate * 0.05:
                client = self.random.choice(members)
                if isinstance(client, NewClient):
                    self._command(client, members)
                elif isinstance(client, OldClient) and client.joined and "PLAY_PAUSE" in self._kinds:
                    client.press(not client.playing)

    def _command(self, client: NewClient, members: Sequence[Client]) -> None:
        number = self.unique()
        if len(client.unanswered) > 20:
            return
        kind = self.random.choices(list(self._kinds), list(self._kinds.values()))[0]
        if kind == "CHAT":
            client.do("CHAT", text=f"chat {number}")
        elif kind == "OFFER":
            other = self.random.choice(members)
            if other is not client:
                client.do("OFFER", to=other.user, offer={"type": "offer", "sdp": f"sdp {number}"})
        elif kind == "UPDATE_USERNAME":
            client.do("UPDATE_USERNAME", username=f"name {number}")
        elif client.controls:
            if kind == "PLAY_PAUSE":
                client.do("PLAY_PAUSE", control=self.random.choice(("play", "pause")), currentTime=number + 0.25)
            elif kind == "SEEK":
                client.do("SEEK", currentTime=number + 0.5, isPlaying=self.random.random() < 0.5)
            else:
                client.do("URL_CHANGE", url=f"{TITLE}{number}")

    def seek(self) -> None:
        """Have a member of each room seek."""
        for members in self.rooms.values():
            able = [client for client in members if isinstance(client, NewClient) and client.joined and client.controls]
            if able:
                self.random.choice(able).do("SEEK", currentTime=self.unique() + 0.5, isPlaying=True)

    # -- whether all is well

    def behind(self) -> list[str]:
        """Return which members have not been told of a change that another member of their room knows of."""
        ends = {room: max(client.told_to for client in members) for room, members in self.rooms.items()}
        return [
            f"{client.user} on {client.port} at {client.at if client.joined else None}, not {ends[room]}"
            for room, members in self.rooms.items()
            for client in members
            if not client.joined or client.at < ends[room]
        ]

    async def settled(
        self, what: str, *, usable: float = PATIENCE_SECONDS, old: float = PATIENCE_SECONDS, aside: int = 0
    ) -> None:
        """Send a message in every room, now; fail unless it is accepted and all members receive it in time.

        usable: limit for its acknowledgment and for new clients; old: for old clients; both in fair seconds.
        aside: the port of a node that is frozen; its clients cannot be in step.
        """
        began = self.clock.now
        marks = {
            room: _Mark(self, [client for client in members if client.port != aside])
            for room, members in self.rooms.items()
        }
        done = await self.clock.until(lambda: all(m.done for m in marks.values()), usable)
        late = self.clock.now - began
        if not done:
            raise AssertionError(f"{what}: not usable after {usable} s: {[r for r, m in marks.items() if not m.done]}")
        in_step = await self.clock.until(lambda: not any(m.missing(False) for m in marks.values()), usable - late)
        new_after = self.clock.now - began
        if not in_step:
            lost = [user for mark in marks.values() for user in mark.missing(False)]
            raise AssertionError(f"{what}: not in step after {usable} s: {lost}")
        in_step = await self.clock.until(lambda: not any(m.missing(True) for m in marks.values()), old - new_after)
        if not in_step:
            lost = [user for mark in marks.values() for user in mark.missing(True)]
            raise AssertionError(f"{what}: old clients not in step after {old} s: {lost}")
        self.reports.append(
            f"{what}: usable after {late:.1f} s, new clients in step after {new_after:.1f} s, old ones after "
            f"{self.clock.now - began:.1f} s"
        )
        for mark in marks.values():
            mark.stop()


NOT_YET = 1 << 62, 0
"""A place that no client reaches."""


class _Mark:
    """Something said in a room, to see whether it arrives."""

    def __init__(self, party: Party, members: Sequence[Client]):
        self._party = party
        self._members = members
        self._text = f"mark {party.unique()}"
        self._loop: LoopingCall | None = None
        self._said: tuple[NewClient, int] | None = None
        speakers = [client for client in members if isinstance(client, NewClient)]
        if speakers:
            speaker = party.random.choice(speakers)
            self._said = speaker, speaker.do("CHAT", text=self._text)
        else:
            self._loop = LoopingCall(self._say)
            self._loop.clock = party.reactor
            self._loop.start(0.5)

    def _say(self) -> None:
        # No message tells an old client that it was not heard.
        if not self._places():
            self._party.random.choice(self._members).say("CHAT", text=self._text)

    def _places(self) -> list[tuple[int, int]]:
        return [client.texts[self._text] for client in self._members if self._text in client.texts]

    def _acked_at(self) -> tuple[int, int]:
        """Return the place that the ACK says, for the case that all clients have received a whole ROOM_STATE instead."""
        client, id_ = self._said or (None, 0)
        return client.acked.get(id_, NOT_YET) if client is not None else NOT_YET

    @property
    def done(self) -> bool:
        if self._said is None:
            return bool(self._places())
        client, id_ = self._said
        if id_ not in client.unanswered and id_ not in client.acked:
            # It was told to try again, and does not.
            self._text += "'"
            id_ = client.do("CHAT", text=self._text)
            self._said = client, id_
        return id_ in client.acked

    def missing(self, old: bool) -> list[str]:
        """Return the clients that do not know of it. A client that received a whole ROOM_STATE instead has nothing to miss."""
        place = max(self._places(), default=self._acked_at())
        return [
            f"{client.user} on {client.port} at {client.at if client.joined else None}, not {place}"
            for client in self._members
            if client.old == old and self._text not in client.texts and not (client.joined and client.at >= place)
        ]

    def stop(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()
