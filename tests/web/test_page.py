"""The party page, as far as it can be looked at without a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
from twisted.trial.unittest import SkipTest, TestCase

from tandemd import messages as m
from tandemd.rules.local_titles import FILE_URL
from tandemd.rules.title_allowlist import TitleAllowlist

from ..support.patience import PATIENCE_SECONDS

HERE = Path(__file__).parent.parent
PAGE = HERE.parent / "tandemd/web/page"
CLIENT = PAGE.parent / "client"
MODULES = sorted([*PAGE.glob("*.js"), *CLIENT.glob("*.js")])
TEXTS = sorted(PAGE.glob("texts/*.js"))
ABILITIES = (PAGE / "browser.js", PAGE / "display.js", PAGE / "overlays.js", CLIENT / "environment.js")

OPTIONAL = r"""(?x)
    \b(?:sessionStorage|localStorage|indexedDB|caches|cookie|navigator|mediaSession|clipboard|wakeLock|locks|serviceWorker)\b
    | \b(?:crypto|performance|BroadcastChannel|SharedWorker|Notification|AbortController|AbortSignal|matchMedia)\b
    | \b(?:history|requestIdleCallback|structuredClone|queueMicrotask|URL\.parse|CSS)\b
    | [vV]isibility|document\.hidden|\bonline\b|pageshow|execCommand|[fF]ullscreen\w+|[pP]ictureInPicture
    | [pP]opover(?:Target|:)|:popover|(?:show|hide|toggle)Popover|showModal|\bDate\.now\b|\bnew\ Date\(\)
"""
"""Abilities that a browser may lack or forbid: storage, locks, media keys, random numbers, and so on."""


TEXT = r"""(?x)
    ^[A-Z][a-z]+(?:\ |$) | [A-Za-z]+\ [a-z]+\ [a-z]+ | [a-z][.!?\u2026]$
"""
"""Words for people: a capitalised word, three words, or the end of a sentence."""
KEY_NAMES = {"Enter", "End", "Escape", "Home", "Space", "Tab"}


class TextFinder(HTMLParser):
    """Collects the texts in a page itself, and the keys of its other texts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.keys: set[str] = set()
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            if name.startswith("data-t"):
                self.keys.add(value or "")
            elif name in ("aria-label", "title", "placeholder", "alt") and value:
                self.found.add(value)

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if data.strip() and self._tag not in ("title", "noscript"):
            self.found.add(data.strip())


