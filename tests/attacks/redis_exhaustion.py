"""One address fills Redis with messages that are allowed: `python -m tests.attacks.redis_exhaustion`.

Two nodes, a Redis of 384 MB that throws nothing away, and PostgreSQL. The address has 15 connections, whose messages need
most space: bans, gates, chat in one room after another, and mail for lost members. Meanwhile members of other rooms go on as
always. Then Redis is full by hand: once its memory is raised while the attack goes on, and once the attacker leaves.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..support.patience import PATIENCE_SECONDS, until, wait_for_end
from ..support.private_servers import die_with_parent
from .case import MIB
from .client import Client, Json
from .servers import ROOT, Cluster

ATTACKER = "127.1.0.1"
CONNECTIONS = 15
WINDOW_COMMANDS = 20
"""Commands of each honest member in a window."""
MAXMEMORY = 384 * MIB
MOST_REDIS = 64 * MIB
RAISED_WITHIN_SECONDS = 5.0
LEFT_WITHIN_SECONDS = 60.0
NEARLY_FULL = 16 * 1024
"""Bytes that Redis may use beyond its present use, when it is made full."""
AGAIN_SECONDS = 0.25
"""Until a member tries again: less often than it is limited to."""
REFUSALS = 10
"""Commands of members that are refused each time, until it has been full for long enough."""
WIDE = "\U0001f600"
"""A character of four bytes."""

Script = Iterator[tuple[str, Json]]
"""The script of an attacker's connection: types and fields. "DROP": lose the connection and open another."""


# -- the attacker


