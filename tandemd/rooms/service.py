"""The room service: what a connection's messages do, and what happens by itself as time goes by.

Knows neither sockets nor JSON nor SQL. Rooms are opened when somebody here wants something of them, and closed when
nobody does any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .. import messages as m
from ..errors import ErrorCode, RequestError
from ..interfaces import Claims, IClusterClock, IStore, PlayerStatus
from ..messages.framing import error_frame, text_frame
from ..ratelimit import Spending
from ..ratelimit.spending import RESERVED
from ..rules.commands import Command, Decision, Due
from ..rules.engine import Rules
from ..rules.event_types import EventType
from ..rules.permissions import PERMISSIONS, believes_it_controls
from ..rules.state import Commit, Pin, Room
from ..util.services import Periodic
from ..util.sweeper import Sweeper
from ..util.time_slicer import TimeSlicer
from .departures import DETACHED, Departures
from .directory import Directory
from .joining.controller import JoinController
from .joining.limits import JoinLimiter, JoinLimits
from .joining.preparation import JoinPreparer
from .joining.waits import JoinWaits
from .metrics import RoomMetrics
from .playback_sync import PlaybackSync, PlaybackSyncSettings
from .queued_command import QueuedCommand
from .registry import RoomRegistry
from .replica import PATIENCE, RoomReplica
from .session import Outbox, Session
from .store_events import StoreEventHandler

log = Logger()

RELAY_BYTES = 256
"""So many bytes of what one member sends to another cost as much as one more delivery."""

SWEEP = 0.25
"""Seconds between two looks at each room."""

NOT_JOINED = RequestError(ErrorCode.NOT_JOINED, "You are in no room; send JOIN first.")
CROWDED = RequestError(ErrorCode.RATE_LIMITED, "This member does not read what it is sent already.", 1000)
NO_SUCH_MEMBER = RequestError(ErrorCode.NO_SUCH_MEMBER, "`to` is not a member of this room.")


class RoomService(service.Service):
    """Everything that members do passes through here.

    hash_pin: hashes a PIN with a salt, in a thread. vouch: returns what a JOIN's signed token says, None where none is
    needed; raises RequestError unless it allows the JOIN. open: the rooms that are open here. others: is told by the store what
    other nodes do. directory: answers what HTTP asks.
    """

    name = "rooms"

    def __init__(
        self,
        store: IStore,
        rules: Rules,
        clock: IReactorTime,
        outbox: Outbox,
        metrics: RoomMetrics,
        hash_pin: Callable[[str, str], Deferred[Pin]],
        positions: PlaybackSyncSettings,
        vouch: Callable[[m.Join], Claims | None],
        limits: JoinLimits,
        spending: Spending | None = None,
    ):
        self._store = store
        self._rules = rules
        self._clock = clock
        self._outbox = outbox
        self._spending = spending
        self._metrics = metrics
        self._slicer = TimeSlicer(clock)
        self._rations = JoinLimiter(store, limits, clock, metrics, lambda: len(self.open))
        self._waits = JoinWaits(clock, rules.settings, store, self._rations, metrics, self._slicer)
        self.others = StoreEventHandler(
            store.clock, lambda: self._waits.store_available(lambda: self.open), self._waits.retries.room_replaced
        )
        self.open = RoomRegistry(store, self._make, self._slicer)
        self.others.attach(self.open)
        self._away_since = 0.0
        self._away = False
        self.positions = PlaybackSync(store.clock, positions, lambda: self.open, metrics)
        self.directory = Directory(store, self.open, clock, rules, self._rations.invited)
        self._departures = Departures(store, self.open, metrics)
        preparer = JoinPreparer(self._rations, hash_pin, self._slicer)
        self._joins = JoinController(
            store, self.open, self._waits, self._rations, preparer, vouch, self._departures, metrics
        )
        self._sweep = Sweeper(clock, SWEEP, lambda: self.open, self._sweep_room)
        self._ask_due = Periodic(clock, SWEEP, self._poll_due_rooms, "looking for rooms that are due")
        self._receivers: dict[type[m.ClientMessage], Callable[[Session, RoomReplica, Any], None]]
        self._receivers = dict.fromkeys(PERMISSIONS, self._command)
        self._receivers[m.PositionUpdate] = self.positions.position_received
        self._receivers[m.HostHeartbeat] = self.positions.position_received
        self._receivers[m.RequestSync] = self._request_sync
        for kind in (m.Offer, m.Answer, m.IceCandidate, m.PlaybackAck, m.SyncResponse):
            self._receivers[kind] = self._relay

    # -- service

    def startService(self) -> None:
        super().startService()
        self._sweep.start()
        self._ask_due.start()

    def stopService(self) -> None:
        super().stopService()
        self._departures.is_closed = True
        self._sweep.stop()
        self._ask_due.stop()
        self._joins.close()
        self._slicer.stop()
        for live in self.open:
            live.close()

    def start_grace(self, room_id: str, prefix: str) -> None:
        """Begin the grace period of a room's members whose connections were on a node that is gone."""
        self.others.node_lost(room_id, prefix).addErrback(
            lambda failure: log.failure("beginning the grace period in {room}", failure, room=room_id)
        )

    # -- what connections do

    def join(self, session: Session, join: m.Join) -> None:
        """Have a JOIN answered, now or later; then `session.settled` is called. Until then its later messages must wait."""
        self._joins.join(session, join)

    def receive(self, session: Session, message: m.ClientMessage) -> None:
        """Carry out any message but JOIN and PING. Raises RequestError if it is refused at once."""
        if session.group is None:
            raise DETACHED if session.detached else NOT_JOINED
        self._receivers[type(message)](session, session.group.live, message)

    def closed(self, session: Session) -> None:
        """The session's connection is gone; to be told once or more."""
        self._departures.connection_closed(session)

    def _command(self, session: Session, live: RoomReplica, message: m.ClientMessage) -> None:
        if live.meter is not None:
            self._check_credit(session, live, type(message))
        if live.new_watchers:
            # A SEEK waits for all who watch.
            self.positions.begin(live)
        live.submit(QueuedCommand(Command(session.user, session.conn, message, session.nonce), session))

    def _request_sync(self, session: Session, live: RoomReplica, message: m.RequestSync) -> None:
        live.submit(SyncCommand(Command(session.user, session.conn, message), session, self._store.clock))

    def _relay(self, session: Session, live: RoomReplica, message: m.Relay) -> None:
        def done(error: RequestError | None = None) -> None:
            if error is not None:
                self._metrics.refused[error.code] += 1
                session.send(error_frame(error, message.id))
            elif message.id is not None:
                session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

        if live.meter is not None:
            self._check_credit(session, live, type(message))
        frame = text_frame(m.encode(m.relayed(message, session.user)))
        target = live.group.get(message.to)
        if target is not None:
            if target.lagging and target.congested:
                raise CROWDED
            target.hand_over(frame)
            self._metrics.relays.value += 1
            if live.meter is not None:
                live.charge(session, live.meter, 0, 1 + len(frame) // RELAY_BYTES)
            done()
        elif (member := live.room.members.get(message.to)) is not None:
            # A member at another node takes it at once. For one that is lost it waits, and is stored like a change.
            if live.meter is not None:
                size = 0 if member.conn else len(frame)
                live.charge(session, live.meter, size, 1 + len(frame) // RELAY_BYTES)
            # Acknowledged when it is kept: a sender that is told otherwise can send it again.
            self._store.mailboxes.relay(live.room.room_id, message.to, frame, done)
        else:
            raise NO_SUCH_MEMBER

    # -- what it costs

    def _check_credit(self, session: Session, live: RoomReplica, kind: type[m.ClientMessage]) -> None:
        """Raise RequestError if the room, or the address of the sender, has spent more than it may."""
        if kind is m.Leave:
            return
        wait = live.meter.wait(RESERVED if kind in _TALK else 1.0) if live.meter is not None else 0.0
        if wait:
            self._metrics.rate_limited["room"] += 1
            raise RequestError(
                ErrorCode.RATE_LIMITED, "Too much happens in this room (limits.room_*_rate).", ceil(wait * 1000)
            )
        wait = session.meter.wait() if session.meter is not None else 0.0
        if wait:
            self._metrics.rate_limited["address"] += 1
            text = "Too much comes from your address (limits.address_*_rate)."
            raise RequestError(ErrorCode.RATE_LIMITED, text, ceil(wait * 1000))

    # -- rooms come and go

    def _make(self, room: Room) -> RoomReplica:
        live = RoomReplica(
            room,
            self._rules,
            self._store,
            self._clock,
            self._outbox,
            self._metrics,
            self._commit_applied,
            self.others,
        )
        if self._spending is not None:
            live.meter, live.rows = self._spending.room(), self._spending.rows()
        return live

    def _commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """After each commit of an open room."""
        if commit.changes:
            self.positions.commit_applied(live, commit)
        if commit.closes:
            live.renew(self.open.blank(live.room.room_id))
        elif commit.event == EventType.USER_JOINED:
            member = live.room.members.get(commit.user)
            if member is not None:
                self.directory.member_joined(live.room.room_id, member.address)
        if (commit.changes or commit.closes) and len(live.waiting):
            self._waits.commit_applied(live, commit)

    # -- time

    def _sweep_room(self, live: RoomReplica) -> None:
        if not live.closed:
            if self._away:
                live.refuse_waiting()
            self.positions.sweep(live)
            self.open.close_if_idle(live)

    def _poll_due_rooms(self) -> Deferred[None]:
        self._notice_away()
        return self._store.rooms.due_rooms(self._store.clock.now()).addCallback(
            lambda room_ids: self._slicer.run(self._do_due(room_ids))
        )

    def _notice_away(self) -> None:
        now = self._clock.seconds()
        if not self._store.ready():
            self._away_since = 0.0
        elif not self._away_since:
            self._away_since = now
        self._away = bool(self._away_since) and now >= self._away_since + PATIENCE

    def _do_due(self, room_ids: Sequence[str]) -> Iterator[None]:
        floor = self._store.clock.grace_floor()
        for room_id in room_ids:
            self.open.use(room_id, lambda live: live.submit(QueuedCommand(Command("", "", Due(floor)))))
            yield

    def presence(self) -> list[PlayerStatus]:
        """Return how the members connected here are doing."""
        return self.positions.presence()


class SyncCommand(QueuedCommand):
    """A REQUEST_SYNC: it changes nothing, but waits for its turn, so that its answer shows what came before it."""

    __slots__ = ("_clock",)
    session: Session

    def __init__(self, command: Command, session: Session, clock: IClusterClock):
        super().__init__(command, session)
        self._clock = clock

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        return Decision()

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        if self.session.lagging:
            # It would be old when it is read, and is asked for again and again meanwhile.
            self.session.on_drained = lambda: self._answer(live)
        else:
            self._answer(live)
        super().done(live, decision, seq)

    def _answer(self, live: RoomReplica) -> None:
        room, user, now = live.room, self.command.user, self._clock.now()
        # The host knows best; on an episode change it asks just before it says so, and an old url would send it back.
        if self.session.group is live.group and self.session.user == user and user != room.host and room.playback.known:
            answer = m.SyncResponseMessage(
                to=user,
                from_user_id=m.SERVER,
                current_time=room.playback.position_at(now),
                is_playing=room.playback.playing,
                url="" if believes_it_controls(room, user) else room.playback.url,
                timestamp=int(now * 1000),
                seq=room.seq,
            )
            self.session.send(text_frame(m.encode(answer)))


_TALK = frozenset((m.Chat, m.UpdateUsername, m.Offer, m.Answer, m.IceCandidate, m.PlaybackAck, m.SyncResponse))
"""What may use a part of a room's credit only: controls and moderation go on while members talk too much."""
