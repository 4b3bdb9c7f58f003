"""The three places in which a JOIN waits: for a limit, at a room, and for a store that cannot open its room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ... import messages as m
from ...errors import ErrorCode, RequestError
from ...interfaces import IStore
from ...messages.framing import error_frame, text_frame
from ...rules.display_names import clean_name
from ...rules.event_types import EventType
from ...rules.private_messages import NEWCOMER_EVENTS
from ...rules.settings import RuleSettings
from ...rules.state import Commit
from ...util.time_slicer import FIRST_STEPS, TimeSlicer
from ..metrics import RoomMetrics
from ..replica import RoomReplica
from .limits import JoinDeferredError, JoinLimiter
from .pending_join import JoinState, PendingJoin
from .pending_joins import LINES, STORE, JoinRetries
from .queue import JoinQueue

STORE_RETRY_MS = 2000
"""Milliseconds until a JOIN that the store has refused is retried, unless the refusal names a time."""

REFUSED = RequestError(ErrorCode.FORBIDDEN, "JOIN: the host has not let you into the locked room.")
"""The end of a JOIN that the host has refused with ADMIT."""

REOPEN_SECONDS = 2.0
"""Seconds between two attempts to open rooms that could not be opened, each for `FIRST_STEPS` JOINs."""


class JoinWaits:
    """Holds JOINs that cannot be decided now, and retries them. Each JOIN waits in one place."""

    def __init__(
        self,
        clock: IReactorTime,
        settings: RuleSettings,
        store: IStore,
        limiter: JoinLimiter,
        metrics: RoomMetrics,
        slicer: TimeSlicer,
    ):
        self._clock = clock
        self._settings = settings
        self._store = store
        self._limiter = limiter
        self._metrics = metrics
        self._slicer = slicer
        self._queue = JoinQueue(clock)
        self.retries = JoinRetries(clock, settings, lambda: not store.ready())
        self._unopened: dict[PendingJoin, None] = {}
        self._reopen_timer: IDelayedCall | None = None
        self._is_closed = False

    def close(self) -> None:
        """Stop all retries."""
        self._is_closed = True
        self._queue.close()
        self.retries.close()
        if self._reopen_timer is not None:
            self._reopen_timer.cancel()
            self._reopen_timer = None

    def forget(self, pending: PendingJoin) -> None:
        """Remove a JOIN from the queue of deferred JOINs and from those whose room could not be opened."""
        self._unopened.pop(pending, None)
        self._queue.forget(pending)

    # -- for a limit

    def defer(self, pending: PendingJoin, error: JoinDeferredError, arrived_at: float = 0.0) -> None:
        """Let a JOIN wait for a limit. arrived_at: when its client arrived, in seconds of the clock; 0.0: now."""
        session = pending.session
        if not pending.is_notified:
            self._metrics.joins_deferred[error.reason] += 1
            self._metrics.refused[error.code] += 1
            session.send(error_frame(error, pending.join.id))
            pending.is_notified = True
        pending.move(JoinState.DEFERRED if pending.is_counted else JoinState.RATE_LIMITED)
        client_key = pending.client_key if error.reason.startswith("pin_") else session.conn
        self._queue.enqueue(
            error.place, client_key, arrived_at or self._clock.seconds(), pending, error.seconds, pending.retry
        )
        session.settled()

    # -- at a room

    def wait(self, live: RoomReplica, pending: PendingJoin, error: RequestError) -> None:
        """Let a JOIN wait at a room for a change. If too many JOINs of its address wait there, defer it."""
        try:
            self._limiter.check_waiting(live.room.room_id, pending.session.address, live.waiting.of_scope)
        except JoinDeferredError as crowded:
            self.retries.retry_ended(live, pending)
            self.defer(pending, crowded)
            return
        if not pending.is_notified:
            pending.session.send(error_frame(error, pending.join.id))
            pending.is_notified = True
            if error.code == ErrorCode.LOCKED:
                self._knock(live, pending)
        pending.move(JoinState.WAITING_FOR_CHANGE)
        line = LINES.get(error.code, STORE)
        live.waiting.add(pending, line)
        if line == STORE:
            self.retries.retry_store_after(live, (error.retry_after or STORE_RETRY_MS) / 1000)
        # Another JOIN may take the place that this one could not.
        self.retries.schedule(live)
        pending.session.settled()

    def commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """Carry out the host's answer to a KNOCK. For other commits see `JoinRetries.commit_applied`."""
        if commit.event in NEWCOMER_EVENTS:
            self._answer_knock(live, (commit.details or {})["user"], commit.event == EventType.NEWCOMER_ADMITTED)
        else:
            self.retries.commit_applied(live, commit)

    def _knock(self, live: RoomReplica, pending: PendingJoin) -> None:
        """Tell the host of a locked room about a newcomer."""
        room = live.room
        name = pending.claims.name if pending.claims is not None and pending.claims.name else pending.join.username
        knock = m.Knock(user_id=pending.join.user_id, username=clean_name(name, self._settings.username_length))
        frame = text_frame(m.encode(knock))
        session = live.group.get(room.host)
        if session is not None:
            session.send(frame)
        elif (host := room.members.get(room.host)) is not None and host.conn:
            # The host's node takes it from the mailbox at once.
            self._store.mailboxes.relay(room.room_id, room.host, frame, lambda error: None)

    def _answer_knock(self, live: RoomReplica, user: str, admitted: bool) -> None:
        pending = live.waiting.newest(user)
        if pending is None:
            return
        if admitted:
            pending.is_admitted = True
            live.waiting.make_ready(user)
            self.retries.schedule(live)
        else:
            pending.cancel()
            pending.reject(REFUSED)

    # -- for a store that cannot open the room

    def wait_for_store(self, pending: PendingJoin) -> None:
        """Let a JOIN wait until the store can open its room."""
        self._unopened[pending] = None
        self._reopen_later()

    def _reopen_later(self) -> None:
        if self._reopen_timer is None and not self._is_closed:
            self._reopen_timer = self._clock.callLater(REOPEN_SECONDS, self._reopen)

    def _reopen(self) -> None:
        """Retry some JOINs, because the store may never report that it is available again."""
        self._reopen_timer = None
        if not self._store.ready():
            some = list(islice(self._unopened, FIRST_STEPS))
            for pending in some:
                del self._unopened[pending]
            self._slicer.run(_retry_all(some))
        if self._unopened:
            self._reopen_later()

    def store_available(self, rooms: Callable[[], Iterable[RoomReplica]]) -> None:
        """Retry all JOINs that wait for the store. rooms: returns the open rooms."""
        unopened, self._unopened = self._unopened, {}
        self._slicer.run(_retry_all(unopened))
        self._slicer.run(self._retry_in(rooms))

    def _retry_in(self, rooms: Callable[[], Iterable[RoomReplica]]) -> Iterator[None]:
        for live in rooms():
            self.retries.store_available(live)
            yield


def _retry_all(joins: Iterable[PendingJoin]) -> Iterator[None]:
    for pending in joins:
        if pending.is_active:
            pending.retry()
            yield
