"""Sessions that leave rooms: closed connections, and members that have joined another room."""

from __future__ import annotations

from ..errors import CloseCode, ErrorCode, RequestError
from ..interfaces import IStore
from ..rules.commands import Command, Lost, Probe
from ..rules.state import MEMBER, Commit
from .metrics import RoomMetrics
from .queued_command import QueuedCommand
from .registry import RoomRegistry
from .replica import RoomReplica
from .session import Session

NOT_JOINED = RequestError(ErrorCode.NOT_JOINED, "You are in no room; send JOIN first.")
DETACHED = RequestError(ErrorCode.DETACHED, "Another connection speaks for you now; send JOIN to take over again.")


class Departures:
    """Tells rooms of sessions that speak for their members no longer.

    is_closed: whether the node stops. Then closed connections cause no commands, because all of them close.
    """

    def __init__(self, store: IStore, registry: RoomRegistry, metrics: RoomMetrics):
        self._store = store
        self._registry = registry
        self._metrics = metrics
        self.is_closed = False

    def submit(self, live: RoomReplica, command: Command) -> None:
        """Submit the departure of a member, and close its room if nothing here needs it any more."""
        live.submit(QueuedCommand(command))
        self._registry.close_if_idle(live)

    def connection_closed(self, session: Session, since: float = 0.0) -> None:
        """Begin the grace period of the session's member, and cancel its JOIN. Later calls for the session do nothing.

        since: server time since which the client does not answer; 0.0 for now.
        """
        session.gone = True
        if session.pending_join is not None:
            session.pending_join.cancel()
        if session.group is None or self.is_closed:
            return
        live, user = session.group.live, session.user
        self._keep_relays(session, live, user)
        session.group.remove(session)
        self.submit(live, Command(user, session.conn, Lost(since)))

    # -- connections that may be dead without notice

    def probe(self, live: RoomReplica, user: str) -> None:
        """Ping the connection of a member. If it does not answer, the member is lost since the ping.

        A commit asks another node to do so, if the connection is there: see `silent_commit_applied`.
        """
        session = live.group.get(user)
        if session is not None:
            self._probe_here(session)
        elif (member := live.room.members.get(user)) is not None and member.conn:
            live.submit(QueuedCommand(Command(user, "", Probe())))

    def silent_commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """Ping the connections here that another node wants to have probed. Call it for commits without event."""
        for name in commit.changes:
            if name.startswith(MEMBER):
                user = name[len(MEMBER) :]
                member, session = live.room.members.get(user), live.group.get(user)
                if session is not None and member is not None and member.probed_at == commit.at:
                    self._probe_here(session)

    def _probe_here(self, session: Session) -> None:
        since = self._store.clock.now()
        session.probe(lambda is_alive: None if is_alive else self._connection_dead(session, since))

    def _connection_dead(self, session: Session, since: float) -> None:
        """Close a connection that has not answered a ping. Its client will not answer the closing handshake either."""
        if not session.gone:
            session.close(CloseCode.INTERNAL_ERROR, "no answer to a ping")
            self.connection_closed(session, since)

    def _keep_relays(self, session: Session, live: RoomReplica, user: str) -> None:
        """Keep relays that the client may not have received for its next connection, within the budgets of room and address.

        Without the budgets, clients that read nothing and drop their connections could fill the store.
        """
        for frame in session.take_unconfirmed():
            if live.meter is not None:
                if live.meter.wait() or (session.meter is not None and session.meter.wait()):
                    self._metrics.rate_limited["address"] += 1
                    break
                live.charge(session, live.meter, len(frame), 0)
            self._store.mailboxes.relay(live.room.room_id, user, frame)
