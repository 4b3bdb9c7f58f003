"""Each type of message at its limit, from 1, 30 and 480 connections of an address and of a /48: what it costs is bounded.

Generated from the declared messages: a type that has no bound in `allowed.BOUNDS`, or nothing to say in `allowed.SAYS`, fails.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.config.declaration import Limits

from .allowed import (
    BOUNDS,
    CROWDS,
    LONG_ID,
    LONG_REASON,
    LONG_URL,
    SAYS,
    SHORT,
    Crowd,
    Mouth,
    Party,
    encoded,
    hosts_only,
    kept,
    lines,
    name_of,
    rate_of,
    stored_bytes,
)
from .harness import EPOCH, Server

SECONDS = 2
"""For how long a crowd goes on after its bursts."""


class CostTest(SynchronousTestCase):
    """One message, in the worst room that members can bring about: of many, with bans, a closed gate and long names."""

    SMALL, LARGE, AT_ONCE = 10, 240, 90

    def room(self, size: int) -> tuple[Server, Any, Party]:
        clock: Any = MemoryReactorClock()
        clock.advance(EPOCH)
        server = Server(clock, limits=Limits())
        server.start()
        self.addCleanup(server.stop)
        members = []
        for number in range(size):
            mouth = Mouth(server, "room", f"{LONG_ID}{number}", f"192.0.2.{number // self.AT_ONCE}", number)
            mouth.connect()
            mouth.join()
            members.append(mouth)
        host = members[0]
        host.say(encoded(m.ToggleGuestControl, {"enabled": True}))
        host.say(encoded(m.UrlChange, {"url": LONG_URL}))
        for number in range(98):
            host.say(encoded(m.Ban, {"targetUserId": f"{LONG_ID}b{number}", "reason": LONG_REASON}))
            clock.advance(1)
        lost = members[-size // 10 :]
        party = Party(members[: -len(lost)], lost)
        for mouth in lost:
            mouth.drop()
        for _ in range(3):
            for mouth in party.present:
                mouth.say(encoded(m.PositionUpdate, {"currentTime": 5.0, "isPlaying": True}))
            clock.advance(1)
        host.say(encoded(m.Seek, {"currentTime": 7.0, "isPlaying": True}))
        clock.advance(0)
        for mouth in members:
            mouth.listens = False
        return server, clock, party

    def most(self, kind: type[m.ClientMessage], size: int) -> dict[str, int]:
        """Return the most that one of several messages costs."""
        server, clock, party = self.room(size)
        everybody = party.present + party.lost
        most: dict[str, int] = {}
        for number in range(4):
            mouth = party.present[0] if hosts_only(kind) else party.present[-1 - number]
            mouth.listens = kind is m.Join
            if kind is m.Join and number % 2:
                # One that was never here.
                mouth = Mouth(server, "room", f"{LONG_ID}{1000 + number}", "192.0.2.9", 1000 + number)
                mouth.connect()
                everybody = [*everybody, mouth]
            payload = encoded(kind, {**SAYS[kind](party, mouth, number), **({} if kind is m.Join else {"id": number})})
            server.journal.clear()
            told = sum(one.told for one in everybody)
            refused = dict(server.metrics.refused)

            def act(mouth: Mouth = mouth, payload: bytes = payload) -> None:
                mouth.say(payload)
                server.outbox.flush()

            ran = lines(act)
            self.assertEqual(dict(server.metrics.refused), refused, f"{name_of(kind)} was refused")
            stored, _, rows = stored_bytes(server)
            told = sum(one.told for one in everybody) - told
            for name, value in (("lines", ran), ("stored", stored), ("row", rows), ("told", told)):
                most[name] = max(most.get(name, 0), value)
            if kind is m.Kick:
                party.present.pop()
            clock.advance(1)
        return most

    def check(self, kind: type[m.ClientMessage]) -> None:
        bound = BOUNDS[kind]
        for size in (self.SMALL, self.LARGE):
            most = self.most(kind, size)
            allowed = {
                "lines": bound.lines + bound.each * size,
                "stored": bound.stored,
                "row": bound.row,
                "told": bound.told + bound.told_each * size,
            }
            over = {name: (value, allowed[name]) for name, value in most.items() if value > allowed[name]}
            self.assertEqual(over, {}, f"{name_of(kind)} in a room of {size}: {most}")
