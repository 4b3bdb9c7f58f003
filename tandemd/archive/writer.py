"""Writes commits of the memory store to the archive: later, in batches, not on the message path."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..interfaces import IArchive, PlayerStatus, Snapshot
from ..rules.state import MEMBER, Commit, Room
from ..util.services import Periodic
from ..util.text import one_line
from ..util.write_pacing import WritePacing

T = TypeVar("T")

Changed = dict[str, tuple[Room, frozenset[str]]]
"""Rooms by UUID, with the users whose record has changed."""

_encode = msgspec.json.Encoder().encode

DAY_SECONDS = 86400.0

FIRST_PURGE_SECONDS = 600.0
"""Seconds from the start to the first purge, so that a server with a daily restart purges, too."""

SHRINK_INTERVAL_SECONDS = 600.0
"""Seconds between two measurements of the events."""

QUIET_SECONDS = 1.0
"""Seconds that a room may wait if only commits without a row have changed it: positions and watching members. Clients send these
again after a restart. They are most of the commits in large rooms."""

QUEUE_COMMITS = 50_000
"""Commits with a row that may wait for a failing or slow archive. With so many, the store accepts no more."""
QUEUE_BYTES = 64 * 1024 * 1024
"""Bytes of waiting commits behind the first `UNWEIGHED_COMMITS`."""
UNWEIGHED_COMMITS = 5000

MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 15.0
"""Seconds from a failure to the next attempt, which double each time."""


class WriterSettings(Struct, frozen=True):
    """Settings with the names of configuration keys are those keys."""

    flush_interval: float
    """Seconds between two batches."""
    positions_interval: float
    """Seconds between two updates of members' positions."""
    retention_days: float
    """Days after which ended rooms and events are deleted; 0: never."""
    events_bytes: int
    """Approximate bytes of events, the newest, that stay; 0: all."""
    batch_commits: int = 5000
    """Commits of one transaction."""
    stop_seconds: float = 10.0
    """Seconds that stopping may take to write the rest."""
    queue_commits: int = QUEUE_COMMITS
    """Commits that may wait, see `ArchiveWriter.full`."""
    queue_bytes: int = QUEUE_BYTES
    """Bytes of these commits."""


