"""The films of the server: lists, ranges, and no way out of their directory."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tandemd.web.video_files import MAX_FOUND, MAX_LISTED, VideoDirectory
from tandemd.web.video_reader import MAX_WAITING_LISTS, READ_BYTES, UNREAD_SECONDS, VideoReader

from ..support.daemon_process import DaemonTestCase
from ..support.patience import PATIENCE_SECONDS
from .test_router import ROOM, Reply, WebTestCase, head

FILM = os.urandom(3 * READ_BYTES + 17)
TREE = {
    "A Film.mp4": FILM,
    "A Film.en.vtt": b"WEBVTT\n",
    "A Film.srt": b"1\n",
    "A Film 2.webm": b"two",
    "\xdcber.MKV": b"mkv",
    "Series/1/One.mp4": b"one",
    "Series/1/stream.m3u8": b"#EXTM3U\n",
    "Series/1/piece.ts": b"piece",
    "notes.txt": b"do not show",
    "page.html": b"do not show",
    ".hidden.mp4": b"do not show",
    ".git/x.mp4": b"do not show",
}
OUTSIDE = b"do not show"


def tree(root: Path) -> Path:
    """Make the files of TREE, and links and special files, and return the directory."""
    for name, content in TREE.items():
        (root / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "films" / name).write_bytes(content)
    outside = root / "outside"
    outside.mkdir()
    (outside / "secret.mp4").write_bytes(OUTSIDE)
    films = root / "films"
    (films / "link.mp4").symlink_to(outside / "secret.mp4")
    (films / "inner.mp4").symlink_to(films / "A Film.mp4")
    (films / "linked").symlink_to(outside)
    os.mkfifo(films / "pipe.mp4")
    (films / "directory.mp4").mkdir()
    return films


def videos(films: Path) -> VideoReader:
    """Return a reader that reads at once, instead of in threads."""
    return VideoReader(VideoDirectory(str(films)), execute, execute)


class DirectoryTests(SynchronousTestCase):
    """The functions that read, without a server."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).resolve()
        self.films = tree(self.root)
        self.time = 0.0
        self.directory = VideoDirectory(str(self.films), lambda: self.time)

    def test_a_list(self) -> None:
        found = self.directory.list_directory([])
        self.assertEqual((found.directory, found.directories, found.complete), ("", ["directory.mp4", "Series"], True))
        self.assertEqual([film.path for film in found.films], ["A Film 2.webm", "A Film.mp4", "\xdcber.MKV"])
        film = found.films[1]
        self.assertEqual((film.size, film.subtitles), (len(FILM), ["A Film.en.vtt", "A Film.srt"]))
        below = self.directory.list_directory(["Series", "1"])
        self.assertEqual([film.path for film in below.films], ["Series/1/One.mp4", "Series/1/stream.m3u8"])

    def test_no_list(self) -> None:
        for path in (["missing"], ["A Film.mp4"], ["linked"], [".git"], [".."], ["."], [""], ["Series/1"], ["a\0b"]):
            self.assertRaises(OSError, self.directory.list_directory, path)

    def test_search(self) -> None:
        def found(words: str) -> list[str]:
            return [film.path for film in self.directory.search(words).films]

        self.assertEqual(found("film"), ["A Film 2.webm", "A Film.mp4"])
        self.assertEqual(found("\xfcBER"), ["\xdcber.MKV"])
        self.assertEqual(found("one series"), ["Series/1/One.mp4"])
        self.assertEqual(found("secret"), [])

    def test_searches_share_a_walk(self) -> None:
        self.directory.search("new")
        (self.films / "new.mp4").write_bytes(b"new")
        self.assertEqual(self.directory.search("new").films, [])
        self.time += 15
        self.assertEqual(len(self.directory.search("new").films), 1)

    def test_lists_are_bounded(self) -> None:
        for number in range(MAX_LISTED + 1):
            (self.films / f"many {number}.mp4").touch()
        found = self.directory.list_directory([])
        self.assertEqual((len(found.films), found.complete), (MAX_LISTED, False))
        found = self.directory.search("many")
        self.assertEqual((len(found.films), found.complete), (MAX_FOUND, False))

    def test_a_walk_is_bounded_in_depth(self) -> None:
        deep = self.films.joinpath(*["d"] * 30)
        deep.mkdir(parents=True)
        (deep / "deep.mp4").touch()
        found = self.directory.search("deep")
        self.assertEqual((found.films, found.complete), ([], False))

    def test_names_that_are_not_utf8(self) -> None:
        with open(os.fsencode(self.films) + b"/\xff.mp4", "wb"):
            pass
        self.assertEqual(len(self.directory.list_directory([]).films), 3)

    def test_only_films_open(self) -> None:
        for path in (
            ["link.mp4"],
            ["inner.mp4"],
            ["linked", "secret.mp4"],
            ["pipe.mp4"],
            ["directory.mp4"],
            ["notes.txt"],
            ["page.html"],
            [".hidden.mp4"],
            [".git", "x.mp4"],
            ["..", "outside", "secret.mp4"],
            ["Series/1/One.mp4"],
            [str(self.root / "outside/secret.mp4")],
            ["A Film.mp4\0"],
            ["missing.mp4"],
            [],
        ):
            before = len(os.listdir("/proc/self/fd"))
            self.assertRaises(OSError, self.directory.open, path)
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_a_link_that_replaces_a_directory_at_any_moment(self) -> None:
        """Two threads: one exchanges a directory and a link to the outside, one opens files below that name."""
        inside, link = self.films / "there", self.films / "there.link"
        inside.mkdir()
        (inside / "secret.mp4").write_bytes(b"inside")
        link.symlink_to(self.root / "outside")
        stop = threading.Event()

        def exchange() -> None:
            while not stop.is_set():
                inside.rename(self.films / "there.real")
                link.rename(inside)
                inside.rename(link)
                (self.films / "there.real").rename(inside)

        thread = threading.Thread(target=exchange)
        thread.start()
        seen = set()
        try:
            for _ in range(3000):
                try:
                    video = self.directory.open(["there", "secret.mp4"])
                except OSError:
                    continue
                seen.add(video.read(0, 100))
                video.close()
        finally:
            stop.set()
            thread.join(PATIENCE_SECONDS)
        self.assertLessEqual(seen, {b"inside"})


