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
from . import (
    administration,
    buffering,
    calls,
    hold,
    identity,
    join,
    membership,
    moderation,
    permissions,
    playback_commands,
    rate,
)
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
    MeasuredDelay,
    NodeLost,
    Probe,
    Reattach,
    ReportEnd,
    StopAtEnd,
    StopUnwatched,
    Watching,
)
from .display_names import clean_name
from .event_types import EventType
from .permissions import PERMISSIONS
from .playback import Playback
from .playback_commands import CONTROLS, check_title_seen, gate_opens_at
from .room_fields import changed_fields
from .settings import RuleSettings
from .state import MAX_RECENT_COMMANDS, MEMBER, Commit, Member, Room
from .text import clean_text
from .title_allowlist import TitleAllowlist

CHAT = EventType.CHAT
"""The most frequent event. Each look-up of an attribute of the enum would cost a call."""


class Rules:
    """Decide commands, with the settings and the allow-list of titles as the only state.

    features: the abilities of the node, for ROOM_STATE; see `messages.features`.
    """

    def __init__(self, settings: RuleSettings, titles: TitleAllowlist, features: tuple[str, ...] = ()):
        self.settings = settings
        self.titles = titles
        self.features = features
        self._client: dict[type, Callable[[Room, Member, Any, float], Decision]] = {
            m.Leave: self._leave,
            m.PlayPause: playback_commands.control,
            m.Seek: playback_commands.seek,
            m.SetRate: rate.set_rate,
            m.Ready: functools.partial(playback_commands.ready, settings),
            m.UrlChange: functools.partial(playback_commands.change_title, titles),
            m.Status: buffering.set_status,
            m.WaitForBuffering: buffering.wait_for_buffering,
            m.UpdateUsername: self._update_username,
            m.ToggleGuestControl: self._toggle_guest_control,
            m.TransferHost: self._transfer_host,
            m.DelegateControl: moderation.delegate,
            m.LockRoom: moderation.lock,
            m.Kick: functools.partial(moderation.kick, settings),
            m.Ban: moderation.ban,
            m.Unban: moderation.unban,
            m.Admit: moderation.admit,
            m.Chat: self._chat,
            m.Call: calls.call,
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
            if PERMISSIONS[kind] is not permissions.MEMBER:
                permissions.check(room, command.user, kind, now, self.settings.host_gone)
                if kind in CONTROLS:
                    check_title_seen(room, command)
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
        if kind in CONTROLS:
            check_title_seen(room, command)
        return _remember(room, member, command, act(room, member, body, now))

    def _decide_internal(self, room: Room, command: Command, now: float) -> Decision:
        body = command.body
        match body:
            case Enter():
                return join.enter(room, command, body, now, self.settings)
            case Lost():
                return membership.lose_connection(room, command.user, command.conn, now, body.since)
            case Probe():
                return identity.request_probe(room, command.user, now)
            case NodeLost():
                return membership.lose_node(room, body.prefix, now)
            case Reattach():
                member = room.members.get(command.user)
                if member is None or member.conn:
                    return Decision()
                return membership.reattach(room, member, command.conn)
            case Due():
                return self._due(room, now, body.floor)
            case Watching():
                return playback_commands.watching(room, body, now)
            case MeasuredDelay():
                return playback_commands.learn_delay(room, command, body)
            case ReportEnd():
                return playback_commands.learn_end(room, command, body, now)
            case CorrectPlayback() | HoldPlayback():
                return playback_commands.follow_host(room, command, body, now)
            case StopUnwatched():
                return playback_commands.stop_unwatched(room, body, now)
            case StopAtEnd():
                return playback_commands.stop_at_end(room, body, now)
            case Close():
                return administration.close(room, body)
            case Announce():
                return administration.announce(self.settings, room, body, now)
        raise TypeError(f"no rule for {type(body).__name__}")

    def due(self, room: Room) -> float:
        """Return the server time at which the room needs a `Due` command; 0.0 for never."""
        times = [min(room.lost.values()) + self.settings.grace] if room.lost else []
        if (succession := identity.successor(room)) is not None:
            times.append(succession[0].lost_at + identity.TAKEOVER_SECONDS)
        if room.gate is not None:
            times.append(gate_opens_at(self.settings, room.gate))
        if room.settings.wait_for_buffering and (closes_at := buffering.closes_at(room)):
            times.append(closes_at)
        if room.empty_since:
            times.append(room.empty_since + self.settings.room_ttl)
        return min(times, default=0.0)

    def drop_disallowed_title(self, room: Room) -> None:
        """Remove the title of a loaded room if the allow-list no longer has it. Older versions stored it as it was written."""
        if not room.playback.url:
            return
        try:
            room.playback = room.playback.with_url(self.titles.check(room.playback.url))
        except RequestError:
            room.playback = Playback()

    # -- the members

    def _leave(self, room: Room, member: Member, body: m.Leave, now: float) -> Decision:
        return membership.leave(room, member, "left", now)

    def _due(self, room: Room, now: float, floor: float) -> Decision:
        if (decision := identity.succeed(room, now, floor)) is not None:
            return decision
        for user, lost_at in room.lost.items():
            if max(lost_at, floor) + self.settings.grace <= now:
                return membership.leave(room, room.members[user], "lost", now)
        if room.gate is not None and gate_opens_at(self.settings, room.gate) <= now:
            return gates.open_gate(room, room.gate, now)
        if room.settings.wait_for_buffering and (decision := buffering.close_gate(room, now)) is not None:
            return decision
        if room.empty_since and room.empty_since + self.settings.room_ttl <= now:
            return Decision(EventType.ROOM_EXPIRED, closes=True)
        return Decision()

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
        text = clean_text(body.text)
        if not text:
            raise RequestError(ErrorCode.BAD_MESSAGE, "CHAT: `text` has only control characters.")
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
        return Decision(CHAT, {}, (message,), {"length": len(text)})


def commit_of(room: Room, user: str, decision: Decision, now: float, rules: Rules) -> Commit:
    """Return the commit of a decision.

    room: the room that the decision was made for. user: the actor, "" for the server.
    """
    due = 0.0 if decision.closes else room.due
    # Nearly any change may begin or end the wait for a member that buffers.
    if (decision.reschedule or room.settings.wait_for_buffering) and not decision.closes:
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


def _id_scope(command: Command) -> str:
    """Return the scope within which the command's id is unique. A client without nonce may count again on each connection."""
    return command.nonce or command.conn
