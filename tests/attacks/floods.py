"""Floods of allowed messages: each type, faster than a well-behaved client sends it."""

from __future__ import annotations

import threading
import time
from typing import Any

from tandemd import messages as m

from ..support.patience import PATIENCE_SECONDS
from .case import Case, Field, Outcome
from .client import message

TITLE = "https://www.netflix.com/watch/1"

EXAMPLES: dict[str, dict[str, Any]] = {
    "JOIN": {"userId": "flooder0"},
    "LEAVE": {},
    "PING": {},
    "PLAY_PAUSE": {"control": "play", "currentTime": 5},
    "SEEK": {"currentTime": 7, "isPlaying": True},
    "SET_RATE": {"rate": 1.5},
    "READY": {"targetTime": 7},
    "HOST_HEARTBEAT": {"currentTime": 5, "isPlaying": True},
    "POSITION_UPDATE": {"currentTime": 5, "isPlaying": True},
    "URL_CHANGE": {"url": TITLE},
    "REQUEST_SYNC": {},
    "STATUS": {"status": "buffering"},
    "WAIT_FOR_BUFFERING": {"enabled": True},
    "SYNC_RESPONSE": {"to": "victim", "currentTime": 5, "isPlaying": True},
    "OFFER": {"to": "victim", "offer": {"type": "offer", "sdp": "x" * 3000}},
    "ANSWER": {"to": "victim", "answer": {"type": "answer", "sdp": "x" * 3000}},
    "ICE_CANDIDATE": {"to": "victim", "candidate": {"candidate": "x" * 100}},
    "PLAYBACK_ACK": {"to": "victim", "control": "play"},
    "CALL": {"joined": True},
    "REQUEST_ICE_SERVERS": {},
    "UPDATE_USERNAME": {"username": "Flooder"},
    "TOGGLE_GUEST_CONTROL": {"enabled": True},
    "TRANSFER_HOST": {"targetUserId": "flooder0"},
    "CHAT": {"text": "flood"},
    "KICK": {"targetUserId": "victim"},
    "BAN": {"targetUserId": "victim"},
    "UNBAN": {"targetUserId": "victim"},
    "ADMIT": {"targetUserId": "victim", "admitted": True},
    "LOCK_ROOM": {"locked": True},
    "DELEGATE_CONTROL": {"targetUserId": "flooder0", "enabled": True},
}
"""A message of each type; `tests.attacks.test_attacks` checks that none is missing."""


class Flood(Case):
    """One member sends one type as fast as it can, from address after address; another member hears the results."""

    kind = ""

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        victim = Victim(field)
        sent = 0
        ends: dict[int | None, int] = {}
        counts: dict[str, int] = {}
        flooders = refused = cut_off = 0
        while True:
            client = field.client()
            if client.status != 101:
                outcome.expect(client.status == 429 and flooders > 0, f"a handshake was answered with {client.status}")
                refused += 1
                client.close()
                if not field.going_on:
                    break
                continue
            # Another name each time: the one before is in its grace period.
            user = f"flooder{flooders}"
            flooders += 1
            if client.join(field.room, user) is None:
                outcome.wrong.append(f"a newcomer could not join: {client.counts}")
            own = {"roomId": field.room, "userId": user} if self.kind == "JOIN" else {}
            one = message(self.kind, **{**EXAMPLES[self.kind], **own})
            begun = time.monotonic()
            size = 0
            # At the end of the time, the last one goes on until it has met its limit.
            while (
                not client.over
                and client.code is None
                and (field.going_on or time.monotonic() < begun + PATIENCE_SECONDS)
            ):
                size += client.pour(one * 50, time.monotonic() + 0.05)
                client.take()
                if not field.going_on and client.counts.get("rate_limited"):
                    break
            sent += size // len(one)
            client.take()
            ends[client.code] = ends.get(client.code, 0) + 1
            # A client that goes on sending may get the reset before it has read the close frame.
            cut_off += client.over and client.code is None
            for name, count in client.counts.items():
                counts[name] = counts.get(name, 0) + count
            client.close()
            if not field.going_on:
                break
        heard = victim.end(outcome)
        outcome.expect("internal" not in counts, "a fault of the server")
        limited = counts.get("rate_limited", 0)
        outcome.expect(bool(limited or cut_off) or 1008 in ends, f"there was no limit: {counts}, closed: {ends}")
        outcome.got = (
            f"{sent} sent, {limited} refused, closed with 1008: {ends.get(1008, 0)}, "
            f"429: {refused}; another heard {heard}"
        )
        return outcome


class Victim:
    """Another member of the room, who reads all the time and wants to be answered."""

    def __init__(self, field: Field):
        self._client = field.member("victim")
        self._heard = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._over.is_set():
            self._client.read(0.05)
            self._heard += len(self._client.take())

    def end(self, outcome: Outcome) -> int:
        """Say how much was heard, and name the failures."""
        time.sleep(0.1)
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)
        client = self._client
        outcome.expect(not client.over and client.code is None, f"the victim was closed, with {client.code}")
        client.say("PING")
        outcome.expect(client.hear("PONG") is not None, "the victim is not answered")
        client.bye()
        return self._heard


def _flood(kind: str) -> type[Flood]:
    return type(f"Flood{kind}", (Flood,), {"name": f"a flood of {kind}", "kind": kind})


CASES: tuple[type[Case], ...] = tuple(_flood(str(kind.__struct_config__.tag)) for kind in m.CLIENT_MESSAGES)
