"""The queue of commands of one open room: decide, commit, apply, answer.

While a commit is in flight, commands wait. Then they are decided one after another and committed as one batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import INTERNAL, ErrorCode, RequestError
from ..interfaces import CommitResult, Conflict, IStore, TooLarge
from ..rules.commands import Decision, StalePinError
from ..rules.engine import Rules, commit_of
from ..rules.event_types import EventType
from ..rules.state import Commit, Room
from .commit_tail import CHANGE_BYTES
from .metrics import RoomMetrics
from .queued_command import QueuedCommand

if TYPE_CHECKING:
    from .replica import RoomReplica

log = Logger()

MAX_BATCH_COMMANDS = 64
"""Commands in one batch of commits."""

UNTIMED_BITS = 15
"""The latency of a command is measured if these bits of the room's `seq` are 0: for one command in 16."""

OUTAGE_PATIENCE_SECONDS = 2.0
"""The time for which commands wait during an outage of the store."""

FREQUENT_EVENTS = frozenset(
    (
        EventType.PLAY_PAUSE,
        EventType.SEEK,
        EventType.RATE_CHANGED,
        EventType.BUFFERING,
        EventType.WAIT_FOR_BUFFERING,
        EventType.GATE_OPENED,
        EventType.URL_CHANGE,
        EventType.CHAT,
        EventType.USERNAME_UPDATED,
        EventType.GUEST_CONTROL,
        EventType.ROOM_LOCKED,
    )
)
"""Events that a room may have in any number, so that some have no row in the archive.

Admissions, departures and moderation always have a row.
"""

Outcome = tuple[QueuedCommand, "Decision | RequestError | None", "Commit | None"]
"""A command, its decision (None for a stale PIN), and the commit that carries it out, if it needs one."""


