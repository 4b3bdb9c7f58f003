"""The party page in Chromium: keys, clocks that are set, and PINs."""

from __future__ import annotations

import time
from typing import Any

from ..support.browser import BrowserTestCase, room_of

IN_PARTY = '#app[data-screen="party"][data-state="connected"]'


class KeysTests(BrowserTestCase):
    """Kind E: one rule for all keys, and each press counts once."""

    def commands(self, page: Any) -> int:
        """Return how many PLAY_PAUSE the page has sent. A message sent later proves that no other is on its way."""
        before = len(page.sent.of("CHAT"))
        page.evaluate("""() => {
            document.querySelector('#chat-text').value = 'later';
            document.querySelector('#chat-form').requestSubmit();
        }""")
        while len(page.sent.of("CHAT")) == before:
            page.wait_for_timeout(20)
        return len(page.sent.of("PLAY_PAUSE"))

    def focus_nothing(self, page: Any) -> None:
        page.evaluate("document.activeElement.blur()")

    def test_a_held_key_counts_once(self) -> None:
        host, guest = self.party()
        for number, (key, focus) in enumerate([(" ", ""), ("k", ""), ("Enter", "#play"), (" ", "#play")], 1):
            self.focus_nothing(host)
            if focus:
                host.focus(focus)
            for _ in range(20):
                host.keyboard.down(key)
            host.keyboard.up(key)
            self.assertEqual(self.commands(host), number, (key, focus))
        guest.wait_for_function("() => document.querySelectorAll('#chat .said').length === 4")

    def test_a_form_is_sent_once(self) -> None:
        host, _ = self.party()
        host.click("#settings-open")
        host.fill("#rename", "Zoe")
        for _ in range(20):
            host.keyboard.down("Enter")
        host.keyboard.up("Enter")
        self.commands(host)
        self.assertEqual(len(host.sent.of("UPDATE_USERNAME")), 1)

    def test_elements_with_the_focus_keep_their_keys(self) -> None:
        host, _ = self.party()
        host.evaluate("""() => {
            document.querySelector('.side').insertAdjacentHTML('afterbegin', `
                <div id="x-edit" contenteditable>a</div> <video id="x-video" controls></video> <textarea id="x-text"></textarea>
                <select id="x-select"><option>1</select> <div id="x-div" tabindex="0">b</div> <iframe id="x-frame"></iframe>
                <details id="x-details"><summary>c</summary>d</details> <audio id="x-audio" controls></audio>`);
        }""")
        inputs = ["#chat-text", "#seek", "#volume", "#x-edit", "#x-text", "#x-select"]
        others = ["#invite-open", "#chat", "#chat-tab", "#x-div", "#x-video", "#x-audio", "#x-frame", "#settings-open"]
        for focus in inputs + others:
            host.focus(focus)
            host.keyboard.press("k")
            if not focus.endswith("-open"):
                host.keyboard.press(" ")
        host.focus("#x-details summary")
        host.keyboard.press(" ")
        self.assertTrue(host.evaluate("document.querySelector('#x-details').open"))
        self.assertEqual(self.commands(host), 0)

    def test_keys_with_modifiers_belong_to_the_browser(self) -> None:
        host, _ = self.party()
        self.focus_nothing(host)
        for modifier in ("Shift", "Control", "Alt", "Meta"):
            for key in ("k", " "):
                host.keyboard.press(f"{modifier}+{'Space' if key == ' ' else key}")
        host.focus("#seek")
        for modifier in ("Control", "Meta", "Shift"):
            host.keyboard.press(f"{modifier}+PageUp")
        self.assertEqual(self.commands(host), 0)
        self.assertEqual(host.sent.of("SEEK"), [])

    def test_below_a_dialog_and_a_menu_keys_do_nothing(self) -> None:
        host, guest = self.party()
        host.click("#people-tab")
        host.click("#people li:last-child button")
        host.wait_for_selector("[role=menuitem] >> nth=0")
        host.keyboard.press("k")
        host.click("[role=menuitem] >> text=Kick")
        host.wait_for_selector("#dismissal[open]")
        for focus in ("document.activeElement.id", "document.activeElement.blur()"):
            host.evaluate(focus)
            for key in ("k", " "):
                host.keyboard.press(key)
        self.assertEqual(self.commands(host), 0)
        host.click("#dismissal-yes")
        guest.wait_for_selector('#app[data-screen="start"]')
        host.wait_for_selector("#barred:not([hidden])")
        host.focus("#barred summary")
        host.keyboard.press(" ")
        self.assertTrue(host.evaluate("document.querySelector('#barred').open"))
        self.assertEqual(self.commands(host), 0)

    def test_after_a_click_on_the_film_the_keys_play_and_pause(self) -> None:
        host, _ = self.party()
        host.click("#video")
        host.keyboard.press(" ")
        host.keyboard.press("k")
        self.assertEqual(self.commands(host), 3)


SHIFTED = """
    const Real = Date;
    window.shift = %d;
    window.Date = class extends Real {
        constructor(...parts) { parts.length ? super(...parts) : super(Real.now() + window.shift); }
        static now() { return Real.now() + window.shift; }
    };
"""
"""Lets the clock of the computer be set: `window.shift`, in milliseconds."""


