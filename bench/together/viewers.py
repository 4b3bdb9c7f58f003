"""Viewers with the real client library, run by node, and models of other rules."""

from __future__ import annotations

import json
import pathlib
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.support.node_program import node_with_websocket

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ("steady", "play", "pause", "seek", "late join", "slow member", "loss")


@dataclass(frozen=True)
class Scenario:
    """See scenario.js. jitter: of the worst link, in ms. models: whether the models play it, too. calm: ms."""

    seed: int
    viewers: int
    jitter: float
    seconds: int
    rounds: int
    parts: tuple[str, ...]
    models: bool
    calm: int = 6000


def play(scenario: Scenario, port: int) -> dict[str, Any]:
    """Play a scenario with a daemon at a port of this machine.

    Return {"figures": by crowd and part, "late": ms by which the viewers' process was late in the worst of 100 turns}. Raises
    SkipTest without a node that has a WebSocket, and CalledProcessError.
    """
    options = {
        "port": port, "seed": scenario.seed, "viewers": scenario.viewers, "jitterMs": scenario.jitter,
        "seconds": scenario.seconds, "rounds": scenario.rounds, "parts": scenario.parts, "models": scenario.models,
        "calmMs": scenario.calm,
    }  # fmt: skip
    command = [*node_with_websocket(), str(HERE / "run.js"), json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result
