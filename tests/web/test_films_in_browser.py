"""Films in Chromium: files of the members, films of the server, subtitles, and why a film does not play."""

from __future__ import annotations

import socket
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..support.browser import ROOT, BrowserTestCase, room_of

CLIP = ROOT / "tandemd/web/page/clip.mp4"
LOADED = "() => document.querySelector('video').readyState >= 3"
MOVES = "() => { const video = document.querySelector('video'); return !video.paused && video.currentTime > %g; }"
STATES = """
    window.states = [];
    addEventListener('DOMContentLoaded', () => {
        const app = document.querySelector('#app');
        const watch = { attributeFilter: ['data-film'] };
        new MutationObserver(() => window.states.push(app.dataset.film)).observe(app, watch);
    });
"""
"""Collects the states of the page's attempts to play a film."""
DROP = """([link, content]) => {
    const dataTransfer = new DataTransfer();
    if (link) dataTransfer.setData('text/uri-list', link);
    else dataTransfer.items.add(new File([content], 'dropped.mp4', { type: 'video/mp4' }));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
}"""
"""Drops a link, or a file with a content, on the page."""
SRT = "1\n00:00:00,500 --> 00:01:20,000\nWords of the film\n"


class FilmsTestCase(BrowserTestCase):
    """Helpers for parties with a film."""

    def loaded(self, *pages: Any) -> None:
        for page in pages:
            page.wait_for_function(LOADED)

    def text(self, page: Any, selector: str, pattern: str) -> None:
        """Wait until an element shows a text that matches."""
        script = "([selector, pattern]) => new RegExp(pattern).test(document.querySelector(selector)?.textContent)"
        page.wait_for_function(script, arg=[selector, pattern])

    def own_file(self, film: Path) -> Any:
        """Return the page of a host whose party watches a file of its computer."""
        host = self.open()
        host.set_input_files("#start-file-input", str(film))
        host.wait_for_function("() => document.querySelector('#start-url').dataset.title")
        self.join(host, "Ann")
        self.loaded(host)
        return host

    def show(self, page: Any, url: str) -> None:
        page.click("#film-open")
        page.fill("#title-url", url)
        page.click("#title-button")

    def in_step(self, host: Any, guest: Any, position: float) -> None:
        """Play and seek: both players move from there on."""
        host.click("#play")
        for page in (host, guest):
            page.wait_for_function(MOVES % 0)
        host.evaluate(
            "at => { const seek = document.querySelector('#seek'); seek.value = at; seek.dispatchEvent(new Event('change')); }",
            position,
        )
        for page in (host, guest):
            page.wait_for_function(MOVES % position)

    def copy(self, name: str, more: bytes = b"") -> Path:
        home = Path(tempfile.mkdtemp())
        film = home / name
        film.write_bytes(CLIP.read_bytes() + more)
        self.addCleanup(home.rmdir)
        self.addCleanup(film.unlink)
        return film


