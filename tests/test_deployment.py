"""What tandemd is installed with: the Debian package, the units, the lock files."""

from __future__ import annotations

import re
import runpy
from typing import Any

import setuptools
from twisted.trial.unittest import SynchronousTestCase

import tandemd
from tandemd.config import load
from tandemd.listener import CLOSING

from .daemon import ROOT

DEBIAN = ROOT / "debian"


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a unit: the values of each setting, in order."""
    sections: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in (DEBIAN / name).read_text().splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            current.setdefault(key, []).append(value)
    return sections


class UnitTests(SynchronousTestCase):
    def test_an_instance_is_a_service_with_a_name_of_its_own(self) -> None:
        one, many = unit("tandemd.service")["Service"], unit("tandemd@.service")["Service"]
        self.assertEqual(many.pop("Environment"), ["NODE_ID=%l-%i"])
        self.assertEqual((one.pop("StateDirectory"), many.pop("StateDirectory")), (["tandemd"], ["tandemd/%i"]))
        self.assertEqual(one, many)

    def test_sockets(self) -> None:
        one, many = unit("tandemd.socket")["Socket"], unit("tandemd@.socket")["Socket"]
        self.assertEqual(many.pop("ReusePort"), ["yes"])
        self.assertEqual(one, many)
        self.assertEqual(one["ListenStream"], [str(load(None, {}, {}).port)])

    def test_it_may_stop_as_long_as_it_needs(self) -> None:
        (limit,) = unit("tandemd.service")["Service"]["TimeoutStopSec"]
        self.assertGreaterEqual(int(limit), load(None, {}, {}).drain_seconds + CLOSING + 10)

    def test_it_is_told_that_it_is_ready_and_always_restarted(self) -> None:
        service = unit("tandemd.service")["Service"]
        self.assertEqual((service["Type"], service["Restart"]), (["notify"], ["always"]))
        self.assertEqual(unit("tandemd.service")["Unit"]["StartLimitIntervalSec"], ["0"])


class PackageTests(SynchronousTestCase):
    def test_version(self) -> None:
        found = re.match(r"tandemd \(([^)]+)\)", (DEBIAN / "changelog").read_text())
        assert found is not None
        self.assertEqual(found[1], tandemd.__version__)

    def test_the_line_that_the_package_changes_is_there(self) -> None:
        """debian/rules gives the key its value by its comment."""
        self.assertIn("\n#port: 4001\n", (ROOT / "etc/tandemd.yaml").read_text())


class LockTests(SynchronousTestCase):
    def pinned(self, name: str) -> dict[str, str]:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        found = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                matched = re.fullmatch(r"([a-z0-9-]+)==(\S+)( ; [^-]+?)? +(--hash=sha256:[0-9a-f]{64} *)+", line)
                self.assertIsNotNone(matched, line[:80])
                assert matched is not None
                found[matched[1]] = matched[2]
        return found

    def test_all_that_it_needs_is_pinned(self) -> None:
        given: dict[str, Any] = {}
        self.patch(setuptools, "setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
        names = {re.split(r"[\[<>=;]", wanted)[0].lower().replace("_", "-") for wanted in given["install_requires"]}
        self.assertLessEqual(names, set(self.pinned("requirements.lock")))
        self.assertIn("setuptools", self.pinned("requirements-build.lock"))

    def test_they_name_no_index(self) -> None:
        for name in ("requirements.lock", "requirements-build.lock"):
            self.assertNotIn("://", (ROOT / name).read_text())
