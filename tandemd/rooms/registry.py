"""The open rooms of this node. A room opens for its first command, and closes when it has no sessions or commands left."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from random import Random

from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import INTERNAL, RequestError
from ..interfaces import IStore
from ..rules.commands import Command, Lost
from ..rules.state import Room
from ..util.time_slicer import TimeSlicer
from .queued_command import QueuedCommand
from .replica import RoomReplica

Use = Callable[[RoomReplica], None]
Failed = Callable[[RequestError], None]

log = Logger()


class RoomRegistry:
    """The open rooms of this node, by room id.

    conn_prefix: the beginning of the names of this node's connections, "node/boot/".
    make: makes a replica of a room that the store has returned. random: the source of UUIDs.
    """

    def __init__(
        self,
        store: IStore,
        conn_prefix: str,
        make: Callable[[Room], RoomReplica],
        slicer: TimeSlicer,
        random: Random,
    ):
        self._store = store
        self._conn_prefix = conn_prefix
        self._make = make
        self._slicer = slicer
        self._random = random
        self._live: dict[str, RoomReplica] = {}
        self._opening: dict[str, deque[tuple[Use, Failed]]] = {}

    def __iter__(self) -> Iterator[RoomReplica]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def get(self, room_id: str) -> RoomReplica | None:
        return self._live.get(room_id)

    def use(self, room_id: str, use: Use, failed: Failed = lambda error: None) -> None:
        """Call `use` with the replica of a room, now or when it is open. Call `failed` if the store is unavailable."""
        live = self._live.get(room_id)
        if room_id in self._opening:
            self._opening[room_id].append((use, failed))
        elif live is not None:
            use(live)
            self.close_if_idle(live)
        else:
            self._opening[room_id] = deque([(use, failed)])
            # Subscribing before reading misses no commit.
            self._store.rooms.subscribe(room_id)
            loading = self._store.rooms.load(room_id)
            loading.addCallbacks(self._opened, self._not_opened, (room_id,), {}, (room_id,), {})
            loading.addErrback(
                lambda failure: log.failure(
                    "failed to open {room}", event="room_open_failed", failure=failure, room=room_id
                )
            )

    def _opened(self, room: Room | None, room_id: str) -> None:
        live = self._live[room_id] = self._make(room or self.blank(room_id))
        live.renew(live.room)
        # A member with an open connection here would have kept the room open.
        self.lose_absent_members(live)
        self._slicer.run(self._use_all(live, room_id))

    def _use_all(self, live: RoomReplica, room_id: str) -> Iterator[None]:
        waiting = self._opening[room_id]
        while waiting:
            use, _ = waiting.popleft()
            try:
                use(live)
            except Exception:
                log.failure("failed to open {room}", event="room_open_failed", room=room_id)
            yield
        del self._opening[room_id]
        self.close_if_idle(live)

    def _not_opened(self, failure: Failure, room_id: str) -> None:
        self._store.rooms.unsubscribe(room_id, is_known=False)
        error = failure.value
        if not isinstance(error, RequestError):
            log.failure("failed to open {room}", event="room_open_failed", failure=failure, room=room_id)
            error = INTERNAL
        for _, failed in self._opening.pop(room_id):
            failed(error)

    def lose_absent_members(self, live: RoomReplica) -> bool:
        """Begin the grace period of members that are connected to this node by the state of the room, but have no session here.

        The store has lost the end of their connections. Return False, and do nothing, while a JOIN may be between its commit
        and its session.
        """
        if not live.is_settled:
            return False
        for member in list(live.room.members.values()):
            session = live.group.get(member.user_id)
            if member.conn.startswith(self._conn_prefix) and (session is None or session.conn != member.conn):
                live.submit(QueuedCommand(Command(member.user_id, member.conn, Lost())))
        return True

    def blank(self, room_id: str) -> Room:
        """Return a room that its first commit will create."""
        now = self._store.clock.now()
        return Room(str(uuid.UUID(bytes=self._random.randbytes(16), version=4)), room_id, now, int(now * 1000))

    def close_if_idle(self, live: RoomReplica) -> None:
        """Close a room that this node does not need any more."""
        room_id = live.room.room_id
        if live.idle and self._live.get(room_id) is live and room_id not in self._opening:
            del self._live[room_id]
            live.close()
            # Without a version, the room may have been restored meanwhile.
            self._store.rooms.unsubscribe(room_id, is_known=bool(live.room.seq))