class OwnFileTests(FilmsTestCase):
    """A file of which each member opens its own copy."""

    def test_two_copies(self) -> None:
        film = self.copy("Ann's film #1 \xfc.mp4")
        host = self.own_file(film)
        guest = self.join(self.open(f"/?room={room_of(host)}"), "Bob")
        self.text(guest, "#film-prompt-text", "Ann's film #1 \xfc.mp4 \\(1:30, .*Open your own copy")
        self.assertEqual(host.text_content("#title-name"), film.name)
        requests: list[str] = []
        guest.on("request", lambda request: requests.append(request.method))
        guest.set_input_files("#film-copy-input", str(film))
        self.loaded(guest)
        self.assertTrue(guest.is_hidden("#film-prompt"))
        self.in_step(host, guest, 40)
        self.assertEqual(set(requests) - {"GET"}, set())
        for page in (host, guest):
            self.assertEqual(len([frame for frame in page.sent if len(str(frame)) > 2000]), 0)

    def test_another_copy(self) -> None:
        host = self.own_file(self.copy("film.mp4"))
        guest = self.join(self.open(f"/?room={room_of(host)}"), "Bob")
        guest.set_input_files("#film-copy-input", str(self.copy("other name.mp4", b"\0\0\0\x08free")))
        self.text(guest, "#film-prompt-text", "another size")
        self.loaded(guest)
        guest.click("#film-accept")
        guest.wait_for_selector("#film-prompt", state="hidden")
        self.show(host, f"https://tandemd.invalid/file/film.mp4?duration=100&size={CLIP.stat().st_size}")
        self.text(guest, "#film-prompt-text", "film.mp4 \\(1:40")
        guest.set_input_files("#film-copy-input", str(self.copy("film.mp4")))
        self.text(guest, "#film-prompt-text", "shorter: 1:30 instead of 1:40")

    def test_after_a_reload_the_page_asks_again(self) -> None:
        film = self.copy("film.mp4")
        host = self.own_file(film)
        host.reload()
        self.text(host, "#film-prompt-text", "film.mp4")
        host.set_input_files("#film-copy-input", str(film))
        self.loaded(host)

    def test_drops(self) -> None:
        page = self.open()
        page.evaluate(DROP, ["https://films.example/a.mp4", ""])
        self.text(page, "#start-film-problem", "does not allow films from films.example")
        page.evaluate(DROP, ["", "no film"])
        self.text(page, "#start-film-problem", "cannot play dropped.mp4")

    def test_a_file_that_is_no_film(self) -> None:
        page = self.open()
        film = self.copy("film.mp4")
        film.write_bytes(b"no film")
        page.set_input_files("#start-file-input", str(film))
        self.text(page, "#start-film-problem", "cannot play film.mp4")

    def test_subtitles_of_a_member(self) -> None:
        host = self.own_file(self.copy("film.mp4"))
        subtitles = self.copy("film.srt")
        subtitles.write_text(SRT)
        host.set_input_files("#subtitles-file-input", str(subtitles))
        host.wait_for_function(
            "() => document.querySelector('video').textTracks[0]?.cues?.[0]?.text === 'Words of the film'"
        )
        subtitles.write_text("no subtitles")
        host.set_input_files("#subtitles-file-input", str(subtitles))
        self.text(host, "#notice-text", "film.srt has no subtitles")