class Hand:
    """One connection of the attacker. It says the next thing as soon as the server allows it."""

    PACE_SECONDS = 0.02
    UNANSWERED_SECONDS = 5.0
    """A JOIN that is not answered for so long waits for something: the script goes on."""

    def __init__(self, address: tuple[str, int], script: Callable[[Hand], Script]):
        self.address = address
        self.seek = 0.0
        """The position of the last gate that it was told of."""
        self.sent: dict[str, int] = {}
        self.bytes = 0
        self.refused: dict[str, int] = {}
        self.closed = 0
        self._script = script(self)
        self._client: Client | None = None
        self._again: tuple[str, Json] | None = None
        self._last: tuple[str, Json] = ("", {})
        self._due = 0.0
        self._joins_until = 0.0
        self._join: Json = {}

    def step(self) -> None:
        """Take arrived messages, and send the next one if it is time."""
        now = time.monotonic()
        if self._client is None:
            if now >= self._due:
                self._connect(now)
            return
        self._listen(now)
        if self._client is None or now < max(self._due, self._joins_until):
            return
        kind, fields = self._again or next(self._script)
        self._again = None
        self._due = now + self.PACE_SECONDS
        if kind == "DROP":
            self._client.close()
            self._client, self._join = None, {}
            return
        if kind == "JOIN":
            self._join = fields
            self._joins_until = now + self.UNANSWERED_SECONDS
        self._say(kind, fields)

    def _connect(self, now: float) -> None:
        client = Client(self.address, ATTACKER)
        if client.status != 101:
            client.close()
            self._count(f"HTTP {client.status}")
            self._due = now + 5.0
            return
        self._client = client
        if self._join:
            self._joins_until = now + self.UNANSWERED_SECONDS
            self._say("JOIN", self._join)

    def _say(self, kind: str, fields: Json) -> None:
        assert self._client is not None
        self.sent[kind] = self.sent.get(kind, 0) + 1
        self.bytes += len(json.dumps(fields))
        self._last = kind, fields
        self._client.say(kind, **fields)

    def _listen(self, now: float) -> None:
        client = self._client
        assert client is not None
        client.read(0.0001)
        for heard in client.take():
            if heard["type"] == "ROOM_STATE":
                self._joins_until = 0.0
            elif heard["type"] == "SEEK_PAUSE":
                self.seek = heard["currentTime"]
            elif heard["type"] == "ERROR":
                self._count(heard["code"])
                self._due = now + heard.get("retryAfterMs", 200) / 1000
                self._again = self._last if "retryAfterMs" in heard else None
        if client.over or client.code is not None:
            self.closed += 1
            client.close()
            self._client, self._due = None, now + 1.0

    def _count(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1


def _join(room: str, user: str) -> tuple[str, Json]:
    return "JOIN", {"roomId": room, "userId": user, "username": WIDE * 50, "keepsToken": True}


def moderating(name: str) -> Callable[[Hand], Script]:
    """Return a script that adds as many bans as a room can have, with the longest ids, and then changes the room repeatedly."""

    def script(hand: Hand) -> Script:
        yield _join(f"{name}-{WIDE * 40}", WIDE * 60)
        number = 0
        while True:
            yield "BAN", {"targetUserId": f"{WIDE * 60}{number % 150}", "reason": WIDE * 200, "byAddress": False}
            if number >= 100:
                yield "LOCK_ROOM", {"locked": bool(number % 2)}
                yield "DELEGATE_CONTROL", {"targetUserId": WIDE * 60, "enabled": bool(number % 2)}
                yield "UNBAN", {"targetUserId": f"{WIDE * 60}{(number - 50) % 150}"}
                yield "UPDATE_USERNAME", {"username": f"{number}{WIDE * 40}"}
                yield "URL_CHANGE", {"url": f"https://www.netflix.com/watch/{number}?{'x' * 1900}"}
            number += 1

    return script


def gating(name: str, guest: int) -> Callable[[Hand], Script]:
    """Return a script for a room in which one goes elsewhere all the time (guest 0), and the others are ready for it."""

    def script(hand: Hand) -> Script:
        yield _join(name, f"{guest}{WIDE * 60}")
        number = 0
        while True:
            number += 1
            if guest == 0:
                yield "SEEK", {"currentTime": float(number), "isPlaying": True}
            else:
                yield "READY", {"targetTime": hand.seek}

    return script


def chatting(name: str) -> Callable[[Hand], Script]:
    """Return a script that fills one room after another with chat, and leaves it or loses it."""

    def script(hand: Hand) -> Script:
        number = 0
        while True:
            number += 1
            yield _join(f"{name}-{number}", f"{name}{WIDE * 50}")
            for _ in range(40):
                yield "CHAT", {"text": WIDE * 2000}
            yield ("LEAVE", {}) if number % 2 else ("DROP", {})

    return script


def mailing(name: str) -> Callable[[Hand], Script]:
    """Return a script that fills the mailboxes of lost members."""

    def script(hand: Hand) -> Script:
        round_ = 0
        while True:
            round_ += 1
            for number in range(10):
                yield _join(name, f"{round_}.{number}")
                yield "DROP", {}
            yield _join(name, f"sender {round_}")
            for number in range(10):
                for _ in range(6):
                    yield (
                        "OFFER",
                        {"to": f"{round_}.{number}", "offer": {"type": "offer", "sdp": "v=0\r\n" + "x" * 40_000}},
                    )
            yield "DROP", {}

    return script


def attack(ports: list[int]) -> None:
    """Attack until SIGTERM; then print counts of sent and rejected messages, as JSON, and end without closing anything."""
    scripts = [moderating(f"m{number}") for number in range(3)]
    scripts += [gating("gate", guest) for guest in range(4)]
    scripts += [chatting(f"c{number}") for number in range(5)]
    scripts += [mailing(f"mail{number}") for number in range(3)]
    assert len(scripts) == CONNECTIONS
    hands = [Hand(("127.0.0.1", ports[number % 2]), script) for number, script in enumerate(scripts)]
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    os.setpriority(os.PRIO_PROCESS, 0, 5)
    print("begun", flush=True)
    while not over.is_set():
        for hand in hands:
            hand.step()
        time.sleep(0.002)
    sent: dict[str, int] = {}
    refused: dict[str, int] = {}
    for hand in hands:
        for total, of in ((sent, hand.sent), (refused, hand.refused)):
            for name, count in of.items():
                total[name] = total.get(name, 0) + count
    report = {"sent": sent, "refused": refused, "bytes": sum(hand.bytes for hand in hands)}
    print(json.dumps({**report, "closed": sum(hand.closed for hand in hands)}), flush=True)
    os._exit(0)


class Attacker:
    """The attacker, in a process of its own."""

    def __init__(self, ports: list[int]):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.redis_exhaustion", "--attack", *map(str, ports)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
        )  # fmt: skip
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def leave(self) -> Json:
        """Have all its connections end at once; return their counts."""
        assert self._process.stdout is not None
        self._process.terminate()
        said = self._process.stdout.read()
        wait_for_end(self._process)
        return dict(json.loads(said))

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            wait_for_end(self._process)


# -- honest people


@dataclass
class Window:
    """The results of honest members within one window. done: acknowledged commands. slowest: seconds of one of them."""

    seconds: float = 0.0
    done: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    slowest: float = 0.0
    newcomers: float = 0.0
    """Seconds until the last of the newcomers, one at each node, was in a room of its own."""


