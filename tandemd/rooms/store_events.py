"""What other nodes do to the rooms that are open here, and what this node does when its own members are concerned."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from .. import messages as m
from ..errors import CloseCode, RequestError
from ..interfaces import IClusterClock, IStoreEventHandler
from ..messages.framing import text_frame
from ..rules import join
from ..rules.commands import Command, Decision, NodeLost, Reattach
from ..rules.permissions import own_control
from ..rules.settings import MAX_MEMBERS_PER_COMMIT
from ..rules.state import Commit, Member, Room, Version
from .joining.waits import JoinWaits
from .queued_command import QueuedCommand
from .registry import RoomRegistry
from .replica import RoomReplica
from .session import Session


@implementer(IStoreEventHandler)
class StoreEventHandler:
    """See `IStoreEventHandler` and `OrphanedSessionHandler`."""

    def __init__(self, clock: IClusterClock, registry: RoomRegistry, waits: JoinWaits):
        self._clock = clock
        self._open = registry
        self._waits = waits

    def committed(self, room_id: str, commits: Sequence[Commit]) -> None:
        live = self._open.get(room_id)
        if live is not None:
            live.following.receive(commits)

    def head(self, room_id: str, room_uuid: str, version: Version) -> None:
        live = self._open.get(room_id)
        if live is not None:
            live.following.head_version(room_uuid, version)

    def renewed(self, room_id: str) -> None:
        live = self._open.get(room_id)
        if live is not None:
            live.following.reload()

    def held(self) -> Sequence[tuple[Room, Sequence[Commit]]]:
        return [(live.room, tuple(live.tail)) for live in self._open if live.room.seq]

    def available(self) -> None:
        self._waits.store_available(lambda: self._open)

    def present(self, room_id: str, user_id: str) -> bool:
        live = self._open.get(room_id)
        return live is not None and live.group.get(user_id) is not None

    def members_here(self, room_id: str) -> Sequence[str]:
        live = self._open.get(room_id)
        return [session.user for session in live.group] if live is not None else []

    def relayed(self, room_id: str, user_id: str, frame: bytes) -> None:
        live = self._open.get(room_id)
        session = live.group.get(user_id) if live is not None else None
        # Too late to refuse it; and better lost than that it has the member cut off.
        if session is not None and not session.congested:
            session.hand_over(frame)

    def node_lost(self, room_id: str, prefix: str) -> Deferred[None]:
        noted: Deferred[None] = Deferred()
        entry = NodeLostCommand(Command("", "", NodeLost(prefix)), noted)
        self._open.use(room_id, lambda live: live.submit(entry), noted.errback)
        return noted

    def reloaded(self, live: RoomReplica, room: Room | None) -> None:
        """An open room turned out to be another than what follows on what was known: see who is still in it."""
        live.renew(room or self._open.blank(live.room.room_id))
        state = text_frame(m.encode(join.state_of(live.room, self._clock.now())))
        for session in list(live.group):
            member = live.room.members.get(session.user)
            if member is not None and member.conn not in (session.conn, ""):
                live.group.remove(session)
                session.detached = True
                continue
            if member is not None:
                session.send(state)
                if session.user in live.room.moderation.delegates:
                    session.send(text_frame(m.encode(own_control(live.room, session.user))))
            if member is None or not member.conn:
                self.reattach(live, session, member)
        self._waits.retries.room_replaced(live)

    def reattach(self, live: RoomReplica, session: Session, member: Member | None) -> None:
        """A member whose connection is here and alive was taken for lost, or is out already (None)."""
        if member is not None:
            # Before what the member has said meanwhile, which would be refused.
            live.submit(QueuedCommand(Command(session.user, session.conn, Reattach())), first=True)
        else:
            live.group.remove(session)
            session.close(CloseCode.SERVICE_RESTART, "join again")


class NodeLostCommand(QueuedCommand):
    """Repeats NODE_LOST until it has marked all members, and tells when that is so, or that it was refused."""

    __slots__ = ("_noted",)

    def __init__(self, command: Command, noted: Deferred[None]):
        super().__init__(command)
        self._noted = noted

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        self._noted.errback(error)

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        if len((decision.details or {}).get("users", ())) >= MAX_MEMBERS_PER_COMMIT:
            # It has marked a part of the members. Not after fewer: one that reattaches meanwhile would be marked for ever.
            live.submit(self)
        else:
            self._noted.callback(None)
