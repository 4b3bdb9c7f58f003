"""The way of a JOIN from its message to its command, and from a refusal to the next attempt."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ... import messages as m
from ...errors import INTERNAL, ErrorCode, RequestError
from ...interfaces import IStore
from ...messages.framing import error_frame
from ...rules import identity
from ...rules.commands import Command
from ...rules.state import Pin
from ..departures import Departures
from ..metrics import RoomMetrics
from ..registry import RoomRegistry
from ..replica import RoomReplica
from ..session import Session
from .credentials import JoinCredentials
from .greeter import JoinGreeter
from .join_command import JoinCommand
from .limits import JoinDeferredError, JoinLimiter
from .pending_join import JoinState, PendingJoin
from .preparation import JoinPreparer, Reservation
from .waits import JoinWaits

log = Logger()

PENDING = frozenset((ErrorCode.IDENTITY_CONFLICT, ErrorCode.ROOM_FULL, ErrorCode.LOCKED, ErrorCode.UNAVAILABLE))
"""Refusals after which a JOIN stays pending. An old client sends JOIN once per connection, and would stay outside."""


class JoinController:
    """Carries out the transitions of pending JOINs. docs/architecture.md draws them."""

    def __init__(
        self,
        store: IStore,
        registry: RoomRegistry,
        waits: JoinWaits,
        limiter: JoinLimiter,
        preparer: JoinPreparer,
        credentials: JoinCredentials,
        departures: Departures,
        metrics: RoomMetrics,
    ):
        self._registry = registry
        self._waits = waits
        self._limiter = limiter
        self._preparer = preparer
        self._authenticate = credentials.authenticate
        self._departures = departures
        self._metrics = metrics
        self._clock = store.clock
        self._greeter = JoinGreeter(store, departures, self.submit, metrics, credentials.ice_servers)

    def close(self) -> None:
        """Stop all retries."""
        self._waits.close()

    def join(self, session: Session, join: m.Join) -> None:
        """Answer a JOIN, now or later. It replaces the session's earlier JOIN.

        Calls `session.settled` when the session may handle its later messages: after the answer, or once the JOIN waits.
        """
        if session.pending_join is not None:
            session.pending_join.cancel()
        pending = session.pending_join = PendingJoin(self, session, join, self._clock.now())
        self.retry(pending)

    def retry(self, pending: PendingJoin) -> None:
        """Authenticate the JOIN again and open its room. See `JoinOwner`."""
        if not self._is_authentic(pending):
            return
        if not pending.is_counted:
            try:
                self._limiter.take_join(pending.session.address)
            except JoinDeferredError as error:
                self._waits.defer(pending, error)
                return
            pending.is_counted = True
        pending.move(JoinState.OPENING_ROOM)
        self._registry.use(
            pending.join.room_id,
            lambda live: self._room_opened(live, pending),
            lambda error: self._room_not_opened(pending, error),
        )

    def resubmit(self, live: RoomReplica, pending: PendingJoin) -> None:
        """Authenticate the JOIN again and submit it to its open room. See `JoinOwner`."""
        if self._is_authentic(pending):
            self.submit(live, pending)

    def forget(self, pending: PendingJoin) -> None:
        """Remove a cancelled JOIN from the place where it waits. See `JoinOwner`."""
        self._waits.forget(pending)
        live = self._registry.get(pending.join.room_id)
        if live is not None:
            self._waits.retries.retry_ended(live, pending)
            if live.waiting.forget(pending):
                self._registry.close_if_idle(live)

    def _is_authentic(self, pending: PendingJoin) -> bool:
        """Return whether the auth token of a JOIN, if it needs one, is valid now. If not, reject the JOIN."""
        try:
            pending.claims = self._authenticate(pending.join)
        except RequestError as error:
            self._metrics.refused[error.code] += 1
            pending.cancel()
            pending.reject(error)
            return False
        return True

    # -- opening

    def _room_opened(self, live: RoomReplica, pending: PendingJoin) -> None:
        pending.is_outage_reported = False
        self.submit(live, pending)

    def _room_not_opened(self, pending: PendingJoin, error: RequestError) -> None:
        if not pending.is_active:
            return
        if error.code not in PENDING:
            self._metrics.refused[error.code] += 1
            pending.reject(error)
            return
        if not pending.is_outage_reported:
            self._metrics.refused[error.code] += 1
            pending.session.send(error_frame(error, pending.join.id))
            pending.is_outage_reported = True
        # The next reason to wait is news again.
        pending.is_notified = False
        self._waits.wait_for_store(pending)
        pending.session.settled()

    # -- deciding

    def submit(self, live: RoomReplica, pending: PendingJoin) -> None:
        """Have an open room decide a JOIN, after its preparation if it needs one."""
        if not pending.is_active:
            return
        if self._preparer.is_needed(live.room, pending):
            Deferred.fromCoroutine(self._prepare(live, pending))
        else:
            self._submit(live, pending, None, None)

    async def _prepare(self, live: RoomReplica, pending: PendingJoin) -> None:
        """Submit a JOIN after its preparation. The room may change meanwhile, and is open until the end."""
        reservation = Reservation(self._preparer, live, pending)
        with live.kept_open():
            try:
                await self._reserve_and_hash(live, pending, reservation)
            except Exception:
                log.failure("failed to prepare a JOIN", event="join_failed")
                reservation.settle()
                self._end_retry_and_reject(live, pending, INTERNAL)

    async def _reserve_and_hash(self, live: RoomReplica, pending: PendingJoin, reservation: Reservation) -> None:
        try:
            if live.room.seq == 0 and not await self._preparer.reserve_creation(live, pending, reservation):
                self.submit(live, pending)
                return
            pin = await self._preparer.hash(live.room, pending, reservation)
        except RequestError as error:
            self._not_prepared(live, pending, error)
            reservation.settle()
        else:
            self._submit(live, pending, pin, reservation)

    def _not_prepared(self, live: RoomReplica, pending: PendingJoin, error: RequestError) -> None:
        if not pending.is_active:
            return
        if isinstance(error, JoinDeferredError):
            self._waits.retries.retry_ended(live, pending)
            self._waits.defer(pending, error, self._limiter.first_seen(live.room, pending.client_key))
            return
        if not pending.is_notified:
            self._metrics.refused[error.code] += 1
        self._waits.wait(live, pending, error)

    def _submit(
        self, live: RoomReplica, pending: PendingJoin, pin: Pin | None, reservation: Reservation | None
    ) -> None:
        if not pending.is_active:
            if reservation is not None:
                reservation.settle()
            return
        pending.move(JoinState.SUBMITTED)
        session, join = pending.session, pending.join
        token = self._preparer.new_token(live.room, pending)
        body = pending.command_body(pin, token, self._preparer.new_invite(live.room))
        command = Command(join.user_id, session.conn, body, join.nonce or "")
        live.submit(JoinCommand(self, command, pending, token, reservation))

    # -- results

    def accepted(self, live: RoomReplica, command: JoinCommand) -> None:
        """Greet the member that a committed JOIN has accepted."""
        self._waits.retries.retry_ended(live, command.pending)
        member, new_token = live.room.members.get(command.command.user), command.command.body.new_token
        if member is not None and identity.has_token(member, new_token):
            self._limiter.admitted(live.room, new_token)
        if member is not None and member.successor_of:
            # The connection of the host may be dead without notice.
            self._departures.probe(live, member.successor_of)
        self._greeter.accepted(live, command)

    def refused(self, live: RoomReplica, pending: PendingJoin, error: RequestError) -> None:
        """Let a refused JOIN wait if the reason may change, else reject it."""
        if error.code in PENDING:
            self._waits.wait(live, pending, error)
            user = pending.join.user_id
            if error.code == ErrorCode.IDENTITY_CONFLICT:
                self._departures.probe(live, user)
            seconds = identity.seconds_to_takeover(live.room, user, pending.session.address, self._clock.now())
            if seconds:
                self._waits.retries.retry_user_after(live, user, seconds)
        elif error.code == ErrorCode.RATE_LIMITED:
            self._waits.retries.retry_ended(live, pending)
            self._waits.defer(pending, self._limiter.too_many_members(live.room.room_id, pending.session.address))
        else:
            self._end_retry_and_reject(live, pending, error)

    def _end_retry_and_reject(self, live: RoomReplica, pending: PendingJoin, error: RequestError) -> None:
        if pending.is_active:
            self._waits.retries.retry_ended(live, pending)
            pending.reject(error)
