"""Titles of files that members open themselves, and of the server's own films."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd.errors import RequestError
from tandemd.rules.local_titles import CLIP_URL, FILE_URL, MAX_NAME_CHARS, VIDEOS_URL, is_video_name, video_title
from tandemd.rules.title_allowlist import TitleAllowlist, same_title

FILE = FILE_URL + "/Film%20(1).mp4?duration=5400.04&size=1468006400"


class FileTests(SynchronousTestCase):
    """A file of which each member opens its own copy."""

    titles = TitleAllowlist([FILE_URL])

    def refused(self, url: str, titles: TitleAllowlist | None = None) -> str:
        error = self.assertRaises(RequestError, (titles or self.titles).check, url)
        self.assertEqual(error.code, "bad_url")
        return str(error)

    def test_one_form(self) -> None:
        for written in (
            FILE,
            FILE_URL + "/Film%20(1).mp4?size=1468006400&duration=5400.040",
            FILE_URL + "/%46ilm%20%281%29.mp4?duration=05400.0400&size=01468006400",
            "HTTPS://Tandemd.INVALID:443/x/../file/Film%20(1).mp4?duration=5400.04&size=1468006400",
        ):
            self.assertEqual(self.titles.check(written), FILE)
            self.assertTrue(same_title(written, FILE))
        self.assertEqual(
            self.titles.check(FILE_URL + "/u%CC%88.mp4?duration=0&size=0"), FILE_URL + "/%C3%BC.mp4?duration=0&size=0"
        )

    def test_the_form_is_that_of_encode_uri_component(self) -> None:
        name = "A-Z_.!~*'() #?&%=+,;:@$\u0444\U0001f600.mp4"
        written = f"{FILE_URL}/{quote(name, safe='')}?duration=1&size=1"
        form = "A-Z_.!~*'()%20%23%3F%26%25%3D%2B%2C%3B%3A%40%24%D1%84%F0%9F%98%80.mp4"
        self.assertEqual(self.titles.check(written), f"{FILE_URL}/{form}?duration=1&size=1")

    def test_another_copy_is_another_title(self) -> None:
        for other in (
            FILE.replace("5400.04", "5400.05"),
            FILE.replace("size=1", "size=2"),
            FILE.replace("Film", "film"),
            FILE.replace(FILE_URL, VIDEOS_URL).partition("?")[0],
        ):
            self.assertFalse(same_title(FILE, other), other)

    def test_names_that_could_deceive_or_lead_elsewhere(self) -> None:
        for name in (
            "",
            "..",
            "%2e%2e",
            "a/b",
            "a%2Fb",
            "a%5Cb",
            "a%00b",
            "a%0Ab",
            "a%E2%80%AE4pm.exe",
            "a%E2%80%8Bb",
            "a%E2%80%A8b",
            "%FF.mp4",
            "%ED%A0%80",
            "x" * (MAX_NAME_CHARS + 1),
        ):
            self.assertTrue(self.refused(f"{FILE_URL}/{name}?duration=1&size=1").endswith("."), name)
        self.titles.check(f"{FILE_URL}/{'x' * MAX_NAME_CHARS}?duration=1&size=1")

    def test_duration_and_size_are_needed(self) -> None:
        for query in (
            "",
            "?duration=1",
            "?size=1",
            "?duration=1&size=1&x=1",
            "?duration=1&size=1&size=1",
            "?duration=-1&size=1",
            "?duration=1e9&size=1",
            "?duration=nan&size=1",
            "?duration=1&size=1.5",
            "?duration=1&size=1#x",
            "?duration=%31&size=1",
            "?duration=1&size=" + "9" * 16,
        ):
            self.assertIn("duration=SECONDS&size=BYTES", self.refused(f"{FILE_URL}/a.mp4{query}") + FILE_URL, query)
        self.assertIn("write https://tandemd.invalid/file/NAME", self.refused(FILE_URL + "/a.mp4?size=1"))

    def test_a_file_has_to_be_allowed(self) -> None:
        for allowed in (["*"], ["https://*"], [FILE_URL], ["https://tandemd.invalid"]):
            TitleAllowlist(allowed).check(FILE)
        for allowed in (["http://*"], [CLIP_URL], ["https://films.example"]):
            self.assertIn("titles.allowed", self.refused(FILE, TitleAllowlist(allowed)))

    def test_the_host_has_no_other_titles(self) -> None:
        for path in ("", "/", "/clip/x", "/clip?x=1", "/clips", "/file", "/file/", "/videos", "/videos/", "/other"):
            self.refused("https://tandemd.invalid" + path, TitleAllowlist(["*"], videos=True))
        TitleAllowlist(["*"]).check(CLIP_URL)


class VideoTests(SynchronousTestCase):
    """A film of the server."""

    titles = TitleAllowlist(["https://films.example"], videos=True)

    def test_one_form(self) -> None:
        form = VIDEOS_URL + "/A%20B/%C3%BC(1).mp4"
        self.assertEqual(self.titles.check(VIDEOS_URL + "/%41%20B/\xfc%281%29.mp4"), form)
        self.assertEqual(video_title(["A B", "\xfc(1).mp4"]), form)
        self.assertTrue(same_title(VIDEOS_URL + "/%41%20B/\xfc%281%29.mp4", form))

    def test_they_need_the_directory_and_no_entry(self) -> None:
        for allowed in (["*"], ["https://*"], [VIDEOS_URL], ["https://tandemd.invalid"]):
            error = self.assertRaises(RequestError, TitleAllowlist(allowed).check, VIDEOS_URL + "/a.mp4")
            self.assertIn("web.videos_dir", str(error))

    def test_ways_out(self) -> None:
        for path in (
            ".hidden.mp4",
            "a/.b/c.mp4",
            "a%2Fb.mp4",
            "a//b.mp4",
            "/etc/passwd",
            "a%00.mp4",
            "%FF.mp4",
            "a/",
            "a.mp4?x",
        ):
            self.assertFalse(self.titles.allows(f"{VIDEOS_URL}/{path}"), path)
        for path in ("../x", "%2e%2e/x", "a/../../x", ".%2E/x"):
            self.assertRaises(RequestError, self.titles.check, f"{VIDEOS_URL}/{path}")

    @given(st.lists(st.text(), min_size=1, max_size=4))
    def test_a_path_of_names_is_a_title(self, path: list[str]) -> None:
        if all(map(is_video_name, path)):
            title = video_title(path)
            if len(title) <= 2048:
                self.assertEqual(self.titles.check(title), title)


class SchemeTests(SynchronousTestCase):
    """`https://*`: any https URL, and no http."""

    def test_any_https_url(self) -> None:
        titles = TitleAllowlist(["https://*", "http://films.example"])
        for url in (
            "https://a.example/x",
            "https://10.0.0.1:8443/",
            "HTTPS://[::1]/",
            "http://films.example/x",
            CLIP_URL,
        ):
            titles.check(url)
        for url in ("http://a.example/x", "ftp://a.example/", "https://user@a.example/", "https://*/"):
            self.assertRaises(RequestError, titles.check, url)

    def test_for_clients(self) -> None:
        for allowed, entries in (
            (["*", "https://a.example"], ("*",)),
            (["https://*", "http://*"], ("*",)),
            (["https://*", "https://a.example", "HTTP://B.example:80/x/"], ("https://*", "http://b.example/x")),
            (["https://a.example"], ("https://a.example",)),
        ):
            self.assertEqual(TitleAllowlist(allowed).entries, entries)
        self.assertEqual(TitleAllowlist(["*"], videos=True).entries, ("*", VIDEOS_URL))
