"""A test that takes longer than a whole run may."""

import subprocess

from twisted.trial.unittest import SynchronousTestCase


class SleepingTest(SynchronousTestCase):
    def test_sleeps(self) -> None:
        subprocess.run(["sleep", "600"], check=True, timeout=700)
