"""From commits to the archive: batches, failures, the end, and periodic work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tandemd.archive import writer as writer_module
from tandemd.archive.migrations import migrate
from tandemd.archive.sql_archive import SQLArchive
from tandemd.archive.sqlite import SQLite
from tandemd.archive.writer import (
    DAY_SECONDS,
    FIRST_PURGE_SECONDS,
    MAX_RETRY_SECONDS,
    SHRINK_INTERVAL_SECONDS,
    ArchiveWriter,
)
from tandemd.interfaces import IArchive, PlayerStatus, Snapshot, Unavailable
from tandemd.rules.state import Commit, Room
from tandemd.store.memory import MemoryStore
from tests.support.settings import bounds, writer_settings

from ..support.inline_database import InlineDatabase
from ..support.log_events import observe_log
from ..support.redis_nodes import Hand
from .test_sql_archive import NOW, make_room, member, step


@implementer(IArchive)
class Recorder:
    """An archive that keeps its input, and answers when and how it is told."""

    def __init__(self) -> None:
        self.batches: list[tuple[Sequence[tuple[str, Commit]], Sequence[Snapshot]]] = []
        self.presences: list[Sequence[PlayerStatus]] = []
        self.purges: list[float] = []
        self.shrunk: list[int] = []
        self.answers: list[Deferred[Any]] = []
        self.failure: Exception | None = None

    def _answer(self, value: Any = None) -> Deferred[Any]:
        if self.answers:
            return self.answers.pop(0)
        return fail(self.failure) if self.failure else succeed(value)

    def living(self) -> Deferred[Sequence[Room]]:
        raise NotImplementedError

    def restore(self, now: float) -> Deferred[Sequence[Room]]:
        return self._answer([])

    def find(self, code: str) -> Deferred[Room | None]:
        return self._answer()

    def write(self, commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot]) -> Deferred[None]:
        self.batches.append((commits, snapshots))
        return self._answer()

    def presence(self, records: Sequence[PlayerStatus]) -> Deferred[None]:
        self.presences.append(records)
        return self._answer()

    def shrink(self, most: int) -> Deferred[int]:
        self.shrunk.append(most)
        return self._answer(3)

    def purge(self, before: float) -> Deferred[int]:
        self.purges.append(before)
        return self._answer(3)

    def ready(self) -> str:
        return ""

    def seqs(self) -> list[list[int]]:
        return [[commit.seq for _, commit in commits] for commits, _ in self.batches]


class WriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.archive = Recorder()
        self.here: list[PlayerStatus] = []
        self.seen: list[tuple[int, bool]] = []
        self.room = make_room()
        self.lines: list[dict[str, Any]] = []
        observe_log(self, self.lines.append)

    def start(self, **options: Any) -> ArchiveWriter:
        writer = ArchiveWriter(
            self.archive,
            self.clock,
            lambda: self.here,
            lambda count, written: self.seen.append((count, written)),
            settings=writer_settings(**options),
        )
        self.writer = writer
        writer.startService()
        return writer

    def commit(self, **fields: Any) -> None:
        self.writer.committed(self.room, step(self.room, at=self.clock.seconds(), **fields))

    def errors(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("log_level") in (LogLevel.error, LogLevel.critical)]

    def test_interface(self) -> None:
        self.assertTrue(verifyObject(IArchive, self.archive))

    def test_nothing_to_write(self) -> None:
        self.start()
        self.clock.pump([0.1] * 10)
        self.assertEqual(self.archive.batches, [])

    def test_a_batch(self) -> None:
        self.start()
        for _ in range(3):
            self.commit()
        self.assertEqual((self.archive.batches, len(self.writer)), ([], 3))
        self.clock.advance(0.1)
        self.assertEqual((self.archive.seqs(), len(self.writer)), ([[1, 2, 3]], 0))
        self.commit()
        self.clock.advance(0.1)
        self.assertEqual(self.archive.seqs(), [[1, 2, 3], [4]])
        self.assertEqual(self.seen, [(3, True), (1, True)])

    def test_a_room_goes_once_and_as_it_is_then(self) -> None:
        self.start()
        self.commit(m_ann=member("ann"))
        self.commit(m_bob=member("bob"), m_ann=None)
        other = make_room("other")
        self.writer.committed(other, step(other))
        self.clock.advance(0.1)
        ((commits, snapshots),) = self.archive.batches
        self.assertEqual([room for room, _ in commits], [self.room.room_uuid, self.room.room_uuid, other.room_uuid])
        self.assertEqual(
            [(s.room.room_id, s.room.seq, sorted(s.users)) for s in snapshots],
            [("party", 2, ["ann", "bob"]), ("other", 1, [])],
        )
        step(self.room)
        self.assertEqual(snapshots[0].room.seq, 2)

    def test_what_has_no_row_waits_a_second(self) -> None:
        """Positions and watching states are most of all commits: a room is not written at once for them."""
        self.start()
        self.commit(event="", m_ann=member("ann"))
        self.clock.advance(0.6)
        self.commit(event="")
        other = make_room("other")
        self.writer.committed(other, step(other, "", at=self.clock.seconds()))
        self.assertEqual(self.archive.batches, [])
        self.clock.advance(0.4)
        ((commits, snapshots),) = self.archive.batches
        self.assertEqual(commits, [])
        self.assertEqual([(s.room.room_id, s.room.seq, s.users) for s in snapshots], [("party", 2, frozenset())])
        self.clock.pump([0.1] * 8)
        self.assertEqual([s.room.room_id for s in self.archive.batches[1][1]], ["other"])
        self.clock.pump([0.1] * 20)
        self.assertEqual(len(self.archive.batches), 2)

    def test_what_has_no_row_goes_with_what_has(self) -> None:
        self.start()
        self.commit(event="")
        self.commit()
        self.clock.advance(0.1)
        self.assertEqual(self.archive.seqs(), [[2]])
        self.clock.pump([0.1] * 20)
        self.assertEqual(len(self.archive.batches), 1)

    def test_what_has_no_row_is_kept_by_a_failure(self) -> None:
        self.start()
        self.archive.failure = RuntimeError("no")
        self.commit(event="")
        self.clock.advance(1.0)
        self.assertEqual(len(self.archive.batches), 1)
        self.archive.failure = None
        self.commit(event="")
        self.clock.advance(1.0)
        self.assertEqual([s.room.seq for s in self.archive.batches[1][1]], [2])

    def test_stopping_writes_what_has_no_row(self) -> None:
        self.start()
        self.commit(event="")
        self.successResultOf(self.writer.stopService())
        self.assertEqual([s.room.seq for s in self.archive.batches[0][1]], [1])

    def test_the_end_of_a_room_concerns_all_who_are_in_it(self) -> None:
        self.start()
        self.commit(m_ann=member("ann"), m_bob=member("bob"))
        self.clock.advance(0.1)
        self.commit(m_bob=None, closes=True)
        self.clock.advance(0.1)
        (snapshot,) = self.archive.batches[1][1]
        self.assertEqual((sorted(snapshot.users), snapshot.room.closed), (["ann", "bob"], True))

    def test_one_at_a_time(self) -> None:
        self.archive.answers.append(answer := Deferred())
        self.start()
        self.commit()
        self.clock.advance(0.1)
        self.commit()
        self.clock.pump([0.1] * 50)
        self.assertEqual(self.archive.seqs(), [[1]])
        self.assertAlmostEqual(self.writer.lag, 5.1, 3)
        answer.callback(None)
        self.clock.advance(0.1)
        self.assertEqual((self.archive.seqs(), self.writer.lag), ([[1], [2]], 0.0))

    def test_no_more_than_so_many_at_once(self) -> None:
        self.start(batch_commits=2)
        for _ in range(5):
            self.commit()
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.archive.seqs(), [[1, 2], [3, 4], [5]])

    def test_a_failure_keeps_everything(self) -> None:
        self.start()
        self.archive.failure = OSError("the disk\nis full")
        self.commit()
        self.clock.advance(0.1)
        self.assertIn("the disk is full; 1 changes wait", self.writer.ready())
        self.commit()
        self.clock.pump([0.1] * 4)
        self.assertEqual(self.archive.seqs(), [[1]])  # not at once
        self.clock.pump([0.1] * 2)
        self.assertEqual(self.archive.seqs(), [[1], [1, 2]])
        self.archive.failure = None
        self.clock.pump([0.1] * 12)
        self.assertEqual(self.archive.seqs()[-1], [1, 2])
        self.assertEqual((self.writer.ready(), len(self.writer)), ("", 0))
        self.assertEqual(self.seen, [(1, False), (2, False), (2, True)])

    def test_the_wait_grows_to_a_limit(self) -> None:
        self.start()
        self.archive.failure = OSError("away")
        self.commit()
        self.clock.pump([0.1] * 10 * 600)
        attempts = len(self.archive.batches)
        self.assertTrue(600 / MAX_RETRY_SECONDS <= attempts <= 600 / MAX_RETRY_SECONDS + 8, attempts)

    def test_stopping_writes_the_rest(self) -> None:
        self.start(batch_commits=2)
        for _ in range(5):
            self.commit()
        self.assertIsNone(self.successResultOf(self.writer.stopService()))
        self.assertEqual(self.archive.seqs(), [[1, 2], [3, 4], [5]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_waits_for_what_is_on_its_way(self) -> None:
        self.archive.answers.append(answer := Deferred())
        self.start()
        self.commit()
        self.clock.advance(0.1)
        self.commit()
        stopping = self.writer.stopService()
        self.assertNoResult(stopping)
        answer.callback(None)
        self.assertIsNone(self.successResultOf(stopping))
        self.assertEqual(self.archive.seqs(), [[1], [2]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_tries_again(self) -> None:
        self.start()
        self.archive.failure = OSError("restarting")
        self.commit()
        stopping = self.writer.stopService()
        self.clock.advance(0.5)
        self.assertNoResult(stopping)
        self.archive.failure = None
        self.clock.advance(0.5)
        self.assertIsNone(self.successResultOf(stopping))
        self.assertEqual(self.errors(), [])

    def test_stopping_has_a_limit(self) -> None:
        for answers in ([], [Deferred()]):  # it fails; it does not answer
            self.lines.clear()
            self.archive.answers = answers
            self.archive.failure = OSError("gone")
            self.start(stop_seconds=3.0)
            self.commit()
            self.commit()
            stopping = self.writer.stopService()
            self.clock.pump([0.1] * 29)
            self.assertNoResult(stopping)
            self.clock.pump([0.1] * 2)
            self.assertIsNone(self.successResultOf(stopping))
            (line,) = self.errors()
            self.assertEqual(line["count"], 2)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def large(self) -> None:
        for number in range(250):
            self.room.members[f"u{number}"] = member(f"u{number}")

    def test_the_state_of_a_large_room_is_written_seldom(self) -> None:
        writer = self.start()
        self.large()
        for _ in range(100):
            writer.committed(self.room, step(self.room))
            self.clock.advance(0.1)
        self.assertEqual(sum(map(len, self.archive.seqs())), 100)
        states = [snapshot for _, snapshots in self.archive.batches for snapshot in snapshots]
        self.assertTrue(4 <= len(states) <= 8, len(states))
        self.clock.advance(5)
        states = [snapshot for _, snapshots in self.archive.batches for snapshot in snapshots]
        self.assertEqual(states[-1].room.seq, self.room.seq)

    def test_what_was_put_off_is_told_of_users(self) -> None:
        writer = self.start()
        self.large()
        for number in range(4):
            writer.committed(self.room, step(self.room, **cast(Any, {f"m_u{number}": member(f"u{number}")})))
            self.clock.advance(0.1)
        self.assertEqual([len(snapshots) for _, snapshots in self.archive.batches], [1, 0, 0, 0])
        self.clock.pump([0.1] * 30)
        self.assertEqual(self.archive.batches[-1][1][0].users, {"u1", "u2", "u3"})

    def test_stopping_writes_what_was_put_off(self) -> None:
        writer = self.start()
        self.large()
        for _ in range(2):
            writer.committed(self.room, step(self.room))
            self.clock.advance(0.1)
        self.successResultOf(writer.stopService())
        self.assertEqual(self.archive.batches[-1][1][0].room.seq, self.room.seq)

    def test_the_end_of_a_large_room_does_not_wait(self) -> None:
        writer = self.start()
        self.large()
        writer.committed(self.room, step(self.room))
        self.clock.advance(0.1)
        writer.committed(self.room, step(self.room, closes=True))
        self.clock.advance(0.1)
        self.assertTrue(self.archive.batches[-1][1][0].room.closed)

    def test_a_failure_keeps_what_was_put_off(self) -> None:
        writer = self.start()
        self.large()
        for _ in range(2):
            writer.committed(self.room, step(self.room))
            self.clock.advance(0.1)
        self.archive.failure = RuntimeError("away")
        self.clock.pump([0.1] * 30)
        self.archive.failure = None
        self.clock.pump([0.1] * 200)
        self.assertEqual(self.archive.batches[-1][1][0].room.seq, self.room.seq)

    def test_the_queue_has_a_bound(self) -> None:
        """Commits that the archive does not take are not acknowledged any more."""
        writer = self.start(queue_commits=20)
        store = MemoryStore(self.clock, 100, writer.committed, bounds(), full=lambda: writer.full)
        hand = Hand(store, "room")
        self.archive.failure = RuntimeError("away")
        results: list[None] = []
        for _ in range(30):
            said: Any = hand.say("x")
            said.addCallback(results.append)
        self.assertEqual(results[:20], [None] * 20)
        self.assertEqual(set(results[20:]), {Unavailable(5.0)})
        self.assertEqual((len(writer), writer.full), (20, True))
        self.clock.pump([0.1] * 10)
        self.archive.failure = None
        self.clock.pump([0.1] * 300)
        self.assertFalse(writer.full)
        self.assertIsNone(self.successResultOf(hand.say("x")))

    def test_the_queue_has_a_bound_in_bytes(self) -> None:
        self.patch(writer_module, "UNWEIGHED_COMMITS", 10)
        writer = self.start(queue_bytes=10_000)
        self.archive.failure = RuntimeError("away")
        for _ in range(10 + 9):
            writer.committed(self.room, step(self.room, details={"url": "x" * 1000}))
        self.assertFalse(writer.full)
        writer.committed(self.room, step(self.room, details={"url": "x" * 1000}))
        self.assertTrue(writer.full)
        self.archive.failure = None
        self.clock.pump([0.1] * 300)
        self.assertFalse(writer.full)

    def test_presence(self) -> None:
        self.start()
        self.clock.advance(15)
        self.assertEqual(self.archive.presences, [])
        self.here.append(PlayerStatus(self.room.room_uuid, "ann", 1.0, True, "good", NOW))
        self.clock.advance(14.9)
        self.assertEqual(self.archive.presences, [])
        self.clock.advance(0.1)
        self.assertEqual(self.archive.presences, [self.here])
        self.archive.failure = OSError("away")
        self.clock.advance(15)
        self.archive.failure = None
        self.clock.advance(15)
        self.assertEqual(len(self.archive.presences), 3)
        self.assertEqual(self.writer.ready(), "")

    def test_presence_that_cannot_be_told(self) -> None:
        def broken() -> Sequence[PlayerStatus]:
            self.seen.append((0, False))
            raise KeyError("ann")

        ArchiveWriter(self.archive, self.clock, broken, settings=writer_settings()).startService()
        self.clock.pump([15] * 3)
        self.assertEqual(len(self.seen), 3)

    def test_purge(self) -> None:
        self.start(retention_days=30)
        self.clock.advance(FIRST_PURGE_SECONDS - 1)
        self.assertEqual(self.archive.purges, [])
        self.clock.advance(1)
        self.assertEqual(self.archive.purges, [NOW + FIRST_PURGE_SECONDS - 30 * DAY_SECONDS])
        self.archive.failure = OSError("away")
        self.clock.advance(DAY_SECONDS)
        self.archive.failure = None
        self.clock.advance(DAY_SECONDS)
        self.assertEqual(
            self.archive.purges[1:], [NOW + FIRST_PURGE_SECONDS + n * DAY_SECONDS - 30 * DAY_SECONDS for n in (1, 2)]
        )
        self.successResultOf(self.writer.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_size(self) -> None:
        self.start(events_bytes=1000)
        self.clock.pump([SHRINK_INTERVAL_SECONDS] * 2)
        self.archive.failure = OSError("away")
        self.clock.advance(SHRINK_INTERVAL_SECONDS)
        self.archive.failure = None
        self.clock.advance(SHRINK_INTERVAL_SECONDS)
        self.assertEqual(self.archive.shrunk, [1000] * 4)
        self.assertEqual(sum("deleted {count} events early" in str(line.get("log_format")) for line in self.lines), 3)

    def test_stopping_before_the_first_purge(self) -> None:
        self.start(retention_days=30)
        self.successResultOf(self.writer.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_keeping_for_ever(self) -> None:
        self.start(retention_days=0)
        self.clock.pump([DAY_SECONDS] * 3)
        self.assertEqual(self.archive.purges, [])

    def test_taking_note_costs_nothing(self) -> None:
        self.start()
        commit = step(self.room)

        def took(function: Callable[[], object]) -> float:
            """Return the least of several times, in CPU seconds: the rest is other work of the machine."""
            times = []
            for _ in range(7):
                began = time.process_time()
                for _ in range(20_000):
                    function()
                times.append(time.process_time() - began)
            return min(times)

        kept: dict[str, object] = {}
        taking = took(lambda: self.writer.committed(self.room, commit))
        # As much as a few calls of a function that keeps something, and no more.
        self.assertLess(taking, 30 * took(lambda: kept.update(room=commit)))

    def test_with_a_real_archive(self) -> None:
        path = os.path.abspath(self.mktemp())
        dialect = SQLite(path)
        migrate(dialect)
        database = InlineDatabase(dialect, self.clock)
        database.startService()
        self.addCleanup(database.stopService)
        self.archive = SQLArchive(database)  # type: ignore[assignment]
        self.start()
        self.commit(m_ann=member("ann", "Ann"), host="ann")
        self.clock.advance(0.1)
        for _ in range(3):
            self.commit()
        room = self.successResultOf(self.archive.find("party"))
        self.assertEqual((room.seq, room.host, list(room.members)), (1, "ann", ["ann"]))
        self.successResultOf(self.writer.stopService())
        room = self.successResultOf(self.archive.find("party"))
        self.assertEqual(room.seq, 4)
