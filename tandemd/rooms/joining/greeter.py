"""The first messages to an accepted member: missed commits, the state of the room, and its mail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ... import messages as m
from ...errors import INTERNAL, RequestError
from ...interfaces import IStore
from ...messages.framing import text_frame
from ...rules import join as rules_of_join
from ...rules.commands import Command, Lost
from ...rules.event_types import EventType
from ...rules.permissions import believes_it_controls
from ...rules.state import Commit, Member, Version
from ...util import secrets
from ..departures import DETACHED, Departures
from ..metrics import RoomMetrics
from ..replica import RoomReplica
from ..session import Session
from .join_command import JoinCommand
from .pending_join import JoinState, PendingJoin

log = Logger()

MAX_REPLAY_QUERIES = 3
"""Queries for missed commits, after which the member learns that they are not known."""

REPLAY_SHARE = 0.5
"""The part of an address' burst of bytes that replays may use. The rest is left for commands."""


class JoinGreeter:
    """Greets members.

    submit: has the room decide a JOIN again, whose member was taken for lost meanwhile.
    ice_servers: returns the ICE servers of a member, by its user id.
    """

    def __init__(
        self,
        store: IStore,
        departures: Departures,
        submit: Callable[[RoomReplica, PendingJoin], None],
        metrics: RoomMetrics,
        ice_servers: Callable[[str], m.IceServers],
    ):
        self._metrics = metrics
        self._ice_servers = ice_servers
        self._store = store
        self._departures = departures
        self._submit = submit

    def accepted(self, live: RoomReplica, command: JoinCommand) -> None:
        """Greet the member of an accepted JOIN, after a query for missed commits if it resumes."""
        join = command.pending.join
        if command.decision.event != EventType.USER_RESUMED or join.resume is None:
            self._store.mailboxes.drop_mail(live.room.room_id, join.user_id)
            self._greet(live, command, None)
            return
        member = live.room.members.get(join.user_id)
        if member is None or join.resume.seq < member.replayed_from:
            # It asks for messages from before its admission.
            self._greet(live, command, None)
        else:
            Deferred.fromCoroutine(self._replay(live, command, (join.resume.epoch, join.resume.seq)))

    async def _replay(self, live: RoomReplica, command: JoinCommand, after: Version) -> None:
        pending = command.pending
        try:
            if pending.is_active:
                pending.move(JoinState.REPLAYING)
            with live.kept_open():
                missed = await self._missed(live, after)
            self._greet(live, command, missed)
        except Exception:
            log.failure("failed to greet a member of {room}", event="greeting_failed", room=live.room.room_id)
            if pending.is_active:
                pending.reject(INTERNAL)

    async def _missed(self, live: RoomReplica, after: Version) -> list[Commit] | None:
        """Return the commits from a version up to the version of the replica, or None if they are not known.

        The room changes during the query, so the answer may be incomplete. The tail of the replica has the rest.
        """
        missed: list[Commit] = []
        room_uuid = live.room.room_uuid
        for left in reversed(range(MAX_REPLAY_QUERIES + 1)):
            rest = live.since(after)
            if rest is not None:
                return missed + rest
            if not left:
                break
            try:
                answer = await self._store.rooms.replay(live.room.room_id, after)
            except RequestError:
                return None
            if answer is None or live.room.room_uuid != room_uuid:
                return None
            if answer:
                missed += answer
                after = answer[-1].epoch, answer[-1].seq
            if after >= live.room.version:
                return missed
        return None

    def _greet(self, live: RoomReplica, command: JoinCommand, missed: Sequence[Commit] | None) -> None:
        """Move the session into the room and send all that the member has to know. missed: None if not known."""
        pending, session = command.pending, command.session
        user = pending.join.user_id
        member = self._current_member(live, pending)
        if member is None:
            return
        old_room, old_user = (session.group.live if session.group else None), session.user
        if session.group is not None and (old_room, old_user) != (live, user):
            session.group.remove(session)
        session.player.joined(member.watching, self._store.clock.now())
        session.nonce = pending.join.nonce or ""
        live.group.add(session, user)
        is_resumed = self._send_missed(live, session, missed)
        self._send_greeting(live, command, member, None if pending.join.resume is None else is_resumed)
        if command.decision.event == EventType.USER_RESUMED:
            mail = self._store.mailboxes.take_mail(live.room.room_id, user)
            mail.addCallback(self._deliver, live, session, user)
            mail.addErrback(_mail_not_taken, live.room.room_id)
        if not (pending.is_notified or pending.is_outage_reported):
            self._metrics.join_latency.observe(max(0.0, self._store.clock.now() - pending.received_at))
        if pending.is_active:
            pending.finish()
        if old_room is not None and (old_room, old_user) != (live, user):
            self._departures.submit(old_room, Command(old_user, session.conn, m.Leave()))

    def _current_member(self, live: RoomReplica, pending: PendingJoin) -> Member | None:
        """Return the member for which a JOIN speaks. None if it speaks for none any more; then the JOIN needs no greeting."""
        session, join = pending.session, pending.join
        is_superseded = False
        if not pending.is_active:
            # Closed or replaced since the commit. Until a later JOIN of the same member is decided, which may take long, its
            # session speaks for the member that this one has made.
            newer = session.pending_join
            is_superseded = newer is not None and (newer.join.room_id, newer.join.user_id) == (
                join.room_id,
                join.user_id,
            )
            if not is_superseded:
                body = Lost() if session.gone else m.Leave()
                self._departures.submit(live, Command(join.user_id, session.conn, body))
                return None
        member = live.room.members.get(join.user_id)
        if is_superseded and (member is None or member.conn != session.conn):
            return None  # the later JOIN has its own answer
        if member is None or not member.conn:
            # Taken for lost during the query, or removed already. No other connection speaks for the member.
            pending.is_notified = True
            self._submit(live, pending)
            return None
        if member.conn != session.conn:
            # Another connection has taken over.
            session.detached = True
            pending.reject(DETACHED)
            return None
        return member

    def _send_missed(self, live: RoomReplica, session: Session, missed: Sequence[Commit] | None) -> bool:
        """Send missed commits, within the budget of the address. Return whether the member has all of them now."""
        if missed is None:
            return False
        replayed = [commit for commit in missed if commit.messages and commit.seq <= live.room.seq]
        meter = session.meter
        if replayed and meter is not None and meter.wait(REPLAY_SHARE):
            return False
        if replayed:
            size, pieces = live.replay.pieces(replayed, session.user)
            if meter is not None:
                meter.charge(size, 0)
            session.stream(pieces)
        return True

    def _send_greeting(self, live: RoomReplica, command: JoinCommand, member: Member, is_resumed: bool | None) -> None:
        session, decision, token = command.session, command.decision, command.token
        is_issued = bool(token) and secrets.hash_token(token) in (member.token, member.next_token)
        messages = rules_of_join.greeting(
            live.room,
            member.user_id,
            self._store.clock.now(),
            live.features,
            first=decision.event == EventType.USER_JOINED,
            controls=believes_it_controls(live.room, member.user_id),
            resumed=is_resumed,
            token=token if is_issued else None,
            sync=live.drift_policy,
            with_users=live.lists_users(),
            ice=self._ice_servers(member.user_id) if command.pending.join.calls else None,
        )
        for message in messages:
            if not isinstance(message, m.RoomState):
                session.send(_frame(message))
                continue
            live.send_room_state(session, message)
            if decision.reply is not None:
                session.send(_frame(decision.reply))
        if command.pending.join.id is not None:
            session.send(_frame(m.Ack(id=command.pending.join.id, seq=command.seq)))

    def _deliver(self, frames: Sequence[bytes], live: RoomReplica, session: Session, user: str) -> None:
        member = live.room.members.get(user)
        if session.gone and member is not None and member.conn in ("", session.conn):
            # Lost during the query: the mailbox keeps them for the next connection.
            for frame in frames:
                self._store.mailboxes.relay(live.room.room_id, user, frame)
            return
        for frame in frames:
            session.send_relay(frame)


def _frame(message: m.ServerMessage) -> bytes:
    return text_frame(m.encode(message))


def _mail_not_taken(failure: Failure, room_id: str) -> None:
    # After an outage the store delivers the mail by itself.
    if not failure.check(RequestError):
        log.failure("failed to take the mail of {room}", event="mail_failed", failure=failure, room=room_id)
