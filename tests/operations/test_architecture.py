"""docs/architecture.md names the modules and packages that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {path.parent.name for path in (ROOT / "tandemd").glob("*/__init__.py")}
OTHER_MODULES = {"interfaces", "metrics", "errors", "tap"}
MODULE = re.compile(r"`((?:[a-z_]+/)+[a-z_]*)`")


class ArchitectureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

    def test_every_module_that_it_names_exists(self) -> None:
        named = {name for name in MODULE.findall(self.text) if name.partition("/")[0] in PACKAGES}
        self.assertGreater(len(named), 30)
        missing = {
            name
            for name in named
            if not (ROOT / "tandemd" / f"{name}.py").is_file() and not (ROOT / "tandemd" / name).is_dir()
        }
        self.assertEqual(missing, set())

    def test_it_describes_every_package(self) -> None:
        table = self.text.partition("| package | does | never |")[2].partition("\n\n")[0]
        rows = {
            name for row in re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
        }
        self.assertEqual(rows, PACKAGES | OTHER_MODULES)

    def test_its_picture_has_the_layers_of_the_contract(self) -> None:
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
            "contracts"
        ]
        (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
        level = {
            name.removeprefix("tandemd."): number for number, layer in enumerate(layers) for name in layer.split(" | ")
        }
        picture = next(
            found
            for found in re.findall(r"^```mermaid\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
            if "config" in found
        )
        arrows = [
            (one, "util" if other == "base" else other)
            for one, other in re.findall(r'(\w+)(?:\["\w+"\])? --> (\w+)', picture)
        ]
        self.assertGreater(len(arrows), 15)
        for upper, lower in arrows:
            self.assertLess(level[upper], level[lower], f"{upper} --> {lower}")
        self.assertLessEqual(set(level) - {"metrics", "errors", "util"}, {name for arrow in arrows for name in arrow})
