#!/usr/bin/env python3
"""Check the English of documents, docstrings and comments against the first style rule of CONTRIBUTING.md.

usage: check_prose.py [--files | FILE...]

The script counts constructions that hide the acting subject (`whoever joins`, `what was sent`, `there is`, `nobody`) per
1000 words. It fails if a file of `[tool.check_prose] done` in pyproject.toml has more than LIMIT_PER_1000_WORDS of them, and
prints the figures of every other package for information. --files prints the figures of each file instead. With FILEs the
script prints each construction that it finds there.
"""

from __future__ import annotations

import argparse
import ast
import io
import pathlib
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT_PER_1000_WORDS = 3.0
SOURCES = ("*.md", "docs/*.md", "k8s/*.md", "tandemd/**/*.py", "tests/**/*.py", "scripts/**/*.py", "bench/**/*.py")

_BEFORE = (
    "about|after|and|are|as|at|before|but|by|for|from|if|in|into|is|knows|like|of|on|or|says|see|shows|since|than|then|to|was|"
    "were|when|with|whether"
)
"""Words before a `who` that has no antecedent."""

CONSTRUCTIONS = re.compile(
    rf"""
    \b(?: who(?:m|so)?ever | whatever | whichever | somebody | nobody | everybody | anybody | anew | by[ ]and[ ]by )\b
    | \bthose[ ](?:who|that)\b
    | \bthere[ ](?:is|are|was|were|has[ ]been|have[ ]been|may[ ]be|can[ ]be|will[ ]be)\b
    | (?: ^ | (?<=[.;:!?(|][ ]) | (?<=\() | (?<![\w'])(?:{_BEFORE})[ ] ) who\b (?![^.;:|]*\?)
    | \bwhat\b (?![^.;:|]*\?)
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
"""Free relative clauses, indefinite pronouns, `there is`. Questions that end in ? do not count."""

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"(?:(?<=\n\n)|\A)(?:(?: {4}|\t).*\n|\n)+")
_CODE = re.compile(r"``[^`]+``|`[^`\n]+`")
_TARGET = re.compile(r"\]\([^)]*\)|<https?:[^>]*>|https?://\S+|<!--.*?-->", re.DOTALL)
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")


def prose_of_markdown(text: str) -> str:
    """Return a document without its code, link targets and comments."""
    return _TARGET.sub("]", _BLOCK.sub("\n", _FENCE.sub("\n", text)))


def prose_of_python(source: str) -> str:
    """Return the docstrings and comments of a module, the strings below constants included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found.append(node.value.value)
    comments = ""
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("#!", "# noqa", "# type:", "# mypy:")):
            # Comments on consecutive lines are one text.
            comments += (" " if token.start[0] == last + 1 else "\n\n") + token.string.lstrip("# ")
            last = token.start[0]
    return "\n\n".join([*found, comments])


def sentences(path: pathlib.Path) -> str:
    """Return the prose of a file: one paragraph a line, code replaced by a word that counts as none."""
    text = path.read_text(encoding="utf-8")
    prose = prose_of_python(text) if path.suffix == ".py" else prose_of_markdown(text)
    prose = re.sub(r"[*_]{2}", "", _CODE.sub("0", prose))
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*#|]|\d+\.)\s?)", prose)
    return "\n".join(re.sub(r"\s+", " ", re.sub(r"^[\s>#*-]*(?:\d+\. )?", "", one)) for one in paragraphs)


def count(path: pathlib.Path) -> tuple[list[str], int]:
    """Return the constructions of a file, each with its surroundings, and its number of words."""
    text = sentences(path)
    found = [text[max(0, match.start() - 30) : match.end() + 30] for match in CONSTRUCTIONS.finditer(text)]
    return [one.replace("\n", " / ") for one in found], len(_WORD.findall(text))


def rate(found: int, words: int) -> float:
    """Return the constructions per 1000 words."""
    return 1000 * found / words if words else 0.0


def files() -> list[pathlib.Path]:
    """Return the files whose prose is counted."""
    return sorted({path for pattern in SOURCES for path in ROOT.glob(pattern)})


def done() -> set[pathlib.Path]:
    """Return the files that must stay below the limit. Raises SystemExit for a name that is no file or directory."""
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["check_prose"]["done"]
    known, listed = files(), set()
    for name in names:
        path = ROOT / name
        below = {one for one in known if one == path or path in one.parents}
        if not below:
            raise SystemExit(f"check_prose.py: pyproject.toml, tool.check_prose.done: {name} has no prose")
        listed |= below
    return listed


def package_of(path: pathlib.Path) -> str:
    """Return the group under which a file's figures are printed."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[: 2 if parts[0] == "tandemd" and len(parts) > 2 else 1]) if len(parts) > 1 else "top level"


def main(arguments: list[str]) -> Iterator[str]:
    """Yield the lines to print. Raises SystemExit if a file that is done is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="print the figures of each file")
    parser.add_argument("file", nargs="*", type=pathlib.Path, help="print each construction in these files")
    options = parser.parse_args(arguments)
    if options.file:
        for path in options.file:
            found, words = count(path)
            yield f"{path}: {rate(len(found), words):.1f} per 1000 words ({len(found)} in {words})"
            yield from (f"    {one}" for one in found)
        return
    must, groups, above = done(), dict[str, list[int]](), list[str]()
    for path in files():
        found, words = count(path)
        name = str(path.relative_to(ROOT))
        if path in must and rate(len(found), words) > LIMIT_PER_1000_WORDS:
            above += [f"{name}: {rate(len(found), words):.1f} per 1000 words: {one}" for one in found]
        group = groups.setdefault(name if options.files else package_of(path), [0, 0])
        group[0] += len(found)
        group[1] += words
    for name, (number, words) in groups.items():
        yield f"{name:<{max(map(len, groups))}}  {rate(number, words):5.1f} per 1000 words ({number} in {words})"
    yield f"{len(must)} files are listed as done in pyproject.toml, limit {LIMIT_PER_1000_WORDS:g}"
    if above:
        yield from above
        raise SystemExit("check_prose.py: rewrite these sentences: see the style guide in CONTRIBUTING.md")


if __name__ == "__main__":
    for line in main(sys.argv[1:]):
        print(line)
