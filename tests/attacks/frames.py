"""Excess bytes, in one frame or in many: the cost of a connection before one of its messages is decoded."""

from __future__ import annotations

import time
import zlib

from ..support.patience import PATIENCE_SECONDS
from .case import MIB, Case, Field, Outcome
from .client import CONTINUATION, PING, TEXT, frame, message


def codes(found: dict[int | None, int]) -> str:
    """Return how connections ended, for people."""
    return ", ".join(f"{'cut off' if code is None else code}: {count}" for code, count in found.items())


class Pouring(Case):
    """Connections into which something is poured without an end. head: written first; body: again and again."""

    headers = ""
    head = b""
    body = b""
    closes: tuple[int, ...] = (1002,)
    """The codes with which such a connection may be closed."""
    enough = 100 * MIB
    """How many bytes of it are tried."""

    def attack(self, field: Field) -> Outcome:
        outcome, most = Outcome(), 0
        ends: dict[int | None, int] = {}
        while True:
            client = field.client(headers=self.headers)
            if client.status == 101:
                outcome.expect(
                    not client.answer.header(b"sec-websocket-extensions"), "the server agreed to an extension"
                )
                client.write(self.head)
                sent = client.pour(self.body, time.monotonic() + PATIENCE_SECONDS, self.enough)
                closed = client.ended()
                client.take()
                outcome.expect(closed, "a connection stayed open")
                outcome.expect(
                    client.code in (*self.closes, None),
                    f"a connection was closed with {client.code}, not {self.closes}",
                )
                ends[client.code] = ends.get(client.code, 0) + 1
                most = max(most, sent)
            else:
                ends[client.status] = ends.get(client.status, 0) + 1
            client.close()
            if not field.going_on:
                break
        outcome.got = f"closed ({codes(ends)}); at most {most / MIB:.1f} MiB were taken of one"
        return outcome


class HugeFrames(Pouring):
    name = "frames of 100 MiB"
    head = frame(TEXT, b"", length=100 * MIB)
    body = b"x" * 65536
    closes: tuple[int, ...] = (1009,)


class HugeMessages(Pouring):
    name = "messages of 100 MiB in fragments"
    head = frame(TEXT, b"x", fin=False)
    body = frame(CONTINUATION, b"x" * 60000, fin=False)
    closes = (1009, 1008)


class Fragments(Pouring):
    name = "fragments by the million"
    head = frame(TEXT, b"", fin=False)
    body = frame(CONTINUATION, b"", fin=False) * 10_000
    closes = (1008, 1009)


class Pings(Pouring):
    name = "WebSocket pings by the million"
    body = frame(PING, b"x") * 10_000
    closes = (1008,)


class Bombs(Pouring):
    """A megabyte of zeros in a thousand bytes, to a server that was offered compression."""

    name = "compressed bombs"
    headers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    body = frame(TEXT, zlib.compress(bytes(20 * MIB), 9)[2:-4], rsv=4)
    closes: tuple[int, ...] = (1002,)


class DeepJson(Case):
    name = "deeply nested JSON"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        deep = [
            frame(TEXT, b"[" * 65000),
            frame(TEXT, b'{"type":"PING","x":' + b"[" * 32000 + b"]" * 32000 + b"}"),
            frame(TEXT, b'{"a":' * 10000 + b"1" + b"}" * 10000),
        ]
        sent = 0
        counts: dict[str, int] = {}
        while True:
            client = field.client()
            while not client.over and client.code is None:
                for one in deep:
                    client.write(one)
                    sent += 1
                client.all(0.05)
                if not field.going_on:
                    if "bad_message" not in client.counts:
                        client.hear("ERROR", code="bad_message")
                    break
            for name, count in client.counts.items():
                counts[name] = counts.get(name, 0) + count
            client.bye()
            if not field.going_on:
                break
        outcome.expect("internal" not in counts, "a fault of the server")
        outcome.expect(set(counts) <= {"bad_message", "PONG", "rate_limited", ""}, f"unexpected: {counts}")
        outcome.expect("bad_message" in counts, "it was not refused")
        outcome.got = f"{sent} sent: {counts}"
        return outcome


class NeverReading(Case):
    """Members who never read, and others who send them as much as they may, or half a megabyte a second."""

    name = "receivers that never read"
    # The five senders may send 8 MiB each at once; relays to another node wait for Redis meanwhile.
    memory = 128
    deaf = 5

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        # The honest ones of the room: they must not notice.
        host, guest = field.member("host"), field.member("guest")
        members = []
        for number in range(self.deaf):
            client = field.client(small=True)
            client.say("JOIN", roomId=field.room, userId=f"deaf{number}")
            # It does not read the answer. Messages to it before it is a member would not reach it.
            outcome.expect(host.hear("USER_JOINED", userId=f"deaf{number}") is not None, f"deaf{number} is not in")
            members.append(client)
        talkers = [field.member(f"talker{number}") for number in range(self.deaf)]
        candidate = {"candidate": "x" * 8000}
        sent = said = 0
        refused = [0] * self.deaf
        begun = time.monotonic()
        while True:
            for number, talker in enumerate(talkers):
                for _ in range(20):
                    talker.write(message("ICE_CANDIDATE", to=f"deaf{number}", candidate=candidate))
                    sent += 1
                talker.read(0.001)
                refused[number] += talker.received.count(b'"ERROR"')
                talker.received = b""
            if said < 5 + (time.monotonic() - begun):
                host.say("CHAT", text=f"chat {said}")
                outcome.expect(guest.hear("CHAT", text=f"chat {said}") is not None, "a guest missed the host's chat")
                host.take()
                said += 1
            if not field.going_on and sent >= 800 * self.deaf:
                break
        # Behind a proxy, its buffers and the kernel's take as much as any client may send; the node does not notice.
        # The room and the address have budgets as well: a member to whom most was refused has little that waits.
        gone = 0
        for client, count in zip(members, refused, strict=True):
            hung_up = client.hung_up(1.0 if field.proxied or count else PATIENCE_SECONDS)
            outcome.expect(hung_up or count > 0 or field.proxied, "a member that never reads was still connected")
            gone += hung_up
        outcome.got = (
            f"{sent * 8000 / MIB:.0f} MiB for {self.deaf} of them, {sum(refused)} of {sent} messages refused; "
            f"{gone} were cut off; the others heard all {said}"
        )
        for client in (host, guest, *members, *talkers):
            client.close()
        return outcome


CASES: tuple[type[Case], ...] = (HugeFrames, HugeMessages, Fragments, Pings, Bombs, DeepJson, NeverReading)