class Honest:
    """One member at each node, in one room."""

    def __init__(self, ports: list[int]):
        self._ports = ports
        self._count = self._chats = 0
        self.members: list[Client] = []
        for number, port in enumerate(ports):
            client = Client(("127.0.0.1", port), f"127.101.0.{number + 1}")
            if client.join("honest", f"honest{number}", keepsToken=True) is None:
                raise RuntimeError(f"no room for honest people: {client.status} {client.counts}")
            self.members.append(client)
        self.members[0].say("TOGGLE_GUEST_CONTROL", enabled=True)
        for member in self.members:
            if member.hear("GUEST_CONTROL", enabled=True) is None:
                raise RuntimeError(f"honest guests may not control: {member.counts}")

    def command(self, member: Client) -> str:
        """Have a member do something and wait for the answer: "" if it was done, else the error's code."""
        self._count += 1
        fields: Json = (
            {"text": f"number {self._count}"} if self._count % 3 else {"control": "pause", "currentTime": 5.0}
        )
        member.say("CHAT" if "text" in fields else "PLAY_PAUSE", id=self._count, **fields)
        answer = member.hear("ACK", "ERROR", id=self._count)
        if answer is not None and answer["type"] == "ACK" and "text" in fields:
            self._chats += 1
        return "no answer" if answer is None else str(answer.get("code", ""))

    def newcomer(self, port: int) -> str:
        """Have a newcomer open a room; "" if it is in."""
        self._count += 1
        number = self._count
        source = f"127.{102 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
        client = Client(("127.0.0.1", port), source)
        client.say("JOIN", roomId=f"new{number}", userId="newcomer")
        answer = client.hear("ROOM_STATE", "ERROR")
        client.say("LEAVE")
        client.bye()
        return "no answer" if answer is None else str(answer.get("code", ""))

    def window(self, pace_seconds: float) -> Window:
        """Have all members do something as often as that for a window."""
        window = Window(done=[0] * len(self.members))
        began = due = time.monotonic()
        for _ in range(WINDOW_COMMANDS):
            for number, member in enumerate(self.members):
                before = time.monotonic()
                code = self.command(member)
                window.slowest = max(window.slowest, time.monotonic() - before)
                if code:
                    window.refused.append(code)
                else:
                    window.done[number] += 1
            due += pace_seconds
            time.sleep(max(0.0, due - time.monotonic()))
        window.seconds = time.monotonic() - began
        before = time.monotonic()
        window.refused += [f"newcomer: {code}" for port in self._ports if (code := self.newcomer(port))]
        window.newcomers = time.monotonic() - before
        return window

    def deaf(self) -> list[str]:
        """Return the members that lack messages of the others."""
        end = time.monotonic() + PATIENCE_SECONDS
        for member in self.members:
            while member.counts.get("CHAT", 0) < self._chats and time.monotonic() < end:
                member.read(1.0)
                member.take()
        return [
            f"member {number} heard {count} of {self._chats} chats"
            for number, member in enumerate(self.members)
            if (count := member.counts.get("CHAT", 0)) < self._chats
        ]

    def go_on(self) -> float:
        """Wait until a command of each member is done; return the seconds it took. Raises AssertionError."""
        began = time.monotonic()
        for member in self.members:
            while code := self.command(member):
                assert time.monotonic() < began + PATIENCE_SECONDS, f"commands are refused: {code}"
                time.sleep(AGAIN_SECONDS)
        return time.monotonic() - began

    def close(self) -> None:
        for member in self.members:
            member.bye()


# -- all of it


@dataclass
class Report:
    """The observations. Sizes in bytes, times in seconds. wrong: the server's failures, on any machine."""

    windows: list[Window] = field(default_factory=list)
    redis: int = 0
    resident: list[tuple[int, int]] = field(default_factory=list)
    """Of each node: before the attack, and at most during it."""
    attacker: Json = field(default_factory=dict)
    refused_honest: list[str] = field(default_factory=list)
    """The rejected commands of members while Redis was full."""
    raised: float = 0.0
    left: float = 0.0
    new_rooms: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def late(self) -> list[str]:
        """Return the actions that took longer than they should; on a machine with other work that says little."""
        windows = [
            f"{WINDOW_COMMANDS} commands took {w.seconds:.1f} s"
            for w in self.windows
            if w.seconds > WINDOW_COMMANDS + 1
        ]
        if self.raised > RAISED_WITHIN_SECONDS:
            windows.append(f"commands went on {self.raised:.1f} s after the memory was raised")
        if self.left > LEFT_WITHIN_SECONDS:
            windows.append(f"commands went on {self.left:.1f} s after the attacker had left")
        return windows

    def __str__(self) -> str:
        done = [min(window.done) for window in self.windows]
        sizes = "; ".join(f"{before / MIB:.0f} to {most / MIB:.0f}" for before, most in self.resident)
        lines = [
            f"Redis: {self.redis / MIB:.1f} MiB at most, of {MOST_REDIS // MIB}",
            f"nodes: {sizes} MiB",
            f"honest commands of each {WINDOW_COMMANDS}: {min(done)} at least, in {len(done)} windows on two nodes",
            f"the slowest command: {1000 * max(window.slowest for window in self.windows):.0f} ms; "
            f"two newcomers: {1000 * max(window.newcomers for window in self.windows):.0f} ms",
            f"attacker: {json.dumps(self.attacker)}",
            f"full and raised: commands go on after {self.raised:.2f} s",
            f"full, and the attacker leaves: commands go on after {self.left:.1f} s, new rooms after {self.new_rooms:.1f} s",
            f"refused to members while it was full: {dict(Counter(self.refused_honest))}",
        ]
        return "\n".join(lines + [f"WRONG {wrong}" for wrong in self.wrong] + [f"LATE {late}" for late in self.late])