class ServerFilmsTests(FilmsTestCase):
    """Films of the server."""

    home = Path(tempfile.mkdtemp(prefix="tandemd-films-"))
    environ = {"TANDEMD_WEB_VIDEOS_DIR": str(home)}

    def setUp(self) -> None:
        (self.home / "Series/One").mkdir(parents=True, exist_ok=True)
        self.film = self.home / "Series/One/A film #1 \xfc.mp4"
        self.film.write_bytes(CLIP.read_bytes())
        self.film.with_suffix(".en.srt").write_text(SRT)
        super().setUp()

    def chosen(self, script: str = "") -> Any:
        """Return the page of a host that has chosen the film in the form of the start screen. script: runs before the page's."""
        host = self.open(script=script)
        host.click("#start-videos")
        host.click(".video-entry >> text=Series/")
        host.click(".video-entry >> text=One/")
        host.click(".video-entry >> text=A film")
        return host

    def test_a_film_with_subtitles(self) -> None:
        host = self.join(self.chosen(), "Ann")
        guest = self.join(self.open(f"/?room={room_of(host)}"), "Bob")
        self.loaded(host, guest)
        self.assertEqual(guest.text_content("#title-name"), self.film.name)
        self.in_step(host, guest, 60)
        host.click("#film-open")
        host.wait_for_selector("#subtitles option >> nth=1", state="attached")
        host.select_option("#subtitles", label="A film #1 \xfc.en.srt")
        host.wait_for_function("() => document.querySelector('video').textTracks[0]?.cues?.length === 1")

    def test_search_in_the_party(self) -> None:
        host = self.join(self.open(), "Ann")
        host.click("#film-open")
        host.click("#film-videos")
        host.fill("#videos-search", "nothing like it")
        self.text(host, "#videos-note", "No film")
        host.fill("#videos-search", "series FILM")
        host.click(".video-entry >> text=A film")
        self.text(host, "#title-name", "A film")
        self.loaded(host)

    def test_a_damaged_film_is_tried_again(self) -> None:
        content = bytearray(CLIP.read_bytes())
        content[len(content) // 4 :] = bytes(len(content) - len(content) // 4)
        self.film.write_bytes(content)
        host = self.join(self.chosen(STATES), "Ann")
        host.click("#play")
        host.wait_for_selector("#film-again:not([hidden])")
        self.assertEqual(host.evaluate("window.states").count("retrying"), 2)
        self.text(host, "#film-prompt-text", "cannot be played on")
        self.film.write_bytes(CLIP.read_bytes())
        host.click("#film-again")
        host.wait_for_function(MOVES % 30)
        self.assertTrue(host.is_hidden("#film-prompt"))


class MembersFilmsTests(ServerFilmsTests):
    """Films that only members may load."""

    home = Path(tempfile.mkdtemp(prefix="tandemd-films-"))
    environ = {"TANDEMD_WEB_VIDEOS_DIR": str(home), "TANDEMD_WEB_VIDEOS_ACCESS": "members"}

    def chosen(self, script: str = "") -> Any:
        """Return the page of a host that has chosen the film in the party: before, the page shows none."""
        host = self.open(script=script)
        host.click("#start-videos")
        self.text(host, "#videos-note", "Only members")
        host.click("#videos-dialog .close")
        self.join(host, "Ann")
        host.click("#film-open")
        host.click("#film-videos")
        host.fill("#videos-search", "A film")
        host.click(".video-entry >> text=A film")
        self.text(host, "#title-name", "A film")
        return host

    def join(self, page: Any, name: str, pin: str = "") -> Any:
        """See `BrowserTestCase`. The host is in the party already when it has chosen a film."""
        return page if page.is_visible("#party") else super().join(page, name, pin)


class Site(ThreadingHTTPServer):
    """Another site with films: without ranges of bytes, with a status, or with something that is no film."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SiteRequest)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: browsers close connections at any time."""


class SiteRequest(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = CLIP.read_bytes() if self.path == "/film.mp4" else b"no film"
        self.send_response(404 if self.path.endswith("/missing.mp4") else 200)
        if self.path.startswith("/open/"):
            self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class AddressTests(FilmsTestCase):
    """Films of web addresses."""

    environ = {"TANDEMD_TITLES_ALLOWED": "*"}

    def setUp(self) -> None:
        super().setUp()
        self.site = Site()
        self.addCleanup(self.site.server_close)
        self.addCleanup(self.site.shutdown)

    def test_a_server_without_ranges(self) -> None:
        host = self.join(self.open(), "Ann")
        self.show(host, self.site.url + "/film.mp4")
        self.text(host, "#film-prompt-text", "does not support seeking")

    def test_why_a_film_does_not_play(self) -> None:
        host = self.join(self.open(), "Ann")
        with socket.create_server(("127.0.0.1", 0)) as closed:
            unreachable = f"http://127.0.0.1:{closed.getsockname()[1]}/film.mp4"
        for url, reason in (
            (self.site.url + "/missing.mp4", "server answers.*does not exist, is no video"),
            (unreachable, "cannot be reached"),
            (self.site.url + "/open/text.mp4", "cannot play this film \\(.mp4\\): it is no video"),
            (self.site.url + "/open/missing.mp4", "does not have this film"),
            (self.site.url + "/film.avi", "cannot play this film \\(.avi\\)"),
        ):
            self.show(host, url)
            self.text(host, "#film-prompt-text", reason)
            self.assertTrue(host.is_visible("#film-again"))
        self.show(host, self.site.url + "/film.mp4")
        self.loaded(host)


class StrictTests(FilmsTestCase):
    """The default allow-list."""

    def test_said_before_the_party(self) -> None:
        page = self.open()
        page.fill("#start-url", "https://films.example/film.mp4")
        self.text(page, "#start-film-problem", "does not allow films from films.example")
        page.fill("#name", "Ann")
        page.click("#start-button")
        self.text(page, "#start-error", "does not allow films from films.example")
        page.fill("#start-url", "")
        self.text(page, "#start-film-problem", "^$")
        self.join(page, "Ann")
        self.loaded(page)
        self.assertTrue(page.is_hidden("#film-videos"))
