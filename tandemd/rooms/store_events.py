"""Events of the store: commits and relays of other nodes, and their effects on members that are connected here."""

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
from ..rules.engine import Rules
from ..rules.permissions import own_control
from ..rules.settings import MAX_MEMBERS_PER_COMMIT
from ..rules.state import Commit, Member, Room, Version
from .joining.waits import JoinWaits
from .playback_sync import PlaybackSync
from .queued_command import QueuedCommand
from .registry import RoomRegistry
from .replica import RoomReplica
from .session import Session


@implementer(IStoreEventHandler)
class StoreEventHandler:
    """See `IStoreEventHandler` and `OrphanedSessionHandler`."""

    def __init__(self, clock: IClusterClock, registry: RoomRegistry, waits: JoinWaits, positions: PlaybackSync):
        self._clock = clock
        self._positions = positions
        self._registry = registry
        self._waits = waits

    def committed(self, room_id: str, commits: Sequence[Commit]) -> None:
        live = self._registry.get(room_id)
        if live is not None:
            live.following.receive(commits)

    def head(self, room_id: str, room_uuid: str, version: Version) -> None:
        live = self._registry.get(room_id)
        if live is not None:
            live.following.head_version(room_uuid, version)

    def renewed(self, room_id: str) -> None:
        live = self._registry.get(room_id)
        if live is not None:
            live.following.reload()

    def held(self) -> Sequence[tuple[Room, Sequence[Commit]]]:
        return [(live.room, tuple(live.tail)) for live in self._registry if live.room.seq]

    def available(self) -> None:
        self._waits.store_available(lambda: self._registry)

    def present(self, room_id: str, user_id: str) -> bool:
        live = self._registry.get(room_id)
        return live is not None and live.group.get(user_id) is not None

    def members_here(self, room_id: str) -> Sequence[str]:
        live = self._registry.get(room_id)
        return [session.user for session in live.group] if live is not None else []

    def relayed(self, room_id: str, user_id: str, frame: bytes) -> None:
        live = self._registry.get(room_id)
        session = live.group.get(user_id) if live is not None else None
        # The sender has its ACK already. A lost relay is better than a connection that is closed as too slow.
        if session is not None and not session.congested:
            session.send_relay(frame)

    def node_lost(self, room_id: str, prefix: str) -> Deferred[None]:
        marked: Deferred[None] = Deferred()
        entry = NodeLostCommand(Command("", "", NodeLost(prefix)), marked)
        self._registry.use(room_id, lambda live: live.submit(entry), marked.errback)
        return marked

    def check_connections(self, room_id: str) -> Deferred[bool]:
        checked: Deferred[bool] = Deferred()
        self._registry.use(
            room_id, lambda live: checked.callback(self._registry.lose_absent_members(live)), checked.errback
        )
        return checked

    def reloaded(self, live: RoomReplica, room: Room | None) -> None:
        """Replace the room of a replica, and send ROOM_STATE to the sessions of its members. See `OrphanedSessionHandler`."""
        titled_at = live.room.playback.titled_at
        live.renew(room or self._registry.blank(live.room.room_id))
        state = join.state_of(
            live.room, self._clock.now(), live.features, sync=live.drift_policy, with_users=live.lists_users()
        )
        for session in list(live.group):
            member = live.room.members.get(session.user)
            if member is not None and member.conn not in (session.conn, ""):
                live.group.remove(session)
                session.detached = True
                continue
            if member is not None:
                live.send_room_state(session, state)
                if session.user in live.room.moderation.delegates:
                    session.send(text_frame(m.encode(own_control(live.room, session.user))))
            if member is None or not member.conn:
                self.reattach(live, session, member)
        self._positions.room_reloaded(live, live.room.playback.titled_at != titled_at)
        self._waits.retries.room_replaced(live)

    def reattach(self, live: RoomReplica, session: Session, member: Member | None) -> None:
        """Reattach a session, or close it. See `OrphanedSessionHandler`."""
        if member is not None:
            # First, because the room would refuse commands that the member has sent meanwhile.
            live.submit(ReattachCommand(live, session), first=True)
        else:
            live.group.remove(session)
            session.close(CloseCode.SERVICE_RESTART, "join again")


class ReattachCommand(QueuedCommand):
    """Gives a lost member its connection back, if that is still its connection when the room decides."""

    __slots__ = ("_attached",)

    def __init__(self, live: RoomReplica, session: Session):
        super().__init__(Command(session.user, session.conn, Reattach()))
        self._attached = live.group, session

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        group, session = self._attached
        if group.get(self.command.user) is not session:
            # It has ended meanwhile, or another connection has taken over the member and is lost, too.
            return Decision()
        return super().decide(rules, room, now)


class NodeLostCommand(QueuedCommand):
    """Marks the members of a lost node, in several commits if they are many.

    marked: fires when all are marked, and fails if the command is refused.
    """

    __slots__ = ("_marked",)

    def __init__(self, command: Command, marked: Deferred[None]):
        super().__init__(command)
        self._marked = marked

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        self._marked.errback(error)

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        if len((decision.details or {}).get("users", ())) >= MAX_MEMBERS_PER_COMMIT:
            # More members may be left. With fewer it must not repeat: it would mark a member that reattaches again and again.
            live.submit(self)
        else:
            self._marked.callback(None)
