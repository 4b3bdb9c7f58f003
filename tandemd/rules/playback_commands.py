"""Decisions about the timeline: controls of members, and the observations of players by nodes."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import messages as m
from ..errors import ErrorCode, RequestError
from . import hold
from . import ready_gate as gates
from .commands import (
    Command,
    CorrectPlayback,
    Decision,
    HoldPlayback,
    MeasuredDelay,
    ReportEnd,
    StopAtEnd,
    StopUnwatched,
    Watching,
)
from .event_types import EventType
from .film_end import MAX_KNOWN_ENDS
from .gate import Gate
from .lead import has_changed, lead
from .message_builders import number_parts, play_pause, seek_pause, sync_message
from .playback import KnownEnd
from .playback_authority import allows_following, missed_title
from .settings import RuleSettings
from .state import MEMBER, Member, Room
from .title_allowlist import TitleAllowlist, same_title

CONTROLS = frozenset((m.PlayPause, m.Seek, m.SetRate, m.UrlChange))
"""The messages that are refused if their senders have not seen the present title."""


def check_title_seen(room: Room, command: Command) -> None:
    """Raise RequestError if the sender of a control has not seen the present title: it means the one before it."""
    body, playback = command.body, room.playback
    if not missed_title(playback, command.user, command.seen if body.seq is None else body.seq):
        return
    if not (isinstance(body, m.UrlChange) and same_title(body.url, playback.url)):
        raise RequestError(
            ErrorCode.STALE, "Another member has changed the title meanwhile; ROOM_STATE says what the room shows now."
        )


def control(room: Room, member: Member, body: m.PlayPause, now: float) -> Decision:
    """Play or pause for all members. An open seek ends."""
    playing = body.control == "play"
    position = body.current_time
    if position is None:
        position = room.gate.position if room.gate else room.playback.position_at(now)
    ahead = lead(room) if playing else 0.0
    changes: dict[str, Any] = {"playback": room.playback.controlled(position, playing, now + ahead)}
    if room.gate is not None:
        changes["gate"] = None
    return Decision(
        EventType.PLAY_PAUSE,
        changes,
        (play_pause(room, member.user_id, position, playing, now + ahead, ahead > 0),),
        {"control": body.control, "position": position},
        reschedule=room.gate is not None,
    )


def seek(room: Room, member: Member, body: m.Seek, now: float) -> Decision:
    """Move all members to a position, and close the gate if members watch."""
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


def ready(settings: RuleSettings, room: Room, member: Member, body: m.Ready, now: float) -> Decision:
    """Count a member as ready, and open the gate if it was the last one that the gate waits for."""
    gate = room.gate
    if missed_title(room.playback, "", body.seq):
        return Decision()
    # The member answers: the next gate waits for it again.
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
    if gate_opens_at(settings, gate) <= now:
        decision = gates.open_gate(room, gate, now)
        decision.changes.update(answers)
        return decision
    return Decision(changes={"gate": gate, **answers}, reschedule=True)


def gate_opens_at(settings: RuleSettings, gate: Gate) -> float:
    """Return the server time at which a gate opens without further answers."""
    return gates.opens_at(gate, settings.gate_deadline, settings.gate_quorum, settings.gate_quorum_after)


def change_title(titles: TitleAllowlist, room: Room, member: Member, body: m.UrlChange, now: float) -> Decision:
    """Change the title for all members. The same title again moves nothing."""
    title = titles.check(body.url)
    changes: dict[str, Any] = {}
    url = room.playback.url
    # A page that reloads tells its title again: that must neither move the film, nor cancel a seek, nor, because the
    # URL is written differently, make the others' pages reload.
    if not same_title(title, url):
        url = title
        # A player that follows the room shows the beginning of the title, so its position is known.
        host = room.members.get(room.host)
        known = member.follows or (host is not None and host.follows)
        playback = room.playback.titled(url, now, seq=room.seq + 1, by=member.user_id, known=known)
        changes = {"playback": playback, "gate": None}
    message = m.UrlChanged(seq=room.seq + 1, prev=room.prev, user_id=member.user_id, url=url)
    return Decision(
        EventType.URL_CHANGE, changes, (message,), {"url": url} if changes else None, reschedule=bool(changes)
    )


def follow_host(room: Room, command: Command, body: CorrectPlayback | HoldPlayback, now: float) -> Decision:
    """Move the timeline to the host's player, or hold it there."""
    member = room.members.get(command.user)
    if member is None or member.conn != command.conn or command.user != room.host or room.gate is not None:
        return Decision()
    if member.follows or not allows_following(room.playback):
        return _make_known(room, now) if isinstance(body, CorrectPlayback) else Decision()
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


