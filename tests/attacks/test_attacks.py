"""The attack suite in short: every case once, its results and the server's memory; no times (`make attacks` has them)."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .case import MIB, Field
from .floods import EXAMPLES
from .impersonation import CLIENT_TYPES
from .servers import Memory, OneNode, Target, TwoNodes
from .suite import BY_NAME, CASES

SECONDS = 0.3
HANDSHAKE_TIMEOUT = 1
STALL = 1
SETTINGS = {
    "TANDEMD_LIMITS_HANDSHAKE_TIMEOUT": f"{HANDSHAKE_TIMEOUT}s",
    "TANDEMD_LIMITS_OUTPUT_STALL": f"{STALL}s",
    "TANDEMD_WEB_SHORT_ID_WAIT": "200ms",
}


class ListTest(SynchronousTestCase):
    def test_every_type_of_message_is_flooded(self) -> None:
        self.assertEqual(set(EXAMPLES), CLIENT_TYPES)

    def test_names_are_different(self) -> None:
        self.assertEqual(len(BY_NAME), len(CASES))


@functools.cache
def one_node() -> Target:
    """Return the node of this test process, which ends with it."""
    target = OneNode(**SETTINGS)
    atexit.register(target.stop)
    return target


@functools.cache
def two_nodes() -> Target:
    """Return the two of this test process, which end with it."""
    target = TwoNodes(HANDSHAKE_TIMEOUT, **SETTINGS)
    atexit.register(target.stop)
    return target


class AttackTest(SynchronousTestCase):
    """Against one node. Each case comes from addresses of its own, and so they can share the node."""

    def setUp(self) -> None:
        self.target = one_node()

    def assertNoneLogged(self, errors: Sequence[str], when: str) -> None:
        if errors:
            self.fail(f"the server logged {len(errors)} lines of errors {when}, first: {errors[0]}")

    def attack(self, name: str) -> None:
        case = BY_NAME[name]()
        number = list(BY_NAME).index(name)
        field = Field(self.target.address, number, SECONDS, HANDSHAKE_TIMEOUT, self.target.proxied, stall=STALL)
        self.assertNoneLogged(self.target.errors(), "after the attack before this one")
        try:
            with Memory(self.target) as memory:
                outcome = case.attack(field)
        finally:
            errors = self.target.errors()  # they belong to this attack, also if it fails
        self.assertNoneLogged(errors, "while it was attacked")
        self.assertEqual(outcome.wrong, [], outcome.got)
        self.assertLess(memory.grown, case.memory * MIB, outcome.got)


class AttackClusterTest(AttackTest):
    """Against two nodes behind nginx."""

    def setUp(self) -> None:
        self.target = two_nodes()


def _add(name: str) -> None:
    def test(self: Any) -> None:
        self.attack(name)

    method = "test_" + "".join(letter if letter.isalnum() else "_" for letter in name)
    test.__name__ = method
    setattr(AttackTest, method, test)


for _case in CASES:
    _add(_case.name)
