"""Keeping an open room at the store's version: what others commit is applied in order, and holes are filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .interfaces import IRoomStore
from .metrics import Metrics
from .room.state import Commit, Room, Version

if TYPE_CHECKING:
    from .liverooms import LiveRoom

RETRY = 0.3
"""Seconds until a store that could not be read is asked again."""


class Following:
    """Follows the log of one open room. caught_up: called when the room may decide again. reloaded: see LiveRoom."""

    __slots__ = ("_again", "_caught_up", "_clock", "_live", "_metrics", "_reloaded", "_store", "busy", "stale")

    _log = Logger()

    def __init__(
        self,
        live: LiveRoom,
        store: IRoomStore,
        clock: IReactorTime,
        metrics: Metrics,
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
        self.busy = False
        self.stale = False

    def receive(self, commits: Sequence[Commit]) -> None:
        """Apply what follows; if something is missing before it, fetch that first."""
        for commit in commits:
            room = self._live.room
            if commit.epoch == room.epoch and commit.seq == room.seq + 1 and not self.stale:
                self._live.apply(commit)
            elif (commit.epoch, commit.seq) > room.version:
                self.catch_up()
                return

    def head(self, room_id: str, version: Version) -> None:
        """The store has the room at this version."""
        room = self._live.room
        if not room.seq and not room_id:
            return
        if room_id != room.id or version[0] != room.epoch:
            self.reload()
        elif version > room.version:
            self.catch_up()

    def reload(self) -> None:
        """The room may be another: read all of it."""
        self.stale = True
        self.catch_up()

    def catch_up(self) -> None:
        """Read from the store what is missing here. Until that is done, nothing is decided."""
        if self.busy:
            self._again = True
            return
        self.busy = True
        self._again = False
        self._metrics.resyncs.value += 1
        code, version = self._live.room.code, self._live.room.version
        if self.stale:
            self._load()
        else:
            self._store.replay(code, version).addCallback(self._replayed).addErrback(self._failed)

    def _load(self) -> None:
        self.stale = False
        self._store.load(self._live.room.code).addCallback(self._loaded).addErrback(self._failed)

    def _replayed(self, commits: Sequence[Commit] | None) -> None:
        if commits is None or self.stale:
            self._load()
            return
        for commit in commits:
            room = self._live.room
            if commit.epoch == room.epoch and commit.seq == room.seq + 1:
                self._live.apply(commit)
        self._finish()

    def _loaded(self, room: Room | None) -> None:
        self._reloaded(room)
        self._finish()

    def _finish(self) -> None:
        self.busy = False
        if self._again or self.stale:
            self.catch_up()
        else:
            self._caught_up()

    def _failed(self, failure: Failure) -> None:
        self.busy = False
        self.stale = True
        if not self._live.closed:
            self._clock.callLater(RETRY, self._retry)

    def _retry(self) -> None:
        if not self._live.closed and not self.busy:
            self.catch_up()
