"""Four pages of `make together`. The limit is no measure: a busy machine must not fail it."""

from __future__ import annotations

import math
import random
import statistics
import urllib.parse

from bench.together import pages

from ..support.browser import BrowserTestCase

LIMIT_MS = 200
ATTEMPTS = 100
"""How many seconds are looked at: while a machine is too busy to show four films, they are far apart."""


class PagesTests(BrowserTestCase):
    """Pages behind links with delays, and with clocks that are wrong."""

    arguments = pages.ARGUMENTS

    def test_the_players_are_together(self) -> None:
        port = urllib.parse.urlsplit(self.node.url).port
        assert port is not None
        seed = random.randrange(2**31)
        print(f"seed {seed}")
        seen = []
        with pages.links(port, pages.DELAYS_MS, 10.0, seed) as ports:
            party = pages.Pages(self.chromium, ports, calm=1.0)
            self.addCleanup(party.close)
            party.play()
            for _ in range(ATTEMPTS):
                seen.append(statistics.median(party.steady(1.0) or [math.inf]))
                if seen[-1] < LIMIT_MS:
                    return
        self.fail(f"the players were {seen} ms apart")
