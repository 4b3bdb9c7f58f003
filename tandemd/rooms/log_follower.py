"""The catch-up of an open room with the store: commits of other nodes are applied in order, and gaps are filled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import RequestError
from ..interfaces import IRoomStore
from ..rules.state import Commit, Room, Version
from .metrics import RoomMetrics

MAX_EARLY_COMMITS = 1000
"""The commits from pub/sub that are kept during a query of the store."""

RETRY_SECONDS = 0.3
"""The time until a failed query is repeated."""

log = Logger()


class Follower(Protocol):
    """The replica that follows a log. See `RoomReplica`."""

    room: Room
    closed: bool

    def apply(self, commit: Commit) -> None:
        """Move to the version of the commit."""


class LogFollower:
    """Follows the log of one open room.

    catching_up: whether a query of the store is under way. The room decides no commands until it has the result.
    needs_reload: whether the next query reads the whole room, because it may be another one or have a new epoch.
    """

    __slots__ = (
        "_again", "_caught_up", "_clock", "_early", "_live", "_metrics", "_reloaded", "_store", "_timer", "catching_up",
        "needs_reload",
    )  # fmt: skip

    def __init__(
        self,
        live: Follower,
        store: IRoomStore,
        clock: IReactorTime,
        metrics: RoomMetrics,
        caught_up: Callable[[], None],
        reloaded: Callable[[Room | None], None],
    ):
        """caught_up: called when the room may decide again. reloaded: see `OrphanedSessionHandler.reloaded`."""
        self._live = live
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._caught_up = caught_up
        self._reloaded = reloaded
        self._again = False
        self._early: deque[Commit] = deque(maxlen=MAX_EARLY_COMMITS)
        self._timer: IDelayedCall | None = None
        self.catching_up = False
        self.needs_reload = False

    def close(self) -> None:
        """Cancel the next query."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def receive(self, commits: Sequence[Commit]) -> None:
        """Apply commits from pub/sub. After a gap, read the missing ones first."""
        for commit in commits:
            room = self._live.room
            if commit.epoch == room.epoch and commit.seq == room.seq + 1:
                self._live.apply(commit)
            elif (commit.epoch, commit.seq) > room.version:
                if not self.catching_up:
                    self.catch_up()
                # The answer of the store may be older than this commit. Repeated queries would never catch up with a busy room.
                self._early.append(commit)

    def head_version(self, room_uuid: str, version: Version) -> None:
        """Compare the replica with the version in the store, and catch up if it is older or another room."""
        room = self._live.room
        if not room.seq and not room_uuid:
            return
        if room_uuid != room.room_uuid or version[0] != room.epoch:
            self.reload()
        elif version > room.version:
            self.catch_up()

    def reload(self) -> None:
        """Read the whole room, which may be another one."""
        self.needs_reload = True
        self.catch_up()

    def catch_up(self) -> None:
        """Read the missing commits from the store. The room decides no commands meanwhile."""
        if self.catching_up:
            self._again = True
            return
        self.close()
        self.catching_up = True
        self._again = False
        self._early.clear()
        self._metrics.room_catchups.value += 1
        if self.needs_reload:
            self._load()
        else:
            self._replay().addCallback(self._replayed).addErrback(self._failed)

    def _replay(self) -> Deferred[Sequence[Commit] | None]:
        room = self._live.room
        return self._store.replay(room.room_id, room.version)

    def _replayed(self, commits: Sequence[Commit] | None) -> None:
        if commits is None or any(commit.epoch != self._live.room.epoch for commit in commits):
            self._load()
            return
        self._apply(commits)
        self._finish()

    def _apply(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            room = self._live.room
            if commit.seq == room.seq + 1 and commit.epoch >= room.epoch:
                room.epoch = commit.epoch  # seq continues from one epoch to the next
                self._live.apply(commit)

    def _load(self) -> None:
        self.needs_reload = False
        self._store.load(self._live.room.room_id).addCallback(self._loaded).addErrback(self._load_failed)

    def _loaded(self, stored: Room | None) -> None:
        current = self._live.room
        if stored is not None and stored.room_uuid == current.room_uuid and stored.version <= current.version:
            self._finish()  # older than the commits that were applied meanwhile
        elif not current.seq or (stored is not None and stored.room_uuid != current.room_uuid):
            self._renew(stored)
        else:
            # The same room in a new epoch, or ended. The members here first receive the commits that they have missed.
            self._replay().addCallback(self._replay_before_reload, stored).addErrback(self._load_failed)

    def _replay_before_reload(self, commits: Sequence[Commit] | None, stored: Room | None) -> None:
        current = self._live.room
        if stored is None:
            self._apply(commits or ())
            if not self._live.room.seq:  # the end of the room was among them
                self._finish()
                return
        elif stored.version <= current.version:
            self._finish()
            return
        else:
            is_same_epoch = stored.epoch == current.epoch
            self._apply([commit for commit in commits or () if commit.seq <= stored.seq])
            if is_same_epoch and self._live.room.version == stored.version:
                self._finish()  # the same room: another ROOM_STATE would only move players
                return
        self._renew(stored)

    def _renew(self, stored: Room | None) -> None:
        self._reloaded(stored)
        self._finish()

    def _bridge(self) -> None:
        """Apply the commits from pub/sub during the query, as far as they follow on its answer."""
        early, self._early = self._early, deque(maxlen=MAX_EARLY_COMMITS)
        for commit in early:
            room = self._live.room
            if commit.epoch == room.epoch and commit.seq == room.seq + 1:
                self._live.apply(commit)
            elif (commit.epoch, commit.seq) > room.version:
                # The next answer includes it.
                self._again = True

    def _finish(self) -> None:
        if self._early:
            self._bridge()
        self.catching_up = False
        if self._again or self.needs_reload:
            self.catch_up()
        else:
            self._caught_up()

    def _load_failed(self, failure: Failure) -> None:
        self.needs_reload = True
        self._failed(failure)

    def _failed(self, failure: Failure) -> None:
        self.catching_up = False
        if not failure.check(RequestError):
            log.failure(
                "failed to read {room}", event="room_read_failed", failure=failure, room=self._live.room.room_id
            )
        if not self._live.closed and self._timer is None:
            self._timer = self._clock.callLater(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._timer = None
        if not self._live.closed and not self.catching_up:
            self.catch_up()
