"""A few viewers of `make together`, with a daemon. The limit is no measure: a busy machine must not fail it."""

from __future__ import annotations

import json
import random

from ..support.daemon_process import DaemonTestCase
from ..support.node_program import ROOT, node_with_websocket, run_node

LIMIT_MS = 200
ATTEMPTS = 10
"""A machine that stops for a moment spoils an attempt."""


class ViewersTests(DaemonTestCase):
    """The client library with simulated players behind simulated links."""

    async def test_the_players_are_together(self) -> None:
        command = node_with_websocket()
        daemon = await self.running(TANDEMD_LIMITS_ENABLED="false")
        seen = []
        for _ in range(ATTEMPTS):
            options = {
                "port": daemon.port, "seed": random.randrange(2**31), "viewers": 4, "jitterMs": 10, "seconds": 1, "rounds": 1,
                "parts": ["steady", "pause"], "models": True, "calmMs": 2500,
            }  # fmt: skip
            print(options)
            output = await run_node(command, str(ROOT / "bench/together/run.js"), json.dumps(options))
            result = json.loads(output)
            figures = result["figures"].pop("tandemd")
            self.assertEqual(set(figures), {"first play", "steady", "pause"})
            self.assertTrue(result["figures"] and all("(model)" in name for name in result["figures"]))
            seen.append(figures["steady"]["spread"]["p50"])
            if seen[-1] < LIMIT_MS:
                return
        self.fail(f"the players were {seen} ms apart")
