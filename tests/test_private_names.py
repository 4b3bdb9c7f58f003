"""Private names of Autobahn and Twisted are used in three modules only, whose versions are bounded."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import TestCase

import tandemd
from tandemd.util import library_versions, twisted_private
from tandemd.websocket import autobahn_private

ROOT = Path(__file__).parent.parent
PRIVATE = {"tandemd.app.fair_reactor", "tandemd.util.twisted_private", "tandemd.websocket.autobahn_private"}
LIBRARIES = ("autobahn.", "twisted.")
DOCUMENTED = {"archive/database.py": {"_connection", "_pool"}, "rules/title_allowlist.py": {"_replace"}}
"""Names that look private and are none: of DB-API wrappers that adbapi documents for subclasses, and of named tuples."""


def attributes(source: str) -> Iterator[tuple[ast.Attribute, bool]]:
    """Yield each use of an attribute, and whether it is one of `self` or `cls`."""
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if isinstance(node, ast.Attribute):
            yield node, isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_of_bases(kind: type) -> set[str]:
    """Return the private names of a class's bases in Autobahn and Twisted: methods, and attributes that these set."""
    names: set[str] = set()
    for base in kind.__mro__:
        if base.__module__.startswith(LIBRARIES):
            names |= {name for name in vars(base) if is_private(name)}
            names |= {
                node.attr
                for node, own in attributes(inspect.getsource(base))
                if own and isinstance(node.ctx, ast.Store) and is_private(node.attr)
            }
    return names


class PrivateNamesTest(TestCase):
    def modules(self) -> Iterator[tuple[str, str]]:
        """Yield name and source of the modules that may not use private names."""
        for info in pkgutil.walk_packages(tandemd.__path__, "tandemd."):
            if info.name not in PRIVATE and not info.name.endswith("__main__"):
                module = importlib.import_module(info.name)
                yield info.name, inspect.getsource(module)

    def test_inherited_names(self) -> None:
        """A subclass neither uses nor redefines a private name of its base."""
        for name, _ in self.modules():
            for kind in vars(importlib.import_module(name)).values():
                if not inspect.isclass(kind) or kind.__module__ != name:
                    continue
                used = {node.attr for node, own in attributes(inspect.getsource(kind)) if own}
                path = name.removeprefix("tandemd.").replace(".", "/") + ".py"
                clash = (used | set(vars(kind))) & names_of_bases(kind) - DOCUMENTED.get(path, set())
                self.assertEqual(clash, set(), f"{name}.{kind.__name__}")

    def test_names_of_other_objects(self) -> None:
        """Every private name that a module uses is defined in tandemd."""
        sources = dict(self.modules())
        defined = set()
        for source in sources.values():
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    defined.add(node.name)
                elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                    defined.add(node.id if isinstance(node, ast.Name) else node.attr)
        for name, source in sources.items():
            path = name.removeprefix("tandemd.").replace(".", "/") + ".py"
            foreign = {node.attr for node, _ in attributes(source) if is_private(node.attr)} - defined
            self.assertEqual(foreign - DOCUMENTED.get(path, set()), set(), name)

    def test_undocumented_names_of_autobahn(self) -> None:
        for name, source in self.modules():
            if name.startswith("tandemd.websocket"):
                used = {node.attr for node, _ in attributes(source)} & set(autobahn_private.UNDOCUMENTED)
                self.assertEqual(used, set(), name)

    def test_bounds_of_the_distribution(self) -> None:
        setup = (ROOT / "setup.py").read_text()
        for library, module in (("twisted[tls]", twisted_private), ("autobahn", autobahn_private)):
            self.assertIn(f'"{library}>={module.FIRST_VERSION},<{module.BELOW_VERSION}"', setup)

    def test_locked_versions(self) -> None:
        lock = (ROOT / "requirements.lock").read_text()
        for library, module in (("twisted", twisted_private), ("autobahn", autobahn_private)):
            found = re.search(rf"^{library}(?:\[.*\])?==(\S+)", lock, re.MULTILINE)
            assert found is not None, library
            library_versions.require(library, found[1], module.FIRST_VERSION, module.BELOW_VERSION)

    def test_other_versions(self) -> None:
        for installed in ("25.10", "25.10.1", "26.1", "26.12.3rc1"):
            library_versions.require("autobahn", installed, "25.10", "27")
        for installed in ("25.9.9", "24", "27.0", "27.1rc1", "100.1", ""):
            error = self.assertRaises(
                library_versions.UnsupportedVersionError, library_versions.require, "autobahn", installed, "25.10", "27"
            )
            self.assertIn("pip install 'autobahn>=25.10,<27'", str(error))
