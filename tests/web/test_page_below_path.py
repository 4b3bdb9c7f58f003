"""The party page in Chromium behind nginx, below a path, as docs/deployment.md describes it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..integration.test_proxy_examples import NGINX_CONF, below_a_path
from ..support.browser import ROOT, BrowserTestCase, room_of
from ..support.patience import until, wait_for_end
from ..support.private_servers import die_with_parent, free_port, nginx_program

PLAYS = "() => { const video = document.querySelector('video'); return !video.paused && video.currentTime > 0.5; }"


class BelowPathTests(BrowserTestCase):
    """F21: all that the page asks for is below the path."""

    home = Path(tempfile.mkdtemp(prefix="tandemd-path-films-"))
    environ = {"TANDEMD_WEB_VIDEOS_DIR": str(home), "TANDEMD_WEB_TRUSTED_PROXIES": "1"}

    def proxy(self) -> str:
        """Start nginx before the node; return the address of the page."""
        program = nginx_program()
        directory = Path(tempfile.mkdtemp(prefix="tandemd-nginx-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        port = free_port()
        text = (ROOT / "etc/nginx/tandemd.conf").read_text()
        example = below_a_path(text, int(self.node.url.rpartition(":")[2]), port)
        (directory / "nginx.conf").write_text(NGINX_CONF.format(example=example))
        command = [program, "-p", str(directory), "-e", "error.log", "-c", str(directory / "nginx.conf")]
        process = subprocess.Popen(
            command,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
        )
        self.addCleanup(wait_for_end, process)
        self.addCleanup(process.terminate)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until("nginx that listens", listens, (directory / "error.log").read_text)
        return f"http://127.0.0.1:{port}/party/"

    def test_a_party(self) -> None:
        shutil.copy(ROOT / "tandemd/web/page/clip.mp4", self.home / "Film.mp4")
        (self.home / "Film.srt").write_text("1\n00:00:00,500 --> 00:01:20,000\nWords of the film\n")
        page, base = self.open(), self.proxy()
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("websocket", lambda socket: requested.append(socket.url.replace("ws", "http", 1)))
        page.goto(base)
        host = self.join(page, "Ann")
        self.assertEqual(host.evaluate("location.href"), f"{base}?room={room_of(host)}")
        host.click("#invite-open")
        host.wait_for_function("() => /^[0-9a-z]+$/i.test(document.querySelector('#invite-code').textContent)")
        link, code = host.input_value("#invite-link"), host.text_content("#invite-code")
        self.assertEqual(link, f"{base}?room={room_of(host)}")
        host.click("#invite-dialog .close")
        guest = self.guest(base, code)
        host.click("#play")
        guest.wait_for_function(PLAYS)
        self.server_film(host, guest)
        host.click("#call-join")
        host.wait_for_selector('#app:not([data-call="out"])', state="attached")
        host.reload()
        host.wait_for_selector('#app[data-screen="party"][data-state="connected"]')
        host.click("#settings-open")
        host.click("#leave")
        host.wait_for_selector('#app[data-screen="start"]')
        self.assertEqual(host.evaluate("location.href"), base)
        self.assertEqual([url for url in requested if not url.startswith((base, "blob:", "data:"))], [])
        self.assertIn(f"{base}ws", requested)

    def guest(self, base: str, code: str) -> Any:
        """Return the page of a guest that has joined by the invite code."""
        guest = self.open()
        guest.goto(base)
        guest.check("#mode-join")
        guest.fill("#code", code)
        return self.join(guest, "Bob")

    def server_film(self, host: Any, guest: Any) -> None:
        """Change to a film of the server, with its subtitles."""
        host.click("#film-open")
        host.click("#film-videos")
        host.click(".video-entry >> text=Film.mp4")
        guest.wait_for_function("() => document.querySelector('#title-name').textContent === 'Film.mp4'")
        host.click("#film-open")
        host.wait_for_selector("#subtitles option >> nth=1", state="attached")
        host.select_option("#subtitles", label="Film.srt")
        host.wait_for_function("() => document.querySelector('video').textTracks[0]?.cues?.length === 1")
        host.click("#film-dialog .close")
        guest.wait_for_function("() => document.querySelector('video').readyState >= 3")
