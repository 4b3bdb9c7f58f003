"""The room service: what a connection's messages do, and what happens by itself as time goes by.

Knows neither sockets nor JSON nor SQL. Rooms are opened when somebody here wants something of them, and closed when
nobody does any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import ceil
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import messages as m
from ..errors import CloseCode, ErrorCode, RequestError
from ..interfaces import Claims, IClusterClock, IStore, PlayerStatus
from ..messages.framing import error_frame, text_frame
from ..ratelimit import Meter, Spending
from ..ratelimit.spending import RESERVED
from ..rules.commands import Command, Decision, Due, Lost
from ..rules.engine import Rules
from ..rules.event_types import EventType
from ..rules.permissions import PERMISSIONS, believes_it_controls
from ..rules.state import Commit, Pin, Room
from ..util.services import Periodic
from ..util.sweeper import TIME_SLICE, Sweeper
from .directory import Directory
from .joining.controller import DETACHED, PENDING, JoinController
from .joining.limits import JoinDeferredError, JoinLimiter, JoinLimits
from .joining.pending_joins import Retries
from .metrics import RoomMetrics
from .playback_sync import PlaybackSync, PlaybackSyncSettings
from .registry import RoomRegistry
from .replica import PATIENCE, QueuedCommand, RoomReplica
from .session import Outbox, Session
from .store_events import StoreEventHandler

log = Logger()

AT_ONCE = 8
"""Steps of something long that are taken in the turn in which it begins."""
_DONE = object()

REOPEN_SECONDS = 2.0
"""Seconds after which rooms are tried again that could not be opened for JOINs: `AT_ONCE` of these each time."""

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
        self._vouch = vouch
        self._spending = spending
        self._metrics = metrics
        self._slices = Cooperator(self._slice, lambda go_on: clock.callLater(0, go_on))
        self._retries = Retries(clock, rules.settings, self._retry, lambda: not store.ready())
        self.others = StoreEventHandler(store.clock, self._join_again, self._retries.reloaded)
        self.open = RoomRegistry(store, self._make, self._do_in_slices)
        self.others.attach(self.open)
        self._unopened: dict[Session, m.Join] = {}
        self._reopening: IDelayedCall | None = None
        self._stopping = False
        self._away_since = 0.0
        self._away = False
        self.positions = PlaybackSync(store.clock, positions, lambda: self.open, metrics)
        self._rations = JoinLimiter(store, limits, clock, metrics, lambda: len(self.open))
        self.directory = Directory(store, self.open, clock, rules, self._rations.invited)
        self._admission = JoinController(
            store,
            rules,
            hash_pin,
            clock,
            metrics,
            self._rations,
            self._session_moved,
            self._conflict,
            self._again,
            self._retries,
            self._do_in_slices,
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
        self._stopping = True
        self._sweep.stop()
        self._ask_due.stop()
        self._admission.lobby.close()
        self._retries.close()
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        self._slices.stop()
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
        self._forget_waiting(session)
        if self._vouched(session, join):
            session.pending_join = join
            self._enter(session, join)

    def _vouched(self, session: Session, join: m.Join) -> bool:
        """Say whether the JOIN's signed token, if it needs one, is valid now; if not, the JOIN has been answered."""
        try:
            session.claims = self._vouch(join)
        except RequestError as error:
            session.pending_join = None
            self._not_opened(session, join, error)
            return False
        return True

    def _enter(
        self, session: Session, join: m.Join, *, again: bool = False, counted: bool = False, told: bool = False
    ) -> None:
        """told: that its room could not be opened is no news."""
        if not counted:
            try:
                self._rations.join(session.address)
            except JoinDeferredError as error:
                self._admission.defer(session, join, error, again)
                return
        self.open.use(
            join.room_id,
            lambda live: self._admission.submit(live, session, join, again=again),
            lambda error: self._not_opened(session, join, error, told),
        )

    def _again(self, session: Session, join: m.Join, counted: bool) -> None:
        """It may be time for a JOIN that was put off."""
        if self._vouched(session, join):
            self._enter(session, join, again=True, counted=counted)

    def _retry(self, live: RoomReplica, session: Session, join: m.Join) -> None:
        """A JOIN that waited at a room may be accepted now."""
        if self._vouched(session, join):
            self._admission.submit(live, session, join, again=True)
        else:
            self._retries.answered(live, session, join.user_id)
            self.open.close_if_idle(live)

    def _not_opened(self, session: Session, join: m.Join, error: RequestError, told: bool = False) -> None:
        if not told:
            self._metrics.refused[error.code] += 1
            session.send(error_frame(error, join.id))
        if error.code in PENDING and not session.gone:
            self._unopened[session] = join
            self._reopen_later()
        session.settled()

    def _reopen_later(self) -> None:
        if self._reopening is None and not self._stopping:
            self._reopening = self._clock.callLater(REOPEN_SECONDS, self._reopen)

    def _reopen(self) -> None:
        """Try some of the JOINs whose rooms could not be opened, also if the store never says that it can be used again."""
        self._reopening = None
        if self._store.ready():
            some: dict[Session, m.Join] = {}
        else:
            some = dict(islice(self._unopened.items(), AT_ONCE))
        for session in some:
            del self._unopened[session]
        self._do_in_slices(self._enter_all(some))
        if self._unopened:
            self._reopen_later()

    def receive(self, session: Session, message: m.ClientMessage) -> None:
        """Carry out any message but JOIN and PING. Raises RequestError if it is refused at once."""
        if session.group is None:
            raise DETACHED if session.detached else NOT_JOINED
        self._receivers[type(message)](session, session.group.live, message)

    def closed(self, session: Session) -> None:
        """The session's connection is gone; to be told once or more."""
        session.gone = True
        self._forget_waiting(session)
        if session.group is None or self._stopping:
            return
        live, user = session.group.live, session.user
        self._keep_letters(session, live, user)
        session.group.remove(session)
        live.submit(QueuedCommand(Command(user, session.conn, Lost())))
        self.open.close_if_idle(live)

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
                self._charge(session, live.meter, 0, 1 + len(frame) // RELAY_BYTES)
            done()
        elif (member := live.room.members.get(message.to)) is not None:
            # A member at another node takes it at once. For one that is lost it waits, and is stored like a change.
            if live.meter is not None:
                size = 0 if member.conn else len(frame)
                self._charge(session, live.meter, size, 1 + len(frame) // RELAY_BYTES)
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

    def _charge(self, session: Session, meter: Meter, size: int, deliveries: int) -> None:
        """Have a room and the address of a session pay for relays. meter: the room's. size: bytes that wait in a mailbox."""
        meter.charge(size, deliveries)
        if session.meter is not None:
            session.meter.charge(size, deliveries)

    def _keep_letters(self, session: Session, live: RoomReplica, user: str) -> None:
        """Keep for the next connection of a member what this one may not have got, as long as room and address have credit.

        Without that limit, clients that read nothing and drop their connections would have others' relays fill the store.
        """
        for letter in session.unproven():
            if live.meter is not None:
                if live.meter.wait() or (session.meter is not None and session.meter.wait()):
                    self._metrics.rate_limited["address"] += 1
                    break
                self._charge(session, live.meter, len(letter), 0)
            self._store.mailboxes.relay(live.room.room_id, user, letter)

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
            self._retries.committed(live, commit)

    def _session_moved(self, live: RoomReplica, command: Command) -> None:
        """A session does not speak for a member any more."""
        live.submit(QueuedCommand(command))
        self.open.close_if_idle(live)

    # -- JOINs that cannot be granted yet

    def _forget_waiting(self, session: Session) -> None:
        asked, session.pending_join = session.pending_join, None
        self._unopened.pop(session, None)
        self._admission.lobby.forget(session)
        live = self.open.get(asked.room_id) if asked is not None else None
        if live is not None and asked is not None:
            self._retries.answered(live, session, asked.user_id)
            if live.waiting.forget(session, asked.user_id):
                self.open.close_if_idle(live)

    def _conflict(self, live: RoomReplica, user: str) -> None:
        """Somebody wants to be a member that is here: perhaps that connection is dead and nobody has noticed yet."""
        session = live.group.get(user)
        if session is not None:
            session.probe(lambda alive: None if alive else self._connection_dead(session))

    def _connection_dead(self, session: Session) -> None:
        if not session.gone:
            session.close(CloseCode.INTERNAL_ERROR, "no answer to a ping")
            # Nobody will answer the closing handshake, and somebody is waiting.
            self.closed(session)

    def _join_again(self) -> None:
        """The store is back: JOINs that waited for it."""
        unopened, self._unopened = self._unopened, {}
        self._do_in_slices(self._enter_all(unopened))
        self._do_in_slices(self._available())

    def _do_in_slices(self, steps: Iterator[None]) -> Deferred[Any]:
        """Take the first steps at once, and let the reactor do what else it has between the others; fires when all are done."""
        for _ in range(AT_ONCE):
            if next(steps, _DONE) is _DONE:
                return succeed(None)
        done: Deferred[Any] = self._slices.coiterate(steps)
        return done.addErrback(_log_unless_stopped)

    def _slice(self) -> Callable[[], bool]:
        until = self._clock.seconds() + TIME_SLICE
        return lambda: self._clock.seconds() >= until

    def _enter_all(self, unopened: dict[Session, m.Join]) -> Iterator[None]:
        for session, join in unopened.items():
            if session.pending_join is join and self._vouched(session, join):
                self._enter(session, join, counted=True, told=True)
                yield

    def _available(self) -> Iterator[None]:
        for live in self.open:
            self._retries.available(live)
            yield

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
            lambda room_ids: self._do_in_slices(self._do_due(room_ids))
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


def _log_unless_stopped(failure: Failure) -> None:
    if not failure.check(SchedulerStopped):
        log.failure("work in slices", failure=failure)
