#!/usr/bin/env python3
"""A party of two, to see whether a deployment works: one plays, the other must see it.

usage: smoke_test.py URL [URL] [--seconds N]   with URLs such as ws://localhost:4001/ws; one URL is for both.

Runs with any Python that has tandemd's dependencies. Exits with 0 if every change that one of them made was seen by the
other in time. With --seconds they go on for that long, and come back when they lose their connections, as a client
should: the script also fails if one of them was told that the other has left, or that the host has changed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import secrets
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.internet.task import deferLater, react

Json = dict[str, Any]

RETRY = 0.2
"""Seconds between two attempts to connect."""

UNWANTED = ("USER_LEFT", "LEAVE", "HOST_CHANGED")
"""Messages that no member of the party may receive: all stay, and the host is the host."""


class Failed(Exception):
    """The party did not go well. Its text is one line."""


class Wire(WebSocketClientProtocol):
    """One connection of a member."""

    def __init__(self, member: Member):
        super().__init__()
        self.member = member

    def onOpen(self) -> None:
        self.member.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.member.told(json.loads(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.member.closed(self, f"{code}: {reason}")


class Member:
    """A member of the party, which connects again whenever the connection is lost.

    joined: whether it is in the room now. connections: how many it has had. trouble: an error that no retry can repair.
    """

    def __init__(self, reactor: Any, name: str, room: str, pin: str, url: str, trust: Any):
        self.name = name
        self._pin = pin
        self.joined = False
        self.connections = 0
        self.last = "no answer yet"
        self.trouble = ""
        self._reactor = reactor
        self._room = room
        self._url = url
        self._trust = trust
        self._wire: Wire | None = None
        self._token: str | None = None
        self._resume: Json | None = None
        self._ids = itertools.count(1)
        self._unanswered: dict[int, Json] = {}
        self._nonce = secrets.token_hex(8)
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._heard: list[Json] = []
        self._leaving = False

    def connect(self) -> None:
        parts = urlsplit(self._url)
        secure = parts.scheme == "wss"
        host = parts.hostname or "localhost"
        factory: Any = WebSocketClientFactory(self._url, reactor=self._reactor)
        factory.protocol = lambda: Wire(self)
        factory.noisy = False
        factory.setProtocolOptions(openHandshakeTimeout=5, autoPingInterval=5, autoPingTimeout=5)
        endpoint: Any = HostnameEndpoint(self._reactor, host, parts.port or (443 if secure else 80), timeout=5)
        if secure:
            endpoint = wrapClientTLS(optionsForClientTLS(host, trustRoot=self._trust), endpoint)

        def failed(failure: Any) -> None:
            if not failure.check(ConnectError, DNSLookupError):
                self.trouble = failure.getErrorMessage()
            self._again(failure.getErrorMessage())

        endpoint.connect(factory).addErrback(failed)

    def leave(self) -> None:
        self._leaving = True
        if self._wire is not None:
            self._say("LEAVE")
            self._wire.sendClose()

    # the connection

    def opened(self, wire: Wire) -> None:
        self._wire = wire
        self.connections += 1
        join: Json = {"username": self.name.title(), "pin": self._pin, "keepsToken": True, "nonce": self._nonce}
        if self._token is not None:
            join |= {"token": self._token, "resume": self._resume}
        self._say("JOIN", **join)

    def closed(self, wire: Wire, why: str) -> None:
        if wire is self._wire or self._wire is None:
            self._wire = None
            self.joined = False
            self._again(why)

    def _again(self, why: str) -> None:
        self.last = why
        if not self._leaving:
            self._reactor.callLater(RETRY, self.connect)

    def _say(self, kind: str, **fields: Any) -> None:
        if self._wire is not None:
            message = {"type": kind, "roomId": self._room, "userId": self.name, **fields}
            self._wire.sendMessage(json.dumps(message).encode())

    # commands and messages

    def do(self, kind: str, **fields: Any) -> None:
        """Send a command, and again after a reconnection until it is answered."""
        number = next(self._ids)
        self._unanswered[number] = {"kind": kind, **fields}
        if self.joined:
            self._say(kind, id=number, **fields)

    def told(self, message: Json) -> None:
        kind = message["type"]
        if kind == "ROOM_STATE":
            self.joined = True
            self._token = message.get("token") or self._token
            self._resume = {"epoch": message["epoch"], "seq": message["seq"]}
            self._heard.append({"type": "PLAY_PAUSE", "playing": message["isPlaying"], "at": message["currentTime"]})
            for number, command in self._unanswered.items():
                fields = {name: value for name, value in command.items() if name != "kind"}
                self._say(command["kind"], id=number, **fields)
        elif kind == "ACK":
            self._unanswered.pop(message["id"], None)
        elif kind == "ERROR":
            self.last = f"{message.get('code')}: {message.get('message')}"
        elif kind == "PLAY_PAUSE":
            playing = message["control"] == "play"
            self._heard.append({"type": kind, "playing": playing, "at": message["currentTime"]})
        elif kind in UNWANTED and not self._leaving:
            self.trouble = f"{self.name} was told {kind}"
        if "seq" in message and self._resume is not None and kind != "ACK" and "prev" in message:
            self._resume["seq"] = max(self._resume["seq"], message["seq"])
        for entry in list(self._waiting):
            if entry[0]():
                self._waiting.remove(entry)
                entry[1].callback(None)

    async def until(self, true: Callable[[], bool], what: str, patience: float) -> None:
        """Wait until something is true after a message. Raises Failed if it is not so in time."""
        if true():
            return
        done: Deferred[None] = Deferred()
        entry = (true, done)
        self._waiting.append(entry)

        def give_up() -> None:
            self._waiting.remove(entry)
            done.errback(Failed(f"{what} within {patience:g} s ({self._url}; {self.trouble or self.last})"))

        timer = self._reactor.callLater(patience, give_up)
        try:
            await done
        finally:
            if timer.active():
                timer.cancel()

    async def in_room(self, patience: float) -> None:
        await self.until(lambda: self.joined, f"{self.name} did not get into the room", patience)

    async def sees(self, playing: bool, position: float, patience: float) -> None:
        """Wait until the film plays or pauses at a position. Heard earlier counts; the rest is forgotten."""
        what = f"{self.name} did not see {'play' if playing else 'pause'} at {position:g}"
        try:
            await self.until(
                lambda: any(_is(heard, playing, position, patience) for heard in self._heard), what, patience
            )
        finally:
            self._heard.clear()


def _is(heard: Json, playing: bool, position: float, patience: float) -> bool:
    at = heard["at"] or 0.0
    # Time goes on while it plays.
    return heard["playing"] == playing and position - 0.01 <= at <= position + (patience if playing else 0.01)


async def party(reactor: Any, arguments: argparse.Namespace) -> None:
    trust = platformTrust()
    if arguments.ca:
        with open(arguments.ca, "rb") as file:
            trust = trustRootFromCertificates([Certificate.loadPEM(file.read())])
    urls = arguments.url if len(arguments.url) == 2 else arguments.url * 2
    room = "party-" + secrets.token_hex(6)
    # With a PIN: a deployment whose PINs do not work has no parties.
    pin = f"{secrets.randbelow(10**6):06}"
    ann, bob = (Member(reactor, name, room, pin, url, trust) for name, url in zip(("ann", "bob"), urls, strict=True))
    try:
        ann.connect()
        await ann.in_room(arguments.wait)
        bob.connect()
        await bob.in_room(arguments.wait)
        ann.do("TOGGLE_GUEST_CONTROL", enabled=True)
        await changes(reactor, ann, bob, arguments.seconds, arguments.patience)
    finally:
        ann.leave()
        bob.leave()
        await deferLater(reactor, 0.1)
    print(f"reconnections: ann {ann.connections - 1}, bob {bob.connections - 1}")


async def changes(reactor: Any, ann: Member, bob: Member, seconds: float, patience: float) -> None:
    """Each in turn plays and pauses, and the other sees it; at least twice."""
    end = reactor.seconds() + seconds
    slowest = 0.0
    for number in itertools.count():
        if number >= 2 and reactor.seconds() >= end:
            print(f"{number} changes, each seen by the other, at last after {slowest * 1000:.0f} ms")
            return
        one, other = (ann, bob) if number // 2 % 2 == 0 else (bob, ann)
        playing = number % 2 == 0
        position = 10.0 * (number + 1)
        began = reactor.seconds()
        one.do("PLAY_PAUSE", control="play" if playing else "pause", currentTime=position)
        await other.sees(playing, position, patience)
        slowest = max(slowest, reactor.seconds() - began)
        for member in (ann, bob):
            if member.trouble:
                raise Failed(member.trouble)
        await deferLater(reactor, 0.1)


def main(reactor: Any, *argv: str) -> Deferred[None]:
    parser = argparse.ArgumentParser(description="A party of two: one plays, the other must see it.")
    parser.add_argument("url", nargs="+", help="ws:// or wss:// URL; the second one is for the second member")
    parser.add_argument("--ca", help="PEM file with the authority that signed the server's certificate")
    parser.add_argument("--seconds", type=float, default=0.0, help="go on for so long (default: two changes)")
    parser.add_argument("--patience", type=float, default=10.0, help="how soon a change must be seen (default: 10)")
    parser.add_argument("--wait", type=float, default=30.0, help="how long to try to get into the room (default: 30)")
    arguments = parser.parse_args(argv)
    if len(arguments.url) > 2:
        parser.error("one or two URLs")

    async def run() -> None:
        try:
            await party(reactor, arguments)
        except Failed as error:
            raise SystemExit(f"smoke_test.py: {error}") from None

    return ensureDeferred(run())


if __name__ == "__main__":
    react(main, sys.argv[1:])