class CommandQueue:
    """Decides and commits the commands of one room, in the order of their submission."""

    __slots__ = (
        "_clock",
        "_in_flight",
        "_is_running",
        "_live",
        "_metrics",
        "_outcomes",
        "_queue",
        "_retries",
        "_rules",
        "_store",
        "_timed",
        "_timed_since",
        "_urgent",
    )

    def __init__(self, live: RoomReplica, rules: Rules, store: IStore, clock: IReactorTime, metrics: RoomMetrics):
        self._live = live
        self._rules = rules
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._queue: deque[QueuedCommand] = deque()
        self._urgent: deque[QueuedCommand] = deque()
        self._outcomes: list[Outcome] = []
        self._is_running = False
        self._in_flight = False
        self._retries = 0
        self._timed: QueuedCommand | None = None
        self._timed_since = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no command waits, is in flight, or is to be retried."""
        return not (self._queue or self._urgent or self._is_running or self._in_flight or self._retries)

    def submit(self, entry: QueuedCommand, *, first: bool = False) -> None:
        """Decide a command after all earlier ones. first: before the commands that still wait, or are to be decided again."""
        if not self._live.room.seq & UNTIMED_BITS:
            self._timed, self._timed_since = entry, self._clock.seconds()
        (self._urgent if first else self._queue).append(entry)
        if not self._is_running:
            self.run()

    def run(self) -> None:
        """Decide the waiting commands, unless a commit is in flight or the replica catches up."""
        if self._is_running:
            return
        self._is_running = True
        try:
            following = self._live.following
            while (self._urgent or self._queue) and not self._in_flight and not following.catching_up:
                self._step()
        finally:
            self._is_running = False

    def refuse_waiting(self) -> None:
        """Refuse the commands that wait behind a commit in flight. Call it when an outage of the store is long."""
        if self._in_flight or self._live.following.catching_up:
            waiting = [entry for entry in self._queue if not entry.retry_when_unavailable]
            self._queue = deque(entry for entry in self._queue if entry.retry_when_unavailable)
            self._refuse([(entry, None, None) for entry in waiting], OUTAGE_PATIENCE_SECONDS)

    def _step(self) -> None:
        live = self._live
        room = live.room
        now = self._store.clock.now()
        if now < room.at:
            now = room.at
        outcomes: list[Outcome] = []
        commits: list[Commit] = []
        while (self._urgent or self._queue) and len(outcomes) < MAX_BATCH_COMMANDS:
            entry = (self._urgent or self._queue).popleft()
            decision = self._decide(room, entry, now)
            commit = None
            if isinstance(decision, Decision) and (decision.event or decision.changes or decision.messages):
                commit = commit_of(room, entry.command.user, decision, now, self._rules)
                if live.rows is not None and commit.event in FREQUENT_EVENTS and not live.rows.take():
                    commit = self._without_row(commit)
                commits.append(commit)
            outcomes.append((entry, decision, commit))
            if commit is not None and (self._urgent or self._queue):
                if commit.closes:
                    break
                if room is live.room:
                    room = room.copy()
                room.apply(commit)
        if not commits:
            self._settle(outcomes)
            return
        self._in_flight = True
        self._outcomes = outcomes
        self._store.rooms.commit(live.room, commits, self._committed)

    def _without_row(self, commit: Commit) -> Commit:
        """Return the commit without a row in the archive: the room has used up its budget of rows."""
        self._metrics.rate_limited["events"] += 1
        return msgspec.structs.replace(commit, unrecorded=True)

    def _decide(self, room: Room, entry: QueuedCommand, now: float) -> Decision | RequestError | None:
        try:
            return entry.decide(self._rules, room, now)
        except RequestError as error:
            return error
        except StalePinError:
            return None
        except Exception:
            log.failure("failed to decide {kind} in {room}", event="command_failed", kind=entry.kind, room=room.room_id)
            return INTERNAL

    def _committed(self, result: CommitResult) -> None:
        outcomes, self._outcomes = self._outcomes, []
        self._in_flight = False
        if result is None:
            self._settle(outcomes)
        elif isinstance(result, Conflict):
            # Another node has committed first. The commands are decided again on its result.
            self._metrics.conflicts.value += 1
            self._queue.extendleft(entry for entry, _, _ in reversed(outcomes))
            self._live.following.catch_up()
        elif isinstance(result, TooLarge):
            self._refuse_too_large(outcomes, result)
        else:
            self._refuse(outcomes, result.retry_after)
        if self._urgent or self._queue:
            self.run()

    def _refuse_too_large(self, outcomes: Sequence[Outcome], result: TooLarge) -> None:
        """Refuse the command whose commit is too large, and decide the others again without it."""
        culprit = [entry for entry, _, commit in outcomes if commit is not None][result.number]
        self._queue.extendleft(entry for entry, _, _ in reversed(outcomes) if entry is not culprit)
        if culprit.session is None:
            log.error(
                "commit of {room} by {kind} is too large: {size} bytes (limits.commit_bytes)",
                event="commit_too_large",
                room=self._live.room.room_id,
                kind=culprit.kind,
                size=result.size,
            )
        error = RequestError(
            ErrorCode.TOO_LARGE,
            f"This would change {result.size} bytes of the room; {result.most} is the most (limits.commit_bytes).",
        )
        self._metrics.refused[error.code] += 1
        culprit.refused(self._live, error)

    def _refuse(self, outcomes: Sequence[Outcome], retry_after: float) -> None:
        """Refuse commands because the store is unavailable. Commands of the server itself are retried."""
        error = RequestError(
            ErrorCode.UNAVAILABLE, "The server cannot store changes at the moment.", int(retry_after * 1000)
        )
        for entry, _, _ in outcomes:
            if not entry.retry_when_unavailable:
                self._metrics.refused[error.code] += 1
                entry.refused(self._live, error)
        retried = [entry for entry, _, _ in outcomes if entry.retry_when_unavailable]
        if retried and not self._live.closed:
            self._retries += 1
            self._clock.callLater(retry_after, self._submit_all, retried)

    def _submit_all(self, entries: Sequence[QueuedCommand]) -> None:
        self._retries -= 1
        for entry in entries:
            self.submit(entry)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Apply commits, in order, and answer their commands."""
        live = self._live
        timed = self._timed
        for entry, decision, commit in outcomes:
            if entry is timed:
                self._timed = None
                self._metrics.command_latency.observe(self._clock.seconds() - self._timed_since)
            try:
                if commit is not None:
                    # Pub/sub may have delivered the commit before the answer of the store.
                    room = live.room
                    if commit.seq > room.seq if commit.epoch == room.epoch else commit.epoch > room.epoch:
                        live.apply(commit)
                    meter, session = live.meter, entry.session
                    if meter is not None and session is not None:
                        size = live.tail.last_size
                        if size < CHANGE_BYTES:
                            size = CHANGE_BYTES
                        deliveries = len(live.room.members) * len(commit.messages)
                        if live.group.is_large:
                            deliveries = live.deliveries_of(commit)
                        # Inlined `RoomReplica.charge`.
                        meter.charge(size, deliveries)
                        if session.meter is not None:
                            session.meter.charge(size, deliveries)
                if decision is None:
                    entry.stale_pin(live)
                elif isinstance(decision, RequestError):
                    self._metrics.refused[decision.code] += 1
                    entry.refused(live, decision)
                elif commit is not None:
                    entry.done(live, decision, commit.seq)
                else:
                    entry.done(live, decision, live.room.seq if decision.seq is None else decision.seq)
            except Exception:
                # The other commands of the batch get their answers.
                log.failure(
                    "failed to answer {kind} in {room}", event="answer_failed", kind=entry.kind, room=live.room.room_id
                )
