"""Entries on disk, and a disk that is full, read-only, broken, or cannot be opened."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile

from twisted.trial.unittest import TestCase

from tandemd.app.metrics import NodeMetrics
from tandemd.store.redis import spool
from tandemd.store.redis.spool import Entry, Quarantine, Spool

from ...support.disks import Quota, SmallDisk, no_descriptors
from ...support.log_events import observe_log


def entry(number: int, size: int = 0) -> Entry:
    return b"id", b"room", b"%d" % number + b"x" * size


class SpoolTest(TestCase):
    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="tandemd-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "journal.spool")
        self.unreadable = os.path.join(self.directory, "journal.unreadable")
        self.quota = Quota()
        self.logged: list[str] = []
        observe_log(self, self.note)
        self.begin()

    def note(self, event: dict[str, object]) -> None:
        if str(event.get("log_namespace")).startswith("tandemd"):
            self.logged.append(str(event["log_format"]))

    def begin(self) -> None:
        """Start, as a process does."""
        self.metrics = NodeMetrics("test", "a").store
        quarantine = Quarantine(self.unreadable, self.metrics, self.quota)
        self.spool = Spool(self.path, quarantine, self.metrics, self.quota)

    def back(self) -> list[int]:
        """Return the entries that come back, until none is left."""
        numbers = []
        for _ in range(100):
            self.spool.flush()
            found = self.spool.take_from_memory(3)
            if not found and self.spool.on_disk:
                found = self.spool.read(3, 10**6)
                self.spool.passed()
            if not found and not self.spool.on_disk:
                return [int(commit.rstrip(b"x")) for commit in numbers]
            numbers += [commit for _, _, commit in found]
        raise AssertionError("there is no end to it")

    def test_there_and_back(self) -> None:
        self.spool.append([entry(1), entry(2)])
        self.spool.append([entry(3)])
        self.assertEqual(self.metrics.spooled.value, os.path.getsize(self.path))
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertEqual(self.back(), [1, 2, 3])
        self.assertEqual((self.metrics.spooled.value, os.listdir(self.directory)), (0, []))
        self.assertEqual(self.logged, [])

    def test_a_write_that_breaks_off_at_each_byte(self) -> None:
        whole = len(spool.line_of(entry(1)) + spool.line_of(entry(2)))
        for truncates in (True, False):
            for room in range(whole):
                self.quota.truncates = truncates
                self.spool.append([entry(0)])
                self.quota.room = room
                self.spool.append([entry(1), entry(2)])
                self.spool.append([entry(3)])
                self.assertEqual(self.spool.in_memory, 3)
                self.quota.room = 1 << 30
                self.assertEqual(sorted(set(self.back())), [0, 1, 2, 3], (truncates, room))
                if truncates:
                    self.assertEqual(self.metrics.journal_unreadable.value, 0)

    def test_what_breaks_off_is_ended_by_the_next_process(self) -> None:
        self.spool.append([entry(1)])
        line = spool.line_of(entry(2))
        for length in range(1, len(line)):
            with open(self.path, "ab") as file:
                file.write(line[:length])
            self.begin()
            self.spool.append([entry(3)])
            self.assertIn(self.back(), ([1, 3], [3]))
            self.assertEqual(self.metrics.journal_unreadable.value, 1, length)
            self.assertIn("cannot be read", self.logged[-1])
            self.assertIn(line[:length], open(self.unreadable, "rb").read())  # noqa: SIM115

    def test_an_unreadable_line_is_kept_and_counted(self) -> None:
        self.spool.append([entry(1)])
        with open(self.path, "ab") as file:
            file.write(b"???\n\n" + b"YQ== YQ==\n" + b"torn")
        self.assertEqual(self.back(), [1])
        with open(self.unreadable, "rb") as file:
            self.assertEqual(file.read(), b"???\n\nYQ== YQ==\ntorn\n")
        self.assertEqual(self.metrics.journal_unreadable.value, 4)
        self.assertIn("they are kept in {path}", self.logged[-1])

    def test_what_cannot_be_put_aside_stays(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"???\n")
        self.begin()
        self.quota.room = 0
        self.assertRaises(OSError, self.spool.read, 10, 10**6)
        self.quota.room = 100
        self.assertEqual(self.back(), [])
        self.assertEqual(self.metrics.journal_unreadable.value, 1)

    def test_nothing_can_be_opened(self) -> None:
        with no_descriptors():
            self.spool.append([entry(1)])
            self.spool.append([entry(2)])
            self.spool.measure()
        self.assertEqual(self.spool.in_memory, 2)
        self.assertGreater(self.metrics.spooled.value, 0)
        self.spool.flush()
        with no_descriptors():
            self.assertRaises(OSError, self.spool.read, 10, 10**6)
        self.assertEqual(self.back(), [1, 2])

    def test_what_fails_is_logged_once_and_its_end_too(self) -> None:
        self.quota.error = OSError(errno.EIO, "Input/output error")
        for number in range(5):
            self.spool.append([entry(number)])
            self.spool.flush()
        self.assertEqual(len(self.logged), 1)
        self.quota.error = None
        self.spool.flush()
        self.assertEqual(self.logged[1:], ["{path} can be used again"])
        self.assertEqual(self.back(), [0, 1, 2, 3, 4])

    def test_memory_has_an_end_which_is_not_silent(self) -> None:
        self.patch(spool, "MAX_KEPT_ENTRIES", 10)
        self.quota.room = 0
        for number in range(15):
            self.spool.append([entry(number)])
        self.assertEqual(self.metrics.journal_lost.value, 5)
        self.assertIn("are lost", self.logged[-1])
        self.quota.room = 1 << 30
        self.assertEqual(self.back(), list(range(5, 15)))
        self.assertEqual(self.metrics.spooled.value, 0)

    def test_stopping_writes_what_is_in_memory(self) -> None:
        self.quota.room = 0
        self.spool.append([entry(1)])
        self.quota.room = 1000
        self.spool.close()
        self.begin()
        self.assertEqual(self.back(), [1])

    def test_stopping_says_what_is_lost(self) -> None:
        self.quota.room = 0
        self.spool.append([entry(1)])
        self.spool.close()
        self.assertIn("{count} changes for the archive are lost", self.logged[-1])
        self.assertEqual(self.metrics.journal_lost.value, 1)


class DiskTest(SpoolTest):
    """The same on a small disk, and the faults that only a disk can show."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = SmallDisk(self.directory, 64 * 1024)
        self.addCleanup(self.disk.remove)

    def test_full(self) -> None:
        self.disk.fill(left=8192)
        for number in range(30):
            self.spool.append([entry(number, 500)])
        self.assertGreater(self.spool.in_memory, 10)
        self.disk.empty()
        self.spool.append([entry(30)])
        self.assertEqual(sorted(self.back()), list(range(31)))
        self.assertEqual(self.metrics.journal_unreadable.value, 0)

    def test_read_only(self) -> None:
        self.spool.append([entry(1)])
        self.disk.set_read_only(True)
        self.spool.append([entry(2)])
        self.assertRaises(OSError, self.spool.read, 10, 10**6)
        self.disk.set_read_only(False)
        self.assertEqual(sorted(self.back()), [1, 2])

    def test_read_only_when_all_was_read(self) -> None:
        self.spool.append([entry(1)])
        self.assertEqual(len(self.spool.read(10, 10**6)), 1)
        self.disk.set_read_only(True)
        self.assertRaises(OSError, self.spool.passed)
        self.assertEqual(self.spool.read(10, 10**6), [], "once")
        self.disk.set_read_only(False)
        self.assertEqual(self.back(), [])
        self.assertEqual(os.listdir(self.directory), [])
