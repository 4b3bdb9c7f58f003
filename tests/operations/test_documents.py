"""Documents: links, paths and figures in them are right, and scripts/check_prose.py finds the constructions it counts."""

from __future__ import annotations

import pathlib
import re
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from scripts.check_prose import CONSTRUCTIONS, count, done, files, prose_of_markdown, prose_of_python
from tandemd.archive.writer import FIRST_PURGE_SECONDS

from ..support.daemon_process import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("k8s/*.md")])
_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and mkdocs name them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(text)}


class DocumentTests(SynchronousTestCase):
    def test_links_lead_to_files_and_headings(self) -> None:
        for document in DOCUMENTS:
            for target, anchor in _LINK.findall(prose_and_targets(document.read_text())):
                if "://" in target:
                    continue
                path = (document.parent / target).resolve() if target else document
                self.assertTrue(path.exists(), f"{document.name}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(path.read_text()), f"{document.name}: {target}#{anchor}")

    def test_contributing_names_modules_and_files_that_exist(self) -> None:
        text = (ROOT / "CONTRIBUTING.md").read_text()
        paths = set(re.findall(r"`((?:tandemd|tests|scripts|debian|etc)/[\w./-]+)`", text))
        self.assertGreater(len(paths), 40)
        self.assertEqual([path for path in sorted(paths) if not (ROOT / path).exists()], [])

    def test_glossary_has_one_line_a_term(self) -> None:
        text = (ROOT / "CONTRIBUTING.md").read_text()
        terms = re.findall(r"^\| ([^|]+) \| .* \| `tandemd/", text[text.index("## Glossary") :], re.MULTILINE)
        self.assertEqual(terms, sorted(set(terms), key=str.lower))
        self.assertGreaterEqual(len(terms), 40)

    def test_the_first_purge_is_when_the_document_says(self) -> None:
        self.assertEqual(FIRST_PURGE_SECONDS, 10 * 60)
        self.assertIn("deletes old rows ten minutes after a start", (ROOT / "docs/privacy.md").read_text())

    def test_pictures_are_well_formed(self) -> None:
        for path in ROOT.glob("docs/*.svg"):
            self.assertEqual(ElementTree.parse(path).getroot().tag, "{http://www.w3.org/2000/svg}svg")

    def test_pictures_are_markdown(self) -> None:
        """The website moves each page into a directory of its own, and adapts only the targets of Markdown."""
        for path in ROOT.glob("docs/*.md"):
            self.assertNotIn("<img", path.read_text(encoding="utf-8"), path.name)

    def test_the_list_of_rewritten_files_only_grows(self) -> None:
        self.assertLessEqual(
            {ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGES.md", "docs/deployment.md")}, done()
        )
        self.assertLessEqual(done(), set(files()))


def prose_and_targets(text: str) -> str:
    """Return a document without its indented code."""
    return re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)


class ProseTests(SynchronousTestCase):
    def found(self, text: str) -> int:
        return len(CONSTRUCTIONS.findall(text))

    def test_constructions_that_count(self) -> None:
        for text in (
            "Whoever joins gets the state.",
            "What was sent before is replayed.",
            "The node replays what it missed.",
            "There are two kinds.",
            "Nobody is told.",
            "It is done anew.",
            "A bound for those who wait.",
            "Who waits is tried again.",
            "It counts as what it is.",
        ):
            self.assertEqual(self.found(text), 1, text)

    def test_constructions_that_do_not_count(self) -> None:
        for text in (
            "A member who joins gets the state.",
            "What is a room?",
            "The operator names the nodes that take part.",
            "Somewhat slower; a whatnot.",
        ):
            self.assertEqual(self.found(text), 0, text)

    def test_code_is_no_prose(self) -> None:
        text = "# Title\n\nA sentence.\n\n    what is code\n\n```\nnobody\n```\n\nMore, see [there](https://x.example/anybody).\n"
        self.assertEqual(self.found(prose_of_markdown(text)), 0)
        self.assertIn("More, see", prose_of_markdown(text))

    def test_docstrings_and_comments_are_prose(self) -> None:
        source = '"""Nobody."""\nNAME = "everybody"\n"""Somebody."""\n# Anybody,\n# anew.\n'
        self.assertEqual(self.found(prose_of_python(source)), 4)

    def test_a_file_with_such_prose_is_reported(self) -> None:
        path = pathlib.Path(self.mktemp())
        path.mkdir()
        (path / "x.md").write_text("Nobody knows `nobody`.\n\n| a | what is b |\n")
        found, words = count(path / "x.md")
        self.assertEqual((len(found), words), (2, 6))
