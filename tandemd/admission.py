"""JOIN, from the message to the first things a member is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from . import messages as m
from . import tokens
from .errors import Refused
from .frames import text_frame
from .interfaces import IRoomStore
from .liverooms import Entry, LiveRoom, error_frame
from .room import joining
from .room.commands import Command, Decision, Enter, Lost
from .room.permissions import chooses_title
from .room.rules import Rules
from .room.state import Commit, Pin, Room, Version
from .sessions import Session

log = Logger()

PENDING = frozenset(("identity_conflict", "room_full", "locked", "unavailable"))
"""Refusals after which a JOIN stays pending: an old client joins only when it connects, and would stay outside."""


class Admission:
    """Turns a JOIN into a command with everything in it that takes time or chance, and greets who came in.

    hash_pin: hashes a PIN with a salt, in a thread.
    moved: called with the room, user and conn that a session speaks for no longer, and the command that says why.
    conflict: called when somebody wants to be a member that is here already.
    """

    def __init__(
        self,
        store: IRoomStore,
        rules: Rules,
        hash_pin: Callable[[str, str], Deferred[Pin]],
        moved: Callable[[LiveRoom, Command], None],
        conflict: Callable[[LiveRoom, str], None],
    ):
        self.store = store
        self.rules = rules
        self.moved = moved
        self.conflict = conflict
        self._hash_pin = hash_pin

    def ask(self, live: LiveRoom, session: Session, join: m.Join, *, again: bool = False) -> None:
        """Have a JOIN decided. again: it was pending; being refused once more is no news."""
        live.joining += 1
        if join.pin and self._needs_pin(live.room, session, join):
            pin = live.room.settings.pin
            salt = pin.salt if pin else tokens.new_salt()
            hashed = self._hash_pin(join.pin, salt)
            hashed.addCallback(lambda result: self._submit(live, session, join, result, again))
            hashed.addErrback(lambda failure: log.failure("hashing a PIN", failure=failure))
        else:
            self._submit(live, session, join, None, again)

    def _needs_pin(self, room: Room, session: Session, join: m.Join) -> bool:
        if room.seq == 0:
            return True
        return room.settings.pin is not None and join.user_id not in room.members

    def _submit(self, live: LiveRoom, session: Session, join: m.Join, pin: Pin | None, again: bool) -> None:
        live.joining -= 1
        if session.asked is not join:
            # It has asked for something else meanwhile, or is gone.
            return
        token = tokens.new_token(live.room.code, join.user_id) if join.keeps_token else ""
        claims = session.claims
        body = Enter(
            username=claims.name if claims and claims.name else join.username,
            address=session.address,
            pin=pin,
            token=tokens.hash_token(join.token) if join.token else "",
            new_token=tokens.hash_token(token) if token else "",
            resume=join.resume is not None,
            invite=tokens.new_invite() if live.room.seq == 0 else "",
            id=join.id,
            role=claims.role if claims else "",
            named=bool(claims and claims.name),
        )
        live.submit(
            _JoinEntry(self, Command(join.user_id, session.conn, body, join.nonce or ""), session, join, token, again)
        )


class _JoinEntry(Entry):
    __slots__ = ("_admission", "_again", "_join", "_token")
    session: Session

    def __init__(self, admission: Admission, command: Command, session: Session, join: m.Join, token: str, again: bool):
        super().__init__(command, session)
        self._admission = admission
        self._join = join
        self._token = token
        self._again = again

    def refused(self, live: LiveRoom, error: Refused) -> None:
        if self.session.asked is not self._join:
            return
        if error.code == "bad_pin" and self._join.pin and self.command.body.pin is None:
            # It was still a member, who needs no PIN, when the PIN was left unhashed.
            self.stale_pin(live)
            return
        if not self._again or error.code not in PENDING:
            self.session.send(error_frame(error, self._join.id))
        if error.code in PENDING:
            live.waiting[self.session] = self._join
            if error.code == "identity_conflict":
                self._admission.conflict(live, self._join.user_id)
        self.session.settled()

    def stale_pin(self, live: LiveRoom) -> None:
        self._admission.ask(live, self.session, self._join, again=self._again)

    def done(self, live: LiveRoom, decision: Decision, seq: int) -> None:
        resume = self._join.resume
        if decision.event == "USER_RESUMED" and resume is not None:
            missed = Deferred.fromCoroutine(self._missed(live, (resume.epoch, resume.seq)))
            missed.addCallback(lambda commits: self._welcome(live, decision, seq, commits))
            missed.addErrback(lambda failure: log.failure("admitting to {room}", failure=failure, room=live.room.code))
        else:
            self._admission.store.drop_mail(live.room.code, self._join.user_id)
            self._welcome(live, decision, seq, None)

    async def _missed(self, live: LiveRoom, after: Version) -> list[Commit] | None:
        """Return what was committed after a version, up to where the room is here, or None if that is not known."""
        missed: list[Commit] = []
        while True:
            try:
                found = await self._admission.store.replay(live.room.code, after)
            except Refused:
                return None
            if found is None:
                return None
            missed += found
            # The room may have gone on while the store was asked.
            after = (missed[-1].epoch, missed[-1].seq) if missed else after
            if after >= live.room.version:
                return missed

    def _welcome(self, live: LiveRoom, decision: Decision, seq: int, missed: Sequence[Commit] | None) -> None:
        session, admission, join, room = self.session, self._admission, self._join, live.room
        user = join.user_id
        if session.asked is not join:
            # Gone, or joining something else, since the commit was made. A later JOIN for the same has its own answer.
            newer = session.asked
            if newer is None or (newer.room_id, newer.user_id) != (join.room_id, user):
                admission.moved(live, Command(user, session.conn, Lost() if session.gone else m.Leave()))
            return
        member = room.members.get(user)
        if member is None or member.conn != session.conn:
            # Taken over by another connection.
            session.detached = member is not None
            session.settled()
            return
        before = (session.group.live if session.group else None), session.user
        if session.group is not None and before != (live, user):
            session.group.remove(session)
        session.watching = member.watching
        session.heard = admission.store.now()
        session.nonce = join.nonce or ""
        live.group.add(session, user)
        resumed = None if join.resume is None else missed is not None
        for commit in missed or ():
            if commit.seq <= room.seq and commit.skip != user:
                for message in commit.messages:
                    if isinstance(message, m.UrlChanged) and not admission.rules.titles.allows(message.url):
                        # It was allowed when it was said.
                        continue
                    session.send(text_frame(m.encode(msgspec.structs.replace(message, replayed=True))))
        issued = bool(self._token) and tokens.hash_token(self._token) in (member.token, member.next_token)
        now = admission.store.now()
        for told in joining.greeting(
            room,
            user,
            now,
            first=decision.event == "USER_JOINED",
            controls=chooses_title(room, user),
            resumed=resumed,
            token=self._token if issued else None,
        ):
            session.send(text_frame(m.encode(told)))
            if isinstance(told, m.RoomState) and decision.reply is not None:
                session.send(text_frame(m.encode(decision.reply)))
        if join.id is not None:
            session.send(text_frame(m.encode(m.Ack(id=join.id, seq=seq))))
        if decision.event == "USER_RESUMED":
            mail = admission.store.take_mail(room.code, user)
            mail.addCallback(_send_all, session)
            mail.addErrback(lambda failure: log.failure("taking the mail of {room}", failure=failure, room=room.code))
        session.settled()
        if before[0] is not None and before != (live, user):
            admission.moved(before[0], Command(before[1], session.conn, m.Leave()))


def _send_all(frames: Sequence[bytes], session: Session) -> None:
    for frame in frames:
        session.send(frame)
