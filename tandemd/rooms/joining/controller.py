"""JOIN, from the message to the first things a member is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ... import messages as m
from ...errors import INTERNAL, ErrorCode, RequestError
from ...interfaces import IStore
from ...messages.framing import error_frame, text_frame
from ...ratelimit.buckets import Plan
from ...rules import join as joining
from ...rules.commands import Command, Decision, Enter, Lost, StalePinError
from ...rules.engine import Rules
from ...rules.event_types import EventType
from ...rules.permissions import believes_it_controls
from ...rules.state import Commit, Pin, Room, Version
from ...util import secrets
from ...util.lifo_semaphore import LifoSemaphore, QueueFullError
from ..metrics import RoomMetrics
from ..replica import QueuedCommand, RoomReplica
from ..session import Session
from .limits import JoinDeferredError, JoinLimiter
from .pending_joins import LINES, STORE, Retries
from .queue import JoinQueue

log = Logger()

QUESTIONS = 3
"""How often the store is asked what a member has missed, before it is told that this is not known."""

STORE_RETRY_MS = 2000
"""Milliseconds after which a JOIN that the store has refused is tried again, where the refusal does not say."""

REPLAYED = 0.5
"""The part of an address' burst of bytes that replays may use: commands find the rest."""

DETACHED = RequestError(ErrorCode.DETACHED, "Another connection speaks for you now; send JOIN to take over again.")

PENDING = frozenset((ErrorCode.IDENTITY_CONFLICT, ErrorCode.ROOM_FULL, ErrorCode.LOCKED, ErrorCode.UNAVAILABLE))
"""Refusals after which a JOIN stays pending: an old client joins only when it connects, and would stay outside."""