class ClockTests(BrowserTestCase):
    """Kind D: the computer's clock is wrong or is set, and the film and the chat take no notice."""

    def test_a_wrong_clock_from_the_start(self) -> None:
        years = 10 * 365 * 86_400_000
        host, guest = self.party(SHIFTED % years, SHIFTED % -years)
        host.click("#play")
        self.assert_in_step(host, guest)
        host.fill("#chat-text", "what time is it?")
        host.press("#chat-text", "Enter")
        for page in (host, guest):
            page.wait_for_selector("#chat .said time")
            shown = page.get_attribute("#chat .said time", "datetime")
            self.assertEqual(shown[:4], time.strftime("%Y", time.gmtime()))

    def test_a_clock_that_is_set(self) -> None:
        host, guest = self.party(SHIFTED % 0, SHIFTED % 0)
        host.click("#play")
        self.assert_in_step(host, guest)
        for page in (host, guest):
            for shift in (3_600_000, -600_000, 0):
                page.evaluate("shift => { window.shift = shift; }", shift)
                self.assert_in_step(host, guest)
        self.assertEqual(host.sent.of("SEEK") + guest.sent.of("SEEK"), [])

    def assert_in_step(self, host: Any, guest: Any) -> None:
        """Both players go on from where they are: a step of the clock by minutes would take them to the end, or stop them."""
        host.wait_for_function("() => !document.querySelector('video').paused")
        begin = host.evaluate("document.querySelector('video').currentTime")
        for page in (host, guest):
            page.wait_for_function(
                """begin => {
                    const video = document.querySelector('video');
                    return !video.paused && video.currentTime > begin + 1 && video.currentTime < begin + 20;
                }""",
                arg=begin,
            )


class PinTests(BrowserTestCase):
    """A11: a person who has mistyped a PIN, or waits, knows why, and can correct it without a reload."""

    environ = {"TANDEMD_LIMITS_PIN_TRIES_PER_ADDRESS": "2", "TANDEMD_LIMITS_PIN_TRIES_PER_ROOM": "40"}

    def text(self, page: Any, selector: str, pattern: str) -> None:
        page.wait_for_function(
            "([selector, pattern]) => new RegExp(pattern).test(document.querySelector(selector).textContent)",
            arg=[selector, pattern],
        )

    def guest(self, room: str) -> Any:
        page = self.open(f"/?room={room}")
        page.fill("#name", "Bob")
        page.click("#start-button")
        self.text(page, "#start-error", "This party has a PIN. Ask the host")
        return page

    def try_pin(self, page: Any, pin: str) -> None:
        page.fill("#pin", pin)
        page.click("#start-button")

    def test_typos_and_the_household(self) -> None:
        room = room_of(self.join(self.open(), "Ann", pin="407216"))
        typist = self.guest(room)
        self.try_pin(typist, "1")
        self.text(typist, "#start-error", "not the PIN of this party")
        self.try_pin(typist, "2")
        self.text(
            typist, "#start-wait", "Too many wrong PINs came from your network.*in about \\d+ minutes.*correct it"
        )
        self.assertEqual(typist.text_content("#start-error"), "")
        self.assertTrue(typist.is_enabled("#start-button"))
        self.try_pin(typist, "407216")
        self.text(typist, "#start-wait", "Too many wrong PINs")
        self.assertEqual([join.get("pin") for join in typist.sent.of("JOIN")], [None, "1", "2", "407216"])
        # Another device at the same address.
        sister = self.guest(room)
        self.try_pin(sister, "407216")
        sister.wait_for_selector(IN_PARTY)

    def test_a_locked_party_opens(self) -> None:
        host = self.join(self.open(), "Ann")
        host.click("#settings-open")
        host.click("#lock")
        host.wait_for_selector("#locked-tag:not([hidden])")
        guest = self.open(f"/?room={room_of(host)}")
        guest.fill("#name", "Bob")
        guest.click("#start-button")
        self.text(guest, "#start-wait", "locked the party. You will join as soon as the host unlocks")
        self.assertTrue(guest.is_visible("#start-other"))
        guest.fill("#name", "Robert")
        guest.click("#start-button")
        self.text(guest, "#start-wait", "locked the party")
        host.click("#lock")
        guest.wait_for_selector(IN_PARTY)
        self.text(host, "#people", "Robert")

    def test_removed_members_have_a_way_on(self) -> None:
        host = self.join(self.open(), "Ann")
        guest = self.join(self.open(f"/?room={room_of(host)}"), "Bob")
        host.click("#people-tab")
        host.click("#people li:last-child button")
        host.click("[role=menuitem] >> text=Ban")
        host.click("#dismissal-yes")
        self.text(guest, "#start-error", "banned you")
        self.assertFalse(guest.is_visible("#start-button"))
        guest.click("#start-other")
        guest.wait_for_selector("#start-button:not([hidden])")
        self.assertEqual(guest.text_content("#start-button"), "Start the party")