def _make_known(room: Room, now: float) -> Decision:
    """Take an unknown timeline as it is, because no player of this host will ever set it."""
    playback = room.playback
    if playback.known or not playback.url:
        return Decision()
    return Decision(changes={"playback": playback.corrected(playback.position, playback.playing, now)})


def watching(room: Room, body: Watching, now: float) -> Decision:
    """Note which members have begun or ceased to watch. The timeline goes on with the first one."""
    changes: dict[str, Any] = {}
    for number, (user, conn) in enumerate(body.members):
        member = room.members.get(user)
        if member is not None and member.conn == conn and member.watching != body.watching:
            delay = (body.delays[number] if body.delays else 0) or member.delay
            changes[MEMBER + user] = msgspec.structs.replace(member, watching=body.watching, delay=delay)
    if changes and body.watching and room.playback.unwatched:
        changes["playback"] = room.playback.watched_again(now, body.position)
    decision = Decision(changes=changes)
    if not body.watching and MEMBER + room.host in changes:
        return hold.release(room, decision, now)
    return decision


def learn_delay(room: Room, command: Command, body: MeasuredDelay) -> Decision:
    """Note the delay of a member that its node has measured."""
    member = room.members.get(command.user)
    if member is None or member.conn != command.conn or not has_changed(member.delay, body.delay):
        return Decision()
    return Decision(changes={MEMBER + command.user: msgspec.structs.replace(member, delay=body.delay)})


def learn_end(room: Room, command: Command, body: ReportEnd, now: float) -> Decision:
    """Note the knowledge of a member's player about the end of the title, for the other nodes."""
    member, playback = room.members.get(command.user), room.playback
    if member is None or member.conn != command.conn or not member.watching or not playback.playing:
        return Decision()
    others = [known for known in playback.ends if known.user != command.user]
    ends = (*others[1 - MAX_KNOWN_ENDS :], KnownEnd(command.user, body.kind, body.end, now))
    return Decision(changes={"playback": msgspec.structs.replace(playback, ends=ends)})


def is_watching(room: Room, user: str) -> bool:
    """Return whether a member watches."""
    member = room.members.get(user)
    return member is not None and member.watching


def may_be_watched(room: Room) -> bool:
    """Return whether a member watches, or may watch without a connection until its grace period is over."""
    return any(member.watching or not member.conn for member in room.members.values())


def stop_unwatched(room: Room, body: StopUnwatched, now: float) -> Decision:
    """Have the timeline stand still while no member watches."""
    playback = room.playback
    if not playback.playing or playback.unwatched or may_be_watched(room):
        return Decision()
    return Decision(changes={"playback": playback.stopped_unwatched(now)})


def stop_at_end(room: Room, body: StopAtEnd, now: float) -> Decision:
    """Pause for all members at the end of the film."""
    playback, position = room.playback, body.position
    if not playback.playing or room.gate is not None or playback.position_at(now) < position:
        return Decision()
    return Decision(
        EventType.PLAY_PAUSE,
        {"playback": playback.controlled(position, False, now)},
        (play_pause(room, m.SERVER, position, False, now),),
        {"control": "pause", "position": position, "ended": True},
    )