class ArchiveWriter(Service):
    """Keeps commits until the archive has them. Methods are called on the reactor's thread."""

    name = "archive writer"
    log = Logger()

    def __init__(
        self,
        archive: IArchive,
        reactor: IReactorTime,
        presence: Callable[[], Sequence[PlayerStatus]] = lambda: (),
        observe: Callable[[int, bool], None] = lambda count, written: None,
        *,
        now: Callable[[], float] | None = None,
        settings: WriterSettings,
    ):
        """presence: returns the status of the members connected here.

        observe: called after each batch with the number of its commits, and whether the archive has them.
        now: returns server time, as in commits; by default the time of the reactor.
        """
        self._archive = archive
        self._reactor = reactor
        self._presence = presence
        self._observe = observe
        self._now = now or reactor.seconds
        self._settings = settings
        self._queue: list[tuple[Room, Commit]] = []
        self.full = False
        """Whether the store must reject commits, because the archive must get all acknowledged ones."""
        self._watched = min(settings.queue_commits, UNWEIGHED_COMMITS)
        self._weighed = 0
        self._deferred: dict[str, tuple[Room, frozenset[str]]] = {}
        self._pacing = WritePacing(reactor)
        self._quiet: dict[str, tuple[Room, float]] = {}
        self._loops: list[Periodic] = []
        self._purging: IDelayedCall | None = None
        self._flushing: Deferred[None] | None = None
        self._failure = ""
        self._wait = MIN_RETRY_SECONDS
        self._not_before = 0.0

    def committed(self, room: Room, commit: Commit) -> None:
        """Record a commit. Called for each commit, so it is short.

        room: the store's object after the commit. The writer reads it later; until then it may change, except after a commit
        that closes it.
        """
        if commit.event and not commit.unrecorded:
            queue = self._queue
            queue.append((room, commit))
            if len(queue) >= self._watched:
                self._weigh()
        else:
            # Oldest first, because an existing key keeps its place.
            self._quiet[room.room_uuid] = room, self._quiet.get(room.room_uuid, (room, commit.at))[1]

    def _weigh(self) -> None:
        """Measure the newest commit of a long queue, because the archive fails or is slow."""
        queue = self._queue
        if len(queue) > UNWEIGHED_COMMITS:
            # Only rows are written, so waiting commits need no messages.
            room, commit = queue[-1]
            queue[-1] = room, msgspec.structs.replace(commit, messages=())
            self._weighed += len(_encode((commit.details, commit.changes)))
        self._check_full()

    def _check_full(self) -> None:
        self.full = len(self._queue) >= self._settings.queue_commits or self._weighed >= self._settings.queue_bytes

    def __len__(self) -> int:
        """Return the number of commits whose row is not in the archive yet."""
        return len(self._queue)

    @property
    def lag(self) -> float:
        """The age in seconds of the oldest commit whose row is not in the archive yet, or 0.0."""
        return max(0.0, self._now() - self._queue[0][1].at) if self._queue else 0.0

    def ready(self) -> str:
        """Return '' if the archive accepts batches, else the reason, for operators."""
        return f"{self._failure}; {len(self._queue)} changes wait" if self._failure else ""

    def startService(self) -> None:
        """Start to write."""
        super().startService()
        self._repeat("writing the archive", self._settings.flush_interval, self._flush_when_due)
        self._repeat("archiving positions", self._settings.positions_interval, self._store_presence)
        if self._settings.events_bytes:
            self._repeat("deleting events beyond the bound", SHRINK_INTERVAL_SECONDS, self._delete_beyond)
        if self._settings.retention_days:
            self._purging = self._reactor.callLater(FIRST_PURGE_SECONDS, self._begin_to_purge)

    def _begin_to_purge(self) -> None:
        self._repeat("deleting old rows", DAY_SECONDS, self._delete_old, now=True)

    def _repeat(self, name: str, interval: float, function: Callable[[], object], *, now: bool = False) -> None:
        # The functions handle failures of the archive; other errors are faults of the program.
        loop = Periodic(self._reactor, interval, function, name)
        self._loops.append(loop)
        loop.start(now=now)

    # ---- commits

    def _flush_when_due(self) -> Deferred[None] | None:
        now, quiet_until = self._reactor.seconds(), self._now() - QUIET_SECONDS
        if now < self._not_before or not (self._queue or self._quiet_until(quiet_until, 1) or self._overdue(now)):
            return None
        return self._flush(quiet_until)

    def _quiet_until(self, at: float, most: int) -> dict[str, tuple[Room, float]]:
        """Return the rooms with only quiet commits, the first of them not after `at`."""
        waiting: dict[str, tuple[Room, float]] = {}
        for id, (room, since) in self._quiet.items():
            if since > at or len(waiting) == most:
                break
            waiting[id] = room, since
        return waiting

    def _flush(self, quiet_until: float) -> Deferred[None]:
        """Write the oldest commits and their rooms, one batch at a time. `_failure` has the result."""
        if self._flushing is None:
            self._flushing = flushing = Deferred.fromCoroutine(self._write(quiet_until))
            flushing.addBoth(self._flushed)
            return flushing
        return self._flushing

    def _flushed(self, result: T) -> T:
        self._flushing = None
        return result

    async def _write(self, quiet_until: float) -> None:
        batch = self._queue[: self._settings.batch_commits]
        quiet = self._quiet_until(quiet_until, self._settings.batch_commits - len(batch))
        for room, _ in batch:
            # The row of the room includes these commits then.
            if room.room_uuid in self._quiet:
                quiet[room.room_uuid] = self._quiet[room.room_uuid]
        for id in quiet:
            del self._quiet[id]
        found = changed(batch, [room for room, _ in quiet.values()])
        written, deferred = self._due(found, math.inf if quiet_until == math.inf else self._reactor.seconds())
        try:
            await self._archive.write(
                [(room.room_uuid, commit) for room, commit in batch],
                [Snapshot(room.copy(), users) for room, users in written.values()],
            )
        except Exception as error:
            self._quiet = quiet | self._quiet
            self._failed(error)
            self._observe(len(batch), False)
            return
        del self._queue[: len(batch)]
        if len(self._queue) < UNWEIGHED_COMMITS:
            self._weighed = 0
        self._check_full()
        self._deferred = deferred
        self._pacing.written((room.room_uuid, room.weight()) for room, _ in written.values() if not room.closed)
        self._failure = ""
        self._wait = MIN_RETRY_SECONDS
        self._observe(len(batch), True)

    def _overdue(self, now: float) -> bool:
        return any(self._due_at(room) <= now for room, _ in self._deferred.values())

    def _due_at(self, room: Room) -> float:
        """Return the earliest time of the next write of a room."""
        return 0.0 if room.closed else self._pacing.due_at(room.room_uuid)

    def _due(self, found: Changed, now: float) -> tuple[Changed, Changed]:
        """Return the rooms to write now, including deferred ones, and the rooms to defer."""
        waiting = dict(self._deferred)
        for id, (room, users) in found.items():
            waiting[id] = room, users | (waiting[id][1] if id in waiting else frozenset())
        due = {id: it for id, it in waiting.items() if self._due_at(it[0]) <= now}
        return due, {id: it for id, it in waiting.items() if id not in due}

    def _failed(self, error: Exception) -> None:
        text = "it does not answer" if isinstance(error, CancelledError) else one_line(error)
        self._failure = self._archive.ready() or f"the archive cannot be written: {text}"
        self._not_before = self._reactor.seconds() + self._wait
        self._wait = min(2 * self._wait, MAX_RETRY_SECONDS)

    # ---- periodic work

    async def _store_presence(self) -> None:
        try:
            records = self._presence()
            if records:
                await self._archive.presence(records)
        except Exception as error:  # newer ones follow soon
            self.log.warn(
                "archive: failed to write positions and heartbeats: {error}",
                event="positions_write_failed",
                error=one_line(error),
            )

    async def _delete_old(self) -> None:
        try:
            count = await self._archive.purge(self._now() - self._settings.retention_days * DAY_SECONDS)
        except Exception as error:
            self.log.warn(
                "archive: failed to delete old rows: {error}", event="archive_purge_failed", error=one_line(error)
            )
        else:
            self.log.info(
                "archive: deleted {count} rows older than {days} days",
                event="archive_purged",
                count=count,
                days=self._settings.retention_days,
            )

    async def _delete_beyond(self) -> None:
        try:
            count = await self._archive.shrink(self._settings.events_bytes)
        except Exception as error:
            self.log.warn(
                "archive: failed to delete old events: {error}",
                event="archive_shortening_failed",
                error=one_line(error),
            )
            return
        if count:
            self.log.warn(
                "archive: deleted {count} events early, because of archive.events_bytes",
                event="archive_shortened",
                count=count,
            )

    def stopService(self) -> Deferred[None]:
        """Write all commits, within the limit; log the number of lost ones."""
        super().stopService()
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
        if self._purging is not None and self._purging.active():
            self._purging.cancel()
        return Deferred.fromCoroutine(self._write_rest())

    async def _write_rest(self) -> None:
        deadline = self._reactor.seconds() + self._settings.stop_seconds
        while (self._queue or self._quiet or self._deferred) and (left := deadline - self._reactor.seconds()) > 0:
            await self._flush(math.inf).addTimeout(left, self._reactor)
            if self._failure:
                left = max(0.0, deadline - self._reactor.seconds())
                await deferLater(self._reactor, min(MIN_RETRY_SECONDS, left))
        if self._queue or self._quiet or self._deferred:
            self.log.error(
                "archive: {count} changes are lost: {reason}", event="changes_lost",
                count=len(self._queue) + len(self._quiet) + len(self._deferred),
                reason=self._failure or f"no time left after {self._settings.stop_seconds} s",
            )  # fmt: skip


def changed(batch: Sequence[tuple[Room, Commit]], others: Sequence[Room]) -> Changed:
    """Return the rooms of a batch, each once, with the users whose record the batch changed, and `others`.

    Commits without a row in `room_events` do not change users.
    """
    rooms: dict[str, Room] = {}
    users: dict[str, set[str]] = {room.room_uuid: set() for room in others}
    for room, commit in batch:
        users.setdefault(room.room_uuid, set())
        rooms[room.room_uuid] = room  # the last one, because a store may replace the object of a room
        if commit.changes:
            users[room.room_uuid].update(name[len(MEMBER) :] for name in commit.changes if name.startswith(MEMBER))
        if commit.closes:
            users[room.room_uuid].update(room.members)
    for room in others:
        if room.room_uuid not in rooms or rooms[room.room_uuid].version < room.version:
            rooms[room.room_uuid] = room
    return {id: (room, frozenset(users[id])) for id, room in rooms.items()}
