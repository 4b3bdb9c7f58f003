"""One client's messages, in their order: decoded, validated, and handed to the room service. Knows no WebSocket."""

from __future__ import annotations

from twisted.logger import Logger

from . import messages as m
from .errors import Refused
from .frames import text_frame
from .interfaces import IRoomStore
from .liverooms import INTERNAL, error_frame
from .metrics import Metrics
from .rooms import RoomService
from .sessions import Session

HELD = 1000
"""How many messages may wait for the answer to a JOIN."""

_TAGS = {kind: str(kind.__struct_config__.tag) for kind in m.CLIENT_MESSAGES}


class Connection:
    """What a client says on one connection. While a JOIN is being answered, what comes after it waits."""

    __slots__ = ("_held", "_joining", "_metrics", "_rooms", "_store", "count", "session")

    _log = Logger()

    def __init__(self, session: Session, rooms: RoomService, store: IRoomStore, metrics: Metrics):
        self.session = session
        self.count = 0
        self._rooms = rooms
        self._store = store
        self._metrics = metrics
        self._joining = False
        self._held: list[bytes] = []

    def received(self, payload: bytes) -> None:
        """Handle one message of the client. Never raises."""
        self.count += 1
        if self._joining:
            if len(self._held) < HELD:
                self._held.append(payload)
            else:
                self.session.close(1008, "too many messages before the answer to JOIN")
            return
        try:
            message = m.decode(payload)
        except (ValueError, RecursionError) as error:
            self._reject(m.explain(payload, error))
            return
        kind = type(message)
        self._metrics.received[_TAGS[kind]] += 1
        try:
            if kind is m.Ping:
                self._pong(message)
            elif kind is m.Join:
                self._joining = True
                self._rooms.join(self.session, message)
            else:
                self._rooms.receive(self.session, message)
        except Refused as error:
            self._metrics.refused[error.code] += 1
            self.session.send(error_frame(error, message.id))
        except Exception:
            self._log.failure("handling {kind}", kind=_TAGS[kind])
            self.session.send(error_frame(INTERNAL, message.id))
            if kind is m.Join:
                self.settled()

    def settled(self) -> None:
        """The JOIN has been answered: go on with what came after it."""
        self._joining = False
        while self._held and not self._joining:
            self.count -= 1
            self.received(self._held.pop(0))

    def closed(self) -> None:
        """The connection is gone."""
        self._held.clear()
        self._rooms.closed(self.session)

    def _pong(self, ping: m.Ping) -> None:
        self.session.send(text_frame(m.encode(m.Pong(timestamp=int(self._store.now() * 1000)))))
        if ping.id is not None:
            self.session.send(text_frame(m.encode(m.Ack(id=ping.id))))

    def _reject(self, error: m.Error) -> None:
        self._metrics.refused[error.code] += 1
        self.session.send(text_frame(m.encode(error)))
