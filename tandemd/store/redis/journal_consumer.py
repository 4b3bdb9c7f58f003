"""The journal's way to the archive. All nodes consume the journal; one of them has an entry at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...interfaces import IArchive, Snapshot
from ...rules.state import MEMBER, Commit, Room, Version
from ...util.services import Tasks
from ...util.text import one_line
from ...util.write_pacing import WritePacing
from . import codec, scripts
from .connection import DisconnectedError, RedisConnection, RedisError
from .keys import JOURNAL, STORE, room_key
from .metrics import StoreMetrics
from .replies import answers
from .spool import Quarantine, line_of

GROUP = b"archive"
BATCH_ENTRIES = 1000
"""Entries in one transaction."""
ABANDONED_MILLISECONDS = 5_000
"""Milliseconds after which this node takes over unfinished entries of another node. Until then, only Redis has the entries of a
dead node. If the other node is only slow, the archive ignores the duplicates."""
IDLE_CONSUMER_MILLISECONDS = 3_600_000
"""Milliseconds after which an idle consumer without entries is deleted."""
RETRY_SECONDS = (0.2, 5.0)
"""Seconds until the next attempt after a failure: the first time, and at most."""


Read = Sequence[tuple[bytes, dict[bytes, bytes]]]
"""Ids and fields of entries."""


class Held(Struct):
    """A room with unwritten state: its commits, the members that they change, ids and bytes of their entries.

    ended: whether the room has ended.
    """

    room_id: str
    commits: list[Commit] = []
    users: set[str] = set()
    entries: list[tuple[bytes, int]] = []
    ended: bool = False

    def add(self, later: Held) -> None:
        """Append later commits of the room."""
        self.commits += later.commits
        self.users |= later.users
        self.entries += later.entries
        self.ended = self.ended or later.ended


class JournalConsumer(service.Service):
    """Reads entries of the journal, writes them to the archive, and deletes them afterwards.

    The state of a large room is not written with each batch. Until then, the room's entries stay in the journal and with
    the nodes that made them. If Redis loses the room, they lead from the archived state to the last one.

    The consumer has its own connection, because its blocking reads would delay commits. The consumer group delivers an entry to
    one consumer. If a node dies between archive and Redis, another consumer gets the entry, too, and the archive ignores
    the duplicate.
    """

    name = "journal"
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        options: dict[str, Any],
        consumer: str,
        archive: IArchive,
        metrics: StoreMetrics,
        quarantine: Quarantine,
        abandoned: int = ABANDONED_MILLISECONDS,
    ):
        """consumer: the name of the node. After a restart, the node finds its unfinished entries at once under the same name."""
        self._abandoned = abandoned
        self._forgotten = IDLE_CONSUMER_MILLISECONDS
        self._clock = clock
        self._consumer = consumer.encode()
        self._archive = archive
        self._metrics = metrics
        self._quarantine = quarantine
        self._tasks = Tasks(clock)
        self._link = RedisConnection("journal", clock, endpoint, options, self._up, lambda: None, patience=10.0)
        self._running = False
        self._stopping = False
        self._waits = False
        self._failure = ""
        self._claim_at = 0.0
        self._pacing = WritePacing(clock)
        self._held: dict[str, Held] = {}
        self._own: bytes | None = b"0"

    def startService(self) -> None:
        super().startService()
        self._stopping = False
        self._link.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._waits:
            await self._link.stop()
        await self._tasks.finish(3.0)
        await self._link.stop()

    def ready(self) -> str:
        """Return '' if commits reach the archive, else the reason, for operators."""
        return self._failure or self._link.failure

    def _up(self) -> None:
        if not self._running:
            self._running = True
            self._tasks.spawn("archiving", self._run())

    async def _run(self) -> None:
        wait = RETRY_SECONDS[0]
        self._own = b"0"
        missing = False
        loaded = False
        try:
            while not self._stopping and self._link.usable:
                try:
                    if not loaded:
                        await self._link.load_scripts()
                        loaded = True
                    if missing:
                        await self._make_group()
                        missing = False
                    entries = await self._next()
                    if entries or self._overdue():
                        await self._archive_all(entries)
                    wait = RETRY_SECONDS[0]
                    if self._failure:
                        self._log.info("the archive is written again", event="archive_available")
                        self._failure = ""
                except DisconnectedError:
                    return
                except Exception as error:
                    self._own = b"0"
                    if not missing and isinstance(error, RedisError) and "NOGROUP" in str(error):
                        missing = True
                        continue
                    loaded = loaded and "NOSCRIPT" not in str(error)
                    self._failed(error)
                    await deferLater(self._clock, wait)
                    wait = min(2 * wait, RETRY_SECONDS[1])
        except GeneratorExit:
            self._stopping = True  # no reference is left; another coroutine would keep the whole store in memory
            raise
        finally:
            self._running = False
            if self._link.usable and not self._stopping:
                self._up()

    def _failed(self, error: Exception) -> None:
        what = "the journal cannot be read" if isinstance(error, RedisError) else "the archive cannot be written"
        reason = f"{what}: {one_line(error)}"
        self._metrics.archive_failures.value += 1
        if not self._failure:
            self._log.error(
                "{reason}; nothing is lost, tandemd tries again", event="archive_unavailable", reason=reason
            )
        self._failure = reason

    async def _make_group(self) -> None:
        try:
            await self._link.call(b"XGROUP", b"CREATE", JOURNAL, GROUP, b"0", b"MKSTREAM")
        except RedisError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _next(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Return entries to archive: own failed ones, then abandoned ones of other nodes, then new ones."""
        if self._own is not None:
            own = await self._read(self._own)
            if own:
                self._own = own[-1][0]
                return own
            self._own = None  # the others that it owns are held
        now = self._clock.seconds()
        if now >= self._claim_at:
            self._claim_at = now + self._abandoned / 2000
            claimed = await self._link.call(
                b"XAUTOCLAIM",
                JOURNAL,
                GROUP,
                self._consumer,
                b"%d" % self._abandoned,
                b"0",
                b"COUNT",
                b"%d" % BATCH_ENTRIES,
            )
            found = _entries(claimed[1])
            if found:
                return found
            await self._forget_consumers()
        return await self._read(b">")

    async def _forget_consumers(self) -> None:
        """Delete consumers of nodes that have gone for good, such as pods with random names."""
        for flat in await self._link.call(b"XINFO", b"CONSUMERS", JOURNAL, GROUP):
            about = dict(zip(flat[::2], flat[1::2], strict=True))
            if about[b"pending"] == 0 and about[b"idle"] > self._forgotten:
                await self._link.call(b"XGROUP", b"DELCONSUMER", JOURNAL, GROUP, about[b"name"])

    async def _read(self, after: bytes) -> list[tuple[bytes, dict[bytes, bytes]]]:
        words = [b"XREADGROUP", b"GROUP", GROUP, self._consumer, b"COUNT", b"%d" % BATCH_ENTRIES]
        if after == b">":
            words += (b"BLOCK", b"%d" % self._patience())
        self._waits = after == b">"
        try:
            answer = await self._link.call(*words, b"STREAMS", JOURNAL, after)
        finally:
            self._waits = False
        return _entries(answer[0][1]) if answer else []

    def _overdue(self) -> bool:
        """Whether the state of a held room must be written now."""
        now = self._clock.seconds()
        return any(self._pacing.due_at(room_uuid) <= now for room_uuid in self._held)

    def _patience(self) -> int:
        """Return the milliseconds to wait for new entries: at least 1, because 0 has no limit."""
        if not self._held:
            return 1000
        soonest = min(map(self._pacing.due_at, self._held)) - self._clock.seconds()
        return min(max(int(soonest * 1000), 1), 1000)

    async def _archive_all(self, entries: Read) -> None:
        """Write entries, the rooms that they change, and due rooms that were held."""
        commits: list[tuple[str, Commit]] = []
        found: dict[str, Held] = {}
        done: list[tuple[bytes, int]] = []
        unreadable: list[bytes] = []
        for id_, fields in entries:
            entry = id_, sum(map(len, fields.values()))
            try:
                room_uuid, room_id = fields[b"r"].decode(), fields[b"k"].decode()
                commit = codec.decode_commit(fields[b"c"])
            except (KeyError, ValueError):
                unreadable.append(line_of([fields.get(name, b"") for name in (b"r", b"k", b"c")]))
                done.append(entry)
                continue
            commits.append((room_uuid, commit))
            room = found.get(room_uuid)
            if room is None:
                room = found[room_uuid] = Held(room_id)
            room.commits.append(commit)
            room.ended = room.ended or commit.closes
            room.users.update(name[2:] for name in commit.changes if name.startswith(MEMBER))
            room.entries.append(entry)
        self._quarantine.keep(unreadable, "the journal in Redis")
        due = self._due(found)
        rooms = await self._rooms(due)
        await self._archive.write(commits, [Snapshot(room, frozenset(due[room.room_uuid].users)) for room in rooms])
        if commits:
            self._metrics.archive_batch.observe(len(commits))
        self._pacing.written((room.room_uuid, room.weight()) for room in rooms if not room.closed)
        for room_uuid, room in due.items():
            self._held.pop(room_uuid, None)
            done += room.entries
        for room_uuid, room in found.items():
            if room_uuid in self._held:
                self._held[room_uuid].add(room)
            elif room_uuid not in due:
                self._held[room_uuid] = room
        for first in range(0, len(done), BATCH_ENTRIES):
            piece = done[first : first + BATCH_ENTRIES]
            ids, sizes = [id_ for id_, _ in piece], [b"%d" % size for _, size in piece]
            await self._link.run(
                scripts.JOURNAL_REMOVE,
                [JOURNAL, STORE],
                {
                    "group": GROUP,
                    "count": b"%d" % len(ids),
                },
                *ids,
                *sizes,
            )

    def _due(self, found: dict[str, Held]) -> dict[str, Held]:
        """Return the rooms whose state must be written now, with all unwritten commits. found: the rooms just read."""
        now = self._clock.seconds()
        due: dict[str, Held] = {}
        for room_uuid in {**self._held, **found}:
            new = found.get(room_uuid)
            if self._pacing.due_at(room_uuid) <= now or (new is not None and new.ended):
                # A copy, because a failed write must not change the held room.
                had = [room for room in (self._held.get(room_uuid), new) if room is not None]
                due[room_uuid] = whole = Held(had[0].room_id)
                for room in had:
                    whole.add(room)
        return due

    async def _rooms(self, due: dict[str, Held]) -> list[Room]:
        """Return each room from Redis; without it, from the archive and the entries."""
        asked = [self._link.call(b"HGETALL", room_key(held.room_id)) for held in due.values()]
        rooms = []
        for (room_uuid, held), flat in zip(due.items(), await answers(asked), strict=True):
            fields = codec.pairs(flat)
            room = codec.decode_room(held.room_id, fields) if codec.VERSION in fields else None
            if room is None or room.room_uuid != room_uuid or held.ended:
                archived = await self._archive.find(held.room_id)
                room = _told(room_uuid, held.room_id, archived, held.commits)
            rooms.append(room)
        return rooms


def _told(room_uuid: str, room_id: str, archived: Room | None, commits: Sequence[Commit]) -> Room:
    """Return a room that Redis does not have, by its entries in the journal."""
    commits = sorted(commits, key=_version)
    first = commits[0]
    room = (
        archived
        if archived is not None and archived.room_uuid == room_uuid
        else Room(room_uuid, room_id, first.at, first.epoch, 0)
    )
    for commit in commits:
        if _version(commit) > room.version:
            room.assign(commit.changes)
            room.epoch, room.seq, room.at, room.due = commit.epoch, commit.seq, commit.at, commit.due
            room.closed = room.closed or commit.closes
    return room


def _version(commit: Commit) -> Version:
    return commit.epoch, commit.seq


def _entries(answer: Sequence[Any]) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return [(id_, dict(zip(flat[::2], flat[1::2], strict=True))) for id_, flat in answer if flat]
