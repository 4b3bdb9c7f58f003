"""The screens of the party page in Chromium: sizes, languages, accessibility, a lost server, and bad input."""

from __future__ import annotations

import importlib.resources
import re
from typing import Any

from twisted.trial.unittest import SkipTest

from ..support.browser import SEEK, BrowserTestCase, room_of

SIZES = ((390, 844), (844, 390), (820, 1180), (1280, 800))

CONNECTED = '#app[data-screen="party"][data-state="connected"]'
RESTARTED = '#app[data-state="connected"] #banner[hidden]'

VISIBLE = """selector => {
    const box = document.querySelector(selector).getBoundingClientRect();
    return box.width > 0 && box.left >= 0 && box.top >= 0 && box.right <= innerWidth + 0.5 && box.bottom <= innerHeight + 0.5;
}"""
"""Whether the whole element lies within the window."""

OVERLAPPING = """() => {
    const boxes = [...document.querySelectorAll('#party button, #party input')]
        .map((node) => [node.id, node.getBoundingClientRect()]).filter(([, box]) => box.width);
    const found = [];
    for (const [a, one] of boxes) for (const [b, two] of boxes) {
        const apart = one.right <= two.left + 1 || two.right <= one.left + 1
            || one.bottom <= two.top + 1 || two.bottom <= one.top + 1;
        if (a < b && !apart) found.push(`${a} ${b}`);
    }
    return found;
}"""


class LayoutTests(BrowserTestCase):
    """Film and chat are on the screen together, at each size."""

    def test_film_and_chat_share_each_screen(self) -> None:
        for language in ("en-US", "de-DE"):
            for width, height in SIZES:
                place = f"{width}x{height} {language}"
                page = self.join(self.open(locale=language, viewport={"width": width, "height": height}), "Ann")
                for selector in ("#screen", "#play", "#seek", "#chat", "#chat-text", "#invite-open", "#settings-open"):
                    self.assertTrue(page.evaluate(VISIBLE, selector), f"{place}: {selector} is not in sight")
                film, chat = (page.locator(selector).bounding_box() for selector in ("#screen", "#chat"))
                beside = chat["x"] >= film["x"] + film["width"] - 1
                below = chat["y"] >= film["y"] + film["height"] - 1
                self.assertEqual((beside, below), (width > height, width < height), place)
                self.assertGreater(chat["height"], 100, place)
                self.assertGreater(film["width"] * film["height"], 0.25 * width * height, place)
                self.assertEqual(page.evaluate(OVERLAPPING), [], place)
                self.assertFalse(page.evaluate("document.documentElement.scrollWidth > innerWidth"), place)
                page.context.close()

    def test_full_screen_hides_the_controls_and_shows_the_chat_on_demand(self) -> None:
        host, _ = self.party()
        host.click("#play")
        host.keyboard.press("f")
        host.wait_for_function("() => document.fullscreenElement")
        self.assertFalse(host.is_visible("#chat"))
        host.wait_for_selector('#app[data-idle="true"]')
        # The button with the focus must stay in sight.
        self.assertEqual(host.evaluate("getComputedStyle(document.querySelector('.controls')).opacity"), "1")
        host.evaluate("document.activeElement.blur()")
        host.wait_for_function("() => getComputedStyle(document.querySelector('.controls')).opacity === '0'")
        host.keyboard.press("c")
        host.wait_for_selector('#app[data-idle="false"]')
        self.assertTrue(host.is_visible("#chat"))
        host.keyboard.type("hello")
        host.keyboard.press("Enter")
        host.wait_for_selector("#chat .said")

    def test_a_reaction_shows_over_the_film(self) -> None:
        host, guest = self.party()
        guest.click("#react")
        guest.wait_for_function("() => document.activeElement.getAttribute('role') === 'menuitem'")
        guest.keyboard.press("ArrowRight")
        guest.keyboard.press("Enter")
        host.wait_for_selector("#reactions-shown .reaction", state="attached")
        host.wait_for_selector("#chat .said-text >> text=\U0001f60d")

    def test_chat_that_was_not_seen_is_counted(self) -> None:
        host, guest = self.party()
        host.click("#people-tab")
        for _ in range(2):
            guest.fill("#chat-text", "hello")
            guest.press("#chat-text", "Enter")
        host.wait_for_function("() => document.title.startsWith('(2) ')")
        self.assertEqual(host.text_content("#unread"), "2")
        host.click("#chat-tab")
        host.wait_for_function("() => !document.title.startsWith('(')")
        self.assertFalse(host.is_visible("#unread"))


