"""The contents of packages, and the output of the checks of a change."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import setuptools
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import tandemd

from ..support.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent


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

    def test_a_build_has_every_data_file(self):
        """Debian package and image install a wheel, which consists of these files."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", directory]
        command += ["build", "--build-base", directory, "--build-lib", directory + "/lib"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
        for pattern in (
            "tandemd/store/redis/lua/**/*.lua",
            "tandemd/archive/schema/*.sql",
            "tandemd/web/page/**/*.js",
            "tandemd/web/client/**/*.*",
        ):
            files = [path.relative_to(ROOT) for path in ROOT.glob(pattern)]
            self.assertNotEqual(files, [])
            self.assertEqual([path for path in files if not Path(directory, "lib", path).is_file()], [])

    def test_version(self):
        self.assertEqual(self.given["version"], tandemd.__version__)


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_it(self):
        (found,) = (plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "tandemd")
        self.assertEqual(getattr(found, "module", None), "tandemd.tap")

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

    def run_it(self, *runs):
        home = Path(self.mktemp())
        home.mkdir()
        arguments = []
        for number, (output, status) in enumerate(runs):
            (home / str(number)).write_text(output)
            arguments += [str(home / str(number)), str(status)]
        done = subprocess.run(
            [sys.executable, ROOT / ".ci/summary.py", *arguments],
            capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        return done.stdout, done.returncode

    def test_passed(self):
        self.assertEqual(self.run_it(("9 s\n3 passed, 0 failed\n", 0)), ("3 passed, 0 failed\n", 0))

    def test_two_runs_are_added_up(self):
        runs = ("3 passed, 0 failed\n", 0), ("2 passed, 0 failed\n", 0)
        self.assertEqual(self.run_it(*runs), ("5 passed, 0 failed\n", 0))

    def test_skipped_is_not_passed_and_has_its_reason(self):
        skipped = "SKIPPED 2 of tests.test_a.ATest: there is no nginx\n"
        self.assertEqual(
            self.run_it((skipped + "3 passed, 0 failed, 2 skipped\n", 0)),
            (skipped + "3 passed, 0 failed, 2 skipped\n", 1),
        )

    def test_without_browser_caddy_node_and_coturn_the_others_count(self):
        skipped = "SKIPPED 1 of tests.test_a.ATest: no browser: install Chromium\n"
        skipped += "SKIPPED 1 of tests.test_b.BTest: no caddy: name it\n"
        skipped += "SKIPPED 1 of tests.test_c.CTest: no node: install Node.js 20.10 or newer\n"
        skipped += "SKIPPED 1 of tests.test_d.DTest: no coturn: install it\n"
        output = skipped + "3 passed, 0 failed, 4 skipped\n"
        self.assertEqual(self.run_it((output, 0)), (output, 0))
        more = skipped + "SKIPPED 1 of tests.test_b.BTest: there is no nginx\n3 passed, 0 failed, 5 skipped\n"
        self.assertEqual(self.run_it((more, 0)), (more, 1))

    def test_failed_with_the_causes(self):
        failed = "FAILED tests.test_a.ATest.test_b: FailTest: 1 != 2\n"
        output = "FAILED (failures=1, successes=3)\n" + failed + "9 passed, 1 failed\n"
        self.assertEqual(self.run_it((output, 1), ("9 passed, 0 failed\n", 0)), (failed + "18 passed, 1 failed\n", 1))

    def test_nothing_ran(self):
        output, status = self.run_it(("0 passed, 0 failed\n", 0))
        self.assertEqual(status, 1)
        self.assertEqual(output.splitlines()[-1], "0 passed, 1 failed")

    def test_a_run_did_not_get_to_its_end(self):
        for output, status in (("Killed\n", 137), ("3 passed, 0 failed\n", 2)):
            lines, result = self.run_it((output, status))
            self.assertEqual(result, 1)
            self.assertIn(f"FAILED run: it ended with {status}, and did not get to its end", lines)
            self.assertIn("1 failed", lines.splitlines()[-1])


def imported(path):
    """Return the names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found
