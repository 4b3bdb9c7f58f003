"""The room service: what a connection's messages do, and what happens by itself as time goes by.

Knows neither sockets nor JSON nor SQL. Rooms are opened when somebody here wants something of them, and closed when
nobody does any more.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application import service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from . import messages as m
from . import tokens
from .admission import Admission
from .errors import Refused
from .frames import text_frame
from .interfaces import IFollower, IRooms, IRoomStore, Presence
from .liverooms import Entry, LiveRoom
from .metrics import Metrics
from .positions import Positions, PositionSettings
from .room.commands import Command, Decision, Due, Lost, NodeLost
from .room.permissions import PERMISSIONS
from .room.rules import Rules
from .room.state import Commit, Pin, Room
from .sessions import Outbox, Session

log = Logger()

NOT_JOINED = Refused("not_joined", "You are in no room; send JOIN first.")
DETACHED = Refused("detached", "Another connection speaks for you now; send JOIN to take over again.")
NO_SUCH_MEMBER = Refused("no_such_member", "`to` is not a member of this room.")


@implementer(IRooms, IFollower)
class RoomService(service.Service):
    """Everything that members do passes through here. hash_pin: hashes a PIN with a salt, in a thread."""

    name = "rooms"

    def __init__(
        self,
        store: IRoomStore,
        rules: Rules,
        clock: IReactorTime,
        outbox: Outbox,
        metrics: Metrics,
        hash_pin: Callable[[str, str], Deferred[Pin]],
        positions: PositionSettings,
    ):
        self._store = store
        self._rules = rules
        self._clock = clock
        self._outbox = outbox
        self._metrics = metrics
        self._live: dict[str, LiveRoom] = {}
        self._stopping = False
        self._invite_waiters: dict[str, list[Deferred[None]]] = {}
        self.positions = Positions(store, positions, self._live.values)
        self._admission = Admission(store, rules, hash_pin, self._moved, self._conflict)
        self._sweep = LoopingCall(self._swept)
        self._sweep.clock = clock
        self._receivers: dict[type[m.ClientMessage], Callable[[Session, LiveRoom, Any], None]]
        self._receivers = dict.fromkeys(PERMISSIONS, self._command)
        self._receivers[m.PositionUpdate] = self.positions.moved
        self._receivers[m.HostHeartbeat] = self.positions.moved
        self._receivers[m.RequestSync] = self._request_sync
        for kind in (m.Offer, m.Answer, m.IceCandidate, m.PlaybackAck, m.SyncResponse):
            self._receivers[kind] = self._relay

    # -- service

    def startService(self) -> None:
        super().startService()
        self._sweep.start(0.25, now=False)

    def stopService(self) -> None:
        super().stopService()
        self._stopping = True
        if self._sweep.running:
            self._sweep.stop()
        for live in self._live.values():
            live.close()

    def start_grace(self, code: str, prefix: str) -> None:
        """Begin the grace period of a room's members whose connections were on a node that is gone."""
        self._with_room(code, lambda live: live.submit(Entry(Command("", "", NodeLost(prefix)))))

    # -- what connections do

    def join(self, session: Session, join: m.Join) -> None:
        """Have a JOIN answered, now or later; then `session.settled` is called. Until then its later messages must wait."""
        self._forget_waiting(session)
        session.asked = join
        self._with_room(join.room_id, lambda live: self._admission.ask(live, session, join))

    def receive(self, session: Session, message: m.ClientMessage) -> None:
        """Carry out any message but JOIN and PING. Raises Refused if it is refused at once."""
        if session.group is None:
            raise DETACHED if session.detached else NOT_JOINED
        self._receivers[type(message)](session, session.group.live, message)

    def closed(self, session: Session) -> None:
        """The session's connection is gone; to be told once or more."""
        session.gone = True
        self._forget_waiting(session)
        if session.group is None or self._stopping:
            return
        live, user = session.group.live, session.user
        session.group.remove(session)
        live.submit(Entry(Command(user, session.conn, Lost())))
        self._close_if_idle(live)

    def _command(self, session: Session, live: LiveRoom, message: m.ClientMessage) -> None:
        live.submit(Entry(Command(session.user, session.conn, message, session.nonce), session))

    def _request_sync(self, session: Session, live: LiveRoom, message: m.RequestSync) -> None:
        live.submit(_SyncEntry(Command(session.user, session.conn, message), session, self._store, self._rules))

    def _relay(self, session: Session, live: LiveRoom, message: m.Relay) -> None:
        frame = text_frame(m.encode(m.relayed(message, session.user)))
        target = live.group.get(message.to)
        if target is not None:
            target.send(frame)
            self._metrics.relays.value += 1
        elif message.to in live.room.members:
            self._store.relay(live.room.code, message.to, frame)
        else:
            raise NO_SUCH_MEMBER
        if message.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=message.id, seq=live.room.seq))))

    # -- rooms come and go

    def _with_room(self, code: str, use: Callable[[LiveRoom], None]) -> None:
        live = self._live.get(code)
        if live is not None:
            use(live)
            self._close_if_idle(live)
            return
        self._store.follow(code, self)
        loaded = self._store.load(code)
        loaded.addCallback(self._opened, code, use)
        loaded.addErrback(lambda failure: log.failure("opening {room}", failure=failure, room=code))

    def _opened(self, room: Room | None, code: str, use: Callable[[LiveRoom], None]) -> None:
        live = self._live.get(code)
        if live is None:
            live = LiveRoom(
                room or self._blank(code),
                self._rules,
                self._store,
                self._clock,
                self._outbox,
                self._metrics,
                self._changed,
            )
            self._live[code] = live
            live.renew(live.room)
        use(live)
        self._close_if_idle(live)

    def _blank(self, code: str) -> Room:
        now = self._store.now()
        return Room(str(uuid.uuid4()), code, now, int(now * 1000))

    def _close_if_idle(self, live: LiveRoom) -> None:
        if live.idle and self._live.get(live.room.code) is live:
            del self._live[live.room.code]
            live.close()
            self._store.unfollow(live.room.code)

    def _changed(self, live: LiveRoom, commit: Commit) -> None:
        """After each commit of an open room."""
        self.positions.told(live, commit)
        if commit.closes:
            live.renew(self._blank(live.room.code))
        elif commit.seq == 1 or commit.event == "USER_JOINED":
            for waiter in self._invite_waiters.pop(live.room.code, ()):
                waiter.callback(None)
        if live.waiting and commit.event in _FREEING:
            # Of those who want to be the same member the last one, whose other connections may be dead; else in their order.
            newest = {join.user_id: session for session, join in live.waiting.items()}
            for session in sorted(newest.values(), key=list(live.waiting).index):
                self._admission.ask(live, session, live.waiting.pop(session), again=True)

    def _moved(self, live: LiveRoom, command: Command) -> None:
        """A session does not speak for a member any more."""
        live.submit(Entry(command))
        self._close_if_idle(live)

    # -- JOINs that cannot be granted yet

    def _forget_waiting(self, session: Session) -> None:
        asked, session.asked = session.asked, None
        live = self._live.get(asked.room_id) if asked is not None else None
        if live is not None and live.waiting.pop(session, None) is not None:
            self._close_if_idle(live)

    def _conflict(self, live: LiveRoom, user: str) -> None:
        """Somebody wants to be a member that is here: perhaps that connection is dead and nobody has noticed yet."""
        session = live.group.get(user)
        if session is not None:
            session.probe(lambda alive: None if alive else self._dead(session))

    def _dead(self, session: Session) -> None:
        if not session.gone:
            session.close(1011, "no answer to a ping")
            # Nobody will answer the closing handshake, and somebody is waiting.
            self.closed(session)

    # -- time

    def _swept(self) -> None:
        self.positions.sweep()
        for live in list(self._live.values()):
            self._close_if_idle(live)
        for code in self._store.due_rooms(self._store.now()):
            self._with_room(code, lambda live: live.submit(Entry(Command("", "", Due()))))

    # -- IFollower: there is one node until there are several

    def committed(self, code: str, commits: Sequence[Commit]) -> None:
        live = self._live.get(code)
        if live is not None:
            for commit in commits:
                live.apply(commit)

    def relayed(self, code: str, user_id: str, frame: bytes) -> bool:
        live = self._live.get(code)
        session = live.group.get(user_id) if live is not None else None
        if session is None:
            return False
        session.send(frame)
        return True

    # -- IRooms

    def invite(self, code: str, wait: float) -> Deferred[str | None]:
        return defer.ensureDeferred(self._invite(code, wait))

    async def _invite(self, code: str, wait: float) -> str | None:
        room = await self._store.load(code)
        if room is None:
            waiter: Deferred[None] = Deferred()
            waiters = self._invite_waiters.setdefault(code, [])
            waiters.append(waiter)
            timeout = self._clock.callLater(wait, waiter.callback, None)
            try:
                await waiter
            finally:
                if timeout.active():
                    timeout.cancel()
                if waiter in waiters:
                    waiters.remove(waiter)
                    if not waiters:
                        self._invite_waiters.pop(code, None)
            room = await self._store.load(code)
        return room.settings.invite if room is not None else None

    def find_invite(self, invite: str) -> Deferred[str | None]:
        return self._store.find_invite(invite)

    def room_of(self, token: str) -> Deferred[dict[str, object] | None]:
        return defer.ensureDeferred(self._room_of(token))

    async def _room_of(self, token: str) -> dict[str, object] | None:
        owner = tokens.token_owner(token)
        room = await self._store.load(owner[0]) if owner else None
        member = room.members.get(owner[1]) if room is not None and owner else None
        if room is None or member is None:
            return None
        hashed = tokens.hash_token(token)
        if not any(kept and hmac.compare_digest(hashed, kept) for kept in (member.token, member.next_token)):
            return None
        return self._shown(room)

    def _shown(self, room: Room) -> dict[str, object]:
        now, live = self._store.now(), self._live.get(room.code)
        users = []
        for member in room.members.values():
            session = live.group.get(member.user_id) if live else None
            users.append(
                {
                    "userId": member.user_id,
                    "username": member.username,
                    "currentTime": session.position if session else 0.0,
                    "isPlaying": session.playing if session else False,
                    "connectionQuality": session.quality if session else "unknown",
                }
            )
        return {
            "roomId": room.code,
            "connectionCount": sum(1 for member in room.members.values() if member.conn),
            "currentTime": room.playback.position_at(now),
            "isPlaying": room.playback.playing,
            "currentUrl": room.playback.url,
            "hostUserId": room.host or None,
            "users": users,
        }

    def counts(self) -> dict[str, int]:
        """Return how many 'rooms' have members here, and how many 'members' those are."""
        groups = [live.group for live in self._live.values() if len(live.group)]
        return {"rooms": len(groups), "members": sum(map(len, groups))}

    def presence(self) -> list[Presence]:
        """Return how the members connected here are doing."""
        return self.positions.presence()