class AccessibilityTests(BrowserTestCase):
    """Axe finds nothing on any screen, light or dark, and the keyboard is enough."""

    def axe(self, page: Any, screen: str) -> None:
        try:
            source = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
        except ModuleNotFoundError:
            raise SkipTest("no axe: run `make browser` to install axe-playwright-python") from None
        if not page.evaluate("'axe' in window"):
            page.evaluate(f"{source}; null")
        found = page.evaluate("axe.run({ resultTypes: ['violations'] }).then((result) => result.violations)")
        nodes = [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in found for node in each["nodes"]]
        self.assertEqual(nodes, [], screen)

    def test_axe(self) -> None:
        for scheme, size in (("light", SIZES[3]), ("dark", SIZES[0]), ("dark", SIZES[3]), ("light", SIZES[1])):
            self.walk(scheme, {"width": size[0], "height": size[1]})

    def walk(self, scheme: str, size: dict[str, int]) -> None:
        """Look at each screen."""
        place = f"{scheme} {size}: "
        host = self.open(color_scheme=scheme, viewport=size)
        self.axe(host, place + "start")
        host.check("#mode-join")
        host.click("#start-button")
        self.axe(host, place + "an error")
        host.check("#mode-create")
        self.join(host, "Ann")
        self.axe(host, place + "an empty chat")
        guest = self.open(f"/?room={room_of(host)}", color_scheme=scheme, viewport=size)
        self.axe(guest, place + "invited")
        self.join(guest, "Bob")
        for page in (host, guest):
            for number in range(12):
                page.fill("#chat-text", f"line {number} " * 9)
                page.press("#chat-text", "Enter")
        guest.wait_for_function("() => document.querySelectorAll('#chat .said').length === 24")
        for page in (host, guest):
            self.axe(page, place + "chat")
            page.click("#people-tab")
            self.axe(page, place + "people")
            for dialog in ("invite", "film", "settings", "keys"):
                if page.is_visible(f"#{dialog}-open"):
                    page.click(f"#{dialog}-open")
                    page.wait_for_selector(f"#{dialog}-dialog[open]")
                    self.axe(page, place + dialog)
                    page.keyboard.press("Escape")
        host.click("#people li:last-child button")
        host.wait_for_selector("[role=menuitem] >> nth=0")
        self.axe(host, place + "menu")
        host.click("[role=menuitem] >> text=Ban")
        self.axe(host, place + "ban")
        host.click("#dismissal-yes")
        guest.wait_for_selector("#start-other")
        self.axe(guest, place + "banned")
        host.wait_for_selector("#barred:not([hidden])")
        host.click("#barred summary")
        self.axe(host, place + "kept out")
        for page in (host, guest):
            page.context.close()

    def test_axe_at_the_end_of_the_film(self) -> None:
        for scheme in ("light", "dark"):
            host = self.open(color_scheme=scheme)
            self.join(host, "Ann")
            host.click("#play")
            host.wait_for_selector("#seek:enabled")
            host.evaluate(SEEK, 88)
            host.wait_for_selector("#film-over-text >> text=The film is over.")
            self.axe(host, f"{scheme}: the end of the film")
            host.context.close()

    def test_a_party_by_keyboard_alone(self) -> None:
        host, guest = self.party()

        def focused() -> str:
            outline = host.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            self.assertEqual(outline, "solid", "the focus is not visible")
            return str(host.evaluate("document.activeElement.id"))

        def tab_to(wanted: str) -> None:
            for _ in range(60):
                host.keyboard.press("Tab")
                if host.evaluate("document.activeElement !== document.body") and focused() == wanted:
                    return
            self.fail(f"{wanted} is not reached")

        tab_to("invite-open")
        host.keyboard.press("Enter")
        host.wait_for_selector("#invite-dialog[open]")
        tab_to("invite-copy")
        host.keyboard.press("Escape")
        self.assertEqual(host.evaluate("document.activeElement.id"), "invite-open")
        tab_to("chat-tab")
        host.keyboard.press("ArrowRight")
        self.assertEqual(focused(), "people-tab")
        self.assertTrue(host.is_visible("#people"))
        for _ in range(60):
            host.keyboard.press("Tab")
            if host.evaluate("document.activeElement.matches('#people button')"):
                break
        host.keyboard.press("Enter")
        host.wait_for_function("() => document.activeElement.getAttribute('role') === 'menuitem'")
        host.keyboard.press("ArrowDown")
        host.keyboard.press("Enter")
        guest.wait_for_selector('#app[data-control="true"]')
        host.evaluate("document.activeElement.blur()")
        host.keyboard.press("?")
        host.wait_for_selector("#keys-dialog[open]")
        host.keyboard.press("Escape")
        host.evaluate("document.activeElement.blur()")
        host.keyboard.press("m")
        host.wait_for_function("() => document.querySelector('video').muted")
        host.keyboard.press("ArrowDown")
        host.wait_for_function(
            "() => { const video = document.querySelector('video'); return !video.muted && video.volume < 1; }"
        )
        before = len(host.sent.of("SEEK"))
        host.keyboard.press("l")
        host.wait_for_function("() => document.querySelector('video').currentTime > 5")
        self.assertEqual(len(host.sent.of("SEEK")), before + 1)
        host.keyboard.press("c")
        host.keyboard.type("k hello")
        host.keyboard.press("Enter")
        guest.wait_for_function("() => document.querySelector('#chat .said-text')?.textContent === 'k hello'")
        host.keyboard.press("Escape")
        host.keyboard.press("k")
        guest.wait_for_selector('#app[data-playing="true"]')

    def test_keys_can_be_switched_off(self) -> None:
        host, _ = self.party()
        host.click("#keys-open")
        host.click("#keys-on")
        host.keyboard.press("Escape")
        host.evaluate("document.activeElement.blur()")
        host.keyboard.press("k")
        host.keyboard.press("c")
        host.click("#play")
        host.wait_for_selector('#app[data-playing="true"]')
        self.assertEqual(len(host.sent.of("PLAY_PAUSE")), 1)


