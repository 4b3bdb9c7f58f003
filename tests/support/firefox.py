"""Firefox, driven by WebDriver BiDi, the protocol that it speaks by itself."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest

from .patience import PATIENCE_SECONDS, until, wait_for_end
from .private_servers import die_with_parent

PROGRAMS = ("firefox-esr", "firefox")
PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
reactor: Any = default_reactor


class _Protocol(WebSocketClientProtocol):
    """A connection to Firefox: commands with their answers."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = itertools.count(1)
        self._waiting: dict[int, Deferred[dict[str, Any]]] = {}
        self.opened: Deferred[None] = Deferred()

    def onOpen(self) -> None:
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        message = json.loads(payload)
        waiting = self._waiting.pop(message.get("id"), None)
        if waiting is not None:
            waiting.callback(message)

    async def command(self, method: str, **params: Any) -> Any:
        """Return the result of a command. Raise AssertionError if Firefox rejects it."""
        number = next(self._ids)
        answer = self._waiting[number] = Deferred()
        self.sendMessage(json.dumps({"id": number, "method": method, "params": params}).encode())
        message = await answer.addTimeout(PATIENCE_SECONDS, reactor)
        if message["type"] != "success":
            raise AssertionError(f"{method}: {message}")
        return message["result"]


class FirefoxPage:
    """A tab of a profile of its own."""

    def __init__(self, protocol: _Protocol, context: str):
        self._protocol = protocol
        self._context = context

    async def goto(self, url: str) -> None:
        """Load a page."""
        await self._protocol.command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, a string, number or boolean. It runs as if a person had clicked."""
        result = await self._protocol.command(
            "script.evaluate",
            expression=expression,
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] != "success":
            raise AssertionError(f"{expression}: {result['exceptionDetails']['text']}")
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = reactor.seconds() + PATIENCE_SECONDS
        while not await self.evaluate(f"Boolean({expression})"):
            if reactor.seconds() > end:
                body = await self.evaluate("document.body.innerText")
                raise AssertionError(f"not within {PATIENCE_SECONDS:g} s: {expression}; the page shows {body!r}")
            await deferLater(reactor, 0.1)

    async def fill(self, selector: str, text: str) -> None:
        """Put a text into a field."""
        await self.evaluate(
            f"(() => {{ const field = document.querySelector({selector!r}); field.value = {json.dumps(text)};"
            " field.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )

    async def click(self, selector: str) -> None:
        """Click on an element."""
        await self.evaluate(f"document.querySelector({selector!r}).click()")


class Firefox:
    """A headless Firefox with a profile of its own. Raises SkipTest where it is not installed."""

    def __init__(self) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise SkipTest("no firefox: install firefox-esr")
        self._home = Path(tempfile.mkdtemp(prefix="tandemd-firefox-"))
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (self._home / "user.js").write_text("".join(lines))
        log = self._home / "log"
        command = [program, "--headless", "--no-remote", "--profile", str(self._home), "--remote-debugging-port", "0"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(self._home)},
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is one system call
            )
        found = until("a Firefox that listens", lambda: re.search(r"BiDi listening on (\S+)", log.read_text()))
        self._address = found[1] if found else ""

    async def connect(self) -> None:
        """Begin a session."""
        factory = WebSocketClientFactory(f"{self._address}/session")
        factory.protocol = _Protocol
        endpoint = TCP4ClientEndpoint(reactor, factory.host, factory.port)
        self._protocol = cast(_Protocol, await endpoint.connect(factory))
        await self._protocol.opened.addTimeout(PATIENCE_SECONDS, reactor)
        await self._protocol.command("session.new", capabilities={})

    async def open(self, url: str) -> FirefoxPage:
        """Return a page without history, after its modules have run."""
        profile = await self._protocol.command("browser.createUserContext")
        created = await self._protocol.command("browsingContext.create", type="tab", userContext=profile["userContext"])
        page = FirefoxPage(self._protocol, created["context"])
        await page.goto(url)
        await page.until("document.querySelector('#app')?.dataset.screen !== 'loading'")
        return page

    def stop(self) -> None:
        """End the program."""
        self._protocol.dropConnection(abort=True)
        self._process.terminate()
        wait_for_end(self._process)
        shutil.rmtree(self._home, ignore_errors=True)
