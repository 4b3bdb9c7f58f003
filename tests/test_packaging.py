"""What is packaged, and what the checks of a change print."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import setuptools
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import tandemd

ROOT = Path(__file__).resolve().parent.parent


class SetupTests(SynchronousTestCase):
    def setUp(self):
        given = {}
        self.patch(setuptools, "setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
        self.given = given

    def test_every_package_is_listed(self):
        found = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in ROOT.glob("tandemd/**/__init__.py")}
        self.assertEqual(set(self.given["packages"]), found | {"twisted.plugins"})

    def test_every_data_file_is_packaged(self):
        packaged = set()
        for package, patterns in self.given["package_data"].items():
            folder = ROOT / package.replace(".", "/")
            packaged |= {path for pattern in patterns for path in folder.glob(pattern)}
        files = {
            path
            for path in ROOT.glob("tandemd/**/*")
            if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
        }
        self.assertEqual(files - packaged, set())

    def test_version(self):
        self.assertEqual(self.given["version"], tandemd.__version__)


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_it(self):
        (found,) = (plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "tandemd")
        self.assertEqual(found.module, "tandemd.tap")

    def test_it_imports_nothing_of_ours(self):
        self.assertEqual(imported(ROOT / "twisted/plugins/tandemd_plugin.py"), {"twisted.application.service"})

    def test_twisted_stays_a_package_of_its_own(self):
        self.assertEqual(list(ROOT.glob("twisted/**/__init__.py")), [])


class RuleTests(SynchronousTestCase):
    def test_only_one_module_imports_the_reactor(self):
        found = {
            str(path.relative_to(ROOT))
            for path in ROOT.glob("tandemd/**/*.py")
            if re.search(
                r"\bfrom twisted\.internet import [^\n]*\breactor\b|\btwisted\.internet\.reactor\b", path.read_text()
            )
        }
        self.assertLessEqual(found, {"tandemd/tap.py"})


class SummaryTests(SynchronousTestCase):
    """`.ci/summary.py`, run as `.ci/run` does."""

    def run_it(self, output, status):
        done = subprocess.run(
            [sys.executable, ROOT / ".ci/summary.py", str(status)],
            input=output, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout, done.returncode

    def test_passed(self):
        self.assertEqual(self.run_it("Ran 3 tests\n\nPASSED (successes=3)\n", 0), ("3 passed, 0 failed\n", 0))
        self.assertEqual(self.run_it("PASSED (expectedFailures=1, successes=3)\n", 0), ("4 passed, 0 failed\n", 0))

    def test_skipped_is_not_passed(self):
        self.assertEqual(self.run_it("PASSED (skips=2, successes=3)\n", 0), ("3 passed, 0 failed, 2 skipped\n", 1))

    def test_failed(self):
        output = "FAILED (failures=1, errors=2, unexpectedSuccesses=1, successes=9)\n"
        self.assertEqual(self.run_it(output, 1), ("9 passed, 4 failed\n", 1))

    def test_nothing_ran(self):
        self.assertEqual(self.run_it("PASSED\n", 0), ("0 passed, 0 failed\n", 1))

    def test_trial_did_not_end(self):
        self.assertEqual(self.run_it("Killed\n", 137), ("0 passed, 1 failed\n", 1))
        self.assertEqual(self.run_it("PASSED (successes=3)\n", 2), ("3 passed, 1 failed\n", 1))


def imported(path):
    """Return the names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found
