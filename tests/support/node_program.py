"""Node.js for the tests of the client library."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest

from .patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent


def find_node() -> str:
    """Return the path of node. Raises SkipTest."""
    node = shutil.which("node")
    if node is None:
        raise SkipTest("no node: install Node.js")
    return node


@cache
def node_with_websocket() -> tuple[str, ...]:
    """Return the command of a node that has a WebSocket. Raises SkipTest."""
    node = find_node()
    for command in ((node,), (node, "--experimental-websocket")):
        script = "process.exit(typeof WebSocket === 'function' ? 0 : 1)"
        done = subprocess.run([*command, "-e", script], capture_output=True, timeout=PATIENCE_SECONDS, check=False)
        if done.returncode == 0:
            return command
    raise SkipTest("no node: install Node.js 20.10 or newer, which has a WebSocket")


async def run_node(command: tuple[str, ...], *arguments: str, cwd: Path = ROOT, **environ: str) -> str:
    """Run node, and return its output. Raises AssertionError if it fails."""
    env = {"PATH": "/usr/bin:/bin", "NO_COLOR": "1", **environ}
    out, err, status = await getProcessOutputAndValue(
        command[0], [*command[1:], *arguments], env=env, path=str(cwd), reactor=reactor
    )
    text: str = out.decode(errors="replace")
    if status:
        raise AssertionError(f"node {arguments} ended with {status}:\n{text}\n{err.decode(errors='replace')}")
    return text