class LostServerTests(BrowserTestCase):
    """A5: a page without its server says so where people look."""

    def test_restart(self) -> None:
        host, guest = self.party()
        host.click("#play")
        self.node.stop()
        for page in (host, guest):
            page.wait_for_selector("#banner:not([hidden])")
            self.assertIn("connection to the server is lost", page.text_content("#banner"))
            self.assertTrue(page.evaluate(VISIBLE, "#banner-retry"))
            page.wait_for_selector("#seek:disabled")
            page.wait_for_selector('#play[aria-disabled="true"]')
        guest.fill("#chat-text", "still there?")
        guest.press("#chat-text", "Enter")
        guest.wait_for_selector("#chat-sending >> text=still there?")
        self.assertIn("sending", guest.text_content("#chat-sending"))
        self.assertEqual(guest.locator("#chat .said").count(), 0)
        self.node.start()
        # A page that is not asked again would come back too, after its pause.
        for page in (guest, host):
            page.eval_on_selector("#banner-retry", "button => button.offsetParent && button.click()")
            page.wait_for_selector(RESTARTED, state="attached")
        guest.wait_for_selector("#chat .said >> text=still there?")
        guest.wait_for_selector("#chat-sending", state="hidden")
        self.assertEqual(guest.locator("#chat .said").count(), 1)
        host.wait_for_selector("#seek:enabled")


