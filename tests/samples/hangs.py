"""Tests that hang."""

import signal
import tempfile
import time

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase


class BlockingTest(SynchronousTestCase):
    def test_a_blocks(self) -> None:
        time.sleep(600)

    def test_b_blocks_and_takes_no_signal(self) -> None:
        tempfile.mkdtemp()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(600)

    def test_c_passes(self) -> None:
        pass


class WaitingTest(TestCase):
    timeout = 0.5

    def test_waits(self) -> Deferred[None]:
        return Deferred()
