"""A JOIN in the queue of a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ErrorCode, RequestError
from ...rules.commands import Command, Decision, StalePinError
from ...rules.engine import Rules
from ...rules.state import Room
from ..queued_command import QueuedCommand
from ..session import Session
from .pending_join import PendingJoin

if TYPE_CHECKING:
    from ..replica import RoomReplica
    from .controller import JoinController
    from .preparation import Reservation


class JoinCommand(QueuedCommand):
    """See `QueuedCommand`.

    token: the resume token to issue, "" for none.
    decision, seq: set when the JOIN is accepted.
    """

    __slots__ = ("_controller", "_reservation", "decision", "pending", "seq", "token")
    session: Session

    def __init__(
        self,
        controller: JoinController,
        command: Command,
        pending: PendingJoin,
        token: str,
        reservation: Reservation | None,
    ):
        super().__init__(command, pending.session)
        self._controller = controller
        self._reservation = reservation
        self.pending = pending
        self.token = token
        self.decision = Decision()
        self.seq = 0

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        if room.seq == 0 and not self.command.body.invite:
            # The room has ended since the preparation, and a new one needs more.
            raise StalePinError
        return super().decide(rules, room, now)

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        is_wrong_pin = error.code == ErrorCode.BAD_PIN
        if self._reservation is not None:
            self._reservation.settle(wrong_pin=is_wrong_pin)
        if not self.pending.is_active:
            return
        if is_wrong_pin and self.pending.join.pin and self.command.body.pin is None:
            # At the submission it was a member, which needs no PIN, so the PIN was not hashed.
            self._controller.submit(live, self.pending)
        else:
            self._controller.refused(live, self.pending, error)

    def stale_pin(self, live: RoomReplica) -> None:
        if self._reservation is not None:
            self._reservation.settle()
        self._controller.submit(live, self.pending)

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        if self._reservation is not None:
            self._reservation.settle(accepted=True, created=seq == 1)
        self.decision, self.seq = decision, seq
        self._controller.accepted(live, self)
