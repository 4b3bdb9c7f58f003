"""The room service: the entrance for connections, HTTP and the store to the rooms of a node."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application import service
from twisted.logger import Logger

from .. import messages as m
from ..interfaces import PlayerStatus
from ..messages.framing import text_frame
from .departures import DETACHED, NOT_JOINED, Departures
from .directory import Directory
from .dispatcher import Dispatcher
from .joining.controller import JoinController
from .maintenance import RoomMaintenance
from .playback_sync import PlaybackSync
from .registry import RoomRegistry
from .session import Session
from .store_events import StoreEventHandler

log = Logger()


class RoomService(service.Service):
    """Starts and stops the work on rooms. `factory.make_room_service` makes one with all its parts.

    open: the open rooms.
    others: handles events of the store.
    positions: follows the players of members.
    directory: answers questions of HTTP clients.
    join: answers a JOIN. See `JoinController.join`.
    closed: handles the end of a connection. See `Departures.connection_closed`.
    """

    name = "rooms"

    def __init__(
        self,
        registry: RoomRegistry,
        events: StoreEventHandler,
        joins: JoinController,
        dispatcher: Dispatcher,
        departures: Departures,
        positions: PlaybackSync,
        directory: Directory,
        maintenance: RoomMaintenance,
    ):
        self.open = registry
        self.others = events
        self.positions = positions
        self.directory = directory
        self._joins = joins
        self._departures = departures
        self._maintenance = maintenance
        self._handlers = dispatcher.handlers
        self.join: Callable[[Session, m.Join], None] = joins.join
        self.closed: Callable[[Session], None] = departures.connection_closed

    def startService(self) -> None:
        super().startService()
        self._maintenance.start()

    def stopService(self) -> None:
        super().stopService()
        self._departures.is_closed = True
        self._joins.close()
        self._maintenance.stop()
        for live in self.open:
            live.close()

    def receive(self, session: Session, message: m.ClientMessage) -> None:
        """Handle any message but JOIN and PING. Raises RequestError for an immediate refusal."""
        # Not a method of Dispatcher: that would be one more call for each message.
        if session.group is None:
            raise DETACHED if session.detached else NOT_JOINED
        self._handlers[type(message)](session, session.group.live, message)

    def receiver(self, session: Session) -> Callable[[Session, m.ClientMessage], None]:
        """Return `receive`, or another method while a JOIN of the session waits. Ask again whenever its JOIN is `settled`."""
        pending = session.pending_join
        return self.receive if pending is None or not pending.is_active else self._receive_while_joining

    def _receive_while_joining(self, session: Session, message: m.ClientMessage) -> None:
        """Do as `receive`, and end the waiting JOIN if the message withdraws it."""
        pending = session.pending_join
        if pending is not None and pending.withdrawn_by(type(message)):
            pending.cancel()
            if session.group is None:
                # A LEAVE, which has had its effect.
                if message.id is not None:
                    session.send(text_frame(m.encode(m.Ack(id=message.id))))
                return
        self.receive(session, message)

    def start_grace(self, room_id: str, prefix: str) -> None:
        """Begin the grace period of a room's members whose connections were on a stopped node.

        prefix: the beginning of the names of its connections; "" for all connections.
        """
        self.others.node_lost(room_id, prefix).addErrback(
            lambda failure: log.failure(
                "failed to begin the grace period in {room}", failure, event="grace_period_failed", room=room_id
            )
        )

    def presence(self) -> list[PlayerStatus]:
        """Return the status of the players that are connected here."""
        return self.positions.presence()
