"""Attacks on identity: another member's name, entry without the PIN, messages that only a server may send."""

from __future__ import annotations

import random
import re
import time
from typing import Any

from tandemd import messages as m

from .case import Case, Field, Outcome
from .client import Client

TITLE = "https://www.netflix.com/watch/1"


class PinGuessing(Case):
    """Many addresses, each with as many PINs as it may try; and a member that knows the PIN, from an address of its own."""

    name = "PIN guessing from many addresses"
    # Hashing one takes 16 MiB, by intention.
    memory = 64
    addresses = 400
    bound = 30
    """How many PINs may be tried at the most: as many as a room answers in an hour, with any number of addresses."""

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        home = field.honest()
        host = field.client(home)
        outcome.expect(host.join(field.room, "host", pin="731905") is not None, "the host could not join")
        code = re.search(rb'"shortId":"([0-9a-z]{10})"', field.get(f"/api/short-id/{field.room}", home).body)
        assert code is not None
        clients: list[Client] = []
        asked = 0
        rng = random.Random(field.room)
        most = 60 if field.seconds < 1 else 400
        while field.going_on or asked < most:
            if len(clients) < most:
                clients.append(field.client())
            for client in (clients[-1], rng.choice(clients)):
                client.say("JOIN", roomId=field.room, userId=f"g{asked}", pin=f"{rng.randrange(10**6):06}")
                asked += 1
                client.read(0.0005)
                client.take()
            if asked >= 20 * most:
                break
        begun = time.monotonic()
        # An invited client comes by the link, as the page and the extension do.
        away = field.honest()
        outcome.expect(
            field.get(f"/room/{code[1].decode()}/731905", away).status == 302, "the invite link does not work"
        )
        friend = field.client(away)
        state = friend.join(field.room, "friend", pin="731905")
        took = time.monotonic() - begun
        outcome.expect(state is not None, f"who knows the PIN was not in after {took:.1f} s")
        tried = inside = 0
        for client in clients:
            client.read(0.0005)
            client.take()
            tried += client.counts.get("bad_pin", 0)
            inside += client.counts.get("ROOM_STATE", 0)
        outcome.expect(not inside, f"{inside} got in")
        outcome.expect(tried <= self.bound, f"{tried} PINs were tried, more than {self.bound}")
        outcome.got = f"{tried} of {asked} PINs from {len(clients)} addresses were answered; who knows it was in after {took:.1f} s"
        for client in (host, friend, *clients):
            client.close()
        return outcome


class IdTheft(Case):
    """JOIN with the host's id, from elsewhere, with and without a wrong token."""

    name = "theft of the host's id"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        host = field.client(field.honest())
        state = host.join(field.room, "host", username="Host", keepsToken=True)
        assert state is not None
        guest = field.member("guest")
        tries = 0
        learned: dict[str, int] = {}
        while True:
            thief = field.client()
            for extra in ({}, {"token": "x"}, {"token": state["token"][:-2] + "xx"}, {"pin": ""}):
                thief.say("JOIN", roomId=field.room, userId="host", **extra)
                thief.say("CHAT", text="stolen")
                thief.say("URL_CHANGE", url=TITLE)
                tries += 1
            for heard in thief.all(0.3):
                name = str(heard.get("code", heard["type"]))
                learned[name] = learned.get(name, 0) + 1
                outcome.expect(heard["type"] == "ERROR", f"the thief was told {heard['type']}")
                outcome.expect("guest" not in str(heard), f"the thief learned who is there: {heard}")
            thief.close()
            if not field.going_on:
                break
        received = [message["type"] for message in guest.all()]
        outcome.expect(not {"CHAT", "URL_CHANGE", "HOST_CHANGED"} & set(received), f"a guest was told {received}")
        host.say("CHAT", text="mine")
        outcome.expect(host.hear("CHAT", text="mine") is not None, "the host is not the host any more")
        outcome.got = f"{tries} tries; the thief was told {learned}"
        host.bye()
        guest.bye()
        return outcome


