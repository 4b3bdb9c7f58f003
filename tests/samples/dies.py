"""A test that ends its process, beside others."""

import os

from twisted.trial.unittest import SynchronousTestCase


class DyingTest(SynchronousTestCase):
    def test_a_passes(self) -> None:
        pass

    def test_b_ends_the_process(self) -> None:
        os._exit(0)

    def test_c_passes(self) -> None:
        pass