class KnockTests(BrowserTestCase):
    """A16: a newcomer at the locked party is shown to the host, who answers."""

    def knock(self, room: str, name: str) -> Any:
        guest = self.open(f"/?room={room}")
        guest.fill("#name", name)
        guest.click("#start-button")
        guest.wait_for_selector("#start-wait >> text=locked the party")
        return guest

    def test_the_host_answers(self) -> None:
        host = self.join(self.open(), "Ann")
        host.click("#settings-open")
        host.click("#lock")
        host.wait_for_selector("#locked-tag:not([hidden])", state="attached")
        host.click("#settings-dialog .close")
        bob, eve = (self.knock(room_of(host), name) for name in ("Bob", "Eve"))
        host.wait_for_selector("#knocks-badge >> text=2")
        host.click("#people-tab")
        host.click("#knocks li:first-child >> text=Let in")
        bob.wait_for_selector(CONNECTED)
        host.click("#knocks li >> text=Refuse")
        eve.wait_for_selector("#start-error >> text=The host has not let you in")
        host.wait_for_selector("#knocks", state="hidden")
        eve.click("#start-button")
        host.wait_for_selector("#knocks-badge >> text=1")


class TabsTests(BrowserTestCase):
    """A12: two tabs of one member, where the browser cannot tell them apart."""

    def test_the_way_back_stays(self) -> None:
        context = self.chromium.new_context()
        self.addCleanup(context.close)
        no_locks = "delete Navigator.prototype.locks;"
        first = self.join(self.open_in(context, script=no_locks), "Ann")
        memory = first.evaluate("JSON.stringify({...sessionStorage})")
        copied = f"{no_locks} for (const [key, value] of Object.entries({memory})) sessionStorage.setItem(key, value);"
        second = self.open_in(context, f"/?room={room_of(first)}", copied)
        loser = None
        # Each tab takes over when it speaks, until one of them has been taken over twice within a minute.
        for page in [first, second] * 10:
            page.wait_for_selector('#app:is([data-state="connected"], [data-state="elsewhere"])')
            if page.get_attribute("#app", "data-state") == "elsewhere":
                loser = page
                break
            page.fill("#chat-text", "me")
            page.press("#chat-text", "Enter")
            page.wait_for_selector("#chat-sending", state="hidden")
        assert loser is not None
        loser.wait_for_selector("#notice-action >> text=Continue here")
        loser.fill("#chat-text", "lost")
        loser.press("#chat-text", "Enter")
        loser.wait_for_selector("#chat-sending", state="hidden")
        self.assertEqual(loser.input_value("#chat-text"), "lost")
        loser.click("#notice-action")
        loser.wait_for_selector(CONNECTED)


class LinkTests(BrowserTestCase):
    """A6: links that lead others to a party, and links that lead nowhere."""

    def test_an_old_link_offers_a_new_party(self) -> None:
        guest = self.open("/?room=room_that_ended")
        guest.fill("#name", "Bob")
        guest.click("#start-button")
        guest.wait_for_selector("#start-title >> text=This party has ended")
        self.assertEqual(len(guest.sent.of("LEAVE")), 1)
        guest.click("#start-other")
        self.join(guest, "Bob")
        self.assertEqual(room_of(guest), "room_that_ended")
        # Friends with the same link are in the same party.
        friend = self.join(self.open("/?room=room_that_ended"), "Cy")
        guest.wait_for_function("() => document.querySelector('#people-count').textContent === '2'")
        self.assertEqual(friend.text_content("#people-count"), "2")
        guest.reload()
        guest.wait_for_selector(CONNECTED)

    def test_localhost_is_no_address_for_friends(self) -> None:
        page = self.join(self.open(), "Ann")
        # This node accepts connections of this machine only.
        page.click("#invite-open")
        page.wait_for_selector("#invite-unreachable >> text=works on this computer only")
        page.wait_for_selector("#invite-qr svg")

        def machine(route: Any) -> None:
            route.fulfill(json={"addresses": ["192.0.2.7", "film-box"]})

        other = self.open()
        other.route("**/api/addresses", machine)
        self.join(other, "Bob")
        other.click("#invite-open")
        other.wait_for_selector("#invite-host")
        link = f"http://192.0.2.7:{self.node.url.rpartition(':')[2]}/?room={room_of(other)}"
        other.wait_for_function("link => document.querySelector('#invite-link').value === link", arg=link)
        other.select_option("#invite-host", "film-box")
        self.assertIn("//film-box:", other.input_value("#invite-link"))


