"""The rules of a room: from a room, a command and the time to a decision.

Pure: equal arguments give equal decisions, and nothing changes. The caller makes the commit (`commit_of`), commits it, and
applies it when the store has confirmed it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec

from .. import messages as m
from ..errors import ErrorCode, RequestError
from . import administration, hold, join, membership, moderation, permissions
from . import ready_gate as gates
from .commands import (
    Announce,
    Close,
    Command,
    CorrectPlayback,
    Decision,
    Due,
    Enter,
    HoldPlayback,
    Lost,
    NodeLost,
    Reattach,
    StopUnwatched,
    Watching,
)
from .display_names import clean_name
from .event_types import EventType
from .message_builders import number_parts, play_pause, seek_pause, sync_message
from .permissions import PERMISSIONS
from .playback import Playback
from .playback_authority import missed_title
from .room_fields import changed_fields
from .settings import MAX_MEMBERS_PER_COMMIT, RuleSettings
from .state import MAX_RECENT_COMMANDS, MEMBER, Commit, Gate, Member, Room
from .title_allowlist import TitleAllowlist, same_title


class Rules:
    """Decide commands, with the settings and the allow-list of titles as the only state."""

    def __init__(self, settings: RuleSettings, titles: TitleAllowlist):
        self.settings = settings
        self.titles = titles
        self._client: dict[type, Callable[[Room, Member, Any, float], Decision]] = {
            m.Leave: self._leave,
            m.PlayPause: self._play_pause,
            m.Seek: self._seek,
            m.Ready: self._ready,
            m.UrlChange: self._url_change,
            m.UpdateUsername: self._update_username,
            m.ToggleGuestControl: self._toggle_guest_control,
            m.TransferHost: self._transfer_host,
            m.DelegateControl: moderation.delegate,
            m.LockRoom: moderation.lock,
            m.Kick: functools.partial(moderation.kick, settings),
            m.Ban: moderation.ban,
            m.Unban: moderation.unban,
            m.Chat: self._chat,
        }

    def decide(self, room: Room, command: Command, now: float) -> Decision:
        """Return the decision on a command at server time `now`.

        Raises RequestError if the rules reject the command, StalePinError if an Enter's PIN has another salt than the room's.
        """
        body = command.body
        kind = type(body)
        act = self._client.get(kind)
        if act is None:
            return self._decide_internal(room, command, now)
        if body.id is None:
            member = permissions.member_for_connection(room, command.user, command.conn)
            if PERMISSIONS[kind] is not permissions.Permission.MEMBER:
                permissions.check(room, command.user, kind, now, self.settings.host_gone)
                if kind in _FILM_CONTROLS:
                    _check_title_seen(room, command)
            return act(room, member, body, now)
        scope = _id_scope(command)
        # This comes before all rejections, because an ERROR says that the command was not applied.
        sender = room.members.get(command.user)
        for nonce, id_, seq in sender.recent_commands if sender is not None else ():
            if id_ == body.id and nonce == scope:
                return Decision(seq=seq)
        member = permissions.member_for_connection(room, command.user, command.conn)
        if member.recent_commands and member.recent_commands[-1][0] == scope and body.id <= member.highest_evicted_id:
            raise RequestError(
                ErrorCode.FORGOTTEN,
                f"`id` is too old to tell whether the command was applied;"
                f" wait for an answer after {MAX_RECENT_COMMANDS} commands.",
            )
        permissions.check(room, command.user, kind, now, self.settings.host_gone)
        if kind in _FILM_CONTROLS:
            _check_title_seen(room, command)
        return _remember(room, member, command, act(room, member, body, now))

    def _decide_internal(self, room: Room, command: Command, now: float) -> Decision:
        body = command.body
        match body:
            case Enter():
                return join.enter(room, command, body, now, self.settings)
            case Lost():
                member = room.members.get(command.user)
                if member is None or member.conn != command.conn:
                    return Decision()
                return membership.lose_connections(room, [member], EventType.CONNECTION_LOST, now)
            case NodeLost():
                gone = [m_ for m_ in room.members.values() if m_.conn and m_.conn.startswith(body.prefix)]
                return (
                    membership.lose_connections(room, gone[:MAX_MEMBERS_PER_COMMIT], EventType.NODE_LOST, now)
                    if gone
                    else Decision()
                )
            case Reattach():
                member = room.members.get(command.user)
                if member is None or member.conn:
                    return Decision()
                return membership.reattach(room, member, command.conn)
            case Due():
                return self._due(room, now, body.floor)
            case Watching():
                return self._watching(room, body, now)
            case CorrectPlayback() | HoldPlayback():
                return self._follow(room, command, body, now)
            case StopUnwatched():
                return self._stop_unwatched(room, now)
            case Close():
                return administration.close(room, body)
            case Announce():
                return administration.announce(self.settings, room, body, now)
        raise TypeError(f"no rule for {type(body).__name__}")

    def due(self, room: Room) -> float:
        """Return the server time at which the room needs a `Due` command; 0.0 for never."""
        times = [member.lost_at + self.settings.grace for member in room.members.values() if not member.conn]
        if room.gate is not None:
            times.append(self._opens_at(room.gate))
        if room.empty_since:
            times.append(room.empty_since + self.settings.room_ttl)
        return min(times, default=0.0)

    def drop_disallowed_title(self, room: Room) -> None:
        """Remove the title of a loaded room if the allow-list no longer has it."""
        if room.playback.url and not self.titles.allows(room.playback.url):
            room.playback = Playback()

    def _opens_at(self, gate: Gate) -> float:
        s = self.settings
        return gates.opens_at(gate, s.gate_deadline, s.gate_quorum, s.gate_quorum_after)

    # -- the film

    def _play_pause(self, room: Room, member: Member, body: m.PlayPause, now: float) -> Decision:
        playing = body.control == "play"
        position = body.current_time
        if position is None:
            position = room.gate.position if room.gate else room.playback.position_at(now)
        changes: dict[str, Any] = {"playback": room.playback.controlled(position, playing, now)}
        if room.gate is not None:
            changes["gate"] = None
        return Decision(
            EventType.PLAY_PAUSE,
            changes,
            (play_pause(room, member.user_id, position, playing, now),),
            {"control": body.control, "position": position},
            reschedule=room.gate is not None,
        )

    def _seek(self, room: Room, member: Member, body: m.Seek, now: float) -> Decision:
        # A member that seeks while a gate or a stalled player holds the film still means it to go on.
        resume = body.is_playing or (room.gate is not None and room.gate.resume) or room.playback.held
        position = body.current_time
        pause = seek_pause(room, member.user_id, position, now)
        details = {"position": position, "resume": resume}
        waiting = gates.awaited_members(room)
        if waiting:
            held: dict[str, Any] = {
                "playback": room.playback.controlled(position, False, now),
                "gate": Gate(position, now, waiting, (), resume),
            }
            return Decision(EventType.SEEK, held, (pause,), details, reschedule=True)
        changes: dict[str, Any] = {"playback": room.playback.controlled(position, resume, now), "gate": None}
        messages: tuple[m.LoggedMessage, ...] = (pause,)
        if resume:
            messages = number_parts(pause, play_pause(room, m.SERVER, position, True, now))
        return Decision(EventType.SEEK, changes, messages, details, reschedule=True)

    def _ready(self, room: Room, member: Member, body: m.Ready, now: float) -> Decision:
        gate = room.gate
        if missed_title(room.playback, "", body.seq):
            return Decision()
        # It answers: the next gate waits for it again.
        answers: dict[str, Any] = {}
        if member.missed:
            answers[MEMBER + member.user_id] = msgspec.structs.replace(member, missed=0)
        if gate is None:
            late = room.playback.known and room.playback.playing
            if member.missed < gates.MAX_MISSED_GATES:
                answers = {}
            return Decision(changes=answers, reply=sync_message(room, now) if late else None)
        if member.user_id not in gate.pending or abs(body.target_time - gate.position) > gates.READY_TOLERANCE_SECONDS:
            return Decision()
        gate = gates.mark_ready(gate, member.user_id)
        if self._opens_at(gate) <= now:
            decision = gates.open_gate(room, gate, now)
            decision.changes.update(answers)
            return decision
        return Decision(changes={"gate": gate, **answers}, reschedule=True)

    def _url_change(self, room: Room, member: Member, body: m.UrlChange, now: float) -> Decision:
        self.titles.check(body.url)
        changes: dict[str, Any] = {}
        url = room.playback.url
        # A page that reloads tells its title again: that must neither move the film, nor cancel a seek, nor, because the
        # URL is written differently, make the others' pages reload.
        if not same_title(body.url, url):
            url = body.url
            # A player that follows the room shows the beginning of the title, so its position is known.
            host = room.members.get(room.host)
            known = member.follows or (host is not None and host.follows)
            playback = room.playback.titled(url, now, seq=room.seq + 1, by=member.user_id, known=known)
            changes = {"playback": playback, "gate": None}
        message = m.UrlChanged(seq=room.seq + 1, prev=room.prev, user_id=member.user_id, url=url)
        return Decision(
            EventType.URL_CHANGE, changes, (message,), {"url": url} if changes else None, reschedule=bool(changes)
        )

    def _follow(self, room: Room, command: Command, body: CorrectPlayback | HoldPlayback, now: float) -> Decision:
        member = room.members.get(command.user)
        if member is None or member.conn != command.conn or command.user != room.host or room.gate is not None:
            return Decision()
        if member.follows:
            return self._make_known(room, now)
        if isinstance(body, HoldPlayback):
            return hold.hold(room, body, now)
        if room.playback.held and body.playing:
            return hold.go_on(room, body, now)
        playback = room.playback.corrected(body.position, body.playing, now)
        if body.playing == room.playback.playing:
            return Decision(changes={"playback": playback})
        # Heartbeats do not repair a wrong play state, so this is told, as if the host had pressed the button.
        return Decision(
            EventType.PLAY_PAUSE,
            {"playback": playback},
            (play_pause(room, command.user, body.position, body.playing, now),),
            {"control": "play" if body.playing else "pause", "position": body.position, "followed": True},
        )

    def _make_known(self, room: Room, now: float) -> Decision:
        """Take an unknown timeline as it is, because no player of this host will ever set it."""
        playback = room.playback
        if playback.known or not playback.url:
            return Decision()
        return Decision(changes={"playback": playback.corrected(playback.position, playback.playing, now)})

    # -- the members

    def _leave(self, room: Room, member: Member, body: m.Leave, now: float) -> Decision:
        return membership.leave(room, member, "left", now)

    def _due(self, room: Room, now: float, floor: float) -> Decision:
        for member in room.members.values():
            if not member.conn and max(member.lost_at, floor) + self.settings.grace <= now:
                return membership.leave(room, member, "lost", now)
        if room.gate is not None and self._opens_at(room.gate) <= now:
            return gates.open_gate(room, room.gate, now)
        if room.empty_since and room.empty_since + self.settings.room_ttl <= now:
            return Decision(EventType.ROOM_EXPIRED, closes=True)
        return Decision()

    def _watching(self, room: Room, body: Watching, now: float) -> Decision:
        changes: dict[str, Any] = {}
        for user, conn in body.members:
            member = room.members.get(user)
            if member is not None and member.conn == conn and member.watching != body.watching:
                changes[MEMBER + user] = msgspec.structs.replace(member, watching=body.watching)
        if changes and body.watching and room.playback.unwatched:
            changes["playback"] = room.playback.watched_again(now)
        decision = Decision(changes=changes)
        if not body.watching and MEMBER + room.host in changes:
            return hold.release(room, decision, now)
        return decision

    def _stop_unwatched(self, room: Room, now: float) -> Decision:
        playback = room.playback
        if not playback.playing or playback.unwatched or any(member.watching for member in room.members.values()):
            return Decision()
        return Decision(changes={"playback": playback.stopped_unwatched(now)})

    def _update_username(self, room: Room, member: Member, body: m.UpdateUsername, now: float) -> Decision:
        if member.name_from_token:
            raise RequestError(ErrorCode.FORBIDDEN, "UPDATE_USERNAME: your auth token sets your name.")
        name = clean_name(body.username, self.settings.username_length)
        if name is None:
            raise RequestError(
                ErrorCode.BAD_MESSAGE,
                "UPDATE_USERNAME: `username` has no visible character, or is reserved for the server.",
            )
        message = m.UsernameUpdated(seq=room.seq + 1, prev=room.prev, user_id=member.user_id, username=name)
        changes = {MEMBER + member.user_id: msgspec.structs.replace(member, username=name)}
        return Decision(EventType.USERNAME_UPDATED, changes, (message,), {"username": name})

    def _toggle_guest_control(self, room: Room, member: Member, body: m.ToggleGuestControl, now: float) -> Decision:
        settings = msgspec.structs.replace(room.settings, guest_control=body.enabled)
        message = m.GuestControl(seq=room.seq + 1, prev=room.prev, enabled=body.enabled)
        return Decision(EventType.GUEST_CONTROL, {"settings": settings}, (message,), {"enabled": body.enabled})

    def _transfer_host(self, room: Room, member: Member, body: m.TransferHost, now: float) -> Decision:
        target = room.members.get(body.target_user_id)
        if target is None or not target.conn:
            raise RequestError(
                ErrorCode.NO_SUCH_MEMBER, "TRANSFER_HOST: `targetUserId` is not a connected member of this room."
            )
        message = m.HostChanged(seq=room.seq + 1, prev=room.prev, host_user_id=target.user_id)
        decision = Decision(EventType.HOST_CHANGED, {"host": target.user_id}, (message,), {"host": target.user_id})
        return hold.release(room, decision, now) if target.user_id != room.host else decision

    def _chat(self, room: Room, member: Member, body: m.Chat, now: float) -> Decision:
        text = body.text
        if len(text) > self.settings.chat_length:
            raise RequestError(
                ErrorCode.BAD_MESSAGE, f"CHAT: `text` is longer than {self.settings.chat_length} characters."
            )
        message = m.ChatMessage(
            seq=room.seq + 1,
            prev=room.prev,
            user_id=member.user_id,
            username=member.username,
            text=text,
            timestamp=int(now * 1000),
        )
        return Decision(EventType.CHAT, {}, (message,), {"length": len(text)})


def commit_of(room: Room, user: str, decision: Decision, now: float, rules: Rules) -> Commit:
    """Return the commit of a decision.

    room: the room that the decision was made for. user: the actor, "" for the server.
    """
    due = 0.0 if decision.closes else room.due
    if decision.reschedule and not decision.closes:
        after = room.copy()
        after.assign(decision.changes)
        due = rules.due(after)
    return Commit(
        epoch=room.epoch,
        seq=room.seq + 1,
        at=now,
        event=decision.event,
        user=user,
        details=decision.details,
        changes=changed_fields(room, decision.changes) if decision.changes else decision.changes,
        messages=decision.messages,
        skip=decision.skip,
        due=due,
        closes=decision.closes,
    )


def _remember(room: Room, member: Member, command: Command, decision: Decision) -> Decision:
    """Return the decision extended by the command's id, so that the same commit makes the member remember it."""
    after = decision.changes.get(MEMBER + member.user_id, member)
    if not decision.commits or after is None:
        return decision
    scope = _id_scope(command)
    recent = (*member.recent_commands, (scope, command.body.id, room.seq + 1))
    same_scope = member.recent_commands and member.recent_commands[-1][0] == scope
    evicted = member.highest_evicted_id if same_scope else -1
    for nonce, id_, _ in recent[:-MAX_RECENT_COMMANDS]:
        if nonce == scope:
            evicted = max(evicted, id_)
    after = msgspec.structs.replace(
        after, recent_commands=recent[-MAX_RECENT_COMMANDS:], highest_evicted_id=evicted, identity_proven=True
    )
    return msgspec.structs.replace(decision, changes={**decision.changes, MEMBER + member.user_id: after})


_FILM_CONTROLS = frozenset((m.PlayPause, m.Seek, m.UrlChange))


def _check_title_seen(room: Room, command: Command) -> None:
    """Raise RequestError if the sender of a control has not seen the present title: it means the one before it."""
    body, playback = command.body, room.playback
    if not missed_title(playback, command.user, command.seen if body.seq is None else body.seq):
        return
    if not (isinstance(body, m.UrlChange) and same_title(body.url, playback.url)):
        raise RequestError(
            ErrorCode.STALE, "Another member has changed the title meanwhile; ROOM_STATE says what the room shows now."
        )


def _id_scope(command: Command) -> str:
    """Return the scope within which the command's id is unique. A client without nonce may count again on each connection."""
    return command.nonce or command.conn
