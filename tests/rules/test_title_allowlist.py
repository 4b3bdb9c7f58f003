"""Allowed URLs, and URLs of the same title."""

from __future__ import annotations

from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tandemd.errors import RequestError
from tandemd.rules.title_allowlist import TitleAllowlist, same_title

NETFLIX = "https://www.netflix.com"


class TitlesTests(SynchronousTestCase):
    def allowed(self, titles: TitleAllowlist, url: str) -> bool:
        try:
            titles.check(url)
        except RequestError as error:
            self.assertEqual(error.code, "bad_url")
            return False
        return True

    def test_an_origin_allows_everything_below_it(self) -> None:
        titles = TitleAllowlist([NETFLIX])
        for path in ("", "/", "/watch/81?trackId=1", "/browse#x", "/watch/81?t=%20"):
            self.assertTrue(self.allowed(titles, NETFLIX + path), path)
        self.assertTrue(self.allowed(titles, "https://www.netflix.com:443/watch/1"))
        self.assertTrue(self.allowed(titles, "HTTPS://WWW.NETFLIX.COM/watch/1"))

    def test_and_nothing_else(self) -> None:
        """B22: the server relayed any URL: an open redirect, and a way to run scripts."""
        titles = TitleAllowlist([NETFLIX])
        for url in (
            "http://www.netflix.com/watch/1",
            "https://www.netflix.com:8443/watch/1",
            "https://www.netflix.com:0/watch/1",
            "https://www.netflix.com.evil.example/",
            "https://evil.example/https://www.netflix.com/",
            "https://www.netflix.com@evil.example/",
            "https://evil.example\\@www.netflix.com/",
            "https://evil.example#@www.netflix.com/",
            "https://user@www.netflix.com/",
            "https:www.netflix.com/",
            "//www.netflix.com/",
            "/watch/1",
            "javascript:alert(1)//https://www.netflix.com",
            "java\nscript:alert(1)",
            "data:text/html,x",
            "blob:https://www.netflix.com/x",
            "https://www.netflix.com/\x00",
            "https://www.netflix.com/a b",
            "https://www.netflix.com\t.evil.example/",
            "https://www.netflix.com/\u202e",
            "https://www.netflix.com:443@evil.example/",
            "https://www.netflix.com%40evil.example/",
            "https://www.netflix.com%2f@evil.example/",
            "https://www.netflix%2ecom/",
            "https://www.netflix.com./watch/1",
            "https://www.netflix.com;.evil.example/",
            "https:///www.netflix.com/",
            "https:/www.netflix.com/",
            "https:\\\\www.netflix.com/",
            "https:/\\www.netflix.com/",
            "\\\\www.netflix.com/",
            "JaVaScRiPt:alert(1)",
            "javascript://www.netflix.com/%0aalert(1)",
            "vbscript:x",
            "view-source:https://www.netflix.com/",
            "filesystem:https://www.netflix.com/",
            "wss://www.netflix.com/",
            "\x01https://www.netflix.com/",
            "https://www.netflix.com/\r\nSet-Cookie: x",
            "https://www.netflix.com/\x7f",
            "https://www.netflix.com/\u2028",
            "https://www.netflix.com/\ud800",
            "https://www.netflix.com/\xa0",
            "https://www.netflix.com\u3002evil.example/",
            "https://www\u3002netflix\u3002com/",
            "https://\uff57ww.netflix.com/",
            "https://www.netfl\u0456x.com/",
            "https://www.netflix.com:\uff14\uff14\uff13/",
            "https://www.netf\xadlix.com/",
            "https://[",
            "https://www.netflix.com:99999/",
            "https://",
            "",
            NETFLIX + "/" + "x" * 2048,
        ):
            self.assertFalse(self.allowed(titles, url), ascii(url)[:60])

    def test_a_url_with_a_path_allows_what_is_below_it(self) -> None:
        titles = TitleAllowlist(["https://films.example/public/"])
        self.assertTrue(self.allowed(titles, "https://films.example/public/a.mp4"))
        self.assertTrue(self.allowed(titles, "https://films.example/public"))
        for path in ("/", "/publicity", "/private/a.mp4", "/public/../private/a.mp4"):
            self.assertFalse(self.allowed(titles, "https://films.example" + path), path)

    def test_a_path_that_leads_out_when_it_is_decoded(self) -> None:
        titles = TitleAllowlist(["https://films.example/public/"])
        for path in ("/public/%2e%2e/private/a.mp4", "/public/.%2E/private", "/public/%2E./private"):
            self.assertFalse(self.allowed(titles, "https://films.example" + path), path)

    def test_a_star_allows_any_web_page_and_nothing_else(self) -> None:
        titles = TitleAllowlist(["*"])
        self.assertTrue(self.allowed(titles, "http://films.example/a.mp4"))
        for url in (
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://user@films.example/",
            "ftp://films.example/",
            "//films.example/",
            "https://films%00.example/",
            "https://films<script>.example/",
            "https://films.example\u3002evil/",
            "https://b\xfccher.example/",
        ):
            self.assertFalse(self.allowed(titles, url), ascii(url))
        for url in ("https://[2001:db8::1]:8443/a", "http://10.0.0.1/", "https://xn--bcher-kva.example/\xfc?q=\xe9"):
            self.assertTrue(self.allowed(titles, url), ascii(url))

    def test_clients_can_apply_the_entries(self) -> None:
        """By the rule of docs/protocol.md, as a page does after `new URL()`."""
        titles = TitleAllowlist(["HTTPS://Films.Example:443/a//", "http://b.example", "https://c.example/"])
        self.assertEqual(titles.entries, ("https://films.example/a", "http://b.example", "https://c.example"))
        for url in (
            "https://films.example/a", "https://films.example/a/b?c#d", "https://films.example/ab", "https://films.example/",
            "http://films.example/a", "http://b.example/", "https://b.example/", "https://c.example/x", "https://c.example:8/",
        ):  # fmt: skip
            parts = urlsplit(url)
            allowed = any(
                f"{parts.scheme}://{parts.netloc}{parts.path}" == entry
                or f"{parts.scheme}://{parts.netloc}{parts.path}".startswith(f"{entry}/")
                for entry in titles.entries
            )
            self.assertEqual(titles.allows(url), allowed, url)
        self.assertEqual(TitleAllowlist(["https://a.example", "*"]).entries, ("*",))

    def test_several_and_none(self) -> None:
        titles = TitleAllowlist([NETFLIX, "http://localhost:8000"])
        self.assertTrue(self.allowed(titles, "http://localhost:8000/a.mp4"))
        self.assertFalse(self.allowed(TitleAllowlist([]), NETFLIX))

    def test_an_entry_that_cannot_work_is_named(self) -> None:
        for entry in (
            "netflix.com",
            "ftp://films.example",
            "https://films.example/?x=1",
            "https://films.example/#x",
            "https://b\xfccher.example",
            "https://user@films.example",
            "",
        ):
            error = self.assertRaises(ValueError, TitleAllowlist, [entry])
            self.assertIn(repr(entry), str(error))