SERVER_SAYS: dict[str, dict[str, Any]] = {
    "ROOM_STATE": {"roomId": "x", "hostUserId": "forger", "users": []},
    "USER_JOINED": {"userId": "ghost", "username": "Ghost"},
    "USER_LEFT": {"userId": "host"},
    "LEAVE": {"userId": "host"},
    "HOST_CHANGED": {"hostUserId": "forger"},
    "GUEST_CONTROL": {"enabled": True},
    "USERNAME_UPDATED": {"userId": "host", "username": "Fool"},
    "PLAY_PAUSE": {"userId": "server", "control": "pause", "currentTime": 1},
    "SEEK_PAUSE": {"userId": "server", "currentTime": 1},
    "SEEK": {"userId": "server", "currentTime": 1},
    "HOST_HEARTBEAT": {"userId": "server", "currentTime": 1, "isPlaying": True},
    "URL_CHANGE": {"userId": "server", "url": TITLE},
    "SYNC_RESPONSE": {"to": "host", "fromUserId": "server", "userId": "server", "currentTime": 1, "isPlaying": True,
                      "url": "https://evil.example/"},
    "SERVER_RESTART": {"reconnectAfterMs": 0},
    "ERROR": {"code": "internal", "message": "x"},
    "ACK": {"id": 1},
    "PONG": {},
    "KICKED": {"userId": "host"},
    "ANYTHING": {"userId": "server"},
}  # fmt: skip


class Forgery(Case):
    """A guest sends messages of the server, or forbidden ones, in the name of the server and of the host."""

    name = "forged messages of the server"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        host = field.member("host")
        sent = 0
        told: dict[str, int] = {}
        round_ = 0
        while True:
            forger = field.member(f"forger{round_}")
            round_ += 1
            host.all(0.1)
            for kind, fields in SERVER_SAYS.items():
                if kind != "LEAVE":
                    forger.say(kind, **fields)
                    sent += 1
            forger.say("OFFER", to="host", offer={"type": "offer", "sdp": "x"}, userId="server", **{"from": "server"})
            answers = forger.all(0.2)
            for heard in answers:
                outcome.expect(
                    heard["type"] in ("ERROR", "PONG", "ROOM_STATE", "URL_CHANGE", "HOST_HEARTBEAT", "USER_JOINED"),
                    f"the forger was told {heard}",
                )
            for heard in host.all(0.1):
                told[heard["type"]] = told.get(heard["type"], 0) + 1
                if heard["type"] == "OFFER":
                    outcome.expect(
                        (heard["from"], heard["userId"]) == (f"forger{round_ - 1}",) * 2, f"a false sender: {heard}"
                    )
                elif heard["type"] == "SYNC_RESPONSE":
                    outcome.expect(
                        heard["fromUserId"] != "server" and not heard.get("url"), f"a false sender, or a URL: {heard}"
                    )
                else:
                    outcome.expect(heard["type"] in ("USER_JOINED", "PONG"), f"the host was told {heard}")
            forger.say("LEAVE")
            outcome.expect(host.hear("USER_LEFT", userId=f"forger{round_ - 1}") is not None, "the forger did not leave")
            host.say("PING")
            host.hear("PONG")
            forger.close()
            if not field.going_on:
                break
        outcome.got = f"{sent} sent; the host was told {told}, in their own names"
        host.bye()
        return outcome


