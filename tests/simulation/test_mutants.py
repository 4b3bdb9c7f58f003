"""The simulation finds deliberate mistakes; `python -m tests.simulation.mutants` counts the seeds that each needs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ..support.patience import TEST_LIMIT_SECONDS
from .mutants import MUTANTS, NEEDS, seeds_until_found

QUICK = ("a commit is acknowledged before the reply", "commit: any version will do", "a relay skips the mailbox")
"""Mutants that the first seeds find."""


class MutantTests(SynchronousTestCase):
    timeout = TEST_LIMIT_SECONDS

    def test_the_first_seeds_find_some(self) -> None:
        for name in QUICK:
            self.assertIsNotNone(seeds_until_found(name, most=40), name)

    def test_needs_name_mutants(self) -> None:
        self.assertLessEqual(set(NEEDS), set(MUTANTS))
