"""A command in the queue of a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import messages as m
from ..errors import INTERNAL, RequestError
from ..messages.framing import error_frame, text_frame
from ..rules.commands import Command, Decision
from ..rules.engine import Rules
from ..rules.state import Room
from .session import Session

if TYPE_CHECKING:
    from .replica import RoomReplica


class QueuedCommand:
    """A command that waits for its turn, and what happens to it. session: who sent it, None for the server's own."""

    __slots__ = ("command", "session")

    def __init__(self, command: Command, session: Session | None = None):
        self.command = command
        self.session = session

    @property
    def retry_when_unavailable(self) -> bool:
        """Whether it is done later if the store is away: what the server itself wants must happen some time."""
        return self.session is None

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        """Return what the command leads to. Raises as `Rules.decide` does."""
        return rules.decide(room, self.command, now)

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        """The command was not carried out and never will be."""
        if self.session is not None:
            self.session.send(error_frame(error, self.command.body.id))

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        """The command was carried out: everything it changed has been applied and told. seq: its commit, or the last."""
        session = self.session
        if session is None:
            return
        if self.command.body.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=self.command.body.id, seq=seq))))
        if decision.reply is not None:
            session.send(text_frame(m.encode(decision.reply)))

    def stale_pin(self, live: RoomReplica) -> None:
        """The PIN was hashed with the wrong salt; only a JOIN knows what to do then."""
        self.refused(live, INTERNAL)
