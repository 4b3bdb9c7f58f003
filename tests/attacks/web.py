"""HTTP: guessed paths, smuggled requests, and files outside of the page."""

from __future__ import annotations

import random
import re
import string

from .case import Case, Field, Outcome


class Enumeration(Case):
    """Requests for guesses, first from one address, then from many. paths: their beginnings."""

    paths: tuple[str, ...] = ("",)
    least = 300
    """So many that one address must have been stopped by then."""

    def guess(self, rng: random.Random) -> str:
        raise NotImplementedError

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        host = field.member("host", f"default_room_{random.Random(field.room).randrange(10**12, 2 * 10**12)}")
        rng = random.Random(field.room)
        answers: dict[int, int] = {}
        one, asked, stopped = field.fresh(), 0, 0

        def ask(source: str) -> None:
            nonlocal asked, stopped
            # At once, as an attacker would: an answer may take its time.
            for answer in field.gets([rng.choice(self.paths) + self.guess(rng) for _ in range(50)], source):
                answers[answer.status] = answers.get(answer.status, 0) + 1
                if source == one:
                    asked += 1
                    if answer.status == 429 and not stopped:
                        stopped = asked
                        outcome.expect(bool(answer.header(b"retry-after")), "429 without Retry-After")

        while asked < self.least and not stopped:
            ask(one)
        outcome.expect(bool(stopped), f"one address was let ask {asked} times: {answers}")
        while field.going_on:
            ask(field.fresh())
        outcome.expect(not {0, 200, 302, 500} & set(answers), f"something was found, or broke: {answers}")
        outcome.got = f"one address was stopped at its question {stopped}; answers in all: {answers}"
        host.bye()
        return outcome


class Rooms(Enumeration):
    name = "enumeration of rooms"
    paths = ("/api/short-id/",)

    def guess(self, rng: random.Random) -> str:
        return f"default_room_{rng.randrange(10**12, 2 * 10**12)}"


class Invites(Enumeration):
    name = "enumeration of invite codes"
    paths = ("/api/room/", "/room/")

    def guess(self, rng: random.Random) -> str:
        return "".join(rng.choices(string.digits + string.ascii_lowercase, k=10))


class Listing(Case):
    """All answers without a secret, searched for the secrets of members."""

    name = "what is told to strangers"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        room, title = f"{field.room}-secret-room", "https://www.netflix.com/watch/7777777"
        host = field.client(field.honest())
        state = host.join(room, "secretuser", username="Secretname", keepsToken=True, pin="73190588")
        assert state is not None
        host.say("URL_CHANGE", url=title)
        host.say("CHAT", text="secretchat")
        host.all(0.2)
        asked = 0
        secrets = [b"secret-room", b"secretuser", b"Secretname", b"7777777", b"secretchat", b"73190588"]
        while True:
            for path in ("/", "/status", "/metrics", "/health", "/health/ready", "/ws", "/api", "/api/", "/api/room",
                         "/api/room/", "/api/rooms", "/api/short-id", "/api/short-id/", "/room", "/room/", "/rooms", "/page/",
                         "/debug", "/admin", "/.git/config", "/server-status", "/status?rooms=1", "/status/rooms"):  # fmt: skip
                for headers in ("", "Authorization: Bearer x\r\n", f"Authorization: Bearer {state['token'][:-1]}\r\n"):
                    answer = field.get(path, headers=headers)
                    asked += 1
                    text = b"".join(value for _, value in answer.headers) + answer.body
                    found = [secret for secret in secrets if secret in text]
                    outcome.expect(not found, f"{path} tells {found}")
                    outcome.expect(answer.status not in (0, 500), f"{path} was answered with {answer.status}")
            if not field.going_on:
                break
        mine = field.get("/status", headers=f"Authorization: Bearer {state['token']}\r\n")
        outcome.expect(b"secret-room" in mine.body, "the member itself was not told, so this shows nothing")
        outcome.got = f"{asked} questions, nothing of a room"
        host.bye()
        return outcome