class Scene:
    """The servers, the attacker and the honest members. environ: settings of the nodes that are not the defaults."""

    def __init__(self, **environ: str):
        self.report = Report()
        self.target = Cluster(("--maxmemory", str(MAXMEMORY), "--maxmemory-policy", "noeviction"), **environ)
        self._ports = [node.port for node in self.target.nodes]
        self.honest = Honest(self._ports)
        self.attacker: Attacker | None = None
        self._before = [node.resident() for node in self.target.nodes]
        self._most = list(self._before)

    def stop(self) -> None:
        if self.attacker is not None:
            self.attacker.kill()
        self.honest.close()
        self.target.stop()

    def about(self, name: str) -> int:
        """Return a number of Redis' INFO memory."""
        text = self.target.redis.execute("INFO", "memory").decode()
        return int(next(line for line in text.splitlines() if line.startswith(f"{name}:")).partition(":")[2])

    def limit(self, most: int) -> None:
        self.target.redis.execute("CONFIG", "SET", "maxmemory", str(most))

    def run(self, seconds: float, pace_seconds: float = 1.0) -> Report:
        """Attack for so long at least, and then have Redis be full twice. pace_seconds: between two commands of a member."""
        report = self.report
        self.attacker = Attacker(self._ports)
        end = time.monotonic() + seconds
        while not report.windows or time.monotonic() < end:
            window = self.honest.window(pace_seconds)
            report.windows.append(window)
            self._look()
            if min(window.done) < WINDOW_COMMANDS or window.refused:
                report.wrong.append(
                    f"window {len(report.windows)}: {window.done} commands done, refused {window.refused}"
                )
        report.wrong += self.honest.deaf()
        report.redis = self.about("used_memory_peak")
        if report.redis > MOST_REDIS:
            report.wrong.append(f"Redis used {report.redis / MIB:.0f} MiB")
        self._full()
        self.limit(MAXMEMORY)
        report.raised = self._going_on("with the memory raised")
        self._full()
        report.attacker = self.attacker.leave()
        report.left = self._going_on("with the attacker gone")
        # With its memory raised, everything is as before.
        self.limit(MAXMEMORY)
        began = time.monotonic()
        for port in self._ports:
            until("a new room", lambda port=port: not self.honest.newcomer(port))
        report.new_rooms = time.monotonic() - began
        self._look()
        report.resident = list(zip(self._before, self._most, strict=True))
        report.wrong += [line for line in self.target.errors() if "memory is full" not in line][:5]
        return report

    def _going_on(self, when: str) -> float:
        """Wait until commands are done again; return the seconds that it took."""
        try:
            return self.honest.go_on()
        except AssertionError as error:
            self.report.wrong.append(f"{when}: {error}")
            return PATIENCE_SECONDS

    def _look(self) -> None:
        self._most = [max(most, node.resident()) for most, node in zip(self._most, self.target.nodes, strict=True)]

    def _full(self) -> None:
        """Have Redis be full until members were refused something for a while.

        It gets a little more than it uses. If the nodes do with less than that, it gets less than it uses then.
        """
        self.limit(self.about("used_memory") + NEARLY_FULL)
        end = time.monotonic() + PATIENCE_SECONDS
        tries = refusals = 0
        while refusals < REFUSALS:
            assert time.monotonic() < end, f"Redis does not get full: {refusals} refusals"
            codes = [code for member in self.honest.members if (code := self.honest.command(member))]
            self.report.refused_honest += codes
            refusals += len(codes)
            tries += 1
            if not codes and tries > 10:
                self.limit(self.about("used_memory") - NEARLY_FULL)
            time.sleep(AGAIN_SECONDS)
        self._look()


def run(seconds: float) -> bool:
    """Attack for so long, print the report, and say whether all holds."""
    scene = Scene()
    try:
        report = scene.run(seconds)
    finally:
        scene.stop()
    print(f"\n## One address fills Redis for {seconds:g} s\n\n{report}", flush=True)
    return not report.wrong and not report.late


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.redis_exhaustion", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the attack, before Redis is full")
    parser.add_argument("--attack", type=int, nargs=2, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        attack(options.attack)
    return 0 if run(options.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