class SameTitleTests(SynchronousTestCase):
    def test_the_way_to_a_title_is_not_the_title(self) -> None:
        """X22: the extension keeps `trackId`."""
        for one, other in (
            ("/watch/1", "/watch/1"),
            ("/watch/1", "/watch/1?trackId=5"),
            ("/watch/1?trackId=4", "/watch/1?trackId=5"),
            ("/watch/1?trackId=4&t=9", "/watch/1?t=9"),
            ("/watch/1?t=9&trackId=4", "/watch/1?t=9"),
        ):
            self.assertTrue(same_title(NETFLIX + one, NETFLIX + other), (one, other))
            self.assertTrue(same_title(NETFLIX + other, NETFLIX + one), (one, other))

    def test_the_form_of_a_title_is_not_the_title(self) -> None:
        for one, other in (
            ("https://www.netflix.com/watch/1", "HTTPS://WWW.Netflix.com:443/x/../watch/1?trackId=5"),
            ("https://www.netflix.com", "https://www.netflix.com/"),
            ("https://films.example/\u0444", "https://films.example/%D1%84"),
            ("no url", "no url"),
        ):
            self.assertTrue(same_title(one, other), (one, other))
        self.assertFalse(same_title("https://films.example/A", "https://films.example/a"))

    def test_anything_else_is(self) -> None:
        for one, other in (
            ("/watch/1", "/watch/2"),
            ("/watch/1?trackId=4", "/watch/2?trackId=4"),
            ("/watch/1?t=1", "/watch/1?t=2"),
            ("/watch/1?mytrackId=1", "/watch/1?mytrackId=2"),
        ):
            self.assertFalse(same_title(NETFLIX + one, NETFLIX + other), (one, other))
        self.assertFalse(same_title(NETFLIX + "/watch/1?trackId=1", ""))