class VideosTestCase(WebTestCase):
    """A site with films, which are read at once instead of in threads."""

    access = "anyone"

    def setUp(self) -> None:
        super().setUp()
        self.films = tree(Path(self.mktemp()).resolve())
        self.reader = videos(self.films)
        self.serve(videos=self.reader, videos_access=self.access)


class FilmTests(VideosTestCase):
    def test_a_film(self) -> None:
        with self.open_file_count_kept():
            reply = self.request("/videos/A%20Film.mp4")
        self.assertEqual((reply.status, reply.body), (200, FILM))
        self.assertEqual(reply.headers["Content-Type"], "video/mp4")
        self.assertEqual(reply.headers["Accept-Ranges"], "bytes")
        for name, kind in {
            "A%20Film.en.vtt": "text/vtt; charset=utf-8",
            "A%20Film.srt": "application/x-subrip",
            "%C3%9Cber.MKV": "video/x-matroska",
            "Series/1/stream.m3u8": "application/vnd.apple.mpegurl",
            "Series/1/piece.ts": "video/mp2t",
        }.items():
            self.assertEqual(self.request(f"/videos/{name}").headers["Content-Type"], kind)

    def test_head(self) -> None:
        with self.open_file_count_kept():
            reply = self.request("/videos/A%20Film.mp4", "HEAD")
        self.assertEqual((reply.status, reply.headers["Content-Length"], reply.body), (200, str(len(FILM)), b""))

    def test_ranges(self) -> None:
        size = len(FILM)
        for wanted, first, last in (
            ("bytes=0-", 0, size - 1),
            ("bytes=0-0", 0, 0),
            (f"bytes={READ_BYTES - 1}-{READ_BYTES}", READ_BYTES - 1, READ_BYTES),
            (f"bytes=-{READ_BYTES + 1}", size - READ_BYTES - 1, size - 1),
            (f"bytes=5-{10 * size}", 5, size - 1),
        ):
            with self.open_file_count_kept():
                reply = self.request("/videos/A%20Film.mp4", Range=wanted)
            self.assertEqual((reply.status, reply.body), (206, FILM[first : last + 1]), wanted)
            self.assertEqual(reply.headers["Content-Range"], f"bytes {first}-{last}/{size}")
        with self.open_file_count_kept():
            reply = self.request("/videos/A%20Film.mp4", Range=f"bytes={size}-")
        self.assertEqual((reply.status, reply.headers["Content-Range"]), (416, f"bytes */{size}"))

    def test_versions(self) -> None:
        tag = self.request("/videos/A%20Film.mp4").headers["ETag"]
        with self.open_file_count_kept():
            self.assertEqual(self.request("/videos/A%20Film.mp4", If_None_Match=tag).status, 304)
            self.assertEqual(self.request("/videos/A%20Film.mp4", Range="bytes=1-2", If_Range=tag).status, 206)
        with open(self.films / "A Film.mp4", "ab") as film:
            film.write(b"more")
        reply = self.request("/videos/A%20Film.mp4", Range="bytes=1-2", If_Range=tag)
        self.assertEqual((reply.status, len(reply.body)), (200, len(FILM) + 4))
        self.assertNotEqual(reply.headers["ETag"], tag)

    def test_nothing_else_is_served(self) -> None:
        for path in (
            "link.mp4",
            "inner.mp4",
            "linked/secret.mp4",
            "linked/",
            "pipe.mp4",
            "directory.mp4",
            "notes.txt",
            "page.html",
            ".hidden.mp4",
            ".git/x.mp4",
            ".git/",
            "../outside/secret.mp4",
            "%2e%2e/outside/secret.mp4",
            "..%2foutside%2fsecret.mp4",
            "Series%2f1%2fOne.mp4",
            "Series/..%2f..%2foutside/secret.mp4",
            "Series/./1/One.mp4",
            "Series//1/One.mp4",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            str(self.films.parent / "outside/secret.mp4"),
            "..%5coutside%5csecret.mp4",
            "A%20Film.mp4/",
            "A%20Film.mp4/x",
            "missing.mp4",
            "x" * 300 + ".mp4",
        ):
            with self.open_file_count_kept():
                reply = self.request(f"/videos/{path}")
            self.assertEqual(reply.status, 404, path)
            self.assertNotIn(OUTSIDE, reply.body)
        for path in ("a%00.mp4", "%FF.mp4", "%zz.mp4"):
            self.assertEqual(self.request(f"/videos/{path}").status, 400, path)

    def test_no_films_no_route(self) -> None:
        self.serve()
        for path in ("/videos", "/videos/", "/videos/A%20Film.mp4"):
            self.assertEqual(self.request(path).status, 404)

    def test_client_goes_away(self) -> None:
        with self.open_file_count_kept():
            client, pump = self.connect()
            client.transport.write(head("/videos/A%20Film.mp4"))
            pump.pump()
            client.transport.loseConnection()
            pump.flush()

    def test_client_goes_away_while_the_film_opens(self) -> None:
        opening: list[Callable[[], None]] = []

        def later(function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
            result: Deferred[Any] = Deferred()
            opening.append(lambda: result.callback(function(*arguments)))
            return result

        self.serve(videos=VideoReader(VideoDirectory(str(self.films)), later, later))
        with self.open_file_count_kept():
            client, pump = self.connect()
            client.transport.write(head("/videos/A%20Film.mp4"))
            pump.flush()
            client.transport.loseConnection()
            pump.flush()
            opening.pop()()
            self.assertEqual(opening, [])

    def test_a_film_that_becomes_shorter_ends_the_connection(self) -> None:
        """The client has been told the old length; it asks again."""
        name = self.films / "A Film.mp4"

        def shorten(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            if arguments[0] == READ_BYTES:
                os.truncate(name, READ_BYTES)
            return execute(function, *arguments)

        self.serve(videos=VideoReader(VideoDirectory(str(self.films)), shorten, execute))
        with self.open_file_count_kept():
            client, pump = self.connect()
            client.transport.write(head("/videos/A%20Film.mp4"))
            pump.flush()
        self.assertTrue(client.closed)
        self.assertTrue(client.data.endswith(FILM[READ_BYTES - 100 : READ_BYTES]))


class ListTests(VideosTestCase):
    def test_lists(self) -> None:
        for path in ("/videos/", "/videos"):
            found = self.request(path).json
            self.assertEqual(found["directories"], ["directory.mp4", "Series"])
            self.assertEqual(
                found["films"][1],
                {"path": "A Film.mp4", "size": len(FILM), "subtitles": ["A Film.en.vtt", "A Film.srt"]},
            )
        self.assertEqual(
            [film["path"] for film in self.request("/videos/Series/1/").json["films"]][0], "Series/1/One.mp4"
        )
        self.assertEqual(self.request("/videos/Series/2/").status, 404)

    def test_search(self) -> None:
        found = self.request("/videos/?search=ONE%20series").json
        self.assertEqual([film["path"] for film in found["films"]], ["Series/1/One.mp4"])
        self.assertEqual(self.request("/videos/Series/?search=x").status, 400)
        self.assertEqual(self.request("/videos/?search=%FF").status, 400)
        self.assertEqual(self.request("/videos/?search=" + "x" * 101).status, 400)

    def test_one_address_does_not_delay_the_lists_of_others(self) -> None:
        """The thread for lists takes the addresses in turn, and no work of clients that have gone."""
        listed: list[str] = []
        working: list[Callable[[], None]] = []

        def later(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            result: Deferred[Any] = Deferred()
            listed.append(str(arguments[0]))
            working.append(lambda: result.callback(function(*arguments)))
            return result

        self.serve(videos=VideoReader(VideoDirectory(str(self.films)), execute, later))
        flooder, other = (IPv4Address("TCP", address, 1) for address in ("192.0.2.1", "198.51.100.1"))
        refused = []
        for number in range(2 * MAX_WAITING_LISTS):
            client, pump = self.connect(flooder)
            client.transport.write(head(f"/videos/?search=a{number}"))
            pump.flush()
            if number % 2:
                client.transport.loseConnection()
            else:
                refused.append((client, pump))
        for number in range(MAX_WAITING_LISTS):
            client, pump = self.connect(flooder)
            client.transport.write(head(f"/videos/?search=b{number}"))
            refused.append((client, pump))
            pump.flush()
        client, pump = self.connect(other)
        client.transport.write(head("/videos/?search=film"))
        pump.flush()
        for _ in range(3):
            working.pop()()
        pump.flush()
        self.assertEqual(listed[2], "film", listed)
        self.assertIn(b"A Film.mp4", client.data)
        while working:
            working.pop()()
        self.assertEqual(len(listed), 2 + MAX_WAITING_LISTS, listed)
        for _, pump in refused:
            pump.flush()
        self.assertEqual(sum(b" 429 " in client.data for client, _ in refused), len(refused) - MAX_WAITING_LISTS - 1)


class MembersTests(VideosTestCase):
    access = "members"

    def setUp(self) -> None:
        super().setUp()
        self.rooms.members["s3cret.name"] = {"roomId": ROOM}

    def enter(self, path: str = "/videos/", **headers: Any) -> Reply:
        return self.request(path, Authorization="Bearer s3cret.name", **headers)

    def test_members_only(self) -> None:
        for path in ("/videos/", "/videos/?search=x", "/videos/A%20Film.mp4", "/videos/missing.mp4"):
            wrong: list[dict[str, Any]] = [{}, {"Authorization": "Bearer wrong"}, {"Cookie": "tandemd-videos=wrong"}]
            for headers in wrong:
                reply = self.request(path, **headers)
                self.assertEqual(reply.status, 401, path)
                self.assertIn("web.videos_access", reply.json["error"])

    def test_a_list_sets_the_cookie_with_which_films_are_loaded(self) -> None:
        cookie = self.enter().headers["Set-Cookie"]
        self.assertEqual(cookie, "tandemd-videos=s3cret.name; HttpOnly; SameSite=Strict")
        reply = self.request("/videos/A%20Film.mp4", Cookie=cookie.partition(";")[0])
        self.assertEqual((reply.status, reply.headers["Cache-Control"]), (200, "private, no-cache"))
        for path in ("/videos", "/videos/Series/"):
            self.assertNotIn("Set-Cookie", self.enter(path).headers, "the cookie would have another path")

    def test_over_https_the_cookie_is_for_https_only(self) -> None:
        self.serve(1, videos=self.reader, videos_access="members")
        self.assertIn("; Secure", self.enter(X_Forwarded_Proto="https").headers["Set-Cookie"])

    def test_former_members_lose_it(self) -> None:
        self.enter()
        del self.rooms.members["s3cret.name"]
        self.reactor.advance(61)
        self.assertEqual(self.enter().status, 401)

    def test_guesses_are_limited_and_players_are_not(self) -> None:
        self.serve(videos=self.reader, videos_access="members", code_lookups=5)
        for _ in range(20):
            self.assertEqual(self.enter("/videos/A%20Film.mp4", Range="bytes=0-1").status, 206)
        statuses = [self.request("/videos/", Authorization=f"Bearer {n}").status for n in range(6)]
        self.assertEqual(statuses, [401] * 4 + [429] * 2)


class PlayerTests(VideosTestCase):
    def test_a_player_that_has_enough_may_stop_reading(self) -> None:
        client, pump = self.connect()
        client.transport.write(head("/videos/A%20Film.mp4"))
        pump.pump()
        channel = pump.server
        channel.pauseProducing()
        self.reactor.advance(UNREAD_SECONDS - 1)
        self.assertFalse(client.closed)
        self.reactor.advance(2)
        pump.flush()
        self.assertTrue(client.closed)


class DaemonTests(DaemonTestCase):
    """A real daemon, with real sockets and threads."""

    def setUp(self) -> None:
        super().setUp()
        self.films = tree(self.home)
        (self.films / "big.mp4").write_bytes(FILM * 100)

    async def test_films_and_titles(self) -> None:
        daemon = await self.running(TANDEMD_WEB_VIDEOS_DIR=str(self.films))
        base = f"http://127.0.0.1:{daemon.port}/videos/"
        status, content = await self.get(base + "Series/1/One.mp4")
        self.assertEqual((status, content), (200, b"one"))
        status, content = await self.get(base + "big.mp4", {"Range": f"bytes=100000-{100 * len(FILM) - 1}"})
        self.assertEqual((status, content), (206, (FILM * 100)[100000:]))
        self.assertIn(f"films: the party page offers those in {self.films}", [line["message"] for line in daemon.log])
        ann = await self.connect(daemon)
        await ann.join("room", "ann")
        await ann.do("URL_CHANGE", url="https://tandemd.invalid/videos/Series/1/One.mp4")
        await ann.do("URL_CHANGE", url="https://tandemd.invalid/file/a.mp4?duration=1.5&size=100")

    async def test_ways_out_as_bytes(self) -> None:
        """treq and browsers would resolve these paths before they send them."""
        daemon = await self.running(TANDEMD_WEB_VIDEOS_DIR=str(self.films))
        for path in (
            b"/videos/../outside/secret.mp4",
            b"/videos/%2e%2e/outside/secret.mp4",
            b"/videos/linked/secret.mp4",
        ):
            answer = await deferToThread(self.raw, daemon.port, path)
            self.assertIn(b" 404 ", answer.split(b"\r\n")[0])
            self.assertNotIn(OUTSIDE, answer)

    def raw(self, port: int, path: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))

    async def test_a_stop_waits_for_no_film(self) -> None:
        daemon = await self.running(TANDEMD_WEB_VIDEOS_DIR=str(self.films))
        with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE_SECONDS) as connection:
            connection.sendall(b"GET /videos/big.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
            await deferToThread(connection.recv, 100)
            ended = daemon.ended()
            daemon.kill(15)
            await ended
        self.assertEqual([line for line in daemon.log if line["level"] in ("error", "critical")], [])

    async def test_a_directory_that_cannot_be_read(self) -> None:
        missing = self.home / "missing"
        daemon = await self.refused(TANDEMD_WEB_VIDEOS_DIR=str(missing))
        self.assertEqual(daemon.status, 1)
        self.assertRegex(daemon.errors.decode() + daemon.output.decode(), f"web.videos_dir: {re.escape(str(missing))}")

    async def test_a_home_directory(self) -> None:
        shutil.move(self.films, self.home / "Films")
        daemon = await self.running(TANDEMD_WEB_VIDEOS_DIR="~/Films")
        status, _ = await self.get(f"http://127.0.0.1:{daemon.port}/videos/")
        self.assertEqual(status, 200)
