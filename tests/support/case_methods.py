"""The base of mixins with tests, which a subclass combines with a test case."""

from typing import TYPE_CHECKING

from twisted.trial.unittest import TestCase

if TYPE_CHECKING:
    CaseMethods = TestCase
else:

    class CaseMethods:
        """Has no methods: the test case of the subclass has them. trial does not run the mixin, and mypy knows the methods."""
