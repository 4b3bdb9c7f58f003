"""Party pages in Chromium, each behind its own link and with a clock that is wrong."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.node_program import find_node

from .summary import Trace, after, along, moved, summaries
from .viewers import HERE

ARGUMENTS = (
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)
"""Arguments of Chromium: each page behaves as if its window were in front."""

DELAYS_MS = (1, 40, 100, 150)
CLOCKS_MS = (0, 30_000, -30_000, 5000)
CALM_SECONDS = 4.0
LIMIT_MS = 60_000

WRONG_CLOCK = """
    window.trueNow = Date.now.bind(Date);
    const [now, passed] = [Date.now.bind(Date), performance.now.bind(performance)];
    Date.now = () => now() + %d;
    performance.now = () => passed() + 100000 + %d;
"""

SAMPLE = """() => {
    const video = document.querySelector('video');
    let seeks = 0;
    video.addEventListener('seeking', () => { seeks += 1; });
    window.trace = [];
    const step = () => {
        window.trace.push([trueNow(), video.currentTime, !video.paused && !video.seeking, video.playbackRate, seeks]);
        setTimeout(step, 10);
    };
    step();
}"""

TAKE = "() => { const trace = window.trace; window.trace = []; return trace; }"
SEEK = """position => {
    const seek = document.querySelector('#seek');
    seek.value = position;
    for (const type of ['input', 'change']) seek.dispatchEvent(new Event(type));
}"""


@contextlib.contextmanager
def links(port: int, delays: Sequence[float], jitter: float, seed: int) -> Iterator[list[int]]:
    """Open a link with each delay before a port of this machine. Raises SkipTest without node."""
    specs = [{"delayMs": delay, "jitterMs": min(delay, jitter)} for delay in delays]
    command = [find_node(), str(HERE / "proxy.js"), json.dumps({"port": port, "seed": seed, "links": specs})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


class Pages:
    """Pages of one party; the first one is the host's. ports: of their links."""

    def __init__(self, chromium: Any, ports: Sequence[int], calm: float = CALM_SECONDS):
        self._calm = calm
        self._contexts: list[Any] = []
        self._pages: list[Any] = []
        self._figures: dict[str, Any] = {}
        for number, (port, clock) in enumerate(zip(ports, CLOCKS_MS, strict=True)):
            self._contexts.append(chromium.new_context(viewport={"width": 640, "height": 480}))
            self._pages.append(self._contexts[-1].new_page())
            self._join(self._pages[-1], f"http://127.0.0.1:{port}/", number, clock)
        for page in self._pages:
            page.wait_for_function("() => document.querySelector('video').readyState >= 3")
            page.evaluate(SAMPLE)
        time.sleep(calm)

    def _join(self, page: Any, url: str, number: int, clock: int) -> None:
        page.set_default_timeout(LIMIT_MS)
        page.add_init_script(WRONG_CLOCK % (clock, clock))
        room = self._pages[0].get_attribute("#app", "data-room") if number else ""
        page.goto(f"{url}?room={room}" if room else url)
        page.wait_for_selector('#app:not([data-screen="loading"])')
        page.fill("#name", f"Viewer {number}")
        page.click("#start-button")
        page.wait_for_selector('#app[data-screen="party"][data-state="connected"]')

    def close(self) -> None:
        """Close the pages."""
        for context in self._contexts:
            context.close()

    @property
    def figures(self) -> dict[str, Any]:
        """The figures by part, as those of `viewers.play`."""
        return {name: summaries(figure) for name, figure in self._figures.items()}

    def steady(self, seconds: float) -> list[float]:
        """Measure while the film plays. Return the spreads in ms."""
        self._take()
        time.sleep(seconds)
        measured = along(self._take())
        self._note("steady", dict(measured))
        return list(measured["spreads"])

    def play(self, name: str = "play") -> None:
        """Press play, and measure the start."""
        self._start(name, "() => document.querySelector('#play').click()")

    def pause(self) -> None:
        """Press pause, and wait until all stand still."""
        self._pages[0].click("#play")
        for page in self._pages:
            page.wait_for_function("() => document.querySelector('video').paused")
        time.sleep(self._calm / 3)

    def seek(self, position: float) -> None:
        """Seek while the film plays, and measure the start behind it."""
        self._start("seek", SEEK, position)

    def _start(self, name: str, script: str, *arguments: Any) -> None:
        self._take()
        pressed = 1000 * time.time()
        self._pages[0].evaluate(script, *arguments)
        traces: list[Trace] = [[] for _ in self._pages]
        end = time.monotonic() + LIMIT_MS / 1000
        while None in (starts := [moved(trace, pressed) for trace in traces]):
            if time.monotonic() > end:
                raise TimeoutError(f"{name}: not all pages play")
            time.sleep(0.1)
            self._add(traces)
        time.sleep(self._calm)
        self._add(traces)
        known = [start for start in starts if start is not None]
        self._note(name, {**after(traces, max(known)), "waited": known[0] - pressed})

    def _add(self, traces: list[Trace]) -> None:
        for trace, more in zip(traces, self._take(), strict=True):
            trace.extend(more)

    def _take(self) -> list[Trace]:
        return [page.evaluate(TAKE) for page in self._pages]

    def _note(self, name: str, measured: dict[str, Any]) -> None:
        figure = self._figures.setdefault(name, {"spread": [], "settled": [], "waited": []})
        figure["spread"] += measured.pop("spreads")
        for key, value in measured.items():
            figure.setdefault(key, []).append(value)


def play(chromium: Any, ports: Sequence[int], rounds: int, seconds: float, parts: Sequence[str]) -> dict[str, Any]:
    """Play the scenario with pages behind links, and return the figures by part."""
    pages = Pages(chromium, ports)
    try:
        pages.play("first play")
        if "steady" in parts:
            pages.steady(seconds)
        for number in range(rounds):
            if "play" in parts:
                pages.pause()
                pages.play()
            if "seek" in parts:
                pages.seek(20 + 5 * number)
        return pages.figures
    finally:
        pages.close()
