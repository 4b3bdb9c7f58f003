"""Chromium and a node for tests of the party page in a real browser.

The tests use the machine's Chromium and the package playwright (`make browser`). Where one of them is missing, they are skipped
with the reason; see `tests.__main__` and .ci/summary.py.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from .patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS, until, wait_for_end
from .private_servers import die_with_parent

SEEK = """at => {
    const seek = document.querySelector('#seek');
    seek.value = at;
    seek.dispatchEvent(new Event('change'));
}"""
"""Moves the seek bar to a position, as a person does."""
ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""In order of preference: the headless shell has the same engine, and a page costs it 0.8 s of CPU, instead of 2.2 s."""
OPTIONS = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
VIEW = {"width": 1280, "height": 800}


@cache
def _playwright() -> Any:
    """Return a running Playwright, for the whole process. Raises SkipTest if it is not installed."""
    try:
        sync_api = importlib.import_module("playwright.sync_api")
    except ImportError:
        raise SkipTest("no browser: run `make browser` to install playwright") from None
    playwright = sync_api.sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright


def _start(environ: dict[str, str], arguments: Sequence[str]) -> tuple[Node, Any]:
    """Return a node and a Chromium that end with the process. Raises SkipTest."""
    chromium = launch(arguments)
    home = Path(tempfile.mkdtemp(prefix="tandemd-browser-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    node = Node(home, **environ)
    atexit.register(node.stop)
    return node, chromium


def launch(arguments: Sequence[str] = ()) -> Any:
    """Return a Chromium that ends with the process. Raises SkipTest."""
    program, playwright = find_chromium(), _playwright()
    chromium = playwright.chromium.launch(executable_path=program, args=[*OPTIONS, *arguments])
    atexit.register(chromium.close)
    return chromium


def find_chromium() -> str:
    """Return the path of Chromium: $CHROMIUM, or the first of PROGRAMS. Raises SkipTest."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise SkipTest("no browser: install Chromium, or name it in CHROMIUM")
    return found


class Node:
    """A node in a process of its own. url: the address of its party page. environ: see docs/configuration.md."""

    def __init__(self, home: Path, **environ: str):
        self._home = home
        self._log = home / "log"
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **environ}
        self._number = "0"
        self.start()

    def start(self) -> None:
        """Start the process, on the port that it had before."""
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
        port = f"tcp:{self._number}:interface=127.0.0.1"
        command += ["tandemd", "--state-dir", str(self._home / "state"), "--port", port]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._home,
                env=self._env,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
            )
        self._number = until("a node that listens", self._port, self._log.read_text)
        self.url = f"http://127.0.0.1:{self._number}"

    def _port(self) -> str:
        if self._process.poll() is not None:
            raise AssertionError(f"the node ended: {self._log.read_text()}")
        found = re.search(r"clients connect to wss?://[^/]*:(\d+)/", self._log.read_text())
        return found[1] if found else ""

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        wait_for_end(self._process)


class BrowserTestCase(TestCase):
    """Tests with one Chromium and one node for the class. Each test has contexts, that is browsers without history, of its own.

    environ: the node's environment. arguments: more arguments of Chromium.
    node, chromium: the node and the browser.
    """

    timeout = TEST_LIMIT_SECONDS
    environ: dict[str, str] = {}
    arguments: Sequence[str] = ()
    node: Node
    chromium: Any

    def setUp(self) -> None:
        cls = type(self)
        if "chromium" not in cls.__dict__:
            cls.node, cls.chromium = _start(cls.environ, cls.arguments)

    def open(self, path: str = "/", script: str = "", **options: Any) -> Any:
        """Return a page of a new context, after its modules have run. script: runs before them.

        The test fails at its end if a script of the page has raised an error.
        """
        context = self.chromium.new_context(**{"viewport": VIEW, **options})
        self.addCleanup(context.close)
        return self.open_in(context, path, script)

    def open_in(self, context: Any, path: str = "/", script: str = "") -> Any:
        """Return a page of a context. See `open`."""
        page = context.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        self.addCleanup(self.assertEqual, errors, [])
        page.sent = Frames(page)
        if script:
            page.add_init_script(script)
        page.goto(self.node.url + path)
        page.wait_for_selector('#app:not([data-screen="loading"])')
        return page

    def join(self, page: Any, name: str, pin: str = "") -> Any:
        """Enter name and PIN in the form of the page, and wait for the party."""
        page.fill("#name", name)
        if pin:
            page.fill("#pin", pin)
        page.click("#start-button")
        page.wait_for_selector('#app[data-screen="party"][data-state="connected"]')
        return page

    def party(self, script: str = "", guest_script: str = "") -> tuple[Any, Any]:
        """Return the pages of a host and a guest of a new party, with the sample clip loaded."""
        host = self.join(self.open(script=script), "Ann")
        guest = self.join(self.open(f"/?room={room_of(host)}", guest_script), "Bob")
        for page in (host, guest):
            page.wait_for_function("() => document.querySelector('video').readyState >= 3")
        return host, guest


def room_of(page: Any) -> str:
    """Return the id of the page's room."""
    return str(page.get_attribute("#app", "data-room"))


class Frames(list[dict[str, Any]]):
    """The messages that a page has sent, in order."""

    def __init__(self, page: Any):
        super().__init__()
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: self.append(json.loads(frame))))

    def of(self, type_: str) -> list[dict[str, Any]]:
        """Return the messages of a type."""
        return [message for message in self if message["type"] == type_]
