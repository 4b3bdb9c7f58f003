"""Bytes and moments of the files that the party page loads in Chromium, and the page without one of them."""

from __future__ import annotations

import json
from typing import Any

from ..support.browser import BrowserTestCase

MOST_AT_START = 120_000
"""All that the browser loads for the start screen, in bytes: uncompressed, and with their comments."""
MOST_IN_PARTY = 240_000
"""The same, up to a party that watches the sample film, without the film itself."""
CALL = ("call-view.js", "calls.js", "call-peer.js", "call-devices.js", "call.css")
LATER = (*CALL, "qr-code.js", "invite-view.js", "settings-view.js", "video-list.js", "local-file.js", "subtitles.js")
"""Files that a party loads only if it needs them."""


class SizeTests(BrowserTestCase):
    """The page is small, loads parts at their first use, and asks its own server only."""

    arguments = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

    def watched(self, **options: Any) -> tuple[Any, list[Any]]:
        """Return a page and the requests that it makes, from its first on, without a cache."""
        page = self.open(**options)
        requests: list[Any] = []
        page.on("request", lambda request: requests.extend([request]))
        page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
        page.reload()
        page.wait_for_selector('#app:not([data-screen="loading"])')
        page.wait_for_load_state("networkidle")
        return page, requests

    def sizes(self, requests: list[Any]) -> dict[str, int]:
        """Return the sizes of the loaded files by URL, without the film."""
        urls = {request.url: request for request in requests if not request.url.endswith(".mp4")}
        return {url: len(request.response().body()) for url, request in urls.items()}

    def names(self, requests: list[Any]) -> set[str]:
        return {request.url.rpartition("/")[2] for request in requests}

    def test_start_screen(self) -> None:
        for language in ("en-US", "de-DE"):
            _, requests = self.watched(locale=language)
            sizes = self.sizes(requests)
            self.assertLess(sum(sizes.values()), MOST_AT_START, json.dumps(sizes, indent=1))
            other = "de.js" if language == "en-US" else "en.js"
            unwanted = {*LATER, "party.css", "films.css", "party.js", "party-page.js", other}
            self.assertEqual(self.names(requests) & unwanted, set())

    def test_party(self) -> None:
        for language in ("en-US", "de-DE"):
            page, requests = self.watched(locale=language)
            self.join(page, "Ann")
            page.wait_for_function("() => document.querySelector('video').readyState >= 3")
            sizes = self.sizes(requests)
            self.assertIn("party.css", self.names(requests))
            self.assertLess(sum(sizes.values()), MOST_IN_PARTY, json.dumps(sizes, indent=1))
            self.assertEqual(self.names(requests) & set(LATER), set())
            page.click("#invite-open")
            page.wait_for_selector("#invite-qr svg")
            page.click("#invite-dialog .close")
            page.click("#call-join")
            page.wait_for_selector(".call-tile")
            self.assertLessEqual({*CALL, "qr-code.js"}, self.names(requests))
            here = (self.node.url, "blob:", "data:")
            self.assertEqual([request.url for request in requests if not request.url.startswith(here)], [])


class MissingPartTests(BrowserTestCase):
    """Parts that do not come, as while the server restarts: a sentence, and a way to try again."""

    def without(self, page: Any, name: str) -> Any:
        """Have the server not answer for a file, until the returned function is called."""
        pattern = f"**/{name}"
        page.route(pattern, lambda route: route.abort())
        return lambda: page.unroute(pattern)

    def test_the_party_itself(self) -> None:
        for name in ("party-page.js", "film-view.js", "playback.js", "party.css"):
            page = self.open()
            restore = self.without(page, name)
            page.fill("#name", "Ann")
            page.click("#start-button")
            page.wait_for_selector("#start-error >> text=The server cannot be reached")
            self.assertTrue(page.is_enabled("#start-button"), name)
            restore()
            page.click("#start-button")
            page.wait_for_selector('#app[data-screen="party"][data-state="connected"]')
            self.assertEqual(page.evaluate("getComputedStyle(document.querySelector('.party')).display"), "grid")
            page.context.close()

    def test_after_a_reload(self) -> None:
        page = self.join(self.open(), "Ann")
        restore = self.without(page, "party-page.js")
        page.reload()
        page.wait_for_selector("#start-error >> text=The server cannot be reached")
        restore()
        page.click("#start-button")
        page.wait_for_selector('#app[data-screen="party"][data-state="connected"]')

    def test_parts_of_the_party(self) -> None:
        host = self.join(self.open(), "Ann")
        parts = (
            ("settings-view.js", "#settings-open", "#settings-dialog[open]"),
            ("qr-code.js", "#invite-open", "#invite-dialog[open]"),
            ("film-dialog.js", "#film-open", "#film-dialog[open]"),
            ("keys-dialog.js", "#keys-open", "#keys-dialog[open]"),
            ("calls.js", "#call-join", '#app:not([data-call="out"])'),
        )
        for name, button, shown in parts:
            restore = self.without(host, name)
            host.click(button)
            if name != "qr-code.js":
                host.wait_for_selector("#notice-text >> text=This part of the page could not be loaded")
                restore()
                host.click("#notice-action")
            host.wait_for_selector(shown, state="attached")
            restore()
            if "[open]" in shown:
                host.click(f"{shown} .close")
