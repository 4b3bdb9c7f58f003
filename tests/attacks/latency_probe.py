"""A room beside the attacked one: its members chat, and the delay of their messages is measured."""

from __future__ import annotations

import select
import time
from statistics import quantiles

from .client import Client

MEMBERS = 20
EVERY = 0.0125
"""Seconds between two messages; each member stays below the limits of an honest one."""
LOST = 2.0
"""Seconds after which a message counts as lost."""


class Neighbour:
    """A room full of honest people."""

    def __init__(self, address: tuple[str, int]):
        self._members: list[Client] = []
        self._said = 0
        for number in range(MEMBERS):
            client = Client(address, f"127.250.0.{number + 1}")
            if client.join("neighbours", f"neighbour{number}") is None:
                raise RuntimeError(f"no room for the neighbours: {client.status} {client.counts}")
            self._members.append(client)

    def talk(self, seconds: float) -> list[float]:
        """Have them talk in turn; return the seconds that each message took to the next member, LOST if it did not come."""
        took: list[float] = []
        end = time.monotonic() + seconds
        due = time.monotonic()
        while time.monotonic() < end:
            speaker = self._members[self._said % MEMBERS]
            listener = self._members[(self._said + 1) % MEMBERS]
            self._drain()
            text = f"number {self._said}"
            self._said += 1
            before = time.perf_counter()
            speaker.say("CHAT", text=text)
            heard = listener.hear("CHAT", within=LOST, text=text)
            took.append(time.perf_counter() - before if heard is not None else LOST)
            due = max(due + EVERY, time.monotonic() - 1.0)
            time.sleep(max(0.0, due - time.monotonic()))
        return took

    def _drain(self) -> None:
        readable = select.select([member.socket for member in self._members], [], [], 0)[0]
        for member in self._members:
            if member.socket in readable:
                member.read(0.001)
                member.take()

    @property
    def whole(self) -> bool:
        """Whether all are still connected."""
        return not any(member.over or member.code is not None for member in self._members)

    def close(self) -> None:
        for member in self._members:
            member.bye()


def p99(took: list[float]) -> float:
    """Return the 99th percentile; of a window with fewer than two messages, each of which took long, the longest."""
    return quantiles(took, n=100, method="inclusive")[98] if len(took) > 1 else max(took, default=LOST)
