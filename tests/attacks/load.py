"""The allowed messages in full: `python -m tests.attacks.load`, a part of `make attacks`.

Against one node, and two with Redis and PostgreSQL, all in processes of their own and with the default limits: each type of
message at its limit from 1, 30 and 480 connections of one address and of a /48. It asserts how much the nodes, Redis and the
database have grown, and that a neighbour was answered; for how long it waited is only reported. tests.attacks.test_allowed_messages
is the short form, in simulated time.
"""

from __future__ import annotations

import argparse
import select
import sys
import time
from collections.abc import Iterator
from typing import Any

from tandemd import messages as m
from tandemd.config.schema import Limits

from .allowed import CROWDS, ROOM_SIZE, ROOMS, SAYS, Party, encoded, hosts_only, name_of, rate_of
from .case import MIB
from .client import TEXT, Client, frame
from .servers import OneNode, Target, TwoNodes

NODE_GROWS = 192 * MIB
"""The growth of a node: bytes on the way to 480 clients, in pieces that the allocator does not give back."""
REDIS_MAXMEMORY = 384 * MIB
"""As in docker-compose.yml and k8s/components/redis."""
REDIS_GROWS = 64 * MIB
"""Bytes of Redis that one address may fill."""
REDIS_GROWS_WIDE = REDIS_MAXMEMORY * 8 // 10
"""Bytes of Redis that a /48 may fill: at 80 % of `maxmemory` the nodes shorten logs, and other rooms notice that."""
DATABASE_GROWS = 64 * MIB
SECONDS = 5.0
DRAIN_EVERY_JOINS = 10
"""JOINs of a crowd after which the connected clients read, and answer pings."""
HEAD = """
| what | sent | node, MiB | Redis, MiB | database, MiB | longest wait of a neighbour, ms |
|---|---:|---:|---:|---:|---:|"""


class Speaker:
    """One connection. number, user, token: as `SAYS` wants them. sent: messages."""

    def __init__(self, client: Client, room: str, number: int):
        self.client = client
        self.room = room
        self.number = number
        self.user = f"member{number}"
        self.token = ""
        self.version = (0, 0)
        self.sent = 0