class JoinController:
    """Turns a JOIN into a command with everything in it that takes time or chance, and greets who came in.

    hash_pin: hashes a PIN with a salt, in a thread. moved: called with the room, user and conn that a session speaks for
    no longer, and the command that says why. conflict: called when somebody wants to be a member that is here already.
    again: has a JOIN that was put off asked for again, and is told whether that it came has been counted. retries: is told
    what became of JOINs that had waited. in_slices: takes steps, and lets the reactor do what else it has between them.
    """

    def __init__(
        self,
        store: IStore,
        rules: Rules,
        hash_pin: Callable[[str, str], Deferred[Pin]],
        clock: IReactorTime,
        metrics: RoomMetrics,
        rations: JoinLimiter,
        moved: Callable[[RoomReplica, Command], None],
        conflict: Callable[[RoomReplica, str], None],
        again: Callable[[Session, m.Join, bool], None],
        retries: Retries,
        in_slices: Callable[[Iterator[None]], object],
    ):
        self.store = store
        self.rules = rules
        self.moved = moved
        self.conflict = conflict
        self.rations = rations
        self.retries = retries
        self._in_slices = in_slices
        self.lobby = JoinQueue(clock)
        self._hash_pin = hash_pin
        self._clock = clock
        self._metrics = metrics
        self._again = again
        self._turns = LifoSemaphore()
        self._creating: dict[RoomReplica, list[Deferred[None]]] = {}

    def submit(self, live: RoomReplica, session: Session, join: m.Join, *, again: bool = False) -> None:
        """Have a JOIN decided. again: it was pending; being refused once more is no news."""
        live.joining += 1
        if live.room.seq == 0 or self._needs_pin(live.room, session, join):
            work = Deferred.fromCoroutine(self._prepare(live, session, join, again))
            work.addErrback(self._failed, live, session, join)
        else:
            self._submit(live, session, join, None, again)

    def _needs_pin(self, room: Room, session: Session, join: m.Join) -> bool:
        """Say whether the PIN that was given has to be compared with the room's."""
        if not join.pin or room.settings.pin is None:
            return False
        member = room.members.get(join.user_id)
        return member is None or not joining.proves_identity(
            member, session.conn, join.nonce or "", self._body(room, session, join, None, "")
        )

    def _body(self, room: Room, session: Session, join: m.Join, pin: Pin | None, token: str) -> Enter:
        """Return a JOIN as the rules want it. token: the resume secret to issue if one is due, "" for none."""
        claims = session.claims
        return Enter(
            username=claims.name if claims and claims.name else join.username,
            address=session.address,
            pin=pin,
            token=secrets.hash_token(join.token) if join.token else "",
            new_token=secrets.hash_token(token) if token else "",
            resume=join.resume is not None,
            invite=secrets.new_invite() if room.seq == 0 else "",
            id=join.id,
            role=claims.role if claims else "",
            named=bool(claims and claims.name),
            modern=join.keeps_token or join.id is not None or bool(join.nonce),
        )

    async def _prepare(self, live: RoomReplica, session: Session, join: m.Join, again: bool) -> None:
        """Work out what takes time. The room is asked for what has to be compared with it only when that is done."""
        spent, founder = Reservation(), False
        try:
            if live.room.seq == 0:
                founders = self._creating.get(live)
                if founders is not None:
                    # Of all who want a new room at once one creates it, and the others need not be allowed to.
                    waiting: Deferred[None] = Deferred()
                    founders.append(waiting)
                    await waiting
                    live.joining -= 1
                    if session.pending_join is join:
                        self.submit(live, session, join, again=again)
                    return
                self._creating[live] = []
                founder = True
                spent.founding = await self.rations.found(join.room_id, session.address)
            room = live.room
            if room.seq == 0:
                hashed = await self._hash_in_turn(None, session, join, secrets.new_salt()) if join.pin else None
            elif join.pin and room.settings.pin is not None:
                spent.room = room
                hashed = await self._compare(room, room.settings.pin, session, join, spent)
            else:
                hashed = None
        except RequestError as error:
            live.joining -= 1
            self.rations.refund(spent.founding)
            self._reject_or_defer(live, session, join, error, again)
            if founder:
                self.room_created(live)
            return
        self._submit(live, session, join, hashed, again, spent)
        if founder and session.pending_join is not join:
            self.room_created(live)

    async def _compare(self, room: Room, pin: Pin, session: Session, join: m.Join, spent: Reservation) -> Pin:
        """Return the hash of the PIN that was given, or one that cannot be right if that is known already."""
        assert join.pin
        if self.rations.is_known_wrong_pin(room, join.pin):
            spent.room = None
            return Pin(pin.salt, "")
        return await self._hash_in_turn(spent, session, join, pin.salt)

    async def _hash_in_turn(self, spent: Reservation | None, session: Session, join: m.Join, salt: str) -> Pin:
        """Hash the PIN; spent: what a try costs is taken first, if it is one."""
        who = session.address or session.conn
        try:
            await self._turns.acquire(who)
        except QueueFullError:
            raise JoinDeferredError("hashing", "hashing", 1.0) from None
        try:
            if spent is not None and spent.room is not None:
                came = self.rations.first_seen(spent.room, who)
                spent.trying = await self.rations.reserve_pin_attempt(spent.room, session.address, came)
            return await self._hash_pin(join.pin or "", salt)
        finally:
            self._turns.release(who)

    def room_created(self, live: RoomReplica) -> None:
        """Whoever was to create the room has, or will not: the others may go on."""
        self._in_slices(_fire(self._creating.pop(live, ())))

    def defer(self, session: Session, join: m.Join, error: JoinDeferredError, again: bool, since: float = 0.0) -> None:
        """Let a JOIN wait for what there is not enough of. since: when who sends it came; 0.0: just now."""
        if not again:
            self._metrics.joins_deferred[error.reason] += 1
            self._metrics.refused[error.code] += 1
            session.send(error_frame(error, join.id))
        since = since or self._clock.seconds()
        who = session.address if error.reason.startswith("pin_") and session.address else session.conn
        counted = error.reason != "joins"
        self.lobby.enqueue(error.place, who, since, session, error.seconds, lambda: self._again(session, join, counted))
        session.settled()

    def put_off_at(self, live: RoomReplica, session: Session, join: m.Join, again: bool) -> None:
        """Let a JOIN wait whose address has as many members in the room as it may have."""
        self.defer(session, join, self.rations.crowded(live.room.room_id, session.address), again)

    def _reject_or_defer(
        self, live: RoomReplica, session: Session, join: m.Join, error: RequestError, again: bool
    ) -> None:
        if session.pending_join is not join:
            return
        if isinstance(error, JoinDeferredError):
            self.retries.answered(live, session, join.user_id)
            self.defer(session, join, error, again, self.rations.first_seen(live.room, session.address or session.conn))
            return
        if not again:
            self._metrics.refused[error.code] += 1
        self.wait(live, session, join, error, again)

    def wait(self, live: RoomReplica, session: Session, join: m.Join, error: RequestError, again: bool) -> None:
        """Let a JOIN wait at the room until what keeps it out changes; in the lobby, if too many of its address wait there."""
        try:
            self.rations.pend(live.room.room_id, session.address, live.waiting.of_scope)
        except JoinDeferredError as crowd:
            self.retries.answered(live, session, join.user_id)
            self.defer(session, join, crowd, again)
            return
        if not again:
            session.send(error_frame(error, join.id))
        line = LINES.get(error.code, STORE)
        live.waiting.add(session, join, line)
        if line == STORE:
            self.retries.again_after(live, (error.retry_after or STORE_RETRY_MS) / 1000)
        # Another may have what this one could not take.
        self.retries.look(live)
        session.settled()

    def _failed(self, failure: Failure, live: RoomReplica, session: Session, join: m.Join) -> None:
        log.failure("preparing a JOIN", failure=failure)
        live.joining -= 1
        self.room_created(live)
        if session.pending_join is join:
            self.retries.answered(live, session, join.user_id)
            session.send(error_frame(INTERNAL, join.id))
            session.settled()

    def _submit(
        self,
        live: RoomReplica,
        session: Session,
        join: m.Join,
        pin: Pin | None,
        again: bool,
        spent: Reservation | None = None,
    ) -> None:
        live.joining -= 1
        if session.pending_join is not join:
            # It has asked for something else meanwhile, or is gone.
            if spent is not None:
                self.rations.refund(spent.founding)
                self.rations.refund(spent.trying)
            return
        token = secrets.new_token(live.room.room_id, join.user_id) if join.keeps_token else ""
        body = self._body(live.room, session, join, pin, token)
        command = Command(join.user_id, session.conn, body, join.nonce or "")
        live.submit(JoinCommand(self, command, session, join, token, again, spent))


