"""Files are read again when they change. Each version has a size of its own: a test is faster than mtime."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.util.file_watcher import POLL_SECONDS, FileWatcher, InvalidFileError, files_in

from ..support.log_events import observe_log


def nothing() -> None:
    """Does nothing at most readings."""


class FileWatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = pathlib.Path(self.mktemp())
        self.home.mkdir()
        self.file = self.home / "a.txt"
        self.file.write_text("one")
        self.clock = Clock()
        self.reads = 0
        self.changes: list[str] = []
        self.meanwhile: Callable[[], object] = nothing
        self.events: list[dict[str, Any]] = []
        observe_log(self, self.events.append)

    def read(self) -> str:
        self.reads += 1
        try:
            found = "".join(pathlib.Path(file).read_text() for file in files_in(str(self.home), [".txt"]))
            self.meanwhile()
        except OSError as error:
            raise InvalidFileError(str(error.strerror)) from None
        if "bad" in found:
            raise InvalidFileError(f"{found} is wrong")
        return found

    def watch(self, *paths: pathlib.Path) -> FileWatcher[str]:
        names = [str(path) for path in paths or (self.home,)]
        made = FileWatcher(names, [".txt"], self.read, self.changes.append, "not read: {reason}", self.clock)
        made.startService()
        self.addCleanup(made.stopService)
        self.reads = 0
        return made

    def look(self, times: int = 1) -> None:
        self.clock.pump([POLL_SECONDS] * times)

    def said(self) -> list[str]:
        return [event["reason"] for event in self.events if "reason" in event]

    def test_what_was_there_at_first(self) -> None:
        self.assertEqual(self.watch().content, "one")
        self.look(3)
        self.assertEqual((self.reads, self.changes, self.said()), (0, [], []))

    def test_at_first_what_is_wrong_is_raised(self) -> None:
        self.file.write_text("bad")
        self.assertRaises(InvalidFileError, self.watch)
        self.assertEqual(self.said(), [])

    def test_a_change_is_read_once_when_it_has_settled(self) -> None:
        watch = self.watch()
        for part in ("three", "three four", "three four five"):
            self.file.write_text(part)
            self.look()
            self.assertEqual(self.reads, 0)
        self.look()
        self.assertEqual((watch.content, self.changes), ("three four five", ["three four five"]))
        self.look(3)
        self.assertEqual(self.reads, 1)

    def test_every_kind_of_change(self) -> None:
        self.watch()
        new = self.home / "b.txt"
        for kind, change in (
            ("another file", lambda: new.write_text("two")),
            ("a copy with the old time", lambda: (new.write_text("owt"), os.utime(new, (1, 1)))),
            ("permissions", lambda: new.chmod(0o600)),
            ("a file in its place", lambda: (self.home / "c").write_text("2") and (self.home / "c").rename(new)),
            ("one less", new.unlink),
        ):
            before = self.reads
            change()
            self.look(2)
            self.assertEqual(self.reads, before + 1, kind)
            self.look(2)
            self.assertEqual(self.reads, before + 1, kind)

    def test_files_of_other_names_mean_nothing(self) -> None:
        self.watch()
        (self.home / "README").write_text("x")
        (self.home / ".a.txt").write_text("x")
        self.look(3)
        self.assertEqual(self.reads, 0)

    def test_a_change_during_the_first_reading(self) -> None:
        self.meanwhile = lambda: self.file.write_text("later")
        watch = self.watch()
        self.meanwhile = nothing
        self.assertEqual(watch.content, "one")
        self.look(2)
        self.assertEqual(watch.content, "later")

    def change_during(self, watch: FileWatcher[str], reading: Callable[[], object]) -> None:
        self.file.write_text("seven")
        self.meanwhile = lambda: self.file.write_text("much later")
        reading()
        self.assertEqual(watch.content, "seven")
        self.meanwhile = nothing
        self.look(2)
        self.assertEqual(watch.content, "much later")

    def test_a_change_during_a_later_reading(self) -> None:
        self.change_during(self.watch(), lambda: self.look(2))

    def test_a_change_during_a_reload(self) -> None:
        watch = self.watch()
        self.change_during(watch, watch.reload)

    def test_what_is_wrong_is_said_once_for_each_state(self) -> None:
        watch = self.watch()
        self.file.write_text("bad one")
        self.look(5)
        self.assertEqual((watch.content, self.said()), ("one", ["bad one is wrong"]))
        self.file.write_text("bad number two")
        self.look(5)
        self.assertEqual(self.said(), ["bad one is wrong", "bad number two is wrong"])
        self.file.unlink()
        self.file.write_text("good")
        self.look(5)
        self.assertEqual((watch.content, self.changes, len(self.said())), ("good", ["good"], 2))

    def test_the_same_wrong_again_after_it_was_right_is_said_again(self) -> None:
        watch = self.watch(self.file)
        for times in (1, 2):
            self.file.rename(self.home / "away")
            self.meanwhile = self.file.read_text
            self.look(4)
            self.assertEqual(self.said(), ["No such file or directory"] * times)
            (self.home / "away").rename(self.file)
            self.look(4)
            self.assertEqual((watch.content, self.changes), ("one", ["one"] * times))

    def test_what_was_not_the_files_fault_is_tried_again(self) -> None:
        """With no descriptors left no file can be opened, and a renewed certificate changes only once in months."""

        def fail() -> None:
            raise OSError(24, "Too many open files")

        watch = self.watch()
        self.file.write_text("renewed")
        self.meanwhile = fail
        self.look(5)
        self.assertEqual((watch.content, self.said()), ("one", ["Too many open files"]))
        self.meanwhile = nothing
        self.look()
        self.assertEqual((watch.content, self.changes), ("renewed", ["renewed"]))

    def test_a_fault_of_ours_is_not_the_last_look(self) -> None:
        watch = self.watch()
        self.file.write_text("strange")
        self.meanwhile = lambda: {}["missing"]  # type: ignore[index]
        self.look(5)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.meanwhile = nothing
        self.look()
        self.assertEqual(watch.content, "strange")

    def test_reload_does_not_wait(self) -> None:
        watch = self.watch()
        self.file.write_text("now")
        watch.reload()
        self.assertEqual((watch.content, self.reads), ("now", 1))
        self.look(3)
        self.assertEqual(self.reads, 1)
        watch.reload()  # asked for, so it is read although it is the same
        self.assertEqual(self.changes, ["now", "now"])

    def test_reload_says_again_what_is_wrong(self) -> None:
        watch = self.watch()
        self.file.write_text("bad text")
        self.look(3)
        watch.reload()
        self.look(3)
        self.assertEqual(self.said(), ["bad text is wrong"] * 2)

    def test_reload_while_a_file_is_being_written(self) -> None:
        watch = self.watch()
        self.file.write_text("bad half")
        watch.reload()
        self.file.write_text("complete and good")
        self.look(3)
        self.assertEqual((watch.content, len(self.said())), ("complete and good", 1))

    def test_stopped(self) -> None:
        watch = self.watch()
        watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        watch.stopService()

    def test_a_directory_that_comes_later(self) -> None:
        directory = self.home / "later"
        self.watch(directory)
        directory.mkdir()
        (directory / "x.txt").write_text("x")
        self.look(2)
        self.assertEqual(self.reads, 1)

    def test_files_in(self) -> None:
        for name in ("b.txt", "c.pem", "d.json", ".e.txt", "f"):
            (self.home / name).touch()
        self.assertEqual(
            files_in(str(self.home), [".txt", ".pem"]), [str(self.home / n) for n in ("a.txt", "b.txt", "c.pem")]
        )
        self.assertEqual(files_in(str(self.home / "f"), [".txt"]), [str(self.home / "f")])
        self.assertEqual(files_in("no/such", [".txt"]), ["no/such"])