class BadInputTests(BrowserTestCase):
    """Odd texts and answers become a sentence at most, and the page goes on."""

    def goes_on(self, page: Any) -> None:
        before = page.locator("#chat .said").count()
        page.fill("#chat-text", "still here")
        page.press("#chat-text", "Enter")
        page.wait_for_function("before => document.querySelectorAll('#chat .said').length > before", arg=before)

    def test_a_long_title(self) -> None:
        host, _ = self.party()
        host.click("#film-open")
        host.fill("#title-url", "https://films.example/" + "x" * 8192)
        host.click("#title-button")
        host.wait_for_function("() => document.querySelector('#title-error').textContent.length > 20")
        self.assertFalse(host.evaluate("document.documentElement.scrollWidth > innerWidth"))
        host.keyboard.press("Escape")
        self.goes_on(host)

    def test_odd_names_and_lines(self) -> None:
        names = ["a" + "\u0301" * 48, "\u05e9\u05dc\u05d5\u05dd!", "\u202eevil", "\U0001f600" * 50]
        host = self.join(self.open(viewport={"width": 390, "height": 844}), names[0])
        for name in names[1:]:
            guest = self.join(self.open(f"/?room={room_of(host)}"), name)
            guest.evaluate(
                "() => { document.querySelector('#chat-text').value = 'half \\ud83d'; "
                "document.querySelector('#chat-form').requestSubmit(); }"
            )
            guest.wait_for_selector("#chat .mine")
        host.click("#people-tab")
        for row in host.locator("#people .person").all():
            self.assertLess(row.bounding_box()["height"], 60)
        self.assertTrue(host.evaluate(VISIBLE, "#people li:last-child button"))
        self.assertEqual(
            host.evaluate("getComputedStyle(document.querySelectorAll('.person-name')[1]).direction"), "rtl"
        )
        host.click("#chat-tab")
        self.goes_on(host)

    def answer(self, page: Any, body: str) -> None:
        page.route(re.compile("/api/"), lambda route: route.fulfill(body=body))

    def test_messages_that_are_none(self) -> None:
        garbage = [
            "",
            "<html>",
            "null",
            "[]",
            "5",
            '{"type": 5}',
            '{"type": "CHAT"}',
            '{"type": "ROOM_STATE", "users": 5}',
        ]

        def intrude(socket: Any) -> None:
            server = socket.connect_to_server()

            def forward(frame: Any) -> None:
                for each in garbage:
                    socket.send(each)
                socket.send(frame)

            server.on_message(forward)

        page = self.open()
        page.route_web_socket(re.compile("/ws"), intrude)
        self.join(page, "Ann")
        self.goes_on(page)
        self.assertTrue(page.is_visible("#chat"))

    def test_answers_that_are_none(self) -> None:
        for body in ("", "<html>", "null", "[]", '{"roomId": 5, "addresses": {}, "shortId": {}}'):
            page = self.open()
            self.answer(page, body)
            page.fill("#name", "Ann")
            page.check("#mode-join")
            page.fill("#code", "0123456789")
            page.click("#start-button")
            page.wait_for_selector("#start-error >> text=The server cannot be reached")
            page.check("#mode-create")
            self.join(page, "Ann")
            page.click("#invite-open")
            page.wait_for_selector("#invite-unreachable >> text=this computer only")
            page.keyboard.press("Escape")
            self.goes_on(page)
            page.context.close()