class Reservation:
    """What a JOIN was allowed. room: whose PIN it tries, if it does. trying, founding: what was taken for that."""

    __slots__ = ("founding", "room", "trying")

    def __init__(self) -> None:
        self.room: Room | None = None
        self.trying: Plan = ()
        self.founding: Plan = ()


class JoinCommand(QueuedCommand):
    __slots__ = ("_admission", "_again", "_join", "_spent", "_token")
    session: Session

    def __init__(
        self,
        admission: JoinController,
        command: Command,
        session: Session,
        join: m.Join,
        token: str,
        again: bool,
        spent: Reservation | None,
    ):
        super().__init__(command, session)
        self._spent = spent
        self._admission = admission
        self._join = join
        self._token = token
        self._again = again

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        if room.seq == 0 and not self.command.body.invite:
            # The room has ended since this was prepared, and a new one needs more.
            raise StalePinError
        return super().decide(rules, room, now)

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        self._settle_up(live, wrong=error.code == ErrorCode.BAD_PIN)
        if self.session.pending_join is not self._join:
            return
        if error.code == ErrorCode.BAD_PIN and self._join.pin and self.command.body.pin is None:
            # It was still a member, who needs no PIN, when the PIN was left unhashed.
            self.stale_pin(live)
            return
        if error.code in PENDING:
            self._admission.wait(live, self.session, self._join, error, self._again)
            if error.code == ErrorCode.IDENTITY_CONFLICT:
                self._admission.conflict(live, self._join.user_id)
            return
        self._admission.retries.answered(live, self.session, self._join.user_id)
        if error.code == ErrorCode.RATE_LIMITED:
            self._admission.put_off_at(live, self.session, self._join, self._again)
            return
        self.session.send(error_frame(error, self._join.id))
        self.session.settled()

    def _settle_up(
        self, live: RoomReplica, *, came_in: bool = False, created: bool = False, wrong: bool = False
    ) -> None:
        """Give back what was not used. Whether the PIN was right is not known of who did not come in for another reason."""
        spent, self._spent = self._spent, None
        if spent is None:
            return
        rations = self._admission.rations
        if spent.room is not None:
            if wrong:
                rations.pin_rejected(spent.room, self._join.pin or "")
            elif came_in:
                rations.pin_accepted(spent.room, self.session.address, spent.trying)
            else:
                rations.refund(spent.trying)
        if not created:
            rations.refund(spent.founding)
        self._admission.room_created(live)

    def stale_pin(self, live: RoomReplica) -> None:
        self._settle_up(live)
        self._admission.submit(live, self.session, self._join, again=self._again)

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        self._settle_up(live, came_in=True, created=seq == 1)
        self._admission.retries.answered(live, self.session, self._join.user_id)
        resume = self._join.resume
        if decision.event == EventType.USER_RESUMED and resume is not None:
            member = live.room.members.get(self._join.user_id)
            if member is None or resume.seq < member.replayed_from:
                # It asks for what was said before the member came.
                self._welcome(live, decision, seq, None)
                return
            live.joining += 1  # there may be nobody else here, and the room is to stay open
            missed = Deferred.fromCoroutine(self._missed(live, (resume.epoch, resume.seq)))
            missed.addBoth(self._looked_up, live)
            missed.addCallback(lambda commits: self._welcome(live, decision, seq, commits))
            missed.addErrback(self._not_welcomed, live)
        else:
            self._admission.store.mailboxes.drop_mail(live.room.room_id, self._join.user_id)
            self._welcome(live, decision, seq, None)

    def _not_welcomed(self, failure: Failure, live: RoomReplica) -> None:
        log.failure("admitting to {room}", failure=failure, room=live.room.room_id)
        if self.session.pending_join is self._join:
            self.session.send(error_frame(INTERNAL, self._join.id))
            self.session.settled()

    def _looked_up(self, result: Any, live: RoomReplica) -> Any:
        live.joining -= 1
        return result

    async def _missed(self, live: RoomReplica, after: Version) -> list[Commit] | None:
        """Return what was committed after a version, up to where the room is here, or None if that is not known.

        The room goes on while the store is asked, so an answer is old when it comes; the room's own tail has the rest.
        """
        missed: list[Commit] = []
        room_uuid = live.room.room_uuid
        for left in reversed(range(QUESTIONS + 1)):
            bridge = live.since(after)
            if bridge is not None:
                return missed + bridge
            if not left:
                break
            try:
                found = await self._admission.store.rooms.replay(live.room.room_id, after)
            except RequestError:
                return None
            if found is None or live.room.room_uuid != room_uuid:
                return None
            if found:
                missed += found
                after = found[-1].epoch, found[-1].seq
            if after >= live.room.version:
                return missed
        return None

    def _welcome(self, live: RoomReplica, decision: Decision, seq: int, missed: Sequence[Commit] | None) -> None:
        session, admission, join, room = self.session, self._admission, self._join, live.room
        user = join.user_id
        if session.pending_join is not join:
            # Gone, or joining something else, since the commit was made. A later JOIN for the same has its own answer.
            newer = session.pending_join
            if newer is None or (newer.room_id, newer.user_id) != (join.room_id, user):
                admission.moved(live, Command(user, session.conn, Lost() if session.gone else m.Leave()))
            return
        member = room.members.get(user)
        if member is None or not member.conn:
            # Taken for lost while the store was asked, or out already; no other connection speaks for it.
            admission.submit(live, session, join, again=True)
            return
        if member.conn != session.conn:
            # Taken over by another connection.
            session.detached = True
            session.send(error_frame(DETACHED, join.id))
            session.settled()
            return
        before = (session.group.live if session.group else None), session.user
        if session.group is not None and before != (live, user):
            session.group.remove(session)
        session.watching = member.watching
        session.last_position_at = admission.store.clock.now()
        session.nonce = join.nonce or ""
        live.group.add(session, user)
        meter = session.meter
        replayed = [commit for commit in missed or () if commit.messages and commit.seq <= room.seq]
        if replayed and meter is not None and meter.wait(REPLAYED):
            missed, replayed = None, []
        resumed = None if join.resume is None else missed is not None
        if replayed:
            size, pieces = live.replay.pieces(replayed, user)
            if meter is not None:
                meter.charge(size, 0)
            session.stream(pieces)
        issued = bool(self._token) and secrets.hash_token(self._token) in (member.token, member.next_token)
        now = admission.store.clock.now()
        for told in joining.greeting(
            room,
            user,
            now,
            first=decision.event == EventType.USER_JOINED,
            controls=believes_it_controls(room, user),
            resumed=resumed,
            token=self._token if issued else None,
        ):
            if session.lagging and isinstance(told, m.RoomState):
                session.stream(map(_encoded, (told,)))  # it is long, and waits for a client that does not read
            else:
                session.send(_encoded(told))
            if isinstance(told, m.RoomState) and decision.reply is not None:
                session.send(text_frame(m.encode(decision.reply)))
        if join.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=join.id, seq=seq))))
        if decision.event == EventType.USER_RESUMED:
            mail = admission.store.mailboxes.take_mail(room.room_id, user)
            mail.addCallback(self._send_all, live)
            mail.addErrback(_not_taken, room.room_id)
        session.settled()
        if before[0] is not None and before != (live, user):
            admission.moved(before[0], Command(before[1], session.conn, m.Leave()))

    def _send_all(self, frames: Sequence[bytes], live: RoomReplica) -> None:
        session, user = self.session, self._join.user_id
        member = live.room.members.get(user)
        if session.gone and member is not None and member.conn in ("", session.conn):
            # Lost while the store was asked: it is kept for the next time.
            for frame in frames:
                self._admission.store.mailboxes.relay(live.room.room_id, user, frame)
            return
        for frame in frames:
            session.hand_over(frame)


def _encoded(message: m.ServerMessage) -> bytes:
    return text_frame(m.encode(message))


def _not_taken(failure: Failure, room_id: str) -> None:
    # If the store is away, it delivers what it keeps as soon as it is back.
    if not failure.check(RequestError):
        log.failure("taking the mail of {room}", failure=failure, room=room_id)


def _fire(waiting: Sequence[Deferred[None]]) -> Iterator[None]:
    for deferred in waiting:
        deferred.callback(None)
        yield
