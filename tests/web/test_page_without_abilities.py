"""The party page in a Chromium that lacks abilities: an old one, one on plain http, or one with a strict user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..support.browser import BrowserTestCase, room_of

PLAYING = "() => document.querySelector('#app').dataset.playing === 'true'"

THROWS = "{ get() { throw new DOMException('denied', 'SecurityError'); }, configurable: true }"
FULL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"


def _without(owner: str, *names: str) -> str:
    return "".join(f"delete {owner}[{name!r}];" for name in names)


def _each(areas: str) -> str:
    return f"for (const area of ['sessionStorage', 'localStorage']) {areas}"


ABILITIES = {
    "storage_forbidden": _each(f"Object.defineProperty(window, area, {THROWS});"),
    "storage_missing": _each("Object.defineProperty(window, area, { value: undefined });"),
    "storage_switched_off": _each("Object.defineProperty(window, area, { value: null });"),
    "storage_full": FULL,
    "locks": _without("Navigator.prototype", "locks"),
    "locks_forbidden": "LockManager.prototype.request = async () => { throw new DOMException('', 'SecurityError'); };",
    "locks_silent": "LockManager.prototype.request = () => new Promise(() => {});",
    "cookies_blocked": _each(f"Object.defineProperty(window, area, {THROWS});")
    + "LockManager.prototype.request = async () => { throw new DOMException('', 'SecurityError'); };",
    "insecure_origin": _without(
        "Navigator.prototype", "locks", "clipboard", "wakeLock", "mediaDevices", "serviceWorker"
    )
    + _without("Crypto.prototype", "randomUUID", "subtle"),
    "media_session": _without("Navigator.prototype", "mediaSession"),
    "media_session_actions": "MediaSession.prototype.setActionHandler = () => { throw new TypeError('unknown'); };",
    "broadcast_channel": _without("window", "BroadcastChannel", "SharedWorker"),
    "random": _without("window", "crypto"),
    "performance": "performance.now = undefined;",
    "visibility": _without("Document.prototype", "visibilityState", "hidden"),
    "clipboard_forbidden": "Clipboard.prototype.writeText = async () => { throw new DOMException('', 'NotAllowedError'); };"
    "Document.prototype.execCommand = () => false;",
    "full_screen": _without("Document.prototype", "fullscreenEnabled", "fullscreenElement", "exitFullscreen")
    + _without("Document.prototype", "webkitFullscreenEnabled", "webkitFullscreenElement")
    + _without("Element.prototype", "requestFullscreen", "webkitRequestFullscreen", "webkitRequestFullScreen"),
    "full_screen_refused": "Element.prototype.requestFullscreen = async () => { throw new TypeError('no'); };",
    "wake_lock": _without("Navigator.prototype", "wakeLock") + _without("window", "WakeLock"),
    "abort": _without("window", "AbortController", "AbortSignal"),
    "history": "History.prototype.replaceState = () => { throw new DOMException('', 'SecurityError'); };",
    "popover": _without("HTMLElement.prototype", "showPopover", "hidePopover", "togglePopover", "popover")
    + _without("HTMLButtonElement.prototype", "popoverTargetElement", "popoverTargetAction"),
    "dialog": _without("HTMLDialogElement.prototype", "showModal"),
    "newer_functions": _without("URL", "parse", "canParse")
    + _without("window", "CSS", "structuredClone", "requestIdleCallback"),
}
"""For each ability: the script that removes it before the page's modules run."""


class AbilitiesTests(BrowserTestCase):
    """Kind F: a party in a browser that lacks an ability. One test for each of ABILITIES."""

    def check(self, script: str) -> None:
        """Do all that a page can do, as host and as guest, without this ability."""
        script = f"try {{ {script} }} catch (error) {{ window.notRemoved = String(error); }}"
        host = self.join(self.open(script=script), "Ann")
        host.on("dialog", lambda dialog: dialog.accept())
        self.assertIsNone(host.evaluate("window.notRemoved ?? null"))
        guest = self.join(self.open(f"/?room={room_of(host)}", script), "Bob")
        guest.wait_for_function("() => document.querySelector('video').readyState >= 3")
        host.click("#play")
        guest.wait_for_function(PLAYING)
        guest.wait_for_function("() => document.querySelector('video').currentTime > 0.5")
        self.say(guest, "hello", host)
        host.click("#invite-open")
        host.click("#invite-copy")
        host.wait_for_selector('#notice[data-shown="true"]')
        host.click("#invite-dialog .close")
        if host.is_visible("#fullscreen"):
            host.click("#fullscreen")
            if "requestFullscreen" not in script:
                host.wait_for_function("() => document.fullscreenElement")
                host.evaluate("document.exitFullscreen()")
        host.click("#people-tab")
        host.click("#people li:last-child button")
        host.click("[role=menuitem] >> text=Let them control")
        guest.wait_for_selector('#app[data-control="true"]')
        host.click("#people li:last-child button")
        host.click("[role=menuitem] >> text=Kick")
        if host.is_visible("#dismissal"):
            host.click("#dismissal-yes")
        guest.wait_for_function("() => document.querySelector('#start-error').textContent.includes('removed you')")
        host.click("#settings-open")
        host.click("#leave")
        host.wait_for_selector('#app[data-screen="start"]')
        self.assertEqual(len(host.sent.of("LEAVE")), 1)

    def say(self, page: Any, text: str, reader: Any) -> None:
        page.fill("#chat-text", text)
        page.press("#chat-text", "Enter")
        reader.wait_for_function("text => document.querySelector('#chat').innerText.includes(text)", arg=text)


def _test_without(script: str) -> Callable[[AbilitiesTests], None]:
    return lambda self: self.check(script)


for _name, _script in ABILITIES.items():
    setattr(AbilitiesTests, f"test_without_{_name}", _test_without(_script))
