"""Periodic work: a sweep of the open rooms, and commands for rooms that are due and open nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..interfaces import IStore
from ..rules.commands import Command, Due
from ..util.services import Periodic
from ..util.sweeper import Sweeper
from ..util.time_slicer import TimeSlicer
from .command_queue import OUTAGE_PATIENCE_SECONDS
from .playback_sync import PlaybackSync
from .queued_command import QueuedCommand
from .registry import RoomRegistry
from .replica import RoomReplica

SWEEP_SECONDS = 0.25
"""The time between two sweeps of the open rooms, and between two polls for due rooms."""


class RoomMaintenance:
    """Sweeps open rooms, polls the store for due rooms, and refuses waiting commands during an outage of the store."""

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        registry: RoomRegistry,
        positions: PlaybackSync,
        slicer: TimeSlicer,
    ):
        self._clock = clock
        self._store = store
        self._registry = registry
        self._positions = positions
        self._slicer = slicer
        self._sweeper = Sweeper(clock, SWEEP_SECONDS, self._begin_sweep, self._sweep)
        self._poller = Periodic(clock, SWEEP_SECONDS, self._poll_due_rooms, "polling for due rooms")
        self._outage_began_at = 0.0
        self._is_outage_long = False

    def start(self) -> None:
        """Begin the first sweep and the first poll after `SWEEP_SECONDS`."""
        self._sweeper.start()
        self._poller.start()

    def stop(self) -> None:
        """Stop all periodic and sliced work of the rooms."""
        self._sweeper.stop()
        self._poller.stop()
        self._slicer.stop()

    def _begin_sweep(self) -> Iterable[RoomReplica]:
        now = self._clock.seconds()
        if not self._store.ready():
            self._outage_began_at = 0.0
        elif not self._outage_began_at:
            self._outage_began_at = now
        self._is_outage_long = bool(self._outage_began_at) and now >= self._outage_began_at + OUTAGE_PATIENCE_SECONDS
        return self._registry

    def _sweep(self, live: RoomReplica) -> None:
        if not live.closed:
            if self._is_outage_long:
                live.refuse_waiting()
            self._positions.sweep(live)
            self._registry.close_if_idle(live)

    def _poll_due_rooms(self) -> Deferred[None]:
        return self._store.rooms.due_rooms(self._store.clock.now()).addCallback(
            lambda room_ids: self._slicer.run(self._submit_due(room_ids))
        )

    def _submit_due(self, room_ids: Sequence[str]) -> Iterator[None]:
        floor = self._store.clock.grace_floor()
        for room_id in room_ids:
            self._registry.use(room_id, lambda live: live.submit(QueuedCommand(Command("", "", Due(floor)))))
            yield