class FilesTests(TestCase):
    """References between the files of the page."""

    def setUp(self) -> None:
        self.html = (PAGE / "index.html").read_text()
        self.ids = re.findall(r'\bid="([^"]+)"', self.html)

    def test_ids_are_unique(self) -> None:
        self.assertEqual(sorted(set(self.ids)), sorted(self.ids))

    def test_elements_that_modules_use_are_there(self) -> None:
        for module in MODULES:
            for name in re.findall(r"\belement\('([^']+)'\)", module.read_text()):
                self.assertIn(name, self.ids, module.name)

    def test_labels_name_what_is_there(self) -> None:
        for names in re.findall(r'\b(?:for|aria-labelledby|aria-describedby)="([^"]+)"', self.html):
            for name in names.split():
                self.assertIn(name, self.ids)

    def test_modules_import_what_is_exported(self) -> None:
        for module in MODULES:
            for names, source in re.findall(r"(?:im|ex)port \{([^}]+)\} from '(\.[^']+)'", module.read_text()):
                text = (module.parent / source).read_text()
                exported = re.findall(r"export (?:async )?(?:class|const|function) (\w+)", text)
                exported += re.findall(r"\w+", " ".join(re.findall(r"export \{([^}]+)\}", text)))
                for name in names.split(","):
                    if name.strip():
                        self.assertIn(name.split()[0], exported, f"{module.name} from {source}")

    def test_no_url_begins_at_the_root(self) -> None:
        """A proxy may serve the page below a path, so that "/page/main.js" would be another server's file."""
        self.assertNotRegex(self.html, r"""\b(?:href|src|action|poster)=["']/""")
        for file in (*PAGE.iterdir(), *CLIENT.iterdir()):
            if file.suffix in (".js", ".css"):
                code = re.sub(r"(?m)^ *(?://|\*|/\*).*$", "", file.read_text())
                urls = (
                    r"""['"`](?:\$\{location\.(?:origin|host)\})?/(?:page|ws|api|room/|health|status|\?)|url\(['"]?/"""
                )
                self.assertNotRegex(code, urls, file.name)
                self.assertNotRegex(code, r"""(?:assign|replace|fetch)\(['"`]/""", file.name)

    def test_nothing_that_the_policy_forbids(self) -> None:
        self.assertNotRegex(self.html, r"<[^>]*\s(on\w+|style)=")
        self.assertNotRegex(self.html, r"<style|<script(?![^>]*\ssrc=)|javascript:")
        for module in MODULES:
            forbidden = (
                r"\beval\(|new Function\(|innerHTML|insertAdjacentHTML|setAttribute\('(?:style|on)|document\.write"
            )
            self.assertNotRegex(module.read_text(), forbidden, module.name)

    def test_few_modules_touch_optional_abilities(self) -> None:
        """Every use elsewhere would be one without a fallback. Comments may name them."""
        for module in MODULES:
            if module in ABILITIES:
                continue
            code = re.sub(r"^\s*(//|/?\*).*$", "", module.read_text(), flags=re.MULTILINE)
            self.assertEqual(re.findall(OPTIONAL, code), [], f"{module.name}: use one of ABILITIES")

    def test_texts_name_the_acting_person(self) -> None:
        for file in (PAGE / "index.html", *MODULES, *TEXTS):
            code = re.sub(r"^\s*(//|/?\*).*$", "", file.read_text(), flags=re.MULTILINE)
            self.assertEqual(re.findall(r"(?i)\b(?:nobody|somebody|everybody|whoever)\b", code), [], file.name)

    def test_texts_are_in_the_files_of_the_languages(self) -> None:
        finder = TextFinder()
        finder.feed(self.html)
        noscript = "This page needs JavaScript to keep the players in step."
        self.assertEqual(finder.found - {"tandem", "PIN", "0:00", "https://", "\u00b7" * 10, noscript}, set())
        english = (PAGE / "texts/en.js").read_text()
        known = set(re.findall(r"(?m)^  '?([\w.-]+)'?: ", english))
        known |= {key.rpartition(".")[0] for key in known}
        self.assertEqual(finder.keys - known, set())
        for module in MODULES:
            code = re.sub(r"(?m)^\s*(//|/?\*).*$", "", module.read_text())
            self.assertEqual(set(re.findall(r"\bt\('([^']+)'", code)) - known, set(), module.name)
            if module.parent == CLIENT:
                # The texts of its errors are for programs: the page has its own for each code.
                continue
            code = re.sub(r"RangeError\('[^']*'\)", "", code)
            literals = set(re.findall(r"'([^'\n]*)'", code))
            self.assertEqual({each for each in literals - KEY_NAMES if re.search(TEXT, each)}, set(), module.name)

    def test_only_one_module_decides_about_keys(self) -> None:
        for module in MODULES:
            if module.name == "shortcuts.js":
                continue
            found = re.findall(r"(?:ctrl|alt|meta|shift)Key|\.repeat\b|isComposing|keyCode", module.read_text())
            self.assertEqual(found, [], f"{module.name}: use shortcuts.js")


class ModulesTests(TestCase):
    """The modules that need no browser, run by node if the machine has it."""

    def run_with_modules(self, script: str) -> str:
        """Return the output of a script of this directory that imports the modules. Fails with it."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("there is no node")
        home = Path(self.mktemp())
        for directory in (PAGE, CLIENT):
            shutil.copytree(directory, home / directory.name)
        for file in (script, "client/fake_globals.mjs"):
            shutil.copy(HERE / "web" / file, home / "page")
        (home / "package.json").write_text('{"type": "module"}')
        done = subprocess.run(
            [node, script], cwd=home / "page", capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_modules(self) -> None:
        output = self.run_with_modules("page_modules.js")
        found = re.search(r"SENT (\[.*\])", output)
        assert found is not None, output
        for message in json.loads(found[1]):
            # The server would ignore a field that it does not know.
            known = {field.encode_name for field in msgspec.structs.fields(m.decode(json.dumps(message).encode()))}
            self.assertLessEqual(set(message), known | {"type"})

    def test_shortcuts(self) -> None:
        self.run_with_modules("page_shortcuts.js")

    def test_texts(self) -> None:
        self.run_with_modules("page_texts.js")

    def test_qr_code(self) -> None:
        self.run_with_modules("page_qr_code.js")

    def test_films(self) -> None:
        output = self.run_with_modules("page_films.js")
        found = re.search(r"TITLES (\[.*\])", output)
        assert found is not None, output
        titles = TitleAllowlist([FILE_URL])
        for title in json.loads(found[1]):
            self.assertEqual(titles.check(title), title, "the server writes it in another form")

    def test_without_abilities_of_browsers(self) -> None:
        self.run_with_modules("page_abilities.js")