class Smuggling(Case):
    """Line ends and other headers in all input that becomes part of an answer."""

    name = "header injection in short links"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        # Only who is in a room is told its code, as far as can be told from the address.
        home = field.honest()
        host = field.client(home)
        room = field.room + "\u2028X-Injected: 1"
        outcome.expect(host.join(room, "host") is not None, "a room id with line ends of Unicode could not be had")
        for wrong in (
            field.room + "\u0085X-Injected: 1",
            field.room + "\r\nX-Injected: 1",
            field.room + "\nX-Injected: 1",
            "\x00",
        ):
            other = field.client()
            other.say("JOIN", roomId=wrong, userId="x")
            outcome.expect(other.hear("ERROR", code="bad_message") is not None, f"{wrong!r} is a room id")
            other.bye()
        quoted = "".join(f"%{byte:02x}" for byte in room.encode())
        code = re.search(rb'"shortId":"([0-9a-z]{10})"', field.get(f"/api/short-id/{quoted}", home).body)
        assert code is not None
        link = f"/room/{code[1].decode()}"
        asked = 0
        injections = ("%0d%0aX-Injected:%201", "%0aX-Injected:%201", "%0dX-Injected:1", "%u000dX-Injected:1", "\rX-Injected: 1",
                      "%e5%98%8a%e5%98%8dX-Injected:1", "%00X-Injected:1", "//evil.example", "?x=%0d%0aX-Injected:1")  # fmt: skip
        while True:
            requests = [f"GET {link}{tail} HTTP/1.1\r\nHost: localhost\r\n" for tail in ("", "/", "/123", "/123/")]
            for injection in injections:
                requests += [
                    f"GET {link}{injection} HTTP/1.1\r\nHost: localhost\r\n",
                    f"GET {link}/12{injection} HTTP/1.1\r\nHost: localhost\r\n",
                    f"GET /api/short-id/{injection} HTTP/1.1\r\nHost: localhost\r\n",
                    f"GET /api/short-id/{quoted} HTTP/1.1\r\nHost: x{injection}\r\n",
                    f"GET {link} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://x{injection}\r\n",
                    f"GET /api/short-id/{quoted} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: x{injection}\r\n",
                ]
            source = ""
            for number, text in enumerate(requests):
                if number % 20 == 0:
                    source = field.honest()
                answer = field.request((text + "Connection: close\r\n\r\n").encode(), source)
                asked += 1
                outcome.expect(not answer.header(b"x-injected"), f"{text!r} injected a header")
                outcome.expect(answer.status not in (0, 500), f"{text!r} was answered with {answer.status}")
                location = answer.header(b"location")
                outcome.expect(
                    not location
                    or location.startswith(
                        (b"https://www.netflix.com/?tandemRoom=", b"../?tandemRoom=", b"../../?tandemRoom=")
                    ),
                    f"{text!r} leads to {location!r}",
                )
                outcome.expect(
                    not re.search(rb"[^\x20-\x7e]", location), f"{text!r}: {location!r} has what does not belong there"
                )
            if not field.going_on:
                break
        outcome.got = f"{asked} requests, no header and no place of the attacker's"
        host.bye()
        return outcome


class Traversal(Case):
    """Ways out of the page's directory."""

    name = "path traversal on the page's files"

    def attack(self, field: Field) -> Outcome:
        outcome = Outcome()
        ups = ("..", "%2e%2e", "%2e.", "..%2f..", "..%5c..", "%252e%252e", "..%c0%af..", "....", "..;", "%2e%2e%2f%2e%2e",
               "..%00", "~", "%2f", "%5c", ".", "")  # fmt: skip
        tails = (
            "etc/passwd",
            "tap.py",
            "page/../tap.py",
            "__init__.py",
            ".git/config",
            "state/tandemd.sqlite",
            "%2fetc%2fpasswd",
        )
        asked = 0
        answers: dict[int, int] = {}
        while True:
            for up in ups:
                for depth in (1, 2, 8):
                    for tail in tails:
                        path = "/page/" + f"{up}/" * depth + tail
                        answer = field.request(
                            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                        )
                        asked += 1
                        answers[answer.status] = answers.get(answer.status, 0) + 1
                        body = answer.body
                        outcome.expect(
                            answer.status != 200 and b"root:" not in body and b"import" not in body,
                            f"{path} was answered with {answer.status}: {body[:60]!r}",
                        )
                        outcome.expect(answer.status not in (0, 500), f"{path} was answered with {answer.status}")
                if not field.going_on and field.seconds >= 1:
                    break
            if not field.going_on:
                break
        outcome.got = f"{asked} paths: {answers}"
        return outcome


CASES: tuple[type[Case], ...] = (Rooms, Invites, Listing, Smuggling, Traversal)