class Replays(Case):
    """The same command with the same `id` again and again, on one connection and on the next."""

    name = "replays of an id"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        witness = field.member("witness")
        source = field.honest()
        token, said, sent, acks = None, 0, 0, 0
        while True:
            client = field.client(source)
            fields = {"token": token} if token else {}
            state = client.join(field.room, "again", keepsToken=True, nonce="n", **fields)
            if state is None:
                outcome.wrong.append(f"could not come back: {client.counts}")
                break
            token = state.get("token") or token
            for _ in range(20):
                client.say("CHAT", text="once", id=1)
                sent += 1
            client.all(0.2)
            acks += client.counts.get("ACK", 0)
            client.close()
            if not field.going_on and sent > 20:
                break
        witness.say("CHAT", text="the end")
        for heard in witness.hear_all("CHAT", text="the end"):
            said += heard["type"] == "CHAT" and heard["text"] == "once"
        outcome.expect(said == 1, f"it was said {said} times")
        outcome.got = f"{sent} sent, {acks} acknowledged, said {said} time"
        witness.bye()
        return outcome


FOREIGN = (
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "data:text/html,x",
    "vbscript:x", "file:///etc/passwd", "blob:https://www.netflix.com/x", "//evil.example/", "/\\evil.example", "\\\\evil",
    "https://evil.example/", "https://www.netflix.com@evil.example/", "https://www.netflix.com.evil.example/",
    "https://www.netflix.com:x@evil.example/", "https://evil.example\\@www.netflix.com/", "https:/www.netflix.com/watch/1",
    "https:www.netflix.com", "ftp://www.netflix.com/", "https://www.netflix.com\u3002evil.example/", "https://[::1]/",
    "https://www.netflix.com%2eevil.example/", "https://www.netflix.com\n.evil.example/", "https://\u0000www.netflix.com/",
    "https://www.n\u0435tflix.com/", "about:blank", "", "x", "https://",
)  # fmt: skip


class ForeignTitles(Case):
    """A host that wants to lead all members elsewhere."""

    name = "javascript: and foreign URLs"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        sent, refused = 0, 0
        round_ = 0
        while True:
            room = f"{field.room}-{round_}"
            round_ += 1
            host = field.member("host", room)
            guest = field.member("guest", room)
            for url in FOREIGN:
                host.say("URL_CHANGE", url=url)
                host.say("SYNC_RESPONSE", to="guest", currentTime=1, isPlaying=True, url=url)
                sent += 2
                outcome.expect(
                    host.hear("ERROR", "URL_CHANGE") is None or host.counts.get("URL_CHANGE", 0) == 0,
                    f"{url!r} was taken",
                )
                refused += 1
                time.sleep(0.005)
            for heard in guest.all(0.2):
                outcome.expect(not heard.get("url"), f"a guest was told {heard}")
            late = field.client(field.honest())
            state = late.join(room, "late")
            outcome.expect(state is not None and not state["url"], f"a URL for who comes later: {state}")
            for client in (host, guest, late):
                client.bye()
            if not field.going_on:
                break
        outcome.got = f"{sent} sent, none passed on"
        return outcome


class JoinStorm(Case):
    """One address that makes room after room."""

    name = "a storm of new rooms"
    memory = 64

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        source, asked, made = field.fresh(), 0, 0
        counts: dict[str, int] = {}
        answers: dict[int, int] = {}
        least = 100 if field.seconds < 1 else 500
        while asked < least or (field.going_on and asked < 3000):
            client = field.client(source)
            answers[client.status] = answers.get(client.status, 0) + 1
            if client.status != 101:
                asked += 1
                client.close()
                continue
            for _ in range(10):
                client.say("JOIN", roomId=f"{field.room}-{asked}", userId="stormer")
                asked += 1
            client.all(0.1)
            for name, count in client.counts.items():
                counts[name] = counts.get(name, 0) + count
            made += client.counts.get("ROOM_STATE", 0)
            client.close()
        outcome.expect(made <= 250, f"{made} rooms were made")
        outcome.expect("internal" not in counts, "a fault of the server")
        outcome.got = f"{asked} asked for, {made} made; {counts}; handshakes: {answers}"
        return outcome


CASES: tuple[type[Case], ...] = (PinGuessing, IdTheft, Forgery, Replays, ForeignTitles, JoinStorm)

CLIENT_TYPES = {str(kind.__struct_config__.tag) for kind in m.CLIENT_MESSAGES}
