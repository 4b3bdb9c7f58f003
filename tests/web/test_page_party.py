"""A party on the page in Chromium: settings of the host, names of members, and the end of a film."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..support.browser import SEEK, BrowserTestCase, room_of
from ..support.patience import PATIENCE_SECONDS

RECORD = """() => new Promise((resolve) => {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width: 320, height: 240 });
    const paint = canvas.getContext('2d');
    const image = paint.createImageData(320, 240);
    const options = {
        mimeType: 'video/webm;codecs=vp8', videoBitsPerSecond: 2_000_000,
        // A page that starts late seeks. In a film of one key frame, Chromium would wait for the end of the film.
        videoKeyFrameIntervalDuration: 500,
    };
    const recorder = new MediaRecorder(canvas.captureStream(10), options);
    const timer = setInterval(() => {
        // Noise, because a player reads many bytes at a time.
        for (let at = 0; at < image.data.length; at += 1) image.data[at] = at % 4 === 3 ? 255 : Math.random() * 256;
        paint.putImageData(image, 0, 0);
    }, 100);
    const parts = [];
    recorder.ondataavailable = ({ data }) => {
        // From the first picture on, which a busy machine encodes late.
        if (data.size && !parts.length) setTimeout(() => recorder.stop(), 10_000);
        parts.push(data);
    };
    recorder.onstop = () => {
        clearInterval(timer);
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.split(',')[1]);
        reader.readAsDataURL(new Blob(parts));
    };
    recorder.start(500);
})"""
"""Records a film as a live stream has it: its length is not known before its end."""
POSITION = "document.querySelector('video').currentTime"


class SettingsTests(BrowserTestCase):
    """The host sets how the film plays, and the guests see it."""

    def test_wait_for_buffering(self) -> None:
        host, guest = self.party()
        guest.click("#settings-open")
        guest.wait_for_selector("#wait:disabled")
        self.assertFalse(guest.is_checked("#wait"))
        host.click("#settings-open")
        host.click("#wait")
        guest.wait_for_selector("#wait:checked:disabled")
        host.wait_for_selector("#wait:checked:enabled")
        host.click("#wait")
        guest.wait_for_selector("#wait:not(:checked):disabled")
        sent = [message["enabled"] for message in host.sent.of("WAIT_FOR_BUFFERING")]
        self.assertEqual(sent, [True, False])

    def test_rate(self) -> None:
        host, guest = self.party()
        guest.click("#settings-open")
        guest.wait_for_selector("#rate:disabled")
        host.click("#settings-open")
        host.select_option("#rate", "1.5")
        guest.wait_for_function("() => document.querySelector('#rate').value === '1.5'")
        host.click("#settings-dialog .close")
        host.click("#play")
        for page in (host, guest):
            page.wait_for_function(
                "() => { const video = document.querySelector('video'); return video.playbackRate > 1.3; }"
            )
        # A member that may control the film sets its rate, too.
        host.click("#settings-open")
        host.click("#guest-control")
        guest.wait_for_selector("#rate:enabled")
        guest.select_option("#rate", "1")
        host.wait_for_function("() => document.querySelector('#rate').value === '1'")


class NamesTests(BrowserTestCase):
    """Members without a name differ, and each page calls them the same."""

    def test_members_without_a_name(self) -> None:
        host = self.join(self.open(), "")
        others = [self.join(self.open(f"/?room={room_of(host)}"), "") for _ in range(2)]
        pages = [host, *others]
        lists = []
        for page in pages:
            page.wait_for_function("() => document.querySelectorAll('#people .person').length === 3")
            page.fill("#chat-text", "hello")
            page.press("#chat-text", "Enter")
        for page in pages:
            page.wait_for_function("() => document.querySelectorAll('#chat .said').length === 3")
            shown = "nodes => nodes.map((node) => node.textContent)"
            people = page.eval_on_selector_all("#people .person-name", shown)
            said = page.eval_on_selector_all("#chat .said-by bdi", shown)
            self.assertEqual(sorted(people), sorted(said))
            lists.append(people)
        self.assertEqual(lists[1:], lists[:-1])
        self.assertEqual(len(set(lists[0])), 3, "their user ids are random: one run of 300 has two of a number")
        for name in lists[0]:
            self.assertRegex(name, r"^Guest \d{3}$")


class Stream(ThreadingHTTPServer):
    """Another site with a film that grows: the last part comes after `rest` is set."""

    daemon_threads = True

    def __init__(self, film: bytes) -> None:
        super().__init__(("127.0.0.1", 0), StreamRequest)
        self.film = film
        self.rest = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/live.webm"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: browsers close connections at any time."""


class StreamRequest(BaseHTTPRequestHandler):
    server: Stream
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        film = self.server.film
        self.send_response(200)
        self.send_header("Content-Type", "video/webm")
        # Its length is not known yet.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        # Chromium looks at 5 s of such a film before it plays.
        known = len(film) * 9 // 10
        self.send_part(film[:known])
        self.server.rest.wait(PATIENCE_SECONDS)
        self.send_part(film[known:])
        self.send_part(b"")

    def send_part(self, part: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class EndTests(BrowserTestCase):
    """A film ends where its player ends, and may be played again."""

    environ = {"TANDEMD_TITLES_ALLOWED": "*"}

    def test_end_and_replay(self) -> None:
        host, guest = self.party()
        host.click("#play")
        host.wait_for_selector("#seek:enabled")
        host.evaluate(SEEK, 88)
        host.wait_for_selector("#film-over-text >> text=The film is over.")
        guest.wait_for_selector("#film-over-text >> text=The host may choose another one.")
        self.assertFalse(guest.is_visible("#film-replay") or guest.is_visible("#film-next"))
        host.click("#film-next")
        host.wait_for_selector("#film-dialog[open]")
        host.click("#film-dialog .close")
        host.click("#film-replay")
        for page in (host, guest):
            page.wait_for_function(
                f"() => {POSITION} > 0.3 && {POSITION} < 60 && !document.querySelector('video').paused"
            )
            page.wait_for_selector("#film-over", state="hidden")
        self.assertEqual(host.sent.of("SEEK")[-1]["currentTime"], 0)

    def test_a_stream_that_grows(self) -> None:
        host = self.join(self.open(), "Ann")
        stream = Stream(base64.b64decode(host.evaluate(RECORD)))
        self.addCleanup(stream.server_close)
        self.addCleanup(stream.shutdown)
        self.addCleanup(stream.rest.set)
        host.click("#film-open")
        host.fill("#title-url", stream.url)
        host.click("#title-button")
        host.wait_for_function("() => document.querySelector('video').readyState >= 3")
        host.click("#play")
        # All that has come so far was played, and the film is not over.
        host.wait_for_function("() => document.querySelector('#app').dataset.playing === 'true'")
        host.wait_for_function(f"() => {POSITION} > 0.5")
        host.wait_for_selector("#screen-note >> text=Loading")
        before = host.evaluate(POSITION)
        self.assertFalse(host.is_visible("#film-over"))
        stream.rest.set()
        host.wait_for_selector("#film-over-text >> text=The film is over.")
        self.assertGreater(host.evaluate(POSITION), before)
        host.click("#film-replay")
        host.wait_for_selector("#film-over", state="hidden")
        host.wait_for_function(f"() => !document.querySelector('video').paused && {POSITION} > 0.2 && {POSITION} < 5")
