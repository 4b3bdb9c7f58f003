"""Keeping an open room at the store's version: what others commit is applied in order, and holes are filled."""

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

EARLY = 1000
"""How many commits are kept that were heard while the store was asked."""
RETRY = 0.3
"""Seconds until a store that could not be read is asked again."""


class Open(Protocol):
    """An open room, as it is seen from here."""

    room: Room
    closed: bool

    def apply(self, commit: Commit) -> None:
        """Move to the commit's version."""


class LogFollower:
    """Follows the log of one open room. caught_up: called when the room may decide again. reloaded: see RoomReplica.

    catching_up: whether the store is being read; nothing is decided until that is done. needs_reload: whether the whole room is
    to be read, because it may be another one or have a new epoch.
    """

    __slots__ = (
        "_again", "_caught_up", "_clock", "_early", "_live", "_metrics", "_reloaded", "_store", "_timer", "catching_up",
        "needs_reload",
    )  # fmt: skip

    _log = Logger()

    def __init__(
        self,
        live: Open,
        store: IRoomStore,
        clock: IReactorTime,
        metrics: RoomMetrics,
        caught_up: Callable[[], None],
        reloaded: Callable[[Room | None], None],
    ):
        self._live = live
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._caught_up = caught_up
        self._reloaded = reloaded
        self._again = False
        self._early: deque[Commit] = deque(maxlen=EARLY)
        self._timer: IDelayedCall | None = None
        self.catching_up = False
        self.needs_reload = False

    def close(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def receive(self, commits: Sequence[Commit]) -> None:
        """Apply what follows; if something is missing before it, fetch that first."""
        for commit in commits:
            room = self._live.room
            if commit.epoch == room.epoch and commit.seq == room.seq + 1:
                self._live.apply(commit)
            elif (commit.epoch, commit.seq) > room.version:
                if not self.catching_up:
                    self.catch_up()
                # The store's answer may be older than this when it comes. Asking again and again would never catch up with a
                # room in which much happens.
                self._early.append(commit)

    def head_version(self, room_uuid: str, version: Version) -> None:
        """The store has the room at this version."""
        room = self._live.room
        if not room.seq and not room_uuid:
            return
        if room_uuid != room.room_uuid or version[0] != room.epoch:
            self.reload()
        elif version > room.version:
            self.catch_up()

    def reload(self) -> None:
        """The room may be another: read all of it."""
        self.needs_reload = True
        self.catch_up()

    def catch_up(self) -> None:
        """Read from the store what is missing here. Until that is done, nothing is decided."""
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
                room.epoch = commit.epoch  # seq goes on from one epoch to the next
                self._live.apply(commit)

    def _load(self) -> None:
        self.needs_reload = False
        self._store.load(self._live.room.room_id).addCallback(self._loaded).addErrback(self._load_failed)

    def _loaded(self, found: Room | None) -> None:
        mine = self._live.room
        if found is not None and found.room_uuid == mine.room_uuid and found.version <= mine.version:
            self._finish()  # read before what has been applied meanwhile
        elif not mine.seq or (found is not None and found.room_uuid != mine.room_uuid):
            self._renew(found)
        else:
            # The same room under a new epoch, or ended: members here are to see first what they have missed.
            self._replay().addCallback(self._replay_before_reload, found).addErrback(self._load_failed)

    def _replay_before_reload(self, commits: Sequence[Commit] | None, found: Room | None) -> None:
        mine = self._live.room
        if found is None:
            self._apply(commits or ())
            if not self._live.room.seq:  # its end was among them
                self._finish()
                return
        elif found.version <= mine.version:
            self._finish()
            return
        else:
            same = found.epoch == mine.epoch
            self._apply([commit for commit in commits or () if commit.seq <= found.seq])
            if same and self._live.room.version == found.version:
                self._finish()  # it is no other room: another ROOM_STATE would only move players
                return
        self._renew(found)

    def _renew(self, found: Room | None) -> None:
        self._reloaded(found)
        self._finish()

    def _bridge(self) -> None:
        """Apply what was heard while the store was asked, as far as it follows on the answer."""
        early, self._early = self._early, deque(maxlen=EARLY)
        for commit in early:
            room = self._live.room
            if commit.epoch == room.epoch and commit.seq == room.seq + 1:
                self._live.apply(commit)
            elif (commit.epoch, commit.seq) > room.version:
                # The next answer has it.
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
            self._log.failure("reading {room}", failure=failure, room=self._live.room.room_id)
        if not self._live.closed and self._timer is None:
            self._timer = self._clock.callLater(RETRY, self._retry)

    def _retry(self) -> None:
        self._timer = None
        if not self._live.closed and not self.catching_up:
            self.catch_up()
