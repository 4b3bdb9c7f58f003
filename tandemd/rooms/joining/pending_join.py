"""One JOIN of one session, and the states that it passes through until it is accepted, rejected or cancelled."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

from ... import messages as m
from ...errors import INTERNAL, RequestError
from ...interfaces import Claims
from ...messages.framing import error_frame
from ...rules.commands import Enter
from ...rules.state import Pin
from ...util import secrets
from ..session import Session

if TYPE_CHECKING:
    from ..replica import RoomReplica

log = Logger()


class JoinState(Enum):
    """The state of a pending JOIN. docs/architecture.md draws `TRANSITIONS`."""

    RECEIVED = "Received"
    RATE_LIMITED = "RateLimited"
    """Its address has sent too many JOINs."""
    OPENING_ROOM = "OpeningRoom"
    """The registry opens the room, or waits for the store to do so."""
    CREATING = "Creating"
    """The room is new: this JOIN reserves its creation, or waits for the JOIN that does."""
    HASHING = "Hashing"
    """The PIN waits for its hash."""
    DEFERRED = "Deferred"
    """A limit other than the rate of JOINs is exhausted."""
    SUBMITTED = "Submitted"
    """The command is in the queue of the replica."""
    WAITING_FOR_CHANGE = "WaitingForChange"
    """The room has refused it for a reason that may change: a taken user id, no place, a lock, no store."""
    REPLAYING = "Replaying"
    """The member is accepted; the store reads the commits that it has missed."""
    DONE = "Done"
    """Accepted, rejected or cancelled."""


_S = JoinState

_DECIDING = frozenset((_S.CREATING, _S.HASHING, _S.SUBMITTED))
_WAITING = frozenset((_S.DEFERRED, _S.WAITING_FOR_CHANGE))

TRANSITIONS: dict[JoinState, frozenset[JoinState]] = {
    _S.RECEIVED: frozenset((_S.RATE_LIMITED, _S.OPENING_ROOM)),
    _S.RATE_LIMITED: frozenset((_S.OPENING_ROOM,)),
    _S.OPENING_ROOM: _DECIDING,
    _S.CREATING: frozenset((_S.HASHING, _S.SUBMITTED)) | _WAITING,
    _S.HASHING: frozenset((_S.SUBMITTED,)) | _WAITING,
    _S.DEFERRED: frozenset((_S.OPENING_ROOM,)),
    _S.SUBMITTED: frozenset((_S.CREATING, _S.HASHING, _S.REPLAYING)) | _WAITING,
    _S.WAITING_FOR_CHANGE: _DECIDING,
    _S.REPLAYING: _DECIDING,
    _S.DONE: frozenset(),
}
"""The states that may follow on each state. Besides, each state may follow on itself, and DONE on each."""


WITHDRAWING = frozenset(
    (
        m.PlayPause, m.Seek, m.SetRate, m.UrlChange, m.Chat, m.UpdateUsername, m.Call, m.ToggleGuestControl, m.WaitForBuffering,
        m.TransferHost, m.DelegateControl, m.LockRoom, m.Kick, m.Ban, m.Unban, m.Admit,
    )
)  # fmt: skip
"""Messages by which a person acts in a room. They end a waiting JOIN for another room, which would take the person out of it.

