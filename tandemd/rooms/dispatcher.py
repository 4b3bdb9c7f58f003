"""The messages of members: each type has a handler."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from .. import messages as m
from ..errors import ErrorCode, RequestError
from ..interfaces import IClusterClock, IStore
from ..messages.framing import error_frame, text_frame
from ..ratelimit.spending import RESERVED
from ..rules.commands import Command, Decision
from ..rules.engine import Rules
from ..rules.permissions import PERMISSIONS, believes_it_controls
from ..rules.playback_authority import newest_seen
from ..rules.state import Room
from .metrics import RoomMetrics
from .playback_sync import PlaybackSync
from .queued_command import QueuedCommand
from .replica import RoomReplica
from .session import Session

RELAY_BYTES = 256
"""The bytes of a relay that cost as much as one more delivery."""

CONGESTED = RequestError(ErrorCode.RATE_LIMITED, "This member does not read what it is sent already.", 1000)
NO_SUCH_MEMBER = RequestError(ErrorCode.NO_SUCH_MEMBER, "`to` is not a member of this room.")

_CONVERSATION = frozenset(
    (m.Chat, m.Status, m.UpdateUsername, m.Offer, m.Answer, m.IceCandidate, m.PlaybackAck, m.SyncResponse)
)
"""Messages that may use only a part of a room's credit. The rest is left for controls and moderation."""


Handler = Callable[[Session, RoomReplica, Any], None]


class Dispatcher:
    """Handles the messages of members, within the budgets of room and address.

    handlers: the handler of each type of message but JOIN and PING. It raises RequestError for an immediate refusal.
    """

    def __init__(
        self,
        store: IStore,
        metrics: RoomMetrics,
        positions: PlaybackSync,
        ice_servers: Callable[[str], m.IceServers],
    ):
        """ice_servers: returns the ICE servers of a member, by its user id."""
        self._store = store
        self._metrics = metrics
        self._positions = positions
        self._ice_servers = ice_servers
        self.handlers: dict[type[m.ClientMessage], Handler] = dict.fromkeys(PERMISSIONS, self._submit_command)
        self.handlers[m.PositionUpdate] = positions.position_received
        self.handlers[m.HostHeartbeat] = positions.position_received
        self.handlers[m.RequestSync] = self._request_sync
        self.handlers[m.RequestIceServers] = self._request_ice_servers
        for control in (m.PlayPause, m.Seek, m.SetRate, m.UrlChange):
            self.handlers[control] = self._submit_control
        for kind in (m.Offer, m.Answer, m.IceCandidate, m.PlaybackAck, m.SyncResponse):
            self.handlers[kind] = self._relay

    def _submit_control(self, session: Session, live: RoomReplica, message: m.ClientMessage) -> None:
        room = live.room
        seen = newest_seen(room.playback, room.seq, self._store.clock.now() - live.sync.titled_at, session.round_trip)
        self._submit_command(session, live, message, seen)

    def _submit_command(
        self, session: Session, live: RoomReplica, message: m.ClientMessage, seen: int | None = None
    ) -> None:
        meter, sender = live.meter, session.meter
        if meter is not None and (meter.near_limit or (sender is not None and sender.near_limit)):
            self._check_credit(session, live, type(message))
        if live.sync.new_watchers:
            # The ready gate of a SEEK waits for all members that watch.
            self._positions.begin(live)
        live.commands.submit(QueuedCommand(Command(session.user, session.conn, message, session.nonce, seen), session))

    def _request_sync(self, session: Session, live: RoomReplica, message: m.RequestSync) -> None:
        live.submit(SyncCommand(Command(session.user, session.conn, message), session, self._store.clock))

    def _request_ice_servers(self, session: Session, live: RoomReplica, message: m.RequestIceServers) -> None:
        session.send(text_frame(m.encode(self._ice_servers(session.user))))
        if message.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

    def _relay(self, session: Session, live: RoomReplica, message: m.Relay) -> None:
        meter, sender = live.meter, session.meter
        if meter is not None and (meter.near_limit or (sender is not None and sender.near_limit)):
            self._check_credit(session, live, type(message))
        frame = text_frame(m.encode(m.relayed(message, session.user)))
        target = live.group.get(message.to)
        if target is None:
            self._relay_to_mailbox(session, live, message, frame)
            return
        if target.lagging and target.congested:
            raise CONGESTED
        target.send_relay(frame)
        self._metrics.relays.value += 1
        if meter is not None:
            deliveries = 1 + len(frame) // RELAY_BYTES
            # Inlined `RoomReplica.charge`.
            meter.charge(0, deliveries)
            if sender is not None:
                sender.charge(0, deliveries)
        if message.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

    def _relay_to_mailbox(self, session: Session, live: RoomReplica, message: m.Relay, frame: bytes) -> None:
        """Store a relay for a member that has no connection here. Another node takes it at once."""

        def done(error: RequestError | None) -> None:
            if error is not None:
                self._metrics.refused[error.code] += 1
                session.send(error_frame(error, message.id))
            elif message.id is not None:
                session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

        member = live.room.members.get(message.to)
        if member is None:
            raise NO_SUCH_MEMBER
        if live.meter is not None:
            # The mailbox of a member without connection stores the relay, like a change.
            live.charge(session, live.meter, 0 if member.conn else len(frame), 1 + len(frame) // RELAY_BYTES)
        # The ACK follows when the relay is stored. After an ERROR the sender can send it again.
        self._store.mailboxes.relay(live.room.room_id, message.to, frame, done)

    def _check_credit(self, session: Session, live: RoomReplica, kind: type[m.ClientMessage]) -> None:
        """Raise RequestError if the room, or the address of the sender, has used up its credit."""
        if kind is m.Leave:
            return
        wait = live.meter.wait(RESERVED if kind in _CONVERSATION else 1.0) if live.meter is not None else 0.0
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


class SyncCommand(QueuedCommand):
    """A REQUEST_SYNC. It changes nothing, but waits for its turn, so that its answer includes all earlier commands."""

    __slots__ = ("_clock",)
    session: Session

    def __init__(self, command: Command, session: Session, clock: IClusterClock):
        super().__init__(command, session)
        self._clock = clock

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        return Decision()

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        if self.session.lagging:
            # The client would read an old answer, and may repeat its request meanwhile.
            self.session.on_drained = lambda: self._answer(live)
        else:
            self._answer(live)
        super().done(live, decision, seq)

    def _answer(self, live: RoomReplica) -> None:
        room, user, now = live.room, self.command.user, self._clock.now()
        # The room follows the host. Before an episode change its client asks, and the old url would send it back.
        if self.session.group is live.group and self.session.user == user and user != room.host and room.playback.known:
            answer = m.SyncResponseMessage(
                to=user,
                from_user_id=m.SERVER,
                current_time=room.playback.position_at(now),
                is_playing=room.playback.playing,
                url="" if believes_it_controls(room, user) else room.playback.url,
                timestamp=int(room.playback.moment(now) * 1000),
                seq=room.seq,
            )
            self.session.send(text_frame(m.encode(answer)))
