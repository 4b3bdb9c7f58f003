"""The simulation finds deliberate mistakes; `python -m tests.simulation.mutants` counts the seeds that each needs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ..support.patience import TEST_LIMIT_SECONDS
from .mutants import MUTANTS, NEEDS, seeds_until_found

QUICK = {
    "a commit is acknowledged before the reply": 10,
    "commit: any version will do": 40,
    "a relay skips the mailbox": 10,
}
"""Mutants that the first seeds find, with the most seeds that each may need."""


class MutantTests(SynchronousTestCase):
    timeout = TEST_LIMIT_SECONDS

    def test_the_first_seeds_find_some(self) -> None:
        for name, most in QUICK.items():
            self.assertIsNotNone(seeds_until_found(name, most=most), name)

    def test_needs_name_mutants(self) -> None:
        self.assertLessEqual(set(NEEDS), set(MUTANTS))
