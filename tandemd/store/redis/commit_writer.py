"""Commits to Redis, one script per batch, and the resolution of batches whose answer was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...interfaces import CommitResult, Conflict, TooLarge, Unavailable
from ...ratelimit.size_limits import ENDED_LOG, Bounds
from ...rules.state import MEMBER, Commit, Room
from . import codec, scripts
from .connection import DisconnectedError, RedisError
from .errors import full, is_server_unusable
from .gateway import COMMAND_TIMEOUT_SECONDS, RedisGateway
from .journal import Journal
from .keys import DUE, INVITES, JOURNAL, STORE, ended_key, log_key, mail_key, places_key, room_key
from .memory_pressure import SHORT_LOG_BYTES, SHORT_LOG_COMMITS
from .metrics import StoreMetrics
from .replies import answers

CONFLICTS_BEFORE_TURN = 5
"""Consecutive conflicts in a room after which a node reserves the room."""
TURN_RETRY_SECONDS = 0.05
"""Seconds until the retry of a commit to a room that another node has reserved."""
MAX_CONFLICT_ROOMS = 10_000
"""Rooms whose conflicts are counted."""


class CommitWriter:
    """Appends commits to rooms. name: "node/boot/" of this node. log_length, bounds: limits of a room."""

    _log = Logger()

    def __init__(
        self,
        gateway: RedisGateway,
        journal: Journal,
        metrics: StoreMetrics,
        name: str,
        log_length: int,
        bounds: Bounds,
    ):
        self._gateway = gateway
        self._journal = journal
        self._clock = gateway.clock
        self._tasks = gateway.tasks
        self._metrics = metrics
        self._places = places_key(name)
        self._log_length = b"%d" % log_length
        self._bounds = bounds
        self._log_bytes = b"%d" % bounds.log_bytes
        self._pressure = gateway.pressure
        self._conflicts: dict[str, int] = {}

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        """See `IRoomStore.commit`."""
        if self._pressure.high and commits[0].seq == 1:
            done(Unavailable(COMMAND_TIMEOUT_SECONDS))  # the rest of Redis' memory is for existing rooms
            return
        encoded = list(map(codec.encode_whole_commit, commits))
        for number, data in enumerate(encoded):
            if len(data) > self._bounds.commit_bytes and not commits[number].closes:
                done(TooLarge(number, len(data), self._bounds.commit_bytes))
                return
        self._metrics.batch.observe(len(commits))
        _CommitAttempt(self, room, commits, encoded, done).send()

    # -- called by attempts

    def new_batch_id(self) -> str:
        return self._gateway.random.randbytes(8).hex()

    def submit(self, attempt: _CommitAttempt) -> None:
        gateway = self._gateway
        if not gateway.usable:
            self._metrics.retries.value += 1
            gateway.wait(attempt.send, attempt.given_up)
            return
        attempt.sent_at = self._clock.seconds()
        attempt.not_after = gateway.time.reference() + COMMAND_TIMEOUT_SECONDS
        attempt.incarnation = gateway.incarnation or b""
        self._run(attempt).addCallbacks(
            self._answered, self._outcome_unknown, (attempt,), {}, (attempt,), {}
        ).addErrback(self._failed, attempt)

    def _failed(self, failure: Failure, attempt: _CommitAttempt) -> None:
        self._log.failure(
            "redis: failed to handle the result of a commit in {room}",
            failure,
            event="commit_result_failed",
            room=attempt.room.room_id,
        )

    def _run(self, attempt: _CommitAttempt) -> Deferred[Any]:
        """Run `lua/commit.lua` for a batch."""
        room, commits = attempt.room, attempt.commits
        first, last, room_id = commits[0], commits[-1], room.room_id
        creates = first.seq == 1
        changes: dict[str, Any] = room.fields() if creates else {}
        prev = room.prev
        attempt.entries = entries = []
        log: list[bytes] = []
        for commit, whole in zip(commits, attempt.encoded, strict=True):
            changes.update(commit.changes)
            if commit.messages:
                prev = commit.seq
            entry = codec.encode_commit(commit, messages=False) if commit.has_row else b""
            log += (b"%d-%d" % (commit.epoch, commit.seq), whole, entry)
            if entry:
                entries.append(entry)
        settings = changes.get("settings", room.settings)
        over = last.closes or changes.get("empty_since", room.empty_since)
        set_, delete, mailboxes = _fields(room_id, changes)
        set_ += (codec.HEAD.encode(), codec.encode_head_of(room.created_at, prev, last.at, last.due))
        log_bytes = self._log_bytes
        if over or self._pressure.high:
            log_bytes = b"%d" % min(self._bounds.log_bytes, ENDED_LOG if over else SHORT_LOG_BYTES)
        channel = room_key(room_id)
        keys = [channel, log_key(room_id), JOURNAL, DUE, INVITES, STORE, ended_key(room_id), self._places, *mailboxes]
        # The caller's copy may have moved on since; the commits follow on the version before them.
        return self._gateway.link.run(
            scripts.COMMIT,
            keys,
            {
                "expected_version": b""
                if creates
                else codec.version_text(room.room_uuid, (first.epoch, first.seq - 1)),
                "new_version": codec.version_text(room.room_uuid, (last.epoch, last.seq)),
                "incarnation": attempt.incarnation,
                "not_after": b"%f" % attempt.not_after,
                "channel": channel,
                "publication": codec.publication(attempt.batch, attempt.encoded),
                "batch": attempt.batch.encode(),
                "room_id": room_id.encode(),
                "room_uuid": room.room_uuid.encode(),
                "invite": settings.invite.encode() if creates or last.closes else b"",
                "due_at": b"%f" % last.due if last.due else b"",
                "ends": b"1" if last.closes else b"",
                "frees_memory": b"1" if _frees(commits) else b"",
                "log_length": b"%d" % SHORT_LOG_COMMITS if self._pressure.high else self._log_length,
                "log_bytes": log_bytes,
                "max_journal_entries": self._journal.bounds[0],
                "max_journal_bytes": self._journal.bounds[1],
                "commit_count": b"%d" % len(commits),
                "field_count": b"%d" % (len(set_) // 2),
            },
            *log,
            *set_,
            *delete,
        )

    def _answered(self, answer: list[Any], attempt: _CommitAttempt) -> None:
        verdict = answer[0]
        if verdict == b"ok":
            self._journal.written(attempt.room, attempt.entries, answer[1], full=bool(answer[2]))
            self._conflicts.pop(attempt.room.room_id, None)
            attempt.done(None)
        elif verdict == b"turn":
            self._tasks.spawn("committing to a reserved room", self._send_later(attempt))
        elif verdict == b"conflict":
            version = None
            if answer[1]:
                room_uuid, found = codec.parse_version(answer[1])
                version = found if room_uuid == attempt.room.room_uuid else None
            first = attempt.commits[0]
            if version is not None and version >= (first.epoch, first.seq):
                self._count_conflict(attempt.room.room_id)
            attempt.done(Conflict(version))
        elif verdict == b"late":
            self._late(attempt, float(answer[1]))
        elif verdict == b"astray":
            self._gateway.incarnation_changed()
            attempt.done(Conflict(None))
        else:  # the room has another incarnation; the next load renews it
            attempt.done(Conflict(None))

    def _count_conflict(self, room_id: str) -> None:
        """Reserve the room after consecutive conflicts, because a node far from Redis would never be first in a busy room."""
        if len(self._conflicts) > MAX_CONFLICT_ROOMS:
            self._conflicts.clear()
        count = self._conflicts[room_id] = self._conflicts.get(room_id, 0) + 1
        if count >= CONFLICTS_BEFORE_TURN:
            # It is sent before the replay, so that the room stays at the version of that answer.
            self._gateway.link.run(
                scripts.TURN, [room_key(room_id), self._places], {"seconds": b"%f" % COMMAND_TIMEOUT_SECONDS}
            ).addErrback(lambda failure: None)

    async def _send_later(self, attempt: _CommitAttempt) -> None:
        await deferLater(self._clock, TURN_RETRY_SECONDS)
        attempt.send()

    def _late(self, attempt: _CommitAttempt, theirs: float) -> None:
        """Handle the rejection of a batch that came too late."""
        now = self._clock.seconds()
        if now - attempt.sent_at < COMMAND_TIMEOUT_SECONDS / 2 and not attempt.again:
            # The batch was not delayed, so Redis' clock has been set.
            self._gateway.time.sample(attempt.sent_at, now, theirs)
            attempt.again = True
            attempt.send()
        else:
            attempt.done(Unavailable(COMMAND_TIMEOUT_SECONDS))

    def _outcome_unknown(self, failure: Failure, attempt: _CommitAttempt) -> None:
        if failure.check(RedisError):
            # Redis has changed nothing, because it rejects a script at its first write.
            error = str(failure.value)
            self._gateway.mark_unavailable(error)
            if full(error):
                attempt.done(Unavailable(COMMAND_TIMEOUT_SECONDS))
            elif is_server_unusable(error) and not attempt.again:
                attempt.again = True
                attempt.send()
            else:
                if not is_server_unusable(error):
                    self._log.error(
                        "redis: commit in {room}: {error}",
                        event="commit_refused",
                        room=attempt.room.room_id,
                        error=error,
                    )
                attempt.done(Unavailable(COMMAND_TIMEOUT_SECONDS))
        elif failure.check(DisconnectedError):
            self._metrics.retries.value += 1
            self._tasks.spawn("resolving a commit", self._resolve(attempt))
        else:
            failure.raiseException()

    async def _resolve(self, attempt: _CommitAttempt) -> None:
        """Find out whether Redis has committed a batch whose answer was lost. After `not_after`, Redis rejects it."""
        gateway, room, first, last = self._gateway, attempt.room, attempt.commits[0], attempt.commits[-1]
        start, end = (b"%d-%d" % (commit.epoch, commit.seq) for commit in (first, last))
        while True:
            await gateway.on_available()
            if gateway.stopping:
                return
            number = gateway.incarnation
            try:
                found, ended, time = await answers(
                    [
                        # The newest entry of these numbers: the last commit of the batch, or of another batch.
                        gateway.link.call(b"XREVRANGE", log_key(room.room_id), end, start, b"COUNT", b"1"),
                        gateway.link.call(b"GET", ended_key(room.room_id)),
                        gateway.link.call(b"TIME"),
                    ]
                )
            except (DisconnectedError, RedisError):
                await deferLater(self._clock, 0.1)
                continue
            if number != gateway.incarnation:
                continue
            if _is(found, attempt) or (last.closes and ended == room.room_uuid.encode()):
                # Redis may have lost the journal entries.
                self._journal.put(room, attempt.entries)
                attempt.done(None)
                return
            if found or number != attempt.incarnation or _time(time) > attempt.not_after:
                attempt.done(Conflict(None))
                return
            await deferLater(self._clock, 0.1)


class _CommitAttempt:
    """A batch that Redis has not confirmed yet.

    encoded: its commits as they are stored.
    batch: its id.
    again: whether it has been retried after a rejection.
    """

    __slots__ = (
        "_commits",
        "again",
        "batch",
        "commits",
        "done",
        "encoded",
        "entries",
        "incarnation",
        "not_after",
        "room",
        "sent_at",
    )

    def __init__(
        self,
        through: CommitWriter,
        room: Room,
        commits: Sequence[Commit],
        encoded: Sequence[bytes],
        done: Callable[[CommitResult], None],
    ):
        self._commits = through
        self.room = room
        self.commits = commits
        self.encoded = encoded
        self.done = done
        self.batch = through.new_batch_id()
        self.entries: list[bytes] = []
        self.incarnation = b""
        self.not_after = 0.0
        self.sent_at = 0.0
        self.again = False

    def send(self) -> None:
        self._commits.submit(self)

    def given_up(self) -> None:
        self.done(Unavailable(COMMAND_TIMEOUT_SECONDS))


def _fields(room_id: str, changes: dict[str, Any]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the fields and values to set, the fields to delete, and the mailboxes of members that leave."""
    set_: list[bytes] = []
    delete: list[bytes] = []
    mailboxes: list[bytes] = []
    for name, value in changes.items():
        if value is None and name[1:2] == ":":
            delete.append(name.encode())
            if name.startswith(MEMBER):
                mailboxes.append(mail_key(room_id, name.removeprefix(MEMBER)))
        else:
            set_ += (name.encode(), codec.encode_field(value))
    return set_, delete, mailboxes


def _frees(commits: Sequence[Commit]) -> bool:
    """Return whether commits free memory: the room ends, a member leaves, or a connection is lost."""
    for commit in commits:
        if commit.closes:
            return True
        for name, value in commit.changes.items():
            if name[:2] == MEMBER and (value is None or not value.conn):
                return True
    return False


def _is(found: Sequence[Any], attempt: _CommitAttempt) -> bool:
    """Return whether an entry of a room's log is the last commit of the batch."""
    if not found:
        return False
    fields = codec.pairs(found[0][1])
    if fields["b"]:
        return fields["b"] == attempt.batch.encode()
    # A node has reseeded the room, without batch ids.
    return codec.encode_commit(codec.decode_commit(fields["c"])) == codec.encode_commit(attempt.commits[-1])


def _time(answer: Sequence[bytes]) -> float:
    return int(answer[0]) + int(answer[1]) / 1e6
