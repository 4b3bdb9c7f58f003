"""Connections without a handshake, and requests that never end."""

from __future__ import annotations

import contextlib
import time

from ..support.patience import PATIENCE_SECONDS
from .case import MIB, Case, Field, Outcome
from .client import Wire


class Waiting(Case):
    """Connections that hold resources for as long as the server lets them."""

    begin = b""
    drip = b""
    """A byte now and then, to look alive."""
    memory = 64

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        wires: list[Wire] = []
        # As many as a machine's thousand of open files allow, or a hundred a second.
        most = 100 if field.seconds < 1 else 900
        refused = 0
        source, opened = "", 0
        while len(wires) < most and (field.going_on or len(wires) < 100):
            # From every address as many as would never be refused for their number.
            if opened % 150 == 0:
                source = field.fresh()
            opened += 1
            try:
                wire = field.wire(source)
            except OSError:
                refused += 1
                continue
            wire.write(self.begin)
            wires.append(wire)
        end = time.monotonic() + PATIENCE_SECONDS
        ends: list[float] = []
        began = time.monotonic()
        waiting = wires
        while waiting and time.monotonic() < end:
            for wire in waiting:
                wire.write(self.drip)
                wire.read(0.0001)
            ends += [time.monotonic() - began for wire in waiting if wire.over]
            waiting = [wire for wire in waiting if not wire.over]
            time.sleep(0.05)
        outcome.expect(not waiting, f"{len(waiting)} of {len(wires)} were open {end - began:.0f} s later")
        outcome.got = f"{len(wires)} connections, {refused} refused; the last ended after {max(ends, default=0):.1f} s"
        for wire in wires:
            with contextlib.suppress(OSError):
                wire.close()
        return outcome


class HalfOpen(Waiting):
    name = "half-open handshakes"


class SlowHeaders(Waiting):
    name = "slow headers"
    begin = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nX-Slow: "
    drip = b"x"


class Silent(Case):
    """WebSockets that never say anything, as many as one address may have."""

    name = "sockets that never join"
    memory = 64

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        source, clients = field.fresh(), []
        answers: dict[int, int] = {}
        most = 100 if field.seconds < 1 else 800
        while len(clients) < most and (field.going_on or len(clients) < 100):
            client = field.client(source)
            answers[client.status] = answers.get(client.status, 0) + 1
            if client.status == 101:
                clients.append(client)
            else:
                client.close()
                if len(clients) >= 100:
                    break
        outcome.got = f"answers to handshakes of one address: {answers}"
        outcome.expect(set(answers) <= {101, 429, 503}, f"unexpected: {answers}")
        for client in clients:
            client.close()
        return outcome


class BigBodies(Case):
    """Bodies without a use."""

    name = "request bodies of a gigabyte"

    def attack(self, field: Field) -> Outcome:
        outcome, taken = Outcome(), 0
        answers: dict[int, int] = {}
        heads = (
            b"POST /api/room/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        while True:
            for head in heads:
                with field.wire() as wire:
                    wire.write(head)
                    body = b"8000\r\n" + b"x" * 0x8000 + b"\r\n" if b"chunked" in head else b"x" * 65536
                    taken += wire.pour(body, time.monotonic() + 1.0, 200 * MIB)
                    outcome.expect(wire.ended(), "a connection stayed open")
                    status = int(wire.received[9:12] or b"0")
                    answers[status] = answers.get(status, 0) + 1
            if not field.going_on:
                break
        outcome.expect(set(answers) <= {0, 400, 405, 411, 413}, f"unexpected: {answers}")
        outcome.got = f"answers {answers}; {taken / MIB:.1f} MiB were taken"
        return outcome


class Unread(Case):
    """Files that are asked for again and again on one connection, and never read."""

    name = "answers that are never read"
    memory = 64

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        ask = b"GET /page/clip.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
        wires = []
        most = 20 if field.seconds < 1 else 200
        while len(wires) < most:
            wire = field.wire(small=True)
            wire.pour(ask, time.monotonic() + 0.05, len(ask), reading=False)
            wires.append(wire)
        while field.going_on:
            time.sleep(0.05)
        outcome.got = f"{len(wires)} connections with {1000 * len(wires)} requests"
        for wire in wires:
            wire.close()
        return outcome


CASES: tuple[type[Case], ...] = (HalfOpen, SlowHeaders, Silent, BigBodies, Unread)
