"""docs/architecture.md names modules, packages and classes that exist, and the code keeps to its limits."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {path.parent.name for path in (ROOT / "tandemd").glob("*/__init__.py")}
OTHER_MODULES = {"interfaces", "metrics", "errors", "tap"}
MODULE = re.compile(r"`((?:[a-z_]+/)+[a-z_]*)`")

JSON_USERS = {
    # messages of clients and of the server
    "messages/codec.py",
    # dumps of rooms, commits and rows
    "rules/snapshot.py",
    "store/redis/codec.py",
    "archive/rows.py",
    "archive/admin_queries.py",
    "archive/writer.py",
    # HTTP, in both directions; files of keys; the log
    "web/responses.py",
    "web/admin_api.py",
    "auth/keys.py",
    "app/log_observer.py",
}
"""The modules of a node that may use JSON. A message of the protocol passes through `messages.codec` only."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield the path below tandemd/ and the syntax tree of each module."""
    for path in sorted((ROOT / "tandemd").rglob("*.py")):
        yield path.relative_to(ROOT / "tandemd").as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """Return the full names of modules and objects that a module imports from other projects."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_packages(path: str, tree: ast.Module) -> set[str]:
    """Return the names below tandemd/ that a module imports. path: of the module, below tandemd/."""
    package = path.split("/")[:-1]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            names |= {base[0]} if base else {alias.name for alias in node.names}
    return names


class ArchitectureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

    def test_packages_import_what_their_docstrings_name(self) -> None:
        for package in PACKAGES - {"app"}:
            line = ast.get_docstring(ast.parse((ROOT / f"tandemd/{package}/__init__.py").read_text())) or ""
            (line,) = re.findall(r"^May import: ([^.;]+)", line, re.MULTILINE)
            actual: set[str] = set()
            for path, tree in modules():
                if path.startswith(f"{package}/"):
                    actual |= imported_packages(path, tree) - {package, "__version__"}
            self.assertLessEqual(actual, set(line.split(", ")), f"name it in tandemd/{package}/__init__.py")

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

    def test_the_walk_of_a_message_names_classes_that_exist(self) -> None:
        """Names of classes and of methods with arguments, in the text and in the picture."""
        walk = self.text.partition("## Life of a message")[2].partition("\n## ")[0]
        classes = set(re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", walk))
        methods = set(re.findall(r"\b([a-z_]+)\(", re.sub(r"`[^`]*/[^`]*`", "", walk)))
        self.assertGreaterEqual(classes, {"PlayPause", "Command", "Commit"})
        self.assertIn("decide", methods)
        defined = {
            node.name
            for _, tree in modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self.assertEqual((classes | methods) - defined, set())

    def test_the_modules_of_each_package_exist(self) -> None:
        """The table names modules of a package in parentheses, without the package."""
        table = self.text.partition("| package | does | never |")[2].partition("\n\n")[0]
        named = 0
        for package, does in re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE):
            for name in re.findall(r"`([a-z_]+/?)`", "".join(re.findall(r"\(([^)]*)\)", does))):
                path = ROOT / "tandemd" / package / name.rstrip("/")
                self.assertTrue(path.with_suffix(".py").is_file() or path.is_dir(), f"{package}: {name}")
                named += 1
        self.assertGreater(named, 20)


class ImportTests(SynchronousTestCase):
    """Rules about imports that the contracts of import-linter cannot express."""

    def test_only_tap_imports_the_reactor(self) -> None:
        users = {
            path
            for path, tree in modules()
            if any(name.startswith("twisted.internet.reactor") for name in imported(tree))
        }
        self.assertEqual(users, {"tap.py"})

    def test_only_messages_encodes_messages(self) -> None:
        users = {
            path
            for path, tree in modules()
            if not path.startswith("ctl/")
            and (
                "json" in imported(tree)
                or any(isinstance(node, ast.Attribute) and node.attr == "json" for node in ast.walk(tree))
            )
        }
        self.assertEqual(users - JSON_USERS, set())
        self.assertEqual(JSON_USERS - users, set(), "no longer needed in JSON_USERS")


MOST_MODULE_LINES = 400
MOST_FUNCTION_LINES = 60
MOST_CONSTRUCTOR_ARGUMENTS = 8


class SizeTests(SynchronousTestCase):
    """The limits of CONTRIBUTING.md for modules, functions and constructors."""

    def test_modules_of_the_page_and_the_client_library(self) -> None:
        found = sorted((ROOT / "tandemd/web").rglob("*.js"))
        self.assertGreater(len(found), 40)
        for path in found:
            self.assertLessEqual(path.read_text().count("\n"), MOST_MODULE_LINES, path.relative_to(ROOT).as_posix())

    def test_modules_functions_and_constructors(self) -> None:
        for path in sorted((ROOT / "tandemd").rglob("*.py")):
            name, text = path.relative_to(ROOT).as_posix(), path.read_text()
            self.assertLessEqual(text.count("\n"), MOST_MODULE_LINES, name)
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                length = (node.end_lineno or 0) - node.lineno + 1
                self.assertLessEqual(length, MOST_FUNCTION_LINES, f"{name}: {node.name}")
                if node.name == "__init__":
                    count = len(node.args.args) + len(node.args.kwonlyargs) - 1
                    self.assertLessEqual(count, MOST_CONSTRUCTOR_ARGUMENTS, f"{name}:{node.lineno}")