class _SyncEntry(Entry):
    """A REQUEST_SYNC: it changes nothing, but waits for its turn, so that its answer shows what came before it."""

    __slots__ = ("_rules", "_store")
    session: Session

    def __init__(self, command: Command, session: Session, store: IRoomStore, rules: Rules):
        super().__init__(command, session)
        self._store = store
        self._rules = rules

    def decide(self, rules: Rules, room: Room, now: float) -> Decision:
        return Decision()

    def done(self, live: LiveRoom, decision: Decision, seq: int) -> None:
        room, user, now = live.room, self.command.user, self._store.now()
        # The host knows best; on an episode change it asks just before it says so, and an old url would send it back.
        if self.session.user == user and user != room.host and room.playback.known:
            controls = self._rules.may_control(room, user, now)
            answer = m.Synced(
                to=user,
                from_user_id=m.SERVER,
                current_time=room.playback.position_at(now),
                is_playing=room.playback.playing,
                url="" if controls else room.playback.url,
                timestamp=int(now * 1000),
                seq=room.seq,
            )
            self.session.send(text_frame(m.encode(answer)))
        super().done(live, decision, seq)


_FREEING = frozenset(("USER_LEFT", "CONNECTION_LOST", "NODE_LOST", "ROOM_EXPIRED"))
"""Events after which a JOIN that was waiting may be granted."""
