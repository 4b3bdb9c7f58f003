"""A command in the queue of a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import messages as m
from ..errors import INTERNAL, ErrorCode, RequestError
from ..messages.framing import error_frame, text_frame
from ..rules.commands import Command, Decision
from ..rules.engine import Rules
from ..rules.state import Room
from .session import Session

if TYPE_CHECKING:
    from .replica import RoomReplica


class QueuedCommand:
    """A command, its sender, and the reaction to its outcome.

    session: the session that has sent it, None for a command of the server itself.
    """

    __slots__ = ("command", "session")

    def __init__(self, command: Command, session: Session | None = None):
        self.command = command
        self.session = session

    @property
    def kind(self) -> str:
        """The type of the command, for the log."""
        return type(self.command.body).__name__

    @property
    def retry_when_unavailable(self) -> bool:
        """Whether the command is retried after an outage of the store, as all commands of the server itself."""
        return self.session is None

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        """Return the effect of the command. Raises as `Rules.decide` does."""
        return rules.decide(room, self.command, now)

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        """Send the ERROR of a refused command, which is not retried."""
        if self.session is not None:
            if error.code is ErrorCode.STALE:
                live.send_state(self.session)
            self.session.send(error_frame(error, self.command.body.id))

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        """Send the ACK of a command whose commit is applied. seq: that of its commit, or of the room if it has none."""
        session = self.session
        if session is None:
            return
        if self.command.body.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=self.command.body.id, seq=seq))))
        if decision.reply is not None:
            session.send(text_frame(m.encode(decision.reply)))

    def stale_pin(self, live: RoomReplica) -> None:
        """React to a PIN whose hash has the wrong salt. Only a JOIN has a PIN."""
        self.refused(live, INTERNAL)