class Load:
    """A crowd that sends messages of one type at their limit.

    neighbour: a client of another room, which the crowd keeps alive while it joins: JOINs of one address take a minute.
    """

    def __init__(
        self, target: Target, kind: type[m.ClientMessage], count: int, wide: bool, run: int, neighbour: Client
    ):
        self._target = target
        self._kind = kind
        self._run = run
        self._wide = wide
        self._neighbour = neighbour
        rooms = min(ROOMS, (count + 2) // 3) if hosts_only(kind) else -(-count // ROOM_SIZE)
        self.parties: list[Party] = []
        self._clients: list[Client] = []
        number = 0
        for room in range(rooms):
            members: list[Any] = []
            for _ in range(count // rooms + (room < count % rooms)):
                members.append(self._join(f"load-{run}-{room}", number))
                number += 1
            members[0].client.say("TOGGLE_GUEST_CONTROL", enabled=True)
            lost = members[len(members) - len(members) // 4 :] if len(members) > 3 else []
            for member in lost:
                member.client.close()
            self.parties.append(Party(members[: len(members) - len(lost)], lost))

    def _join(self, room: str, number: int) -> Speaker:
        # Another address for each run, so that no run pays for the one before.
        address = (
            f"2001:db8:{self._run:x}:{number:x}::1" if self._wide else f"203.0.{self._run // 250}.{self._run % 250 + 1}"
        )
        client = Client(self._target.address, "127.0.0.1", f"X-Forwarded-For: {address}\r\n")
        speaker = Speaker(client, room, number)
        state = client.join(room, speaker.user, keepsToken=True)
        if state is None:
            raise RuntimeError(f"{speaker.user} could not join {room}: {client.status}, {client.counts}")
        speaker.token, speaker.version = state["token"], (state["epoch"], state["seq"])
        self._clients.append(client)
        if number % DRAIN_EVERY_JOINS == 0:
            self._drain()
        return speaker

    def speakers(self) -> Iterator[tuple[Party, Any]]:
        for party in self.parties:
            for speaker in party.present:
                yield party, speaker

    def go_on(self, seconds: float) -> int:
        """Say it for a time, burst first; return how many messages that were."""
        rate = rate_of(self._kind, Limits())
        begun = time.monotonic()
        sent = 0
        while (gone := time.monotonic() - begun) < seconds:
            allowed = int(rate.burst + rate.per_second * gone)
            for party, speaker in self.speakers():
                if speaker.client.over or speaker.sent >= allowed:
                    continue
                says = SAYS[self._kind](party, speaker, speaker.sent)
                speaker.client.write(frame(TEXT, encoded(self._kind, says)))
                speaker.sent += 1
                sent += 1
            self._drain()
        return sent

    def _drain(self) -> None:
        poll = select.poll()
        by_fd = {
            client.socket.fileno(): client
            for client in (self._neighbour, *self._clients)
            if not client.over and client.socket.fileno() >= 0
        }
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(0):
            by_fd[fd].read(0.001)
            by_fd[fd].take()

    def close(self) -> None:
        for client in self._clients:
            client.close()


def one(target: Target, kind: type[m.ClientMessage], count: int, wide: bool, run: int, seconds: float) -> list[str]:
    """Let one crowd go on for a time; return the failures."""
    what = f"{name_of(kind)}, {count} of {'a /48' if wide else 'one address'}, {target.name}"
    neighbour = Client(target.address, "127.0.0.1", f"X-Forwarded-For: 198.51.100.{run % 250 + 1}\r\n")
    assert neighbour.join(f"neighbour-{run}", "neighbour") is not None
    # Redis still holds the data of earlier crowds.
    node, database, before = target.resident(), target.database_bytes(), target.redis_bytes()
    load = Load(target, kind, count, wide, run, neighbour)
    sent, waits, refused = 0, [0.0], []
    for number in range(max(1, round(seconds))):
        sent += load.go_on(1.0)
        asked = time.monotonic()
        neighbour.say("CHAT", text="still here", id=number)
        answer = neighbour.hear("ACK", "ERROR", id=number)
        if answer is None or answer["type"] == "ERROR":
            closed = f"closed with {neighbour.code}" if neighbour.over or neighbour.code is not None else "not answered"
            refused.append(closed if answer is None else f"refused with {answer['code']}")
        else:
            waits.append(time.monotonic() - asked)
    grown, stored = target.resident() - node, target.database_bytes() - database
    redis = target.redis_bytes() - before
    load.close()
    neighbour.bye()
    print(
        f"| {what} | {sent} | {grown / MIB:.1f} | {redis / MIB:.1f} | {stored / MIB:.1f} | {1000 * max(waits):.0f} |",
        flush=True,
    )
    most = NODE_GROWS * (2 if wide else 1)
    wrong = [f"{what}: a neighbour was {how}" for how in refused]
    wrong += [f"{what}: a node grew by {grown / MIB:.0f} MiB"] if grown > most else []
    wrong += (
        [f"{what}: Redis grew by {redis / MIB:.0f} MiB"] if redis > (REDIS_GROWS_WIDE if wide else REDIS_GROWS) else []
    )
    wrong += [f"{what}: the database grew by {stored / MIB:.0f} MiB"] if stored > DATABASE_GROWS else []
    return wrong + [f"{what}: {line}" for line in target.errors()[:3]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.load", description=__doc__)
    parser.add_argument("--target", choices=["one", "two", "both"], default="both")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each crowd")
    parser.add_argument("--only", default="", help="types whose name contains this")
    options = parser.parse_args()
    wrong: list[str] = []
    run = 0
    for name in ("one", "two"):
        if options.target not in (name, "both"):
            continue
        target: Target
        if name == "one":
            target = OneNode(TANDEMD_WEB_TRUSTED_PROXIES="1")
        else:
            redis_options = ("--maxmemory", str(REDIS_MAXMEMORY), "--maxmemory-policy", "noeviction")
            target = TwoNodes(redis_options=redis_options, TANDEMD_WEB_TRUSTED_PROXIES="2")
        print(HEAD)
        try:
            for kind in m.CLIENT_MESSAGES:
                if options.only in name_of(kind):
                    for count in CROWDS:
                        for wide in (False, True):
                            run += 1
                            wrong += one(target, kind, count, wide, run, options.seconds)
        finally:
            target.stop()
    print("\n".join(wrong) or "all within their bounds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
