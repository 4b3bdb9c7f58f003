"""URLs of titles in their one form, and the same URLs as a browser's URL class reads them."""

from __future__ import annotations

import json
import shutil
import subprocess

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tandemd.errors import RequestError
from tandemd.rules.title_allowlist import TitleAllowlist
from tandemd.rules.title_urls import parse_title

TABLE = {
    "Http://Films.example/film.mp4": "http://films.example/film.mp4",
    "HTTPS://FILMS.EXAMPLE": "https://films.example/",
    "https://films.example:443/a": "https://films.example/a",
    "http://films.example:80": "http://films.example/",
    "http://films.example:443/a": "http://films.example:443/a",
    "http://films.example:/a": "http://films.example/a",
    "http://films.example:08080/a": "http://films.example:8080/a",
    "https://films.example?a=b": "https://films.example/?a=b",
    "https://films.example#a": "https://films.example/#a",
    "https://films.example/?": "https://films.example/?",
    "https://films.example/#": "https://films.example/#",
    "https://films.example/A/../B/./c": "https://films.example/B/c",
    "https://films.example/a/%2E%2e/b/%2e": "https://films.example/b/",
    "https://films.example/a/..": "https://films.example/",
    "https://films.example/../../a": "https://films.example/a",
    "https://films.example//a//../b": "https://films.example//a/b",
    "https://films.example/..a/...": "https://films.example/..a/...",
    "https://films.example/a?b=../c#../d": "https://films.example/a?b=../c#../d",
    "https://films.example/%38%30%E9%zz": "https://films.example/%38%30%E9%zz",
    "https://films.example/\u0444\u0438\u043b\u044c\u043c.mp4?\u0444#\u0444": (
        "https://films.example/%D1%84%D0%B8%D0%BB%D1%8C%D0%BC.mp4?%D1%84#%D1%84"
    ),
    "https://films.example/'\"<>`{|}?'\"<>`{|}#'\"<>`{|}": (
        "https://films.example/'%22%3C%3E%60%7B|%7D?%27%22%3C%3E`{|}#'%22%3C%3E%60{|}"
    ),
    "https://films.example./a": "https://films.example./a",
    "http://127.0.0.1:8000/a": "http://127.0.0.1:8000/a",
    "http://[2001:DB8:0:0:1:0:0:1]:80/a": "http://[2001:db8::1:0:0:1]/a",
    "http://[::FFFF:1.2.3.4]/": "http://[::ffff:102:304]/",
    "http://[1:0:2:0:3:0:4:0]/": "http://[1:0:2:0:3:0:4:0]/",
    "http://[0:0:0:0:0:0:0:0]/": "http://[::]/",
    "https://XN--BCHER-KVA.example/": "https://xn--bcher-kva.example/",
}
"""URLs, and their one form."""

letters = st.sampled_from(
    [*"aZ09.-_~/:?#@!$&'()*+,;=%[]{}|<>\"`", "%2e", "/../", "/./", "\xe9", "\u0444", "\U0001f600", ""]
)
hosts = st.sampled_from(
    [
        "films.example",
        "FILMS.Example",
        "a..b",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "1.2.3",
        "[::1]",
        "[1:0:0:2::]",
        "xn--a",
        "a_b",
        "a.",
    ]
)
urls = st.builds(
    lambda scheme, host, port, rest: f"{scheme}://{host}{port}{rest}",
    st.sampled_from(["http", "HTTPS", "hTTp"]),
    hosts | st.text(st.sampled_from("aZ09.-_xn"), max_size=8),
    st.sampled_from(["", ":", ":80", ":443", ":0443", ":65536"]),
    st.lists(letters, max_size=12).map(lambda parts: "/" + "".join(parts)) | st.just(""),
)


class TitleUrlTests(SynchronousTestCase):
    def test_one_form(self) -> None:
        for written, form in TABLE.items():
            self.assertEqual(str(parse_title(written)), form)

    @given(urls)
    def test_the_form_of_a_form_is_the_same(self, written: str) -> None:
        try:
            form = str(parse_title(written))
        except ValueError:
            return
        self.assertEqual(str(parse_title(form)), form)

    def test_the_allow_list_returns_the_form_and_decides_on_it(self) -> None:
        titles = TitleAllowlist(["HTTPS://Films.example:443/Public/./"])
        self.assertEqual(titles.check("Https://FILMS.example/Public/a/../b"), "https://films.example/Public/b")
        for written in ("https://films.example/Public/../a", "https://films.example/public/a"):
            self.assertRaises(RequestError, titles.check, written)

    def test_the_limit_counts_the_form(self) -> None:
        titles = TitleAllowlist(["*"], 60)
        self.assertRaises(RequestError, titles.check, "https://films.example/" + "\u0444" * 20)


class BrowserTests(SynchronousTestCase):
    """The URL class of node is that of browsers."""

    def read(self, written: list[str]) -> list[str | None]:
        node = shutil.which("node")
        if node is None:
            raise SkipTest("there is no node")
        script = (
            "const read = (url) => { try { return new URL(url).href; } catch { return null; } };"
            "const urls = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
            "console.log(JSON.stringify(urls.map(read)));"
        )
        done = subprocess.run(
            [node, "-e", script], input=json.dumps(written), capture_output=True, text=True, timeout=60, check=True
        )
        result: list[str | None] = json.loads(done.stdout)
        return result

    def test_a_browser_reads_the_table_the_same(self) -> None:
        self.assertEqual(self.read(list(TABLE)), list(TABLE.values()))

    def test_a_browser_reads_any_accepted_url_the_same(self) -> None:
        written: list[str] = []
        forms: list[str] = []

        @given(urls)
        def collect(url: str) -> None:
            try:
                forms.append(str(parse_title(url)))
            except ValueError:
                return
            written.append(url)

        collect()
        self.assertTrue(written)
        for url, form, read in zip(written, forms, self.read(written), strict=True):
            self.assertEqual(read, form, url)
