"""A randomised test that fails for some examples."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase


class RandomisedTest(SynchronousTestCase):
    @given(st.integers(0, 1000))
    def test_small_numbers(self, number: int) -> None:
        self.assertLess(number, 10)