Clients send the other messages by themselves."""


class JoinOwner(Protocol):
    """Carries out the transitions of pending JOINs: `JoinController`."""

    def retry(self, pending: PendingJoin) -> None:
        """Authenticate the JOIN again and open its room."""

    def resubmit(self, live: RoomReplica, pending: PendingJoin) -> None:
        """Authenticate the JOIN again and submit it to its open room."""

    def forget(self, pending: PendingJoin) -> None:
        """Remove the JOIN from the place where it waits."""


class PendingJoin:
    """A JOIN from its arrival to its end.

    join: the message.
    state: see `JoinState`; only `move`, `reject`, `finish` and `cancel` change it.
    claims: the claims of its auth token, None without one.
    is_admitted: whether the host has let it into the locked room.
    is_counted: whether the rate limit of its address has counted it.
    is_notified: whether its client knows that it waits. Further reasons to wait are not sent.
    is_outage_reported: whether its client knows that the store cannot open the room.
    received_at: when it arrived, by the store's clock.
    """

    __slots__ = (
        "_owner",
        "claims",
        "is_admitted",
        "is_counted",
        "is_notified",
        "is_outage_reported",
        "join",
        "received_at",
        "session",
        "state",
    )

    def __init__(self, owner: JoinOwner, session: Session, join: m.Join, received_at: float = 0.0):
        self._owner = owner
        self.received_at = received_at
        self.session = session
        self.join = join
        self.state = JoinState.RECEIVED
        self.claims: Claims | None = None
        self.is_admitted = False
        self.is_counted = False
        self.is_notified = False
        self.is_outage_reported = False

    @property
    def is_active(self) -> bool:
        """Whether the JOIN still waits for its end."""
        return self.state is not JoinState.DONE

    @property
    def client_key(self) -> str:
        """The address of the client, or the name of its connection where addresses mean nothing."""
        return self.session.address or self.session.conn

    def move(self, state: JoinState) -> None:
        """Enter the next state. Raises RuntimeError if `TRANSITIONS` does not allow it."""
        if state is not self.state:
            if state not in TRANSITIONS[self.state]:
                raise RuntimeError(f"JOIN: no transition from {self.state.name} to {state.name}")
            self.state = state

    def finish(self) -> None:
        """End the JOIN after its last answer. The session handles its later messages."""
        self.state = JoinState.DONE
        self.session.settled()

    def reject(self, error: RequestError) -> None:
        """End the JOIN with an ERROR."""
        self.session.send(error_frame(error, self.join.id))
        self.finish()

    def cancel(self) -> None:
        """End the JOIN without an answer, in any state, and release all that it holds.

        The causes are a later JOIN, a message that withdraws it, and the end of the connection. A command in the queue of
        the replica is still decided. If it is accepted, its member leaves again.
        """
        if self.session.pending_join is self:
            self.session.pending_join = None
        if self.is_active:
            self.state = JoinState.DONE
            self._owner.forget(self)

    def withdrawn_by(self, kind: type[m.ClientMessage]) -> bool:
        """Return whether a later message of the client ends the JOIN, which waits: LEAVE, or an act in the room that it is in.

        A JOIN for the same member in the same room takes the client out of nothing.
        """
        if kind is m.Leave:
            return self.is_active
        group, join = self.session.group, self.join
        return (
            self.is_active
            and kind in WITHDRAWING
            and group is not None
            and (group.live.room.room_id, self.session.user) != (join.room_id, join.user_id)
        )

    def retry(self) -> None:
        """Try the JOIN again from the start, after it was deferred or its room could not be opened."""
        try:
            self._owner.retry(self)
        except Exception:
            self._failed()

    def resubmit(self, live: RoomReplica) -> None:
        """Have the room decide the JOIN again."""
        try:
            self._owner.resubmit(live, self)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        """Reject the JOIN after an error of the program, so that its client and the JOINs behind it do not wait for ever."""
        log.failure("failed to retry a JOIN", event="join_retry_failed")
        if self.is_active:
            self.cancel()
            self.reject(INTERNAL)

    def command_body(self, pin: Pin | None, token: str, invite: str) -> Enter:
        """Return the JOIN as input of the rules.

        pin: the hash of its PIN, None for none.
        token: the resume token to issue if the rules allow one, "" for none.
        invite: the invite code of a room that it creates, "" for none.
        """
        claims, join = self.claims, self.join
        return Enter(
            username=claims.name if claims and claims.name else join.username,
            address=self.session.address,
            pin=pin,
            token=secrets.hash_token(join.token) if join.token else "",
            new_token=secrets.hash_token(token) if token else "",
            resume=join.resume is not None,
            invite=invite,
            id=join.id,
            role=claims.role if claims else "",
            named=bool(claims and claims.name),
            modern=join.keeps_token or join.id is not None or bool(join.nonce),
            follows=join.follows,
            schedules=join.schedules,
            admitted=self.is_admitted,
            calls=join.calls,
            received_at=round(self.received_at, 3),
        )
