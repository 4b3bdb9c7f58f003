"""One test of each outcome."""

from twisted.python import log
from twisted.trial.unittest import SkipTest, SynchronousTestCase


class OutcomeTest(SynchronousTestCase):
    def test_fails_and_logs(self) -> None:
        log.err(ValueError("the log's"))
        log.err(ValueError("the log's second"))
        self.assertEqual(1, 2, "the first cause")

    def test_is_skipped(self) -> None:
        raise SkipTest("there is no such server")

    def test_passes(self) -> None:
        pass
