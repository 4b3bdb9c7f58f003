"""The party page in Firefox: a first party."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from ..support.browser import Node
from ..support.firefox import Firefox, FirefoxPage
from ..support.patience import TEST_LIMIT_SECONDS

IN_PARTY = "document.querySelector('#app').matches('[data-screen=\"party\"][data-state=\"connected\"]')"
H264 = "document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.42E01E\"') !== ''"
MOVES = "!document.querySelector('video').paused && document.querySelector('video').currentTime > %g"


class FirefoxTests(TestCase):
    """The page works in Firefox, too. Chromium has the tests of everything else."""

    timeout = TEST_LIMIT_SECONDS

    async def setUp(self) -> None:  # type: ignore[override]
        self.firefox = Firefox()
        await self.firefox.connect()
        self.addCleanup(self.firefox.stop)
        home = Path(tempfile.mkdtemp(prefix="tandemd-browser-"))
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        self.node = Node(home)
        self.addCleanup(self.node.stop)

    async def join(self, path: str, name: str) -> FirefoxPage:
        page = await self.firefox.open(self.node.url + path)
        await page.fill("#name", name)
        await page.click("#start-button")
        await page.until(IN_PARTY)
        if not await page.evaluate(H264):
            raise SkipTest("no firefox: this one cannot play H.264")
        await page.until("document.querySelector('video').readyState >= 3")
        return page

    async def test_a_first_party(self) -> None:
        host = await self.join("/", "Ann")
        room = await host.evaluate("document.querySelector('#app').dataset.room")
        guest = await self.join(f"/?room={room}", "Bob")
        await host.fill("#chat-text", "hello")
        await host.click("#chat-send")
        await guest.until("document.querySelector('#chat .said-text')?.textContent === 'hello'")
        await host.click("#play")
        for page in (host, guest):
            await page.until(MOVES % 0.5)
        await host.evaluate(
            "(() => { const seek = document.querySelector('#seek'); seek.value = 40;"
            " seek.dispatchEvent(new Event('change')); })()"
        )
        for page in (host, guest):
            await page.until(MOVES % 40)
        for dialog in ("settings", "invite", "film"):
            await host.click(f"#{dialog}-open")
            await host.until(f"document.querySelector('#{dialog}-dialog').open")
            await host.click(f"#{dialog}-dialog .close")
