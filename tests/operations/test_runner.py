"""The runner of the suite, `python -m tests`, with the modules in tests/samples."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from ..support.patience import PATIENCE_SECONDS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class RunnerTest(SynchronousTestCase):
    def run_samples(self, *arguments: str) -> list[str]:
        """Return the lines that the runner printed. Its temporary directory is empty afterwards."""
        home = pathlib.Path(self.mktemp()).resolve()
        temporary = home / "tmp"
        temporary.mkdir(parents=True)
        self.kept = home / "kept"
        done = subprocess.run(
            [sys.executable, "-m", "tests", "--kept", str(self.kept), *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE_SECONDS,
            check=False,
        )
        self.status = done.returncode
        self.assertEqual(done.stderr, "")
        self.assertEqual(os.listdir(temporary), [])
        return done.stdout.splitlines()

    def named(self, lines: list[str], word: str) -> list[str]:
        return sorted(line for line in lines if line.startswith((f"{word} tests.", f"{word} 1 of")))

    def test_each_failure_has_its_first_cause_and_each_skip_its_reason(self) -> None:
        lines = self.run_samples("samples.fails")
        name = "tests.samples.fails.OutcomeTest"
        (failed,) = self.named(lines, "FAILED")
        self.assertTrue(failed.startswith(f"FAILED {name}.test_fails_and_logs: FailTest: "), failed)
        self.assertIn("the first cause", failed)
        self.assertIn("(and 2 more, first: ValueError: the log's)", failed)
        self.assertEqual(self.named(lines, "SKIPPED"), [f"SKIPPED 1 of {name}: there is no such server"])
        self.assertEqual(lines[-1], "1 passed, 1 failed, 1 skipped")
        self.assertEqual(self.status, 1)
        self.assertIn("the first cause", (self.kept / "samples.fails/output").read_text())
        self.assertIn("the log's second", (self.kept / "samples.fails/test.log").read_text())

    def test_a_randomised_test_names_its_failing_example(self) -> None:
        (failed,) = self.named(self.run_samples("samples.randomised"), "FAILED")
        self.assertIn("RandomisedTest.test_small_numbers: FailTest: ", failed)
        self.assertIn("number=10", failed)
        self.assertIn("@reproduce_failure(", failed)

    def test_a_test_that_hangs_fails_alone(self) -> None:
        lines = self.run_samples("--test-limit", "3", "--spare", "3", "samples.hangs")
        first, second, third = self.named(lines, "FAILED")
        self.assertIn("hangs.BlockingTest.test_a_blocks: TestLimitError: ", first)
        self.assertIn("hangs.BlockingTest.test_b_blocks_and_takes_no_signal: its process ended with 1; ", second)
        self.assertIn("hangs.WaitingTest.test_waits: TimeoutError: ", third)
        self.assertEqual(lines[-1], "1 passed, 3 failed")
        stacks = (self.kept / "samples.hangs/output").read_text()
        self.assertIn("in test_b_blocks_and_takes_no_signal", stacks)

    def test_a_process_that_dies_costs_one_test(self) -> None:
        lines = self.run_samples("samples.dies")
        (failed,) = self.named(lines, "FAILED")
        self.assertIn("dies.DyingTest.test_b_ends_the_process: its process ended with 0; ", failed)
        self.assertEqual(lines[-1], "2 passed, 1 failed")

    def test_the_whole_run_has_a_limit(self) -> None:
        lines = self.run_samples("--limit", "0.1", "samples.sleeps")
        failed = [line for line in lines if line.endswith(": the whole run has a limit of 0.1 minutes, and reached it")]
        self.assertEqual(len(failed), 1, lines)
        self.assertEqual(lines[-1], "0 passed, 1 failed")

    def test_a_module_that_cannot_be_loaded_is_a_failure(self) -> None:
        lines = self.run_samples("samples.absent")
        (failed,) = self.named(lines, "FAILED")
        self.assertIn("samples.absent", failed)
        self.assertEqual(self.status, 1)

    def test_the_seed_is_said_and_decides_the_order(self) -> None:
        lines = self.run_samples("--seed", "7", "samples.fails", "samples.dies")
        self.assertEqual(lines[0], "random order, seed 7")
        self.assertIn("seed 7", lines[-2])
        self.assertEqual(lines[-1], "3 passed, 2 failed, 1 skipped")
